//! The state that an event loop shares with its workers.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::access_log::AccessLog;
use super::current_config::{ActiveConfig, CurrentConfig};
use super::handoff::Handoff;
use super::listener::{Listener, ListenerId};
use super::reload_status::ReloadStatus;
use super::slots::{Connection, QueuedSlot, REFUSAL_RESERVE, Slots};
use crate::clock::Clock;
#[cfg(doc)]
use crate::clock::Millis;
use crate::connection::client_socket::ClientSocket;
use crate::connection::connection_id::ConnectionId;
use crate::connection::counters::{Counters, Totals};
use crate::connection::deadline::Deadline;
use crate::connection::limits::connection_gauge::ConnectionGauge;
use crate::connection::limits::per_ip::ConnectionsPerClient;
use crate::connection::ownership::OwnershipState;
use crate::connection::server_context::{Mode, ServerContext};

/// A message to an event loop. There is at most one of `Closed` for each slot, and the others are few, so the
/// number of slots bounds the channel.
#[derive(Debug)]
pub enum LoopMessage {
    /// The slot is free.
    Closed(u32),
    /// The loop has to move to this mode. A handle or another event loop sends this, never a worker.
    Enter(Mode),
    /// Another configuration is in force.
    Reloaded(Box<ListenerChange>),
}

/// The listeners that an event loop has to open and to close after a reload.
#[derive(Debug, Default)]
pub struct ListenerChange {
    /// Bound already.
    pub added: Vec<(ListenerId, Listener)>,
    /// Their addresses are no longer in use.
    pub removed: Vec<ListenerId>,
}

/// Ends the poll of an event loop.
pub trait Waker: Send + Sync {
    /// Ends the current poll, or the next one.
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

/// The state that an event loop shares with its workers. The configuration, the clock, the gauge, the counts per
/// address and the status of reloads belong to the whole server, the rest belongs to one event loop.
pub struct Shared<T = ClientSocket> {
    /// The number of the event loop, from 0.
    pub number: usize,
    /// The connections.
    pub slots: Slots<T>,
    /// The queues of ready connections and other work.
    pub handoff: Handoff,
    /// The configuration in force.
    pub config: Arc<CurrentConfig>,
    /// The open connections of the server and their limit.
    pub gauge: Arc<ConnectionGauge>,
    /// The most connections that any limit may allow while the server runs.
    pub most_connections: usize,
    /// The connections of each address.
    pub per_client: Arc<ConnectionsPerClient>,
    /// The only source of time.
    pub clock: Arc<dyn Clock>,
    /// The channel for messages to the loop.
    pub reports: Sender<LoopMessage>,
    /// Ends the loop's poll.
    pub waker: Box<dyn Waker>,
    /// When the loop was last awake, as [`Millis`]; kept only for a watchdog.
    pub last_round: AtomicU64,
    /// Whether the loop must hear of a closed connection at once, because it drains or could not accept.
    pub wants_closes: AtomicBool,
    /// The number of permanent workers.
    pub workers: usize,
    /// The counters: first those of the event loop, then those of each worker, and last those that all spare
    /// workers share.
    pub counters: Vec<Arc<Counters>>,
    /// The accept counters and the state of the listeners.
    pub accept_state: Arc<AcceptState>,
    /// How often the configuration was reloaded.
    pub reload_status: Arc<ReloadStatus>,
}

/// The accept counters and listeners of one event loop. Only that loop writes them.
#[derive(Debug, Default)]
pub struct AcceptState {
    /// Connections that got a slot since the start, and those of peers that are no trusted proxy.
    pub accepted: AtomicU64,
    /// Connections that were closed without a response since the start.
    pub dropped: AtomicU64,
    /// Connections open now, refused ones included.
    pub open: AtomicUsize,
    /// One more than the highest slot that was ever in use.
    pub used: AtomicUsize,
    /// Listeners that are open.
    pub open_listeners: AtomicUsize,
    /// Whether all listeners of the loop that can drop new handshakes do so.
    pub drops_syn: AtomicBool,
}

/// The numbers of open connections by state. They need not add up, because connections open and close
/// during the count.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionCounts {
    /// In the middle of a request or a response.
    pub active: usize,
    /// Between two requests.
    pub idle: usize,
    /// Closed by us, waiting for the peer's FIN.
    pub lingering: usize,
}

/// The number of the `workers` that belong to the event loop `number` of `event_loops`: at least one.
pub(super) fn share_of(workers: usize, number: usize, event_loops: usize) -> usize {
    let extra = usize::from(number < workers % event_loops);
    (workers / event_loops + extra).max(1)
}

impl<T> std::fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("number", &self.number)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl<T> Shared<T> {
    /// The shared state of the event loop `number`, without open connections, and the receiver of messages
    /// to the loop. The table of connections has room for as many as the gauge allows.
    #[must_use]
    pub fn new(
        number: usize,
        active: Arc<CurrentConfig>,
        clock: Arc<dyn Clock>,
        waker: Box<dyn Waker>,
    ) -> (Shared<T>, Receiver<LoopMessage>) {
        let context = Arc::clone(&active.get().context);
        let (config, limits) = (&context.config, &context.config.limits);
        let workers = share_of(config.workers, number, config.event_loops);
        let (reports, messages) = unbounded();
        let shared = Shared {
            number,
            // The kernel may assign all connections to one loop.
            slots: Slots::new(limits.connections + REFUSAL_RESERVE),
            handoff: Handoff::default(),
            gauge: Arc::clone(&context.gauge),
            most_connections: limits.connections,
            per_client: Arc::clone(&context.connections_per_client),
            config: active,
            clock,
            reports,
            waker,
            last_round: AtomicU64::new(0),
            wants_closes: AtomicBool::new(false),
            workers,
            counters: (0..workers + 2).map(|_| Arc::default()).collect(),
            accept_state: Arc::default(),
            reload_status: Arc::default(),
        };
        (shared, messages)
    }

    /// Puts another configuration in force for the whole server, with its limits. Returns the one that it
    /// replaces. The event loops and their workers take it over before their next turns.
    pub fn put_in_force(
        &self,
        context: Arc<ServerContext>,
        access_log: Option<Arc<AccessLog>>,
    ) -> Arc<ActiveConfig> {
        context.enforce_limits();
        let replaced = self.config.replace(Arc::clone(&context), access_log);
        if context.mode() != Mode::Serving {
            // The end has begun in this moment, and only the replaced sites were told.
            context.sites.leave();
        }
        replaced
    }

    /// Sends `report` and wakes the loop. A loop that has ended ignores both.
    pub fn report_and_wake(&self, report: LoopMessage) {
        let _ = self.reports.send(report);
        if let Err(error) = self.waker.wake() {
            // The loop finds the report at its next tick.
            log::warn!("the event loop cannot be woken: {error}");
        }
    }

    /// Closes a connection, as the thread that owned it, and gives up its place under the limits. The event
    /// loop does not do that, because it may hear of the close a tick later. Until then another loop would
    /// refuse a client though a place is free.
    // The slot stores a box, which is passed on as it is.
    #[allow(clippy::boxed_local)]
    pub fn close(&self, connection: Box<Connection<T>>) {
        let Connection { socket, session } = *connection;
        // Closed first, so that a descriptor is free when the place is.
        drop(socket);
        if session.is_counted() {
            self.gauge.leave();
        }
        if let Some((address, client_gauge)) = session.client_gauge() {
            self.per_client.leave(address, client_gauge);
        }
    }

    /// Worker: reports that the slot `index` is free.
    pub fn report_closed(&self, index: u32) {
        let report = LoopMessage::Closed(index);
        if self.wants_closes.load(Ordering::SeqCst) {
            self.report_and_wake(report);
        } else {
            // The loop takes it with the next messages. A loop that has ended does not need it.
            let _ = self.reports.send(report);
        }
    }

    /// Any other thread: hands a connection to the loop, because memory now has what it waited for.
    pub fn hand_back(&self, queued: QueuedSlot) {
        self.handoff.dispatch(queued);
        if let Err(error) = self.waker.wake() {
            // The loop finds the connection after its next poll.
            log::warn!("the event loop cannot be woken: {error}");
        }
    }

    /// The identifier of the connection that is, or was last, in the slot `index`.
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
        self.accept_state.open.load(Ordering::Relaxed)
    }

    /// Whether any listener is open.
    #[must_use]
    pub fn is_accepting(&self) -> bool {
        self.accept_state.open_listeners.load(Ordering::Relaxed) > 0
    }

    /// Counts all connections by their state, for diagnostics. Takes time in proportion to the slots in use.
    #[must_use]
    pub fn connection_counts(&self) -> ConnectionCounts {
        let mut connection_counts = ConnectionCounts::default();
        for index in 0..self.accept_state.used.load(Ordering::Relaxed) {
            // Slots are numbered with 32 bits.
            let slot = self.slots.at(index as u32);
            let state = slot.state();
            // While a thread runs a turn, the deadline is that from before the turn: nearly always of the
            // same kind.
            match slot.deadline() {
                _ if state == OwnershipState::Free => {}
                Deadline::Exchange(_) | Deadline::Handshake(_) => connection_counts.active += 1,
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
pub fn totals<T>(all: &[Arc<Shared<T>>]) -> Totals {
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
