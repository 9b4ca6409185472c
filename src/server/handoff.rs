//! How ready connections get from the event loop to the workers.
//!
//! Three lanes. Two have one message per connection:
//!
//! - **quick**: what the event loop has found ready. Nearly all of it can be answered from memory, in a
//!   few microseconds. The loop's own thread serves from this lane too: it does not sleep until the
//!   workers have emptied it, and it polls when it is empty.
//! - **slow**: what has shown that it is not quick: it waits for a disk, or has had a whole turn and
//!   wants another. Only workers serve from here, so nothing that others wait for is behind it.
//!
//! - **long**: jobs that take many slices of some milliseconds ([`waiting`](crate::site::waiting)): they have a
//!   lane of their own, so that a turn in the slow lane is behind one slice at most, however many jobs
//!   there are. Each goes to the end of that lane after a slice.
//!
//! A worker without work parks on the bench. Waking one costs two threads about as much as a
//! request from memory costs altogether, so as few as the load needs are woken, the one that parked
//! last first: its caches are the warmest. One for each connection in the slow lane, and one for each
//! [`SHARE`] connections that wait in the quick one.
//!
//! # Why it is so
//!
//! Four ways were built and measured in the same minutes on two CPUs, clients beside the server; 1 KB
//! from memory, CPU microseconds of the server per request.
//!
//! - *batch*: the loop sends what one poll finds as one message over a channel of two, and waits
//!   while that is full.
//! - *wait*: one message per connection; the loop waits until the queue is taken.
//! - *park*: workers park as here, and are woken one at a time as the queue grows; the loop only polls.
//! - *serve*: what is here.
//!
//! | connections      | batch | wait  | park  | serve |
//! |------------------|------:|------:|------:|------:|
//! | 1, saturated     |  38.5 |  38.7 |  32.7 |  22.9 |
//! | 32               |   8.2 |   7.3 |   8.9 |   6.6 |
//! | 256              |   6.7 |   6.7 |   8.1 |   6.2 |
//! | 2,000            |   7.1 |   7.5 |  10.9 |   8.9 |
//! | 1, 5,000/s       |  33.3 |  33.9 |  26.7 |  10.4 |
//! | 32, 40,000/s     |  10.7 |  12.2 |  11.6 |   8.3 |
//! | 256, 40,000/s    |   9.5 |  11.3 |  10.3 |   7.3 |
//! | 2,000, 40,000/s  |   9.1 |   9.0 |   9.2 |   8.5 |
//!
//! The last four rows are paced: 40,000 requests a second, which is 30 % of what two CPUs can do, but
//! 5,000 in the row of one connection, as it waits for each answer. Waking is what costs: a thread that
//! sleeps until others are through is woken once too often. Only at 2,000 saturated connections do two
//! threads that take turns beat three that share the two CPUs.
//!
//! Where files come from a disk that takes 50 ms, the others' p99 was 75 times as long once all
//! workers waited for it (*wait*); now it is 1.3 to 1.5 times as long with four times as many readers as
//! workers (`benches/slow_disk.rs`, `tests/slow_disk.rs`).
//!
//! # Waiting for another thread
//!
//! What another thread is getting from the disk is not waited for in a lane: the connection would go
//! round and round in it. It is in neither, but parked with that thread's
//! [`Errand`], which puts it into a lane when it is over: into the quick one if memory has the answer
//! now, and the loop is woken to give it, so that no worker need be free.
//!
//! # Bounds
//!
//! A connection is in one lane at a time, once: its ownership word
//! ([`Ownership`](crate::connection::ownership::Ownership)) sees to that. So the lanes are bounded by
//! the number of connections though the channels have no bound, and nobody ever waits to put one in.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::attendant::Brought;
use crate::site::waiting::Errand;

/// Connections in the quick lane that are worth another worker. The event loop alone is through with
/// them in less than a tenth of a millisecond. Measured with 32 connections, saturated: with 16 the slowest
/// hundredth of the answers takes a quarter longer at the same cost, with 4 each answer costs 4 % more.
/// (The table above was made with 16.)
pub const SHARE: usize = 8;

/// What a worker is asked to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Work {
    /// Give the connection in this slot a turn; it is owned on behalf of whoever takes it.
    Turn(u32),
    /// Give a connection a turn that has waited for errands. Their results are kept until it has asked
    /// for it.
    Resume(u32, Brought),
    /// Go on with this errand's job for a slice.
    Slice(Arc<Errand>),
    /// Give memory back to the system: many connections have gone.
    GiveBackMemory,
}

/// The lane that is looked into first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// Connections that are ready.
    Quick,
    /// Connections that need a disk, or have had a long turn.
    Slow,
    /// Jobs.
    Long,
}

/// The way from the event loop to its workers.
#[derive(Debug)]
pub struct Handoff {
    quick: Lane<u32>,
    slow: Lane<Work>,
    long: Lane<Arc<Errand>>,
    bench: Bench,
    is_closed: AtomicBool,
}

#[derive(Debug)]
struct Lane<T> {
    sender: Sender<T>,
    receiver: Receiver<T>,
}

impl Handoff {
    /// Empty lanes.
    #[must_use]
    pub fn new() -> Handoff {
        Handoff {
            quick: Lane::new(),
            slow: Lane::new(),
            long: Lane::new(),
            bench: Bench::default(),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Event loop: puts a ready connection into the quick lane. Wakes nobody: the loop serves it
    /// ([`take`](Handoff::take)) unless a worker comes first. Another thread has to wake the loop
    /// (`Shared::hand_back`).
    pub fn dispatch(&self, slot: u32) {
        self.quick.put(slot);
    }

    /// Event loop: the next connection in the quick lane, after seeing to it that enough workers help
    /// with the rest.
    pub fn take(&self) -> Option<u32> {
        let slot = self.quick.receiver.try_recv().ok()?;
        if self.quick.receiver.len() >= SHARE * (self.bench.coming() + 1) {
            self.bench.wake_one();
        }
        Some(slot)
    }

    /// Puts work into the slow lane, or a job into the long one, and wakes a worker for it.
    pub fn defer(&self, work: Work) {
        self.put_back(work);
        self.bench.wake_one();
    }

    /// Worker: the same, of work that it has had and will look for itself.
    pub fn put_back(&self, work: Work) {
        match work {
            Work::Slice(errand) => self.long.put(errand),
            work => self.slow.put(work),
        }
    }

    /// Worker: takes the next work, waiting for it as long as `patience` allows; `None` when it runs
    /// out or the hand-off is closed and empty. `first` says which lane is looked into first: a worker that
    /// alternates lets none starve.
    pub fn pick_up(&self, first: First, patience: Option<Duration>) -> Option<Work> {
        loop {
            if let Some(work) = self.look(first) {
                // A worker that was woken for another lane may have looked into the quick one first, and may
                // now be gone for long.
                if !self.slow.is_empty() || !self.long.is_empty() {
                    self.bench.wake_one();
                }
                return Some(work);
            }
            if self.is_closed() {
                return None;
            }
            let is_over = self
                .bench
                .park(patience, || self.has_work() || self.is_closed());
            if is_over && !self.has_work() {
                return None;
            }
        }
    }

    /// Whether any lane has something.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.quick.is_empty() || !self.slow.is_empty() || !self.long.is_empty()
    }

    /// Whether the quick lane has something.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.quick.is_empty()
    }

    /// Tells the workers to finish what there is and end.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        while self.bench.wake_one() {}
    }

    /// Whether [`close`](Handoff::close) was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    fn look(&self, first: First) -> Option<Work> {
        let slow = || self.slow.receiver.try_recv().ok();
        let quick = || self.quick.receiver.try_recv().ok().map(Work::Turn);
        let long = || self.long.receiver.try_recv().ok().map(Work::Slice);
        match first {
            First::Quick => quick().or_else(slow).or_else(long),
            First::Slow => slow().or_else(quick).or_else(long),
            First::Long => long().or_else(slow).or_else(quick),
        }
    }
}

impl Default for Handoff {
    fn default() -> Handoff {
        Handoff::new()
    }
}

impl<T> Lane<T> {
    fn new() -> Lane<T> {
        let (sender, receiver) = unbounded();
        Lane { sender, receiver }
    }

    fn put(&self, item: T) {
        // Cannot fail: the receiver is in the same struct.
        let _ = self.sender.send(item);
    }

    fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }
}

/// Where workers without work wait.
#[derive(Debug, Default)]
struct Bench {
    parked: Mutex<Vec<Thread>>,
    /// The length of `parked`, for a look without the lock.
    count: AtomicUsize,
    /// Workers that were woken and are not up yet. Being scheduled can take as long as ten requests.
    coming: AtomicUsize,
}

impl Bench {
    /// Wakes the worker that parked last. Whether there was one.
    fn wake_one(&self) -> bool {
        // Pairs with the fence in `park`: either we see the worker there, or it sees what we have put
        // into a lane before.
        fence(Ordering::SeqCst);
        if self.count.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let woken = {
            let mut parked = self.lock();
            let woken = parked.pop();
            self.count.store(parked.len(), Ordering::Relaxed);
            // Under the lock: the woken one takes it off again under the lock.
            self.coming
                .fetch_add(usize::from(woken.is_some()), Ordering::Relaxed);
            woken
        };
        if let Some(thread) = &woken {
            thread.unpark();
        }
        woken.is_some()
    }

    /// Parks the calling thread until it is woken, unless there is something to do already. Whether
    /// `patience` has run out.
    fn park(&self, patience: Option<Duration>, has_work: impl Fn() -> bool) -> bool {
        let own = thread::current().id();
        {
            let mut parked = self.lock();
            parked.push(thread::current());
            self.count.store(parked.len(), Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
        if !has_work() {
            match patience {
                None => thread::park(),
                Some(patience) => thread::park_timeout(patience),
            }
        }
        // Whoever wakes a thread takes it off the bench; one that gets up by itself does so too.
        let mut parked = self.lock();
        let Some(place) = parked.iter().position(|thread| thread.id() == own) else {
            self.coming.fetch_sub(1, Ordering::Relaxed);
            return false;
        };
        parked.remove(place);
        self.count.store(parked.len(), Ordering::Relaxed);
        patience.is_some()
    }

    fn coming(&self) -> usize {
        self.coming.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Thread>> {
        // Nothing in here panics.
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn the_quick_lane_is_in_order_and_wakes_nobody_for_a_few() {
        let handoff = Handoff::new();
        for slot in 0..3 {
            handoff.dispatch(slot);
        }
        assert!(handoff.is_ready());
        let taken: Vec<_> = std::iter::from_fn(|| handoff.take()).collect();
        assert_eq!(taken, [0, 1, 2]);
        assert!(!handoff.is_ready());
    }

    #[test]
    fn a_worker_that_alternates_lets_neither_lane_starve() {
        let handoff = Handoff::new();
        for slot in 0..4 {
            handoff.dispatch(slot);
            handoff.defer(Work::Turn(10 + slot));
        }
        let picked: Vec<_> = (0..8)
            .map(|turn| {
                if turn % 2 == 0 {
                    First::Slow
                } else {
                    First::Quick
                }
            })
            .map(|first| handoff.pick_up(first, None).expect("there is work"))
            .collect();
        let expected = [10, 0, 11, 1, 12, 2, 13, 3].map(Work::Turn);
        assert_eq!(picked, expected);
    }

    #[test]
    fn jobs_take_turns_and_no_turn_is_behind_more_than_one() {
        let handoff = Handoff::new();
        let jobs = [(); 2].map(|()| Work::Slice(Errand::new()));
        let again = |work: &Work| match work {
            Work::Slice(errand) => Work::Slice(Arc::clone(errand)),
            _ => panic!("a job"),
        };
        jobs.iter().for_each(|job| handoff.defer(again(job)));
        handoff.defer(Work::Turn(1));
        handoff.dispatch(2);
        let mut firsts = [First::Long, First::Slow, First::Quick, First::Slow].into_iter();
        let mut pick = || handoff.pick_up(firsts.next()?, None);
        assert_eq!(pick().as_ref(), Some(&jobs[0]));
        handoff.put_back(again(&jobs[0]));
        assert_eq!(pick(), Some(Work::Turn(1)));
        assert_eq!(pick(), Some(Work::Turn(2)));
        assert_eq!(pick().as_ref(), Some(&jobs[1]), "the other one's turn");
    }

    #[test]
    fn patience_ends_a_wait() {
        let handoff = Handoff::new();
        let patience = Some(Duration::from_millis(1));
        assert_eq!(handoff.pick_up(First::Slow, patience), None);
        assert_eq!(
            handoff.bench.count.load(Ordering::Relaxed),
            0,
            "it has left the bench"
        );
    }

    #[test]
    fn no_deferred_work_is_left_lying_while_workers_park() {
        const ROUNDS: u32 = 20_000;
        let handoff = Handoff::new();
        let done = AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while handoff.pick_up(First::Slow, None).is_some() {
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
            for round in 0..ROUNDS {
                handoff.defer(Work::Turn(round));
                // One at a time, so that the workers park again and again. Were a wake-up lost, this
                // would never end.
                while done.load(Ordering::SeqCst) <= round {
                    thread::yield_now();
                }
            }
            handoff.close();
        });
        assert_eq!(done.load(Ordering::SeqCst), ROUNDS);
    }

    #[test]
    fn a_worker_that_was_woken_for_the_slow_lane_and_takes_from_the_quick_one_sends_another() {
        let handoff = Handoff::new();
        let slow = thread::scope(|scope| {
            let other = scope.spawn(|| handoff.pick_up(First::Slow, None));
            while handoff.bench.count.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
            // As if it had been put there by `defer`, and we were the one it woke.
            handoff.slow.put(Work::Turn(7));
            handoff.dispatch(8);
            assert_eq!(handoff.pick_up(First::Quick, None), Some(Work::Turn(8)));
            // Were it not woken, this would never end.
            other.join().expect("the other worker")
        });
        assert_eq!(slow, Some(Work::Turn(7)));
    }

    #[test]
    fn help_comes_for_a_long_queue() {
        let handoff = Handoff::new();
        let start = Barrier::new(2);
        let helped = thread::scope(|scope| {
            let worker = scope.spawn(|| {
                start.wait();
                handoff.pick_up(First::Quick, None)
            });
            start.wait();
            while handoff.bench.count.load(Ordering::SeqCst) == 0 && !worker.is_finished() {
                thread::yield_now();
            }
            for slot in 0..=SHARE as u32 {
                handoff.dispatch(slot);
            }
            assert_eq!(handoff.take(), Some(0));
            worker.join().expect("the worker")
        });
        assert_eq!(helped, Some(Work::Turn(1)));
    }

    #[test]
    fn what_is_left_is_done_before_the_end() {
        let handoff = Handoff::new();
        handoff.defer(Work::GiveBackMemory);
        handoff.close();
        assert_eq!(
            handoff.pick_up(First::Quick, None),
            Some(Work::GiveBackMemory)
        );
        assert_eq!(handoff.pick_up(First::Quick, None), None);
        assert!(handoff.is_closed());
    }
}
