//! The budget of file descriptors, which connections and large files share.
//!
//! A large file is sent from its descriptor, which stays open until the response is sent. So a server full of
//! slow readers needs two descriptors per connection. But reserving half of all descriptors for files would
//! halve the number of idle connections. So there is one budget: each connection takes one descriptor of it,
//! and so does each large file that is open, cached or being sent. A file that several responses share counts
//! once. The last tenth is reserved for connections: large files are refused then, and memory still answers.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rustix::io::Errno;

use super::deferred_close;
use crate::http::response::FileSource;

/// The largest number of large files that the cache keeps open.
pub const MAX_CACHED_FILES: u64 = 512;

/// The budget of descriptors for connections and open files together.
#[derive(Debug)]
pub struct DescriptorBudget {
    used: AtomicUsize,
    limit: usize,
    /// Descriptors that files must not take.
    reserved_for_connections: usize,
    cached_files: u64,
    /// The devices of the roots.
    roots: RwLock<Vec<u64>>,
}

/// An open large file, counted until it is closed.
#[derive(Debug)]
pub struct OpenFile {
    /// Shared with the thread that closes it, in the moment of the drop.
    file: Arc<File>,
    budget: Arc<DescriptorBudget>,
    /// Whether the file is on a device that holds no root.
    is_beyond_mount: bool,
}

impl DescriptorBudget {
    /// A budget for `connections` connections and, in addition, `cached_files` cached files. Files may
    /// use what connections do not use, except the last tenth.
    #[must_use]
    pub fn new(connections: usize, cached_files: u64) -> DescriptorBudget {
        let files = usize::try_from(cached_files).unwrap_or(usize::MAX);
        DescriptorBudget {
            used: AtomicUsize::new(0),
            limit: connections.saturating_add(files),
            reserved_for_connections: connections / 10,
            cached_files,
            roots: RwLock::default(),
        }
    }

    /// A budget without a limit.
    #[must_use]
    pub fn unlimited() -> DescriptorBudget {
        DescriptorBudget::new(usize::MAX, MAX_CACHED_FILES)
    }

    /// Registers the `device` of a root.
    pub fn note_root(&self, device: u64) {
        let mut roots = self.roots.write().unwrap_or_else(PoisonError::into_inner);
        if !roots.contains(&device) {
            roots.push(device);
        }
    }

    /// The number of files that the cache may keep open.
    #[must_use]
    pub fn cached_files(&self) -> u64 {
        self.cached_files
    }

    /// Takes a descriptor for a connection; false if none is left.
    #[must_use]
    pub fn take(&self) -> bool {
        self.take_below(self.limit)
    }

    /// Gives a descriptor back.
    pub fn give_back(&self) {
        self.used.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether no descriptor is left.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.used.load(Ordering::Relaxed) >= self.limit
    }

    /// The number of descriptors that must be given back before a file can be opened.
    #[must_use]
    pub fn excess(&self) -> usize {
        let used = self.used.load(Ordering::Relaxed);
        used.saturating_add(1)
            .saturating_sub(self.limit - self.reserved_for_connections)
    }

    /// Counts `file`, which is on `device`, until it is closed.
    ///
    /// # Errors
    /// ENFILE if no descriptor is left for a file; `file` is closed.
    pub fn admit(self: &Arc<DescriptorBudget>, file: File, device: u64) -> io::Result<OpenFile> {
        if !self.take_below(self.limit - self.reserved_for_connections) {
            return Err(Errno::NFILE.into());
        }
        let roots = self.roots.read().unwrap_or_else(PoisonError::into_inner);
        Ok(OpenFile {
            file: Arc::new(file),
            budget: Arc::clone(self),
            is_beyond_mount: !roots.contains(&device),
        })
    }

    fn take_below(&self, limit: usize) -> bool {
        // Relaxed: the counter guards no other data.
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
        if deferred_close::is_deleted(&self.file) {
            let budget = Arc::clone(&self.budget);
            deferred_close::close_elsewhere(Arc::clone(&self.file), move || budget.give_back());
        } else {
            self.budget.give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Weak;
    use std::time::{Duration, Instant};

    fn file() -> File {
        File::open(std::env::current_exe().expect("this test")).expect("open")
    }

    #[test]
    fn a_deleted_file_is_closed_by_a_thread_of_its_own_and_counted_until_then() {
        let budget = Arc::new(DescriptorBudget::new(1, 200));
        let deleted = || tempfile::tempfile().expect("a file without a name");
        let open: Vec<_> = (0..200).map(|_| budget.admit(deleted(), 1)).collect();
        let files: Vec<Weak<File>> = open
            .iter()
            .flatten()
            .map(|open| Arc::downgrade(&open.file))
            .collect();
        assert!(files.len() == 200 && budget.take() && budget.is_spent());
        drop(open);
        let start = Instant::now();
        while budget.used.load(Ordering::Relaxed) > 1 {
            assert!(start.elapsed() < Duration::from_secs(10));
            std::thread::yield_now();
        }
        assert!(files.iter().all(|file| file.upgrade().is_none()));
    }

    #[test]
    fn files_may_use_what_connections_do_not_except_a_tenth() {
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
    fn all_connections_have_a_descriptor_whatever_the_cache_keeps() {
        let budget = Arc::new(DescriptorBudget::new(20, 4));
        let cached: Vec<_> = (0..4).map(|_| budget.admit(file(), 1)).collect();
        assert!((0..20).all(|_| budget.take()));
        assert!(budget.is_spent() && cached.iter().all(Result::is_ok));
        assert_eq!(budget.excess(), 3, "until one more file can be opened");
    }
}
