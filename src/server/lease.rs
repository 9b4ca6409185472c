//! The lease of a spare worker ([`spares`](super::spares)): the supervisor grants it, the worker keeps it.

use super::handoff::Handoff;
use crate::clock::Millis;

/// Milliseconds after which a spare worker ends unless it is still needed.
const LEASE_MILLIS: u64 = 10_000;

/// The time for which a spare worker stays.
#[derive(Debug)]
pub(super) struct Lease {
    until: Millis,
    /// How often permanent workers had picked up work when the lease began.
    permanent_pick_ups: u64,
}

impl Lease {
    /// A lease that begins `now`.
    pub(super) fn new(now: Millis, handoff: &Handoff) -> Lease {
        Lease {
            until: Millis(now.0.saturating_add(LEASE_MILLIS)),
            permanent_pick_ups: handoff.permanent_pick_ups(),
        }
    }

    /// When the lease ends or is renewed.
    pub(super) fn until(&self) -> Millis {
        self.until
    }

    /// Whether the lease has ended at `now`. It is renewed if no permanent worker has picked up work since
    /// it began and none is idle.
    pub(super) fn has_ended(&mut self, now: Millis, handoff: &Handoff) -> bool {
        if now < self.until {
            return false;
        }
        let are_held_up = handoff.permanent_pick_ups() == self.permanent_pick_ups;
        if !are_held_up || handoff.has_idle_worker() {
            return true;
        }
        *self = Lease::new(now, handoff);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::handoff::FirstQueue;
    use super::super::parked_workers::WorkerKind;
    use super::super::work::Work;
    use super::*;
    use std::thread;

    #[test]
    fn a_lease_is_renewed_while_the_permanent_workers_do_nothing() {
        let handoff = Handoff::default();
        let pick_up = |kind| {
            handoff.defer(Work::GiveBackMemory);
            assert!(handoff.pick_up(kind, FirstQueue::Blocking, None).is_some());
        };
        let mut lease = Lease::new(Millis(500), &handoff);
        assert_eq!(lease.until(), Millis(10_500));
        pick_up(WorkerKind::Spare);
        assert!(!lease.has_ended(Millis(10_500), &handoff));
        assert_eq!(lease.until(), Millis(20_500));
        pick_up(WorkerKind::Permanent);
        assert!(!lease.has_ended(Millis(20_499), &handoff));
        assert!(lease.has_ended(Millis(20_500), &handoff));
    }

    #[test]
    fn a_lease_ends_when_a_permanent_worker_is_idle() {
        let handoff = Handoff::default();
        let mut lease = Lease::new(Millis(0), &handoff);
        thread::scope(|scope| {
            scope.spawn(|| handoff.pick_up(WorkerKind::Permanent, FirstQueue::Blocking, None));
            while !handoff.has_idle_worker() {
                thread::yield_now();
            }
            assert!(lease.has_ended(Millis(LEASE_MILLIS), &handoff));
            handoff.close();
        });
    }
}
