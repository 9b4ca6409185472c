//! Spare workers: threads that serve while the disk holds up all workers.
//!
//! A worker waits for the disk in open(2), read(2) or sendfile(2). A file system that hangs (NFS without
//! its server, FUSE) keeps the worker there for minutes. Requests for files there occupy one worker after
//! the other. Without spare workers, once all are occupied, every file that is not in memory would have to
//! wait, even one on a healthy disk.
//!
//! ```text
//!   Handoff::defer, pick_up   work waits, and no worker is parked:    SupervisorWaker::notify
//!   supervisor                SupervisorWaker::wait; each 50 ms PoolStallDetector::check
//!                               no work waits any more:               it sleeps until the next notification
//!                               nothing was picked up for 250 ms:     a spare worker for each waiting item
//!   spare worker              Worker::run, from the same queues, until its Lease ends
//! ```
//!
//! The supervisor is one thread of the server. It sleeps unless work waits. So a server whose workers keep
//! up pays one atomic load for a deferred connection, and nothing for one that memory answers.
//!
//! # Why 250 milliseconds
//!
//! A disk that is merely slow must not start threads. With one worker and a disk that takes 50 ms per
//! read, work is picked up every 50 ms; with more workers more often. Slices of jobs and turns last 5 ms.
//! So 250 ms without a pick-up are far beyond an ordinary disk, and short for a client that waits. A disk
//! that does take longer gets more readers, which does no harm. The supervisor counts its checks instead of
//! reading a clock, so a process that was stopped for an hour does not look stalled.
//!
//! Of each kind as many spare workers start at once as work waits for it, because the supervisor cannot tell
//! which of the work is for the hanging file system; starting one after the other would cost 250 ms each. In
//! `tests/site/hung_mount.rs`, with two workers and 120 clients of a hanging file system, one request for
//! another file waits for 0.3 s, and nearly all later ones for less than a millisecond (2026-11-30, 2 CPUs).
//!
//! # Bounds
//!
//! An event loop has at most [`most_spares`] of them: four times as many as workers, but at least 16 and at
//! most 64. Sixteen are enough for the images of a page that are all on one dead server; 64 are no more
//! than a large machine can spare. The reserve of file descriptors counts them.
//!
//! Clients keep asking for files on a file system that hangs, and these requests would occupy all spare
//! workers too. So a quarter of the spare workers must not block beyond mount points below a root
//! ([`MayBlock::OnRoots`](crate::site::MayBlock::OnRoots)): the kernel says where a path leads before it
//! asks the file system there. These workers leave such connections, and listings and jobs, to the other
//! workers (the queue *beyond mounts* of the [`handoff`](super::handoff)). So files on the file system of a
//! root are served however long other file systems hang, and however many requests they get. Files beyond
//! other mount points may have to wait.
//!
//! Three things can still hold up these workers as well: a root on a hanging file system, a precompressed
//! variant that is a link beyond a mount point, and a kernel older than Linux 5.6. If all workers are held
//! up, requests for files that are not in memory wait.
//!
//! # Their end
//!
//! A spare worker has a lease of ten seconds. The lease is renewed if no permanent worker is idle then or has
//! picked up work meanwhile; otherwise the spare worker ends after its current work. The end of the server
//! does not wait for a worker, spare or not, that the disk holds up.

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

/// Time between two checks of queues in which work waits.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// Successive checks with waiting work and no pick-up, after which spare workers start.
const CHECKS_OF_A_STALL: u32 = 5;

/// Milliseconds between two log messages of an event loop.
const NOTICE_EVERY_MILLIS: u64 = 60_000;

/// One in so many spare workers must not block beyond mount points.
const ROOTS_ONLY_DIVISOR: usize = 4;

/// The most spare workers of an event loop with this number of `workers`.
#[must_use]
pub fn most_spares(workers: usize) -> usize {
    workers.saturating_mul(4).clamp(16, 64)
}

/// Detects that work waits and no worker picks it up.
#[derive(Debug, Default)]
struct PoolStallDetector {
    pick_ups: u64,
    /// Checks since work was last picked up.
    checks_without_pick_up: u32,
}

impl PoolStallDetector {
    /// Checks the queues, once in a fixed interval. `pick_ups` counts all pick-ups so far, `waiting` is the
    /// work in the queues. Returns how many more workers are needed.
    fn check(&mut self, pick_ups: u64, waiting: usize) -> usize {
        if waiting == 0 || pick_ups != self.pick_ups {
            self.pick_ups = pick_ups;
            self.checks_without_pick_up = 0;
            return 0;
        }
        self.checks_without_pick_up += 1;
        if self.checks_without_pick_up < CHECKS_OF_A_STALL {
            return 0;
        }
        // The workers that start now get as much time to pick something up.
        self.checks_without_pick_up = 0;
        waiting
    }
}

/// Limits how often a log message is written.
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

/// The spare workers of one event loop that block equally far.
#[derive(Debug)]
struct SpareGroup {
    detector: PoolStallDetector,
    /// The number that run now.
    running: Arc<AtomicUsize>,
    most: usize,
}

/// The spare workers of one event loop.
#[derive(Debug)]
struct Spares {
    shared: Arc<Shared>,
    anywhere: SpareGroup,
    on_roots: SpareGroup,
    /// How many were ever started.
    started: u64,
    notices: NoticeLimit,
    failures: NoticeLimit,
}

/// Permission for a spare worker to run, which counts until it is dropped.
struct SparePermit(Arc<AtomicUsize>);

impl SparePermit {
    /// Takes a permit; `None` if `most` are taken.
    fn take(taken: &Arc<AtomicUsize>, most: usize) -> Option<SparePermit> {
        // Only the supervisor takes permits; other threads return them.
        if taken.load(Ordering::Relaxed) >= most {
            return None;
        }
        taken.fetch_add(1, Ordering::Relaxed);
        Some(SparePermit(Arc::clone(taken)))
    }
}

impl Drop for SparePermit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl SpareGroup {
    fn new(most: usize) -> SpareGroup {
        SpareGroup {
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
        let on_roots = most / ROOTS_ONLY_DIVISOR;
        Spares {
            shared: Arc::clone(shared),
            anywhere: SpareGroup::new(most - on_roots),
            on_roots: SpareGroup::new(on_roots),
            started: 0,
            notices: NoticeLimit::default(),
            failures: NoticeLimit::default(),
        }
    }

    /// Checks the queues, and starts spare workers if they are stalled.
    fn check(&mut self, alive: &Sender<()>) {
        let handoff = &self.shared.handoff;
        let (on_roots, anywhere) = (&mut self.on_roots.detector, &mut self.anywhere.detector);
        let wanted_on_roots = on_roots.check(handoff.pick_ups(), handoff.waiting_on_roots());
        let wanted = anywhere.check(handoff.pick_ups_for_anywhere(), handoff.waiting());
        if wanted + wanted_on_roots == 0 {
            return;
        }
        let now = self.shared.clock.now().monotonic;
        let before = self.on_roots.running() + self.anywhere.running();
        let started = self
            .start(WorkerKind::SpareOnRoots, wanted_on_roots, alive, now)
            .and_then(|()| self.start(WorkerKind::Spare, wanted, alive, now));
        let (on_roots, anywhere) = (self.on_roots.running(), self.anywhere.running());
        let running = on_roots + anywhere;
        if let Err(error) = started {
            if self.failures.allows(now) {
                log::error!("a spare worker cannot be started: {error}; trying again");
            }
            if running == before {
                return;
            }
        }
        if self.notices.allows(now) {
            let workers = self.workers();
            if running > before {
                log::warn!("{workers} wait for the disk; {running} more serve meanwhile");
            } else {
                log::warn!(
                    "{workers} and {anywhere} spare ones, the maximum, wait for the disk; {on_roots} more serve files \
                     on the file system of the root"
                );
            }
        }
    }

    /// Names the permanent workers in a log message.
    fn workers(&self) -> String {
        let Shared {
            workers, number, ..
        } = *self.shared;
        if self.shared.config.get().context.config.event_loops == 1 {
            format!("all {workers} workers")
        } else {
            format!("all {workers} workers of event loop {number}")
        }
    }

    /// Starts `count` workers of a `kind`, or fewer if that many would be too many.
    fn start(
        &mut self,
        kind: WorkerKind,
        count: usize,
        alive: &Sender<()>,
        now: Millis,
    ) -> io::Result<()> {
        for _ in 0..count {
            let group = match kind.may_block_anywhere() {
                true => &self.anywhere,
                false => &self.on_roots,
            };
            let Some(permit) = SparePermit::take(&group.running, group.most) else {
                break;
            };
            let lease = Lease::new(now, &self.shared.handoff);
            let worker = Worker::spare(&self.shared, kind, lease);
            self.started += 1;
            let name = format!("spare-{}.{}", self.shared.number, self.started);
            let alive = alive.clone();
            thread::Builder::new().name(name).spawn(move || {
                worker.run();
                drop(permit);
                drop(alive);
            })?;
        }
        Ok(())
    }
}

/// Starts the supervisor of all event loops. The supervisor and the spare workers end when the hand-offs
/// close, and hold `alive` until then.
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
                "the supervisor thread cannot be started: {error}; a hanging disk may hold up all workers"
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
        thread::park_timeout(CHECK_INTERVAL);
        if is_over() {
            return;
        }
        spares.iter_mut().for_each(|spares| spares.check(alive));
        if !has_work() {
            supervisor_waker.clear(has_work);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_five_checks_of_waiting_work_without_a_pick_up() {
        let mut detector = PoolStallDetector::default();
        let mut check = |pick_ups, waiting| detector.check(pick_ups, waiting);
        assert_eq!(check(7, 3), 0, "seven were picked up before");
        assert_eq!([(); 4].map(|()| check(7, 3)), [0; 4]);
        assert_eq!(check(7, 3), 3, "one for each that waits");
        assert_eq!([(); 4].map(|()| check(7, 2)), [0; 4], "they are given time");
        assert_eq!(check(7, 2), 2);
    }

    /// With a disk that takes 50 ms and one worker, each check or every other one sees a new pick-up.
    #[test]
    fn a_slow_disk_is_no_stall() {
        let mut detector = PoolStallDetector::default();
        for pause in 1..=u64::from(CHECKS_OF_A_STALL) {
            for number in 0..100 {
                assert_eq!(detector.check(number / pause, 30), 0, "{pause}");
            }
        }
    }

    #[test]
    fn a_stall_begins_anew_when_nothing_has_waited() {
        let mut detector = PoolStallDetector::default();
        for _ in 0..10 {
            assert_eq!([(); 4].map(|()| detector.check(0, 1)), [0; 4]);
            assert_eq!(detector.check(0, 0), 0);
        }
    }

    #[test]
    fn notices_are_a_minute_apart() {
        let mut limit = NoticeLimit::default();
        let mut allows = |at| limit.allows(Millis(at));
        assert!(allows(5) && !allows(60_004) && allows(60_005) && !allows(60_006));
    }

    #[test]
    fn permits_are_limited_and_come_back() {
        let taken = Arc::default();
        let permits: Vec<_> = (0..3).map(|_| SparePermit::take(&taken, 2)).collect();
        assert_eq!(permits.iter().flatten().count(), 2);
        drop(permits);
        assert!(SparePermit::take(&taken, 2).is_some());
        let counts = [1, 4, 8, 16, 1_024].map(most_spares);
        assert_eq!(counts, [16, 16, 32, 64, 64]);
    }
}
