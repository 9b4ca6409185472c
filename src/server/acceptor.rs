//! Accepting sockets on the event loop: which of them become connections, and which are over a limit.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use super::shared::{AcceptState, Shared};
use super::silent::ReachedLimit;
use super::slots::{Connection, REFUSAL_RESERVE, Slots};
use super::system::System;
use crate::clock::Millis;
use crate::config::Network;
use crate::connection::counters::{CloseReason, Counters};
use crate::connection::deadline::Deadline;
use crate::connection::limits::client_network::ClientNetwork;
use crate::connection::limits::connection_gauge::ConnectionGauge;
use crate::connection::limits::per_ip::{ClientsBySlot, ConnectionsPerClient, EvictionQuota};
use crate::connection::ownership::OwnershipState;
use crate::connection::peer::Peer;
use crate::connection::server_context::ServerContext;
use crate::connection::session::Session;
use crate::connection::transport::Transport;
use crate::http::forwarded::is_trusted;
use crate::http::scheme::Scheme;

/// Connections accepted from one listener at a time, so that other work is not kept waiting.
pub const ACCEPTS_PER_BATCH: usize = 64;

/// The least number of closed connections for which memory is returned to the system.
const MIN_CLOSED_TO_TRIM: usize = 1024;

/// An accepted socket and its slot.
#[derive(Debug)]
pub struct Accepted<T> {
    /// The slot that is now taken.
    pub slot: u32,
    /// The socket.
    pub socket: T,
    /// The other side.
    pub origin: Origin,
    /// Whether a limit is exceeded: the connection gets a 503 response, but over TLS none, and is closed.
    pub is_refused: bool,
    /// The connections from the same address, if their number is limited.
    pub client_gauge: Option<Arc<ConnectionGauge>>,
}

impl<T: Transport> Accepted<T> {
    /// Makes the connection and its first deadline.
    #[must_use]
    pub fn into_connection(
        self,
        context: &ServerContext,
        now: Millis,
    ) -> (Box<Connection<T>>, Deadline) {
        let make = match self.origin {
            _ if self.is_refused => Session::refused,
            Origin::Proxy(_) => Session::proxied,
            Origin::Client(_) if self.socket.scheme() == Scheme::Https => Session::over_tls,
            Origin::Client(_) => Session::accepted,
        };
        let mut session = make(self.origin.peer(), now).with_client_gauge(self.client_gauge);
        let deadline = session.next_deadline(context, now);
        let connection = Connection {
            socket: self.socket,
            session,
        };
        (Box::new(connection), deadline)
    }
}

/// The other side of an accepted socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A client, or a proxy that reads HTTP.
    Client(Peer),
    /// A trusted proxy, which names the client in a header of the PROXY protocol.
    Proxy(Peer),
}

impl Origin {
    /// The address of the other side.
    #[must_use]
    pub fn peer(self) -> Peer {
        match self {
            Origin::Client(peer) | Origin::Proxy(peer) => peer,
        }
    }
}

/// An accepted socket that would exceed a limit.
#[derive(Debug)]
pub struct SocketOverLimit<T> {
    /// The socket.
    pub socket: T,
    /// The other side.
    pub origin: Origin,
    /// The limit that is reached.
    pub limit: ReachedLimit,
}

/// The outcome of an attempt to accept.
#[derive(Debug)]
pub enum AcceptOutcome<T> {
    /// A connection was accepted.
    Accepted(Accepted<T>),
    /// A socket was accepted that would exceed a limit.
    OverLimit(SocketOverLimit<T>),
    /// A connection left the queue and has ended, because its peer had gone, or is no trusted proxy and came
    /// to a listener for these.
    Aborted,
    /// The accept queue is empty.
    QueueEmpty,
    /// There is no descriptor, no memory or no slot. The caller tries again when a connection has closed,
    /// or at the next tick.
    Exhausted,
}

/// Assigns slots and enforces the limits on connections.
#[derive(Debug)]
pub struct Acceptor {
    free: Vec<u32>,
    never_used: u32,
    capacity: u32,
    /// Open connections of the whole server, except those that are being refused.
    gauge: Arc<ConnectionGauge>,
    clients_by_slot: ClientsBySlot,
    /// Trusted proxies. Their connections carry requests of many clients and are not counted by address.
    proxies: Vec<Network>,
    /// The slots of connections whose client is named by a header of the PROXY protocol, and is not known here
    /// yet. Empty if connections are not counted by address.
    unnamed: HashSet<u32>,
    /// The slots of connections that are being refused. The limits do not count them.
    refused: HashSet<u32>,
    accept_state: Arc<AcceptState>,
    /// The counters of the event loop.
    counters: Arc<Counters>,
    /// The most connections that were open at a time since memory was last returned.
    high_water: usize,
    is_exhausted: bool,
}

impl Acceptor {
    /// An acceptor for the event loop that `shared` belongs to. Trusted `proxies` may have any number of
    /// connections.
    #[must_use]
    pub fn new<T>(shared: &Shared<T>, proxies: &[Network]) -> Acceptor {
        let mut acceptor = Acceptor {
            counters: Arc::clone(&shared.counters[0]),
            ..Acceptor::counting(
                &shared.slots,
                Arc::clone(&shared.gauge),
                Arc::clone(&shared.per_client),
                Arc::clone(&shared.accept_state),
            )
        };
        acceptor.trust(proxies);
        acceptor
    }

    /// Sets the trusted proxies, for connections from now on.
    pub fn trust(&mut self, proxies: &[Network]) {
        self.proxies = proxies.to_vec();
    }

    /// An acceptor for `slots` that counts connections in `gauge` and `accept_state`, and by address in
    /// `per_client`.
    fn counting<T>(
        slots: &Slots<T>,
        gauge: Arc<ConnectionGauge>,
        per_client: Arc<ConnectionsPerClient>,
        accept_state: Arc<AcceptState>,
    ) -> Acceptor {
        Acceptor {
            free: Vec::new(),
            never_used: 0,
            capacity: u32::try_from(slots.capacity()).unwrap_or(u32::MAX),
            gauge,
            clients_by_slot: ClientsBySlot::new(per_client),
            proxies: Vec::new(),
            unnamed: HashSet::new(),
            refused: HashSet::new(),
            accept_state,
            counters: Arc::default(),
            high_water: 0,
            is_exhausted: false,
        }
    }

    /// Whether another connection could neither be served nor be refused with a response.
    #[must_use]
    pub fn is_overrun(&self) -> bool {
        self.gauge.is_full() && self.cannot_refuse()
    }

    /// Accepts one connection from `listener`. If the server [is overrun](Acceptor::is_overrun) the
    /// connection stays in the accept queue, unless the caller `can_evict` another one.
    pub fn accept<S: System>(
        &mut self,
        listener: &S::AcceptQueue,
        can_evict: bool,
        system: &S,
    ) -> AcceptOutcome<S::AcceptedSocket> {
        if self.is_overrun() && !can_evict || !self.has_slot() {
            return self.exhausted("every slot is taken");
        }
        match system.accept(listener) {
            Ok((socket, peer)) => {
                let origin = match system.expects_proxy_header(listener) {
                    true if !self.is_proxy(peer) => return self.untrusted(peer),
                    true => Origin::Proxy(peer),
                    false => Origin::Client(peer),
                };
                match self.admit(socket, origin) {
                    Ok(accepted) => AcceptOutcome::Accepted(accepted),
                    Err(over_limit) => AcceptOutcome::OverLimit(over_limit),
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.is_exhausted = false;
                AcceptOutcome::QueueEmpty
            }
            Err(error) if is_of_one_connection(&error) => {
                log::debug!("a connection was lost before it was accepted: {error}");
                AcceptOutcome::Aborted
            }
            Err(error) => self.exhausted(&error.to_string()),
        }
    }

    /// Whether so many connections have closed that their memory should be returned: half of the most that
    /// were open, and at least `MIN_CLOSED_TO_TRIM`. Returns true once, until as many have closed again.
    pub fn should_trim_memory(&mut self) -> bool {
        let open = self.open();
        self.high_water = self.high_water.max(open);
        let should_trim_memory =
            self.high_water - open >= (self.high_water / 2).max(MIN_CLOSED_TO_TRIM);
        if should_trim_memory {
            self.high_water = open;
        }
        should_trim_memory
    }

    /// Whether the connection in `slot` is being refused.
    #[must_use]
    pub fn is_refusing(&self, slot: u32) -> bool {
        self.refused.contains(&slot)
    }

    /// Frees `slot`, whose connection is closed. The thread that closed it has given up its place under the
    /// limits ([`Shared::close`](super::shared::Shared::close)).
    pub fn release(&mut self, slot: u32) {
        self.free.push(slot);
        self.accept_state.open.fetch_sub(1, Ordering::Relaxed);
        if self.refused.remove(&slot) {
            return;
        }
        self.unnamed.remove(&slot);
        self.clients_by_slot.release(slot);
    }

    /// Learns which clients the headers of the PROXY protocol have named, for an eviction. The thread that
    /// reads a header counts the connection and reports nothing, because only evictions need to know. A
    /// connection that is not idle now is asked at the next eviction.
    pub fn learn_clients<T>(&mut self, slots: &Slots<T>) {
        let clients_by_slot = &mut self.clients_by_slot;
        self.unnamed.retain(|index| {
            let slot = slots.at(*index);
            if slot.state() != OwnershipState::Idle {
                return true;
            }
            let counted = |open: &Connection<T>| {
                let (address, gauge) = open.session.client_gauge()?;
                Some((address, Arc::clone(gauge)))
            };
            match slot.inspect(counted).flatten() {
                Some((address, gauge)) => clients_by_slot.assign_counted(*index, address, gauge),
                None => return true,
            }
            false
        });
    }

    /// Counts a connection that was closed without a response.
    pub fn note_dropped(&self) {
        self.accept_state.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Open connections of this acceptor, refused ones included.
    #[must_use]
    pub fn open(&self) -> usize {
        self.accept_state.open.load(Ordering::Relaxed)
    }

    /// Whether the connections approach a limit, in all or for some address.
    #[must_use]
    pub fn is_under_pressure(&self) -> bool {
        self.gauge.is_under_pressure() || self.clients_by_slot.is_under_pressure()
    }

    /// How many connections this acceptor should evict. The `acceptors` of the server divide the work.
    #[must_use]
    pub fn eviction_quota(&self, acceptors: usize) -> EvictionQuota<'_> {
        EvictionQuota::of(&self.gauge, &self.clients_by_slot, acceptors)
    }

    /// One more than the highest slot that was ever in use.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.never_used
    }

    fn has_slot(&self) -> bool {
        !self.free.is_empty() || self.never_used < self.capacity
    }

    /// Whether no slot is left in which one more connection can be refused.
    fn cannot_refuse(&self) -> bool {
        self.refused.len() >= REFUSAL_RESERVE
    }

    /// Assigns a slot to the socket.
    ///
    /// # Errors
    /// The socket, if a limit is reached.
    pub fn admit<T>(
        &mut self,
        socket: T,
        origin: Origin,
    ) -> Result<Accepted<T>, SocketOverLimit<T>> {
        let over_limit = |socket, limit| SocketOverLimit {
            socket,
            origin,
            limit,
        };
        if !self.gauge.enter() {
            return Err(over_limit(socket, ReachedLimit::Server));
        }
        let mut client_gauge = None;
        // A client behind a proxy is counted when the header has named it.
        if let Origin::Client(Peer::Ip(address)) = origin
            && self.clients_by_slot.is_limited()
            && !is_trusted(address, &self.proxies)
        {
            let client = self.clients_by_slot.client(address);
            client_gauge = self.clients_by_slot.enter(client);
            if client_gauge.is_none() {
                self.gauge.leave();
                return Err(over_limit(socket, ReachedLimit::Client(client)));
            }
        }
        let slot = self.take_slot();
        if self.clients_by_slot.is_limited() && matches!(origin, Origin::Proxy(_)) {
            self.unnamed.insert(slot);
        }
        let client_gauge = client_gauge.map(|counted| self.clients_by_slot.assign(slot, counted));
        Ok(Accepted {
            slot,
            socket,
            origin,
            is_refused: false,
            client_gauge,
        })
    }

    /// Assigns a slot in which a connection over the limit is refused with a response. `None` if so many
    /// are being refused already that this one is closed at once, so that others need not wait.
    pub fn refuse<T>(&mut self, over_limit: SocketOverLimit<T>) -> Option<Accepted<T>> {
        let SocketOverLimit { socket, origin, .. } = over_limit;
        if self.cannot_refuse() {
            let peer = origin.peer();
            log::debug!("a connection of {peer:?} is closed at once: a limit is reached");
            self.note_dropped();
            return None;
        }
        let slot = self.take_slot();
        self.refused.insert(slot);
        Some(Accepted {
            slot,
            socket,
            origin,
            is_refused: true,
            client_gauge: None,
        })
    }

    /// The client that the connection counts for; `None` if connections are not counted by address.
    #[must_use]
    pub fn counted_client<T>(&self, accepted: &Accepted<T>) -> Option<ClientNetwork> {
        match accepted {
            Accepted {
                origin: Origin::Client(Peer::Ip(address)),
                client_gauge: Some(_),
                ..
            } => Some(self.clients_by_slot.client(*address)),
            _ => None,
        }
    }

    /// Whether `peer` is a trusted proxy. A peer on a unix socket is, because it is on this machine.
    fn is_proxy(&self, peer: Peer) -> bool {
        match peer {
            Peer::Ip(address) => is_trusted(address, &self.proxies),
            Peer::Unix => true,
        }
    }

    /// Counts a connection that is closed because its peer is no trusted proxy. It counts as accepted and as
    /// closed, because the accepted connections are those that are open and those that are closed.
    #[cold]
    fn untrusted<T>(&self, peer: Peer) -> AcceptOutcome<T> {
        log::debug!("a connection of {peer:?} is closed at once: it is no trusted proxy");
        self.accept_state.accepted.fetch_add(1, Ordering::Relaxed);
        self.counters.closed(CloseReason::ProxyHeader, 0);
        AcceptOutcome::Aborted
    }

    fn take_slot(&mut self) -> u32 {
        self.accept_state.accepted.fetch_add(1, Ordering::Relaxed);
        self.accept_state.open.fetch_add(1, Ordering::Relaxed);
        // The slot freed last is most likely in the CPU's cache.
        let slot = self.free.pop().unwrap_or_else(|| {
            self.never_used += 1;
            self.never_used - 1
        });
        let used = self.never_used as usize;
        self.accept_state.used.store(used, Ordering::Relaxed);
        slot
    }

    fn exhausted<T>(&mut self, why: &str) -> AcceptOutcome<T> {
        // Logged once until the queue is empty. Otherwise a flood of connections would flood the log.
        if !std::mem::replace(&mut self.is_exhausted, true) {
            log::warn!("no connection can be accepted: {why}; trying again");
        }
        AcceptOutcome::Exhausted
    }
}

/// Whether an error concerns only one connection: its peer has gone, or the network reports an error for
/// it. The next connection can be accepted then (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw_os_error),
        Some(
            Errno::CONNABORTED
                | Errno::INTR
                | Errno::PROTO
                | Errno::NETDOWN
                | Errno::NOPROTOOPT
                | Errno::HOSTDOWN
                | Errno::NONET
                | Errno::HOSTUNREACH
                | Errno::OPNOTSUPP
                | Errno::NETUNREACH
        )
    )
}

#[cfg(test)]
mod tests;
