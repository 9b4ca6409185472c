//! The parked workers: threads of the pool without work, each parked until another thread wakes it.
//!
//! The permanent worker that parked last is woken first, because its caches are the warmest. Spare workers
//! ([`spares`](super::spares)) are woken after all permanent ones, so that superfluous ones find no work
//! and end.

use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

/// The kinds of worker threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerKind {
    /// Started with the server, and ends with it.
    Permanent,
    /// Started while the disk holds up the permanent ones.
    Spare,
    /// A spare worker that must not block beyond mount points
    /// ([`MayBlock::OnRoots`](crate::site::MayBlock::OnRoots)).
    SpareOnRoots,
}

impl WorkerKind {
    /// Whether the worker may use any file system.
    #[must_use]
    pub fn may_block_anywhere(self) -> bool {
        self != WorkerKind::SpareOnRoots
    }
}

/// A parked thread.
#[derive(Debug)]
struct ParkedThread {
    thread: Thread,
    kind: WorkerKind,
}

/// The workers that are parked.
#[derive(Debug, Default)]
pub(super) struct ParkedWorkers {
    /// Spare workers come first in the vector, as wakers search it from the end.
    parked: Mutex<Vec<ParkedThread>>,
    /// The length of `parked`, readable without the lock.
    count: AtomicUsize,
    /// Workers that were woken and do not run yet. Scheduling one can take as long as ten requests.
    waking: AtomicUsize,
}

impl ParkedWorkers {
    /// Wakes the worker that parked last. Returns whether there was one.
    pub(super) fn wake_one(&self) -> bool {
        self.wake(|_| true)
    }

    /// Wakes the worker that parked last among those that may use any file system. Returns whether there
    /// was one.
    pub(super) fn wake_one_for_anywhere(&self) -> bool {
        self.wake(WorkerKind::may_block_anywhere)
    }

    fn wake(&self, is_wanted: impl Fn(WorkerKind) -> bool) -> bool {
        // Pairs with the fence in `park`: either this thread sees the parked worker, or the worker sees the
        // work that was queued before.
        fence(Ordering::SeqCst);
        if self.count.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let woken = {
            let mut parked = self.lock();
            let position = parked.iter().rposition(|parked| is_wanted(parked.kind));
            let woken = position.map(|position| parked.remove(position));
            self.count.store(parked.len(), Ordering::Relaxed);
            // Counted under the lock, as the woken worker also subtracts under the lock.
            self.waking
                .fetch_add(usize::from(woken.is_some()), Ordering::Relaxed);
            woken
        };
        if let Some(ParkedThread { thread, .. }) = &woken {
            thread.unpark();
        }
        woken.is_some()
    }

    /// Parks the calling thread until it is woken, unless `has_work`. Returns whether a `timeout` was given
    /// and no other thread woke this one.
    pub(super) fn park(
        &self,
        kind: WorkerKind,
        timeout: Option<Duration>,
        has_work: impl Fn() -> bool,
    ) -> bool {
        let thread = thread::current();
        let own = thread.id();
        {
            let mut parked = self.lock();
            match kind {
                WorkerKind::Permanent => parked.push(ParkedThread { thread, kind }),
                WorkerKind::Spare | WorkerKind::SpareOnRoots => {
                    parked.insert(0, ParkedThread { thread, kind })
                }
            }
            self.count.store(parked.len(), Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
        if !has_work() {
            match timeout {
                None => thread::park(),
                Some(timeout) => thread::park_timeout(timeout),
            }
        }
        // A waking thread has removed this one from the vector. Otherwise this one removes itself.
        let mut parked = self.lock();
        let Some(position) = parked.iter().position(|parked| parked.thread.id() == own) else {
            self.waking.fetch_sub(1, Ordering::Relaxed);
            return false;
        };
        parked.remove(position);
        self.count.store(parked.len(), Ordering::Relaxed);
        timeout.is_some()
    }

    /// The number of workers that were woken and do not run yet.
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

    /// The number of parked workers.
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ParkedThread>> {
        // No code panics while it holds the lock.
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
