//! The admission rule of a full cache: a file is admitted at its second load. Names of directories are read
//! at the second load as well.
//!
//! A crawler asks for each file of a site once. If each of them took the place of another, the files that
//! people ask for would leave the cache. And to admit, count and evict an entry takes longer than the load of
//! a small file from the kernel's memory.

use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU32, Ordering};

use quick_cache::DefaultHashBuilder;

/// Bytes of a cache for each load that is remembered. Most entries weigh more, so the rule remembers more
/// loads than the cache has entries.
const BYTES_PER_LOAD: u64 = 1024;

/// The largest number of loads that are remembered.
const MAX_LOADS: u64 = 1 << 18;

/// The keys of recent loads.
#[derive(Debug)]
pub struct Newcomers {
    hasher: DefaultHashBuilder,
    /// The upper half of the hash of the last key that the lower half has led to. 0 if there was none.
    loads: Box<[AtomicU32]>,
}

impl Newcomers {
    /// The rule of a cache of this size, in bytes.
    #[must_use]
    pub fn new(cache_bytes: u64) -> Newcomers {
        let loads = (cache_bytes / BYTES_PER_LOAD).clamp(1, MAX_LOADS);
        Newcomers {
            hasher: DefaultHashBuilder::default(),
            loads: (0..loads).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    /// Whether a load under `key` was noted lately. Notes this one, if not.
    #[must_use]
    pub fn admit(&self, key: &impl Hash) -> bool {
        let (place, tag) = self.place(key);
        // Relaxed: a lost note delays an admission, no more.
        let is_known = place.load(Ordering::Relaxed) == tag;
        if !is_known {
            place.store(tag, Ordering::Relaxed);
        }
        is_known
    }

    /// Whether a load under `key` was noted lately.
    #[must_use]
    pub fn knows(&self, key: &impl Hash) -> bool {
        let (place, tag) = self.place(key);
        place.load(Ordering::Relaxed) == tag
    }

    /// The place for the note of `key`, and the note, which is not 0.
    fn place(&self, key: &impl Hash) -> (&AtomicU32, u32) {
        let hash = self.hasher.hash_one(key);
        // There is at least one place.
        let place = hash as u32 as usize % self.loads.len();
        (&self.loads[place], (hash >> 32) as u32 | 1)
    }

    /// The memory of this value, in bytes.
    #[must_use]
    pub fn memory(&self) -> u64 {
        size_of_val(&*self.loads) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_admitted_at_its_second_load_unless_many_others_came_between() {
        let newcomers = Newcomers::new(64 * 1024);
        assert!(!newcomers.admit(&"/a") && newcomers.admit(&"/a"));
        for other in 0..10_000 {
            let _ = newcomers.admit(&other);
        }
        assert!(!newcomers.admit(&"/a"));
        assert_eq!(newcomers.memory(), 256);
    }
}
