//! A thread of the worker pool, which may wait for the disk.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::handoff::{FirstQueue, PickOrder};
use super::lease::Lease;
use super::parked_workers::WorkerKind;
use super::shared::Shared;
use super::slots::QueuedSlot;
use super::turn_runner::{SLICE_MILLIS, TurnRunner};
use super::work::{FinishedFlights, Work};
use crate::clock::{Clock, Millis};
use crate::connection::c_calls;
use crate::connection::client_socket::ClientSocket;
use crate::connection::counters::Counters;
use crate::connection::transport::Transport;
use crate::site::MayBlock;
use crate::site::waiting::{Flight, Slice};

/// A time slice of a job, measured by the clock.
struct TimeSlice<'a> {
    clock: &'a dyn Clock,
    begun_at: Millis,
}

impl Slice for TimeSlice<'_> {
    fn is_over(&self) -> bool {
        self.now().since(self.begun_at) >= SLICE_MILLIS
    }

    fn now(&self) -> Millis {
        self.clock.now().monotonic
    }
}

/// Lets the queues of a worker take part alike: the four queues for turns alternate as the first, and a job
/// is due once in [`SLICE_MILLIS`].
#[derive(Debug)]
struct Rotation {
    first: FirstQueue,
    /// When a job was last due, or a slice last ended.
    sliced_at: Millis,
}

impl Rotation {
    fn new() -> Rotation {
        Rotation {
            first: FirstQueue::Blocking,
            sliced_at: Millis(0),
        }
    }

    /// The order in which to look into the queues at `now`.
    fn order(&self, now: Millis) -> PickOrder {
        PickOrder {
            job_is_due: now.since(self.sliced_at) >= SLICE_MILLIS,
            first: self.first,
        }
    }

    /// Moves on at `now`, after the work that was picked up in this `order` is done. `is_slice` says that it
    /// was a slice of a job.
    fn advance(&mut self, order: PickOrder, is_slice: bool, now: Millis) {
        if is_slice || order.job_is_due {
            self.sliced_at = now;
        }
        if !is_slice {
            self.first = match order.first {
                FirstQueue::Blocking => FirstQueue::Ready,
                FirstQueue::Ready => FirstQueue::BeyondMounts,
                FirstQueue::BeyondMounts => FirstQueue::Handshakes,
                FirstQueue::Handshakes => FirstQueue::Blocking,
            };
        }
    }
}

/// A thread of the worker pool.
#[derive(Debug)]
pub struct Worker<T = ClientSocket> {
    shared: Arc<Shared<T>>,
    turn_runner: TurnRunner<T>,
    kind: WorkerKind,
    /// The time for which a spare worker stays; `None` for a permanent one.
    lease: Option<Lease>,
}

impl<T: Transport + Send + 'static> Worker<T> {
    /// A worker of this `kind`, which counts in `counters` and has buffers of its own.
    #[must_use]
    pub fn new(shared: &Arc<Shared<T>>, counters: &Arc<Counters>, kind: WorkerKind) -> Worker<T> {
        let may_block = match kind.may_block_anywhere() {
            true => MayBlock::Anywhere,
            false => MayBlock::OnRoots,
        };
        Worker {
            shared: Arc::clone(shared),
            turn_runner: TurnRunner::new(Arc::clone(shared), Arc::clone(counters), may_block),
            kind,
            lease: None,
        }
    }

    /// A spare worker, which stays as long as its `lease`.
    pub(super) fn spare(shared: &Arc<Shared<T>>, kind: WorkerKind, lease: Lease) -> Worker<T> {
        let counters = &shared.counters[shared.workers + 1];
        Worker {
            lease: Some(lease),
            ..Worker::new(shared, counters, kind)
        }
    }

    /// Serves until the hand-off is closed, or the lease ends.
    pub(super) fn run(mut self) {
        let mut rotation = Rotation::new();
        let mut now = self.shared.clock.now().monotonic;
        let mut log_flush_due_at: Option<Millis> = None;
        loop {
            let lease_until = self.lease.as_ref().map(Lease::until);
            let due_at = log_flush_due_at.into_iter().chain(lease_until).min();
            let timeout = due_at.map(|due| Duration::from_millis(due.since(now)));
            let order = rotation.order(now);
            // Read before the configuration: a reload changes first the configuration, then the number.
            let recalls = self.shared.handoff.recalls();
            // Also without work: an idle worker must not keep an old configuration.
            self.turn_runner.follow_reload();
            let handoff = &self.shared.handoff;
            let picked_up = handoff.pick_up_unless_recalled(self.kind, order, timeout, recalls);
            let is_slice = matches!(picked_up, Some(Work::Slice(_)));
            now = match picked_up {
                Some(work) => self.perform(work),
                None if self.shared.handoff.is_closed() => break,
                None => self.shared.clock.now().monotonic,
            };
            rotation.advance(order, is_slice, now);
            log_flush_due_at = self.turn_runner.log_flush_due_at(now);
            if log_flush_due_at.is_some_and(|due| now >= due) {
                self.turn_runner.flush_log();
                log_flush_due_at = None;
            }
            let handoff = &self.shared.handoff;
            if let Some(lease) = &mut self.lease
                && lease.has_ended(now, handoff)
            {
                break;
            }
        }
        self.turn_runner.flush_log();
    }

    /// Does the work that was picked up. Returns the time at its end.
    pub fn perform(&mut self, work: Work) -> Millis {
        match work {
            Work::Turn(queued) => self.serve(queued, FinishedFlights::default()),
            Work::Resume(queued, finished) => self.serve(queued, finished),
            Work::Slice(flight) => self.run_slice(&flight),
            Work::GiveBackMemory => {
                c_calls::give_back_memory();
                self.shared.clock.now().monotonic
            }
        }
    }

    /// Runs a job for a slice. Returns the time at its end.
    fn run_slice(&self, flight: &Arc<Flight>) -> Millis {
        let shared = &self.shared;
        let slice = TimeSlice {
            clock: &*shared.clock,
            begun_at: shared.clock.now().monotonic,
        };
        // At the end of the server no connection can use the result.
        if !shared.handoff.is_closed() {
            match catch_unwind(AssertUnwindSafe(|| flight.work(&slice))) {
                Ok(true) => shared.handoff.put_back(Work::Slice(Arc::clone(flight))),
                Ok(false) => {}
                Err(_) => {
                    log::error!(
                        "a job panicked; requests that wait for it are refused, others continue"
                    );
                    flight.give_up();
                }
            }
        }
        slice.now()
    }

    /// Runs one turn, and then drops the `finished` flights. Returns the time at the end. That time is
    /// too early for the next turn, which may have been queued for a deadline that has passed since.
    fn serve(&mut self, queued: QueuedSlot, finished: FinishedFlights) -> Millis {
        let gives_up = finished.is_given_up();
        let now = self.turn_runner.begin(self.shared.clock.sample());
        let (turn_result, now) = self.turn_runner.run(queued, now, gives_up);
        if let Some(slot) = self.turn_runner.requeue_or_park(turn_result, finished) {
            self.shared.report_closed(slot);
        }
        now.monotonic
    }
}

#[cfg(test)]
mod tests {
    use super::super::handoff::Handoff;
    use super::*;

    /// Counts the pick-ups of a worker from full queues, in turns of `turn_millis`: those from the blocking, the
    /// ready, the beyond-mounts and the handshakes queue, and those of the jobs.
    fn picked_up(pick_ups: u32, turn_millis: u64, has_jobs: bool) -> [u32; 5] {
        const PLACES: [u32; 4] = [1, 2, 3, 4];
        let handoff = Handoff::default();
        let turn = |place| Work::Turn(QueuedSlot::numbered(place));
        let refill = |place| match place {
            1 => handoff.put_back(turn(1)),
            2 => handoff.dispatch(QueuedSlot::numbered(2)),
            3 => handoff.defer_beyond_mounts(turn(3)),
            _ => handoff.defer_handshake(QueuedSlot::numbered(4)),
        };
        PLACES.into_iter().for_each(refill);
        if has_jobs {
            handoff.put_back(Work::Slice(Flight::new()));
        }
        let mut rotation = Rotation::new();
        let (mut now, mut counts) = (Millis(1_000), [0; 5]);
        for _ in 0..pick_ups {
            let order = rotation.order(now);
            let work = handoff.pick_up(WorkerKind::Permanent, order, None);
            now = Millis(now.0 + turn_millis);
            let work = work.expect("the queues are full");
            let is_slice = matches!(work, Work::Slice(_));
            rotation.advance(order, is_slice, now);
            match work {
                Work::Turn(queued) => {
                    let place = queued.index();
                    counts[place as usize - 1] += 1;
                    refill(place);
                }
                work => {
                    counts[4] += 1;
                    handoff.put_back(work);
                }
            }
        }
        counts
    }

    #[test]
    fn the_queues_for_turns_are_served_alike_whatever_a_turn_takes() {
        for turn_millis in [0, 1, 5, 50] {
            assert_eq!(picked_up(400, turn_millis, false), [100, 100, 100, 100, 0]);
        }
    }

    #[test]
    fn a_job_has_a_slice_once_in_the_time_of_a_slice() {
        // After each slice the turns have five milliseconds.
        assert_eq!(picked_up(480, 1, true), [100, 100, 100, 100, 80]);
        assert_eq!(picked_up(400, 50, true), [50, 50, 50, 50, 200]);
    }
}
