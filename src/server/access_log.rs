//! The file behind the access log. Threads collect lines, workers append them here, whole lines only.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use crate::config::AccessLogTarget;

/// Lines are written when a thread has collected this many bytes.
pub const FLUSH_BYTES: usize = 32 * 1024;

/// A line is kept no longer than this before it is written.
pub const FLUSH_AFTER: Duration = Duration::from_millis(500);

/// Bytes of lines that wait for a worker at most.
const MAX_LEFT_BYTES: usize = 4 * 1024 * 1024;

/// An open access log.
#[derive(Debug)]
pub struct AccessLog {
    target: AccessLogTarget,
    /// `None`: standard output.
    file: RwLock<Option<File>>,
    has_failed: AtomicBool,
    /// Lines of a thread that may not wait for the disk; a worker writes them.
    left: Mutex<Vec<u8>>,
}

impl AccessLog {
    /// Opens the log for appending, making the file if it does not exist.
    ///
    /// # Errors
    /// As open(2).
    pub fn open(target: &AccessLogTarget) -> io::Result<AccessLog> {
        let file = RwLock::new(open(target)?);
        Ok(AccessLog {
            target: target.clone(),
            file,
            has_failed: AtomicBool::new(false),
            left: Mutex::new(Vec::new()),
        })
    }

    /// Takes over `lines`, and empties the buffer, without waiting for the disk. Whether somebody else
    /// has to call [`append_left`](AccessLog::append_left); not if somebody has been told to already.
    /// If the disk does not keep up, lines are lost rather than memory.
    pub fn leave(&self, lines: &mut Vec<u8>) -> bool {
        if lines.is_empty() {
            return false;
        }
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = left.is_empty();
        if left.len() + lines.len() > MAX_LEFT_BYTES {
            lines.clear();
            drop(left);
            self.report(&"the disk does not keep up");
            return false;
        }
        left.append(lines);
        is_first
    }

    /// Appends the lines that were left.
    pub fn append_left(&self) {
        let mut lines = {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *left)
        };
        self.append(&mut lines);
    }

    /// Opens the path again, after logrotate has moved the file away. If that fails the old file
    /// stays in use.
    pub fn reopen(&self) {
        if self.target == AccessLogTarget::Stdout {
            return;
        }
        match open(&self.target) {
            Ok(file) => *self.file.write().unwrap_or_else(PoisonError::into_inner) = file,
            Err(error) => log::error!("the access log cannot be reopened: {error}"),
        }
    }

    /// Appends `lines` and empties the buffer. A full disk loses lines, not the server: it is
    /// reported once until writing works again.
    pub fn append(&self, lines: &mut Vec<u8>) {
        if lines.is_empty() {
            return;
        }
        let file = self.file.read().unwrap_or_else(PoisonError::into_inner);
        // O_APPEND and one write: lines of several workers do not mix.
        let result = match &*file {
            Some(file) => (&*file).write_all(lines),
            None => io::stdout().lock().write_all(lines),
        };
        lines.clear();
        match result {
            Ok(()) => self.has_failed.store(false, Ordering::Relaxed),
            Err(error) => self.report(&error),
        }
    }

    fn report(&self, why: &dyn std::fmt::Display) {
        if !self.has_failed.swap(true, Ordering::Relaxed) {
            log::error!("the access log cannot be written: {why}; lines are lost until it can");
        }
    }
}

fn open(target: &AccessLogTarget) -> io::Result<Option<File>> {
    match target {
        AccessLogTarget::Stdout => Ok(None),
        AccessLogTarget::File(path) => append_to(path).map(Some),
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_file_is_followed_only_after_reopening() {
        let place = tempfile::tempdir().expect("temporary directory");
        let path = place.path().join("access.log");
        let log = AccessLog::open(&AccessLogTarget::File(path.clone())).expect("open");
        log.append(&mut b"one\n".to_vec());
        let moved = place.path().join("access.log.1");
        std::fs::rename(&path, &moved).expect("rename");
        log.append(&mut b"two\n".to_vec());
        log.reopen();
        log.append(&mut b"three\n".to_vec());
        assert_eq!(std::fs::read_to_string(&moved).expect("read"), "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "three\n");
    }

    #[test]
    fn what_is_left_is_bounded_and_one_worker_is_sent_for_it() {
        let place = tempfile::tempdir().expect("temporary directory");
        let path = place.path().join("access.log");
        let log = AccessLog::open(&AccessLogTarget::File(path.clone())).expect("open");
        assert!(!log.leave(&mut Vec::new()));
        assert!(log.leave(&mut b"one\n".to_vec()));
        assert!(!log.leave(&mut b"two\n".to_vec()), "somebody is on the way");
        let mut much = vec![b'x'; MAX_LEFT_BYTES];
        assert!(!log.leave(&mut much) && much.is_empty());
        assert!(log.has_failed.load(Ordering::Relaxed));
        log.append_left();
        assert!(log.leave(&mut b"three\n".to_vec()));
        log.append_left();
        let written = std::fs::read_to_string(&path).expect("read");
        assert_eq!(written, "one\ntwo\nthree\n");
    }

    #[test]
    fn a_full_disk_is_not_fatal() {
        let log = AccessLog::open(&AccessLogTarget::File("/dev/full".into())).expect("open");
        let mut lines = b"line\n".to_vec();
        log.append(&mut lines);
        assert!(lines.is_empty());
        assert!(log.has_failed.load(Ordering::Relaxed));
    }
}
