//! How ready connections get from the event loop to the workers.
//!
//! One message per connection on a bounded channel, and one rule: **the loop polls only while a
//! worker is hungry**, that is, while it has dispatched no more than the parked workers will take. While the pool is busy the loop sleeps, so its next poll returns a larger batch and the cost
//! of polling and waking is shared by many requests.
//!
//! The verbs come in pairs. The loop [`dispatch`](Handoff::dispatch)es, a worker
//! [`pick_up`](Handoff::pick_up)s. The loop [`await_appetite`](Handoff::await_appetite)s, and the
//! worker that takes the last connection ends that wait.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::thread::{self, Thread};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

/// Connections that may wait in the queue. More wait with the loop or the worker that has them.
const QUEUE_LEN: usize = 4096;

/// What a worker is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Give the connection in this slot a turn; it is owned on behalf of whoever picks it up. From
    /// the event loop.
    Turn(u32),
    /// The same, from a worker: the last turn ended with work left.
    Again(u32),
    /// Finish.
    Stop,
}

/// The queue between the event loop and the workers.
#[derive(Debug)]
pub struct Handoff {
    sender: Sender<Work>,
    receiver: Receiver<Work>,
    /// Connections in the queue that the event loop has dispatched. What workers put back does not
    /// count: a few connections that always have work would keep the loop from polling for others.
    fresh: AtomicUsize,
    /// Workers in `pick_up` that found nothing.
    parked: AtomicUsize,
    loop_waits: AtomicBool,
    loop_thread: OnceLock<Thread>,
}

impl Handoff {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Handoff {
        let (sender, receiver) = bounded(QUEUE_LEN);
        Handoff {
            sender,
            receiver,
            fresh: AtomicUsize::new(0),
            parked: AtomicUsize::new(0),
            loop_waits: AtomicBool::new(false),
            loop_thread: OnceLock::new(),
        }
    }

    /// Offers work to the pool without waiting.
    ///
    /// # Errors
    /// The work comes back if the queue is full.
    pub fn dispatch(&self, work: Work) -> Result<(), Work> {
        // Counted before it can be picked up, so that the count never goes below zero.
        if let Work::Turn(_) = work {
            self.fresh.fetch_add(1, Ordering::Relaxed);
        }
        self.sender.try_send(work).map_err(|error| {
            let (TrySendError::Full(work) | TrySendError::Disconnected(work)) = error;
            if let Work::Turn(_) = work {
                self.fresh.fetch_sub(1, Ordering::Relaxed);
            }
            work
        })
    }

    /// Takes the next work, waiting for it as long as `patience` allows; `None` when it runs out.
    pub fn pick_up(&self, patience: Option<Duration>) -> Option<Work> {
        let work = match self.receiver.try_recv() {
            Ok(work) => Some(work),
            Err(_) => self.wait_for_work(patience),
        };
        if let Some(Work::Turn(_)) = work {
            self.fresh.fetch_sub(1, Ordering::Relaxed);
        }
        // Pairs with the fence in `await_appetite`.
        fence(Ordering::SeqCst);
        if self.loop_waits.load(Ordering::Relaxed) && self.has_appetite() {
            self.end_wait();
        }
        work
    }

    /// Whether no work is queued, without waiting.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }

    /// Keeps the event loop, which must be the calling thread, waiting until a worker is hungry, at
    /// most for `patience`.
    pub fn await_appetite(&self, patience: Duration) {
        if self.has_appetite() {
            return;
        }
        let _ = self.loop_thread.get_or_init(thread::current);
        self.loop_waits.store(true, Ordering::Relaxed);
        // Either a worker sees the flag after it has taken the last work, or we see that it has.
        fence(Ordering::SeqCst);
        if !self.has_appetite() {
            thread::park_timeout(patience);
        }
        self.loop_waits.store(false, Ordering::Relaxed);
    }

    fn has_appetite(&self) -> bool {
        self.fresh.load(Ordering::Relaxed) <= self.parked.load(Ordering::Relaxed)
    }

    fn end_wait(&self) {
        if self.loop_waits.swap(false, Ordering::Relaxed)
            && let Some(thread) = self.loop_thread.get()
        {
            thread.unpark();
        }
    }

    fn wait_for_work(&self, patience: Option<Duration>) -> Option<Work> {
        self.parked.fetch_add(1, Ordering::Relaxed);
        let result = match patience {
            None => self
                .receiver
                .recv()
                .map_err(|_| RecvTimeoutError::Disconnected),
            Some(patience) => self.receiver.recv_timeout(patience),
        };
        self.parked.fetch_sub(1, Ordering::Relaxed);
        // Disconnection is impossible: both ends live here.
        result.ok()
    }
}

impl Default for Handoff {
    fn default() -> Handoff {
        Handoff::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn work_arrives_in_order() {
        let handoff = Handoff::new();
        handoff.dispatch(Work::Turn(1)).expect("room");
        handoff.dispatch(Work::Turn(2)).expect("room");
        assert_eq!(handoff.pick_up(None), Some(Work::Turn(1)));
        assert_eq!(handoff.pick_up(None), Some(Work::Turn(2)));
        assert_eq!(handoff.pick_up(Some(Duration::ZERO)), None);
    }

    #[test]
    fn what_workers_put_back_does_not_keep_the_loop_waiting() {
        let handoff = Handoff::new();
        handoff.dispatch(Work::Again(1)).expect("room");
        handoff.dispatch(Work::Again(2)).expect("room");
        assert!(handoff.has_appetite());
        handoff.dispatch(Work::Turn(3)).expect("room");
        assert!(!handoff.has_appetite());
    }

    #[test]
    fn a_full_queue_gives_the_work_back() {
        let handoff = Handoff::new();
        for slot in 0..QUEUE_LEN {
            handoff.dispatch(Work::Turn(slot as u32)).expect("room");
        }
        assert_eq!(handoff.dispatch(Work::Stop), Err(Work::Stop));
    }

    #[test]
    fn the_loop_waits_until_the_last_work_is_taken() {
        let handoff = Arc::new(Handoff::new());
        handoff.dispatch(Work::Turn(1)).expect("room");
        handoff.dispatch(Work::Turn(2)).expect("room");
        let worker = thread::spawn({
            let handoff = Arc::clone(&handoff);
            move || {
                // Not before the loop waits, or there would be nothing to wake.
                while !handoff.loop_waits.load(Ordering::SeqCst) {
                    thread::yield_now();
                }
                while handoff.pick_up(Some(Duration::from_secs(30))) != Some(Work::Stop) {}
            }
        });
        let start = std::time::Instant::now();
        handoff.await_appetite(Duration::from_secs(60));
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "the wake-up was lost"
        );
        assert!(handoff.is_empty());
        handoff.dispatch(Work::Stop).expect("room");
        worker.join().expect("worker");
    }

    #[test]
    fn the_wait_ends_when_patience_does() {
        let handoff = Handoff::new();
        handoff.dispatch(Work::Turn(1)).expect("room");
        handoff.await_appetite(Duration::from_millis(1));
        assert!(!handoff.is_empty());
    }
}
