//! The bench: where worker threads without work park until one is needed.
//!
//! The permanent worker that parked last is woken first: its caches are the warmest. Spare workers
//! ([`spares`](super::spares)) come after all permanent ones, so that those without need find none and end.

use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

/// The kinds of worker threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crew {
    /// Started with the server, and there until its end.
    Permanent,
    /// Started while the disk holds up the permanent ones.
    Spare,
    /// A spare worker that does not go beyond mount points ([`Reach::Roots`](crate::site::Reach::Roots)).
    NearSpare,
}

impl Crew {
    /// Whether it goes to any file system.
    #[must_use]
    pub fn goes_anywhere(self) -> bool {
        self != Crew::NearSpare
    }
}

/// A thread on the bench.
#[derive(Debug)]
struct ParkedThread {
    thread: Thread,
    crew: Crew,
}

/// The threads that have parked.
#[derive(Debug, Default)]
pub(super) struct Bench {
    /// Spare workers first, so that they are woken last.
    parked: Mutex<Vec<ParkedThread>>,
    /// The length of `parked`, for a look without the lock.
    count: AtomicUsize,
    /// Workers that were woken and are not up yet. Being scheduled can take as long as ten requests.
    coming: AtomicUsize,
}

impl Bench {
    /// Wakes the worker that parked last. Whether there was one.
    pub(super) fn wake_one(&self) -> bool {
        self.wake(|_| true)
    }

    /// Wakes the worker that parked last of those that go to any file system. Whether there was one.
    pub(super) fn wake_one_for_anywhere(&self) -> bool {
        self.wake(Crew::goes_anywhere)
    }

    fn wake(&self, is_wanted: impl Fn(Crew) -> bool) -> bool {
        // Pairs with the fence in `park`: either we see the worker there, or it sees what we have put
        // into a lane before.
        fence(Ordering::SeqCst);
        if self.count.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let woken = {
            let mut parked = self.lock();
            let place = parked.iter().rposition(|parked| is_wanted(parked.crew));
            let woken = place.map(|place| parked.remove(place));
            self.count.store(parked.len(), Ordering::Relaxed);
            // Under the lock: the woken one takes it off again under the lock.
            self.coming
                .fetch_add(usize::from(woken.is_some()), Ordering::Relaxed);
            woken
        };
        if let Some(ParkedThread { thread, .. }) = &woken {
            thread.unpark();
        }
        woken.is_some()
    }

    /// Parks the calling thread until it is woken, unless there is something to do already. Whether
    /// `patience` has run out.
    pub(super) fn park(
        &self,
        crew: Crew,
        patience: Option<Duration>,
        has_work: impl Fn() -> bool,
    ) -> bool {
        let thread = thread::current();
        let own = thread.id();
        {
            let mut parked = self.lock();
            match crew {
                Crew::Permanent => parked.push(ParkedThread { thread, crew }),
                Crew::Spare | Crew::NearSpare => parked.insert(0, ParkedThread { thread, crew }),
            }
            self.count.store(parked.len(), Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
        if !has_work() {
            match patience {
                None => thread::park(),
                Some(patience) => thread::park_timeout(patience),
            }
        }
        // A thread that wakes another takes it off the bench; one that gets up by itself does so too.
        let mut parked = self.lock();
        let Some(place) = parked.iter().position(|parked| parked.thread.id() == own) else {
            self.coming.fetch_sub(1, Ordering::Relaxed);
            return false;
        };
        parked.remove(place);
        self.count.store(parked.len(), Ordering::Relaxed);
        patience.is_some()
    }

    /// Threads that were woken and are not up yet.
    pub(super) fn coming(&self) -> usize {
        self.coming.load(Ordering::Relaxed)
    }

    /// Whether a permanent worker is parked.
    pub(super) fn has_permanent(&self) -> bool {
        let parked = self.lock();
        parked.iter().any(|parked| parked.crew == Crew::Permanent)
    }

    /// Threads that are parked.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ParkedThread>> {
        // Nothing in here panics.
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permanent_worker_is_woken_before_a_spare_one_that_parked_later() {
        let bench = Bench::default();
        let (woken, order) = std::sync::mpsc::channel();
        thread::scope(|scope| {
            let (bench, woken) = (&bench, &woken);
            for (crew, count) in [(Crew::Permanent, 1), (Crew::Spare, 2), (Crew::Spare, 3)] {
                scope.spawn(move || {
                    bench.park(crew, None, || false);
                    woken.send(crew).expect("the test listens");
                });
                while bench.len() < count {
                    thread::yield_now();
                }
            }
            assert!(bench.has_permanent());
            for expected in [Crew::Permanent, Crew::Spare, Crew::Spare] {
                assert!(bench.wake_one());
                assert_eq!(order.recv(), Ok(expected));
                assert!(!bench.has_permanent());
            }
            assert!(!bench.wake_one());
        });
    }
}
