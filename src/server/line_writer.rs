//! A queue of lines and the one thread that writes them.
//!
//! A pipe that nobody reads or a disk that does not answer holds a write(2) for as long as it likes. So
//! the threads that serve never write a log: they leave whole lines in a [`LineQueue`], which takes a
//! lock for as long as copying them takes, and a thread of its own writes them.
//!
//! # Bounds
//!
//! The lines that wait and those being written are bounded together. What does not fit is dropped and
//! counted. A loss is reported when it begins, and with the number of lines when it is over.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use memchr::{memchr, memchr_iter, memrchr};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// Bytes of one write at most, unless a single line is longer.
const PIECE_BYTES: usize = 64 * 1024;

/// Memory that an empty buffer keeps.
const KEPT_BYTES: usize = 256 * 1024;

/// Where lines are written to. Only the writer's thread uses it, so it may block.
pub trait Sink: Send + 'static {
    /// The descriptor in use.
    fn fd(&self) -> BorrowedFd<'_>;

    /// Opens the target again; whether another one is in use now.
    fn reopen(&mut self) -> bool;
}

/// How losses are made known. Neither may wait, save for the target itself in `recovered`, which the
/// writer's thread calls.
#[derive(Debug, Clone, Copy)]
pub struct Notices {
    /// Lines are lost from now on, for this reason.
    pub failed: fn(why: &dyn fmt::Display),
    /// Writing works again; this many lines were lost.
    pub recovered: fn(lines: u64),
}

/// Lines on their way to a writer.
#[derive(Debug)]
pub struct LineQueue {
    waiting: Mutex<Waiting>,
    has_work: Condvar,
    is_idle: Condvar,
    max_bytes: usize,
    notices: Notices,
    dropped_total: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Whole lines.
    lines: Vec<u8>,
    /// Where in `lines` the target has to be opened again.
    reopen_at: Option<usize>,
    /// Bytes that the writer has taken and not written yet.
    writing_bytes: usize,
    writing_lines: u64,
    is_writing: bool,
    /// Lines that were dropped and not reported with their number yet.
    dropped: u64,
    has_failed: bool,
    /// Whether the target has the beginning of a line whose rest is with the writer.
    has_torn: bool,
    is_closed: bool,
    is_writer_asleep: bool,
    is_awaited: bool,
}

impl LineQueue {
    /// A queue of at most `max_bytes` bytes, and a thread called `name` that writes its lines to `sink`.
    /// The thread ends when the queue is closed.
    ///
    /// # Errors
    /// As pthread_create(3).
    pub fn start(
        name: &str,
        max_bytes: usize,
        notices: Notices,
        sink: impl Sink,
    ) -> io::Result<Arc<LineQueue>> {
        let queue = Arc::new(LineQueue {
            waiting: Mutex::default(),
            has_work: Condvar::new(),
            is_idle: Condvar::new(),
            max_bytes,
            notices,
            dropped_total: AtomicU64::new(0),
        });
        let writer = Writer {
            queue: Arc::clone(&queue),
            sink,
            torn: Vec::new(),
            works: false,
        };
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || writer.run())?;
        Ok(queue)
    }

    /// Takes over whole `lines` and empties the buffer, without waiting for the target. Lines that do not
    /// fit are dropped.
    pub fn leave(&self, lines: &mut Vec<u8>) {
        self.copy(lines);
        lines.clear();
    }

    /// Takes a copy of whole `lines`, as [`leave`](LineQueue::leave) does.
    pub fn copy(&self, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        let mut waiting = self.lock();
        if waiting.lines.len() + waiting.writing_bytes + lines.len() > self.max_bytes {
            self.drop_lines(waiting, count(lines), &"it does not keep up");
            return;
        }
        waiting.lines.extend_from_slice(lines);
        self.wake_writer(&mut waiting);
    }

    /// Has the writer open its target again, after the lines that are in the queue now. A second request
    /// before the writer has come to the first changes nothing: it finds what the path names by then.
    pub fn reopen(&self) {
        let mut waiting = self.lock();
        let end = waiting.lines.len();
        waiting.reopen_at.get_or_insert(end);
        self.wake_writer(&mut waiting);
    }

    /// Waits until all lines are written, `patience` at most; whether they are.
    pub fn flush(&self, patience: Duration) -> bool {
        let mut waiting = self.lock();
        waiting.is_awaited = true;
        let waited = self
            .is_idle
            .wait_timeout_while(waiting, patience, |waiting| !waiting.is_idle());
        let (waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        waiting.is_idle()
    }

    /// Has the writer end once everything is written.
    pub fn close(&self) {
        let mut waiting = self.lock();
        waiting.is_closed = true;
        self.wake_writer(&mut waiting);
    }

    /// Lines that are lost if the process ends now: those not written, and those dropped and not reported
    /// with their number.
    #[must_use]
    pub fn unwritten(&self) -> u64 {
        let waiting = self.lock();
        let torn = u64::from(waiting.has_torn);
        count(&waiting.lines) + waiting.writing_lines + waiting.dropped + torn
    }

    /// Lines that were dropped since the start.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.dropped_total.load(Ordering::Relaxed)
    }

    fn drop_lines(&self, mut waiting: MutexGuard<'_, Waiting>, lines: u64, why: &dyn fmt::Display) {
        waiting.dropped += lines;
        self.dropped_total.fetch_add(lines, Ordering::Relaxed);
        let is_first = !std::mem::replace(&mut waiting.has_failed, true);
        drop(waiting);
        if is_first {
            (self.notices.failed)(why);
        }
    }

    fn wake_writer(&self, waiting: &mut Waiting) {
        if std::mem::take(&mut waiting.is_writer_asleep) {
            self.has_work.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in here panics.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writer: swaps what waits into `batch`, which is empty; waits for it. Returns where in the batch the
    /// target is to be opened again, if it is; `None` at the end.
    fn take(&self, batch: &mut Vec<u8>) -> Option<Option<usize>> {
        let mut waiting = self.lock();
        while waiting.is_empty() {
            if waiting.is_closed {
                return None;
            }
            waiting.is_writer_asleep = true;
            let woken = self.has_work.wait(waiting);
            waiting = woken.unwrap_or_else(PoisonError::into_inner);
        }
        waiting.is_writer_asleep = false;
        std::mem::swap(&mut waiting.lines, batch);
        waiting.is_writing = true;
        waiting.writing_bytes = batch.len();
        waiting.writing_lines = count(batch);
        Some(waiting.reopen_at.take())
    }

    /// Writer: `piece` of the batch is written, or given up.
    fn note_done(&self, piece: &[u8]) {
        let mut waiting = self.lock();
        waiting.writing_bytes -= piece.len();
        waiting.writing_lines -= count(piece);
    }

    /// Writer: the batch is through. `works` tells whether the last write did.
    fn end_batch(&self, target: TargetState) {
        let TargetState { works, has_torn } = target;
        let mut waiting = self.lock();
        waiting.is_writing = false;
        waiting.has_torn = has_torn;
        // A queue that is half full still may be losing lines again in a moment; it is not the last batch.
        let mut recovered = None;
        if works && waiting.has_failed && waiting.lines.len() <= self.max_bytes / 2 {
            waiting.has_failed = false;
            recovered = Some(std::mem::take(&mut waiting.dropped));
        }
        let is_awaited = waiting.is_idle() && std::mem::take(&mut waiting.is_awaited);
        drop(waiting);
        if let Some(lines) = recovered {
            (self.notices.recovered)(lines);
        }
        if is_awaited {
            self.is_idle.notify_all();
        }
    }
}

impl Waiting {
    /// Whether there is nothing for the writer to take.
    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.reopen_at.is_none()
    }

    fn is_idle(&self) -> bool {
        self.is_empty() && !self.is_writing
    }
}

/// The state of the target after a batch.
struct TargetState {
    /// Whether the last write went well.
    works: bool,
    /// Whether a part of a line is in the target, and the rest is not.
    has_torn: bool,
}

/// The state of the writer's thread.
struct Writer<S> {
    queue: Arc<LineQueue>,
    sink: S,
    /// The rest of a line of which the beginning is written. It goes first when writing works again, so
    /// that no line is in the target in part.
    torn: Vec<u8>,
    /// Whether the last write of the batch went well.
    works: bool,
}

impl<S: Sink> Writer<S> {
    fn run(mut self) {
        let mut batch = Vec::new();
        while let Some(reopen_at) = self.queue.take(&mut batch) {
            let (before, after) = batch.split_at(reopen_at.unwrap_or(batch.len()));
            self.works = false;
            self.write(before);
            if reopen_at.is_some() {
                self.reopen();
            }
            self.write(after);
            batch.clear();
            batch.shrink_to(KEPT_BYTES);
            self.queue.end_batch(TargetState {
                works: self.works,
                has_torn: !self.torn.is_empty(),
            });
        }
    }

    /// Writes whole `lines`. Those that the target refuses are lost, the next are tried again.
    fn write(&mut self, lines: &[u8]) {
        let mut rest = lines;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(piece_len(rest));
            self.works = self.write_piece(piece);
            self.queue.note_done(piece);
            rest = after;
        }
    }

    /// Opens the target again, when the one in use has had a last chance to take the rest of its line.
    fn reopen(&mut self) {
        let has_rest = self.write_torn().is_err();
        if self.sink.reopen() && has_rest {
            self.torn.clear();
            self.lose(1, &"the old file has taken a part of a line only");
        }
    }

    fn write_piece(&mut self, piece: &[u8]) -> bool {
        let (written, error) = match self.write_torn() {
            Ok(()) => match write_all(self.sink.fd(), piece) {
                Ok(()) => return true,
                Err(failed) => failed,
            },
            Err(error) => (0, error),
        };
        let mut lost = &piece[written..];
        let is_torn = written > 0 && piece[written - 1] != b'\n';
        if let Some(end) = memchr(b'\n', lost).filter(|_| is_torn) {
            self.torn.extend_from_slice(&lost[..=end]);
            lost = &lost[end + 1..];
        }
        self.lose(count(lost), &error);
        false
    }

    fn write_torn(&mut self) -> Result<(), Errno> {
        let result = write_all(self.sink.fd(), &self.torn);
        let written = result.map_or_else(|(written, _)| written, |()| self.torn.len());
        self.torn.drain(..written);
        result.map_err(|(_, error)| error)
    }

    fn lose(&self, lines: u64, why: &dyn fmt::Display) {
        self.queue.drop_lines(self.queue.lock(), lines, why);
    }
}

/// The length of the first whole lines of `lines`, up to [`PIECE_BYTES`] or one line.
fn piece_len(lines: &[u8]) -> usize {
    if lines.len() <= PIECE_BYTES {
        return lines.len();
    }
    let within = memrchr(b'\n', &lines[..PIECE_BYTES]);
    let end = within.or_else(|| memchr(b'\n', lines));
    end.map_or(lines.len(), |end| end + 1)
}

fn count(lines: &[u8]) -> u64 {
    memchr_iter(b'\n', lines).count() as u64
}

/// Writes all of `bytes`. A failure comes with the number of bytes that went before it. A descriptor
/// that another process has made non-blocking is waited for all the same.
fn write_all(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<(), (usize, Errno)> {
    let mut written = 0;
    while written < bytes.len() {
        match rustix::io::write(fd, &bytes[written..]) {
            Ok(0) => return Err((written, Errno::IO)),
            Ok(count) => written += count,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                match poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err((written, error)),
                }
            }
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "line_writer/tests.rs"]
mod tests;
