//! The supervisor_waker that wakes the supervisor of the spare workers ([`spares`](super::spares)).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::thread::{self, Thread};

/// Wakes the supervisor. Ringing costs next to nothing while the supervisor is awake.
#[derive(Debug, Default)]
pub struct SupervisorWaker {
    is_notified: AtomicBool,
    /// The supervisor, once it runs.
    supervisor: OnceLock<Thread>,
}

impl SupervisorWaker {
    /// Work waits, and no worker is parked. To be called after the work was put into its queue, and after
    /// a look at the parked_workers, whose fence orders the two.
    pub fn notify(&self) {
        if !self.is_notified.load(Ordering::Relaxed)
            && !self.is_notified.swap(true, Ordering::SeqCst)
        {
            self.wake();
        }
    }

    /// Ends the supervisor's wait between two looks.
    pub fn wake(&self) {
        if let Some(supervisor) = self.supervisor.get() {
            supervisor.unpark();
        }
    }

    /// Tells whom to wake.
    pub(super) fn set_supervisor(&self, supervisor: Thread) {
        let _ = self.supervisor.set(supervisor);
        // The supervisor may have parked before, and the supervisor_waker have been rung.
        self.wake();
    }

    /// Supervisor: waits until the supervisor_waker is rung, or `is_over` after a [`wake`](SupervisorWaker::wake).
    pub(super) fn wait(&self, is_over: impl Fn() -> bool) {
        while !self.is_notified.load(Ordering::SeqCst) && !is_over() {
            thread::park();
        }
    }

    /// Supervisor: nothing waits, unless something came meanwhile: then `has_work` finds it, or whoever has
    /// put it there rings again.
    pub(super) fn rest(&self, has_work: impl Fn() -> bool) {
        self.is_notified.store(false, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if has_work() {
            self.is_notified.store(true, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::handoff::{FirstQueue, Handoff};
    use super::super::parked_workers::WorkerKind;
    use super::super::work::Work;
    use super::*;
    use std::sync::atomic::AtomicUsize;

    /// Were a ring lost, this would never end.
    #[test]
    fn no_ring_is_lost_while_the_supervisor_goes_to_rest() {
        const ROUNDS: usize = 20_000;
        let handoff = Handoff::default();
        let supervisor_waker = handoff.supervisor_waker();
        let taken = AtomicUsize::new(0);
        thread::scope(|scope| {
            let supervisor = scope.spawn(|| {
                while taken.load(Ordering::SeqCst) < ROUNDS {
                    supervisor_waker.wait(|| false);
                    while handoff.waiting() > 0 {
                        drop(handoff.pick_up(WorkerKind::Spare, FirstQueue::Blocking, None));
                        taken.fetch_add(1, Ordering::SeqCst);
                    }
                    supervisor_waker.rest(|| handoff.waiting() > 0);
                }
            });
            supervisor_waker.set_supervisor(supervisor.thread().clone());
            for round in 0..ROUNDS {
                handoff.defer(Work::GiveBackMemory);
                while taken.load(Ordering::SeqCst) <= round {
                    thread::yield_now();
                }
            }
        });
    }
}
