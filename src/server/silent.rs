//! Silent connections: those of one event loop that have never sent a request, in the order of accept. At
//! a limit the first of them is evicted for a new connection ([`pressure`](super::pressure)).
//!
//! The queue is lazy, like the timer wheel. A connection is queued if its first turn finds no request, so
//! a connection whose request is there by then costs nothing. An entry stays when its connection sends a
//! request or closes. A later check of the generation and the deadline of the slot shows that the entry is
//! outdated. The queue drops outdated entries whenever as many entries were added as it had. So it holds at
//! most twice as many as there were silent connections, plus a thousand: 8 bytes each, or 16 with
//! `limits.connections_per_ip`.
//!
//! The silence of a connection with a TLS handshake or a header of the PROXY protocol begins with the end of that. Then
//! its entry goes to the end of the queue.

use std::collections::{HashMap, VecDeque};

use super::slots::Slots;
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

/// The silent connections of one event loop, oldest first.
#[derive(Debug)]
pub struct SilentQueue {
    all: VecDeque<SilentEntry>,
    /// The entries of each client whose connections are counted.
    by_client: HashMap<ClientNetwork, VecDeque<SilentEntry>>,
    /// How many more entries are added before outdated ones are dropped.
    until_compaction: usize,
}

#[derive(Debug, Clone, Copy)]
struct SilentEntry {
    /// The slot, with [`OPENING`] if the connection was not ready for a request when the entry was queued.
    slot: u32,
    generation: u32,
}

/// There are far fewer slots.
const OPENING: u32 = 1 << 31;

impl Default for SilentQueue {
    fn default() -> SilentQueue {
        SilentQueue {
            all: VecDeque::new(),
            by_client: HashMap::new(),
            until_compaction: MIN_ENTRIES,
        }
    }
}

impl SilentQueue {
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
        let is_ready = matches!(slots.at(slot).deadline(), Deadline::First(_));
        let slot = if is_ready { slot } else { slot | OPENING };
        let entry = SilentEntry { slot, generation };
        self.all.push_back(entry);
        if let Some(client) = client {
            self.by_client.entry(client).or_default().push_back(entry);
        }
    }

    /// The slot and the deadline of the longest silent connection among those under `limit`.
    pub fn longest<T>(&mut self, limit: ReachedLimit, slots: &Slots<T>) -> Option<(u32, Deadline)> {
        let queue = self.queue(limit)?;
        while let Some(&entry) = queue.front() {
            match entry.deadline(slots) {
                Some(Deadline::First(_)) if entry.slot & OPENING != 0 => {
                    queue.push_back(SilentEntry {
                        slot: entry.index(),
                        ..entry
                    });
                }
                Some(deadline) => return Some((entry.index(), deadline)),
                None => {}
            }
            queue.pop_front();
        }
        None
    }

    /// Drops the entry that [`SilentQueue::longest`] has just returned.
    pub fn pop_longest(&mut self, limit: ReachedLimit) {
        if let Some(queue) = self.queue(limit) {
            queue.pop_front();
        }
    }

    fn queue(&mut self, limit: ReachedLimit) -> Option<&mut VecDeque<SilentEntry>> {
        match limit {
            ReachedLimit::Server => Some(&mut self.all),
            ReachedLimit::Client(client) => self.by_client.get_mut(&client),
        }
    }

    fn compact<T>(&mut self, slots: &Slots<T>) {
        self.all.retain(|entry| entry.deadline(slots).is_some());
        self.by_client.retain(|_, queue| {
            queue.retain(|entry| entry.deadline(slots).is_some());
            queue.shrink_to(2 * queue.len());
            !queue.is_empty()
        });
        self.until_compaction = self.all.len().max(MIN_ENTRIES);
        self.all.shrink_to(2 * self.until_compaction);
        self.by_client.shrink_to(2 * self.until_compaction);
    }
}

impl SilentEntry {
    fn index(self) -> u32 {
        self.slot & !OPENING
    }

    /// The deadline of the connection; `None` if a request has come or the connection is closed.
    fn deadline<T>(self, slots: &Slots<T>) -> Option<Deadline> {
        let slot = slots.at(self.index());
        let deadline = slot.deadline();
        (deadline.is_silent() && slot.generation() == self.generation).then_some(deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::super::slots::{Connection, QueuedSlot, WaitOutcome};
    use super::*;
    use crate::clock::Millis;
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
        // A later connection in the same slot does not count as the earlier one.
        open(&slots, 0, 9);
        let queued = slots.at(1).claim_idle().expect("idle");
        wait(&slots, queued, Deadline::AwaitingAck(Millis(1)));
        assert_eq!(
            queue.longest(ReachedLimit::Server, &slots),
            Some((2, Deadline::First(Millis(2))))
        );
        queue.pop_longest(ReachedLimit::Server);
        assert_eq!(
            queue.longest(ReachedLimit::Server, &slots),
            Some((3, Deadline::First(Millis(3))))
        );
        close(&slots, 3);
        assert_eq!(queue.longest(ReachedLimit::Server, &slots), None);
    }

    #[test]
    fn the_silence_of_a_connection_with_a_handshake_begins_with_its_end() {
        let slots = Slots::new(8);
        let mut queue = SilentQueue::default();
        for slot in 0..2 {
            open(&slots, slot, u64::from(slot));
            let queued = slots.at(slot).claim_idle().expect("idle");
            wait(&slots, queued, Deadline::Handshake(Millis(slot.into())));
            push(&mut queue, slot, None, &slots);
        }
        let longest = |queue: &mut SilentQueue| queue.longest(ReachedLimit::Server, &slots);
        assert_eq!(
            longest(&mut queue),
            Some((0, Deadline::Handshake(Millis(0))))
        );
        let queued = slots.at(0).claim_idle().expect("idle");
        wait(&slots, queued, Deadline::First(Millis(9)));
        assert_eq!(
            longest(&mut queue),
            Some((1, Deadline::Handshake(Millis(1))))
        );
        close(&slots, 1);
        assert_eq!(longest(&mut queue), Some((0, Deadline::First(Millis(9)))));
    }

    #[test]
    fn each_client_has_its_own_queue() {
        let slots = Slots::new(8);
        let mut queue = SilentQueue::default();
        for slot in 0..4 {
            open(&slots, slot, u64::from(slot));
            push(&mut queue, slot, Some(client(slot % 2)), &slots);
        }
        let of_second = ReachedLimit::Client(client(1));
        let first = |slot: u32| Some((slot, Deadline::First(Millis(u64::from(slot)))));
        assert_eq!(queue.longest(of_second, &slots), first(1));
        close(&slots, 1);
        assert_eq!(queue.longest(of_second, &slots), first(3));
        assert_eq!(queue.longest(ReachedLimit::Client(client(2)), &slots), None);
    }

    #[test]
    fn outdated_entries_are_dropped() {
        let slots = Slots::new(1);
        let mut queue = SilentQueue::default();
        for number in 0..10 * MIN_ENTRIES as u32 {
            open(&slots, 0, 1);
            push(&mut queue, 0, Some(client(number)), &slots);
            close(&slots, 0);
        }
        assert!(queue.all.len() <= MIN_ENTRIES && queue.by_client.len() <= MIN_ENTRIES);
        // `longest` only takes entries out of one of the two queues.
        for number in 0..10 * MIN_ENTRIES as u32 {
            open(&slots, 0, 1);
            push(&mut queue, 0, Some(client(number)), &slots);
            close(&slots, 0);
            assert_eq!(queue.longest(ReachedLimit::Server, &slots), None);
        }
        assert!(queue.by_client.len() <= MIN_ENTRIES);
    }
}
