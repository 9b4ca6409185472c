//! Which thread may touch a connection: one atomic word says it.
//!
//! The event loop sees readiness, some thread serves (a worker, or the loop's own), and no call leads
//! from one to the other.
//! What joins them is the word kept here, one per slot. Two rules, and everything else follows:
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
//!  |                                                              release says Again
//!  +---- free, from Running and from RunningNotified; the generation goes up by one
//! ```
//!
//! `requeue` is open to `RunningNotified` too. The verbs come in pairs, one on each side:
//!
//! | event loop | the thread that serves | |
//! |---|---|---|
//! | [`open`](Ownership::open) | [`free`](TurnGuard::free) | a slot gets a connection and loses it |
//! | [`notify`](Ownership::notify), [`claim_idle`](Ownership::claim_idle) | [`begin`](Ownership::begin) | handed over, taken over |
//! | [`notify`](Ownership::notify) | [`release`](TurnGuard::release) | the last look before letting go |
//!
//! **One end for each beginning.** `begin` gives the owner a guard, [`TurnGuard`]. `release`, `requeue` and
//! `free` consume it, so a thread that has let go cannot let go again. The table of slots wraps the guard
//! together with the connection (`server::slots`), and hands out the right to begin only once.
//!
//! **No lost wake-up.** Readiness is edge-triggered: the kernel says it once. An event for a running
//! connection may be about bytes that came after the owner's last `recv`. `notify` leaves
//! `RunningNotified` behind, `release` finds it and sends the owner round again. Nobody can let go
//! past an event, because both change the same word by compare-and-swap.
//!
//! **No stale event.** One batch of events may hold two for the same slot. The first ends in a close,
//! the slot is opened again for a new socket, and then the second comes. The generation in its token
//! is the old one, and `notify` calls it stale. 32 bits would have to wrap within one batch to fail.
//!
//! **A loop that acts itself** (for a connection that could not be registered) plays both parts:
//! `claim_idle`, `begin`, `free`.
//!
//! # The word
//!
//! ```text
//! 63            32 31        9        8        7       0
//! |  generation   |  unused  | READ_CLOSED |   state   |
//! ```
//!
//! `READ_CLOSED` is sticky for the life of the connection. Data and FIN can share one edge, and then
//! a short `recv` is no sign that the socket is drained: nothing will announce the end of stream
//! again. An owner that was told so reads until `WouldBlock` or the end.
//!
//! # Memory ordering
//!
//! Every change is a compare-and-swap, so the changes of one word form an unbroken release sequence:
//! an Acquire sees what every Release before it published, whatever transitions lie between. That is
//! why each verb needs only the half it says in its comment. Loads that precede a swap are Relaxed:
//! the swap checks them.
//!
//! `tests/model/ownership.rs` runs the interleavings under loom, and plants faults to show that they
//! would be found.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// What [`Ownership`] asks of an atomic 64-bit word; the model revalidator brings its own.
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

/// Where a connection stands between the event loop and the threads that serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnershipState {
    /// The slot has no connection.
    Free,
    /// Nobody owns it; it waits for the peer or for its deadline.
    Idle,
    /// On its way to a thread that will look at the socket anyway.
    Queued,
    /// The thread that serves it owns it.
    Running,
    /// The same, and something has happened since it began.
    RunningNotified,
}

impl OwnershipState {
    /// The state held in the low byte of a word.
    ///
    /// # Panics
    /// If the byte is none that [`Ownership`] writes.
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

/// What [`Ownership::notify`] asks of the event loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a dispatch that is not queued leaves the connection to nobody"]
pub enum Notified {
    /// The connection was idle: queue it, exactly once.
    Dispatch,
    /// Its owner will see the event; nothing to do.
    AlreadyOwned,
    /// The event was meant for an earlier connection in this slot.
    Stale,
}

/// Why [`Ownership::claim_idle`] could not claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotIdle {
    /// Somebody owns it, or did a moment ago: ask again at the next tick.
    Busy,
    /// The slot has no connection.
    Free,
}

/// The ownership of a connection by the thread that serves it, from [`Ownership::begin`] on. The owner
/// ends it by [`release`](TurnGuard::release), [`requeue`](TurnGuard::requeue) or [`free`](TurnGuard::free).
#[derive(Debug)]
#[must_use = "a connection that is not released, requeued or freed is left to nobody"]
pub struct TurnGuard<'a, A: AtomicWord = AtomicU64> {
    ownership: &'a Ownership<A>,
    read_closed: bool,
}

/// The answer of [`TurnGuard::release`] to the owner.
#[derive(Debug)]
#[must_use = "an owner told to look again still owns the connection"]
pub enum Released<'a, A: AtomicWord = AtomicU64> {
    /// Let go. The caller must not touch the connection any more.
    Idle,
    /// Something happened meanwhile: still owned, take another turn.
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

    /// Loop side. Free to idle: the slot has been filled with a new connection.
    ///
    /// Returns the generation that belongs into the connection's mio token, so register the socket
    /// afterwards. The other end of this life is [`free`](TurnGuard::free).
    ///
    /// # Panics
    /// If the slot is not free.
    pub fn open(&self) -> u32 {
        // Acquire pairs with `free`: the last owner's cleaning up lies before this life. Release
        // pairs with `begin`: the thread that serves sees the connection that was stored.
        let before = self.try_change(Ordering::AcqRel, |word| {
            (state(word) == FREE).then(|| with_state(word, IDLE))
        });
        match before {
            Ok(word) => generation(word),
            // Going on would mean two owners, which is worse than a panic.
            Err(word) => panic!(
                "open on a connection that is {:?}",
                OwnershipState::of(word)
            ),
        }
    }

    /// Loop side. A readiness event carrying `generation` has come; `read_closed` says that it tells
    /// of RDHUP, HUP or an error.
    ///
    /// On [`Notified::Dispatch`] the caller queues the slot and some thread will
    /// [`begin`](Ownership::begin). One that runs finds the event in its
    /// [`release`](TurnGuard::release).
    pub fn notify(&self, generation: u32, read_closed: bool) -> Notified {
        let flag = if read_closed { READ_CLOSED } else { 0 };
        // Acquire pairs with `release`: a loop that dispatches owns what the last owner left. Release
        // pairs with `begin` and `release`: whoever finds this event finds what it is about.
        //
        // An event that changes nothing (queued, or notified already) is swapped in all the same. A
        // mere load could be older than the owner's `begin`, and the owner's `recv` older than the
        // bytes: each would rely on the other.
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

    /// Loop side. Takes an idle connection of whatever generation, for a deadline or a shutdown.
    ///
    /// If it was, the caller owns it as if an event had come: it queues the slot for somebody's
    /// [`begin`](Ownership::begin), or calls that itself.
    ///
    /// # Errors
    /// If the connection is not idle.
    pub fn claim_idle(&self) -> Result<(), NotIdle> {
        // The same pairs as `notify`: Acquire with `release`, Release with `begin`.
        let before = self.try_change(Ordering::AcqRel, |word| {
            (state(word) == IDLE).then(|| with_state(word, QUEUED))
        });
        match before {
            Ok(_) => Ok(()),
            Err(word) if state(word) == FREE => Err(NotIdle::Free),
            Err(_) => Err(NotIdle::Busy),
        }
    }

    /// Where the connection stands at this moment.
    ///
    /// For the event loop, `Idle` stays true until the loop itself changes it (rule 1). Every other
    /// answer may be outdated when it arrives: this is for tests and diagnostics.
    #[must_use]
    pub fn state(&self) -> OwnershipState {
        // Acquire pairs with `release` and `free`: the deadline read after an `Idle` is the one the
        // last owner stored, and a slot seen `Free` is one nobody touches.
        OwnershipState::of(self.word.load(Ordering::Acquire))
    }

    /// How many connections the slot has had before this one: with the slot it names the connection. For the
    /// owner, and for the event loop, which alone opens slots.
    #[must_use]
    pub fn generation(&self) -> u32 {
        // Relaxed: only the owner changes it.
        generation(self.word.load(Ordering::Relaxed))
    }

    /// Serving side. Queued to running: takes over what [`notify`](Ownership::notify),
    /// [`claim_idle`](Ownership::claim_idle) or [`requeue`](TurnGuard::requeue) handed over.
    pub fn begin(&self) -> TurnGuard<'_, A> {
        // Acquire pairs with `open`, `notify` and `requeue`. Nothing has been done yet that anybody
        // would have to see, so no Release.
        let before = self.change(Ordering::Acquire, |word| {
            debug_assert_eq!(state(word), QUEUED, "queued twice");
            with_state(word, RUNNING)
        });
        TurnGuard {
            ownership: self,
            read_closed: before & READ_CLOSED != 0,
        }
    }

    /// Whether the peer is known to have ended its side of the connection, or all of it. Anybody may
    /// ask while the connection is owned: for one that waits in no queue.
    pub fn is_read_closed(&self) -> bool {
        // Relaxed: nothing is done with the socket because of it.
        self.word.load(Ordering::Relaxed) & READ_CLOSED != 0
    }

    /// Applies `next` until it is neither refused nor overtaken; `Ok` is the word before the change,
    /// `Err` the word that `next` refused.
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

    /// Applies `next`, which the caller's part in the protocol allows for certain, until it is not
    /// overtaken. Returns the word before the change.
    fn change(&self, success: Ordering, next: impl Fn(u64) -> u64) -> u64 {
        match self.try_change(success, |word| Some(next(word))) {
            Ok(word) | Err(word) => word,
        }
    }
}

impl<'a, A: AtomicWord> TurnGuard<'a, A> {
    /// Whether the peer has ended its side: read until `WouldBlock` or the end of stream.
    #[must_use]
    pub fn read_closed(&self) -> bool {
        self.read_closed
    }

    /// Running to idle: the socket would block, and the new deadline is stored.
    ///
    /// If the loop has called [`notify`](Ownership::notify) since the caller began or last came
    /// here, the connection stays the caller's and the answer is [`Released::Again`].
    pub fn release(self) -> Released<'a, A> {
        let ownership = self.end();
        // Release pairs with the Acquire of `notify`, `claim_idle` and `state`: the next owner sees
        // what this one did. Acquire pairs with `notify`: after `Again` the owner sees what the
        // event was about.
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
    /// Afterwards the caller puts the slot at the back of the queue, and whoever takes it calls
    /// [`begin`](Ownership::begin). A notification is absorbed: that thread looks anyway.
    pub fn requeue(self) {
        // Release pairs with `begin`, for the next owner. An absorbed event reaches it as well,
        // through the release sequence.
        self.end()
            .change(Ordering::Release, |word| with_state(word, QUEUED));
    }

    /// Running to free: the socket is closed and the slot emptied.
    ///
    /// The generation goes up by one and the flags are cleared, so events still to come for the old
    /// connection are stale to [`notify`](Ownership::notify), even after the next
    /// [`open`](Ownership::open).
    pub fn free(self) {
        // Release pairs with `open` and `state`: the slot is empty before it is filled again.
        self.end().change(Ordering::Release, |word| {
            u64::from(generation(word).wrapping_add(1)) << GENERATION_SHIFT | FREE
        });
    }

    /// The word, whose next change ends this guard.
    fn end(self) -> &'a Ownership<A> {
        let ownership = self.ownership;
        mem::forget(self);
        ownership
    }
}

impl<A: AtomicWord> Drop for TurnGuard<'_, A> {
    fn drop(&mut self) {
        debug_assert!(thread::panicking(), "a connection is left to nobody");
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
