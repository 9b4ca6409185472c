//! How long a cached fact about the disk may be used before it is compared with the disk.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::clock::Millis;
use crate::site::waiting::PendingRevalidation;

/// When a cached fact was last compared with the disk, and the root directory that it belongs to.
#[derive(Debug)]
pub struct Freshness {
    generation: u64,
    checked_at: AtomicU64,
    /// The order for a comparison, if one is pending.
    pub pending: PendingRevalidation,
    is_beyond_mount: AtomicBool,
}

/// Whether a cached fact may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FreshnessState {
    /// The fact may be used as it is.
    Fresh,
    /// The fact must be compared with the disk first.
    Stale,
    /// The fact belongs to another root directory, and says nothing about this one.
    Invalid,
}

impl Freshness {
    /// The freshness of a fact that is obtained at `now` in the root directory of `generation`. `now`
    /// must be taken before the disk is read, so that later changes count as later.
    #[must_use]
    pub fn new(generation: u64, now: Millis) -> Freshness {
        Freshness {
            generation,
            checked_at: AtomicU64::new(now.0),
            pending: PendingRevalidation::default(),
            is_beyond_mount: AtomicBool::new(false),
        }
    }

    /// Whether a comparison was found to lead [beyond a mount point](Freshness::mark_beyond_mount).
    #[must_use]
    pub fn is_beyond_mount(&self) -> bool {
        self.is_beyond_mount.load(Ordering::Relaxed)
    }

    /// Notes that a comparison leads beyond a mount point, so that only a thread of that file system
    /// makes it.
    pub fn mark_beyond_mount(&self) {
        self.is_beyond_mount.store(true, Ordering::Relaxed);
    }

    /// When the fact was obtained or last compared.
    #[must_use]
    pub fn checked_at(&self) -> Millis {
        Millis(self.checked_at.load(Ordering::Relaxed))
    }

    /// Milliseconds since the last comparison.
    #[must_use]
    pub fn age_millis(&self, now: Millis) -> u64 {
        now.since(Millis(self.checked_at.load(Ordering::Relaxed)))
    }

    /// Notes that a comparison has confirmed the fact, and ended at `now`.
    pub fn confirm(&self, now: Millis) {
        self.checked_at.store(now.0, Ordering::Relaxed);
    }

    /// The state at `now`, with the current root directory of `generation`, if a comparison holds for
    /// `interval_millis` milliseconds. With an interval of 0 no fact is fresh.
    #[must_use]
    pub fn state(&self, generation: u64, now: Millis, interval_millis: u64) -> FreshnessState {
        if self.generation != generation {
            return FreshnessState::Invalid;
        }
        let checked_at = Millis(self.checked_at.load(Ordering::Relaxed));
        // `now` may be earlier than `checked_at`, which another thread has set.
        if now.since(checked_at) < interval_millis {
            FreshnessState::Fresh
        } else {
            FreshnessState::Stale
        }
    }

    /// Claims the comparison with the disk. True for one caller per interval, so that a popular file
    /// costs one comparison and not one per thread. With an interval of 0 it is true for every caller.
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
    fn a_fact_is_fresh_for_an_interval_and_one_caller_renews_it() {
        let freshness = Freshness::new(7, Millis(0));
        assert_eq!(
            freshness.state(7, Millis(999), 1_000),
            FreshnessState::Fresh
        );
        assert!(!freshness.claim_check(Millis(999), 1_000));
        assert_eq!(
            freshness.state(7, Millis(1_000), 1_000),
            FreshnessState::Stale
        );
        assert_eq!(
            freshness.state(7, Millis(1_000), 1_000),
            FreshnessState::Stale,
            "asking takes nothing away"
        );
        assert!(freshness.claim_check(Millis(1_000), 1_000));
        assert!(!freshness.claim_check(Millis(1_000), 1_000));
        assert_eq!(
            freshness.state(7, Millis(1_999), 1_000),
            FreshnessState::Fresh
        );
        assert!(freshness.claim_check(Millis(2_000), 1_000));
    }

    #[test]
    fn without_an_interval_every_caller_compares() {
        let freshness = Freshness::new(7, Millis(0));
        for _ in 0..2 {
            assert_eq!(freshness.state(7, Millis(0), 0), FreshnessState::Stale);
            assert!(freshness.claim_check(Millis(0), 0));
        }
    }

    #[test]
    fn under_another_root_a_fact_is_invalid() {
        assert_eq!(
            Freshness::new(7, Millis(0)).state(8, Millis(0), 1_000),
            FreshnessState::Invalid
        );
    }
}
