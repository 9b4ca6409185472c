//! Accepting, on the event loop: which sockets become connections, and what happens when there are too many.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use super::shared::{Admissions, Shared};
use super::silent::Crowd;
use super::slots::{Connection, REFUSAL_RESERVE, Slots};
use super::system::System;
use crate::clock::Millis;
use crate::config::Network;
use crate::connection::deadline::Deadline;
use crate::connection::limits::client_network::ClientNetwork;
use crate::connection::limits::connection_gauge::ConnectionGauge;
use crate::connection::limits::per_ip::{Excess, PerIp, Shares};
use crate::connection::peer::Peer;
use crate::connection::server_context::ServerContext;
use crate::connection::session::Session;
use crate::http::forwarded::is_trusted;

/// Connections accepted from one listener before others have their turn. Edge-triggered readiness
/// is not announced twice, so a listener that is cut off here owes itself another turn.
pub const ACCEPTS_PER_TURN: usize = 64;

/// Closed connections whose memory is worth giving back.
const EBB: usize = 1024;

/// An accepted socket and the place it gets.
#[derive(Debug)]
pub struct Accepted<T> {
    /// The slot that is now taken.
    pub slot: u32,
    /// The socket.
    pub socket: T,
    /// The other side.
    pub peer: Peer,
    /// Whether a limit is exceeded: the connection is answered 503 and closed.
    pub is_refused: bool,
    /// The connections from the same address, if their number is limited.
    pub address_gauge: Option<Arc<ConnectionGauge>>,
}

impl<T> Accepted<T> {
    /// The connection that begins now, and its first deadline.
    #[must_use]
    pub fn into_connection(
        self,
        context: &ServerContext,
        now: Millis,
    ) -> (Box<Connection<T>>, Deadline) {
        let make = if self.is_refused {
            Session::refused
        } else {
            Session::accepted
        };
        let mut session = make(self.peer, now).among(self.address_gauge);
        let deadline = session.rest(context, now);
        let connection = Connection {
            socket: self.socket,
            session,
            is_counted: !self.is_refused,
        };
        (Box::new(connection), deadline)
    }
}

/// An accepted socket for which there is no place.
#[derive(Debug)]
pub struct Newcomer<T> {
    /// The socket.
    pub socket: T,
    /// The other side.
    pub peer: Peer,
    /// The limit that is reached.
    pub crowd: Crowd,
}

/// How an attempt to accept ended.
#[derive(Debug)]
pub enum Attempt<T> {
    /// There is a new connection.
    Accepted(Accepted<T>),
    /// There is a new connection, but it is one too many.
    Crowded(Newcomer<T>),
    /// A connection was taken from the queue and is gone, as its peer was.
    Lost,
    /// The accept queue is empty.
    Drained,
    /// There is no descriptor, no memory or no slot; try again when a connection has closed, or at
    /// the next tick.
    Exhausted,
}

/// Gives out slots and counts connections.
#[derive(Debug)]
pub struct Acceptor {
    free: Vec<u32>,
    never_used: u32,
    capacity: u32,
    /// Connections open now in the whole server, without those that are refused.
    gauge: Arc<ConnectionGauge>,
    per_ip: Option<PerIp>,
    /// Whose connections carry the requests of many clients, and are not counted by address.
    proxies: Vec<Network>,
    /// The slots of connections that are being refused; they take nobody's place.
    refused: HashSet<u32>,
    admissions: Arc<Admissions>,
    /// The most connections that were open since memory was last given back.
    high_water: usize,
    is_exhausted: bool,
}

impl Acceptor {
    /// An acceptor for the connections of the event loop that `shared` is of. The addresses of
    /// `trusted_proxies` may have any number of connections.
    #[must_use]
    pub fn new<T>(shared: &Shared<T>) -> Acceptor {
        let context = &shared.context;
        Acceptor {
            proxies: context.config.trusted_proxies.clone(),
            ..Acceptor::counting(
                &shared.slots,
                Arc::clone(&context.gauge),
                shared.shares.clone(),
                Arc::clone(&shared.admissions),
            )
        }
    }

    /// An acceptor for the connections in `slots`, counted in `gauge` and `admissions`, and by
    /// address in `shares` if their number is limited.
    fn counting<T>(
        slots: &Slots<T>,
        gauge: Arc<ConnectionGauge>,
        shares: Option<Arc<Shares>>,
        admissions: Arc<Admissions>,
    ) -> Acceptor {
        Acceptor {
            free: Vec::new(),
            never_used: 0,
            capacity: u32::try_from(slots.capacity()).unwrap_or(u32::MAX),
            gauge,
            per_ip: shares.map(PerIp::new),
            proxies: Vec::new(),
            refused: HashSet::new(),
            admissions,
            high_water: 0,
            is_exhausted: false,
        }
    }

    /// Whether another connection could neither be served nor be told so.
    #[must_use]
    pub fn is_overrun(&self) -> bool {
        self.gauge.is_full() && self.cannot_refuse()
    }

    /// Accepts one connection from `listener`. If the server [is overrun](Acceptor::is_overrun) it stays
    /// in the queue, unless the caller `can_make_room`.
    pub fn accept<S: System>(
        &mut self,
        listener: &S::AcceptQueue,
        can_make_room: bool,
        system: &S,
    ) -> Attempt<S::AcceptedSocket> {
        if self.is_overrun() && !can_make_room || !self.has_slot() {
            return self.exhausted("every slot is taken");
        }
        match system.accept(listener) {
            Ok((socket, peer)) => match self.admit(socket, peer) {
                Ok(accepted) => Attempt::Accepted(accepted),
                Err(newcomer) => Attempt::Crowded(newcomer),
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.is_exhausted = false;
                Attempt::Drained
            }
            Err(error) if is_of_one_connection(&error) => {
                log::debug!("a connection was lost before it was accepted: {error}");
                Attempt::Lost
            }
            Err(error) => self.exhausted(&error.to_string()),
        }
    }

    /// Whether so many connections have closed that their memory should be given back: half of the
    /// most that were open, and at least `EBB`. Says so once, until as many have closed again.
    pub fn has_ebbed(&mut self) -> bool {
        let open = self.open();
        self.high_water = self.high_water.max(open);
        let has_ebbed = self.high_water - open >= (self.high_water / 2).max(EBB);
        if has_ebbed {
            self.high_water = open;
        }
        has_ebbed
    }

    /// Whether the connection in `slot` is being refused.
    #[must_use]
    pub fn is_refusing(&self, slot: u32) -> bool {
        self.refused.contains(&slot)
    }

    /// Takes note that the connection in `slot` is closed. Whoever closed it has given up its place
    /// under the limits ([`Shared::close`](super::shared::Shared::close)); this is about the slot.
    pub fn release(&mut self, slot: u32) {
        self.free.push(slot);
        self.admissions.open.fetch_sub(1, Ordering::Relaxed);
        if self.refused.remove(&slot) {
            return;
        }
        if let Some(per_ip) = &mut self.per_ip {
            per_ip.release(slot);
        }
    }

    /// Takes note that a connection was closed without a word.
    pub fn note_dropped(&self) {
        self.admissions.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Connections of this acceptor that are open now, refused ones included.
    #[must_use]
    pub fn open(&self) -> usize {
        self.admissions.open.load(Ordering::Relaxed)
    }

    /// Whether connections should go, in all or of some address.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        self.gauge.is_pressing() || self.per_ip.as_ref().is_some_and(PerIp::is_pressed)
    }

    /// How many connections should go; those that the other acceptors of the server send for do not
    /// count, of `acceptors` in all.
    #[must_use]
    pub fn excess(&self, acceptors: usize) -> Excess<'_> {
        Excess::of(&self.gauge, self.per_ip.as_ref(), acceptors)
    }

    /// One more than the highest slot that was ever in use.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.never_used
    }

    fn has_slot(&self) -> bool {
        !self.free.is_empty() || self.never_used < self.capacity
    }

    /// Whether there is no place left for one more connection to be told that it is one too many.
    fn cannot_refuse(&self) -> bool {
        self.refused.len() >= REFUSAL_RESERVE
    }

    /// Gives the socket a slot.
    ///
    /// # Errors
    /// Its return, if a limit is reached.
    pub fn admit<T>(&mut self, socket: T, peer: Peer) -> Result<Accepted<T>, Newcomer<T>> {
        let crowded = |socket, crowd| Newcomer {
            socket,
            peer,
            crowd,
        };
        if !self.gauge.enter() {
            return Err(crowded(socket, Crowd::Server));
        }
        let mut address_gauge = None;
        if let (Some(per_ip), Peer::Ip(address)) = (&self.per_ip, peer)
            && !is_trusted(address, &self.proxies)
        {
            let client = per_ip.client(address);
            address_gauge = per_ip.enter(client);
            if address_gauge.is_none() {
                self.gauge.leave();
                return Err(crowded(socket, Crowd::Client(client)));
            }
        }
        let slot = self.take_slot();
        let address_gauge = address_gauge.map(|holder| match &mut self.per_ip {
            Some(per_ip) => per_ip.seat(slot, holder),
            None => holder.address_gauge,
        });
        Ok(Accepted {
            slot,
            socket,
            peer,
            is_refused: false,
            address_gauge,
        })
    }

    /// Gives the newcomer a slot to be told in that there is no place. `None` if so many are being
    /// told already that this one is closed without a word: it must not keep others waiting.
    pub fn refuse<T>(&mut self, newcomer: Newcomer<T>) -> Option<Accepted<T>> {
        let Newcomer { socket, peer, .. } = newcomer;
        if self.cannot_refuse() {
            log::debug!("a connection of {peer:?} is closed at once: it is one too many");
            self.note_dropped();
            return None;
        }
        let slot = self.take_slot();
        self.refused.insert(slot);
        Some(Accepted {
            slot,
            socket,
            peer,
            is_refused: true,
            address_gauge: None,
        })
    }

    /// The client that the connection is counted for, if it is.
    #[must_use]
    pub fn counted_client<T>(&self, accepted: &Accepted<T>) -> Option<ClientNetwork> {
        let per_ip = self.per_ip.as_ref()?;
        match accepted {
            Accepted {
                peer: Peer::Ip(address),
                address_gauge: Some(_),
                ..
            } => Some(per_ip.client(*address)),
            _ => None,
        }
    }

    fn take_slot(&mut self) -> u32 {
        self.admissions.accepted.fetch_add(1, Ordering::Relaxed);
        self.admissions.open.fetch_add(1, Ordering::Relaxed);
        // The slot freed last is the one most likely to be in the CPU's cache.
        let slot = self.free.pop().unwrap_or_else(|| {
            self.never_used += 1;
            self.never_used - 1
        });
        let used = self.never_used as usize;
        self.admissions.used.store(used, Ordering::Relaxed);
        slot
    }

    fn exhausted<T>(&mut self, why: &str) -> Attempt<T> {
        // Said once until the queue has been emptied, or a flood would fill the log as well.
        if !std::mem::replace(&mut self.is_exhausted, true) {
            log::warn!("no connection can be accepted: {why}; trying again");
        }
        Attempt::Exhausted
    }
}

/// Whether the peer has gone already, or the network had an error meant for it: nothing is wrong with
/// the next connection then (accept(2)).
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
