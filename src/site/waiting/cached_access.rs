//! Whether files are loaded from the kernel's memory by threads that must not block.
//!
//! The kernel says what it would have to wait for on a disk. It does not say that a program must first permit
//! each open (fanotify(7)), as scanners for viruses do. So the event loops report how long their turns take. If
//! several rounds with such loads were slow, only workers open files for a while.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::clock::Millis;

/// The time that a turn takes at most without an open, in microseconds. Usual turns take 5 to 50.
const TURN_MICROS: u64 = 100;

/// An open is slow if it takes so long, in microseconds.
const SLOW_OPEN_MICROS: u64 = 2_000;

/// The number of slow rounds, one after the other, that suspend the permission. A thread that lost its CPU has
/// a slow round as well, but seldom so many.
const SLOW_ROUNDS: u32 = 8;

/// How long the permission is suspended at first, in milliseconds. Each time it is ten times as long.
const SUSPENSION_MILLIS: u64 = 60_000;

/// The permission for all threads to open and read what the kernel has in memory.
#[derive(Debug, Default)]
pub struct CachedAccess {
    /// In milliseconds.
    suspended_until: AtomicU64,
    uses: AtomicU64,
    suspensions: AtomicU32,
}

/// The rounds of one event loop, as far as they have used the permission.
#[derive(Debug, Default)]
pub struct RoundWatch {
    /// The uses until the last round.
    uses: u64,
    slow_rounds: u32,
}

impl CachedAccess {
    /// Uses the permission at `now`; false if it does not hold.
    #[must_use]
    pub fn begin_use(&self, now: Millis) -> bool {
        let is_permitted = self.suspended_until.load(Ordering::Relaxed) <= now.0;
        if is_permitted {
            self.uses.fetch_add(1, Ordering::Relaxed);
        }
        is_permitted
    }

    /// Suspends the permission until this time.
    pub fn suspend(&self, until: Millis) {
        self.suspended_until.store(until.0, Ordering::Relaxed);
    }
}

impl RoundWatch {
    /// Notes a round: `turns` turns took `micros` microseconds, and ended at `now`. Returns whether the permission
    /// is suspended, because opens were slow in several rounds.
    #[must_use]
    pub fn note(&mut self, access: &CachedAccess, turns: u64, micros: u64, now: Millis) -> bool {
        let uses = access.uses.load(Ordering::Relaxed);
        // After a reload another permission is counted, from 0.
        let count = uses.saturating_sub(std::mem::replace(&mut self.uses, uses));
        if count == 0 {
            return false;
        }
        if micros < turns * TURN_MICROS + count * SLOW_OPEN_MICROS {
            self.slow_rounds = 0;
            return false;
        }
        self.slow_rounds += 1;
        if self.slow_rounds < SLOW_ROUNDS {
            return false;
        }
        self.slow_rounds = 0;
        let before = access.suspensions.fetch_add(1, Ordering::Relaxed);
        let millis = SUSPENSION_MILLIS.saturating_mul(10_u64.saturating_pow(before));
        access.suspend(Millis(now.0.saturating_add(millis)));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_rounds_in_succession_suspend_the_permission() {
        let access = CachedAccess::default();
        let mut watch = RoundWatch::default();
        let mut note = |turns, micros, now| {
            let is_used = access.begin_use(Millis(now));
            (is_used, watch.note(&access, turns, micros, Millis(now)))
        };
        assert!((1..SLOW_ROUNDS).all(|_| note(1, 2_100, 5) == (true, false)));
        assert_eq!(note(40, 5_999, 5), (true, false), "a quick round");
        assert!((1..SLOW_ROUNDS).all(|_| note(40, 6_000, 5) == (true, false)));
        assert_eq!(note(1, 60_000, 5), (true, true));
        assert_eq!(note(1, 60_000, 60_004), (false, false));
        for _ in 1..SLOW_ROUNDS {
            assert_eq!(note(1, 3_000, 60_005), (true, false));
        }
        assert_eq!(note(1, 3_000, 60_005), (true, true));
        let reloaded = CachedAccess::default();
        assert!(!watch.note(&reloaded, 1, 60_000, Millis(60_006)));
        assert!(!access.begin_use(Millis(600_000 + 60_004)));
        assert!(access.begin_use(Millis(600_000 + 60_005)));
    }
}
