//! The queues through which connections and jobs get to the workers.
//!
//! There are five queues. The jobs queue has one message for each job, the others one for each connection.
//! (The blocking queue also has the rare [`Work::GiveBackMemory`].)
//!
//! - **ready**: connections that the event loop has found ready, but for the first few of a round, which the
//!   loop keeps for itself. Nearly all are answered from memory in a few microseconds. The event loop serves
//!   from this queue too: it does not sleep while the workers empty the queue, and it polls once the queue is
//!   empty.
//! - **blocking**: connections that need a disk, or that want more than a whole turn. Only workers serve
//!   from here, so no connection that memory can answer waits behind them.
//! - **handshakes**: connections whose TLS handshake needs cryptography, some tenths of a millisecond each. Only
//!   workers serve from here.
//! - **beyond mounts**: connections deferred by spare workers that must not block beyond mount points
//!   ([`spares`](super::spares)).
//! - **jobs**: work that takes many slices of some milliseconds ([`waiting`](crate::site::waiting)). Each
//!   job goes to the end of its queue after a slice. So a turn in the blocking queue waits for one slice
//!   at most, however many jobs there are.
//!
//! A worker without work parks. Waking a worker costs both threads together about as much as a request
//! from memory, so as few are woken as the load needs. One is woken for each connection in the blocking
//! queue, and one for each [`READY_PER_WORKER`] connections in the ready queue. The worker that parked
//! last is woken first.
//!
//! # Measurements
//!
//! Four designs were built and measured in the same minutes on two CPUs, with the clients on the same
//! machine. The table shows CPU microseconds of the server per request for 1 KB from memory.
//!
//! - *batch*: the loop sends the events of one poll as one message over a channel of two, and waits
//!   while the channel is full.
//! - *wait*: one message per connection; the loop waits until the queue is empty.
//! - *park*: workers park as here, and are woken one at a time as the queue grows; the loop only polls.
//! - *serve*: the design of this module.
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
//! The last four rows are paced: 40,000 requests a second, which is 30 % of what two CPUs can do. The row
//! with one connection has 5,000, as the client waits for each response. Most of the cost is waking: a
//! loop that sleeps until the workers have finished has to be woken once more. Only with 2,000 saturated
//! connections do two alternating threads cost less than three that share the two CPUs.
//!
//! With a disk that takes 50 ms, the p99 of requests from memory grew to 75 times once all workers waited
//! for the disk (*wait*). Now it grows to 1.3 to 1.5 times with four times as many readers as workers
//! (`benches/slow_disk.rs`, `tests/site/slow_disk.rs`).
//!
//! # Waiting for another thread
//!
//! If another thread is already loading a file, the connection is parked with the [`Flight`] of that
//! load and is in no queue. In a queue it would be picked up again and again in vain. When the flight is
//! over, it puts the connection into a queue. If memory can answer then, that is the ready queue, and
//! the event loop is woken, so that no worker need be free.
//!
//! # When the disk holds up all workers
//!
//! Work in any queue but the ready one notifies the [`SupervisorWaker`] if no worker is parked. If no work
//! is picked up for a while after that, spare workers start ([`spares`](super::spares)) and serve the same
//! queues. Some of them must not block beyond mount points: they put such connections into the queue
//! *beyond mounts*, for workers that may use any file system.
//!
//! # Bounds
//!
//! A connection is in one queue at most, once, as its [`QueuedSlot`] cannot be copied. So the number of
//! connections bounds the queues, though the channels have no bound, and putting one in never blocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::parked_workers::{ParkedWorkers, WorkerKind};
use super::slots::QueuedSlot;
use super::supervisor_waker::SupervisorWaker;
use super::work::Work;
use crate::site::waiting::Flight;

/// Connections in the ready queue for which one more worker is woken. The event loop alone serves them in
/// less than a tenth of a millisecond. Measured with 32 saturated connections: with 16 the slowest hundredth
/// of the responses takes a quarter longer at the same cost, with 4 each response costs 4 % more. (The table
/// above was made with 16.)
pub const READY_PER_WORKER: usize = 8;

/// The order in which a worker looks into the queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PickOrder {
    /// Whether a job comes before all turns.
    pub job_is_due: bool,
    /// The first of the queues for turns.
    pub first: FirstQueue,
}

impl From<FirstQueue> for PickOrder {
    /// The order in which `first` comes before all other queues.
    fn from(first: FirstQueue) -> PickOrder {
        PickOrder {
            job_is_due: false,
            first,
        }
    }
}

/// The queue for turns that a worker looks into first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstQueue {
    /// Connections that are ready.
    Ready,
    /// Connections that need a disk, or that want more than a whole turn.
    Blocking,
    /// Connections deferred by workers that must not block beyond mount points.
    BeyondMounts,
    /// Connections whose TLS handshake needs cryptography.
    Handshakes,
}

/// The queues between the event loop and its workers, and the parked workers.
#[derive(Debug)]
pub struct Handoff {
    ready: WorkQueue<QueuedSlot>,
    blocking: WorkQueue<Work>,
    jobs: WorkQueue<Arc<Flight>>,
    beyond_mounts: WorkQueue<Work>,
    handshakes: WorkQueue<QueuedSlot>,
    parked_workers: ParkedWorkers,
    /// Notified when work waits and no worker is parked.
    supervisor_waker: Arc<SupervisorWaker>,
    pick_ups: PickUps,
    /// How often [`recall`](Handoff::recall) was called.
    recalls: AtomicU64,
    is_closed: AtomicBool,
}

/// How often the workers of each kind have picked up work. Workers write here with each turn, and the event
/// loop reads the fields beside it, so it has cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct PickUps {
    permanent: AtomicU64,
    spare: AtomicU64,
    on_roots: AtomicU64,
}

#[derive(Debug)]
struct WorkQueue<T> {
    sender: Sender<T>,
    receiver: Receiver<T>,
}

impl Handoff {
    /// Empty queues. They notify `supervisor_waker` when work waits for a worker and none is parked.
    #[must_use]
    pub fn new(supervisor_waker: Arc<SupervisorWaker>) -> Handoff {
        Handoff {
            ready: WorkQueue::new(),
            blocking: WorkQueue::new(),
            jobs: WorkQueue::new(),
            beyond_mounts: WorkQueue::new(),
            handshakes: WorkQueue::new(),
            parked_workers: ParkedWorkers::default(),
            supervisor_waker,
            pick_ups: PickUps::default(),
            recalls: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Event loop: puts a ready connection into the ready queue. This wakes no thread: the loop takes the
    /// connection ([`take`](Handoff::take)) unless a worker is faster. Another thread that calls this has
    /// to wake the loop (`Shared::hand_back`).
    pub fn dispatch(&self, queued: QueuedSlot) {
        self.ready.put(queued);
    }

    /// Event loop: takes the next connection from the ready queue, after waking a worker if those that are
    /// awake are too few for the rest.
    pub fn take(&self) -> Option<QueuedSlot> {
        let queued = self.ready.receiver.try_recv().ok()?;
        if self.ready.receiver.len() >= READY_PER_WORKER * (self.parked_workers.waking() + 1) {
            self.parked_workers.wake_one();
        }
        Some(queued)
    }

    /// Puts work into the blocking queue, or a job into the jobs queue, and wakes a worker for it.
    pub fn defer(&self, work: Work) {
        let is_job = matches!(work, Work::Slice(_));
        self.put_back(work);
        if is_job {
            self.wake_worker_for_anywhere();
        } else {
            self.wake_worker();
        }
    }

    /// Worker that must not block beyond mount points: defers a connection to the workers that may.
    pub fn defer_beyond_mounts(&self, work: Work) {
        self.beyond_mounts.put(work);
        self.wake_worker_for_anywhere();
    }

    /// Defers a connection whose TLS handshake needs cryptography, and wakes a worker for it.
    pub fn defer_handshake(&self, queued: QueuedSlot) {
        self.handshakes.put(queued);
        self.wake_worker();
    }

    /// Worker: puts work back as [`defer`](Handoff::defer) does, but wakes no other worker, because this
    /// one looks for work next.
    pub fn put_back(&self, work: Work) {
        match work {
            Work::Slice(flight) => self.jobs.put(flight),
            work => self.blocking.put(work),
        }
    }

    /// Worker: takes the next work, and waits for it for at most `timeout`. `None` if the time is over, or if
    /// the hand-off is closed and empty. A worker that alternates the first queue of `order`, and makes a job
    /// due now and then, lets no queue starve.
    pub fn pick_up(
        &self,
        kind: WorkerKind,
        order: impl Into<PickOrder>,
        timeout: Option<Duration>,
    ) -> Option<Work> {
        self.pick_up_unless_recalled(kind, order.into(), timeout, self.recalls())
    }

    /// As [`pick_up`](Handoff::pick_up), but does not wait if there were other [`recalls`](Handoff::recalls)
    /// than these.
    pub fn pick_up_unless_recalled(
        &self,
        kind: WorkerKind,
        order: PickOrder,
        timeout: Option<Duration>,
        recalls: u64,
    ) -> Option<Work> {
        loop {
            if let Some(work) = self.try_pick_up(kind, order) {
                let pick_ups = match kind {
                    WorkerKind::Permanent => &self.pick_ups.permanent,
                    WorkerKind::Spare => &self.pick_ups.spare,
                    WorkerKind::SpareOnRoots => &self.pick_ups.on_roots,
                };
                pick_ups.fetch_add(1, Ordering::Relaxed);
                // A worker that was woken for another queue may have taken from the ready queue first, and
                // may not come back for long.
                if self.waiting_on_roots() > 0 {
                    self.wake_worker();
                }
                if !self.jobs.is_empty() || !self.beyond_mounts.is_empty() {
                    self.wake_worker_for_anywhere();
                }
                return Some(work);
            }
            if self.is_closed() {
                return None;
            }
            let is_recalled = || self.recalls() != recalls;
            let is_over = self.parked_workers.park(kind, timeout, || {
                self.has_work(kind.may_block_anywhere()) || self.is_closed() || is_recalled()
            });
            if (is_over || is_recalled()) && !self.has_work(kind.may_block_anywhere()) {
                return None;
            }
        }
    }

    /// The lengths of the queues, by name.
    #[must_use]
    pub fn queue_lengths(&self) -> [(&'static str, usize); 5] {
        [
            ("ready", self.ready.receiver.len()),
            ("blocking", self.blocking.receiver.len()),
            ("beyond_mounts", self.beyond_mounts.receiver.len()),
            ("jobs", self.jobs.receiver.len()),
            ("handshakes", self.handshakes.receiver.len()),
        ]
    }

    /// The number of parked workers, spare ones included.
    #[must_use]
    pub fn parked(&self) -> usize {
        self.parked_workers.len()
    }

    /// Whether there is work for a worker, which may or must not block `anywhere`.
    #[must_use]
    pub fn has_work(&self, anywhere: bool) -> bool {
        let has_other_work = || !self.jobs.is_empty() || !self.beyond_mounts.is_empty();
        self.is_ready() || self.waiting_on_roots() > 0 || anywhere && has_other_work()
    }

    /// Whether the ready queue has connections.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The amount of work in all queues but the ready one, which only workers do.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting_on_roots() + self.jobs.receiver.len() + self.beyond_mounts.receiver.len()
    }

    /// The part of [`waiting`](Handoff::waiting) for which a worker need not block beyond mount points.
    #[must_use]
    pub fn waiting_on_roots(&self) -> usize {
        self.blocking.receiver.len() + self.handshakes.receiver.len()
    }

    /// How often workers have picked up work so far.
    #[must_use]
    pub fn pick_ups(&self) -> u64 {
        self.pick_ups_for_anywhere() + self.pick_ups.on_roots.load(Ordering::Relaxed)
    }

    /// How often workers that may use any file system have picked up work so far.
    #[must_use]
    pub fn pick_ups_for_anywhere(&self) -> u64 {
        self.permanent_pick_ups() + self.pick_ups.spare.load(Ordering::Relaxed)
    }

    /// How often permanent workers have picked up work so far.
    #[must_use]
    pub fn permanent_pick_ups(&self) -> u64 {
        self.pick_ups.permanent.load(Ordering::Relaxed)
    }

    /// The waker that is notified when work waits and no worker is parked.
    #[must_use]
    pub fn supervisor_waker(&self) -> &Arc<SupervisorWaker> {
        &self.supervisor_waker
    }

    /// Whether a permanent worker is parked.
    #[must_use]
    pub fn has_idle_worker(&self) -> bool {
        self.parked_workers.has_permanent()
    }

    /// How often all workers were recalled so far.
    #[must_use]
    pub fn recalls(&self) -> u64 {
        self.recalls.load(Ordering::SeqCst)
    }

    /// Wakes all parked workers, so that none keeps an old configuration while it has no work.
    pub fn recall(&self) {
        self.recalls.fetch_add(1, Ordering::SeqCst);
        while self.parked_workers.wake_one() {}
    }

    /// Makes the workers finish the queued work and end.
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

    /// Wakes a worker. If none is parked, notifies the supervisor, which may start one.
    fn wake_worker(&self) {
        if !self.parked_workers.wake_one() {
            self.supervisor_waker.notify();
        }
    }

    /// Wakes a worker that may use any file system. If none is parked, notifies the supervisor.
    fn wake_worker_for_anywhere(&self) {
        if !self.parked_workers.wake_one_for_anywhere() {
            self.supervisor_waker.notify();
        }
    }

    fn try_pick_up(&self, kind: WorkerKind, order: PickOrder) -> Option<Work> {
        let blocking = || self.blocking.receiver.try_recv().ok();
        let ready = || self.ready.receiver.try_recv().ok().map(Work::Turn);
        let jobs = || self.jobs.receiver.try_recv().ok().map(Work::Slice);
        let mounts = || self.beyond_mounts.receiver.try_recv().ok();
        let handshakes = || self.handshakes.receiver.try_recv().ok().map(Work::Turn);
        if !kind.may_block_anywhere() {
            return match order.first {
                FirstQueue::Ready => ready().or_else(blocking).or_else(handshakes),
                FirstQueue::Handshakes => handshakes().or_else(blocking).or_else(ready),
                _ => blocking().or_else(ready).or_else(handshakes),
            };
        }
        if order.job_is_due
            && let Some(job) = jobs()
        {
            return Some(job);
        }
        match order.first {
            FirstQueue::Ready => ready().or_else(blocking).or_else(mounts),
            FirstQueue::Blocking => blocking().or_else(ready).or_else(mounts),
            FirstQueue::BeyondMounts => mounts().or_else(blocking).or_else(ready),
            FirstQueue::Handshakes => handshakes()
                .or_else(blocking)
                .or_else(ready)
                .or_else(mounts),
        }
        .or_else(handshakes)
        .or_else(jobs)
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
        // This cannot fail: the receiver is in the same struct.
        let _ = self.sender.send(item);
    }

    fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }
}

#[cfg(test)]
mod tests;
