//! How ready connections get from the event loop to the workers.
//!
//! There are four queues. All but the long one have one message per connection:
//!
//! - **quick**: connections that the event loop has found ready. Nearly all of it can be answered from memory, in a
//!   few microseconds. The loop's own thread serves from this queue too: it does not sleep until the
//!   workers have emptied it, and it polls when it is empty.
//! - **slow**: what has shown that it is not quick: it waits for a disk, or has had a whole turn and
//!   wants another. Only workers serve from here, so nothing that others wait for is behind it.
//! - **far**: connections that a spare worker has found to lead beyond a mount point; see
//!   [`spares`](super::spares).
//! - **long**: jobs that take many slices of some milliseconds ([`waiting`](crate::site::waiting)): they have a
//!   queue of their own, so that a turn in the blocking queue is behind one slice at most, however many jobs
//!   there are. Each goes to the end of that queue after a slice.
//!
//! A worker without work parks on the parked_workers. Waking one costs two threads about as much as a
//! request from memory costs altogether, so as few as the load needs are woken, the one that parked
//! last first. One for each connection in the blocking queue, and one for each
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
//! workers (`benches/slow_disk.rs`, `tests/site/slow_disk.rs`).
//!
//! # Waiting for another thread
//!
//! What another thread is getting from the disk is not waited for in a queue: the connection would go
//! round and round in it. The connection is in no queue, but parked with that thread's
//! [`Flight`], which puts it into a queue when it is over: into the quick one if memory has the answer
//! now, and the loop is woken to give it, so that no worker need be free.
//!
//! # When the disk holds up all workers
//!
//! Work that waits in the slow or the job queue while no worker is parked rings a [`SupervisorWaker`]. If nothing is
//! picked up for a while after that, spare workers come ([`spares`](super::spares)) and serve the same
//! queues. Some of them do not go beyond mount points; what leads there they put into a queue of its own:
//!
//! - **far**: for workers that go to any file system.
//!
//! # Bounds
//!
//! A connection is in one queue at a time, once, as its [`QueuedSlot`] cannot be copied. So the queues are bounded by
//! the number of connections though the channels have no bound, and nobody ever waits to put one in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::parked_workers::{ParkedWorkers, WorkerKind};
use super::slots::QueuedSlot;
use super::supervisor_waker::SupervisorWaker;
use super::work::Work;
use crate::site::waiting::Flight;

/// Connections in the ready queue that are worth another worker. The event loop alone is through with
/// them in less than a tenth of a millisecond. Measured with 32 connections, saturated: with 16 the slowest
/// hundredth of the answers takes a quarter longer at the same cost, with 4 each answer costs 4 % more.
/// (The table above was made with 16.)
pub const SHARE: usize = 8;

/// The queue that is looked into first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstQueue {
    /// Connections that are ready.
    Ready,
    /// Connections that need a disk, or have had a long turn.
    Blocking,
    /// Connections that lead beyond a mount point.
    BeyondMounts,
    /// Jobs.
    Jobs,
}

/// The way from the event loop to its workers.
#[derive(Debug)]
pub struct Handoff {
    ready: WorkQueue<QueuedSlot>,
    blocking: WorkQueue<Work>,
    jobs: WorkQueue<Arc<Flight>>,
    beyond_mounts: WorkQueue<Work>,
    parked_workers: ParkedWorkers,
    /// Rung when work waits and no worker is parked.
    supervisor_waker: Arc<SupervisorWaker>,
    pick_ups: PickUps,
    is_closed: AtomicBool,
}

/// How often the workers of each kind have picked up work. They write here with each turn, and the event loop
/// reads what is beside it: so it has cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct PickUps {
    permanent: AtomicU64,
    spare: AtomicU64,
    near: AtomicU64,
}

#[derive(Debug)]
struct WorkQueue<T> {
    sender: Sender<T>,
    receiver: Receiver<T>,
}

impl Handoff {
    /// Empty queues. The `supervisor_waker` is rung when work waits for a worker and none is parked.
    #[must_use]
    pub fn new(supervisor_waker: Arc<SupervisorWaker>) -> Handoff {
        Handoff {
            ready: WorkQueue::new(),
            blocking: WorkQueue::new(),
            jobs: WorkQueue::new(),
            beyond_mounts: WorkQueue::new(),
            parked_workers: ParkedWorkers::default(),
            supervisor_waker,
            pick_ups: PickUps::default(),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Event loop: puts a ready connection into the ready queue. Wakes nobody: the loop serves it
    /// ([`take`](Handoff::take)) unless a worker comes first. Another thread has to wake the loop
    /// (`Shared::hand_back`).
    pub fn dispatch(&self, queued: QueuedSlot) {
        self.ready.put(queued);
    }

    /// Event loop: the next connection in the ready queue, after seeing to it that enough workers help
    /// with the rest.
    pub fn take(&self) -> Option<QueuedSlot> {
        let queued = self.ready.receiver.try_recv().ok()?;
        if self.ready.receiver.len() >= SHARE * (self.parked_workers.waking() + 1) {
            self.parked_workers.wake_one();
        }
        Some(queued)
    }

    /// Puts work into the blocking queue, or a job into the long one, and wakes a worker for it.
    pub fn defer(&self, work: Work) {
        let is_job = matches!(work, Work::Slice(_));
        self.put_back(work);
        if is_job {
            self.call_for_anywhere();
        } else {
            self.call_worker();
        }
    }

    /// Worker that does not go beyond mount points: puts work into the mount queue that leads there.
    pub fn pass_on(&self, work: Work) {
        self.beyond_mounts.put(work);
        self.call_for_anywhere();
    }

    /// Worker: puts back work that it has had, as [`defer`](Handoff::defer) does, but wakes nobody: this
    /// worker looks for work itself.
    pub fn put_back(&self, work: Work) {
        match work {
            Work::Slice(flight) => self.jobs.put(flight),
            work => self.blocking.put(work),
        }
    }

    /// Worker: takes the next work, waiting for it as long as `patience` allows; `None` when it runs
    /// out or the hand-off is closed and empty. `first` says which queue is looked into first: a worker that
    /// alternates lets none starve.
    pub fn pick_up(
        &self,
        kind: WorkerKind,
        first: FirstQueue,
        patience: Option<Duration>,
    ) -> Option<Work> {
        loop {
            if let Some(work) = self.look(kind, first) {
                let pick_ups = match kind {
                    WorkerKind::Permanent => &self.pick_ups.permanent,
                    WorkerKind::Spare => &self.pick_ups.spare,
                    WorkerKind::NearSpare => &self.pick_ups.near,
                };
                pick_ups.fetch_add(1, Ordering::Relaxed);
                // A worker that was woken for another queue may have looked into the quick one first, and may
                // now be gone for long.
                if !self.blocking.is_empty() {
                    self.call_worker();
                }
                if !self.jobs.is_empty() || !self.beyond_mounts.is_empty() {
                    self.call_for_anywhere();
                }
                return Some(work);
            }
            if self.is_closed() {
                return None;
            }
            let is_over = self.parked_workers.park(kind, patience, || {
                self.has_work_for(kind) || self.is_closed()
            });
            if is_over && !self.has_work_for(kind) {
                return None;
            }
        }
    }

    /// Whether any queue has something.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.is_ready() || self.waiting() > 0
    }

    fn has_work_for(&self, kind: WorkerKind) -> bool {
        let has_near_work = !self.ready.is_empty() || !self.blocking.is_empty();
        let goes_anywhere = kind.goes_anywhere();
        has_near_work || goes_anywhere && (!self.jobs.is_empty() || !self.beyond_mounts.is_empty())
    }

    /// Whether the ready queue has something.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// How much work waits for a worker: all but the ready queue.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting_near() + self.jobs.receiver.len() + self.beyond_mounts.receiver.len()
    }

    /// How much of it may be picked up by a worker that does not go beyond mount points.
    #[must_use]
    pub fn waiting_near(&self) -> usize {
        self.blocking.receiver.len()
    }

    /// How often work was picked up so far.
    #[must_use]
    pub fn pick_ups(&self) -> u64 {
        self.pick_ups_for_anywhere() + self.pick_ups.near.load(Ordering::Relaxed)
    }

    /// How often workers have picked up work that go to any file system.
    #[must_use]
    pub fn pick_ups_for_anywhere(&self) -> u64 {
        self.permanent_pick_ups() + self.pick_ups.spare.load(Ordering::Relaxed)
    }

    /// How often permanent workers have picked up work so far.
    #[must_use]
    pub fn permanent_pick_ups(&self) -> u64 {
        self.pick_ups.permanent.load(Ordering::Relaxed)
    }

    /// The supervisor_waker that is rung when work waits and no worker is parked.
    #[must_use]
    pub fn supervisor_waker(&self) -> &Arc<SupervisorWaker> {
        &self.supervisor_waker
    }

    /// Whether a permanent worker has nothing to do.
    #[must_use]
    pub fn has_idle_worker(&self) -> bool {
        self.parked_workers.has_permanent()
    }

    /// Tells the workers to finish what there is and end.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        while self.parked_workers.wake_one() {}
        self.supervisor_waker.wake();
    }

    /// Whether [`close`](Handoff::close) was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    /// Wakes a worker. If none is parked, the supervisor has to see to it that one comes.
    fn call_worker(&self) {
        if !self.parked_workers.wake_one() {
            self.supervisor_waker.notify();
        }
    }

    /// Wakes a worker that goes to any file system. If none is parked, the supervisor has to see to it that
    /// one comes.
    fn call_for_anywhere(&self) {
        if !self.parked_workers.wake_one_for_anywhere() {
            self.supervisor_waker.notify();
        }
    }

    fn look(&self, kind: WorkerKind, first: FirstQueue) -> Option<Work> {
        let slow = || self.blocking.receiver.try_recv().ok();
        let quick = || self.ready.receiver.try_recv().ok().map(Work::Turn);
        let long = || self.jobs.receiver.try_recv().ok().map(Work::Slice);
        let far = || self.beyond_mounts.receiver.try_recv().ok();
        match first {
            FirstQueue::Ready if !kind.goes_anywhere() => quick().or_else(slow),
            _ if !kind.goes_anywhere() => slow().or_else(quick),
            FirstQueue::Ready => quick().or_else(slow).or_else(long).or_else(far),
            FirstQueue::Blocking => slow().or_else(quick).or_else(far).or_else(long),
            FirstQueue::BeyondMounts => far().or_else(slow).or_else(quick).or_else(long),
            FirstQueue::Jobs => long().or_else(far).or_else(slow).or_else(quick),
        }
    }
}

impl Default for Handoff {
    fn default() -> Handoff {
        Handoff::new(Arc::default())
    }
}

impl<T> WorkQueue<T> {
    fn new() -> WorkQueue<T> {
        let (sender, receiver) = unbounded();
        WorkQueue { sender, receiver }
    }

    fn put(&self, item: T) {
        // Cannot fail: the receiver is in the same struct.
        let _ = self.sender.send(item);
    }

    fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }
}

#[cfg(test)]
mod tests;
