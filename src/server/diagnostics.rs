//! Standard error: notices of the process, log messages, and panics.
//!
//! Standard error may be a pipe that nobody reads. So only one thread writes to it
//! ([`line_writer`](super::line_writer)). Lines that do not fit into its queue are dropped, and their number
//! is printed when standard error takes lines again.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{panic, thread};

use super::line_writer::{LineQueue, LossCallbacks, Sink};

/// The most bytes that wait for standard error.
const MAX_WAITING_BYTES: usize = 1024 * 1024;

/// How long the end of the process waits for standard error.
const EXIT_TIMEOUT: Duration = Duration::from_millis(200);

/// How long a panic waits for standard error. A second panic meanwhile could abort the process.
const PANIC_TIMEOUT: Duration = Duration::from_millis(5);

const CALLBACKS: LossCallbacks = LossCallbacks {
    // There is no other place to report it.
    failed: |_| {},
    recovered: |lines| {
        // Written directly, as the queue may be full again. The writer's thread calls this.
        let notice = format!("abide: standard error was not read; lines lost: {lines}\n");
        let _ = rustix::io::write(io::stderr().as_fd(), notice.as_bytes());
    },
};

/// The queue for standard error, once the program has called [`start`].
static QUEUE: OnceLock<Arc<LineQueue>> = OnceLock::new();

/// Waits a moment for unwritten lines when it is dropped at the end of the program.
#[derive(Debug)]
pub struct FlushGuard(());

/// Starts the thread that writes to standard error, and reports panics through it. For programs only, not
/// for a server inside another program. Without such a thread each thread writes its own lines, and so does the
/// program before it has given up its rights ([`confinement`](super::confinement)).
#[must_use]
pub fn start() -> FlushGuard {
    let queue = LineQueue::start(
        "standard-error",
        MAX_WAITING_BYTES,
        CALLBACKS,
        StderrSink(io::stderr()),
    );
    match queue {
        Ok(queue) => {
            let _ = QUEUE.set(queue);
            panic::set_hook(Box::new(report_panic));
        }
        Err(error) => print_notice(format_args!(
            "abide: warning: the thread for standard error cannot be started: {error}"
        )),
    }
    FlushGuard(())
}

impl Drop for FlushGuard {
    fn drop(&mut self) {
        flush(EXIT_TIMEOUT);
    }
}

/// Prints a notice on standard error, without waiting. If standard error cannot be written the server
/// continues, whereas `eprintln!` would panic.
pub fn print_notice(notice: fmt::Arguments<'_>) {
    // This cannot fail: the queue drops lines that it cannot take.
    let _ = QueuedStderr.write_all(format!("{notice}\n").as_bytes());
}

/// Standard error as the target of `log`, through the queue. Takes whole lines.
#[derive(Debug, Clone, Copy)]
pub struct QueuedStderr;

impl Write for QueuedStderr {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        match QUEUE.get() {
            Some(queue) => queue.push(lines),
            None => drop(io::stderr().write_all(lines)),
        }
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn flush(timeout: Duration) {
    if let Some(queue) = QUEUE.get() {
        queue.flush(timeout);
    }
}

fn report_panic(info: &panic::PanicHookInfo<'_>) {
    let thread = thread::current();
    let name = thread.name().unwrap_or("unnamed");
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        print_notice(format_args!("thread '{name}' {info}\n{backtrace}"));
    } else {
        print_notice(format_args!("thread '{name}' {info}"));
    }
    flush(PANIC_TIMEOUT);
}

struct StderrSink(io::Stderr);

impl Sink for StderrSink {
    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn reopen(&mut self) -> bool {
        false
    }
}
