//! Giving connections their turns. Every thread that serves has an attendant: each worker, and the
//! event loop for what can be answered from memory.
//!
//! One request is seen by two pieces of code with no call between them: the event loop finds a
//! connection ready and dispatches it, and [`Attendant::attend`] takes over. It begins the ownership,
//! gives the session its turn, and releases: nothing goes back to the loop, which finds the new
//! deadline in the slot when it needs it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::access_log;
use super::shared::Shared;
use super::slots::Connection;
use super::work::{FinishedErrands, Work};
use crate::clock::{Millis, Now};
use crate::connection::access_line::ConnectionId;
use crate::connection::counters::CloseReason;
use crate::connection::deadline::Deadline;
use crate::connection::desk::Desk;
use crate::connection::journal::Journal;
use crate::connection::ownership::Released;
use crate::connection::service::Mode;
use crate::connection::session::{Outcome, Session, Turn};
use crate::site::Reach;
use crate::site::errand::{Errand, Waiter};

/// How long a turn or a slice of a job may take if others wait, in milliseconds. What one step waits for
/// the disk comes on top.
pub const SLICE_MILLIS: u64 = 5;

/// For how long a job is gone on with though all who wait for it have ended their side, in milliseconds.
/// A FIN may come from a client that has sent all it has to say and waits for the answer; mostly it is
/// from one that has left.
const LEFT_MILLIS: u64 = 1_000;

/// One thread's means to serve.
#[derive(Debug)]
pub struct Attendant {
    shared: Arc<Shared>,
    desk: Desk,
    reach: Reach,
    /// Since when the log has lines that are not handed over.
    log_kept_since: Option<Millis>,
}

/// What became of a connection that had its turn.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a connection that wants another turn and is not queued is left to nobody"]
pub enum Attended {
    /// It waits for its peer or its deadline.
    Waits,
    /// It is owned still, and queued: the caller puts it into the slow lane.
    WantsMore,
    /// It is owned still, and queued, but for what another thread is getting: the caller
    /// [parks](park) it.
    Awaits(Arc<Errand>),
    /// It is closed and its slot is free: the event loop has to know.
    Closed,
}

impl Attendant {
    /// An attendant that goes as far as `reach` for an answer.
    #[must_use]
    pub fn new(shared: Arc<Shared>, desk: Desk, reach: Reach) -> Attendant {
        Attendant {
            shared,
            desk,
            reach,
            log_kept_since: None,
        }
    }

    /// Gives the connection in slot `index` its turn. The event loop has claimed it
    /// (`EventLoop::dispatch`); from here on this thread owns it. Returns the time at the end, which a
    /// turn that never waits cannot tell from `now`.
    pub fn attend(&mut self, index: u32, now: Now) -> (Attended, Now) {
        self.attend_to(index, now, false)
    }

    /// As [`attend`](Attendant::attend). `gives_up`: the peer has ended its side, and its answer takes too
    /// long to go on with for a client that has most likely left.
    pub fn attend_to(&mut self, index: u32, now: Now, gives_up: bool) -> (Attended, Now) {
        let Attendant {
            shared,
            desk,
            reach,
            ..
        } = self;
        let slot = shared.slots.at(index);
        let mut read_closed = slot.ownership.begin().read_closed;
        let mut now = now;
        let mut has_repeated = false;
        loop {
            let mut connection = slot.lock();
            let Some(open) = connection.as_deref_mut() else {
                debug_assert!(false, "an owned slot has a connection");
                return (Attended::Waits, now);
            };
            begin_turn(desk, shared, index);
            let begun = TurnStart {
                now,
                reach: *reach,
                read_closed,
                gives_up,
            };
            let end = turn(desk, open, shared, &begun);
            end_turn(desk, shared);
            now = end.now;
            match end.outcome {
                Outcome::Wait => {
                    drop(connection);
                    slot.postpone(end.deadline);
                    match slot.ownership.release() {
                        Released::Idle => return (Attended::Waits, now),
                        // Something happened on the socket during the turn. The second time it waits
                        // like the others.
                        Released::Again { .. } if has_repeated => {
                            slot.ownership.requeue();
                            return (Attended::WantsMore, now);
                        }
                        Released::Again {
                            read_closed: closed,
                        } => (has_repeated, read_closed) = (true, closed),
                    }
                }
                Outcome::Again => {
                    let awaited = desk.awaited.take();
                    drop(connection);
                    slot.postpone(end.deadline);
                    slot.ownership.requeue();
                    return (awaited.map_or(Attended::WantsMore, Attended::Awaits), now);
                }
                Outcome::Close(reason) => {
                    desk.awaited = None;
                    let closed = connection.take();
                    drop(connection);
                    if let Some(closed) = closed {
                        log_end(shared.connection_id(index), &closed, reason, now);
                        shared.close(closed);
                    }
                    slot.ownership.free();
                    return (Attended::Closed, now);
                }
            }
        }
    }

    /// Whether a turn has ended since the last call because this thread does not
    /// [reach](crate::site::Reach) far enough.
    pub fn take_out_of_reach(&mut self) -> bool {
        std::mem::take(&mut self.desk.is_out_of_reach)
    }

    /// When the lines of the access log that were collected here have to be handed over; `None` if
    /// there are none. To be asked after every turn.
    pub fn log_due_at(&mut self, now: Millis) -> Option<Millis> {
        let lines = match &mut self.desk.log {
            Some(log) => log.lines().len(),
            None => 0,
        };
        if lines == 0 {
            self.log_kept_since = None;
            return None;
        }
        let since = *self.log_kept_since.get_or_insert(now);
        let keeps = access_log::FLUSH_AFTER.as_millis() as u64;
        Some(if lines >= access_log::FLUSH_BYTES {
            now
        } else {
            Millis(since.0 + keeps)
        })
    }

    /// Leaves the collected lines to be written.
    pub fn leave_log(&mut self) {
        self.log_kept_since = None;
        if let (Some(log), Some(access_log)) = (&mut self.desk.log, &self.shared.access_log) {
            access_log.leave(log.lines());
        }
    }

    /// Collects the line of an answer that the end of the server cuts off.
    pub fn cut_off(&mut self, connection: ConnectionId, session: &mut Session) {
        session.cut_off(&mut self.desk);
        end_turn(&mut self.desk, &self.shared);
        log::debug!("connection {connection} cut off");
    }
}

/// Leaves a connection, which is queued, to the thread that comes back from `errand`: it puts it into a
/// lane. Until then the connection is in none, so that waiting costs nothing, however long it takes. From
/// here on another thread may have it. `brought` is what it has waited for before.
pub fn park(shared: &Arc<Shared>, index: u32, errand: &Arc<Errand>, brought: FinishedErrands) {
    errand.wait(Box::new(ParkedConnection {
        shared: Arc::clone(shared),
        index,
        brought,
        left_at: None,
    }));
    if errand.claim_job() {
        shared.handoff.defer(Work::Slice(Arc::clone(errand)));
    }
}

/// A connection that waits for an errand.
struct ParkedConnection {
    shared: Arc<Shared>,
    index: u32,
    brought: FinishedErrands,
    /// Since when its peer is known to have ended its side.
    left_at: Option<Millis>,
}

impl Waiter for ParkedConnection {
    fn is_waiting(&mut self, now: Millis) -> bool {
        // The connection is queued, so the slot is still its own.
        if !self.shared.slots.at(self.index).ownership.is_read_closed() {
            return true;
        }
        now.since(*self.left_at.get_or_insert(now)) < LEFT_MILLIS
    }

    fn call(self: Box<Self>, errand: &Arc<Errand>) {
        let ParkedConnection {
            shared,
            index,
            brought,
            ..
        } = *self;
        if errand.needs_disk() {
            let work = Work::Resume(index, brought.with(errand));
            shared.handoff.defer(work);
        } else {
            shared.hand_back(index);
        }
    }
}

/// Tells the journal whose turn it is, and the time if it needs that. A server without an access log
/// does not pay for one.
fn begin_turn(desk: &mut Desk, shared: &Shared, index: u32) {
    if let Some(log) = &mut desk.log {
        log.begin_turn(shared.connection_id(index), micros_for(log, shared));
    }
}

/// Completes the lines of the answers that the kernel has taken.
fn end_turn(desk: &mut Desk, shared: &Shared) {
    if let Some(log) = &mut desk.log
        && log.has_begun()
    {
        log.end_turn(micros_for(log, shared));
    }
}

fn micros_for(log: &Journal, shared: &Shared) -> u64 {
    if log.is_timed() {
        shared.clock.micros()
    } else {
        0
    }
}

/// How a turn ended, and when.
struct End {
    outcome: Outcome,
    now: Now,
    /// When the next turn is due, after [`Outcome::Wait`].
    deadline: Deadline,
}

/// How a turn begins.
#[derive(Debug, Clone, Copy)]
struct TurnStart {
    now: Now,
    reach: Reach,
    read_closed: bool,
    gives_up: bool,
}

/// One turn, fenced: a panic ends this connection and nothing else.
fn turn(desk: &mut Desk, open: &mut Connection, shared: &Shared, begun: &TurnStart) -> End {
    let TurnStart { now, reach, .. } = *begun;
    let is_over = || {
        let is_long = || shared.clock.now().monotonic.since(now.monotonic) >= SLICE_MILLIS;
        shared.handoff.has_work() && is_long()
    };
    let result = catch_unwind(AssertUnwindSafe(|| {
        let service = &shared.service;
        let mut turn = Turn {
            io: &mut open.socket,
            desk: &mut *desk,
            service,
            now,
            reach,
            read_closed: begun.read_closed,
            gives_up: begun.gives_up,
            is_over: &is_over,
        };
        let outcome = open.session.turn(&mut turn);
        // What a turn that waited for the disk began, begins now.
        let now = match reach {
            Reach::Memory => now,
            Reach::Roots | Reach::Disk => shared.clock.now(),
        };
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
        log::error!("a turn panicked; its connection is closed, the others go on");
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

/// The line for each connection, with the name that it has in the access log.
fn log_end(id: ConnectionId, closed: &Connection, reason: CloseReason, now: Now) {
    if log::log_enabled!(log::Level::Debug) {
        let (requests, bytes, millis) = closed.session.summary(now.monotonic);
        let reason = reason.name();
        log::debug!(
            "connection {id} closed: {requests} requests, {bytes} bytes, {millis} ms, {reason}"
        );
    }
}
