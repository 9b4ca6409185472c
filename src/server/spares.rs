//! Spare workers: threads that serve while the disk holds up all workers.
//!
//! A worker waits for the disk: in open(2), read(2) or sendfile(2). A file system that hangs (NFS without
//! its server, FUSE) keeps it there for minutes. Requests for what is not in memory on that file system
//! take one worker after the other. With the last one every file that is not in memory would wait, those
//! on healthy disks included. Spare workers take over then.
//!
//! ```text
//!   Handoff::defer, pick_up   work waits, and no worker is parked:    Bell::ring
//!   supervisor                Bell::wait; each 50 ms StallDetector::look at the lanes
//!                               nothing waits any more:               it sleeps until the next ring
//!                               nothing was picked up for 250 ms:     a spare worker for all that waits
//!   spare worker              Worker::run, from the same lanes, until its Lease ends
//! ```
//!
//! The supervisor is one thread of the server. It sleeps unless work waits, so a server whose workers
//! keep up pays one load for a deferred connection, and nothing for one that memory answers.
//!
//! # Why 250 milliseconds
//!
//! A disk that is merely slow must not start threads. With one worker and a disk that takes 50 ms per
//! read, work is picked up every 50 ms; with more workers more often. Slices of jobs and turns last 5 ms.
//! So 250 ms without any worker at the lanes are far beyond what an ordinary disk does, and short for
//! who waits. A disk that does take longer gets more readers, which does no harm. Time counts in looks of
//! the supervisor, so that a process that was stopped for an hour is not taken for a stalled one.
//!
//! As many spare workers start at once as work waits: nothing tells which of it is for the file system
//! that hangs, and one after the other would cost 250 ms each. `tests/hung_mount.rs` shows the result
//! with two workers, a file system that hangs and ten clients of it: the others wait for 0.3 s the first
//! time, and then not at all.
//!
//! # Bounds
//!
//! An event loop has at most [`most_spares`] of them, four times as many as workers, within 16 and 64: on a
//! small machine enough for the images of a page that are all on the same dead server, on a large one no
//! more than the threads of a few hundred kilobytes each that it can spare. The reserve of file
//! descriptors counts them. If the disk holds up all of these too, what is not in memory waits as it
//! would without them.
//!
//! # Their end
//!
//! A spare worker has a [`Lease`] of ten seconds. It is renewed if no permanent worker was free or picked
//! up anything meanwhile; otherwise the spare worker ends after what it is at. One that the disk holds up
//! is not waited for at the end of the server, no more than a worker is.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::thread::{self, Thread};
use std::time::Duration;

use crossbeam_channel::Sender;

use super::handoff::Handoff;
use super::shared::Shared;
use super::workers::Worker;
use crate::clock::Millis;

/// Time between two looks at lanes in which work waits.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks in a row that have found work waiting and nothing picked up, after which spare workers start.
const LOOKS_OF_A_STALL: u32 = 5;

/// Milliseconds after which a spare worker ends unless it is still needed.
const LEASE_MILLIS: u64 = 10_000;

/// Milliseconds between two notices of an event loop.
const NOTICE_EVERY_MILLIS: u64 = 60_000;

/// How many spare workers an event loop with so many `workers` has at most.
#[must_use]
pub fn most_spares(workers: usize) -> usize {
    workers.saturating_mul(4).clamp(16, 64)
}

/// Wakes the supervisor. Ringing costs next to nothing while the supervisor is awake.
#[derive(Debug, Default)]
pub struct Bell {
    is_rung: AtomicBool,
    /// The supervisor, once it runs.
    supervisor: OnceLock<Thread>,
}

impl Bell {
    /// Work waits, and no worker is parked. To be called after the work was put into its lane, and after
    /// a look at the bench, whose fence orders the two.
    pub fn ring(&self) {
        if !self.is_rung.load(Ordering::Relaxed) && !self.is_rung.swap(true, Ordering::SeqCst) {
            self.wake();
        }
    }

    /// Ends the supervisor's wait between two looks.
    pub fn wake(&self) {
        if let Some(supervisor) = self.supervisor.get() {
            supervisor.unpark();
        }
    }

    /// Supervisor: waits until the bell is rung, or `is_over` after a [`wake`](Bell::wake).
    fn wait(&self, is_over: impl Fn() -> bool) {
        while !self.is_rung.load(Ordering::SeqCst) && !is_over() {
            thread::park();
        }
    }

    /// Supervisor: nothing waits, unless something came meanwhile: then `has_work` finds it, or whoever has
    /// put it there rings again.
    fn rest(&self, has_work: impl Fn() -> bool) {
        self.is_rung.store(false, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if has_work() {
            self.is_rung.store(true, Ordering::SeqCst);
        }
    }
}

/// Finds out whether work waits that no worker picks up.
#[derive(Debug, Default)]
struct StallDetector {
    pick_ups: u64,
    /// Looks since anything was picked up.
    still_looks: u32,
}

impl StallDetector {
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

/// How long a spare worker stays.
#[derive(Debug)]
pub(super) struct Lease {
    until: Millis,
    /// How often permanent workers had picked up work when it began.
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

    /// When it ends or is renewed.
    pub(super) fn until(&self) -> Millis {
        self.until
    }

    /// Whether it has ended at `now`. It is renewed if the permanent workers have done nothing meanwhile,
    /// and have none to spare.
    pub(super) fn has_ended(&mut self, now: Millis, handoff: &Handoff) -> bool {
        if now < self.until {
            return false;
        }
        let are_held = handoff.permanent_pick_ups() == self.permanent_pick_ups;
        if !are_held || handoff.has_idle_worker() {
            return true;
        }
        *self = Lease::new(now, handoff);
        false
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

/// The spare workers of one event loop.
#[derive(Debug)]
struct Spares {
    shared: Arc<Shared>,
    detector: StallDetector,
    /// Those that run.
    running: Arc<AtomicUsize>,
    /// Those that were ever started.
    started: u64,
    notices: NoticeLimit,
    failures: NoticeLimit,
}

/// The place of a spare worker, counted until it is dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    /// One of the `most` there are, of which some are taken.
    fn take(taken: &Arc<AtomicUsize>, most: usize) -> Option<Place> {
        // Only the supervisor takes; others give back.
        if taken.load(Ordering::Relaxed) >= most {
            return None;
        }
        taken.fetch_add(1, Ordering::Relaxed);
        Some(Place(Arc::clone(taken)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Spares {
    fn of(shared: &Arc<Shared>) -> Spares {
        Spares {
            shared: Arc::clone(shared),
            detector: StallDetector::default(),
            running: Arc::default(),
            started: 0,
            notices: NoticeLimit::default(),
            failures: NoticeLimit::default(),
        }
    }

    /// A look at the lanes, after which there are enough spare workers.
    fn look(&mut self, alive: &Sender<()>) {
        let handoff = &self.shared.handoff;
        let wanted = self.detector.look(handoff.pick_ups(), handoff.waiting());
        if wanted == 0 {
            return;
        }
        let now = self.shared.clock.now().monotonic;
        let most = most_spares(self.shared.workers);
        let before = self.running.load(Ordering::Relaxed);
        for _ in 0..wanted {
            let Some(place) = Place::take(&self.running, most) else {
                break;
            };
            if let Err(error) = self.start(place, alive, now) {
                if self.failures.allows(now) {
                    log::error!("no thread for a spare worker: {error}; this is tried again");
                }
                break;
            }
        }
        let running = self.running.load(Ordering::Relaxed);
        if self.notices.allows(now) {
            let of = self.name();
            if running > before {
                log::warn!("{of} wait for the disk; {running} more serve meanwhile");
            } else {
                log::warn!("{of} wait for the disk, and {running} spare ones, the most there are");
            }
        }
    }

    /// The permanent workers, for a notice.
    fn name(&self) -> impl fmt::Display + use<> {
        let Shared {
            workers, number, ..
        } = *self.shared;
        if self.shared.service.config.event_loops == 1 {
            format!("all {workers} workers")
        } else {
            format!("all {workers} workers of event loop {number}")
        }
    }

    fn start(&mut self, place: Place, alive: &Sender<()>, now: Millis) -> io::Result<()> {
        let lease = Lease::new(now, &self.shared.handoff);
        let worker = Worker::spare(&self.shared, lease);
        self.started += 1;
        let name = format!("spare-{}.{}", self.shared.number, self.started);
        let alive = alive.clone();
        thread::Builder::new().name(name).spawn(move || {
            worker.run();
            drop(place);
            drop(alive);
        })?;
        Ok(())
    }
}

/// Starts the supervisor of all event loops. It ends when they close their hand-offs, and so do the spare
/// workers, which hold `alive` until then.
pub(super) fn supervise(all: &Arc<[Arc<Shared>]>, alive: Sender<()>) {
    let bell = all[0].handoff.bell();
    let (ours, all) = (Arc::clone(bell), Arc::clone(all));
    let thread = thread::Builder::new().name("supervisor".to_owned());
    match thread.spawn(move || run(&ours, &all, &alive)) {
        Ok(supervisor) => {
            let _ = bell.supervisor.set(supervisor.thread().clone());
            // It may have parked before, and the bell have been rung.
            bell.wake();
        }
        Err(error) => {
            log::error!(
                "no thread to start spare workers: {error}; a disk that hangs holds up all"
            );
        }
    }
}

fn run(bell: &Bell, all: &[Arc<Shared>], alive: &Sender<()>) {
    let mut spares: Vec<Spares> = all.iter().map(Spares::of).collect();
    let is_over = || all.iter().any(|shared| shared.handoff.is_closed());
    let has_work = || all.iter().any(|shared| shared.handoff.waiting() > 0);
    loop {
        bell.wait(is_over);
        thread::park_timeout(LOOK_EVERY);
        if is_over() {
            return;
        }
        spares.iter_mut().for_each(|spares| spares.look(alive));
        if !has_work() {
            bell.rest(has_work);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bench::Crew;
    use super::super::handoff::{First, Work};
    use super::*;

    #[test]
    fn a_stall_is_five_looks_at_waiting_work_without_a_pick_up() {
        let mut detector = StallDetector::default();
        let mut look = |pick_ups, waiting| detector.look(pick_ups, waiting);
        assert_eq!(look(7, 3), 0, "seven were picked up before");
        assert_eq!([(); 4].map(|()| look(7, 3)), [0; 4]);
        assert_eq!(look(7, 3), 3, "one for each that waits");
        assert_eq!([(); 4].map(|()| look(7, 2)), [0; 4], "they are given time");
        assert_eq!(look(7, 2), 2);
    }

    /// A disk that takes 50 ms, one worker: it is at the lanes between any two looks, or every other one.
    #[test]
    fn a_slow_disk_is_no_stall() {
        let mut detector = StallDetector::default();
        for pause in 1..=u64::from(LOOKS_OF_A_STALL) {
            for look in 0..100 {
                assert_eq!(detector.look(look / pause, 30), 0, "{pause}");
            }
        }
    }

    #[test]
    fn a_stall_begins_anew_when_nothing_has_waited() {
        let mut detector = StallDetector::default();
        for _ in 0..10 {
            assert_eq!([(); 4].map(|()| detector.look(0, 1)), [0; 4]);
            assert_eq!(detector.look(0, 0), 0);
        }
    }

    #[test]
    fn a_lease_is_renewed_while_the_permanent_workers_do_nothing() {
        let handoff = Handoff::default();
        let pick_up = |crew| {
            handoff.defer(Work::Turn(1));
            assert!(handoff.pick_up(crew, First::Slow, None).is_some());
        };
        let mut lease = Lease::new(Millis(500), &handoff);
        assert_eq!(lease.until(), Millis(10_500));
        pick_up(Crew::Spare);
        assert!(!lease.has_ended(Millis(10_500), &handoff));
        assert_eq!(lease.until(), Millis(20_500));
        pick_up(Crew::Permanent);
        assert!(!lease.has_ended(Millis(20_499), &handoff));
        assert!(lease.has_ended(Millis(20_500), &handoff));
    }

    #[test]
    fn a_lease_ends_when_a_permanent_worker_is_idle() {
        let handoff = Handoff::default();
        let mut lease = Lease::new(Millis(0), &handoff);
        thread::scope(|scope| {
            scope.spawn(|| handoff.pick_up(Crew::Permanent, First::Slow, None));
            while !handoff.has_idle_worker() {
                thread::yield_now();
            }
            assert!(lease.has_ended(Millis(LEASE_MILLIS), &handoff));
            handoff.close();
        });
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
        let places: Vec<_> = (0..3).map(|_| Place::take(&taken, 2)).collect();
        assert_eq!(places.iter().flatten().count(), 2);
        drop(places);
        assert!(Place::take(&taken, 2).is_some());
        let counts = [1, 4, 8, 16, 1_024].map(most_spares);
        assert_eq!(counts, [16, 16, 32, 64, 64]);
    }

    /// Were a ring lost, this would never end.
    #[test]
    fn no_ring_is_lost_while_the_supervisor_goes_to_rest() {
        const ROUNDS: usize = 20_000;
        let bell = Bell::default();
        let handoff = Handoff::new(Arc::new(bell));
        let bell = handoff.bell();
        let taken = AtomicUsize::new(0);
        thread::scope(|scope| {
            let supervisor = scope.spawn(|| {
                while taken.load(Ordering::SeqCst) < ROUNDS {
                    bell.wait(|| false);
                    while handoff.waiting() > 0 {
                        drop(handoff.pick_up(Crew::Spare, First::Slow, None));
                        taken.fetch_add(1, Ordering::SeqCst);
                    }
                    bell.rest(|| handoff.waiting() > 0);
                }
            });
            let _ = bell.supervisor.set(supervisor.thread().clone());
            for round in 0..ROUNDS {
                handoff.defer(Work::GiveBackMemory);
                while taken.load(Ordering::SeqCst) <= round {
                    thread::yield_now();
                }
            }
        });
    }
}
