//! Standard error: the notices of the process, the lines of `log`, and panics.
//!
//! Standard error may be a pipe that nobody reads. So nobody writes to it but one thread
//! ([`line_writer`](super::line_writer)). What does not fit into its queue is dropped, and the number of
//! lines is told when standard error takes lines again.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{panic, thread};

use super::line_writer::{LineQueue, Notices, Sink};

/// Bytes that wait for standard error at most.
const MAX_WAITING_BYTES: usize = 1024 * 1024;

/// How long the end of the process waits for standard error.
const EXIT_PATIENCE: Duration = Duration::from_millis(200);

/// How long a panic waits for standard error: a second panic could abort the process.
const PANIC_PATIENCE: Duration = Duration::from_millis(5);

const NOTICES: Notices = Notices {
    // There is nowhere to tell it.
    failed: |_| {},
    recovered: |lines| {
        // Not through the queue: it may be full again. The writer is the one that calls this.
        let notice = format!("abide: standard error was not read; lines lost: {lines}\n");
        let _ = rustix::io::write(io::stderr().as_fd(), notice.as_bytes());
    },
};

/// The way to standard error, once the program has [started](start) it.
static QUEUE: OnceLock<Arc<LineQueue>> = OnceLock::new();

/// Dropped at the end of the program: waits a moment for what is not written yet.
#[derive(Debug)]
pub struct Started(());

/// Starts the thread that writes to standard error, and has panics reported through it. For a program,
/// not for a server that is a part of one. Without a thread whoever says something writes it.
#[must_use]
pub fn start() -> Started {
    let queue = LineQueue::start(
        "standard-error",
        MAX_WAITING_BYTES,
        NOTICES,
        StandardError(io::stderr()),
    );
    match queue {
        Ok(queue) => {
            let _ = QUEUE.set(queue);
            panic::set_hook(Box::new(report_panic));
        }
        Err(error) => say(format_args!(
            "abide: warning: no thread for standard error: {error}"
        )),
    }
    Started(())
}

impl Drop for Started {
    fn drop(&mut self) {
        flush(EXIT_PATIENCE);
    }
}

/// Tells the person at the terminal, without waiting for it. Nobody may be there: a standard error that
/// cannot be written to must not end the server, as `eprintln!` would.
pub fn say(notice: fmt::Arguments<'_>) {
    // Cannot fail: the pipe drops what it cannot take.
    let _ = Pipe.write_all(format!("{notice}\n").as_bytes());
}

/// The target of `log`: standard error, but nobody waits for it. Takes whole lines.
#[derive(Debug, Clone, Copy)]
pub struct Pipe;

impl Write for Pipe {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        match QUEUE.get() {
            Some(queue) => queue.copy(lines),
            None => drop(io::stderr().write_all(lines)),
        }
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn flush(patience: Duration) {
    if let Some(queue) = QUEUE.get() {
        queue.flush(patience);
    }
}

fn report_panic(info: &panic::PanicHookInfo<'_>) {
    let thread = thread::current();
    let name = thread.name().unwrap_or("unnamed");
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        say(format_args!("thread '{name}' {info}\n{backtrace}"));
    } else {
        say(format_args!("thread '{name}' {info}"));
    }
    flush(PANIC_PATIENCE);
}

struct StandardError(io::Stderr);

impl Sink for StandardError {
    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn reopen(&mut self) -> bool {
        false
    }
}
