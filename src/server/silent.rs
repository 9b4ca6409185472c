//! Silent connections: those of one event loop that have never sent a request, about in the order of their silence. At
//! a limit the longest silent one is evicted for a new connection ([`pressure`](super::pressure)).
//!
//! The silence of a connection with a TLS handshake counts from the accept, and from the end of the handshake once that
//! is complete. So connections that are still opening have a queue of their own.
//!
//! The queues are lazy, like the timer wheel. A connection is queued if its first turn finds no request, so
//! a connection whose request is there by then costs nothing. An entry stays when its connection sends a
//! request or closes. A later check of the generation and the deadline of the slot shows that the entry is
//! outdated. The queues drop outdated entries whenever as many entries were added as they had. So they hold at
//! most twice as many as there were silent connections, plus a thousand: 8 bytes each, or 16 with
//! `limits.connections_per_ip`.

use std::collections::{HashMap, VecDeque};

use super::slots::Slots;
use crate::clock::Millis;
use crate::connection::deadline::Deadline;
use crate::connection::limits::client_network::ClientNetwork;

/// The number of entries up to which none is dropped.
const MIN_ENTRIES: usize = 1024;

/// The limit that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReachedLimit {
    /// `limits.connections`.
    Server,
    /// `limits.connections_per_ip`, for this client.
    Client(ClientNetwork),
}

/// The silent connections of one event loop.
#[derive(Debug)]
pub struct SilentConnections {
    all: Queues,
    /// The entries of each client whose connections are counted.
    by_client: HashMap<ClientNetwork, Queues>,
    /// How many more entries are added before outdated ones are dropped.
    until_compaction: usize,
}

/// The silent connections under one limit, in the order of accept, but for those that were postponed.
#[derive(Debug, Default)]
struct Queues {
    /// Those whose TLS handshake was under way when the entry was looked at last.
    opening: VecDeque<SilentEntry>,
    /// The others.
    ready: VecDeque<SilentEntry>,
}

#[derive(Debug, Clone, Copy)]
struct SilentEntry {
    slot: u32,
    generation: u32,
}

impl Default for SilentConnections {
    fn default() -> SilentConnections {
        SilentConnections {
            all: Queues::default(),
            by_client: HashMap::new(),
            until_compaction: MIN_ENTRIES,
        }
    }
}

impl SilentConnections {
    /// Queues the connection of this `generation` in `slot`, which was accepted last. `client` is given if
    /// its connections are counted.
    pub fn push<T>(
        &mut self,
        slot: u32,
        generation: u32,
        client: Option<ClientNetwork>,
        slots: &Slots<T>,
    ) {
        if self.until_compaction == 0 {
            self.compact(slots);
        }
        self.until_compaction -= 1;
        let entry = SilentEntry { slot, generation };
        let is_opening = matches!(slots.at(slot).deadline(), Deadline::Handshake(_));
        self.all.queue(is_opening).push_back(entry);
        if let Some(client) = client {
            let of_client = self.by_client.entry(client).or_default();
            of_client.queue(is_opening).push_back(entry);
        }
    }

    /// The slot of the longest silent connection among those under `limit`, and since when it is silent.
    /// `silent_since` tells that by the deadline of a connection.
    pub fn longest<T>(
        &mut self,
        limit: ReachedLimit,
        slots: &Slots<T>,
        silent_since: impl Fn(Deadline) -> Option<Millis>,
    ) -> Option<(u32, Millis)> {
        let queues = self.under(limit)?;
        queues.settle(slots);
        let fronts = [&queues.opening, &queues.ready].into_iter();
        let fronts = fronts.filter_map(|queue| {
            let entry = queue.front()?;
            Some((entry.slot, silent_since(entry.deadline(slots)?)?))
        });
        fronts.min_by_key(|(_, since)| *since)
    }

    /// Puts the entry of `slot`, which [`longest`](SilentConnections::longest) has just returned, behind all others: its
    /// turn is about to come. Mostly that closes the connection, and the entry is outdated.
    pub fn postpone_longest(&mut self, limit: ReachedLimit, slot: u32) {
        let Some(queues) = self.under(limit) else {
            return;
        };
        for queue in [&mut queues.opening, &mut queues.ready] {
            if queue.front().is_some_and(|entry| entry.slot == slot) {
                queue.rotate_left(1);
            }
        }
    }

    fn under(&mut self, limit: ReachedLimit) -> Option<&mut Queues> {
        match limit {
            ReachedLimit::Server => Some(&mut self.all),
            ReachedLimit::Client(client) => self.by_client.get_mut(&client),
        }
    }

    fn compact<T>(&mut self, slots: &Slots<T>) {
        self.all.compact(slots);
        self.by_client.retain(|_, queues| {
            queues.compact(slots);
            queues.shrink_to(2 * queues.len());
            queues.len() > 0
        });
        self.until_compaction = self.all.len().max(MIN_ENTRIES);
        self.all.shrink_to(2 * self.until_compaction);
        self.by_client.shrink_to(2 * self.until_compaction);
    }
}

impl Queues {
    fn queue(&mut self, is_opening: bool) -> &mut VecDeque<SilentEntry> {
        match is_opening {
            true => &mut self.opening,
            false => &mut self.ready,
        }
    }

    /// Drops outdated entries at the fronts, and moves connections whose handshake is complete.
    fn settle<T>(&mut self, slots: &Slots<T>) {
        while let Some(entry) = self.opening.front() {
            match entry.deadline(slots) {
                Some(Deadline::Handshake(_)) => break,
                Some(_) => self.ready.push_back(*entry),
                None => {}
            }
            self.opening.pop_front();
        }
        while let Some(entry) = self.ready.front()
            && entry.deadline(slots).is_none()
        {
            self.ready.pop_front();
        }
    }

    fn len(&self) -> usize {
        self.opening.len() + self.ready.len()
    }

    fn compact<T>(&mut self, slots: &Slots<T>) {
        for queue in [&mut self.opening, &mut self.ready] {
            queue.retain(|entry| entry.deadline(slots).is_some());
        }
    }

    fn shrink_to(&mut self, capacity: usize) {
        self.opening.shrink_to(capacity);
        self.ready.shrink_to(capacity);
    }
}

impl SilentEntry {
    /// The deadline of the connection; `None` if a request has come or the connection is closed.
    fn deadline<T>(self, slots: &Slots<T>) -> Option<Deadline> {
        let slot = slots.at(self.slot);
        let deadline = slot.deadline();
        (deadline.is_silent() && slot.generation() == self.generation).then_some(deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::super::slots::{Connection, QueuedSlot, WaitOutcome};
    use super::*;
    use crate::connection::peer::Peer;
    use crate::connection::session::Session;

    fn open(slots: &Slots<()>, slot: u32, late_at: u64) {
        let connection = Connection {
            socket: (),
            session: Session::accepted(Peer::Unix, Millis(0)),
        };
        let queued = slots
            .at(slot)
            .open(Box::new(connection), Deadline::Exchange(Millis(0)));
        wait(slots, queued, Deadline::First(Millis(late_at)));
    }

    fn wait(slots: &Slots<()>, queued: QueuedSlot, deadline: Deadline) {
        let waiting = slots.begin(queued).wait_until(deadline);
        assert!(matches!(waiting, WaitOutcome::Idle));
    }

    fn push(
        silent: &mut SilentConnections,
        slot: u32,
        client: Option<ClientNetwork>,
        slots: &Slots<()>,
    ) {
        let generation = slots.at(slot).generation();
        silent.push(slot, generation, client, slots);
    }

    fn close(slots: &Slots<()>, slot: u32) {
        let queued = slots.at(slot).claim_idle().expect("idle");
        slots.begin(queued).close(drop);
    }

    fn client(number: u32) -> ClientNetwork {
        ClientNetwork::of(std::net::Ipv4Addr::from_bits(number).into(), 64)
    }

    /// In these tests a connection is silent since its deadline.
    fn longest(
        silent: &mut SilentConnections,
        limit: ReachedLimit,
        slots: &Slots<()>,
    ) -> Option<(u32, Millis)> {
        silent.longest(limit, slots, |deadline| Some(deadline.at()))
    }

    #[test]
    fn the_first_that_is_still_silent_is_the_longest() {
        let slots = Slots::new(8);
        let mut silent = SilentConnections::default();
        for slot in 0..4 {
            open(&slots, slot, u64::from(slot));
            push(&mut silent, slot, None, &slots);
        }
        close(&slots, 0);
        // A later connection in the same slot does not count as the earlier one.
        open(&slots, 0, 9);
        let queued = slots.at(1).claim_idle().expect("idle");
        wait(&slots, queued, Deadline::AwaitingAck(Millis(1)));
        let limit = ReachedLimit::Server;
        assert_eq!(longest(&mut silent, limit, &slots), Some((2, Millis(2))));
        silent.postpone_longest(limit, 2);
        assert_eq!(longest(&mut silent, limit, &slots), Some((3, Millis(3))));
        close(&slots, 3);
        assert_eq!(longest(&mut silent, limit, &slots), Some((2, Millis(2))));
        close(&slots, 2);
        assert_eq!(longest(&mut silent, limit, &slots), None);
    }

    #[test]
    fn the_silence_after_a_handshake_begins_with_its_end() {
        let slots = Slots::new(8);
        let mut silent = SilentConnections::default();
        let become_silent = |slot: u32, deadline: Deadline| {
            let queued = slots.at(slot).claim_idle().expect("idle");
            wait(&slots, queued, deadline);
        };
        for slot in 0..3 {
            open(&slots, slot, 0);
            become_silent(slot, Deadline::Handshake(Millis(slot.into())));
            push(&mut silent, slot, None, &slots);
        }
        let limit = ReachedLimit::Server;
        assert_eq!(longest(&mut silent, limit, &slots), Some((0, Millis(0))));
        become_silent(0, Deadline::First(Millis(9)));
        become_silent(1, Deadline::First(Millis(8)));
        assert_eq!(longest(&mut silent, limit, &slots), Some((2, Millis(2))));
        close(&slots, 2);
        assert_eq!(longest(&mut silent, limit, &slots), Some((0, Millis(9))));
        // One that is opening may be younger.
        open(&slots, 3, 0);
        become_silent(3, Deadline::Handshake(Millis(10)));
        push(&mut silent, 3, None, &slots);
        assert_eq!(longest(&mut silent, limit, &slots), Some((0, Millis(9))));
    }

    #[test]
    fn each_client_has_its_own_queue() {
        let slots = Slots::new(8);
        let mut silent = SilentConnections::default();
        for slot in 0..4 {
            open(&slots, slot, u64::from(slot));
            push(&mut silent, slot, Some(client(slot % 2)), &slots);
        }
        let of_second = ReachedLimit::Client(client(1));
        assert_eq!(
            longest(&mut silent, of_second, &slots),
            Some((1, Millis(1)))
        );
        close(&slots, 1);
        assert_eq!(
            longest(&mut silent, of_second, &slots),
            Some((3, Millis(3)))
        );
        let of_unknown = ReachedLimit::Client(client(2));
        assert_eq!(longest(&mut silent, of_unknown, &slots), None);
    }

    #[test]
    fn outdated_entries_are_dropped() {
        let slots = Slots::new(1);
        let mut silent = SilentConnections::default();
        for number in 0..10 * MIN_ENTRIES as u32 {
            open(&slots, 0, 1);
            push(&mut silent, 0, Some(client(number)), &slots);
            close(&slots, 0);
        }
        assert!(silent.all.len() <= MIN_ENTRIES && silent.by_client.len() <= MIN_ENTRIES);
        // `longest` only takes entries out of one of the two queues.
        for number in 0..10 * MIN_ENTRIES as u32 {
            open(&slots, 0, 1);
            push(&mut silent, 0, Some(client(number)), &slots);
            close(&slots, 0);
            assert_eq!(longest(&mut silent, ReachedLimit::Server, &slots), None);
        }
        assert!(silent.by_client.len() <= MIN_ENTRIES);
    }
}
