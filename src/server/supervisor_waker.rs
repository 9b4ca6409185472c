//! Waking the supervisor of the spare workers ([`spares`](super::spares)).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::thread::{self, Thread};

/// Wakes the supervisor. Notifying costs an atomic load while the supervisor is awake.
#[derive(Debug, Default)]
pub struct SupervisorWaker {
    is_notified: AtomicBool,
    /// The thread of the supervisor, once it runs.
    supervisor: OnceLock<Thread>,
}

impl SupervisorWaker {
    /// Notifies the supervisor that work waits and no worker is parked. To be called after the work was
    /// queued and after a search for parked workers, whose fence orders the two.
    pub fn notify(&self) {
        if !self.is_notified.load(Ordering::Relaxed)
            && !self.is_notified.swap(true, Ordering::SeqCst)
        {
            self.wake();
        }
    }

    /// Wakes the supervisor if it is parked.
    pub fn wake(&self) {
        if let Some(supervisor) = self.supervisor.get() {
            supervisor.unpark();
        }
    }

    /// Names the thread to wake.
    pub(super) fn set_supervisor(&self, supervisor: Thread) {
        let _ = self.supervisor.set(supervisor);
        // The supervisor may have parked before, and a notification may have come.
        self.wake();
    }

    /// Supervisor: waits until it is notified, or until `is_over` after a [`wake`](SupervisorWaker::wake).
    pub(super) fn wait(&self, is_over: impl Fn() -> bool) {
        while !self.is_notified.load(Ordering::SeqCst) && !is_over() {
            thread::park();
        }
    }

    /// Supervisor: withdraws the notification, because no work waits. If work was queued meanwhile, either
    /// `has_work` finds it here, or the thread that queued it notifies again.
    pub(super) fn clear(&self, has_work: impl Fn() -> bool) {
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

    /// This test would never end if a notification were lost.
    #[test]
    fn no_notification_is_lost_while_the_supervisor_clears_the_flag() {
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
                    supervisor_waker.clear(|| handoff.waiting() > 0);
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
