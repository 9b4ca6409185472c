//! A thread of the worker pool, which may wait for the disk.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::handoff::FirstQueue;
use super::lease::Lease;
use super::parked_workers::WorkerKind;
use super::shared::Shared;
use super::slots::QueuedSlot;
use super::turn_runner::{SLICE_MILLIS, TurnRunner};
use super::work::{FinishedFlights, Work};
use crate::clock::{Clock, Millis};
use crate::connection::c_calls;
use crate::connection::thread_buffers::ThreadBuffers;
use crate::connection::transport::{Socket, Transport};
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

/// The order in which a worker looks into the queues. The three queues for turns alternate as the first.
/// The jobs queue is first once in [`SLICE_MILLIS`].
#[derive(Debug, Default)]
struct Rotation {
    turns: u8,
    /// When the jobs queue was last first, or a slice last ended. For [`SLICE_MILLIS`] from then on the
    /// other queues are first.
    sliced_at: Millis,
}

impl Rotation {
    /// The queue to look into first at `now`.
    fn first(&self, now: Millis) -> FirstQueue {
        if now.since(self.sliced_at) >= SLICE_MILLIS {
            return FirstQueue::Jobs;
        }
        match self.turns {
            0 => FirstQueue::Blocking,
            1 => FirstQueue::Ready,
            _ => FirstQueue::BeyondMounts,
        }
    }

    /// Moves on at `now`, after the work that was found with `first` as the first queue is done. `is_slice`
    /// says that this work was a slice of a job.
    fn advance(&mut self, first: FirstQueue, is_slice: bool, now: Millis) {
        if is_slice || first == FirstQueue::Jobs {
            self.sliced_at = now;
        }
        if first != FirstQueue::Jobs {
            self.turns = (self.turns + 1) % 3;
        }
    }
}

/// A thread of the worker pool.
#[derive(Debug)]
pub struct Worker<T = Socket> {
    shared: Arc<Shared<T>>,
    turn_runner: TurnRunner<T>,
    kind: WorkerKind,
    /// The time for which a spare worker stays; `None` for a permanent one.
    lease: Option<Lease>,
}

impl<T: Transport + Send + 'static> Worker<T> {
    /// A worker of this `kind`, with buffers of its own.
    #[must_use]
    pub fn new(shared: &Arc<Shared<T>>, buffers: ThreadBuffers, kind: WorkerKind) -> Worker<T> {
        let may_block = match kind.may_block_anywhere() {
            true => MayBlock::Anywhere,
            false => MayBlock::OnRoots,
        };
        Worker {
            shared: Arc::clone(shared),
            turn_runner: TurnRunner::new(Arc::clone(shared), buffers, may_block),
            kind,
            lease: None,
        }
    }

    /// A spare worker, which stays as long as its `lease`.
    pub(super) fn spare(shared: &Arc<Shared<T>>, kind: WorkerKind, lease: Lease) -> Worker<T> {
        let counters = &shared.counters[shared.workers + 1];
        let buffers = ThreadBuffers::new(&shared.context.config, Arc::clone(counters));
        Worker {
            lease: Some(lease),
            ..Worker::new(shared, buffers, kind)
        }
    }

    /// Serves until the hand-off is closed, or the lease ends.
    pub(super) fn run(mut self) {
        let mut rotation = Rotation::default();
        let mut now = self.shared.clock.now().monotonic;
        let mut log_flush_due_at: Option<Millis> = None;
        loop {
            let lease_until = self.lease.as_ref().map(Lease::until);
            let due_at = log_flush_due_at.into_iter().chain(lease_until).min();
            let timeout = due_at.map(|due| Duration::from_millis(due.since(now)));
            let first = rotation.first(now);
            let picked_up = self.shared.handoff.pick_up(self.kind, first, timeout);
            let is_slice = matches!(picked_up, Some(Work::Slice(_)));
            now = match picked_up {
                Some(work) => self.perform(work),
                None if self.shared.handoff.is_closed() => break,
                None => self.shared.clock.now().monotonic,
            };
            rotation.advance(first, is_slice, now);
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
        let now = self.shared.clock.now();
        let (turn_result, now) = self.turn_runner.run(queued, now, gives_up);
        if let Some(slot) = self.turn_runner.requeue_or_park(turn_result, finished) {
            self.shared.report_closed(slot);
        }
        now.monotonic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first queue in each of `turns` iterations that take one millisecond each.
    fn firsts(
        rotation: &mut Rotation,
        turns: u64,
        is_slice: impl Fn(FirstQueue) -> bool,
    ) -> Vec<FirstQueue> {
        (0..turns)
            .map(|millis| {
                let first = rotation.first(Millis(1000 + millis));
                rotation.advance(first, is_slice(first), Millis(1001 + millis));
                first
            })
            .collect()
    }

    #[test]
    fn each_queue_for_turns_is_first_as_often_as_the_others() {
        use FirstQueue::{BeyondMounts, Blocking, Jobs, Ready};
        let firsts = firsts(&mut Rotation::default(), 10, |_| false);
        let expected = [
            Jobs,
            Blocking,
            Ready,
            BeyondMounts,
            Blocking,
            Ready,
            Jobs,
            BeyondMounts,
            Blocking,
            Ready,
        ];
        assert_eq!(
            firsts, expected,
            "the jobs queue is first even if it is empty"
        );
    }

    #[test]
    fn a_job_has_a_slice_once_in_the_time_of_a_slice() {
        let is_slice = |first| first == FirstQueue::Jobs;
        let firsts = firsts(&mut Rotation::default(), 61, is_slice);
        let of = |queue| firsts.iter().filter(|first| **first == queue).count();
        assert_eq!(of(FirstQueue::Jobs), 11);
        assert_eq!(
            [
                FirstQueue::Blocking,
                FirstQueue::Ready,
                FirstQueue::BeyondMounts
            ]
            .map(of),
            [17, 17, 16]
        );
    }
}
