//! `limits.connections_per_ip`: who has how many connections, and who has to give some back.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::connection::occupancy::Occupancy;

/// The connections of each address, under the same limit.
#[derive(Debug)]
pub struct PerIp {
    limit: usize,
    counts: HashMap<IpAddr, Arc<Occupancy>>,
    /// How many addresses are under pressure.
    pressed: usize,
    /// The address that holds each slot.
    holders: Vec<Option<IpAddr>>,
}

impl PerIp {
    /// Nobody has any connection, of `limit` each.
    #[must_use]
    pub fn new(limit: usize) -> PerIp {
        PerIp {
            limit,
            counts: HashMap::new(),
            pressed: 0,
            holders: Vec::new(),
        }
    }

    /// Whether this address has all of its share.
    #[must_use]
    pub fn is_full(&self, address: IpAddr) -> bool {
        self.counts
            .get(&address)
            .is_some_and(|neighbours| neighbours.is_full())
    }

    /// Counts the connection in `slot`; says who its neighbours are, itself included.
    pub fn take(&mut self, slot: u32, address: IpAddr) -> Arc<Occupancy> {
        let slot = slot as usize;
        if self.holders.len() <= slot {
            self.holders.resize(slot + 1, None);
        }
        self.holders[slot] = Some(address);
        let limit = self.limit;
        let neighbours = self.counts.entry(address);
        let neighbours = neighbours.or_insert_with(|| Arc::new(Occupancy::new(limit)));
        let was_pressing = neighbours.is_pressing();
        neighbours.enter();
        self.pressed += usize::from(neighbours.is_pressing() && !was_pressing);
        Arc::clone(neighbours)
    }

    /// Takes the connection in `slot`, if it was counted, out of the count.
    pub fn release(&mut self, slot: u32) {
        let Some(address) = self.holders.get_mut(slot as usize).and_then(Option::take) else {
            return;
        };
        if let Some(neighbours) = self.counts.get(&address) {
            let was_pressing = neighbours.is_pressing();
            neighbours.leave();
            self.pressed -= usize::from(was_pressing && !neighbours.is_pressing());
            if neighbours.open() == 0 {
                self.counts.remove(&address);
            }
        }
    }

    /// Whether some address has 90 % of its share.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        self.pressed > 0
    }

    /// The address of the connection in `slot` and how many of its connections are too many, if any.
    fn crowded(&self, slot: u32) -> Option<(IpAddr, usize)> {
        let address = (*self.holders.get(slot as usize)?)?;
        let excess = self.counts.get(&address)?.excess();
        (excess > 0).then_some((address, excess))
    }
}

/// How many connections have to go, in all and of each address that has too many.
#[derive(Debug)]
pub struct Excess<'a> {
    in_all: usize,
    per_ip: Option<&'a PerIp>,
    gone: HashMap<IpAddr, usize>,
}

impl Excess<'_> {
    /// Those of `occupancy`, and of the addresses in `per_ip` if there is such a limit.
    #[must_use]
    pub fn of<'a>(occupancy: &Occupancy, per_ip: Option<&'a PerIp>) -> Excess<'a> {
        Excess {
            in_all: occupancy.excess(),
            per_ip,
            gone: HashMap::new(),
        }
    }

    /// Takes note that the connection in `slot` is on its way out already.
    pub fn note_going(&mut self, slot: u32) {
        self.in_all = self.in_all.saturating_sub(1);
        if let Some((address, _)) = self.crowded(slot) {
            *self.gone.entry(address).or_default() += 1;
        }
    }

    /// Whether the connection in `slot` is among those that have to go; counts it if so.
    pub fn wants(&mut self, slot: u32) -> bool {
        let is_over_own = self.crowded(slot).is_some_and(|(address, excess)| {
            self.gone.get(&address).copied().unwrap_or_default() < excess
        });
        let is_wanted = self.in_all > 0 || is_over_own;
        if is_wanted {
            self.note_going(slot);
        }
        is_wanted
    }

    fn crowded(&self, slot: u32) -> Option<(IpAddr, usize)> {
        self.per_ip.and_then(|per_ip| per_ip.crowded(slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 18, 0, 1));
    const TWO: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 18, 0, 2));

    #[test]
    fn each_address_has_its_own_share() {
        let mut per_ip = PerIp::new(2);
        per_ip.take(0, ONE);
        assert!(!per_ip.is_pressed());
        per_ip.take(1, ONE);
        assert!(per_ip.is_pressed() && per_ip.is_full(ONE));
        assert!(!per_ip.is_full(TWO));
        per_ip.take(3, TWO);
        for slot in [1, 0, 3] {
            per_ip.release(slot);
        }
        assert!(!per_ip.is_pressed() && per_ip.counts.is_empty());
        per_ip.release(7);
    }

    #[test]
    fn those_of_a_crowded_address_are_wanted_and_no_more_than_needed() {
        let mut per_ip = PerIp::new(10);
        for slot in 0..10 {
            per_ip.take(slot, ONE);
        }
        per_ip.take(10, TWO);
        let all = Occupancy::new(100);
        let mut excess = Excess::of(&all, Some(&per_ip));
        excess.note_going(0);
        assert!(!excess.wants(10), "its address has room");
        assert!(excess.wants(1));
        assert!(!excess.wants(2), "with 0 and 1 gone there are 8 left");
    }

    #[test]
    fn all_have_to_make_room_if_the_server_is_full() {
        let all = Occupancy::new(10);
        for _ in 0..10 {
            all.enter();
        }
        let mut excess = Excess::of(&all, None);
        assert!(excess.wants(3) && excess.wants(5));
        assert!(!excess.wants(6));
    }
}
