//! The admission rule of a full cache: a file is admitted at its second load. Names of directories are read
//! at the second load as well.
//!
//! A crawler asks for each file of a site once. If each of them took the place of another, the files that
//! people ask for would leave the cache. And to admit, count and evict an entry takes longer than the load of
//! a small file from the kernel's memory.

use std::hash::{BuildHasher, Hash};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use quick_cache::DefaultHashBuilder;

use crate::clock::Millis;

/// Bytes of a cache for each load that is remembered. Most entries weigh more, so the rule remembers more
/// loads than the cache has entries.
const BYTES_PER_LOAD: u64 = 1024;

/// The largest number of loads that are remembered.
const MAX_LOADS: u64 = 1 << 18;

/// The bits of a note that are of the key. The others are of the time.
const KEY_BITS: u32 = !0xFF;
const LOWEST_KEY_BIT: u32 = 0x100;

/// The unit of the time in a note, in milliseconds.
const STEP_MILLIS: u64 = 250;

/// Whether `last` is a note of the same key as `note`, from an earlier step.
fn is_earlier(last: u32, note: u32) -> bool {
    (last ^ note) & KEY_BITS == 0 && last != note
}

/// The keys of recent loads.
#[derive(Debug)]
pub struct Newcomers {
    hasher: DefaultHashBuilder,
    /// The note of the last key that its hash has led to this place. 0 if there was none.
    notes: OnceLock<Box<[AtomicU32]>>,
    /// The number of notes, which are allocated at the first load that is noted: most caches are never full.
    len: usize,
}

impl Newcomers {
    /// The rule of a cache of this size, in bytes.
    #[must_use]
    pub fn new(cache_bytes: u64) -> Newcomers {
        let loads = (cache_bytes / BYTES_PER_LOAD).clamp(1, MAX_LOADS);
        Newcomers {
            hasher: DefaultHashBuilder::default(),
            notes: OnceLock::new(),
            len: usize::try_from(loads).unwrap_or(1),
        }
    }

    /// Whether a load under `key` was noted lately, by another request. Notes this one, at `now`, if none was
    /// noted. A request may load a file twice, but not a quarter of a second later.
    #[must_use]
    pub fn admit(&self, key: &impl Hash, now: Millis) -> bool {
        let (place, note) = self.place(key, now);
        // Relaxed: a lost note delays an admission, no more.
        let last = place.load(Ordering::Relaxed);
        if (last ^ note) & KEY_BITS != 0 {
            place.store(note, Ordering::Relaxed);
        }
        is_earlier(last, note)
    }

    /// Whether a load under `key` was noted lately, by another request than one at `now`.
    #[must_use]
    pub fn knows(&self, key: &impl Hash, now: Millis) -> bool {
        let (place, note) = self.place(key, now);
        is_earlier(place.load(Ordering::Relaxed), note)
    }

    /// The place for the note of `key`, and the note, which is not 0: some bits of its hash, and of the time.
    fn place(&self, key: &impl Hash, now: Millis) -> (&AtomicU32, u32) {
        let hash = self.hasher.hash_one(key);
        let allocate = || (0..self.len).map(|_| AtomicU32::new(0)).collect();
        // There is at least one place.
        let place = hash as u32 as usize % self.len;
        let step = (now.0 / STEP_MILLIS) as u32 & !KEY_BITS;
        let note = (hash >> 32) as u32 & KEY_BITS | LOWEST_KEY_BIT | step;
        (&self.notes.get_or_init(allocate)[place], note)
    }

    /// The memory that this value needs once a load is noted, in bytes.
    #[must_use]
    pub fn memory(&self) -> u64 {
        (self.len * size_of::<AtomicU32>()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_admitted_at_its_second_load_unless_many_others_came_between() {
        let newcomers = Newcomers::new(64 * 1024);
        let admit = |key: &str, millis| newcomers.admit(&key, Millis(millis));
        assert!(!admit("/a", 0) && !admit("/a", 249), "the same request");
        assert!(admit("/a", 250) && newcomers.knows(&"/a", Millis(600)));
        for other in 0..10_000 {
            let _ = admit(&other.to_string(), 0);
        }
        assert!(!admit("/a", 5_000));
        assert_eq!(newcomers.memory(), 256);
    }
}
