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

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose monotonic reading starts at 0 now.
    #[must_use]
    pub fn new() -> SystemClock {
        SystemClock {
            origin: Instant::now(),
        }
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
        Sample {
            now: Now {
                monotonic: Millis(micros / 1000),
                // A clock set before 1970 reads as 1970: a wrong Date field is better than a panic.
                unix_secs: SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |d| d.as_secs()),
            },
            micros,
        }
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
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
