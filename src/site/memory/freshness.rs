//! How long something learnt below the root may be used before it is compared with the disk.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::clock::Millis;
use crate::site::waiting::Outstanding;

/// When something was learnt, and in which root directory.
#[derive(Debug)]
pub struct Freshness {
    generation: u64,
    checked_at: AtomicU64,
    /// The comparison that has been ordered.
    pub outstanding: Outstanding,
    is_beyond_mount: AtomicBool,
}

/// How far something learnt may be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FreshnessState {
    /// It may be used as it is.
    Fresh,
    /// It may be used once it has been compared with the disk.
    Stale,
    /// It was learnt in another root directory, and says nothing about this one.
    Invalid,
}

impl Freshness {
    /// Of something that is learnt at `now` in the root directory of `generation`. The time must
    /// have been taken before the disk is looked at: what changes later must count as later.
    #[must_use]
    pub fn new(generation: u64, now: Millis) -> Freshness {
        Freshness {
            generation,
            checked_at: AtomicU64::new(now.0),
            outstanding: Outstanding::default(),
            is_beyond_mount: AtomicBool::new(false),
        }
    }

    /// Whether a look at it was seen to lead [beyond a mount point](Freshness::mark_beyond_mount).
    #[must_use]
    pub fn is_beyond_mount(&self) -> bool {
        self.is_beyond_mount.load(Ordering::Relaxed)
    }

    /// Comparing it leads beyond a mount point: not for a thread that others need.
    pub fn mark_beyond_mount(&self) {
        self.is_beyond_mount.store(true, Ordering::Relaxed);
    }

    /// Milliseconds since it was compared.
    #[must_use]
    pub fn age_millis(&self, now: Millis) -> u64 {
        now.since(Millis(self.checked_at.load(Ordering::Relaxed)))
    }

    /// It has been compared, and the comparison was over at `now`.
    pub fn confirm(&self, now: Millis) {
        self.checked_at.store(now.0, Ordering::Relaxed);
    }

    /// Whether to trust it at `now`, with the root directory of `generation` in force, if a
    /// comparison holds for `interval_millis` milliseconds. With 0 nothing holds.
    #[must_use]
    pub fn state(&self, generation: u64, now: Millis, interval_millis: u64) -> FreshnessState {
        if self.generation != generation {
            return FreshnessState::Invalid;
        }
        let checked_at = Millis(self.checked_at.load(Ordering::Relaxed));
        // Another thread's `now` may be later than ours.
        if now.since(checked_at) < interval_millis {
            FreshnessState::Fresh
        } else {
            FreshnessState::Stale
        }
    }

    /// Whether the caller is the one to compare it with the disk: true for one caller per interval,
    /// so that what is asked for often costs one look and not one per thread. Without an interval
    /// nobody can have looked for us.
    #[must_use]
    pub fn claim_check(&self, now: Millis, interval_millis: u64) -> bool {
        let checked_at = self.checked_at.load(Ordering::Relaxed);
        interval_millis == 0
            || now.since(Millis(checked_at)) >= interval_millis
                && self
                    .checked_at
                    .compare_exchange(checked_at, now.0, Ordering::Relaxed, Ordering::Relaxed)
                    .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_for_an_interval_and_one_caller_renews_it() {
        let learnt = Freshness::new(7, Millis(0));
        assert_eq!(learnt.state(7, Millis(999), 1_000), FreshnessState::Fresh);
        assert!(!learnt.claim_check(Millis(999), 1_000));
        assert_eq!(learnt.state(7, Millis(1_000), 1_000), FreshnessState::Stale);
        assert_eq!(
            learnt.state(7, Millis(1_000), 1_000),
            FreshnessState::Stale,
            "asking takes nothing away"
        );
        assert!(learnt.claim_check(Millis(1_000), 1_000));
        assert!(!learnt.claim_check(Millis(1_000), 1_000));
        assert_eq!(learnt.state(7, Millis(1_999), 1_000), FreshnessState::Fresh);
        assert!(learnt.claim_check(Millis(2_000), 1_000));
    }

    #[test]
    fn without_an_interval_everybody_looks() {
        let learnt = Freshness::new(7, Millis(0));
        for _ in 0..2 {
            assert_eq!(learnt.state(7, Millis(0), 0), FreshnessState::Stale);
            assert!(learnt.claim_check(Millis(0), 0));
        }
    }

    #[test]
    fn under_another_root_it_is_void() {
        assert_eq!(
            Freshness::new(7, Millis(0)).state(8, Millis(0), 1_000),
            FreshnessState::Invalid
        );
    }
}
