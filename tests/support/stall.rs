//! Retries tests about time if the machine stalls: a virtual machine that is paused for some seconds breaks
//! the pauses of every client, and shows nothing about the server.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long the watching thread sleeps at a time.
const STEP: Duration = Duration::from_millis(20);

/// A sleep that takes this much longer than requested is a stall. It is below every grace of the tests.
const STALL: Duration = Duration::from_millis(500);

/// How often a test is run at most.
const RUNS: usize = 3;

/// The longest delay that a client has measured itself, in milliseconds.
static NOTED_MILLIS: AtomicU64 = AtomicU64::new(0);

/// Notes a delay that a client has measured itself. A client of many processes can be delayed where the
/// watching thread is not.
pub fn note_stall(delay: Duration) {
    NOTED_MILLIS.fetch_max(delay.as_millis() as u64, Ordering::Relaxed);
}

/// Runs `test`, and runs it again if it fails while the machine stalls. A failure without a stall, and a
/// failure of the last run, fail the test.
pub fn retried_after_a_stall(test: impl Fn()) {
    for _ in 1..RUNS {
        let (result, longest_stall) = watched(|| catch_unwind(AssertUnwindSafe(&test)));
        match result {
            Ok(()) => return,
            Err(panic) if longest_stall < STALL => resume_unwind(panic),
            Err(_) => println!("the machine stood still for {longest_stall:?}: once more"),
        }
    }
    test();
}

/// Runs `action`. Returns its result, and the longest excess of a sleep in the meantime.
fn watched<R>(action: impl FnOnce() -> R) -> (R, Duration) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while !is_over.load(Ordering::Relaxed) {
                let start = Instant::now();
                thread::sleep(STEP);
                longest = longest.max(start.elapsed().saturating_sub(STEP));
            }
            longest
        });
        NOTED_MILLIS.store(0, Ordering::Relaxed);
        let result = action();
        is_over.store(true, Ordering::Relaxed);
        let noted = Duration::from_millis(NOTED_MILLIS.load(Ordering::Relaxed));
        (result, noted.max(watching.join().expect("it only sleeps")))
    })
}
