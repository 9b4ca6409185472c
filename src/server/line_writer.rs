//! A queue of lines and the thread that writes them.
//!
//! If nobody reads a pipe, or if a disk does not answer, a write(2) may block for ever. So the threads that
//! serve never write a log. They put whole lines into a [`LineQueue`], which holds a lock only while it
//! copies them, and a separate thread writes the lines.
//!
//! # Bounds
//!
//! One bound applies to the waiting lines and those being written together. Lines that do not fit are
//! dropped and counted. A loss is reported when it begins, and with the number of lines when it is over.

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

/// The most bytes of one write, unless a single line is longer.
const CHUNK_BYTES: usize = 64 * 1024;

/// The memory that an empty buffer keeps, in bytes.
const KEPT_BYTES: usize = 256 * 1024;

/// A target of lines. Only the writer's thread uses it, so it may block.
pub trait Sink: Send + 'static {
    /// The descriptor to write to.
    fn fd(&self) -> BorrowedFd<'_>;

    /// Opens the target again. Returns whether another one is in use now.
    fn reopen(&mut self) -> bool;
}

/// Functions that report lost lines. They must not block. Only `recovered` may write to the target, as the
/// writer's thread calls it.
#[derive(Debug, Clone, Copy)]
pub struct LossCallbacks {
    /// Reports that lines are being lost, and why.
    pub failed: fn(why: &dyn fmt::Display),
    /// Reports that lines can be written again, and how many were lost.
    pub recovered: fn(lines: u64),
}

/// A bounded queue of lines for a writer thread.
#[derive(Debug)]
pub struct LineQueue {
    state: Mutex<QueueState>,
    has_work: Condvar,
    is_idle: Condvar,
    max_bytes: usize,
    callbacks: LossCallbacks,
    dropped_total: AtomicU64,
}

#[derive(Debug, Default)]
struct QueueState {
    /// Whole lines.
    lines: Vec<u8>,
    /// The position in `lines` at which the target must be opened again.
    reopen_at: Option<usize>,
    /// Bytes that the writer has taken and not written yet.
    writing_bytes: usize,
    writing_lines: u64,
    is_writing: bool,
    /// Lines that were dropped and whose number was not reported yet.
    dropped: u64,
    has_failed: bool,
    /// Whether the target has the beginning of a line, and the writer the rest.
    has_partial_line: bool,
    is_closed: bool,
    is_writer_asleep: bool,
    is_awaited: bool,
}

impl LineQueue {
    /// Makes a queue of at most `max_bytes` bytes, and starts a thread called `name` that writes its lines to
    /// `sink`. The thread ends when the queue is closed.
    ///
    /// # Errors
    /// As pthread_create(3).
    pub fn start(
        name: &str,
        max_bytes: usize,
        callbacks: LossCallbacks,
        sink: impl Sink,
    ) -> io::Result<Arc<LineQueue>> {
        let queue = Arc::new(LineQueue {
            state: Mutex::default(),
            has_work: Condvar::new(),
            is_idle: Condvar::new(),
            max_bytes,
            callbacks,
            dropped_total: AtomicU64::new(0),
        });
        let writer = Writer {
            queue: Arc::clone(&queue),
            sink,
            partial_line: Vec::new(),
            last_write_ok: false,
        };
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || writer.run())?;
        Ok(queue)
    }

    /// Copies whole `lines` into the queue and empties the buffer, without waiting for the target. Lines that
    /// do not fit are dropped.
    pub fn take_from(&self, lines: &mut Vec<u8>) {
        self.push(lines);
        lines.clear();
    }

    /// Copies whole `lines` into the queue, as [`take_from`](LineQueue::take_from) does.
    pub fn push(&self, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        let mut state = self.lock();
        if state.lines.len() + state.writing_bytes + lines.len() > self.max_bytes {
            self.drop_lines(state, count(lines), &"it does not keep up");
            return;
        }
        state.lines.extend_from_slice(lines);
        self.wake_writer(&mut state);
    }

    /// Makes the writer open its target again, after the lines that are in the queue now. A second call
    /// before the writer has done so changes nothing, as the path is looked up only then.
    pub fn reopen(&self) {
        let mut state = self.lock();
        let end = state.lines.len();
        state.reopen_at.get_or_insert(end);
        self.wake_writer(&mut state);
    }

    /// Waits for all lines to be written, for at most `timeout`. Returns whether they are.
    pub fn flush(&self, timeout: Duration) -> bool {
        let mut state = self.lock();
        state.is_awaited = true;
        let waited = self
            .is_idle
            .wait_timeout_while(state, timeout, |state| !state.is_idle());
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_idle()
    }

    /// Makes the writer end once everything is written.
    pub fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        self.wake_writer(&mut state);
    }

    /// The number of lines that are lost if the process ends now: those not written yet, and those dropped
    /// whose number was not reported.
    #[must_use]
    pub fn unwritten(&self) -> u64 {
        let state = self.lock();
        let partial_line = u64::from(state.has_partial_line);
        count(&state.lines) + state.writing_lines + state.dropped + partial_line
    }

    /// The number of lines dropped since the start.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.dropped_total.load(Ordering::Relaxed)
    }

    fn drop_lines(
        &self,
        mut state: MutexGuard<'_, QueueState>,
        lines: u64,
        why: &dyn fmt::Display,
    ) {
        state.dropped += lines;
        self.dropped_total.fetch_add(lines, Ordering::Relaxed);
        let is_first = !std::mem::replace(&mut state.has_failed, true);
        drop(state);
        if is_first {
            (self.callbacks.failed)(why);
        }
    }

    fn wake_writer(&self, state: &mut QueueState) {
        if std::mem::take(&mut state.is_writer_asleep) {
            self.has_work.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        // No code panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writer: waits for lines and swaps them into the empty `batch`. Returns the position in the batch at
    /// which the target must be opened again, if any; `None` at the end.
    fn take(&self, batch: &mut Vec<u8>) -> Option<Option<usize>> {
        let mut state = self.lock();
        while state.is_empty() {
            if state.is_closed {
                return None;
            }
            state.is_writer_asleep = true;
            let woken = self.has_work.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
        state.is_writer_asleep = false;
        std::mem::swap(&mut state.lines, batch);
        state.is_writing = true;
        state.writing_bytes = batch.len();
        state.writing_lines = count(batch);
        Some(state.reopen_at.take())
    }

    /// Writer: notes that `chunk` of the batch is written or lost.
    fn note_done(&self, chunk: &[u8]) {
        let mut state = self.lock();
        state.writing_bytes -= chunk.len();
        state.writing_lines -= count(chunk);
    }

    /// Writer: notes that the batch is done, and the state of the target after it.
    fn end_batch(&self, target: TargetState) {
        let TargetState {
            last_write_ok,
            has_partial_line,
        } = target;
        let mut state = self.lock();
        state.is_writing = false;
        state.has_partial_line = has_partial_line;
        // A queue that is still more than half full may soon lose lines again, and another batch follows.
        let mut recovered = None;
        if last_write_ok && state.has_failed && state.lines.len() <= self.max_bytes / 2 {
            state.has_failed = false;
            recovered = Some(std::mem::take(&mut state.dropped));
        }
        let is_awaited = state.is_idle() && std::mem::take(&mut state.is_awaited);
        drop(state);
        if let Some(lines) = recovered {
            (self.callbacks.recovered)(lines);
        }
        if is_awaited {
            self.is_idle.notify_all();
        }
    }
}

impl QueueState {
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
    /// Whether the last write succeeded.
    last_write_ok: bool,
    /// Whether the target has a part of a line only.
    has_partial_line: bool,
}

/// The state of the writer's thread.
struct Writer<S> {
    queue: Arc<LineQueue>,
    sink: S,
    /// The rest of a line whose beginning is written. It is written first when writing succeeds again, so
    /// that the target gets whole lines.
    partial_line: Vec<u8>,
    /// Whether the last write of the batch succeeded.
    last_write_ok: bool,
}

impl<S: Sink> Writer<S> {
    fn run(mut self) {
        let mut batch = Vec::new();
        while let Some(reopen_at) = self.queue.take(&mut batch) {
            let (before, after) = batch.split_at(reopen_at.unwrap_or(batch.len()));
            self.last_write_ok = false;
            self.write(before);
            if reopen_at.is_some() {
                self.reopen();
            }
            self.write(after);
            batch.clear();
            batch.shrink_to(KEPT_BYTES);
            self.queue.end_batch(TargetState {
                last_write_ok: self.last_write_ok,
                has_partial_line: !self.partial_line.is_empty(),
            });
        }
    }

    /// Writes whole `lines`. Lines that cannot be written are lost, and the next ones are tried.
    fn write(&mut self, lines: &[u8]) {
        let mut rest = lines;
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(chunk_len(rest));
            self.last_write_ok = self.write_chunk(chunk);
            self.queue.note_done(chunk);
            rest = after;
        }
    }

    /// Opens the target again, after a last attempt to write the rest of a line to the old one.
    fn reopen(&mut self) {
        let has_rest = self.write_partial_line().is_err();
        if self.sink.reopen() && has_rest {
            self.partial_line.clear();
            self.lose(1, &"the old file has taken a part of a line only");
        }
    }

    fn write_chunk(&mut self, chunk: &[u8]) -> bool {
        let (written, error) = match self.write_partial_line() {
            Ok(()) => match write_all(self.sink.fd(), chunk) {
                Ok(()) => return true,
                Err(failed) => failed,
            },
            Err(error) => (0, error),
        };
        let mut lost = &chunk[written..];
        let is_partial = written > 0 && chunk[written - 1] != b'\n';
        if let Some(end) = memchr(b'\n', lost).filter(|_| is_partial) {
            self.partial_line.extend_from_slice(&lost[..=end]);
            lost = &lost[end + 1..];
        }
        self.lose(count(lost), &error);
        false
    }

    fn write_partial_line(&mut self) -> Result<(), Errno> {
        let result = write_all(self.sink.fd(), &self.partial_line);
        let written = result.map_or_else(|(written, _)| written, |()| self.partial_line.len());
        self.partial_line.drain(..written);
        result.map_err(|(_, error)| error)
    }

    fn lose(&self, lines: u64, why: &dyn fmt::Display) {
        self.queue.drop_lines(self.queue.lock(), lines, why);
    }
}

/// The length of the whole lines at the start of `lines` that fit in [`CHUNK_BYTES`]; at least one line.
fn chunk_len(lines: &[u8]) -> usize {
    if lines.len() <= CHUNK_BYTES {
        return lines.len();
    }
    let within = memrchr(b'\n', &lines[..CHUNK_BYTES]);
    let end = within.or_else(|| memchr(b'\n', lines));
    end.map_or(lines.len(), |end| end + 1)
}

fn count(lines: &[u8]) -> u64 {
    memchr_iter(b'\n', lines).count() as u64
}

/// Writes all of `bytes`, and waits if another process has made the descriptor non-blocking. An error comes
/// with the number of bytes written before it.
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
