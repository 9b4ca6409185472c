//! Whether files are loaded from the kernel's memory by threads that must not block.
//!
//! The kernel says what it would have to wait for on a disk. It does not say that a program must first permit
//! each open (fanotify(7)), as scanners for viruses do. So the event loops report how long their turns take. If
//! several rounds with such loads were slow, only workers open files for a while.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::clock::Millis;

/// A round is slow if its turns took so long on average, in microseconds. Usual turns take 5 to 50.
const SLOW_TURN_MICROS: u64 = 2_000;

/// The number of slow rounds, one after the other, that suspend the permission. A thread that lost its CPU has
/// a slow round as well, but seldom so many.
const SLOW_ROUNDS: u32 = 8;

/// How long the permission is suspended, in milliseconds.
const SUSPENSION_MILLIS: u64 = 60_000;

/// The permission for all threads to open and read what the kernel has in memory.
#[derive(Debug, Default)]
pub struct CachedAccess {
    /// In milliseconds.
    suspended_until: AtomicU64,
    uses: AtomicU64,
    slow_rounds: AtomicU32,
}

impl CachedAccess {
    /// Whether the permission holds at `now`. If so, counts a use.
    #[must_use]
    pub fn is_permitted(&self, now: Millis) -> bool {
        let is_permitted = self.suspended_until.load(Ordering::Relaxed) <= now.0;
        if is_permitted {
            self.uses.fetch_add(1, Ordering::Relaxed);
        }
        is_permitted
    }

    /// How often the permission was used.
    #[must_use]
    pub fn uses(&self) -> u64 {
        self.uses.load(Ordering::Relaxed)
    }

    /// Suspends the permission until this time.
    pub fn suspend(&self, until: Millis) {
        self.suspended_until.store(until.0, Ordering::Relaxed);
    }

    /// Notes a round of an event loop that has used the permission: `turns` turns took `micros` microseconds,
    /// and ended at `now`. Returns whether the permission is suspended for that.
    #[must_use]
    pub fn note_round(&self, turns: u64, micros: u64, now: Millis) -> bool {
        if micros < turns.max(1) * SLOW_TURN_MICROS {
            self.slow_rounds.store(0, Ordering::Relaxed);
            return false;
        }
        let slow_rounds = self.slow_rounds.fetch_add(1, Ordering::Relaxed) + 1;
        if slow_rounds < SLOW_ROUNDS {
            return false;
        }
        self.slow_rounds.store(0, Ordering::Relaxed);
        self.suspend(Millis(now.0.saturating_add(SUSPENSION_MILLIS)));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_rounds_in_succession_suspend_the_permission_for_a_minute() {
        let access = CachedAccess::default();
        let note = |turns, micros| access.note_round(turns, micros, Millis(5));
        assert!((1..SLOW_ROUNDS).all(|_| !note(1, 2_000)));
        assert!(!note(2, 3_999), "a quick round");
        assert!((1..SLOW_ROUNDS).all(|_| !note(2, 4_000)));
        assert!(access.is_permitted(Millis(5)));
        assert!(note(1, 60_000));
        assert!(!access.is_permitted(Millis(5)) && !access.is_permitted(Millis(60_004)));
        assert!(access.is_permitted(Millis(60_005)));
        assert_eq!(access.uses(), 2);
    }
}
