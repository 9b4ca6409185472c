//! The interleavings of the ownership word, under loom.
//!
//! A model has one event loop, the thread of the closure. A worker is a thread that the loop starts when it
//! dispatches. The last part inserts faults on purpose, to prove that the models find them.
#![allow(unsafe_code)]

use abide::connection::ownership::{AtomicWord, Notified, Ownership, OwnershipState, Released};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use loom::thread::{self, JoinHandle};
use std::sync::atomic::Ordering::{self, Acquire, Relaxed, Release};

/// Loom's word, with a second atomic that makes transitions conflict.
///
/// Loom tries another order of two steps only if it sees that they depend on each other, and it remembers
/// only the last access to each atomic. If a thread loads and then swaps, its own load hides that another
/// thread has read before. So each transition first changes `conflict`, and loom tries every pair of
/// transitions both ways. That access is relaxed and orders nothing. Without it loom does not find the
/// two faults of ordering below.
struct Word {
    word: AtomicU64,
    conflict: AtomicU64,
}

impl AtomicWord for Word {
    fn new(word: u64) -> Self {
        Word {
            word: AtomicU64::new(word),
            conflict: AtomicU64::new(0),
        }
    }

    fn load(&self, ordering: Ordering) -> u64 {
        self.conflict.fetch_add(1, Relaxed);
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

/// A slot: the word, the socket that it guards, and the worker's results.
struct Slot<A: AtomicWord> {
    ownership: Ownership<A>,
    /// The part that only the owner may access. Loom reports two accesses that nothing orders.
    connection: UnsafeCell<()>,
    /// Number of bytes that the peer has sent. Relaxed throughout, so that only the word orders them.
    sent: AtomicUsize,
    /// Number of bytes that the workers have read.
    read: AtomicUsize,
    /// Whether a worker was told that the peer has ended its side.
    end_told: AtomicBool,
}

// SAFETY: the model checks that sharing the cell between threads is correct, and loom tracks every access
// to it. No pointer into it is ever followed.
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

    /// An access that only the owner may make.
    fn touch(&self) {
        self.connection.with_mut(|_| ());
    }

    fn recv(&self) {
        self.touch();
        self.read.store(self.sent.load(Relaxed), Relaxed);
    }

    /// Byte number `byte` arrives, and the kernel notifies the loop.
    fn arrive(&self, byte: usize, generation: u32, read_closed: bool) -> Notified {
        self.sent.store(byte, Relaxed);
        self.ownership.notify(generation, read_closed)
    }

    /// A worker's turn: read until nothing is left, and release. The first `requeues` turns end early.
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

/// The events of a connection in [`bytes_arrive`].
#[derive(Clone, Copy)]
struct Story {
    /// The number of bytes, with one event each.
    bytes: usize,
    /// Whether the last event also reports the end of the stream.
    ends: bool,
    /// The number of turns that each worker ends early.
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
        "the connection was not released"
    );
    assert_eq!(slot.end_told.load(Relaxed), story.ends, "end of stream");
}

/// A deadline passes while a worker releases the connection, which the loop then claims.
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

/// Checks with at most two switches away from a thread that could continue. Without a bound longer stories
/// would take minutes, and two switches are enough for the planted faults below.
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
            // Here the loop reads the deadline that the worker stored.
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
        // The model allows more than the server, where both come from the loop's thread.
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

/// `release` stores idle without reading the word again.
const UNCONDITIONAL_RELEASE: u8 = 0;
/// A swap that would change nothing is left out.
const OMITTED_SWAP: u8 = 1;
/// Changes publish no earlier writes.
const NO_RELEASE: u8 = 2;
/// Changes do not see what was published.
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
            UNCONDITIONAL_RELEASE if lets_go => {
                return Ok(self.0.word.swap(new, success));
            }
            OMITTED_SWAP if current == new => return Ok(current),
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
    check_bounded::<Faulty<UNCONDITIONAL_RELEASE>>(SHORT);
}

#[test]
#[should_panic(expected = "lost wake-up: a byte is unread")]
fn loom_finds_an_event_that_looks_at_the_word_without_changing_it() {
    let ends = false;
    check_bounded::<Faulty<OMITTED_SWAP>>(Story { ends, ..SHORT });
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
