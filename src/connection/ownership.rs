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
//! | [`open`](Ownership::open) | [`free`](Ownership::free) | a slot gets a connection and loses it |
//! | [`notify`](Ownership::notify), [`claim_idle`](Ownership::claim_idle) | [`begin`](Ownership::begin) | handed over, taken over |
//! | [`notify`](Ownership::notify) | [`release`](Ownership::release) | the last look before letting go |
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
//! `tests/ownership_model.rs` runs the interleavings under loom, and plants faults to show that they
//! would be found.

use std::sync::atomic::{AtomicU64, Ordering};

/// What [`Ownership`] asks of an atomic 64-bit word; the model checker brings its own.
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
pub enum State {
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

impl State {
    /// The state held in the low byte of a word.
    ///
    /// # Panics
    /// If the byte is none that [`Ownership`] writes.
    #[must_use]
    pub fn of(word: u64) -> State {
        match word & STATE_MASK {
            FREE => State::Free,
            IDLE => State::Idle,
            QUEUED => State::Queued,
            RUNNING => State::Running,
            RUNNING_NOTIFIED => State::RunningNotified,
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

/// What [`Ownership::claim_idle`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a claimed connection that is not queued is left to nobody"]
pub enum Claim {
    /// The connection was idle and is the caller's now, in state queued.
    Claimed,
    /// Somebody owns it, or did a moment ago: ask again at the next tick.
    Busy,
    /// The slot has no connection.
    Free,
}

/// What the new owner learns from [`Ownership::begin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// The peer has ended its side: read until `WouldBlock` or the end of stream.
    pub read_closed: bool,
}

/// What [`Ownership::release`] asks of the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "an owner told to look again still owns the connection"]
pub enum Released {
    /// Let go. The caller must not touch the connection any more.
    Idle,
    /// Something happened meanwhile: still owned, take another turn.
    Again {
        /// As in [`Begun::read_closed`].
        read_closed: bool,
    },
}

/// The ownership word of one slot.
///
/// It guards the connection beside it by agreement, not by type: see the two rules above.
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
    /// afterwards. The other end of this life is [`free`](Ownership::free).
    ///
    /// # Panics
    /// If the slot is not free.
    pub fn open(&self) -> u32 {
        // Acquire pairs with `free`: the last owner's cleaning up lies before this life. Release
        // pairs with `begin`: the thread that serves sees the connection that was stored.
        let before = self.change("open", Ordering::AcqRel, |word| {
            (state(word) == FREE).then(|| with_state(word, IDLE))
        });
        generation(before)
    }

    /// Loop side. A readiness event carrying `generation` has come; `read_closed` says that it tells
    /// of RDHUP, HUP or an error.
    ///
    /// On [`Notified::Dispatch`] the caller queues the slot and some thread will
    /// [`begin`](Ownership::begin). One that runs finds the event in its
    /// [`release`](Ownership::release).
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
    /// On [`Claim::Claimed`] the caller owns it as if an event had come: it queues the slot for
    /// somebody's [`begin`](Ownership::begin), or calls that itself.
    pub fn claim_idle(&self) -> Claim {
        // The same pairs as `notify`: Acquire with `release`, Release with `begin`.
        let before = self.try_change(Ordering::AcqRel, |word| {
            (state(word) == IDLE).then(|| with_state(word, QUEUED))
        });
        match before {
            Ok(_) => Claim::Claimed,
            Err(word) if state(word) == FREE => Claim::Free,
            Err(_) => Claim::Busy,
        }
    }

    /// Where the connection stands at this moment.
    ///
    /// For the event loop, `Idle` stays true until the loop itself changes it (rule 1). Every other
    /// answer may be outdated when it arrives: this is for tests and diagnostics.
    #[must_use]
    pub fn state(&self) -> State {
        // Acquire pairs with `release` and `free`: the deadline read after an `Idle` is the one the
        // last owner stored, and a slot seen `Free` is one nobody touches.
        State::of(self.word.load(Ordering::Acquire))
    }

    /// How many connections the slot has had before this one, for the owner: with the slot it names
    /// the connection.
    #[must_use]
    pub fn generation(&self) -> u32 {
        // Relaxed: only the owner changes it.
        generation(self.word.load(Ordering::Relaxed))
    }

    /// Serving side. Queued to running: takes over what [`notify`](Ownership::notify) or
    /// [`claim_idle`](Ownership::claim_idle) handed over.
    ///
    /// # Panics
    /// If the connection is not queued: somebody queued it twice.
    pub fn begin(&self) -> Begun {
        // Acquire pairs with `open`, `notify` and `requeue`. Nothing has been done yet that anybody
        // would have to see, so no Release.
        let before = self.change("begin", Ordering::Acquire, |word| {
            (state(word) == QUEUED).then(|| with_state(word, RUNNING))
        });
        Begun {
            read_closed: before & READ_CLOSED != 0,
        }
    }

    /// Whether the peer is known to have ended its side of the connection, or all of it. Anybody may
    /// ask while the connection is owned: for one that waits in no lane.
    pub fn is_read_closed(&self) -> bool {
        // Relaxed: nothing is done with the socket because of it.
        self.word.load(Ordering::Relaxed) & READ_CLOSED != 0
    }

    /// Serving side. Running to idle: the socket would block, and the new deadline is stored.
    ///
    /// If the loop has called [`notify`](Ownership::notify) since the caller began or last came
    /// here, the connection stays the caller's and the answer is [`Released::Again`].
    ///
    /// # Panics
    /// If the connection is not running: the caller does not own it.
    pub fn release(&self) -> Released {
        // Release pairs with the Acquire of `notify`, `claim_idle` and `state`: the next owner sees
        // what this one did. Acquire pairs with `notify`: after `Again` the owner sees what the
        // event was about.
        let before = self.change("release", Ordering::AcqRel, |word| match state(word) {
            RUNNING => Some(with_state(word, IDLE)),
            RUNNING_NOTIFIED => Some(with_state(word, RUNNING)),
            _ => None,
        });
        if state(before) == RUNNING {
            Released::Idle
        } else {
            Released::Again {
                read_closed: before & READ_CLOSED != 0,
            }
        }
    }

    /// Serving side. Running to queued: a bounded turn ended with work left.
    ///
    /// Afterwards the caller puts the slot at the back of the queue, and whoever takes it calls
    /// [`begin`](Ownership::begin). A notification is absorbed: that thread looks anyway.
    ///
    /// # Panics
    /// If the connection is not running: the caller does not own it.
    pub fn requeue(&self) {
        // Release pairs with `begin`, for the next owner. An absorbed event reaches it as well,
        // through the release sequence.
        self.change("requeue", Ordering::Release, |word| {
            is_running(word).then(|| with_state(word, QUEUED))
        });
    }

    /// Serving side. Running to free: the socket is closed and the slot emptied.
    ///
    /// The generation goes up by one and the flags are cleared, so events still to come for the old
    /// connection are stale to [`notify`](Ownership::notify), even after the next
    /// [`open`](Ownership::open).
    ///
    /// # Panics
    /// If the connection is not running: the caller does not own it.
    pub fn free(&self) {
        // Release pairs with `open` and `state`: the slot is empty before it is filled again.
        self.change("free", Ordering::Release, |word| {
            let next = u64::from(generation(word).wrapping_add(1));
            is_running(word).then_some(next << GENERATION_SHIFT | FREE)
        });
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

    /// A change that the caller's part in the protocol allows for certain. Going on after a refusal
    /// would mean two owners, which is worse than a panic.
    fn change(&self, verb: &str, success: Ordering, next: impl Fn(u64) -> Option<u64>) -> u64 {
        self.try_change(success, next)
            .unwrap_or_else(|word| panic!("{verb} on a connection that is {:?}", State::of(word)))
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

fn is_running(word: u64) -> bool {
    matches!(state(word), RUNNING | RUNNING_NOTIFIED)
}

#[cfg(test)]
mod tests;
