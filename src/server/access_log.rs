//! The file behind the access log. Threads collect lines and leave them here; a writer appends them,
//! whole lines only ([`line_writer`](super::line_writer)).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use super::line_writer::{LineQueue, Notices, Sink};
use crate::config::AccessLogTarget;

/// Lines are handed over when a thread has collected this many bytes.
pub const FLUSH_BYTES: usize = 32 * 1024;

/// A line is kept no longer than this before it is handed over.
pub const FLUSH_AFTER: Duration = Duration::from_millis(500);

/// Bytes of lines that wait for the writer, or are being written, at most.
const MAX_WAITING_BYTES: usize = 4 * 1024 * 1024;

const NOTICES: Notices = Notices {
    failed: |why| {
        log::error!("the access log cannot be written: {why}; lines are lost until it can");
    },
    recovered: |lines| {
        log::error!("the access log can be written again; lines lost: {lines}");
    },
};

/// An open access log.
#[derive(Debug)]
pub struct AccessLog {
    queue: Arc<LineQueue>,
    is_file: bool,
}

impl AccessLog {
    /// Opens the log for appending, making the file if it does not exist, and starts its writer.
    ///
    /// # Errors
    /// As open(2) and pthread_create(3); also if it is a FIFO that nobody reads.
    pub fn open(target: &AccessLogTarget) -> io::Result<AccessLog> {
        let start = |sink| LineQueue::start("access-log", MAX_WAITING_BYTES, NOTICES, sink);
        let (queue, is_file) = match target {
            AccessLogTarget::Stdout => (start(LogSink::Stdout(io::stdout())), false),
            AccessLogTarget::File(path) => {
                let file = append_to(path)?;
                let path = path.clone();
                (start(LogSink::File { path, file }), true)
            }
        };
        let queue = queue?;
        Ok(AccessLog { queue, is_file })
    }

    /// Takes over `lines`, and empties the buffer, without waiting for the disk. If that does not keep
    /// up, lines are lost rather than memory.
    pub fn leave(&self, lines: &mut Vec<u8>) {
        self.queue.leave(lines);
    }

    /// Has the path opened again, after logrotate has moved the file away, for the lines that are left
    /// from now on. If that fails the old file stays in use.
    pub fn reopen(&self) {
        if self.is_file {
            self.queue.reopen();
        }
    }

    /// Waits until the lines are written, `patience` at most, and reports how many are lost then.
    pub fn finish(&self, patience: Duration) {
        if !self.queue.flush(patience) || self.queue.unwritten() > 0 {
            let lost = self.queue.unwritten();
            log::error!("the access log is not complete; lines lost at the end: {lost}");
        }
    }

    /// Lines that were dropped since the start, because the log could not be written.
    #[must_use]
    pub fn lines_dropped(&self) -> u64 {
        self.queue.dropped_total()
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// The destination of the lines.
enum LogSink {
    Stdout(io::Stdout),
    File { path: PathBuf, file: File },
}

impl Sink for LogSink {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            LogSink::Stdout(stdout) => stdout.as_fd(),
            LogSink::File { file, .. } => file.as_fd(),
        }
    }

    fn reopen(&mut self) -> bool {
        let LogSink::File { path, file } = self else {
            return false;
        };
        match append_to(path) {
            Ok(opened) => *file = opened,
            Err(error) => {
                let path = path.display();
                log::error!(
                    "the access log {path} cannot be reopened: {error}; the old file stays in use"
                );
                return false;
            }
        }
        true
    }
}

/// Opens without blocking: a FIFO that nobody reads is an error then (open(2): ENXIO).
fn append_to(path: &Path) -> io::Result<File> {
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let opened = OpenOptions::new()
        .append(true)
        .create(true)
        .custom_flags(nonblocking)
        .open(path);
    let file = opened.map_err(|error| {
        let is_fifo = || std::fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo());
        if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) && is_fifo() {
            io::Error::other("no process reads this FIFO")
        } else {
            error
        }
    })?;
    // The writer waits in write(2).
    let flags = fcntl_getfl(&file)?;
    fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Longer than any test takes.
    const LONG: Duration = Duration::from_secs(30);

    fn log_in(path: &Path) -> AccessLog {
        AccessLog::open(&AccessLogTarget::File(path.to_owned())).expect("open")
    }

    #[test]
    fn a_moved_file_is_followed_only_after_reopening() {
        let place = tempfile::tempdir().expect("temporary directory");
        let path = place.path().join("access.log");
        let log = log_in(&path);
        log.leave(&mut b"one\n".to_vec());
        let moved = place.path().join("access.log.1");
        std::fs::rename(&path, &moved).expect("rename");
        log.leave(&mut b"two\n".to_vec());
        log.reopen();
        log.leave(&mut b"three\n".to_vec());
        assert!(log.queue.flush(LONG));
        assert_eq!(std::fs::read_to_string(&moved).expect("read"), "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "three\n");
    }

    #[test]
    fn a_full_disk_is_not_fatal() {
        let log = log_in(Path::new("/dev/full"));
        let mut lines = b"one\ntwo\n".to_vec();
        log.leave(&mut lines);
        assert!(lines.is_empty());
        assert!(log.queue.flush(LONG));
        assert_eq!(log.lines_dropped(), 2);
        assert_eq!(log.queue.unwritten(), 2, "to be reported at the end");
    }
}
