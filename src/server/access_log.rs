//! The access log. Threads collect lines and pass them to its queue, and a writer thread appends them to the
//! file, whole lines only ([`line_writer`](super::line_writer)).
//!
//! A path may name a descriptor that the process has already, such as `/dev/stdout`. To open such a path fails
//! for a socket, and for a terminal or pipe of another user. So the descriptors of standard output and standard
//! error are duplicated.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Access, OFlags, access, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use super::line_writer::{LineQueue, LossCallbacks, Sink};
use crate::config::AccessLogTarget;

/// Bytes of lines that a thread collects before it passes them on.
pub const FLUSH_BYTES: usize = 32 * 1024;

/// The longest time that a thread keeps a line before it passes the line on.
pub const FLUSH_AFTER: Duration = Duration::from_millis(500);

/// The most bytes of lines that wait for the writer or are being written.
const MAX_WAITING_BYTES: usize = 4 * 1024 * 1024;

/// The directories whose names are the numbers of the descriptors of this process.
const OWN_DESCRIPTORS: [&str; 2] = ["/dev/fd/", "/proc/self/fd/"];

/// The permissions of a new file: the user and the group of the server may read it (chmod(2)).
const FILE_MODE: u32 = 0o640;

const CALLBACKS: LossCallbacks = LossCallbacks {
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
    /// Opens the log for appending, creates the file if there is none, and starts the writer.
    ///
    /// # Errors
    /// As open(2) and pthread_create(3). A FIFO that nobody reads is also an error, and so is a symbolic link.
    pub fn open(target: &AccessLogTarget) -> Result<AccessLog, OpenLogError> {
        AccessLog::try_open(target).map_err(|error| OpenLogError {
            target: target.clone(),
            error,
        })
    }

    /// Checks that the log can be opened, and creates no file.
    ///
    /// # Errors
    /// As for [`open`](AccessLog::open).
    pub fn check(target: &AccessLogTarget) -> Result<(), OpenLogError> {
        let checked = match target {
            AccessLogTarget::File(path) if !is_standard_stream(path) => check_file(path),
            AccessLogTarget::File(_) | AccessLogTarget::Stdout => Ok(()),
        };
        checked.map_err(|error| OpenLogError {
            target: target.clone(),
            error,
        })
    }

    fn try_open(target: &AccessLogTarget) -> io::Result<AccessLog> {
        let start = |sink| LineQueue::start("access-log", MAX_WAITING_BYTES, CALLBACKS, sink);
        let (queue, is_file) = match target {
            AccessLogTarget::Stdout => (start(LogSink::Stdout(io::stdout())), false),
            AccessLogTarget::File(path) => match own_descriptor(path) {
                Some(OwnDescriptor::Stdout) => {
                    let stream = io::stdout().as_fd().try_clone_to_owned()?;
                    (start(LogSink::Stream(stream)), false)
                }
                Some(OwnDescriptor::Stderr) => {
                    let stream = io::stderr().as_fd().try_clone_to_owned()?;
                    (start(LogSink::Stream(stream)), false)
                }
                Some(OwnDescriptor::Other) | None => {
                    let file = append_to(path)?;
                    let path = path.clone();
                    (start(LogSink::File { path, file }), true)
                }
            },
        };
        let queue = queue?;
        Ok(AccessLog { queue, is_file })
    }

    /// Copies `lines` into the queue and empties the buffer, without waiting for the disk. If the disk is too
    /// slow, lines are dropped, so that memory stays bounded.
    pub fn take_from(&self, lines: &mut Vec<u8>) {
        self.queue.take_from(lines);
    }

    /// Opens the path again after logrotate has moved the file, for lines that come from now on. If opening
    /// fails the old file stays in use.
    pub fn reopen(&self) {
        if self.is_file {
            self.queue.reopen();
        }
    }

    /// Waits for the lines to be written, for at most `timeout`, and reports how many are lost.
    pub fn finish(&self, timeout: Duration) {
        if !self.queue.flush(timeout) || self.queue.unwritten() > 0 {
            let lost = self.queue.unwritten();
            log::error!("the access log is not complete; lines lost at the end: {lost}");
        }
    }

    /// The number of lines dropped since the start because the log could not be written.
    #[must_use]
    pub fn lines_dropped(&self) -> u64 {
        self.queue.dropped_total()
    }
}

/// The error of an access log that cannot be opened.
#[derive(Debug)]
pub struct OpenLogError {
    target: AccessLogTarget,
    error: io::Error,
}

impl fmt::Display for OpenLogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = &self.error;
        match &self.target {
            AccessLogTarget::Stdout => write!(f, "cannot write the access log: {error}"),
            AccessLogTarget::File(path) => {
                write!(f, "cannot open the access log {}: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for OpenLogError {}

impl OpenLogError {
    /// Whether a permission is missing.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.error.kind() == io::ErrorKind::PermissionDenied
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
    /// A duplicate of standard output or standard error.
    Stream(OwnedFd),
    File {
        path: PathBuf,
        file: File,
    },
}

impl Sink for LogSink {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            LogSink::Stdout(stdout) => stdout.as_fd(),
            LogSink::Stream(stream) => stream.as_fd(),
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

/// A descriptor of this process, as a path names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OwnDescriptor {
    Stdout,
    Stderr,
    Other,
}

fn own_descriptor(path: &Path) -> Option<OwnDescriptor> {
    let text = path.to_str()?;
    let directories = OWN_DESCRIPTORS.iter();
    let number = directories
        .filter_map(|directory| text.strip_prefix(directory))
        .next();
    match (text, number) {
        ("/dev/stdout", _) | (_, Some("1")) => Some(OwnDescriptor::Stdout),
        ("/dev/stderr", _) | (_, Some("2")) => Some(OwnDescriptor::Stderr),
        (_, Some(_)) => Some(OwnDescriptor::Other),
        (_, None) => None,
    }
}

/// Whether `path` names standard output or standard error, which are duplicated and not opened.
#[must_use]
pub fn is_standard_stream(path: &Path) -> bool {
    let own = own_descriptor(path);
    matches!(own, Some(OwnDescriptor::Stdout | OwnDescriptor::Stderr))
}

/// Whether `path` names a descriptor of this process.
#[must_use]
pub fn is_own_descriptor(path: &Path) -> bool {
    own_descriptor(path).is_some()
}

/// Opens the file at `path` for appending, and creates it if there is none.
///
/// The last name may not be a link. Otherwise a user who can make links in the directory of the log could make
/// the server write to other files. The names of own descriptors are links by nature. Opening does not block,
/// so that a FIFO without a reader is an error (open(2): ENXIO).
pub(super) fn append_to(path: &Path) -> io::Result<File> {
    let mut flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    flags.set(OFlags::NOFOLLOW, !is_own_descriptor(path));
    let opened = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(FILE_MODE)
        .custom_flags(flags.bits().cast_signed())
        .open(path);
    let file = opened.map_err(|error| {
        let kind = std::fs::symlink_metadata(path).map(|found| found.file_type());
        match (error.raw_os_error().map(Errno::from_raw_os_error), kind) {
            (Some(Errno::NXIO), Ok(kind)) if kind.is_fifo() => {
                io::Error::other("no process reads this FIFO")
            }
            (Some(Errno::LOOP), Ok(kind)) if kind.is_symlink() => {
                io::Error::other("it is a symbolic link, name the file itself")
            }
            _ => error,
        }
    })?;
    // The writer blocks in write(2), so the flag is removed.
    let flags = fcntl_getfl(&file)?;
    fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
    Ok(file)
}

/// Checks that the file at `path` can be opened for appending, or created.
fn check_file(path: &Path) -> io::Result<()> {
    if std::fs::symlink_metadata(path).is_ok() {
        return append_to(path).map(drop);
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    Ok(access(directory, Access::WRITE_OK | Access::EXEC_OK)?)
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
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("access.log");
        let log = log_in(&path);
        log.take_from(&mut b"one\n".to_vec());
        let moved = directory.path().join("access.log.1");
        std::fs::rename(&path, &moved).expect("rename");
        log.take_from(&mut b"two\n".to_vec());
        log.reopen();
        log.take_from(&mut b"three\n".to_vec());
        assert!(log.queue.flush(LONG));
        assert_eq!(std::fs::read_to_string(&moved).expect("read"), "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "three\n");
    }

    #[test]
    fn a_full_disk_is_not_fatal() {
        let log = log_in(Path::new("/dev/full"));
        let mut lines = b"one\ntwo\n".to_vec();
        log.take_from(&mut lines);
        assert!(lines.is_empty());
        assert!(log.queue.flush(LONG));
        assert_eq!(log.lines_dropped(), 2);
        assert_eq!(log.queue.unwritten(), 2, "to be reported at the end");
    }
}
