//! `limits.connections_per_ip`: who has how many connections, and who has to give some back.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::client_network::ClientNetwork;
use super::connection_gauge::ConnectionGauge;

/// Clients for which there is room in any case.
const KEPT_CLIENTS: usize = 4096;

/// The connections of each client in the whole server, under the same limit. A client is an IPv4
/// address or an IPv6 network ([`ClientNetwork`]).
#[derive(Debug)]
pub struct Shares {
    limit: usize,
    ipv6_prefix: u8,
    counts: Mutex<HashMap<ClientNetwork, Arc<ConnectionGauge>>>,
    /// How many clients are under pressure.
    pressed: AtomicUsize,
}

/// Who holds a connection.
#[derive(Debug)]
pub struct Holder {
    client: ClientNetwork,
    /// The connections of the client, this one included.
    pub address_gauge: Arc<ConnectionGauge>,
}

/// The connections of one event loop, by who holds them.
#[derive(Debug)]
pub struct PerIp {
    shares: Arc<Shares>,
    /// The holder of each slot.
    holders: Vec<Option<Holder>>,
}

impl Shares {
    /// Nobody has any connection, of `limit` each; IPv6 addresses count by `ipv6_prefix` bits.
    #[must_use]
    pub fn new(limit: usize, ipv6_prefix: u8) -> Shares {
        Shares {
            limit,
            ipv6_prefix,
            counts: Mutex::new(HashMap::new()),
            pressed: AtomicUsize::new(0),
        }
    }

    /// The client that `address` belongs to.
    #[must_use]
    pub fn client(&self, address: IpAddr) -> ClientNetwork {
        ClientNetwork::of(address, self.ipv6_prefix)
    }

    fn enter(&self, client: ClientNetwork) -> Option<Holder> {
        let mut counts = self.lock();
        let address_gauge = counts.entry(client);
        let address_gauge =
            address_gauge.or_insert_with(|| Arc::new(ConnectionGauge::new(self.limit)));
        let was_pressing = address_gauge.is_pressing();
        if !address_gauge.enter() {
            return None;
        }
        let is_new = address_gauge.is_pressing() && !was_pressing;
        self.pressed
            .fetch_add(usize::from(is_new), Ordering::Relaxed);
        Some(Holder {
            client,
            address_gauge: Arc::clone(address_gauge),
        })
    }

    /// Takes a connection of `address`, which counts in `address_gauge`, out of the count. Whoever closed
    /// it calls this.
    pub fn leave(&self, address: IpAddr, address_gauge: &ConnectionGauge) {
        let mut counts = self.lock();
        let was_pressing = address_gauge.is_pressing();
        address_gauge.leave();
        let is_over = was_pressing && !address_gauge.is_pressing();
        self.pressed
            .fetch_sub(usize::from(is_over), Ordering::Relaxed);
        if address_gauge.open() == 0 {
            counts.remove(&self.client(address));
            // After a burst. Half of the room is kept: many have to come or go before it moves again.
            let wanted = counts.len().max(KEPT_CLIENTS);
            if counts.capacity() > 4 * wanted {
                counts.shrink_to(2 * wanted);
            }
        }
    }

    /// Also guards `pressed` and the occupancies: only looking at them is free.
    fn lock(&self) -> MutexGuard<'_, HashMap<ClientNetwork, Arc<ConnectionGauge>>> {
        // Nothing in here panics.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PerIp {
    /// No connection yet.
    #[must_use]
    pub fn new(shares: Arc<Shares>) -> PerIp {
        PerIp {
            shares,
            holders: Vec::new(),
        }
    }

    /// The client that `address` belongs to.
    #[must_use]
    pub fn client(&self, address: IpAddr) -> ClientNetwork {
        self.shares.client(address)
    }

    /// Counts one more connection of `client`; `None` if it has all of its share.
    #[must_use]
    pub fn enter(&self, client: ClientNetwork) -> Option<Holder> {
        self.shares.enter(client)
    }

    /// Takes note that a counted connection is in `slot`; says who its address_gauge are.
    pub fn seat(&mut self, slot: u32, holder: Holder) -> Arc<ConnectionGauge> {
        let slot = slot as usize;
        if self.holders.len() <= slot {
            self.holders.resize_with(slot + 1, || None);
        }
        let address_gauge = Arc::clone(&holder.address_gauge);
        self.holders[slot] = Some(holder);
        address_gauge
    }

    /// Takes note that the connection in `slot` is closed. It is out of the count already.
    pub fn release(&mut self, slot: u32) {
        if let Some(holder) = self.holders.get_mut(slot as usize) {
            *holder = None;
        }
    }

    /// Whether some client has 90 % of its share.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        self.shares.pressed.load(Ordering::Relaxed) > 0
    }

    /// The client of the connection in `slot` and how many of its connections are too many, if any.
    fn crowded(&self, slot: u32) -> Option<(ClientNetwork, usize)> {
        let holder = self.holders.get(slot as usize)?.as_ref()?;
        let excess = holder.address_gauge.excess();
        (excess > 0).then_some((holder.client, excess))
    }
}

/// How many connections have to go, in all and of each client that has too many.
#[derive(Debug)]
pub struct Excess<'a> {
    in_all: usize,
    per_ip: Option<&'a PerIp>,
    /// Those who divide the work among them.
    acceptors: usize,
    gone: HashMap<ClientNetwork, usize>,
}

impl Excess<'_> {
    /// Those of `gauge`, and of the clients in `per_ip` if there is such a limit: the part of
    /// one of `acceptors`, rounded up.
    #[must_use]
    pub fn of<'a>(
        gauge: &ConnectionGauge,
        per_ip: Option<&'a PerIp>,
        acceptors: usize,
    ) -> Excess<'a> {
        Excess {
            in_all: gauge.excess().div_ceil(acceptors),
            per_ip,
            acceptors,
            gone: HashMap::new(),
        }
    }

    /// How many have to go at most; `None` if that depends on whose they are.
    #[must_use]
    pub fn most(&self) -> Option<usize> {
        self.per_ip.is_none().then_some(self.in_all)
    }

    /// Takes note that the connection in `slot` is on its way out already.
    pub fn note_going(&mut self, slot: u32) {
        self.in_all = self.in_all.saturating_sub(1);
        if let Some((client, _)) = self.crowded(slot) {
            *self.gone.entry(client).or_default() += 1;
        }
    }

    /// Whether the connection in `slot` is among those that have to go; counts it if so.
    pub fn wants(&mut self, slot: u32) -> bool {
        let is_over_own = self.crowded(slot).is_some_and(|(client, excess)| {
            self.gone.get(&client).copied().unwrap_or_default() < excess
        });
        let is_wanted = self.in_all > 0 || is_over_own;
        if is_wanted {
            self.note_going(slot);
        }
        is_wanted
    }

    fn crowded(&self, slot: u32) -> Option<(ClientNetwork, usize)> {
        let (client, excess) = self.per_ip?.crowded(slot)?;
        Some((client, excess.div_ceil(self.acceptors)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 18, 0, 1));
    const TWO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 18, 0, 2));

    fn seated(per_ip: &mut PerIp, slot: u32, address: IpAddr) {
        let holder = per_ip.enter(per_ip.client(address)).expect("room");
        per_ip.seat(slot, holder);
    }

    /// What whoever closes the connection does, and then the event loop.
    fn close(shares: &Shares, per_ip: &mut PerIp, slot: u32, address: IpAddr) {
        let holder = per_ip.holders[slot as usize].as_ref().expect("a holder");
        shares.leave(address, &holder.address_gauge);
        per_ip.release(slot);
    }

    #[test]
    fn each_address_has_its_own_share() {
        let shares = Arc::new(Shares::new(2, 64));
        let mut per_ip = PerIp::new(Arc::clone(&shares));
        seated(&mut per_ip, 0, ONE);
        assert!(!per_ip.is_pressed());
        seated(&mut per_ip, 1, ONE);
        assert!(per_ip.is_pressed() && per_ip.enter(per_ip.client(ONE)).is_none());
        seated(&mut per_ip, 3, TWO);
        for (slot, address) in [(1, ONE), (0, ONE), (3, TWO)] {
            close(&shares, &mut per_ip, slot, address);
        }
        assert!(!per_ip.is_pressed() && shares.lock().is_empty());
        per_ip.release(7);
    }

    #[test]
    fn an_address_has_one_share_of_all_event_loops() {
        let shares = Arc::new(Shares::new(2, 64));
        let mut one = PerIp::new(Arc::clone(&shares));
        let mut two = PerIp::new(Arc::clone(&shares));
        seated(&mut one, 0, ONE);
        seated(&mut two, 0, ONE);
        assert!(one.enter(one.client(ONE)).is_none() && two.enter(two.client(ONE)).is_none());
        close(&shares, &mut one, 0, ONE);
        assert!(two.enter(two.client(ONE)).is_some());
    }

    #[test]
    fn a_burst_of_addresses_leaves_no_room_behind() {
        let shares = Arc::new(Shares::new(2, 64));
        let address = |number: u32| IpAddr::V4(std::net::Ipv4Addr::from_bits(number));
        let burst = 20 * KEPT_CLIENTS as u32;
        let holders: Vec<_> = (0..burst)
            .map(|number| shares.enter(shares.client(address(number))).expect("room"))
            .collect();
        assert!(shares.lock().capacity() >= burst as usize);
        for (number, holder) in (0..).zip(&holders) {
            shares.leave(address(number), &holder.address_gauge);
        }
        assert!(shares.lock().capacity() <= 4 * KEPT_CLIENTS);
    }

    #[test]
    fn those_of_a_crowded_address_are_wanted_and_no_more_than_needed() {
        let mut per_ip = PerIp::new(Arc::new(Shares::new(10, 64)));
        for slot in 0..10 {
            seated(&mut per_ip, slot, ONE);
        }
        seated(&mut per_ip, 10, TWO);
        let all = ConnectionGauge::new(100);
        let mut excess = Excess::of(&all, Some(&per_ip), 1);
        excess.note_going(0);
        assert!(!excess.wants(10), "its address has room");
        assert!(excess.wants(1));
        assert!(!excess.wants(2), "with 0 and 1 gone there are 8 left");
        let mut half = Excess::of(&all, Some(&per_ip), 2);
        assert!(
            half.wants(1) && !half.wants(2),
            "the other loop sends for the second"
        );
    }

    #[test]
    fn all_have_to_make_room_if_the_server_is_full() {
        let all = ConnectionGauge::new(10);
        for _ in 0..10 {
            assert!(all.enter());
        }
        let mut excess = Excess::of(&all, None, 1);
        assert_eq!(excess.most(), Some(2));
        assert!(excess.wants(3) && excess.wants(5));
        assert!(!excess.wants(6));
    }
}
