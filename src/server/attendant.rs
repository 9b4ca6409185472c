//! Giving connections their turns. Every thread that serves has an attendant: each worker, and the
//! event loop for what can be answered from memory.
//!
//! One request is seen by two pieces of code with no call between them: the event loop finds a
//! connection ready and dispatches it, and [`Attendant::attend`] takes over. It begins the ownership,
//! gives the session its turn, and releases: nothing goes back to the loop, which finds the new
//! deadline in the slot when it needs it. [`Attendant::settle`] sees to what wants more.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::access_log;
use super::shared::Shared;
use super::slots::{Connection, QueuedSlot, WaitOutcome};
use super::work::{FinishedErrands, Work};
use crate::clock::{Millis, Now};
use crate::connection::access_log::journal::Journal;
use crate::connection::connection_id::ConnectionId;
use crate::connection::counters::CloseReason;
use crate::connection::deadline::Deadline;
use crate::connection::desk::Desk;
use crate::connection::service::Mode;
use crate::connection::session::{Outcome, Session, Turn};
use crate::connection::transport::{Socket, Transport};
use crate::site::Reach;
use crate::site::waiting::{Errand, Waiter};

/// How long a turn or a slice of a job may take if others wait, in milliseconds. What one step waits for
/// the disk comes on top.
pub const SLICE_MILLIS: u64 = 5;

/// For how long a job is gone on with though all who wait for it have ended their side, in milliseconds.
/// A FIN may come from a client that has sent all it has to say and waits for the answer; mostly it is
/// from one that has left.
const LEFT_MILLIS: u64 = 1_000;

/// One thread's means to serve.
#[derive(Debug)]
pub struct Attendant<T = Socket> {
    shared: Arc<Shared<T>>,
    desk: Desk,
    reach: Reach,
    /// Since when the log has lines that are not handed over.
    log_kept_since: Option<Millis>,
}

/// The state of a connection after its turn. [`Attendant::settle`] does what it takes.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a connection that wants another turn and is not queued is left to nobody"]
pub enum Attended {
    /// It waits for its peer or its deadline.
    Waits,
    /// The connection wants another turn.
    WantsMore(QueuedSlot),
    /// The connection waits for a load that another thread has begun.
    Awaits(QueuedSlot, Arc<Errand>),
    /// The connection is closed and its slot is free.
    Closed(u32),
}

impl<T: Transport + Send + 'static> Attendant<T> {
    /// An attendant that goes as far as `reach` for an answer.
    #[must_use]
    pub fn new(shared: Arc<Shared<T>>, desk: Desk, reach: Reach) -> Attendant<T> {
        Attendant {
            shared,
            desk,
            reach,
            log_kept_since: None,
        }
    }

    /// Gives a connection its turn. Returns the time at the end, which a turn that never waits cannot
    /// tell from `now`.
    pub fn attend(&mut self, queued: QueuedSlot, now: Now) -> (Attended, Now) {
        self.attend_to(queued, now, false)
    }

    /// As [`attend`](Attendant::attend). `gives_up`: the peer has ended its side, and its answer takes too
    /// long to go on with for a client that has most likely left.
    pub fn attend_to(&mut self, queued: QueuedSlot, now: Now, gives_up: bool) -> (Attended, Now) {
        let Attendant {
            shared,
            desk,
            reach,
            ..
        } = self;
        let index = queued.index();
        let mut owned = shared.slots.begin(queued);
        let mut now = now;
        let mut has_repeated = false;
        loop {
            let read_closed = owned.read_closed();
            let Some(open) = owned.connection() else {
                return (Attended::Closed(owned.close(drop)), now);
            };
            begin_turn(desk, shared, index);
            let start = TurnStart {
                now,
                reach: *reach,
                read_closed,
                gives_up,
            };
            let end = turn(desk, open, shared, &start);
            end_turn(desk, shared);
            now = end.now;
            match end.outcome {
                Outcome::Wait => match owned.wait_until(end.deadline) {
                    WaitOutcome::Idle => return (Attended::Waits, now),
                    // The second time it waits like the others.
                    WaitOutcome::Notified(again) if has_repeated => {
                        return (Attended::WantsMore(again.requeue()), now);
                    }
                    WaitOutcome::Notified(again) => (has_repeated, owned) = (true, again),
                },
                Outcome::Again => {
                    let queued = owned.requeue();
                    let attended = match desk.awaited.take() {
                        None => Attended::WantsMore(queued),
                        Some(errand) => Attended::Awaits(queued, errand),
                    };
                    return (attended, now);
                }
                Outcome::Close(reason) => {
                    desk.awaited = None;
                    let free = owned.close(|closed| {
                        log_end(shared.connection_id(index), &closed, reason, now);
                        shared.close(closed);
                    });
                    return (Attended::Closed(free), now);
                }
            }
        }
    }

    /// Does what it takes for a connection to go on after its turn. `finished` is what it has waited for
    /// before that turn. Returns its slot if that is free now: the event loop has to know.
    pub fn settle(&mut self, attended: Attended, finished: FinishedErrands) -> Option<u32> {
        let is_out_of_reach =
            self.reach == Reach::Roots && std::mem::take(&mut self.desk.is_out_of_reach);
        match attended {
            Attended::Waits => {}
            Attended::WantsMore(queued) if is_out_of_reach => {
                let work = Work::Resume(queued, finished);
                self.shared.handoff.pass_on(work);
            }
            Attended::WantsMore(queued) => self.shared.handoff.defer(Work::Turn(queued)),
            Attended::Awaits(queued, errand) => park(&self.shared, queued, &errand, finished),
            Attended::Closed(slot) => return Some(slot),
        }
        None
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

/// Leaves a connection to the thread that comes back from `errand`: it puts it into a lane. Until then
/// the connection is in none, so that waiting costs nothing, however long it takes. `finished` is what it
/// has waited for before.
fn park<T: Transport + Send + 'static>(
    shared: &Arc<Shared<T>>,
    queued: QueuedSlot,
    errand: &Arc<Errand>,
    finished: FinishedErrands,
) {
    errand.wait(Box::new(ParkedConnection {
        shared: Arc::clone(shared),
        queued,
        finished,
        left_at: None,
    }));
    if errand.claim_job() {
        shared.handoff.defer(Work::Slice(Arc::clone(errand)));
    }
}

/// A connection that waits for an errand.
struct ParkedConnection<T> {
    shared: Arc<Shared<T>>,
    queued: QueuedSlot,
    finished: FinishedErrands,
    /// Since when its peer is known to have ended its side.
    left_at: Option<Millis>,
}

impl<T: Transport + Send + 'static> Waiter for ParkedConnection<T> {
    fn is_waiting(&mut self, now: Millis) -> bool {
        // The connection is queued, so the slot is still its own.
        if !self.shared.slots.at(self.queued.index()).is_read_closed() {
            return true;
        }
        now.since(*self.left_at.get_or_insert(now)) < LEFT_MILLIS
    }

    fn call(self: Box<Self>, errand: &Arc<Errand>) {
        let ParkedConnection {
            shared,
            queued,
            finished,
            ..
        } = *self;
        if errand.needs_disk() {
            let work = Work::Resume(queued, finished.with(errand));
            shared.handoff.defer(work);
        } else {
            shared.hand_back(queued);
        }
    }
}

/// Tells the journal whose turn it is, and the time if it needs that. A server without an access log
/// does not pay for one.
fn begin_turn<T>(desk: &mut Desk, shared: &Shared<T>, index: u32) {
    if let Some(log) = &mut desk.log {
        log.begin_turn(shared.connection_id(index), micros_for(log, shared));
    }
}

/// Completes the lines of the answers that the kernel has taken.
fn end_turn<T>(desk: &mut Desk, shared: &Shared<T>) {
    if let Some(log) = &mut desk.log
        && log.has_begun()
    {
        log.end_turn(micros_for(log, shared));
    }
}

fn micros_for<T>(log: &Journal, shared: &Shared<T>) -> u64 {
    if log.is_timed() {
        shared.clock.micros()
    } else {
        0
    }
}

/// How a turn ended, and when.
struct TurnEnd {
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
fn turn<T: Transport>(
    desk: &mut Desk,
    open: &mut Connection<T>,
    shared: &Shared<T>,
    start: &TurnStart,
) -> TurnEnd {
    let TurnStart { now, reach, .. } = *start;
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
            read_closed: start.read_closed,
            gives_up: start.gives_up,
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
        TurnEnd {
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
        TurnEnd {
            outcome: Outcome::Close(CloseReason::Panic),
            now,
            deadline: Deadline::Exchange(Millis::NEVER),
        }
    })
}

/// The line for each connection, with the name that it has in the access log.
fn log_end<T>(id: ConnectionId, closed: &Connection<T>, reason: CloseReason, now: Now) {
    if log::log_enabled!(log::Level::Debug) {
        let (requests, bytes, millis) = closed.session.summary(now.monotonic);
        let reason = reason.name();
        log::debug!(
            "connection {id} closed: {requests} requests, {bytes} bytes, {millis} ms, {reason}"
        );
    }
}
