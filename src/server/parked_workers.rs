//! The parked_workers: where worker threads without work park until one is needed.
//!
//! The permanent worker that parked last is woken first: its caches are the warmest. Spare workers
//! ([`spares`](super::spares)) come after all permanent ones, so that those without need find none and end.

use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

/// The kinds of worker threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerKind {
    /// Started with the server, and there until its end.
    Permanent,
    /// Started while the disk holds up the permanent ones.
    Spare,
    /// A spare worker that does not go beyond mount points ([`MayBlock::OnRoots`](crate::site::MayBlock::OnRoots)).
    NearSpare,
}

impl WorkerKind {
    /// Whether it goes to any file system.
    #[must_use]
    pub fn goes_anywhere(self) -> bool {
        self != WorkerKind::NearSpare
    }
}

/// A thread on the parked_workers.
#[derive(Debug)]
struct ParkedThread {
    thread: Thread,
    kind: WorkerKind,
}

/// The threads that have parked.
#[derive(Debug, Default)]
pub(super) struct ParkedWorkers {
    /// Spare workers first, so that they are woken last.
    parked: Mutex<Vec<ParkedThread>>,
    /// The length of `parked`, for a look without the lock.
    count: AtomicUsize,
    /// Workers that were woken and are not up yet. Being scheduled can take as long as ten requests.
    waking: AtomicUsize,
}

impl ParkedWorkers {
    /// Wakes the worker that parked last. Whether there was one.
    pub(super) fn wake_one(&self) -> bool {
        self.wake(|_| true)
    }

    /// Wakes the worker that parked last of those that go to any file system. Whether there was one.
    pub(super) fn wake_one_for_anywhere(&self) -> bool {
        self.wake(WorkerKind::goes_anywhere)
    }

    fn wake(&self, is_wanted: impl Fn(WorkerKind) -> bool) -> bool {
        // Pairs with the fence in `park`: either we see the worker there, or it sees what we have put
        // into a queue before.
        fence(Ordering::SeqCst);
        if self.count.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let woken = {
            let mut parked = self.lock();
            let place = parked.iter().rposition(|parked| is_wanted(parked.kind));
            let woken = place.map(|place| parked.remove(place));
            self.count.store(parked.len(), Ordering::Relaxed);
            // Under the lock: the woken one takes it off again under the lock.
            self.waking
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
        kind: WorkerKind,
        patience: Option<Duration>,
        has_work: impl Fn() -> bool,
    ) -> bool {
        let thread = thread::current();
        let own = thread.id();
        {
            let mut parked = self.lock();
            match kind {
                WorkerKind::Permanent => parked.push(ParkedThread { thread, kind }),
                WorkerKind::Spare | WorkerKind::NearSpare => {
                    parked.insert(0, ParkedThread { thread, kind })
                }
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
        // A thread that wakes another takes it off the parked_workers; one that gets up by itself does so too.
        let mut parked = self.lock();
        let Some(place) = parked.iter().position(|parked| parked.thread.id() == own) else {
            self.waking.fetch_sub(1, Ordering::Relaxed);
            return false;
        };
        parked.remove(place);
        self.count.store(parked.len(), Ordering::Relaxed);
        patience.is_some()
    }

    /// Threads that were woken and are not up yet.
    pub(super) fn waking(&self) -> usize {
        self.waking.load(Ordering::Relaxed)
    }

    /// Whether a permanent worker is parked.
    pub(super) fn has_permanent(&self) -> bool {
        let parked = self.lock();
        parked
            .iter()
            .any(|parked| parked.kind == WorkerKind::Permanent)
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
        let parked_workers = ParkedWorkers::default();
        let (woken, order) = std::sync::mpsc::channel();
        thread::scope(|scope| {
            let (parked_workers, woken) = (&parked_workers, &woken);
            for (kind, count) in [
                (WorkerKind::Permanent, 1),
                (WorkerKind::Spare, 2),
                (WorkerKind::Spare, 3),
            ] {
                scope.spawn(move || {
                    parked_workers.park(kind, None, || false);
                    woken.send(kind).expect("the test listens");
                });
                while parked_workers.len() < count {
                    thread::yield_now();
                }
            }
            assert!(parked_workers.has_permanent());
            for expected in [WorkerKind::Permanent, WorkerKind::Spare, WorkerKind::Spare] {
                assert!(parked_workers.wake_one());
                assert_eq!(order.recv(), Ok(expected));
                assert!(!parked_workers.has_permanent());
            }
            assert!(!parked_workers.wake_one());
        });
    }
}
