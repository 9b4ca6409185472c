//! What an event loop and its workers share.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::access_log::AccessLog;
use super::handoff::Handoff;
use super::slots::{Connection, QueuedSlot, REFUSAL_RESERVE, Slots};
use crate::clock::Clock;
use crate::connection::connection_id::ConnectionId;
use crate::connection::counters::{Counters, Totals};
use crate::connection::deadline::Deadline;
use crate::connection::limits::per_ip::Shares;
use crate::connection::ownership::OwnershipState;
use crate::connection::server_context::{Mode, ServerContext};
use crate::connection::transport::Socket;

/// What the event loop is told. Apart from `Enter` there is at most one for each slot, so the
/// channel is bounded by the connections though it has no bound of its own.
#[derive(Debug)]
pub enum LoopMessage {
    /// The slot is free.
    Closed(u32),
    /// Move to this mode; sent by a handle or by another event loop, not by a worker.
    Enter(Mode),
}

/// A way to end the poll of an event loop.
pub trait Waker: Send + Sync {
    /// Ends the poll, or the next one.
    ///
    /// # Errors
    /// As write(2).
    fn wake(&self) -> io::Result<()>;
}

impl Waker for mio::Waker {
    fn wake(&self) -> io::Result<()> {
        self.wake()
    }
}

/// What an event loop and its workers share. The context, the clock, the shares and the access log are
/// those of the whole server, the rest is of one event loop.
pub struct Shared<T = Socket> {
    /// The number of the event loop, from 0.
    pub number: usize,
    /// The connections.
    pub slots: Slots<T>,
    /// The ready connections.
    pub handoff: Handoff,
    /// The configuration, the site and the mode.
    pub context: Arc<ServerContext>,
    /// The connections of each address, if their number is limited.
    pub shares: Option<Arc<Shares>>,
    /// The only source of time.
    pub clock: Arc<dyn Clock>,
    /// The way back to the loop.
    pub reports: Sender<LoopMessage>,
    /// Ends the loop's poll.
    pub waker: Box<dyn Waker>,
    /// Whether the loop waits for connections to close: it drains, or it could not accept.
    pub wants_closes: AtomicBool,
    /// How many permanent workers there are.
    pub workers: usize,
    /// The counters: first the event loop's, then those of each worker, and last the one set that all
    /// spare workers count in.
    pub counters: Vec<Arc<Counters>>,
    /// What the loop has accepted.
    pub admissions: Arc<Admissions>,
    /// The access log, if there is one.
    pub access_log: Option<Arc<AccessLog>>,
}

/// What one event loop has accepted. Only that loop writes.
#[derive(Debug, Default)]
pub struct Admissions {
    /// Connections that got a slot since the start.
    pub accepted: AtomicU64,
    /// Connections that were closed without a word since the start.
    pub dropped: AtomicU64,
    /// Connections open now, refused ones included.
    pub open: AtomicUsize,
    /// One more than the highest slot that was ever in use.
    pub used: AtomicUsize,
    /// Listeners that are open.
    pub open_listeners: AtomicUsize,
    /// Whether no new handshake begins on the loop's listeners any more, but on those that cannot
    /// prevent it.
    pub drops_syn: AtomicBool,
}

/// Open connections by what they do. Counted one after the other, while connections come and go: they
/// need not add up.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// In the middle of a request or an answer.
    pub active: usize,
    /// Between two requests.
    pub idle: usize,
    /// Ended for us, waiting for the peer's FIN.
    pub lingering: usize,
}

/// How many of the `workers` the event loop `number` of `event_loops` has: at least one.
pub(super) fn share_of(workers: usize, number: usize, event_loops: usize) -> usize {
    let extra = usize::from(number < workers % event_loops);
    (workers / event_loops + extra).max(1)
}

impl<T> std::fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("number", &self.number)
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

impl<T> Shared<T> {
    /// The shared state of the event loop `number`, without open connections, and the messages that are
    /// sent to the loop. It counts no connections by address and has no access log.
    #[must_use]
    pub fn new(
        number: usize,
        context: Arc<ServerContext>,
        clock: Arc<dyn Clock>,
        waker: Box<dyn Waker>,
    ) -> (Shared<T>, Receiver<LoopMessage>) {
        let config = &context.config;
        let workers = share_of(config.workers, number, config.event_loops);
        let (reports, messages) = unbounded();
        let shared = Shared {
            number,
            // Any loop may be dealt all connections.
            slots: Slots::new(config.limits.connections + REFUSAL_RESERVE),
            handoff: Handoff::default(),
            context,
            shares: None,
            clock,
            reports,
            waker,
            wants_closes: AtomicBool::new(false),
            workers,
            counters: (0..workers + 2).map(|_| Arc::default()).collect(),
            admissions: Arc::default(),
            access_log: None,
        };
        (shared, messages)
    }

    /// Sends `report` and wakes the loop. A loop that has ended needs neither.
    pub fn report_and_wake(&self, report: LoopMessage) {
        let _ = self.reports.send(report);
        if let Err(error) = self.waker.wake() {
            // The loop finds the report at its next tick.
            log::warn!("the event loop cannot be woken: {error}");
        }
    }

    /// Closes a connection, as the thread that owned it, and gives up its place under the limits. That
    /// is not left to the event loop, which may hear of it a tick later: until then another loop would
    /// refuse a client for one that has gone.
    // Boxed as the slot has it.
    #[allow(clippy::boxed_local)]
    pub fn close(&self, connection: Box<Connection<T>>) {
        let Connection {
            socket,
            session,
            is_counted,
        } = *connection;
        // FirstQueue, so that there is a descriptor for whoever comes next.
        drop(socket);
        if is_counted {
            self.context.gauge.leave();
        }
        if let (Some(shares), Some((address, address_gauge))) =
            (&self.shares, session.address_gauge())
        {
            shares.leave(address, address_gauge);
        }
    }

    /// A worker tells that the slot `index` is free.
    pub fn report_closed(&self, index: u32) {
        let report = LoopMessage::Closed(index);
        if self.wants_closes.load(Ordering::SeqCst) {
            self.report_and_wake(report);
        } else {
            // The loop finds it when it comes round; if it has ended, nobody needs it.
            let _ = self.reports.send(report);
        }
    }

    /// Another thread gives a connection to the loop: memory has what it waited for.
    pub fn hand_back(&self, queued: QueuedSlot) {
        self.handoff.dispatch(queued);
        if let Err(error) = self.waker.wake() {
            // The loop finds it when it comes round.
            log::warn!("the event loop cannot be woken: {error}");
        }
    }

    /// The name of the connection that is, or was last, in the slot `index`.
    #[must_use]
    pub fn connection_id(&self, index: u32) -> ConnectionId {
        ConnectionId {
            event_loop: self.number,
            slot: index,
            generation: self.slots.at(index).generation(),
        }
    }

    /// Connections open now, refused ones included.
    #[must_use]
    pub fn open(&self) -> usize {
        self.admissions.open.load(Ordering::Relaxed)
    }

    /// Whether connections are accepted.
    #[must_use]
    pub fn is_accepting(&self) -> bool {
        self.admissions.open_listeners.load(Ordering::Relaxed) > 0
    }

    /// Looks at every connection. For diagnostics.
    #[must_use]
    pub fn connection_counts(&self) -> ConnectionCounts {
        let mut connection_counts = ConnectionCounts::default();
        for index in 0..self.admissions.used.load(Ordering::Relaxed) {
            // Slots are numbered with 32 bits.
            let slot = self.slots.at(index as u32);
            let state = slot.state();
            // With a thread that serves it, the deadline is that of before its turn: nearly always the
            // same kind.
            match slot.deadline() {
                _ if state == OwnershipState::Free => {}
                Deadline::Exchange(_) => connection_counts.active += 1,
                Deadline::Linger(_) => connection_counts.lingering += 1,
                deadline if state == OwnershipState::Idle && deadline.is_between_requests() => {
                    connection_counts.idle += 1;
                }
                _ => {}
            }
        }
        connection_counts
    }
}

/// The sum of the counters of these event loops and their workers.
pub(super) fn totals<T>(all: &[Arc<Shared<T>>]) -> Totals {
    let counters = all.iter().flat_map(|shared| &shared.counters);
    Totals::sum(counters.map(AsRef::as_ref))
}

impl std::iter::Sum for ConnectionCounts {
    fn sum<I: Iterator<Item = ConnectionCounts>>(all: I) -> ConnectionCounts {
        all.fold(ConnectionCounts::default(), |sum, one| ConnectionCounts {
            active: sum.active + one.active,
            idle: sum.idle + one.idle,
            lingering: sum.lingering + one.lingering,
        })
    }
}
