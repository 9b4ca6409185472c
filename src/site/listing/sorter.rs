//! Merge sort in slices: short runs are sorted as soon as they are full, and then merged in pairs.

use std::collections::VecDeque;
use std::iter::Peekable;
use std::vec::IntoIter;

use super::entries::DirectoryEntry;
use super::order::SortOrder;
use crate::site::waiting::Slice;

/// The number of entries in a run.
const RUN_ENTRIES: usize = 512;

/// The number of entries merged between two checks of the slice.
const MERGED_AT_ONCE: usize = 512;

/// Sorts entries.
#[derive(Debug)]
pub struct EntrySorter {
    order: SortOrder,
    /// The run that is being filled.
    open: Vec<DirectoryEntry>,
    runs: VecDeque<Vec<DirectoryEntry>>,
    merge: Option<Merge>,
}

#[derive(Debug)]
struct Merge {
    left: Peekable<IntoIter<DirectoryEntry>>,
    right: Peekable<IntoIter<DirectoryEntry>>,
    merged: Vec<DirectoryEntry>,
}

impl EntrySorter {
    /// A sorter without entries.
    #[must_use]
    pub fn new(order: SortOrder) -> EntrySorter {
        EntrySorter {
            order,
            open: Vec::new(),
            runs: VecDeque::new(),
            merge: None,
        }
    }

    /// Adds an entry.
    pub fn push(&mut self, entry: DirectoryEntry) {
        self.open.push(entry);
        if self.open.len() == RUN_ENTRIES {
            self.close_run();
        }
    }

    /// Continues to sort until `slice` is over. `None` if it is unfinished then; at the end all entries, in
    /// order.
    pub fn finish(&mut self, slice: &dyn Slice) -> Option<Vec<DirectoryEntry>> {
        if !self.open.is_empty() {
            self.close_run();
        }
        loop {
            if let Some(merge) = &mut self.merge {
                while merge.go_on(self.order) {
                    if slice.is_over() {
                        return None;
                    }
                }
            }
            if let Some(merge) = self.merge.take() {
                self.runs.push_back(merge.merged);
            }
            let first = self.runs.pop_front().unwrap_or_default();
            let Some(second) = self.runs.pop_front() else {
                return Some(first);
            };
            self.merge = Some(Merge {
                merged: Vec::with_capacity(first.len() + second.len()),
                left: first.into_iter().peekable(),
                right: second.into_iter().peekable(),
            });
        }
    }

    fn close_run(&mut self) {
        let mut run = std::mem::take(&mut self.open);
        self.order.sort(&mut run);
        self.runs.push_back(run);
    }
}

impl Merge {
    /// Merges some entries. Returns false if none are left.
    fn go_on(&mut self, order: SortOrder) -> bool {
        for _ in 0..MERGED_AT_ONCE {
            let is_right = match (self.left.peek(), self.right.peek()) {
                (Some(left), Some(right)) => order.compare(left, right).is_gt(),
                (None, _) => true,
                (_, None) => false,
            };
            let next = if is_right {
                self.right.next()
            } else {
                self.left.next()
            };
            let Some(entry) = next else {
                return false;
            };
            self.merged.push(entry);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::entries::EntryKind;
    use super::*;
    use crate::clock::Millis;
    use crate::site::waiting::FirstSlice;

    #[test]
    fn any_number_of_entries_is_sorted_in_slices() {
        for count in [0, 1, RUN_ENTRIES, RUN_ENTRIES + 1, 20_000] {
            let mut sorter = EntrySorter::new(SortOrder::DEFAULT);
            let number = |index: usize| (index * 7919) % 20_011;
            for index in 0..count {
                let name = number(index).to_string().into_bytes().into();
                sorter.push(DirectoryEntry {
                    name,
                    kind: EntryKind::File,
                    size: number(index) as u64,
                    modified_unix_secs: 0,
                });
            }
            let mut slices = 0;
            let sorted = loop {
                slices += 1;
                if let Some(sorted) = sorter.finish(&FirstSlice::new(Millis(0))) {
                    break sorted;
                }
            };
            assert_eq!(sorted.len(), count);
            assert!(sorted.is_sorted_by_key(|entry| entry.size));
            assert_eq!(slices > 1, count == 20_000, "{slices} slices");
        }
    }
}
