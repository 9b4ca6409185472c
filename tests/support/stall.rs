//! Retries tests about time if the machine stalls: a virtual machine that is paused for some seconds breaks
//! the pauses of every client, and shows nothing about the server.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long the watching thread sleeps at a time.
const STEP: Duration = Duration::from_millis(20);

/// A sleep that takes this much longer than requested is a stall: it is what tests allow beyond a bound.
const STALL: Duration = Duration::from_millis(500);

/// How often a test is run at most.
pub const RUNS: usize = 3;

/// Runs `test`, and runs it again if it fails while the machine stalls. A failure without a stall, and a
/// failure of the last run, fail the test.
pub fn retried_after_a_stall(test: impl Fn()) {
    for _ in 1..RUNS {
        let (result, longest_stall) = watched(|| catch_unwind(AssertUnwindSafe(&test)));
        match result {
            Ok(()) => return,
            Err(panic) if longest_stall < STALL => resume_unwind(panic),
            Err(_) => trace(&format!(
                "once more, the machine stood still for {longest_stall:?}"
            )),
        }
    }
    test();
}

/// Runs `action`. Returns its result, and the longest excess of a sleep in the meantime.
pub fn watched<R>(action: impl FnOnce() -> R) -> (R, Duration) {
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
        let result = action();
        is_over.store(true, Ordering::Relaxed);
        (result, watching.join().expect("it only sleeps"))
    })
}

/// Writes a line to standard error, past the capture of the test harness: a repeated test must be seen.
pub fn trace(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
