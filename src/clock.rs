//! The only module that reads a clock.
//!
//! Below the server layer time is an argument: functions take a [`Now`] and never read a clock. So a test
//! can simulate a hundred idle seconds in a millisecond. `tests/tidy` enforces the rule.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A point on the monotonic clock, in milliseconds since the clock was made.
///
/// Deadlines are of this type. Plain integers keep the timer wheel free of conversions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub u64);

impl Millis {
    /// A deadline that never comes.
    pub const NEVER: Millis = Millis(u64::MAX);

    /// This point plus `secs` seconds, saturating.
    #[must_use]
    pub fn plus_secs(self, secs: u32) -> Millis {
        Millis(self.0.saturating_add(u64::from(secs) * 1000))
    }

    /// Milliseconds from `earlier` to `self`; 0 if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Millis) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// One sample of both clocks, taken by the thread that runs a turn and passed down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock, for deadlines and durations.
    pub monotonic: Millis,
    /// Seconds since 1970-01-01 UTC, for the Date field and the access log.
    pub unix_secs: u64,
}

/// A sample of both clocks that also has the monotonic one in microseconds, for measuring turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Both clocks.
    pub now: Now,
    /// The monotonic clock in microseconds, of the same origin.
    pub micros: u64,
}

/// A source of time.
pub trait Clock: Send + Sync {
    /// Samples both clocks.
    fn now(&self) -> Now;

    /// Samples both clocks, the monotonic one in microseconds too.
    fn sample(&self) -> Sample {
        Sample {
            now: self.now(),
            micros: self.micros(),
        }
    }

    /// The monotonic clock in microseconds, for times that are too short for [`Millis`]. It has the same
    /// origin.
    fn micros(&self) -> u64;
}

/// The CPU time that the calling thread has used, in microseconds.
#[must_use]
pub fn thread_cpu_micros() -> u64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    // Neither part is negative.
    used.tv_sec as u64 * 1_000_000 + used.tv_nsec as u64 / 1_000
}

/// The milliseconds of a tick, for which a reading of the time of day is used again.
const TICK_MILLIS: u64 = 4;

/// The bits of [`SystemClock::time_of_day`] that hold the tick. They repeat after 50 days.
const TICK_BITS: u32 = 30;

/// The machine's clocks.
///
/// The time of day is read once in four milliseconds, as its users need whole seconds only. Busy threads
/// sample the clocks some ten thousand times a second, and each reading costs them a hundred instructions.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
    /// The last time of day in seconds since 1970, above the low bits of the tick in which it was read. One
    /// word, so that all threads see both together.
    time_of_day: AtomicU64,
}

impl SystemClock {
    /// A clock whose monotonic reading starts at 0 now.
    #[must_use]
    pub fn new() -> SystemClock {
        SystemClock {
            origin: Instant::now(),
            // Tick 0 is not this one, so the first sample reads the time of day.
            time_of_day: AtomicU64::new((1 << TICK_BITS) - 1),
        }
    }

    /// Seconds since 1970 at `monotonic`, which is now.
    fn unix_secs(&self, monotonic: Millis) -> u64 {
        const TICK_MASK: u64 = (1 << TICK_BITS) - 1;
        let tick = (monotonic.0 / TICK_MILLIS) & TICK_MASK;
        let known = self.time_of_day.load(Ordering::Relaxed);
        if known & TICK_MASK == tick {
            return known >> TICK_BITS;
        }
        // A clock set before 1970 reads as 1970: a wrong Date field is better than a panic.
        let unix_secs = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_secs());
        // 34 bits last until the year 2514.
        let known = (unix_secs << TICK_BITS) | tick;
        self.time_of_day.store(known, Ordering::Relaxed);
        unix_secs
    }

    /// Blocks the calling thread for `millis` milliseconds. Only simulated clients sleep; the threads that
    /// serve never do.
    pub fn sleep(&self, millis: u64) {
        thread::sleep(Duration::from_millis(millis));
    }

    /// Blocks the calling thread until `deadline`, unless that has passed.
    pub fn sleep_until(&self, deadline: Millis) {
        self.sleep(deadline.since(self.now().monotonic));
    }
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        self.sample().now
    }

    /// One reading of the monotonic clock gives both units.
    fn sample(&self) -> Sample {
        let micros = self.micros();
        let monotonic = Millis(micros / 1000);
        Sample {
            now: Now {
                monotonic,
                unix_secs: self.unix_secs(monotonic),
            },
            micros,
        }
    }

    fn micros(&self) -> u64 {
        let elapsed = self.origin.elapsed();
        elapsed.as_secs() * 1_000_000 + u64::from(elapsed.subsec_micros())
    }
}

/// A clock that moves only when a test tells it to.
#[derive(Debug)]
pub struct TestClock {
    elapsed_millis: AtomicU64,
    epoch_unix_secs: AtomicU64,
}

impl TestClock {
    /// A clock that stands still at `unix_secs` seconds since 1970.
    #[must_use]
    pub fn new(unix_secs: u64) -> TestClock {
        TestClock {
            elapsed_millis: AtomicU64::new(0),
            epoch_unix_secs: AtomicU64::new(unix_secs),
        }
    }

    /// Moves both readings forward by `millis` milliseconds.
    pub fn advance(&self, millis: u64) {
        self.elapsed_millis.fetch_add(millis, Ordering::SeqCst);
    }

    /// Sets the time of day back by `secs` seconds, at most those since 1970; the monotonic reading
    /// stays.
    pub fn set_back(&self, secs: u64) {
        self.epoch_unix_secs.fetch_sub(secs, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Now {
        let elapsed = self.elapsed_millis.load(Ordering::SeqCst);
        Now {
            monotonic: Millis(elapsed),
            unix_secs: self.epoch_unix_secs.load(Ordering::SeqCst) + elapsed / 1000,
        }
    }

    fn micros(&self) -> u64 {
        self.elapsed_millis.load(Ordering::SeqCst) * 1000
    }
}

/// The kernel's monotonic clock in microseconds (CLOCK_MONOTONIC), which processes can compare with each other.
#[must_use]
pub fn kernel_monotonic_micros() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // The clock starts at 0 when the machine does.
    time.tv_sec.unsigned_abs() * 1_000_000 + time.tv_nsec.unsigned_abs() / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_starts_near_zero_and_does_not_go_back() {
        let clock = SystemClock::new();
        let first = clock.now();
        let second = clock.now();
        assert!(first.monotonic.0 < 60_000);
        assert!(second.monotonic >= first.monotonic);
        assert!(clock.micros() / 1000 >= second.monotonic.0);
        assert!(first.unix_secs > 1_600_000_000);
    }

    #[test]
    fn the_time_of_day_is_read_again_in_the_next_tick() {
        let clock = SystemClock::new();
        let unix_secs = clock.unix_secs(Millis(0));
        assert!(unix_secs > 1_600_000_000);
        // As if it had been read an hour ago in the same tick.
        clock
            .time_of_day
            .fetch_sub(3_600 << TICK_BITS, Ordering::Relaxed);
        assert_eq!(clock.unix_secs(Millis(TICK_MILLIS - 1)), unix_secs - 3_600);
        assert!(clock.unix_secs(Millis(TICK_MILLIS)) >= unix_secs);
    }

    #[test]
    fn the_test_clock_moves_only_when_told() {
        let clock = TestClock::new(1_000);
        assert_eq!(
            clock.now(),
            Now {
                monotonic: Millis(0),
                unix_secs: 1_000
            }
        );
        clock.advance(2_500);
        assert_eq!(
            clock.now(),
            Now {
                monotonic: Millis(2_500),
                unix_secs: 1_002
            }
        );
        assert_eq!(clock.micros(), 2_500_000);
    }

    #[test]
    fn deadline_arithmetic_saturates() {
        assert_eq!(Millis::NEVER.plus_secs(1), Millis::NEVER);
        assert_eq!(Millis(3).since(Millis(5)), 0);
        assert_eq!(Millis(1).plus_secs(2), Millis(2_001));
    }
}
