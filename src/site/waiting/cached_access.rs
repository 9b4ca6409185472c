//! Whether files are loaded from the kernel's memory by threads that must not block.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Millis;

/// The permission for all threads to open and read what the kernel has in memory. It can be suspended.
#[derive(Debug, Default)]
pub struct CachedAccess {
    /// In milliseconds.
    suspended_until: AtomicU64,
}

impl CachedAccess {
    /// Whether the permission holds at `now`.
    #[must_use]
    pub fn is_permitted(&self, now: Millis) -> bool {
        self.suspended_until.load(Ordering::Relaxed) <= now.0
    }

    /// Suspends the permission until this time.
    pub fn suspend(&self, until: Millis) {
        self.suspended_until.store(until.0, Ordering::Relaxed);
    }
}
