//! Spare workers: threads that serve while the disk holds up all workers.
//!
//! A worker waits for the disk: in open(2), read(2) or sendfile(2). A file system that hangs (NFS without
//! its server, FUSE) keeps it there for minutes. Requests for what is not in memory on that file system
//! take one worker after the other. With the last one every file that is not in memory would wait, those
//! on healthy disks included. Spare workers take over then.
//!
//! ```text
//!   Handoff::defer, pick_up   work waits, and no worker is parked:    SupervisorWaker::ring
//!   supervisor                SupervisorWaker::wait; each 50 ms PoolStallDetector::look at the queues
//!                               nothing waits any more:               it sleeps until the next ring
//!                               nothing was picked up for 250 ms:     a spare worker for all that waits
//!   spare worker              Worker::run, from the same queues, until its Lease ends
//! ```
//!
//! The supervisor is one thread of the server. It sleeps unless work waits, so a server whose workers
//! keep up pays one load for a deferred connection, and nothing for one that memory answers.
//!
//! # Why 250 milliseconds
//!
//! A disk that is merely slow must not start threads. With one worker and a disk that takes 50 ms per
//! read, work is picked up every 50 ms; with more workers more often. Slices of jobs and turns last 5 ms.
//! So 250 ms without any worker at the queues are far beyond what an ordinary disk does, and short for
//! who waits. A disk that does take longer gets more readers, which does no harm. Time counts in looks of
//! the supervisor, so that a process that was stopped for an hour is not taken for a stalled one.
//!
//! As many spare workers start at once as work waits: nothing tells which of it is for the file system
//! that hangs, and one after the other would cost 250 ms each. In `tests/site/hung_mount.rs`, with two workers
//! and 120 clients of a file system that hangs, one request for another file waits for 0.3 s, and those
//! after it for less than a millisecond, all but a few (2026-11-30, 2 CPUs).
//!
//! # Bounds
//!
//! An event loop has at most [`most_spares`] of them, four times as many as workers, within 16 and 64: on a
//! small machine enough for the images of a page that are all on the same dead server, on a large one no
//! more threads than it can spare. The reserve of file descriptors counts them.
//!
//! A file system that hangs is asked for again and again, and would hold all of these too. So a quarter of
//! them, the *near* ones, do not go beyond mount points below a root
//! ([`MayBlock::OnRoots`](crate::site::MayBlock::OnRoots)): the kernel tells where a path leads before the file system
//! there is asked anything. They pass on what leads there, and listings and jobs, to the other workers
//! (the mount queue of the [`handoff`](super::handoff)). So files on the file system of a root are served
//! however long those beyond a mount point hang, and however many are asked for. Files beyond other mount
//! points may have to wait with them.
//!
//! These can still hold the near ones as well: a hanging file system that a root itself is on, a precompressed
//! form that is a link beyond a mount point, a kernel older than Linux 5.6. If all are held, what is not in
//! memory waits.
//!
//! # Their end
//!
//! A spare worker has a lease of ten seconds. It is renewed if no permanent worker was free or picked
//! up anything meanwhile; otherwise the spare worker ends after what it is at. One that the disk holds up
//! is not waited for at the end of the server, no more than a worker is.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::Sender;

use super::lease::Lease;
use super::parked_workers::WorkerKind;
use super::shared::Shared;
use super::supervisor_waker::SupervisorWaker;
use super::worker::Worker;
use crate::clock::Millis;

/// Time between two looks at queues in which work waits.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks in a row that have found work waiting and nothing picked up, after which spare workers start.
const LOOKS_OF_A_STALL: u32 = 5;

/// Milliseconds between two notices of an event loop.
const NOTICE_EVERY_MILLIS: u64 = 60_000;

/// The part of the spare workers that do not go beyond mount points: one of so many.
const NEAR_PART: usize = 4;

/// How many spare workers an event loop with so many `workers` has at most.
#[must_use]
pub fn most_spares(workers: usize) -> usize {
    workers.saturating_mul(4).clamp(16, 64)
}

/// Finds out whether work waits that no worker picks up.
#[derive(Debug, Default)]
struct PoolStallDetector {
    pick_ups: u64,
    /// Looks since anything was picked up.
    still_looks: u32,
}

impl PoolStallDetector {
    /// A look, one of a series at equal intervals: so many `pick_ups` there were up to now, and so much
    /// work is `waiting`. Returns how many more workers it takes.
    fn look(&mut self, pick_ups: u64, waiting: usize) -> usize {
        if waiting == 0 || pick_ups != self.pick_ups {
            self.pick_ups = pick_ups;
            self.still_looks = 0;
            return 0;
        }
        self.still_looks += 1;
        if self.still_looks < LOOKS_OF_A_STALL {
            return 0;
        }
        // Those that are started now have as long to pick something up.
        self.still_looks = 0;
        waiting
    }
}

/// Tells when a notice may be given again.
#[derive(Debug, Default)]
struct NoticeLimit(Option<Millis>);

impl NoticeLimit {
    fn allows(&mut self, now: Millis) -> bool {
        let is_due = self
            .0
            .is_none_or(|last| now.since(last) >= NOTICE_EVERY_MILLIS);
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }
}

/// The spare workers of one event loop that go equally far.
#[derive(Debug)]
struct SpareCrew {
    detector: PoolStallDetector,
    /// Those that run.
    running: Arc<AtomicUsize>,
    most: usize,
}

/// The spare workers of one event loop.
#[derive(Debug)]
struct Spares {
    shared: Arc<Shared>,
    anywhere: SpareCrew,
    near: SpareCrew,
    /// Those that were ever started.
    started: u64,
    notices: NoticeLimit,
    failures: NoticeLimit,
}

/// The place of a spare worker, counted until it is dropped.
struct SparePlace(Arc<AtomicUsize>);

impl SparePlace {
    /// One of the `most` there are, of which some are taken.
    fn take(taken: &Arc<AtomicUsize>, most: usize) -> Option<SparePlace> {
        // Only the supervisor takes; others give back.
        if taken.load(Ordering::Relaxed) >= most {
            return None;
        }
        taken.fetch_add(1, Ordering::Relaxed);
        Some(SparePlace(Arc::clone(taken)))
    }
}

impl Drop for SparePlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl SpareCrew {
    fn new(most: usize) -> SpareCrew {
        SpareCrew {
            detector: PoolStallDetector::default(),
            running: Arc::default(),
            most,
        }
    }

    fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }
}

impl Spares {
    fn of(shared: &Arc<Shared>) -> Spares {
        let most = most_spares(shared.workers);
        let near = most / NEAR_PART;
        Spares {
            shared: Arc::clone(shared),
            anywhere: SpareCrew::new(most - near),
            near: SpareCrew::new(near),
            started: 0,
            notices: NoticeLimit::default(),
            failures: NoticeLimit::default(),
        }
    }

    /// A look at the queues, after which there are enough spare workers.
    fn look(&mut self, alive: &Sender<()>) {
        let handoff = &self.shared.handoff;
        let (near, anywhere) = (&mut self.near.detector, &mut self.anywhere.detector);
        let wanted_near = near.look(handoff.pick_ups(), handoff.waiting_near());
        let wanted = anywhere.look(handoff.pick_ups_for_anywhere(), handoff.waiting());
        if wanted + wanted_near == 0 {
            return;
        }
        let now = self.shared.clock.now().monotonic;
        let before = self.near.running() + self.anywhere.running();
        let started = self
            .start(WorkerKind::NearSpare, wanted_near, alive, now)
            .and_then(|()| self.start(WorkerKind::Spare, wanted, alive, now));
        if let Err(error) = started {
            if self.failures.allows(now) {
                log::error!("no thread for a spare worker: {error}; this is tried again");
            }
            return;
        }
        let (near, anywhere) = (self.near.running(), self.anywhere.running());
        let running = near + anywhere;
        if self.notices.allows(now) {
            let workers = self.workers();
            if running > before {
                log::warn!("{workers} wait for the disk; {running} more serve meanwhile");
            } else {
                log::warn!(
                    "{workers} and {anywhere} spare ones wait for the disk, the most there are; {near} more \
                     serve what is on the file system of the root"
                );
            }
        }
    }

    /// The permanent workers, for a notice.
    fn workers(&self) -> String {
        let Shared {
            workers, number, ..
        } = *self.shared;
        if self.shared.context.config.event_loops == 1 {
            format!("all {workers} workers")
        } else {
            format!("all {workers} workers of event loop {number}")
        }
    }

    /// Starts so many of a `kind`, or as many as there may be.
    fn start(
        &mut self,
        kind: WorkerKind,
        count: usize,
        alive: &Sender<()>,
        now: Millis,
    ) -> io::Result<()> {
        for _ in 0..count {
            let of = match kind.goes_anywhere() {
                true => &self.anywhere,
                false => &self.near,
            };
            let Some(place) = SparePlace::take(&of.running, of.most) else {
                break;
            };
            let lease = Lease::new(now, &self.shared.handoff);
            let worker = Worker::spare(&self.shared, kind, lease);
            self.started += 1;
            let name = format!("spare-{}.{}", self.shared.number, self.started);
            let alive = alive.clone();
            thread::Builder::new().name(name).spawn(move || {
                worker.run();
                drop(place);
                drop(alive);
            })?;
        }
        Ok(())
    }
}

/// Starts the supervisor of all event loops. It ends when they close their hand-offs, and so do the spare
/// workers, which hold `alive` until then.
pub(super) fn supervise(all: &Arc<[Arc<Shared>]>, alive: Sender<()>) {
    let supervisor_waker = all[0].handoff.supervisor_waker();
    let (ours, all) = (Arc::clone(supervisor_waker), Arc::clone(all));
    let thread = thread::Builder::new().name("supervisor".to_owned());
    match thread.spawn(move || run(&ours, &all, &alive)) {
        Ok(supervisor) => {
            supervisor_waker.set_supervisor(supervisor.thread().clone());
        }
        Err(error) => {
            log::error!(
                "no thread to start spare workers: {error}; a disk that hangs holds up all"
            );
        }
    }
}

fn run(supervisor_waker: &SupervisorWaker, all: &[Arc<Shared>], alive: &Sender<()>) {
    let mut spares: Vec<Spares> = all.iter().map(Spares::of).collect();
    let is_over = || all.iter().any(|shared| shared.handoff.is_closed());
    let has_work = || all.iter().any(|shared| shared.handoff.waiting() > 0);
    loop {
        supervisor_waker.wait(is_over);
        thread::park_timeout(LOOK_EVERY);
        if is_over() {
            return;
        }
        spares.iter_mut().for_each(|spares| spares.look(alive));
        if !has_work() {
            supervisor_waker.rest(has_work);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_five_looks_at_waiting_work_without_a_pick_up() {
        let mut detector = PoolStallDetector::default();
        let mut look = |pick_ups, waiting| detector.look(pick_ups, waiting);
        assert_eq!(look(7, 3), 0, "seven were picked up before");
        assert_eq!([(); 4].map(|()| look(7, 3)), [0; 4]);
        assert_eq!(look(7, 3), 3, "one for each that waits");
        assert_eq!([(); 4].map(|()| look(7, 2)), [0; 4], "they are given time");
        assert_eq!(look(7, 2), 2);
    }

    /// A disk that takes 50 ms, one worker: it is at the queues between any two looks, or every other one.
    #[test]
    fn a_slow_disk_is_no_stall() {
        let mut detector = PoolStallDetector::default();
        for pause in 1..=u64::from(LOOKS_OF_A_STALL) {
            for look in 0..100 {
                assert_eq!(detector.look(look / pause, 30), 0, "{pause}");
            }
        }
    }

    #[test]
    fn a_stall_begins_anew_when_nothing_has_waited() {
        let mut detector = PoolStallDetector::default();
        for _ in 0..10 {
            assert_eq!([(); 4].map(|()| detector.look(0, 1)), [0; 4]);
            assert_eq!(detector.look(0, 0), 0);
        }
    }

    #[test]
    fn notices_are_a_minute_apart() {
        let mut limit = NoticeLimit::default();
        let mut allows = |at| limit.allows(Millis(at));
        assert!(allows(5) && !allows(60_004) && allows(60_005) && !allows(60_006));
    }

    #[test]
    fn places_are_bounded_and_come_back() {
        let taken = Arc::default();
        let places: Vec<_> = (0..3).map(|_| SparePlace::take(&taken, 2)).collect();
        assert_eq!(places.iter().flatten().count(), 2);
        drop(places);
        assert!(SparePlace::take(&taken, 2).is_some());
        let counts = [1, 4, 8, 16, 1_024].map(most_spares);
        assert_eq!(counts, [16, 16, 32, 64, 64]);
    }
}
