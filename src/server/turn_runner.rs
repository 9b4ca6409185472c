//! Running the turns of connections. Every thread that serves has a [`TurnRunner`]: each worker, and the
//! event loop for requests that memory can answer.
//!
//! Two pieces of code handle one request, with no call between them. The event loop finds a connection
//! ready and dispatches it, and [`TurnRunner::run`] takes over: it takes ownership, runs the turn of the
//! session, and releases. Nothing is reported to the loop, which finds the new deadline in the slot when
//! it needs it. [`TurnRunner::requeue_or_park`] takes care of a connection that wants another turn.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::access_log;
use super::current_config::ActiveConfig;
use super::shared::Shared;
use super::slots::{Connection, QueuedSlot, WaitOutcome};
use super::work::{FinishedFlights, Work};
use crate::clock::{Millis, Now, Sample};
use crate::connection::access_log::log_buffer::LogBuffer;
use crate::connection::client_socket::ClientSocket;
use crate::connection::connection_id::ConnectionId;
use crate::connection::counters::{CloseReason, Counters};
use crate::connection::deadline::Deadline;
use crate::connection::server_context::{Mode, ServerContext};
use crate::connection::session::{Outcome, Session, Turn};
use crate::connection::thread_buffers::ThreadBuffers;
use crate::connection::transport::Transport;
use crate::site::MayBlock;
use crate::site::waiting::{Flight, Waiter};

/// How long a turn may take while other work waits, and a slice of a job in any case, in milliseconds. One
/// step may take longer if it waits for the disk.
pub const SLICE_MILLIS: u64 = 5;

/// How long a job continues after all connections that wait for it have got a FIN, in milliseconds. A
/// client may send a FIN after its request and still wait for the response, but mostly it has left.
const PEER_GONE_MILLIS: u64 = 1_000;

/// The state that a thread needs to run turns.
#[derive(Debug)]
pub struct TurnRunner<T = ClientSocket> {
    shared: Arc<Shared<T>>,
    /// The configuration of the present turn.
    active: Arc<ActiveConfig>,
    buffers: ThreadBuffers,
    may_block: MayBlock,
    /// When the oldest log line was collected that is not flushed yet.
    log_lines_since: Option<Millis>,
}

/// The state of a connection after its turn, to be passed to [`TurnRunner::requeue_or_park`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a connection that wants another turn and is not queued is lost"]
pub enum TurnResult {
    /// The connection waits for its peer or its deadline.
    Idle,
    /// The connection wants another turn.
    WantsTurn(QueuedSlot),
    /// The connection waits for a load that another thread has begun.
    AwaitsFlight(QueuedSlot, Arc<Flight>),
    /// The connection is closed and its slot is free.
    Closed(u32),
}

impl<T: Transport + Send + 'static> TurnRunner<T> {
    /// A runner whose turns block as far as `may_block` allows.
    #[must_use]
    pub fn new(
        shared: Arc<Shared<T>>,
        counters: Arc<Counters>,
        may_block: MayBlock,
    ) -> TurnRunner<T> {
        let active = shared.config.get();
        TurnRunner {
            buffers: ThreadBuffers::new(&active.context.config, counters),
            active,
            shared,
            may_block,
            log_lines_since: None,
        }
    }

    /// The configuration of the last turn.
    #[must_use]
    pub fn active(&self) -> &Arc<ActiveConfig> {
        &self.active
    }

    /// Takes over the configuration in force, if it is another one since the last turn. Lines that were collected
    /// before go to the access log of that time.
    #[inline]
    pub fn follow_reload(&mut self) {
        if !self.shared.config.is(&self.active) {
            self.take_over();
        }
    }

    #[cold]
    fn take_over(&mut self) {
        self.end();
        self.flush_log();
        self.active = self.shared.config.get();
        self.buffers.reconfigure(&self.active.context.config);
    }

    /// Begins turns at the time of `sample`, which is returned. Responses are timed from here.
    pub fn begin(&mut self, sample: Sample) -> Now {
        self.buffers.timer.begin(sample.micros);
        sample.now
    }

    /// Counts the responses since the last reading of the clock, which is now `sample`. Returns its time.
    pub fn count_responses(&mut self, sample: Sample) -> Now {
        self.buffers.count_responses(sample.micros);
        sample.now
    }

    /// Reads the clock for responses that are not counted yet, if there are any. Returns the time in
    /// microseconds if it was read.
    pub fn end(&mut self) -> Option<u64> {
        let micros = self
            .buffers
            .timer
            .has_begun()
            .then(|| self.shared.clock.micros())?;
        self.buffers.count_responses(micros);
        Some(micros)
    }

    /// Ends a connection whose socket the kernel cannot watch.
    #[cold]
    pub fn end_unwatched(&mut self, closed: Box<Connection<T>>, now: Now) {
        let (answered, ..) = closed.session.summary(now.monotonic);
        self.buffers
            .counters
            .closed(CloseReason::Exhausted, answered);
        self.shared.close(closed);
    }

    /// Runs a turn. `gives_up` says that the peer has closed its side and its response takes so long that the
    /// client has most likely left. Returns the time at the end; this is `now` if the turn must not block.
    pub fn run(&mut self, queued: QueuedSlot, now: Now, gives_up: bool) -> (TurnResult, Now) {
        self.follow_reload();
        let TurnRunner {
            shared,
            active,
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
                context: &active.context,
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
                    WaitOutcome::Idle => return (TurnResult::Idle, now),
                    // The second time the connection waits behind the others.
                    WaitOutcome::Notified(again) if has_repeated => {
                        return (TurnResult::WantsTurn(again.requeue(end.deadline)), now);
                    }
                    WaitOutcome::Notified(again) => {
                        (has_repeated, owned) = (true, again);
                        buffers.timer.begin_again();
                    }
                },
                Outcome::Again => {
                    let queued = owned.requeue(end.deadline);
                    let turn_result = match buffers.awaited.take() {
                        None => TurnResult::WantsTurn(queued),
                        Some(flight) => TurnResult::AwaitsFlight(queued, flight),
                    };
                    return (turn_result, now);
                }
                Outcome::Close(reason) => {
                    buffers.awaited = None;
                    let free = owned.close(|closed| {
                        log_closed(shared.connection_id(index), &closed, reason, now);
                        shared.close(closed);
                    });
                    return (TurnResult::Closed(free), now);
                }
            }
        }
    }

    /// Queues or parks a connection that goes on after its turn. `finished` are the flights that it waited
    /// for before the turn. Returns its slot if that is free now, for a report to the event loop.
    pub fn requeue_or_park(
        &mut self,
        turn_result: TurnResult,
        finished: FinishedFlights,
    ) -> Option<u32> {
        let would_block_on_disk = std::mem::take(&mut self.buffers.would_block_on_disk)
            && self.may_block == MayBlock::OnRoots;
        let needs_computing = std::mem::take(&mut self.buffers.needs_computing);
        match turn_result {
            TurnResult::Idle => {}
            TurnResult::WantsTurn(queued) if needs_computing => {
                self.shared.handoff.defer_handshake(queued);
            }
            TurnResult::WantsTurn(queued) if would_block_on_disk => {
                let work = Work::Resume(queued, finished);
                self.shared.handoff.defer_beyond_mounts(work);
            }
            TurnResult::WantsTurn(queued) => self.shared.handoff.defer(Work::Turn(queued)),
            TurnResult::AwaitsFlight(queued, flight) => {
                park(&self.shared, queued, &flight, finished)
            }
            TurnResult::Closed(slot) => return Some(slot),
        }
        None
    }

    /// When the collected lines of the access log are due to be flushed; `None` if there are none. To be
    /// called after every turn.
    pub fn log_flush_due_at(&mut self, now: Millis) -> Option<Millis> {
        let lines = match &mut self.buffers.log {
            Some(log) => log.lines().len(),
            None => 0,
        };
        if lines == 0 {
            self.log_lines_since = None;
            return None;
        }
        let since = *self.log_lines_since.get_or_insert(now);
        let keeps = access_log::FLUSH_AFTER.as_millis() as u64;
        Some(if lines >= access_log::FLUSH_BYTES {
            now
        } else {
            Millis(since.0 + keeps)
        })
    }

    /// Passes the collected lines to the writer of the access log.
    pub fn flush_log(&mut self) {
        self.log_lines_since = None;
        if let (Some(log), Some(access_log)) = (&mut self.buffers.log, &self.active.access_log) {
            access_log.take_from(log.lines());
        }
    }

    /// Collects the log line of a response that the end of the server cuts off.
    pub fn cut_off(&mut self, connection: ConnectionId, session: &mut Session) {
        session.cut_off(&mut self.buffers);
        end_turn(&mut self.buffers, &self.shared);
        log::debug!("connection {connection} cut off");
    }
}

/// Parks a connection until `flight` is over. Until then the connection is in no queue, so waiting costs
/// nothing however long it lasts. `finished` are the flights that the connection waited for before. If the
/// flight has a job that is in no queue yet, the job is queued.
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
        read_closed_since: None,
    }));
    if flight.claim_job() {
        shared.handoff.defer(Work::Slice(Arc::clone(flight)));
    }
}

/// A connection that waits for a flight.
struct ParkedConnection<T> {
    shared: Arc<Shared<T>>,
    queued: QueuedSlot,
    finished: FinishedFlights,
    /// When this waiter was first asked after the peer had closed its side.
    read_closed_since: Option<Millis>,
}

impl<T: Transport + Send + 'static> Waiter for ParkedConnection<T> {
    fn is_waiting(&mut self, now: Millis) -> bool {
        // The slot still belongs to this connection, because the connection is queued.
        if !self.shared.slots.at(self.queued.index()).is_read_closed() {
            return true;
        }
        now.since(*self.read_closed_since.get_or_insert(now)) < PEER_GONE_MILLIS
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

/// Tells the log buffer the connection of the turn, and the time if the format needs it. A server without
/// an access log skips this.
fn begin_turn<T>(buffers: &mut ThreadBuffers, shared: &Shared<T>, index: u32) {
    if let Some(log) = &mut buffers.log {
        log.begin_turn(shared.connection_id(index), micros_for(log, shared));
    }
}

/// Completes the log lines of responses that the kernel has taken.
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
    /// When the next turn is due if no event comes.
    deadline: Deadline,
}

/// The conditions under which a turn begins.
#[derive(Debug, Clone, Copy)]
struct TurnStart<'a> {
    context: &'a ServerContext,
    now: Now,
    may_block: MayBlock,
    read_closed: bool,
    gives_up: bool,
}

/// Runs one turn, and catches panics: a panic only ends this connection.
fn turn<T: Transport>(
    buffers: &mut ThreadBuffers,
    open: &mut Connection<T>,
    shared: &Shared<T>,
    start: &TurnStart<'_>,
) -> TurnEnd {
    let TurnStart {
        context,
        now,
        may_block,
        ..
    } = *start;
    let is_over = || {
        let is_long = || shared.clock.now().monotonic.since(now.monotonic) >= SLICE_MILLIS;
        shared.handoff.has_work(may_block == MayBlock::Anywhere) && is_long()
    };
    let result = catch_unwind(AssertUnwindSafe(|| {
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
        // Timeouts that begin with a turn that may have waited for the disk count from its end.
        let now = match may_block {
            MayBlock::Never => now,
            MayBlock::OnRoots | MayBlock::Anywhere => {
                let sample = shared.clock.sample();
                buffers.count_responses(sample.micros);
                sample.now
            }
        };
        let deadline = match outcome {
            Outcome::Wait => open.session.next_deadline(context, now.monotonic),
            Outcome::Again => open.session.queued_deadline(context),
            Outcome::Close(_) => Deadline::Exchange(Millis::NEVER),
        };
        TurnEnd {
            outcome,
            now,
            deadline,
        }
    }));
    result.unwrap_or_else(|_| {
        // The panic hook has printed where it was.
        log::error!("a turn panicked; its connection is closed, others continue");
        buffers.clear();
        buffers.count_responses(shared.clock.micros());
        let (answered, ..) = open.session.summary(now.monotonic);
        buffers.counters.closed(CloseReason::Panic, answered);
        if context.mode() != Mode::Serving {
            buffers.counters.promise_broken();
        }
        TurnEnd {
            outcome: Outcome::Close(CloseReason::Panic),
            now,
            deadline: Deadline::Exchange(Millis::NEVER),
        }
    })
}

/// Logs the end of a connection, under the identifier that the access log gives it.
fn log_closed<T>(id: ConnectionId, closed: &Connection<T>, reason: CloseReason, now: Now) {
    if log::log_enabled!(log::Level::Debug) {
        let (requests, bytes, millis) = closed.session.summary(now.monotonic);
        let reason = reason.name();
        log::debug!(
            "connection {id} closed: {requests} requests, {bytes} bytes, {millis} ms, {reason}"
        );
    }
}
