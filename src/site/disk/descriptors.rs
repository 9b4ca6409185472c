//! File descriptors, which connections and large files share.
//!
//! A large file is sent from its descriptor, which stays open for as long as the answer is under way: a
//! server full of slow readers needs two descriptors for each connection. Keeping half of all descriptors
//! for that would halve the number of idle connections. So there is one budget for both: each connection
//! takes one of it, and so does each large file that is open, cached or under way. A file that several
//! answers share counts once. The last tenth is for connections: files are not opened any more, so that
//! those who want something from memory are still served.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rustix::io::Errno;

use crate::http::response::FileSource;

/// Large files that the cache keeps open at most.
pub const MAX_CACHED_FILES: u64 = 512;

/// How many descriptors connections and open files may have together.
#[derive(Debug)]
pub struct DescriptorBudget {
    used: AtomicUsize,
    limit: usize,
    /// Descriptors that files leave to connections.
    kept_from_files: usize,
    cached_files: u64,
    /// The devices that roots are on.
    roots: RwLock<Vec<u64>>,
}

/// A large file that is open, counted until it is closed.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    budget: Arc<DescriptorBudget>,
    /// Whether the file is on another device than the roots.
    is_beyond_mount: bool,
}

impl DescriptorBudget {
    /// A budget for `connections` connections and `cached_files` files in the cache besides. What the
    /// connections do not use, but for a tenth, files may have.
    #[must_use]
    pub fn new(connections: usize, cached_files: u64) -> DescriptorBudget {
        let files = usize::try_from(cached_files).unwrap_or(usize::MAX);
        DescriptorBudget {
            used: AtomicUsize::new(0),
            limit: connections.saturating_add(files),
            kept_from_files: connections / 10,
            cached_files,
            roots: RwLock::default(),
        }
    }

    /// A budget that never ends.
    #[must_use]
    pub fn unlimited() -> DescriptorBudget {
        DescriptorBudget::new(usize::MAX, MAX_CACHED_FILES)
    }

    /// Takes note of the `device` that a root is on.
    pub fn note_root(&self, device: u64) {
        let is_known = |roots: &Vec<u64>| roots.contains(&device);
        if is_known(&self.roots.read().unwrap_or_else(PoisonError::into_inner)) {
            return;
        }
        let mut roots = self.roots.write().unwrap_or_else(PoisonError::into_inner);
        if !is_known(&roots) {
            roots.push(device);
        }
    }

    /// How many files the cache may keep open.
    #[must_use]
    pub fn cached_files(&self) -> u64 {
        self.cached_files
    }

    /// Takes one for a connection, if there is one left.
    #[must_use]
    pub fn take(&self) -> bool {
        self.take_below(self.limit)
    }

    /// Gives one back.
    pub fn give_back(&self) {
        self.used.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.used.load(Ordering::Relaxed) >= self.limit
    }

    /// How many have to be given back for files to be opened again.
    #[must_use]
    pub fn excess(&self) -> usize {
        let used = self.used.load(Ordering::Relaxed);
        used.saturating_add(1)
            .saturating_sub(self.limit - self.kept_from_files)
    }

    /// Counts `file`, which is on `device`, as long as it is open.
    ///
    /// # Errors
    /// ENFILE if no descriptor is left for a file; it is closed.
    pub fn admit(self: &Arc<DescriptorBudget>, file: File, device: u64) -> io::Result<OpenFile> {
        if !self.take_below(self.limit - self.kept_from_files) {
            return Err(Errno::NFILE.into());
        }
        let roots = self.roots.read().unwrap_or_else(PoisonError::into_inner);
        Ok(OpenFile {
            file,
            budget: Arc::clone(self),
            is_beyond_mount: !roots.contains(&device),
        })
    }

    fn take_below(&self, limit: usize) -> bool {
        // Relaxed: it is a number, and guards nothing.
        let before = self.used.fetch_add(1, Ordering::Relaxed);
        let is_left = before < limit;
        if !is_left {
            self.give_back();
        }
        is_left
    }
}

impl FileSource for OpenFile {
    fn at(&self, offset: u64) -> (&File, u64) {
        (&self.file, offset)
    }

    fn is_beyond_mount(&self) -> bool {
        self.is_beyond_mount
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.budget.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> File {
        tempfile::tempfile().expect("temporary file")
    }

    #[test]
    fn files_have_what_connections_do_not_use_but_for_a_tenth() {
        let budget = Arc::new(DescriptorBudget::new(20, 4));
        let mut open: Vec<OpenFile> = (0..22)
            .map(|_| budget.admit(file(), 1).expect("room"))
            .collect();
        let error = budget
            .admit(file(), 1)
            .expect_err("the rest is for connections");
        assert_eq!(error.raw_os_error(), Some(Errno::NFILE.raw_os_error()));
        assert!(budget.take() && budget.take() && !budget.take());
        assert!(budget.is_spent());
        open.truncate(19);
        assert!(!budget.is_spent());
        assert!(budget.admit(file(), 1).is_ok());
    }

    #[test]
    fn a_file_on_another_device_than_the_roots_is_beyond_a_mount_point() {
        let budget = Arc::new(DescriptorBudget::unlimited());
        [1, 7, 1]
            .into_iter()
            .for_each(|device| budget.note_root(device));
        let is_beyond = |device| {
            let open = budget.admit(file(), device).expect("room");
            open.is_beyond_mount()
        };
        assert_eq!([1, 7, 8].map(is_beyond), [false, false, true]);
    }

    #[test]
    fn all_connections_have_one_whatever_the_cache_keeps() {
        let budget = Arc::new(DescriptorBudget::new(20, 4));
        let cached: Vec<_> = (0..4).map(|_| budget.admit(file(), 1)).collect();
        assert!((0..20).all(|_| budget.take()));
        assert!(budget.is_spent() && cached.iter().all(Result::is_ok));
        assert_eq!(budget.excess(), 3, "until one more file can be opened");
    }
}
