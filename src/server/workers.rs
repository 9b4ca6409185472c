//! The pool: threads that give connections their turns.
//!
//! One request is seen by two threads with no call between them: the event loop finds a connection
//! ready and dispatches it, and `Worker::serve` here takes over. It begins the ownership, gives the
//! session its turn, and releases: nothing goes back to the loop, which finds the new deadline in the
//! slot when it needs it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::Sender;

use super::access_log::{self, AccessLog};
use super::handoff::{Handoff, Work};
use super::slots::{Connection, Slots};
use crate::clock::{Clock, Millis, Now};
use crate::connection::counters::{CloseReason, Counters};
use crate::connection::deadline::Deadline;
use crate::connection::desk::Desk;
use crate::connection::ownership::Released;
use crate::connection::service::{Mode, Service};
use crate::connection::session::{Outcome, Turn};

/// What the event loop is told. Apart from `Enter` there is at most one for each slot, so the
/// channel is bounded by the connections though it has no bound of its own.
#[derive(Debug)]
pub enum Report {
    /// The slot is free.
    Closed(u32),
    /// Move to this mode; sent by a handle, not by a worker.
    Enter(Mode),
}

/// What the event loop and the workers share.
pub struct Shared {
    /// The connections.
    pub slots: Slots,
    /// The queue of ready connections.
    pub handoff: Handoff,
    /// The configuration, the site and the mode.
    pub service: Service,
    /// The only source of time.
    pub clock: Arc<dyn Clock>,
    /// The way back to the loop.
    pub reports: Sender<Report>,
    /// Ends the loop's poll.
    pub waker: mio::Waker,
    /// Whether the loop waits for connections to close: it drains, or it could not accept.
    pub wants_closes: AtomicBool,
    /// One set of counters for each worker.
    pub counters: Vec<Arc<Counters>>,
    /// The access log, if there is one.
    pub access_log: Option<AccessLog>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Sends `report` and wakes the loop. A loop that has ended needs neither.
    pub fn report_and_wake(&self, report: Report) {
        let _ = self.reports.send(report);
        if let Err(error) = self.waker.wake() {
            // The loop finds the report at its next tick.
            log::warn!("the event loop cannot be woken: {error}");
        }
    }
}

/// One thread of the pool.
#[derive(Debug)]
pub struct Worker {
    shared: Arc<Shared>,
    desk: Desk,
    /// Connections that want another turn and did not fit the queue; at most as many as this worker
    /// has served while the queue was full.
    held_back: VecDeque<u32>,
    /// When the log was last empty, or written.
    log_written_at: Millis,
}

impl Worker {
    /// A worker with a desk of its own.
    #[must_use]
    pub fn new(shared: Arc<Shared>, desk: Desk) -> Worker {
        Worker {
            shared,
            desk,
            held_back: VecDeque::new(),
            log_written_at: Millis(0),
        }
    }

    /// Serves until told to stop.
    pub fn run(mut self) {
        loop {
            let patience = self.has_lines().then_some(access_log::FLUSH_AFTER);
            let work = match self.held_back.pop_front() {
                Some(slot) => self.swap_for_queued(slot),
                None => self.shared.handoff.pick_up(patience),
            };
            match work {
                Some(Work::Turn(slot) | Work::Again(slot)) => {
                    let now = self.serve(slot);
                    self.write_log_if_due(now.monotonic);
                }
                Some(Work::Stop) => break,
                None => self.write_log(),
            }
        }
        self.write_log();
    }

    /// Puts `slot` at the back of the queue and takes what is at its front; keeps it if the queue is
    /// still full or has nothing else.
    fn swap_for_queued(&mut self, slot: u32) -> Option<Work> {
        let handoff = &self.shared.handoff;
        if handoff.is_empty() || handoff.dispatch(Work::Again(slot)).is_err() {
            return Some(Work::Again(slot));
        }
        // Without waiting: others may be held back here.
        handoff.pick_up(Some(Duration::ZERO))
    }

    /// Gives the connection in slot `index` its turn. The event loop has claimed it for us
    /// (`EventLoop::dispatch`); from here on this thread owns it. Returns the time at the end.
    fn serve(&mut self, index: u32) -> Now {
        let Worker {
            shared,
            desk,
            held_back,
            ..
        } = self;
        let slot = shared.slots.at(index);
        let mut read_closed = slot.ownership.begin().read_closed;
        let mut now = shared.clock.now();
        loop {
            let mut connection = slot.lock();
            let Some(open) = connection.as_deref_mut() else {
                debug_assert!(false, "an owned slot has a connection");
                return now;
            };
            let end = turn(desk, open, shared, now, read_closed);
            now = end.now;
            match end.outcome {
                Outcome::Wait => {
                    drop(connection);
                    slot.postpone(end.deadline);
                    match slot.ownership.release() {
                        Released::Idle => return now,
                        // Something happened on the socket during the turn.
                        Released::Again {
                            read_closed: closed,
                        } => read_closed = closed,
                    }
                }
                Outcome::Again => {
                    drop(connection);
                    slot.ownership.requeue();
                    if shared.handoff.dispatch(Work::Again(index)).is_err() {
                        held_back.push_back(index);
                    }
                    return now;
                }
                Outcome::Close(reason) => {
                    let closed = connection.take();
                    drop(connection);
                    if let Some(closed) = closed {
                        log_end((index, slot.ownership.generation()), &closed, reason, now);
                    }
                    slot.ownership.free();
                    report_closed(shared, index);
                    return now;
                }
            }
        }
    }

    fn has_lines(&self) -> bool {
        self.desk
            .log
            .as_ref()
            .is_some_and(|lines| !lines.is_empty())
    }

    /// Writes the collected lines when they are many, or have waited for long.
    fn write_log_if_due(&mut self, now: Millis) {
        if !self.has_lines() {
            self.log_written_at = now;
            return;
        }
        let is_long = self
            .desk
            .log
            .as_ref()
            .is_some_and(|lines| lines.len() >= access_log::FLUSH_BYTES);
        let waited = Duration::from_millis(now.since(self.log_written_at));
        if is_long || waited >= access_log::FLUSH_AFTER {
            self.write_log();
            self.log_written_at = now;
        }
    }

    fn write_log(&mut self) {
        if let (Some(lines), Some(access_log)) = (&mut self.desk.log, &self.shared.access_log) {
            access_log.append(lines);
        }
    }
}

/// One turn, fenced: a panic ends this connection and nothing else.
fn turn(
    desk: &mut Desk,
    open: &mut Connection,
    shared: &Shared,
    now: Now,
    read_closed: bool,
) -> End {
    let result = catch_unwind(AssertUnwindSafe(|| {
        let service = &shared.service;
        let mut turn = Turn {
            io: &mut open.socket,
            desk: &mut *desk,
            service,
            now,
            read_closed,
        };
        let outcome = open.session.turn(&mut turn);
        // A turn may have waited for the disk: what it began begins now.
        let now = shared.clock.now();
        let deadline = match outcome {
            Outcome::Wait => open.session.rest(service, now.monotonic),
            Outcome::Again | Outcome::Close(_) => Deadline::Exchange(Millis::NEVER),
        };
        End {
            outcome,
            now,
            deadline,
        }
    }));
    result.unwrap_or_else(|_| {
        // The panic hook has printed where.
        log::error!("a worker panicked; its connection is closed, the others go on");
        desk.clear();
        let (answered, ..) = open.session.summary(now.monotonic);
        desk.counters.closed(CloseReason::Panic, answered);
        if shared.service.mode() != Mode::Serving {
            desk.counters.promise_broken();
        }
        End {
            outcome: Outcome::Close(CloseReason::Panic),
            now,
            deadline: Deadline::Exchange(Millis::NEVER),
        }
    })
}

fn report_closed(shared: &Shared, index: u32) {
    let report = Report::Closed(index);
    if shared.wants_closes.load(Ordering::SeqCst) {
        shared.report_and_wake(report);
    } else {
        // The loop finds it when it comes round; if it has ended, nobody needs it.
        let _ = shared.reports.send(report);
    }
}

/// How a turn ended, and when.
struct End {
    outcome: Outcome,
    now: Now,
    /// When the next turn is due, after [`Outcome::Wait`].
    deadline: Deadline,
}

/// The line for each connection. Slot and generation together name it: no other has the two.
fn log_end(id: (u32, u32), closed: &Connection, reason: CloseReason, now: Now) {
    if log::log_enabled!(log::Level::Debug) {
        let (slot, generation) = id;
        let (requests, bytes, millis) = closed.session.summary(now.monotonic);
        let reason = reason.name();
        log::debug!(
            "connection {slot}.{generation} closed: {requests} requests, {bytes} bytes, {millis} ms, {reason}"
        );
    }
}
