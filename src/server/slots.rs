//! Where the connections live: a table of slots that never moves, reused with generations.
//!
//! A slot is what the event loop and its workers share. Its ownership word says who may touch the
//! connection; the deadline beside it is all that the timers need.
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

use crate::connection::deadline::Deadline;
use crate::connection::ownership::Ownership;
use crate::connection::session::Session;
use crate::connection::transport::Socket;

/// Slots that are allocated together: enough to make allocation rare, little enough to waste.
const CHUNK_SLOTS: usize = 1024;

/// A socket and the state of its connection.
#[derive(Debug)]
pub struct Connection {
    /// The socket; dropping it closes it and takes it out of the poll.
    pub socket: Socket,
    /// The protocol's state.
    pub session: Session,
    /// Whether it has a place under the limits. One that is being refused has none.
    pub is_counted: bool,
}

/// One place for a connection.
#[derive(Debug)]
pub struct Slot {
    /// Who may touch `connection`.
    pub ownership: Ownership,
    /// When the connection wants its next turn if its socket stays silent.
    deadline: AtomicU64,
    /// Only the owner locks it, so the lock is never contended; it is what makes sharing safe
    /// without `unsafe`.
    connection: Mutex<Option<Box<Connection>>>,
}

impl Slot {
    fn new() -> Slot {
        Slot {
            ownership: Ownership::new(),
            deadline: AtomicU64::new(0),
            connection: Mutex::new(None),
        }
    }

    /// The connection, for its owner.
    pub fn lock(&self) -> MutexGuard<'_, Option<Box<Connection>>> {
        // A turn that panicked poisons the lock; its connection is dropped, the slot is still good.
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the connection away, unless there is none or a thread is at it. For the end of the server.
    #[must_use]
    pub fn take_if_free(&self) -> Option<Box<Connection>> {
        match self.connection.try_lock() {
            Ok(mut connection) => connection.take(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().take(),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The deadline that the last owner left. The event loop may read it at any time: a stale one
    /// only makes it look again.
    #[must_use]
    pub fn deadline(&self) -> Deadline {
        Deadline::from_word(self.deadline.load(Ordering::Relaxed))
    }

    /// Moves the deadline, as the owner. This is all that a request costs the timers: the wheel
    /// (`EventLoop::turn_wheel`) finds it when it looks next.
    pub fn postpone(&self, deadline: Deadline) {
        self.deadline.store(deadline.to_word(), Ordering::Relaxed);
    }
}

/// All slots, allocated in chunks when first used.
#[derive(Debug)]
pub struct Slots {
    chunks: Box<[OnceLock<Box<[Slot]>>]>,
}

impl Slots {
    /// A table with room for at least `capacity` connections.
    #[must_use]
    pub fn new(capacity: usize) -> Slots {
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
    pub fn at(&self, index: u32) -> &Slot {
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
        let slots = Slots::new(1_500);
        assert_eq!(slots.capacity(), 2_048);
        let first: *const Slot = slots.at(0);
        let _ = slots.at(2_047);
        assert_eq!(first, std::ptr::from_ref(slots.at(0)));
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
