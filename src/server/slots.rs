//! The table of connections: slots that never move and are reused with generations.
//!
//! The event loop and its workers share the slots. The ownership word of a slot says which thread may
//! touch the connection, and the deadline beside it is all that the timers read. Types guard both:
//!
//! ```text
//!   event loop   SlotRef::open, notify, claim_idle     ->  QueuedSlot   is in a queue
//!   any thread   Slots::begin(QueuedSlot)              ->  OwnedSlot    the connection, for a turn
//!                OwnedSlot::wait_until(deadline)       ->  idle, or the OwnedSlot again
//!                OwnedSlot::requeue                    ->  QueuedSlot
//!                OwnedSlot::close                      ->  the slot is free
//! ```
//!
//! Neither type can be copied. So a connection is queued once and begun once, and each turn ends once.
//!
//! # Memory after a burst
//!
//! Memory of a connection is freed when it closes; memory of a slot is kept for the next burst. After a
//! million connections the slots here take 32 MB, the free numbers in the [`acceptor`](super::acceptor)
//! 4 MB, and the event loop's flags for filed slots 1 MB. With `limits.connections_per_ip` the table of
//! clients by slot takes 32 MB more. The timer wheel keeps half a megabyte. The table of addresses keeps only
//! addresses that have open connections.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

use crate::clock::Millis;
use crate::connection::client_socket::ClientSocket;
use crate::connection::deadline::Deadline;
use crate::connection::ownership::{
    NotIdle, Notified, Ownership, OwnershipState, Released, TurnGuard,
};
use crate::connection::session::Session;

/// Connections over the limit that are kept open just long enough to be refused.
pub const REFUSAL_RESERVE: usize = 64;

/// Slots that are allocated together: enough to make allocations rare, few enough to waste little.
const CHUNK_SLOTS: usize = 1024;

/// A socket and the state of its connection.
#[derive(Debug)]
pub struct Connection<T = ClientSocket> {
    /// The socket. Dropping it closes it and removes it from the poll.
    pub socket: T,
    /// The state of the protocol.
    pub session: Session,
}

/// A place for one connection.
#[derive(Debug)]
pub struct Slot<T = ClientSocket> {
    /// Which thread may touch `connection`.
    ownership: Ownership,
    /// When the connection wants its next turn if no event comes.
    deadline: AtomicU64,
    /// Only the owner locks it, so the lock is never contended. The lock makes sharing safe without
    /// `unsafe`.
    connection: Mutex<Option<Box<Connection<T>>>>,
}

/// An owned connection that waits for its turn. The holder must give it the turn. It is in a queue, or
/// with the flight that the connection waits for.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a connection that is not queued is lost"]
pub struct QueuedSlot(u32);

impl QueuedSlot {
    /// The number of the slot.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.0
    }

    /// A queued slot for tests of the queues.
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
        // A turn that panics poisons the lock. Its connection is dropped, and the slot remains usable.
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores the deadline, as the owner. A request costs the timers no more than that: the wheel
    /// ([`deadlines`](super::deadlines)) reads the deadline at its next check.
    fn set_deadline(&self, deadline: Deadline) {
        self.deadline.store(deadline.to_word(), Ordering::Relaxed);
    }
}

/// A slot and its number, for the event loop and for threads that do not own the connection.
#[derive(Debug)]
pub struct SlotRef<'a, T = ClientSocket> {
    slot: &'a Slot<T>,
    index: u32,
}

impl<'a, T> SlotRef<'a, T> {
    /// Event loop: fills a free slot with a connection that waits for its first turn.
    ///
    /// # Panics
    /// If the slot is in use.
    pub fn open(&self, connection: Box<Connection<T>>, deadline: Deadline) -> QueuedSlot {
        let Slot { ownership, .. } = self.slot;
        *self.slot.lock() = Some(connection);
        self.slot.set_deadline(deadline);
        ownership.open();
        let claim = ownership.claim_idle();
        debug_assert_eq!(claim, Ok(()), "no other thread knows it");
        QueuedSlot(self.index)
    }

    /// Event loop: notes an event for the connection of this `generation` ([`Ownership::notify`]). Returns
    /// the connection to be queued if it was idle.
    #[inline]
    pub fn notify(&self, generation: u32, read_closed: bool) -> Option<QueuedSlot> {
        match self.slot.ownership.notify(generation, read_closed) {
            Notified::Dispatch => Some(QueuedSlot(self.index)),
            // The owner will see the event, or the event belongs to an earlier connection.
            Notified::AlreadyOwned | Notified::Stale => None,
        }
    }

    /// Event loop: claims an idle connection, for a deadline or a shutdown ([`Ownership::claim_idle`]).
    ///
    /// # Errors
    /// If the connection is not idle.
    pub fn claim_idle(&self) -> Result<QueuedSlot, NotIdle> {
        let claim = self.slot.ownership.claim_idle();
        claim.map(|()| QueuedSlot(self.index))
    }

    /// The deadline that the last owner stored. The event loop may read it at any time: an outdated one
    /// only causes one more check.
    #[must_use]
    pub fn deadline(&self) -> Deadline {
        Deadline::from_word(self.slot.deadline.load(Ordering::Relaxed))
    }

    /// The state of the connection at this moment ([`Ownership::state`]).
    #[must_use]
    pub fn state(&self) -> OwnershipState {
        self.slot.ownership.state()
    }

    /// How many connections the slot has had before this one ([`Ownership::generation`]).
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.slot.ownership.generation()
    }

    /// Whether the peer is known to have closed its side ([`Ownership::is_read_closed`]).
    #[must_use]
    pub fn is_read_closed(&self) -> bool {
        self.slot.ownership.is_read_closed()
    }

    /// Calls `inspect` with the connection, unless there is none or a thread is using it.
    pub fn inspect<R>(&self, inspect: impl FnOnce(&Connection<T>) -> R) -> Option<R> {
        match self.slot.connection.try_lock() {
            Ok(connection) => connection.as_deref().map(inspect),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().as_deref().map(inspect),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Takes the connection, unless there is none or a thread is using it. For the end of the server.
    #[must_use]
    pub fn take_if_free(&self) -> Option<Box<Connection<T>>> {
        match self.slot.connection.try_lock() {
            Ok(mut connection) => connection.take(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().take(),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// A connection that a thread owns for a turn. The turn ends in one of three ways:
/// [`wait_until`](OwnedSlot::wait_until), [`requeue`](OwnedSlot::requeue) or
/// [`close`](OwnedSlot::close).
#[derive(Debug)]
#[must_use = "a connection whose turn does not end is lost"]
pub struct OwnedSlot<'a, T = ClientSocket> {
    slot: &'a Slot<T>,
    index: u32,
    running: TurnGuard<'a>,
    connection: MutexGuard<'a, Option<Box<Connection<T>>>>,
}

/// The state of a connection whose turn ended with [`OwnedSlot::wait_until`].
#[derive(Debug)]
#[must_use = "after `Notified` the caller still owns the connection"]
pub enum WaitOutcome<'a, T = ClientSocket> {
    /// The connection is idle.
    Idle,
    /// An event came during the turn, which may have missed it: the connection needs another turn.
    Notified(OwnedSlot<'a, T>),
}

impl<'a, T> OwnedSlot<'a, T> {
    /// The connection; `None` once the end of the server has taken it
    /// ([`take_if_free`](SlotRef::take_if_free)).
    pub fn connection(&mut self) -> Option<&mut Connection<T>> {
        self.connection.as_deref_mut()
    }

    /// Whether the peer has closed its side ([`TurnGuard::read_closed`]).
    #[must_use]
    pub fn read_closed(&self) -> bool {
        self.running.read_closed()
    }

    /// Ends the turn: the connection waits for its peer, or for `deadline`.
    // Everything must be stored before the release, after which another thread may own the slot.
    #[inline]
    pub fn wait_until(self, deadline: Deadline) -> WaitOutcome<'a, T> {
        let OwnedSlot {
            slot,
            index,
            running,
            connection,
        } = self;
        drop(connection);
        slot.set_deadline(deadline);
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

    /// Ends the turn: the connection wants another one, as soon as a thread takes it from a queue. Of the deadlines
    /// only that of a handshake stays: it shows that the connection has sent no request.
    pub fn requeue(self, deadline: Deadline) -> QueuedSlot {
        drop(self.connection);
        // The timers have no use for a deadline before the next turn has ended.
        self.slot.set_deadline(match deadline {
            Deadline::Handshake(_) => deadline,
            _ => Deadline::Exchange(Millis::NEVER),
        });
        self.running.requeue();
        QueuedSlot(self.index)
    }

    /// Ends the turn and the connection, which `end` drops. Returns the number of the slot, now free.
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
pub struct Slots<T = ClientSocket> {
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

    /// Begins the turn of a queued connection.
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
        // Every slot ever used costs this; an open connection costs its box besides.
        assert!(size_of::<Slot>() <= 32, "{}", size_of::<Slot>());
        assert!(
            size_of::<Connection>() <= 104,
            "{}",
            size_of::<Connection>()
        );
    }
}
