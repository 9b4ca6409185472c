//! How often memory had the result of a lookup.
//!
//! Every request counts here, on any thread. One counter for all would travel between the caches of the CPUs,
//! so each thread has a set of its own, unless there are more threads than sets.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The sets of counters.
const SETS: usize = 16;

/// The result of a lookup, by the kind that memory keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupKind {
    /// A file.
    File,
    /// A path without a file.
    Absence,
}

/// Lookups by kind and result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LookupTotals {
    /// Files that memory had.
    pub file_hits: u64,
    /// Files that were loaded from the disk.
    pub file_misses: u64,
    /// Paths of which memory knew that they have no file.
    pub absence_hits: u64,
    /// Paths that were looked up on the disk and have no file.
    pub absence_misses: u64,
}

/// The counters of all lookups.
#[derive(Debug)]
pub struct LookupCounts {
    sets: [CounterSet; SETS],
}

/// The counters of one thread, in cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct CounterSet {
    hits: [AtomicU64; 2],
    misses: [AtomicU64; 2],
}

thread_local! {
    /// The set of the thread, once it has one.
    static SET: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The set of the next thread that needs one.
static NEXT_SET: AtomicUsize = AtomicUsize::new(0);

impl Default for LookupCounts {
    fn default() -> LookupCounts {
        LookupCounts {
            sets: std::array::from_fn(|_| CounterSet::default()),
        }
    }
}

impl LookupCounts {
    /// Counts a result that memory had, or that another request has just loaded.
    #[inline]
    pub fn hit(&self, kind: LookupKind) {
        self.set().hits[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a result that came from the disk.
    pub fn miss(&self, kind: LookupKind) {
        self.set().misses[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The sum of all threads.
    #[must_use]
    pub fn totals(&self) -> LookupTotals {
        let mut totals = LookupTotals::default();
        for CounterSet { hits, misses } in &self.sets {
            totals.file_hits += hits[0].load(Ordering::Relaxed);
            totals.absence_hits += hits[1].load(Ordering::Relaxed);
            totals.file_misses += misses[0].load(Ordering::Relaxed);
            totals.absence_misses += misses[1].load(Ordering::Relaxed);
        }
        totals
    }

    #[inline]
    fn set(&self) -> &CounterSet {
        let set = SET.get().unwrap_or_else(|| {
            let next = NEXT_SET.fetch_add(1, Ordering::Relaxed) % SETS;
            SET.set(Some(next));
            next
        });
        &self.sets[set]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_threads_count() {
        let counts = LookupCounts::default();
        std::thread::scope(|scope| {
            for _ in 0..SETS + 4 {
                scope.spawn(|| {
                    counts.hit(LookupKind::File);
                    counts.miss(LookupKind::Absence);
                });
            }
        });
        let threads = SETS as u64 + 4;
        let expected = LookupTotals {
            file_hits: threads,
            absence_misses: threads,
            ..LookupTotals::default()
        };
        assert_eq!(counts.totals(), expected);
    }
}
