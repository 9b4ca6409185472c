//! The interleavings of the ownership word, under loom.
//!
//! A model has one event loop, the thread of the closure, and a worker is a thread that the loop
//! starts when it dispatches. The last part plants faults: a check that cannot fail proves nothing.
#![allow(unsafe_code)]

use abide::connection::ownership::{AtomicWord, Notified, Ownership, OwnershipState, Released};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use loom::thread::{self, JoinHandle};
use std::sync::atomic::Ordering::{self, Acquire, Relaxed, Release};

/// Loom's word, with a turnstile before it.
///
/// Loom tries another order of two steps only if it sees that they depend on each other, and per
/// atomic it remembers just the last access. A thread that loads and then swaps hides from it, by its
/// own load, that another thread has read before. The turnstile is a second atomic that each
/// transition changes first, so that loom tries every pair of transitions both ways. It is relaxed
/// and orders nothing. Without it the two faults of ordering below are not found.
struct Word {
    word: AtomicU64,
    turnstile: AtomicU64,
}

impl AtomicWord for Word {
    fn new(word: u64) -> Self {
        Word {
            word: AtomicU64::new(word),
            turnstile: AtomicU64::new(0),
        }
    }

    fn load(&self, ordering: Ordering) -> u64 {
        self.turnstile.fetch_add(1, Relaxed);
        self.word.load(ordering)
    }

    fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        self.word.compare_exchange(current, new, success, failure)
    }
}

/// A slot: the word, the socket it guards, and what the worker made of the socket.
struct Slot<A: AtomicWord> {
    ownership: Ownership<A>,
    /// What only the owner may touch. Loom reports two accesses that nothing orders.
    connection: UnsafeCell<()>,
    /// Bytes the peer has sent. Relaxed throughout, so that only the word orders them.
    sent: AtomicUsize,
    /// Bytes the workers have read.
    read: AtomicUsize,
    /// Whether a worker was told that the peer has ended its side.
    end_told: AtomicBool,
}

// SAFETY: sharing the cell between threads is what the model is there to check, and loom tracks every
// access to it. No pointer into it is ever followed.
unsafe impl<A: AtomicWord + Sync> Sync for Slot<A> {}

impl<A: AtomicWord> Slot<A> {
    fn new() -> Self {
        Slot {
            ownership: Ownership::new(),
            connection: UnsafeCell::new(()),
            sent: AtomicUsize::new(0),
            read: AtomicUsize::new(0),
            end_told: AtomicBool::new(false),
        }
    }

    /// What only the owner does.
    fn touch(&self) {
        self.connection.with_mut(|_| ());
    }

    fn recv(&self) {
        self.touch();
        self.read.store(self.sent.load(Relaxed), Relaxed);
    }

    /// Byte number `byte` arrives, and the kernel tells the loop.
    fn arrive(&self, byte: usize, generation: u32, read_closed: bool) -> Notified {
        self.sent.store(byte, Relaxed);
        self.ownership.notify(generation, read_closed)
    }

    /// A worker's turn: read until nothing is left, and let go. The first `requeues` turns end early.
    fn work(&self, requeues: usize) {
        let mut running = self.ownership.begin();
        for _ in 0..requeues {
            self.touch();
            running.requeue();
            running = self.ownership.begin();
        }
        loop {
            self.recv();
            self.end_told.store(running.read_closed(), Relaxed);
            match running.release() {
                Released::Idle => return,
                Released::Again(again) => running = again,
            }
        }
    }
}

fn worker<A: AtomicWord + Send + Sync + 'static>(
    slot: &Arc<Slot<A>>,
    requeues: usize,
) -> JoinHandle<()> {
    let slot = Arc::clone(slot);
    thread::spawn(move || slot.work(requeues))
}

/// What happens to a connection in [`bytes_arrive`].
#[derive(Clone, Copy)]
struct Story {
    /// One event each.
    bytes: usize,
    /// Whether the last event tells of the end of the stream as well.
    ends: bool,
    /// Turns that each worker ends early.
    requeues: usize,
}

/// Two events: enough for two workers in turn, or for one that is notified.
const SHORT: Story = Story {
    bytes: 2,
    ends: true,
    requeues: 0,
};

/// Bytes arrive while workers come and go. At the end all of them have been read.
fn bytes_arrive<A: AtomicWord + Send + Sync + 'static>(story: Story) {
    let slot = Arc::new(Slot::<A>::new());
    slot.touch();
    let generation = slot.ownership.open();
    let mut workers = Vec::new();
    for byte in 1..=story.bytes {
        let read_closed = story.ends && byte == story.bytes;
        if slot.arrive(byte, generation, read_closed) == Notified::Dispatch {
            workers.push(worker(&slot, story.requeues));
        }
    }
    for worker in workers {
        worker.join().unwrap();
    }
    let read = slot.read.load(Relaxed);
    assert_eq!(read, story.bytes, "lost wake-up: a byte is unread");
    assert_eq!(
        slot.ownership.state(),
        OwnershipState::Idle,
        "nobody let go"
    );
    assert_eq!(slot.end_told.load(Relaxed), story.ends, "end of stream");
}

/// A deadline comes up while a worker lets go: the loop takes the connection from the worker.
fn a_deadline_follows_a_worker<A: AtomicWord + Send + Sync + 'static>() {
    let slot = Arc::new(Slot::<A>::new());
    slot.touch();
    let generation = slot.ownership.open();
    assert_eq!(slot.arrive(1, generation, false), Notified::Dispatch);
    let worker = worker(&slot, 0);
    if slot.ownership.claim_idle().is_ok() {
        slot.work(0);
    }
    worker.join().unwrap();
    assert_eq!(slot.ownership.claim_idle(), Ok(()));
}

#[test]
fn no_wake_up_is_lost_and_no_two_own_a_connection() {
    loom::model(|| bytes_arrive::<Word>(SHORT));
}

/// With at most two switches away from a thread that could go on. Longer stories would take minutes
/// without a bound, and two switches are enough for the planted faults below.
fn check_bounded<A: AtomicWord + Send + Sync + 'static>(story: Story) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(move || bytes_arrive::<A>(story));
}

#[test]
fn no_wake_up_is_lost_in_a_turn_that_ends_early() {
    let requeues = 1;
    check_bounded::<Word>(Story { requeues, ..SHORT });
}

#[test]
fn no_wake_up_is_lost_among_three_workers() {
    let bytes = 3;
    check_bounded::<Word>(Story { bytes, ..SHORT });
}

#[test]
fn a_deadline_takes_over_what_a_worker_has_let_go() {
    loom::model(a_deadline_follows_a_worker::<Word>);
}

#[test]
fn an_idle_connection_stays_idle_until_the_loop_takes_it() {
    loom::model(|| {
        let slot = Arc::new(Slot::<Word>::new());
        let generation = slot.ownership.open();
        assert_eq!(slot.arrive(1, generation, false), Notified::Dispatch);
        let worker = worker(&slot, 0);
        if slot.ownership.state() == OwnershipState::Idle {
            // Where the loop reads the deadline that the worker stored.
            slot.connection.with(|_| ());
            assert_eq!(slot.ownership.claim_idle(), Ok(()));
        }
        worker.join().unwrap();
    });
}

#[test]
fn a_deadline_and_an_event_dispatch_a_connection_once() {
    loom::model(|| {
        let slot = Arc::new(Slot::<Word>::new());
        let generation = slot.ownership.open();
        let other = Arc::clone(&slot);
        // Stronger than needed: in the server both come from the loop's one thread.
        let deadline = thread::spawn(move || other.ownership.claim_idle().is_ok());
        let event = slot.ownership.notify(generation, false) == Notified::Dispatch;
        assert!(
            deadline.join().unwrap() ^ event,
            "dispatched twice or never"
        );
        slot.work(0);
        assert_eq!(slot.ownership.state(), OwnershipState::Idle);
    });
}

#[test]
fn a_stale_event_does_not_reach_the_next_connection_in_the_slot() {
    loom::model(|| {
        let slot = Arc::new(Slot::<Word>::new());
        let old = slot.ownership.open();
        assert_eq!(slot.ownership.notify(old, false), Notified::Dispatch);
        let closing = Arc::clone(&slot);
        let mut worker = Some(thread::spawn(move || {
            let running = closing.ownership.begin();
            closing.touch();
            running.free();
        }));
        let early = slot.ownership.notify(old, true);
        assert_ne!(early, Notified::Dispatch);
        if slot.ownership.state() != OwnershipState::Free {
            worker.take().unwrap().join().unwrap();
        }
        slot.touch();
        let new = slot.ownership.open();
        assert_eq!(slot.ownership.notify(old, true), Notified::Stale);
        assert_eq!(slot.ownership.state(), OwnershipState::Idle);
        assert_eq!(slot.ownership.notify(new, false), Notified::Dispatch);
        let running = slot.ownership.begin();
        assert!(!running.read_closed(), "an old flag");
        running.requeue();
        if let Some(worker) = worker {
            worker.join().unwrap();
        }
    });
}

// Planted faults.

/// A word with one fault: `FAULT` says which.
struct Faulty<const FAULT: u8>(Word);

/// `release` stores idle without another look at the word.
const FORGETFUL_RELEASE: u8 = 0;
/// A swap that would change nothing is left out.
const THRIFTY_SWAP: u8 = 1;
/// Changes publish nothing.
const NO_RELEASE: u8 = 2;
/// Changes see nothing that was published.
const NO_ACQUIRE: u8 = 3;

impl<const FAULT: u8> AtomicWord for Faulty<FAULT> {
    fn new(word: u64) -> Self {
        Faulty(Word::new(word))
    }

    fn load(&self, ordering: Ordering) -> u64 {
        self.0.load(ordering)
    }

    fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        let lets_go = OwnershipState::of(current) == OwnershipState::Running
            && OwnershipState::of(new) == OwnershipState::Idle;
        let ordering = match FAULT {
            FORGETFUL_RELEASE if lets_go => {
                return Ok(self.0.word.swap(new, success));
            }
            THRIFTY_SWAP if current == new => return Ok(current),
            NO_RELEASE if success == Release => Relaxed,
            NO_RELEASE => Acquire,
            NO_ACQUIRE if success == Acquire => Relaxed,
            NO_ACQUIRE => Release,
            _ => success,
        };
        self.0.compare_exchange(current, new, ordering, failure)
    }
}

#[test]
#[should_panic(expected = "lost wake-up: a byte is unread")]
fn loom_finds_a_release_that_forgets_the_notified_bit() {
    check_bounded::<Faulty<FORGETFUL_RELEASE>>(SHORT);
}

#[test]
#[should_panic(expected = "lost wake-up: a byte is unread")]
fn loom_finds_an_event_that_looks_at_the_word_without_changing_it() {
    let ends = false;
    check_bounded::<Faulty<THRIFTY_SWAP>>(Story { ends, ..SHORT });
}

#[test]
#[should_panic(expected = "Causality violation")]
fn loom_finds_an_owner_that_publishes_nothing() {
    loom::model(a_deadline_follows_a_worker::<Faulty<NO_RELEASE>>);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn loom_finds_an_owner_that_acquires_nothing() {
    loom::model(a_deadline_follows_a_worker::<Faulty<NO_ACQUIRE>>);
}
