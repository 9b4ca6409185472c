//! Where the connections live: a table of slots that never moves, reused with generations.
//!
//! A slot is what the event loop and its workers share. Its ownership word says who may touch the
//! connection; the deadline beside it is all that the timers need. Both are behind types:
//!
//! ```text
//!   event loop   SlotRef::open, notify, claim_idle     ->  QueuedSlot   lies in a queue
//!   any thread   Slots::begin(QueuedSlot)              ->  OwnedSlot    the connection, for a turn
//!                OwnedSlot::wait_until(deadline)       ->  idle, or the OwnedSlot again
//!                OwnedSlot::requeue                    ->  QueuedSlot
//!                OwnedSlot::close                      ->  the slot is free
//! ```
//!
//! Neither can be copied. So a connection is queued once, begun once, and its turn has one end.
//!
//! # What a burst leaves
//!
//! What is kept for each connection goes with it. What is kept for each slot stays, for the next burst:
//! after a million connections that are 32 MB of slots here, 4 MB of free numbers in the
//! [`acceptor`](super::acceptor) and 1 MB of the event loop's notes on what is filed; under
//! `limits.connections_per_ip` 32 MB more, for the holder of each slot. The timer wheel keeps half a
//! megabyte, and the table of addresses what those that are there need.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

use crate::clock::Millis;
use crate::connection::deadline::Deadline;
use crate::connection::ownership::{
    NotIdle, Notified, Ownership, OwnershipState, Released, TurnGuard,
};
use crate::connection::session::Session;
use crate::connection::transport::Socket;

/// Connections beyond the limit that are kept just long enough to be told so.
pub const REFUSAL_RESERVE: usize = 64;

/// Slots that are allocated together: enough to make allocation rare, little enough to waste.
const CHUNK_SLOTS: usize = 1024;

/// A socket and the state of its connection.
#[derive(Debug)]
pub struct Connection<T = Socket> {
    /// The socket; dropping it closes it and takes it out of the poll.
    pub socket: T,
    /// The protocol's state.
    pub session: Session,
    /// Whether it has a place under the limits. One that is being refused has none.
    pub is_counted: bool,
}

/// One place for a connection.
#[derive(Debug)]
pub struct Slot<T = Socket> {
    /// Which thread may touch `connection`.
    ownership: Ownership,
    /// When the connection wants its next turn if its socket stays silent.
    deadline: AtomicU64,
    /// Only the owner locks it, so the lock is never contended; it is what makes sharing safe
    /// without `unsafe`.
    connection: Mutex<Option<Box<Connection<T>>>>,
}

/// A connection that is owned and waits for its turn: the right to give it the turn, and the duty. It
/// lies in a queue, or with the flight that the connection waits for.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a connection that is not queued is left to nobody"]
pub struct QueuedSlot(u32);

impl QueuedSlot {
    /// The number of the slot.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.0
    }

    /// For tests of the queues.
    #[cfg(test)]
    pub(super) fn numbered(index: u32) -> QueuedSlot {
        QueuedSlot(index)
    }
}

impl<T> Slot<T> {
    fn new() -> Slot<T> {
        Slot {
            ownership: Ownership::new(),
            deadline: AtomicU64::new(0),
            connection: Mutex::new(None),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<Connection<T>>>> {
        // A turn that panicked poisons the lock; its connection is dropped, the slot is still good.
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves the deadline, as the owner. This is all that a request costs the timers: the wheel
    /// ([`deadlines`](super::deadlines)) finds it when it looks next.
    fn postpone(&self, deadline: Deadline) {
        self.deadline.store(deadline.to_word(), Ordering::Relaxed);
    }
}

/// A slot and its number, as the event loop and onlookers see it.
#[derive(Debug)]
pub struct SlotRef<'a, T = Socket> {
    slot: &'a Slot<T>,
    index: u32,
}

impl<'a, T> SlotRef<'a, T> {
    /// Event loop: fills the slot, which is free, with a connection that waits for its first turn.
    ///
    /// # Panics
    /// If the slot is in use.
    pub fn open(&self, connection: Box<Connection<T>>, deadline: Deadline) -> QueuedSlot {
        let Slot { ownership, .. } = self.slot;
        *self.slot.lock() = Some(connection);
        self.slot.postpone(deadline);
        ownership.open();
        let claim = ownership.claim_idle();
        debug_assert_eq!(claim, Ok(()), "no other thread knows it");
        QueuedSlot(self.index)
    }

    /// Event loop: an event has come for the connection of this `generation` ([`Ownership::notify`]). If
    /// the connection was idle it is queued now.
    #[inline]
    pub fn notify(&self, generation: u32, read_closed: bool) -> Option<QueuedSlot> {
        match self.slot.ownership.notify(generation, read_closed) {
            Notified::Dispatch => Some(QueuedSlot(self.index)),
            // Its owner will see what happened, or it belonged to an earlier connection.
            Notified::AlreadyOwned | Notified::Stale => None,
        }
    }

    /// Event loop: takes an idle connection, for a deadline or a shutdown ([`Ownership::claim_idle`]).
    ///
    /// # Errors
    /// If the connection is not idle.
    pub fn claim_idle(&self) -> Result<QueuedSlot, NotIdle> {
        let claim = self.slot.ownership.claim_idle();
        claim.map(|()| QueuedSlot(self.index))
    }

    /// The deadline that the last owner left. The event loop may read it at any time: a stale one
    /// only makes it look again.
    #[must_use]
    pub fn deadline(&self) -> Deadline {
        Deadline::from_word(self.slot.deadline.load(Ordering::Relaxed))
    }

    /// Where the connection stands at this moment ([`Ownership::state`]).
    #[must_use]
    pub fn state(&self) -> OwnershipState {
        self.slot.ownership.state()
    }

    /// How many connections the slot has had before this one ([`Ownership::generation`]).
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.slot.ownership.generation()
    }

    /// Whether the peer is known to have ended its side ([`Ownership::is_read_closed`]).
    #[must_use]
    pub fn is_read_closed(&self) -> bool {
        self.slot.ownership.is_read_closed()
    }

    /// Looks at the connection, if there is one and no thread is at it.
    pub fn look<R>(&self, look: impl FnOnce(&Connection<T>) -> R) -> Option<R> {
        match self.slot.connection.try_lock() {
            Ok(connection) => connection.as_deref().map(look),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().as_deref().map(look),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Takes the connection away, unless there is none or a thread is at it. For the end of the server.
    #[must_use]
    pub fn take_if_free(&self) -> Option<Box<Connection<T>>> {
        match self.slot.connection.try_lock() {
            Ok(mut connection) => connection.take(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().take(),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// A connection and the thread's right to touch it, for a turn. The turn has one of three ends:
/// [`wait_until`](OwnedSlot::wait_until), [`requeue`](OwnedSlot::requeue) or
/// [`close`](OwnedSlot::close).
#[derive(Debug)]
#[must_use = "a connection whose turn has no end is left to nobody"]
pub struct OwnedSlot<'a, T = Socket> {
    slot: &'a Slot<T>,
    index: u32,
    running: TurnGuard<'a>,
    connection: MutexGuard<'a, Option<Box<Connection<T>>>>,
}

/// The state of a connection whose turn ended with [`OwnedSlot::wait_until`].
#[derive(Debug)]
#[must_use = "an owner told to look again still owns the connection"]
pub enum WaitOutcome<'a, T = Socket> {
    /// The connection is idle.
    Idle,
    /// Something happened on its socket during the turn, which may have missed it: another turn is due.
    Notified(OwnedSlot<'a, T>),
}

impl<'a, T> OwnedSlot<'a, T> {
    /// The connection. `None` once the end of the server has taken it
    /// ([`take_if_free`](SlotRef::take_if_free)).
    pub fn connection(&mut self) -> Option<&mut Connection<T>> {
        self.connection.as_deref_mut()
    }

    /// Whether the peer has ended its side ([`TurnGuard::read_closed`]).
    #[must_use]
    pub fn read_closed(&self) -> bool {
        self.running.read_closed()
    }

    /// Ends the turn: the connection waits for its peer, or for `deadline`.
    // Each part has to be there before the next owner may come, who looks at all of them.
    #[inline]
    pub fn wait_until(self, deadline: Deadline) -> WaitOutcome<'a, T> {
        let OwnedSlot {
            slot,
            index,
            running,
            connection,
        } = self;
        drop(connection);
        slot.postpone(deadline);
        match running.release() {
            Released::Idle => WaitOutcome::Idle,
            Released::Again(running) => WaitOutcome::Notified(OwnedSlot {
                slot,
                index,
                running,
                connection: slot.lock(),
            }),
        }
    }

    /// Ends the turn: the connection wants another one, as soon as a thread takes it from a queue.
    pub fn requeue(self) -> QueuedSlot {
        drop(self.connection);
        // Of no use to the timers before the next turn has ended.
        self.slot.postpone(Deadline::Exchange(Millis::NEVER));
        self.running.requeue();
        QueuedSlot(self.index)
    }

    /// Ends the turn and the connection, which `end` drops. Returns the slot, which is free then.
    pub fn close(self, end: impl FnOnce(Box<Connection<T>>)) -> u32 {
        let OwnedSlot {
            index,
            running,
            mut connection,
            ..
        } = self;
        let closed = connection.take();
        drop(connection);
        closed.map(end);
        running.free();
        index
    }
}

type SlotChunk<T> = Box<[Slot<T>]>;

/// All slots, allocated in chunks when first used.
#[derive(Debug)]
pub struct Slots<T = Socket> {
    chunks: Box<[OnceLock<SlotChunk<T>>]>,
}

impl<T> Slots<T> {
    /// A table with room for at least `capacity` connections.
    #[must_use]
    pub fn new(capacity: usize) -> Slots<T> {
        let chunks = capacity.div_ceil(CHUNK_SLOTS);
        Slots {
            chunks: (0..chunks).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The number of slots.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.chunks.len() * CHUNK_SLOTS
    }

    /// The slot with this index, which must be below [`Slots::capacity`].
    #[must_use]
    pub fn at(&self, index: u32) -> SlotRef<'_, T> {
        let slot = self.slot(index);
        SlotRef { slot, index }
    }

    /// Begins a turn of the queued connection.
    #[inline]
    pub fn begin(&self, queued: QueuedSlot) -> OwnedSlot<'_, T> {
        let QueuedSlot(index) = queued;
        let slot = self.slot(index);
        OwnedSlot {
            slot,
            index,
            running: slot.ownership.begin(),
            connection: slot.lock(),
        }
    }

    fn slot(&self, index: u32) -> &Slot<T> {
        let index = index as usize;
        let chunk = self.chunks[index / CHUNK_SLOTS]
            .get_or_init(|| (0..CHUNK_SLOTS).map(|_| Slot::new()).collect());
        &chunk[index % CHUNK_SLOTS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_covers_its_capacity_and_slots_stay_where_they_are() {
        let slots: Slots = Slots::new(1_500);
        assert_eq!(slots.capacity(), 2_048);
        let first: *const Slot = slots.slot(0);
        let _ = slots.slot(2_047);
        assert_eq!(first, std::ptr::from_ref(slots.slot(0)));
    }

    #[test]
    fn a_slot_is_small() {
        // Every connection that ever was costs this; the live ones cost their box besides.
        assert!(size_of::<Slot>() <= 32, "{}", size_of::<Slot>());
        assert!(
            size_of::<Connection>() <= 104,
            "{}",
            size_of::<Connection>()
        );
    }
}
