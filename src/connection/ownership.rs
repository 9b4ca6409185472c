//! One atomic word per slot says which thread may touch a connection.
//!
//! The event loop sees readiness, and a worker or the loop itself serves the connection. No call leads
//! from one to the other: the word in this module connects them. All else follows from two rules:
//!
//! 1. Only the event loop turns *idle* into *owned*.
//! 2. Only the owner reads, writes or closes.
//!
//! ```text
//!        open             notify, claim_idle            begin
//! Free --------->  Idle -------------------> Queued ------------> Running -----+
//!  ^                ^                          ^                   | |  ^      | notify
//!  |                |                          |     requeue       | |  |      v
//!  |                |                          +-------------------+ |  |  RunningNotified
//!  |                |                 release                        |  |      |
//!  |                +------------------------------------------------+  +------+
//!  |                                                              release: Again
//!  +---- free, from Running and from RunningNotified; the generation goes up by one
//! ```
//!
//! `requeue` also leads from `RunningNotified` to `Queued`. The verbs come in pairs, one on each side:
//!
//! | event loop | the thread that serves | purpose |
//! |---|---|---|
//! | [`open`](Ownership::open) | [`free`](TurnGuard::free) | a slot gets and loses a connection |
//! | [`notify`](Ownership::notify), [`claim_idle`](Ownership::claim_idle) | [`begin`](Ownership::begin) | the connection changes hands |
//! | [`notify`](Ownership::notify) | [`release`](TurnGuard::release) | an event is seen before the release |
//!
//! **One end for each `begin`.** `begin` gives the owner a guard, [`TurnGuard`]. `release`, `requeue` and
//! `free` consume the guard, so no thread can release a connection twice. The table of slots
//! (`server::slots`) wraps guard and connection together, and gives the right to begin only once.
//!
//! **No lost wake-up.** Readiness is edge-triggered: the kernel reports it once. An event for a running
//! connection may be about bytes that came after the owner's last `recv`. `notify` then sets
//! `RunningNotified`, and `release` tells the owner to take another turn. No release can miss an event,
//! because both change one word by compare-and-swap.
//!
//! **No stale event.** One batch of events may hold two for one slot. The first ends in a close, the slot
//! is opened again for a new socket, and then the second event comes. Its token holds the old generation,
//! so `notify` finds it stale. To fail, 32 bits would have to wrap within one batch.
//!
//! **The loop on both sides.** For a connection that could not be registered, the event loop itself calls
//! `claim_idle`, `begin` and `free`.
//!
//! # The word
//!
//! ```text
//! 63            32 31        9        8        7       0
//! |  generation   |  unused  | READ_CLOSED |   state   |
//! ```
//!
//! `READ_CLOSED` stays set for the life of the connection. Data and FIN can share one edge; then a short
//! `recv` does not prove that the socket is empty, and no event will announce the end of stream again.
//! An owner that finds the bit set reads until `WouldBlock` or the end.
//!
//! # Memory ordering
//!
//! Every change is a compare-and-swap, so the changes of one word form an unbroken release sequence:
//! an Acquire sees what every Release before it published, whatever transitions lie between. So each
//! function needs only the ordering in its comment. Loads before a swap are Relaxed: the swap checks them.
//!
//! `tests/model/ownership.rs` runs the interleavings under loom, and shows with planted faults that it
//! would find them.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// The operations that [`Ownership`] needs of an atomic 64-bit word. The model checker implements them too.
pub trait AtomicWord {
    /// A word with this value.
    fn new(word: u64) -> Self;
    /// Reads the word.
    fn load(&self, ordering: Ordering) -> u64;
    /// Replaces `current` by `new`.
    ///
    /// # Errors
    /// The value found, if it is not `current`; the word is then unchanged.
    fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64>;
}

impl AtomicWord for AtomicU64 {
    fn new(word: u64) -> Self {
        AtomicU64::new(word)
    }

    fn load(&self, ordering: Ordering) -> u64 {
        self.load(ordering)
    }

    fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        self.compare_exchange(current, new, success, failure)
    }
}

/// The state of a slot: which thread, if any, owns its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnershipState {
    /// The slot has no connection.
    Free,
    /// No thread owns the connection, which waits for the peer or for its deadline.
    Idle,
    /// The connection is on its way to a thread that will read its socket in any case.
    Queued,
    /// The thread that serves the connection owns it.
    Running,
    /// As `Running`, and an event has come since the turn began.
    RunningNotified,
}

impl OwnershipState {
    /// The state in the low byte of a word.
    ///
    /// # Panics
    /// If [`Ownership`] never writes that byte.
    #[must_use]
    pub fn of(word: u64) -> OwnershipState {
        match word & STATE_MASK {
            FREE => OwnershipState::Free,
            IDLE => OwnershipState::Idle,
            QUEUED => OwnershipState::Queued,
            RUNNING => OwnershipState::Running,
            RUNNING_NOTIFIED => OwnershipState::RunningNotified,
            _ => panic!("no state in word {word:#018x}"),
        }
    }
}

const STATE_MASK: u64 = 0xff;
const FREE: u64 = 0;
const IDLE: u64 = 1;
const QUEUED: u64 = 2;
const RUNNING: u64 = 3;
const RUNNING_NOTIFIED: u64 = 4;

const READ_CLOSED: u64 = 1 << 8;
const GENERATION_SHIFT: u32 = 32;

/// The action that [`Ownership::notify`] asks of the event loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a dispatch that is not queued leaves the connection without an owner"]
pub enum Notified {
    /// The connection was idle: the event loop queues it, exactly once.
    Dispatch,
    /// The connection has an owner, who will see the event.
    AlreadyOwned,
    /// The event was meant for an earlier connection in this slot.
    Stale,
}

/// The reason why [`Ownership::claim_idle`] could not claim a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotIdle {
    /// The connection has an owner, or had one a moment ago. The caller tries again later.
    Busy,
    /// The slot has no connection.
    Free,
}

/// Exclusive access to a connection by the thread that serves it, from [`Ownership::begin`] on. The owner
/// ends it by [`release`](TurnGuard::release), [`requeue`](TurnGuard::requeue) or
/// [`free`](TurnGuard::free).
#[derive(Debug)]
#[must_use = "a connection that is not released, requeued or freed has no owner"]
pub struct TurnGuard<'a, A: AtomicWord = AtomicU64> {
    ownership: &'a Ownership<A>,
    read_closed: bool,
}

/// The result of [`TurnGuard::release`].
#[derive(Debug)]
#[must_use = "after `Again` the caller still owns the connection"]
pub enum Released<'a, A: AtomicWord = AtomicU64> {
    /// The connection is idle. The caller must not touch it any more.
    Idle,
    /// An event has come meanwhile: the caller still owns the connection and takes another turn.
    Again(TurnGuard<'a, A>),
}

/// The ownership word of one slot.
#[derive(Debug)]
pub struct Ownership<A: AtomicWord = AtomicU64> {
    word: A,
}

impl<A: AtomicWord> Default for Ownership<A> {
    fn default() -> Self {
        Ownership::new()
    }
}

impl<A: AtomicWord> Ownership<A> {
    /// A free slot of generation 0.
    #[must_use]
    pub fn new() -> Self {
        Ownership { word: A::new(FREE) }
    }

    /// Loop side. Free to idle: the slot now holds a new connection.
    ///
    /// Returns the generation for the connection's mio token, so the caller registers the socket
    /// afterwards. [`free`](TurnGuard::free) ends this life of the slot.
    ///
    /// # Panics
    /// If the slot is not free.
    pub fn open(&self) -> u32 {
        // Acquire pairs with `free`: the last owner has cleaned up before this life begins. Release pairs
        // with `begin`: the thread that serves sees the connection that was stored.
        let before = self.try_change(Ordering::AcqRel, |word| {
            (state(word) == FREE).then(|| with_state(word, IDLE))
        });
        match before {
            Ok(word) => generation(word),
            // To go on would mean two owners, which is worse than a panic.
            Err(word) => panic!(
                "open on a connection that is {:?}",
                OwnershipState::of(word)
            ),
        }
    }

    /// Loop side. Records a readiness event that carries `generation`; `read_closed` says that the event
    /// reports RDHUP, HUP or an error.
    ///
    /// On [`Notified::Dispatch`] the caller queues the slot, and some thread will call
    /// [`begin`](Ownership::begin). A thread that is running the connection finds the event in its
    /// [`release`](TurnGuard::release).
    pub fn notify(&self, generation: u32, read_closed: bool) -> Notified {
        let flag = if read_closed { READ_CLOSED } else { 0 };
        // Acquire pairs with `release`: a loop that dispatches owns what the last owner left. Release
        // pairs with `begin` and `release`: a thread that sees this event also sees the bytes behind it.
        //
        // An event that changes nothing (queued, or notified already) is swapped in as well. A mere
        // load could be older than the owner's `begin`, and the owner's `recv` older than the bytes: then
        // neither side would handle the event.
        let before = self.try_change(Ordering::AcqRel, |word| {
            let next = match state(word) {
                _ if self::generation(word) != generation => return None,
                IDLE | QUEUED => QUEUED,
                RUNNING | RUNNING_NOTIFIED => RUNNING_NOTIFIED,
                _ => return None,
            };
            Some(with_state(word, next) | flag)
        });
        match before {
            Ok(word) if state(word) == IDLE => Notified::Dispatch,
            Ok(_) => Notified::AlreadyOwned,
            Err(_) => Notified::Stale,
        }
    }

    /// Loop side. Takes an idle connection of any generation, for a deadline or a shutdown.
    ///
    /// On success the caller owns the connection as after an event: it queues the slot for another
    /// thread's [`begin`](Ownership::begin), or calls `begin` itself.
    ///
    /// # Errors
    /// If the connection is not idle.
    pub fn claim_idle(&self) -> Result<(), NotIdle> {
        // As in `notify`: Acquire pairs with `release`, Release pairs with `begin`.
        let before = self.try_change(Ordering::AcqRel, |word| {
            (state(word) == IDLE).then(|| with_state(word, QUEUED))
        });
        match before {
            Ok(_) => Ok(()),
            Err(word) if state(word) == FREE => Err(NotIdle::Free),
            Err(_) => Err(NotIdle::Busy),
        }
    }

    /// The state of the connection at this moment.
    ///
    /// For the event loop, `Idle` stays true until the loop itself changes it (rule 1). Every other
    /// result may be outdated when the caller gets it, and is for tests and diagnostics.
    #[must_use]
    pub fn state(&self) -> OwnershipState {
        // Acquire pairs with `release` and `free`: a deadline read after an `Idle` is the one that the
        // last owner stored, and no thread touches a slot that is seen `Free`.
        OwnershipState::of(self.word.load(Ordering::Acquire))
    }

    /// The number of connections that the slot has had before this one; slot and generation together name
    /// the connection. For the owner, and for the event loop, which alone opens slots.
    #[must_use]
    pub fn generation(&self) -> u32 {
        // Relaxed: only the owner changes it.
        generation(self.word.load(Ordering::Relaxed))
    }

    /// Serving side. Queued to running: takes over from [`notify`](Ownership::notify),
    /// [`claim_idle`](Ownership::claim_idle) or [`requeue`](TurnGuard::requeue).
    pub fn begin(&self) -> TurnGuard<'_, A> {
        // Acquire pairs with `open`, `notify` and `requeue`. No Release: the owner has not changed
        // anything yet.
        let before = self.change(Ordering::Acquire, |word| {
            debug_assert_eq!(state(word), QUEUED, "queued twice");
            with_state(word, RUNNING)
        });
        TurnGuard {
            ownership: self,
            read_closed: before & READ_CLOSED != 0,
        }
    }

    /// Whether the peer is known to have closed its side or the whole connection. Any thread may ask
    /// while the connection is owned; this serves connections that wait in no queue.
    pub fn is_read_closed(&self) -> bool {
        // Relaxed: no operation on the socket depends on the result.
        self.word.load(Ordering::Relaxed) & READ_CLOSED != 0
    }

    /// Applies `next` until it refuses or its result is stored. `Ok` is the word before the change, `Err`
    /// the word that `next` refused.
    fn try_change(&self, success: Ordering, next: impl Fn(u64) -> Option<u64>) -> Result<u64, u64> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let new = next(word).ok_or(word)?;
            match self
                .word
                .compare_exchange(word, new, success, Ordering::Relaxed)
            {
                Ok(_) => return Ok(word),
                Err(found) => word = found,
            }
        }
    }

    /// Applies `next` until its result is stored; the caller's part in the protocol rules out a refusal.
    /// Returns the word before the change.
    fn change(&self, success: Ordering, next: impl Fn(u64) -> u64) -> u64 {
        match self.try_change(success, |word| Some(next(word))) {
            Ok(word) | Err(word) => word,
        }
    }
}

impl<'a, A: AtomicWord> TurnGuard<'a, A> {
    /// Whether the peer has closed its side: then the owner reads until `WouldBlock` or the end of
    /// stream.
    #[must_use]
    pub fn read_closed(&self) -> bool {
        self.read_closed
    }

    /// Running to idle: the socket would block, and the new deadline is stored.
    ///
    /// If the loop has called [`notify`](Ownership::notify) since the caller began or last released, the
    /// caller keeps the connection and the result is [`Released::Again`].
    pub fn release(self) -> Released<'a, A> {
        let ownership = self.end();
        // Release pairs with the Acquire of `notify`, `claim_idle` and `state`: the next owner sees what
        // this one did. Acquire pairs with `notify`: after `Again` the owner sees the bytes behind the
        // event.
        let before = ownership.change(Ordering::AcqRel, |word| match state(word) {
            RUNNING => with_state(word, IDLE),
            _ => with_state(word, RUNNING),
        });
        if state(before) == RUNNING {
            return Released::Idle;
        }
        Released::Again(TurnGuard {
            ownership,
            read_closed: before & READ_CLOSED != 0,
        })
    }

    /// Running to queued: a bounded turn ended with work left.
    ///
    /// Afterwards the caller puts the slot at the back of a queue, and the thread that takes it calls
    /// [`begin`](Ownership::begin). A notification is absorbed, because that thread reads the socket in
    /// any case.
    pub fn requeue(self) {
        // Release pairs with `begin`, for the next owner. An absorbed event reaches that owner as well,
        // through the release sequence.
        self.end()
            .change(Ordering::Release, |word| with_state(word, QUEUED));
    }

    /// Running to free: the socket is closed and the slot emptied.
    ///
    /// The generation goes up by one and the flags are cleared. So [`notify`](Ownership::notify) finds
    /// later events for the old connection stale, even after the next [`open`](Ownership::open).
    pub fn free(self) {
        // Release pairs with `open` and `state`: the slot is empty before it is filled again.
        self.end().change(Ordering::Release, |word| {
            u64::from(generation(word).wrapping_add(1)) << GENERATION_SHIFT | FREE
        });
    }

    /// Ends this guard without a panic; the caller changes the word once more.
    fn end(self) -> &'a Ownership<A> {
        let ownership = self.ownership;
        mem::forget(self);
        ownership
    }
}

impl<A: AtomicWord> Drop for TurnGuard<'_, A> {
    fn drop(&mut self) {
        debug_assert!(thread::panicking(), "a connection is left without an owner");
    }
}

fn state(word: u64) -> u64 {
    word & STATE_MASK
}

fn with_state(word: u64, state: u64) -> u64 {
    word & !STATE_MASK | state
}

fn generation(word: u64) -> u32 {
    (word >> GENERATION_SHIFT) as u32
}

#[cfg(test)]
mod tests;
