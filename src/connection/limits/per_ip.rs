//! `limits.connections_per_ip`: counts the connections of each client, and selects those to close.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::client_network::ClientNetwork;
use super::connection_gauge::ConnectionGauge;

/// The map keeps room for this many clients in any case.
const KEPT_CLIENTS: usize = 4096;

/// The number of connections of each client in the whole server, under one limit. A client is an IPv4 address
/// or an IPv6 network ([`ClientNetwork`]).
#[derive(Debug)]
pub struct ConnectionsPerClient {
    /// 0 for no limit. Changed under the lock of `counts`, as the prefix is.
    limit: AtomicUsize,
    ipv6_prefix: AtomicU8,
    counts: Mutex<HashMap<ClientNetwork, Arc<ConnectionGauge>>>,
    /// The number of clients under pressure.
    pressed: AtomicUsize,
}

/// A connection that is counted for its client.
#[derive(Debug)]
pub struct CountedConnection {
    client: ClientNetwork,
    /// The connections of the client, this one included.
    pub client_gauge: Arc<ConnectionGauge>,
}

/// The clients of one event loop's connections.
#[derive(Debug)]
pub struct ClientsBySlot {
    per_client: Arc<ConnectionsPerClient>,
    /// The connection in each slot.
    connections: Vec<Option<CountedConnection>>,
}

impl ConnectionsPerClient {
    /// No connections yet, and at most `limit` for each client; 0 means no limit, and nothing is counted. IPv6
    /// addresses count by `ipv6_prefix` bits.
    #[must_use]
    pub fn new(limit: usize, ipv6_prefix: u8) -> ConnectionsPerClient {
        ConnectionsPerClient {
            limit: AtomicUsize::new(limit),
            ipv6_prefix: AtomicU8::new(ipv6_prefix),
            counts: Mutex::new(HashMap::new()),
            pressed: AtomicUsize::new(0),
        }
    }

    /// Whether the connections of a client are limited.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.limit() > 0
    }

    fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Changes the limit and the prefix. Connections beyond a lower limit stay open. Connections that were
    /// accepted without a limit stay uncounted. With another prefix, open connections count by the old one.
    pub fn set_limit(&self, limit: usize, ipv6_prefix: u8) {
        let counts = self.lock();
        self.limit.store(limit, Ordering::Relaxed);
        self.ipv6_prefix.store(ipv6_prefix, Ordering::Relaxed);
        let gauges = counts.values();
        gauges.for_each(|gauge| gauge.set_limit(if limit == 0 { usize::MAX } else { limit }));
        let pressed = counts.values().filter(|gauge| gauge.is_under_pressure());
        self.pressed.store(pressed.count(), Ordering::Relaxed);
    }

    /// The client that `address` belongs to.
    #[must_use]
    pub fn client(&self, address: IpAddr) -> ClientNetwork {
        ClientNetwork::of(address, self.ipv6_prefix.load(Ordering::Relaxed))
    }

    /// Counts one more connection of `client`, until [`leave`](ConnectionsPerClient::leave); `None` if the
    /// client is at its limit.
    #[must_use]
    pub fn enter(&self, client: ClientNetwork) -> Option<CountedConnection> {
        let mut counts = self.lock();
        let client_gauge = counts.entry(client);
        // Another thread may have ended the limit in this moment.
        let limit = match self.limit() {
            0 => usize::MAX,
            limit => limit,
        };
        let client_gauge = client_gauge.or_insert_with(|| Arc::new(ConnectionGauge::new(limit)));
        let was_pressing = client_gauge.is_under_pressure();
        if !client_gauge.enter() {
            return None;
        }
        let is_new = client_gauge.is_under_pressure() && !was_pressing;
        self.pressed
            .fetch_add(usize::from(is_new), Ordering::Relaxed);
        Some(CountedConnection {
            client,
            client_gauge: Arc::clone(client_gauge),
        })
    }

    /// Takes a connection of `address` out of the count; `client_gauge` is its client's. The thread that
    /// closed the connection calls this.
    pub fn leave(&self, address: IpAddr, client_gauge: &ConnectionGauge) {
        let mut counts = self.lock();
        let was_pressing = client_gauge.is_under_pressure();
        client_gauge.leave();
        let is_over = was_pressing && !client_gauge.is_under_pressure();
        self.pressed
            .fetch_sub(usize::from(is_over), Ordering::Relaxed);
        if client_gauge.open() == 0 {
            let is_own = |gauge: &Arc<ConnectionGauge>| std::ptr::eq(&**gauge, client_gauge);
            let client = self.client(address);
            if counts.get(&client).is_some_and(is_own) {
                counts.remove(&client);
            } else {
                // The prefix was another one when the connection was accepted.
                counts.retain(|_, gauge| !is_own(gauge));
            }
            // After a burst, half of the room is kept, so that it moves again only after many arrivals or
            // departures.
            let wanted = counts.len().max(KEPT_CLIENTS);
            if counts.capacity() > 4 * wanted {
                counts.shrink_to(2 * wanted);
            }
        }
    }

    /// Also guards changes of `pressed` and of the gauges. Reading them needs no lock.
    fn lock(&self) -> MutexGuard<'_, HashMap<ClientNetwork, Arc<ConnectionGauge>>> {
        // Nothing under the lock panics.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientsBySlot {
    /// An event loop without connections.
    #[must_use]
    pub fn new(per_client: Arc<ConnectionsPerClient>) -> ClientsBySlot {
        ClientsBySlot {
            per_client,
            connections: Vec::new(),
        }
    }

    /// The client that `address` belongs to.
    #[must_use]
    pub fn client(&self, address: IpAddr) -> ClientNetwork {
        self.per_client.client(address)
    }

    /// Counts one more connection of `client`; `None` if the client is at its limit.
    #[must_use]
    pub fn enter(&self, client: ClientNetwork) -> Option<CountedConnection> {
        self.per_client.enter(client)
    }

    /// Notes that the connection in `slot` was counted for the client of `address`, which `client_gauge`
    /// belongs to.
    pub fn assign_counted(
        &mut self,
        slot: u32,
        address: IpAddr,
        client_gauge: Arc<ConnectionGauge>,
    ) {
        let client = self.client(address);
        let counted = CountedConnection {
            client,
            client_gauge,
        };
        self.assign(slot, counted);
    }

    /// Notes that a counted connection is in `slot`. Returns its client's gauge.
    pub fn assign(&mut self, slot: u32, counted: CountedConnection) -> Arc<ConnectionGauge> {
        let slot = slot as usize;
        if self.connections.len() <= slot {
            self.connections.resize_with(slot + 1, || None);
        }
        let client_gauge = Arc::clone(&counted.client_gauge);
        self.connections[slot] = Some(counted);
        client_gauge
    }

    /// Notes that the connection in `slot` is closed; [`ConnectionsPerClient::leave`] has taken it out of the
    /// count.
    pub fn release(&mut self, slot: u32) {
        if let Some(counted) = self.connections.get_mut(slot as usize) {
            *counted = None;
        }
    }

    /// Whether the connections of a client are limited.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.per_client.is_limited()
    }

    /// Whether some client has 90 % of its limit.
    #[must_use]
    pub fn is_under_pressure(&self) -> bool {
        self.per_client.pressed.load(Ordering::Relaxed) > 0
    }

    /// The client of the connection in `slot`, and how many connections that client has too many; `None`
    /// if it has none too many.
    fn excess_of(&self, slot: u32) -> Option<(ClientNetwork, usize)> {
        let counted = self.connections.get(slot as usize)?.as_ref()?;
        let excess = counted.client_gauge.excess();
        (excess > 0).then_some((counted.client, excess))
    }
}

/// The number of connections to close, in all and for each client that has too many.
#[derive(Debug)]
pub struct EvictionQuota<'a> {
    in_all: usize,
    clients_by_slot: &'a ClientsBySlot,
    /// The number of event loops that divide the work.
    acceptors: usize,
    closing: HashMap<ClientNetwork, usize>,
}

impl EvictionQuota<'_> {
    /// The excess of `gauge` and of the clients in `clients_by_slot`: the part of one of `acceptors`, rounded up.
    #[must_use]
    pub fn of<'a>(
        gauge: &ConnectionGauge,
        clients_by_slot: &'a ClientsBySlot,
        acceptors: usize,
    ) -> EvictionQuota<'a> {
        EvictionQuota {
            in_all: gauge.excess().div_ceil(acceptors),
            clients_by_slot,
            acceptors,
            closing: HashMap::new(),
        }
    }

    /// The most connections to close; `None` if the number depends on their clients.
    #[must_use]
    pub fn upper_bound(&self) -> Option<usize> {
        (!self.clients_by_slot.is_limited()).then_some(self.in_all)
    }

    /// Notes that the connection in `slot` is closing already.
    pub fn note_closing(&mut self, slot: u32) {
        self.in_all = self.in_all.saturating_sub(1);
        if let Some((client, _)) = self.excess_of(slot) {
            *self.closing.entry(client).or_default() += 1;
        }
    }

    /// Whether the connection in `slot` must close; counts it if so.
    pub fn must_close(&mut self, slot: u32) -> bool {
        let client_has_excess = self.excess_of(slot).is_some_and(|(client, excess)| {
            self.closing.get(&client).copied().unwrap_or_default() < excess
        });
        let must_close = self.in_all > 0 || client_has_excess;
        if must_close {
            self.note_closing(slot);
        }
        must_close
    }

    fn excess_of(&self, slot: u32) -> Option<(ClientNetwork, usize)> {
        let (client, excess) = self.clients_by_slot.excess_of(slot)?;
        Some((client, excess.div_ceil(self.acceptors)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 18, 0, 1));
    const TWO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 18, 0, 2));

    fn assigned(clients_by_slot: &mut ClientsBySlot, slot: u32, address: IpAddr) {
        let counted = clients_by_slot
            .enter(clients_by_slot.client(address))
            .expect("room");
        clients_by_slot.assign(slot, counted);
    }

    /// Closes as the closing thread does, then as the event loop does.
    fn close(
        per_client: &ConnectionsPerClient,
        clients_by_slot: &mut ClientsBySlot,
        slot: u32,
        address: IpAddr,
    ) {
        let counted = clients_by_slot.connections[slot as usize]
            .as_ref()
            .expect("a counted connection");
        per_client.leave(address, &counted.client_gauge);
        clients_by_slot.release(slot);
    }

    #[test]
    fn each_address_has_its_own_limit() {
        let per_client = Arc::new(ConnectionsPerClient::new(2, 64));
        let mut clients_by_slot = ClientsBySlot::new(Arc::clone(&per_client));
        assigned(&mut clients_by_slot, 0, ONE);
        assert!(!clients_by_slot.is_under_pressure());
        assigned(&mut clients_by_slot, 1, ONE);
        assert!(
            clients_by_slot.is_under_pressure()
                && clients_by_slot.enter(clients_by_slot.client(ONE)).is_none()
        );
        assigned(&mut clients_by_slot, 3, TWO);
        for (slot, address) in [(1, ONE), (0, ONE), (3, TWO)] {
            close(&per_client, &mut clients_by_slot, slot, address);
        }
        assert!(!clients_by_slot.is_under_pressure() && per_client.lock().is_empty());
        clients_by_slot.release(7);
    }

    #[test]
    fn an_address_has_one_limit_in_all_event_loops() {
        let per_client = Arc::new(ConnectionsPerClient::new(2, 64));
        let mut one = ClientsBySlot::new(Arc::clone(&per_client));
        let mut two = ClientsBySlot::new(Arc::clone(&per_client));
        assigned(&mut one, 0, ONE);
        assigned(&mut two, 0, ONE);
        assert!(one.enter(one.client(ONE)).is_none() && two.enter(two.client(ONE)).is_none());
        close(&per_client, &mut one, 0, ONE);
        assert!(two.enter(two.client(ONE)).is_some());
    }

    #[test]
    fn a_burst_of_addresses_leaves_no_room_behind() {
        let per_client = Arc::new(ConnectionsPerClient::new(2, 64));
        let address = |number: u32| IpAddr::V4(std::net::Ipv4Addr::from_bits(number));
        let burst = 20 * KEPT_CLIENTS as u32;
        let connections: Vec<_> = (0..burst)
            .map(|number| {
                per_client
                    .enter(per_client.client(address(number)))
                    .expect("room")
            })
            .collect();
        assert!(per_client.lock().capacity() >= burst as usize);
        for (number, counted) in (0..).zip(&connections) {
            per_client.leave(address(number), &counted.client_gauge);
        }
        assert!(per_client.lock().capacity() <= 4 * KEPT_CLIENTS);
    }

    #[test]
    fn an_address_near_its_limit_closes_no_more_than_needed() {
        let mut clients_by_slot = ClientsBySlot::new(Arc::new(ConnectionsPerClient::new(10, 64)));
        for slot in 0..10 {
            assigned(&mut clients_by_slot, slot, ONE);
        }
        assigned(&mut clients_by_slot, 10, TWO);
        let all = ConnectionGauge::new(100);
        let mut excess = EvictionQuota::of(&all, &clients_by_slot, 1);
        excess.note_closing(0);
        assert!(!excess.must_close(10), "its address has room");
        assert!(excess.must_close(1));
        assert!(!excess.must_close(2), "with 0 and 1 gone there are 8 left");
        let mut half = EvictionQuota::of(&all, &clients_by_slot, 2);
        assert!(
            half.must_close(1) && !half.must_close(2),
            "the other loop closes the second"
        );
    }

    #[test]
    fn a_changed_limit_holds_for_open_connections_and_new_ones() {
        let per_client = Arc::new(ConnectionsPerClient::new(10, 64));
        let mut clients_by_slot = ClientsBySlot::new(Arc::clone(&per_client));
        let network = |end: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, end]);
        for slot in 0..4 {
            assigned(&mut clients_by_slot, slot, network(1));
        }
        per_client.set_limit(4, 64);
        assert!(clients_by_slot.is_under_pressure());
        assert!(
            clients_by_slot
                .enter(per_client.client(network(2)))
                .is_none()
        );
        per_client.set_limit(4, 128);
        assigned(&mut clients_by_slot, 4, network(2));
        per_client.set_limit(0, 128);
        assert!(!clients_by_slot.is_limited() && !clients_by_slot.is_under_pressure());
        for (slot, address) in [(4, 2), (3, 1), (2, 1), (1, 1), (0, 1)] {
            close(&per_client, &mut clients_by_slot, slot, network(address));
        }
        assert!(per_client.lock().is_empty());
    }

    #[test]
    fn all_have_to_make_room_if_the_server_is_full() {
        let unlimited = ClientsBySlot::new(Arc::new(ConnectionsPerClient::new(0, 64)));
        let all = ConnectionGauge::new(10);
        for _ in 0..10 {
            assert!(all.enter());
        }
        let mut excess = EvictionQuota::of(&all, &unlimited, 1);
        assert_eq!(excess.upper_bound(), Some(2));
        assert!(excess.must_close(3) && excess.must_close(5));
        assert!(!excess.must_close(6));
    }
}
