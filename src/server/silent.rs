//! The connections of one event loop that have never asked for anything, in the order of their accept:
//! at a limit the first of them makes room for a newcomer ([`pressure`](super::pressure)).
//!
//! The queue is lazy, as the timer wheel is. A connection is queued if its first turn found no
//! request, which costs those nothing that have sent one by then. One that asks later, or closes, is not
//! taken out: its entry says so itself when somebody looks, by the generation and the deadline of its
//! slot. Entries that are of no use are dropped whenever as many have been added as there were, so the
//! queue holds at most twice as many as there were silent connections, and a thousand: 8 bytes each, 16
//! under `limits.connections_per_ip`.

use std::collections::{HashMap, VecDeque};

use super::slots::Slots;
use crate::clock::Millis;
use crate::connection::deadline::Deadline;
use crate::connection::limits::client_network::ClientNetwork;

/// Entries that are kept whatever they are worth.
const LEAST_ENTRIES: usize = 1024;

/// Which limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crowd {
    /// `limits.connections`.
    Server,
    /// `limits.connections_per_ip`, by this client.
    Client(ClientNetwork),
}

/// See the module.
#[derive(Debug)]
pub struct SilentQueue {
    all: VecDeque<SilentEntry>,
    /// The entries of clients whose connections are counted.
    by_client: HashMap<ClientNetwork, VecDeque<SilentEntry>>,
    /// How many more are added before useless entries are dropped.
    until_tidy: usize,
}

#[derive(Debug, Clone, Copy)]
struct SilentEntry {
    slot: u32,
    generation: u32,
}

impl Default for SilentQueue {
    fn default() -> SilentQueue {
        SilentQueue {
            all: VecDeque::new(),
            by_client: HashMap::new(),
            until_tidy: LEAST_ENTRIES,
        }
    }
}

impl SilentQueue {
    /// Queues the connection of this `generation` in `slot`, the one that was accepted last. `client` is
    /// given if its connections are counted.
    pub fn push<T>(
        &mut self,
        slot: u32,
        generation: u32,
        client: Option<ClientNetwork>,
        slots: &Slots<T>,
    ) {
        if self.until_tidy == 0 {
            self.tidy(slots);
        }
        self.until_tidy -= 1;
        let entry = SilentEntry { slot, generation };
        self.all.push_back(entry);
        if let Some(client) = client {
            self.by_client.entry(client).or_default().push_back(entry);
        }
    }

    /// The slot of the connection in `crowd` that has been silent for longest, and its deadline.
    pub fn longest<T>(&mut self, crowd: Crowd, slots: &Slots<T>) -> Option<(u32, Millis)> {
        let queue = self.queue(crowd)?;
        while let Some(entry) = queue.front() {
            if let Some(late_at) = entry.late_at(slots) {
                return Some((entry.slot, late_at));
            }
            queue.pop_front();
        }
        None
    }

    /// Drops the entry that [`SilentQueue::longest`] has just named.
    pub fn drop_longest(&mut self, crowd: Crowd) {
        if let Some(queue) = self.queue(crowd) {
            queue.pop_front();
        }
    }

    fn queue(&mut self, crowd: Crowd) -> Option<&mut VecDeque<SilentEntry>> {
        match crowd {
            Crowd::Server => Some(&mut self.all),
            Crowd::Client(client) => self.by_client.get_mut(&client),
        }
    }

    fn tidy<T>(&mut self, slots: &Slots<T>) {
        self.all.retain(|entry| entry.late_at(slots).is_some());
        self.by_client.retain(|_, queue| {
            queue.retain(|entry| entry.late_at(slots).is_some());
            queue.shrink_to(2 * queue.len());
            !queue.is_empty()
        });
        self.until_tidy = self.all.len().max(LEAST_ENTRIES);
        self.all.shrink_to(2 * self.until_tidy);
        self.by_client.shrink_to(2 * self.until_tidy);
    }
}

impl SilentEntry {
    /// When the connection's first byte is late; `None` if it has asked or is gone.
    fn late_at<T>(self, slots: &Slots<T>) -> Option<Millis> {
        let slot = slots.at(self.slot);
        match slot.deadline() {
            Deadline::First(late_at) if slot.generation() == self.generation => Some(late_at),
            _ => None,
        }
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
            is_counted: true,
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

    fn push(queue: &mut SilentQueue, slot: u32, client: Option<ClientNetwork>, slots: &Slots<()>) {
        let generation = slots.at(slot).generation();
        queue.push(slot, generation, client, slots);
    }

    fn close(slots: &Slots<()>, slot: u32) {
        let queued = slots.at(slot).claim_idle().expect("idle");
        slots.begin(queued).close(drop);
    }

    fn client(number: u32) -> ClientNetwork {
        ClientNetwork::of(std::net::Ipv4Addr::from_bits(number).into(), 64)
    }

    #[test]
    fn the_first_that_is_still_silent_is_the_longest() {
        let slots = Slots::new(8);
        let mut queue = SilentQueue::default();
        for slot in 0..4 {
            open(&slots, slot, u64::from(slot));
            push(&mut queue, slot, None, &slots);
        }
        close(&slots, 0);
        // Another connection in the same slot is another one.
        open(&slots, 0, 9);
        let queued = slots.at(1).claim_idle().expect("idle");
        wait(&slots, queued, Deadline::AwaitingAck(Millis(1)));
        assert_eq!(queue.longest(Crowd::Server, &slots), Some((2, Millis(2))));
        queue.drop_longest(Crowd::Server);
        assert_eq!(queue.longest(Crowd::Server, &slots), Some((3, Millis(3))));
        close(&slots, 3);
        assert_eq!(queue.longest(Crowd::Server, &slots), None);
    }

    #[test]
    fn each_client_has_its_own() {
        let slots = Slots::new(8);
        let mut queue = SilentQueue::default();
        for slot in 0..4 {
            open(&slots, slot, u64::from(slot));
            push(&mut queue, slot, Some(client(slot % 2)), &slots);
        }
        let of_second = Crowd::Client(client(1));
        assert_eq!(queue.longest(of_second, &slots), Some((1, Millis(1))));
        close(&slots, 1);
        assert_eq!(queue.longest(of_second, &slots), Some((3, Millis(3))));
        assert_eq!(queue.longest(Crowd::Client(client(2)), &slots), None);
    }

    #[test]
    fn those_that_are_gone_are_forgotten() {
        let slots = Slots::new(1);
        let mut queue = SilentQueue::default();
        for number in 0..10 * LEAST_ENTRIES as u32 {
            open(&slots, 0, 1);
            push(&mut queue, 0, Some(client(number)), &slots);
            close(&slots, 0);
        }
        assert!(queue.all.len() <= LEAST_ENTRIES && queue.by_client.len() <= LEAST_ENTRIES);
        // Looking takes entries out of one of the two only.
        for number in 0..10 * LEAST_ENTRIES as u32 {
            open(&slots, 0, 1);
            push(&mut queue, 0, Some(client(number)), &slots);
            close(&slots, 0);
            assert_eq!(queue.longest(Crowd::Server, &slots), None);
        }
        assert!(queue.by_client.len() <= LEAST_ENTRIES);
    }
}
