//! Giving connections their turns. Every thread that serves has an turn_runner: each worker, and the
//! event loop for what can be answered from memory.
//!
//! One request is seen by two pieces of code with no call between them: the event loop finds a
//! connection ready and dispatches it, and [`TurnRunner::run`] takes over. It begins the ownership,
//! gives the session its turn, and releases: nothing goes back to the loop, which finds the new
//! deadline in the slot when it needs it. [`TurnRunner::settle`] sees to what wants more.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::access_log;
use super::shared::Shared;
use super::slots::{Connection, QueuedSlot, WaitOutcome};
use super::work::{FinishedFlights, Work};
use crate::clock::{Millis, Now};
use crate::connection::access_log::log_buffer::LogBuffer;
use crate::connection::connection_id::ConnectionId;
use crate::connection::counters::CloseReason;
use crate::connection::deadline::Deadline;
use crate::connection::server_context::Mode;
use crate::connection::session::{Outcome, Session, Turn};
use crate::connection::thread_buffers::ThreadBuffers;
use crate::connection::transport::{Socket, Transport};
use crate::site::MayBlock;
use crate::site::waiting::{Flight, Waiter};

/// How long a turn or a slice of a job may take if others wait, in milliseconds. What one step waits for
/// the disk comes on top.
pub const SLICE_MILLIS: u64 = 5;

/// For how long a job is gone on with though all who wait for it have ended their side, in milliseconds.
/// A FIN may come from a client that has sent all it has to say and waits for the answer; mostly it is
/// from one that has left.
const LEFT_MILLIS: u64 = 1_000;

/// One thread's means to serve.
#[derive(Debug)]
pub struct TurnRunner<T = Socket> {
    shared: Arc<Shared<T>>,
    buffers: ThreadBuffers,
    may_block: MayBlock,
    /// Since when the log has lines that are not handed over.
    log_kept_since: Option<Millis>,
}

/// The state of a connection after its turn. [`TurnRunner::settle`] does what it takes.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a connection that wants another turn and is not queued is left to nobody"]
pub enum TurnResult {
    /// It waits for its peer or its deadline.
    Waits,
    /// The connection wants another turn.
    WantsMore(QueuedSlot),
    /// The connection waits for a load that another thread has begun.
    Awaits(QueuedSlot, Arc<Flight>),
    /// The connection is closed and its slot is free.
    Closed(u32),
}

impl<T: Transport + Send + 'static> TurnRunner<T> {
    /// An turn_runner that goes as far as `may_block` for an answer.
    #[must_use]
    pub fn new(
        shared: Arc<Shared<T>>,
        buffers: ThreadBuffers,
        may_block: MayBlock,
    ) -> TurnRunner<T> {
        TurnRunner {
            shared,
            buffers,
            may_block,
            log_kept_since: None,
        }
    }

    /// Gives a connection its turn. Returns the time at the end, which a turn that never waits cannot
    /// tell from `now`.
    pub fn run(&mut self, queued: QueuedSlot, now: Now) -> (TurnResult, Now) {
        self.run_from(queued, now, false)
    }

    /// As [`run`](TurnRunner::run). `gives_up`: the peer has ended its side, and its answer takes too
    /// long to go on with for a client that has most likely left.
    pub fn run_from(&mut self, queued: QueuedSlot, now: Now, gives_up: bool) -> (TurnResult, Now) {
        let TurnRunner {
            shared,
            buffers,
            may_block,
            ..
        } = self;
        let index = queued.index();
        let mut owned = shared.slots.begin(queued);
        let mut now = now;
        let mut has_repeated = false;
        loop {
            let read_closed = owned.read_closed();
            let Some(open) = owned.connection() else {
                return (TurnResult::Closed(owned.close(drop)), now);
            };
            begin_turn(buffers, shared, index);
            let start = TurnStart {
                now,
                may_block: *may_block,
                read_closed,
                gives_up,
            };
            let end = turn(buffers, open, shared, &start);
            end_turn(buffers, shared);
            now = end.now;
            match end.outcome {
                Outcome::Wait => match owned.wait_until(end.deadline) {
                    WaitOutcome::Idle => return (TurnResult::Waits, now),
                    // The second time it waits like the others.
                    WaitOutcome::Notified(again) if has_repeated => {
                        return (TurnResult::WantsMore(again.requeue()), now);
                    }
                    WaitOutcome::Notified(again) => (has_repeated, owned) = (true, again),
                },
                Outcome::Again => {
                    let queued = owned.requeue();
                    let turn_result = match buffers.awaited.take() {
                        None => TurnResult::WantsMore(queued),
                        Some(flight) => TurnResult::Awaits(queued, flight),
                    };
                    return (turn_result, now);
                }
                Outcome::Close(reason) => {
                    buffers.awaited = None;
                    let free = owned.close(|closed| {
                        log_end(shared.connection_id(index), &closed, reason, now);
                        shared.close(closed);
                    });
                    return (TurnResult::Closed(free), now);
                }
            }
        }
    }

    /// Does what it takes for a connection to go on after its turn. `finished` is what it has waited for
    /// before that turn. Returns its slot if that is free now: the event loop has to know.
    pub fn settle(&mut self, turn_result: TurnResult, finished: FinishedFlights) -> Option<u32> {
        let would_block_on_disk = self.may_block == MayBlock::OnRoots
            && std::mem::take(&mut self.buffers.would_block_on_disk);
        match turn_result {
            TurnResult::Waits => {}
            TurnResult::WantsMore(queued) if would_block_on_disk => {
                let work = Work::Resume(queued, finished);
                self.shared.handoff.pass_on(work);
            }
            TurnResult::WantsMore(queued) => self.shared.handoff.defer(Work::Turn(queued)),
            TurnResult::Awaits(queued, flight) => park(&self.shared, queued, &flight, finished),
            TurnResult::Closed(slot) => return Some(slot),
        }
        None
    }

    /// When the lines of the access log that were collected here have to be handed over; `None` if
    /// there are none. To be asked after every turn.
    pub fn log_due_at(&mut self, now: Millis) -> Option<Millis> {
        let lines = match &mut self.buffers.log {
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
        if let (Some(log), Some(access_log)) = (&mut self.buffers.log, &self.shared.access_log) {
            access_log.leave(log.lines());
        }
    }

    /// Collects the line of an answer that the end of the server cuts off.
    pub fn cut_off(&mut self, connection: ConnectionId, session: &mut Session) {
        session.cut_off(&mut self.buffers);
        end_turn(&mut self.buffers, &self.shared);
        log::debug!("connection {connection} cut off");
    }
}

/// Leaves a connection to the thread that comes back from `flight`: it puts it into a queue. Until then
/// the connection is in none, so that waiting costs nothing, however long it takes. `finished` is what it
/// has waited for before.
fn park<T: Transport + Send + 'static>(
    shared: &Arc<Shared<T>>,
    queued: QueuedSlot,
    flight: &Arc<Flight>,
    finished: FinishedFlights,
) {
    flight.wait(Box::new(ParkedConnection {
        shared: Arc::clone(shared),
        queued,
        finished,
        left_at: None,
    }));
    if flight.claim_job() {
        shared.handoff.defer(Work::Slice(Arc::clone(flight)));
    }
}

/// A connection that waits for an flight.
struct ParkedConnection<T> {
    shared: Arc<Shared<T>>,
    queued: QueuedSlot,
    finished: FinishedFlights,
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

    fn call(self: Box<Self>, flight: &Arc<Flight>) {
        let ParkedConnection {
            shared,
            queued,
            finished,
            ..
        } = *self;
        if flight.needs_disk() {
            let work = Work::Resume(queued, finished.with(flight));
            shared.handoff.defer(work);
        } else {
            shared.hand_back(queued);
        }
    }
}

/// Tells the log_buffer whose turn it is, and the time if it needs that. A server without an access log
/// does not pay for one.
fn begin_turn<T>(buffers: &mut ThreadBuffers, shared: &Shared<T>, index: u32) {
    if let Some(log) = &mut buffers.log {
        log.begin_turn(shared.connection_id(index), micros_for(log, shared));
    }
}

/// Completes the lines of the answers that the kernel has taken.
fn end_turn<T>(buffers: &mut ThreadBuffers, shared: &Shared<T>) {
    if let Some(log) = &mut buffers.log
        && log.has_begun()
    {
        log.end_turn(micros_for(log, shared));
    }
}

fn micros_for<T>(log: &LogBuffer, shared: &Shared<T>) -> u64 {
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
    may_block: MayBlock,
    read_closed: bool,
    gives_up: bool,
}

/// One turn, fenced: a panic ends this connection and nothing else.
fn turn<T: Transport>(
    buffers: &mut ThreadBuffers,
    open: &mut Connection<T>,
    shared: &Shared<T>,
    start: &TurnStart,
) -> TurnEnd {
    let TurnStart { now, may_block, .. } = *start;
    let is_over = || {
        let is_long = || shared.clock.now().monotonic.since(now.monotonic) >= SLICE_MILLIS;
        shared.handoff.has_work() && is_long()
    };
    let result = catch_unwind(AssertUnwindSafe(|| {
        let context = &shared.context;
        let mut turn = Turn {
            io: &mut open.socket,
            buffers: &mut *buffers,
            context,
            now,
            may_block,
            read_closed: start.read_closed,
            gives_up: start.gives_up,
            is_over: &is_over,
        };
        let outcome = open.session.turn(&mut turn);
        // What a turn that waited for the disk began, begins now.
        let now = match may_block {
            MayBlock::Never => now,
            MayBlock::OnRoots | MayBlock::Anywhere => shared.clock.now(),
        };
        let deadline = match outcome {
            Outcome::Wait => open.session.rest(context, now.monotonic),
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
        buffers.clear();
        let (answered, ..) = open.session.summary(now.monotonic);
        buffers.counters.closed(CloseReason::Panic, answered);
        if shared.context.mode() != Mode::Serving {
            buffers.counters.promise_broken();
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
