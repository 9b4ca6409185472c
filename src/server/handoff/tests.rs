//! The queues, and which workers are woken.

use super::*;
use std::sync::Barrier;
use std::sync::atomic::AtomicU32;
use std::thread;

const JOB_FIRST: PickOrder = PickOrder {
    job_is_due: true,
    first: FirstQueue::Blocking,
};

fn turn(index: u32) -> Work {
    Work::Turn(QueuedSlot::numbered(index))
}

#[test]
fn the_ready_queue_is_in_order_and_wakes_nobody_for_a_few() {
    let handoff = Handoff::default();
    for slot in 0..3 {
        handoff.dispatch(QueuedSlot::numbered(slot));
    }
    assert!(handoff.is_ready());
    let taken: Vec<_> =
        std::iter::from_fn(|| handoff.take().map(|queued| queued.index())).collect();
    assert_eq!(taken, [0, 1, 2]);
    assert!(!handoff.is_ready());
}

#[test]
fn a_worker_that_alternates_lets_neither_queue_starve() {
    let handoff = Handoff::default();
    for slot in 0..4 {
        handoff.dispatch(QueuedSlot::numbered(slot));
        handoff.defer(turn(10 + slot));
    }
    let picked: Vec<_> = (0..8)
        .map(|turn| {
            if turn % 2 == 0 {
                FirstQueue::Blocking
            } else {
                FirstQueue::Ready
            }
        })
        .map(|first| {
            handoff
                .pick_up(WorkerKind::Permanent, first, None)
                .expect("there is work")
        })
        .collect();
    let expected = [10, 0, 11, 1, 12, 2, 13, 3].map(turn);
    assert_eq!(picked, expected);
}

#[test]
fn jobs_alternate_and_no_turn_is_behind_more_than_one() {
    let handoff = Handoff::default();
    let jobs = [(); 2].map(|()| Work::Slice(Flight::new()));
    let again = |work: &Work| match work {
        Work::Slice(flight) => Work::Slice(Arc::clone(flight)),
        _ => panic!("a job"),
    };
    jobs.iter().for_each(|job| handoff.defer(again(job)));
    handoff.defer(turn(1));
    handoff.dispatch(QueuedSlot::numbered(2));
    let mut orders = [
        JOB_FIRST,
        FirstQueue::Blocking.into(),
        FirstQueue::Ready.into(),
        FirstQueue::Blocking.into(),
    ]
    .into_iter();
    let mut pick = || handoff.pick_up(WorkerKind::Permanent, orders.next()?, None);
    assert_eq!(pick().as_ref(), Some(&jobs[0]));
    handoff.put_back(again(&jobs[0]));
    assert_eq!(pick(), Some(turn(1)));
    assert_eq!(pick(), Some(turn(2)));
    assert_eq!(pick().as_ref(), Some(&jobs[1]), "the other one is next");
}

#[test]
fn a_timeout_ends_a_wait() {
    let handoff = Handoff::default();
    let timeout = Some(Duration::from_millis(1));
    assert_eq!(
        handoff.pick_up(WorkerKind::Permanent, FirstQueue::Blocking, timeout),
        None
    );
    assert_eq!(handoff.parked_workers.len(), 0, "it is no longer parked");
}

#[test]
fn no_deferred_work_is_left_lying_while_workers_park() {
    const ROUNDS: u32 = 20_000;
    let handoff = Handoff::default();
    let done = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while handoff
                    .pick_up(WorkerKind::Permanent, FirstQueue::Blocking, None)
                    .is_some()
                {
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for round in 0..ROUNDS {
            handoff.defer(turn(round));
            // One at a time, so that the workers park again and again. If a wake-up were lost, this would
            // never end.
            while done.load(Ordering::SeqCst) <= round {
                thread::yield_now();
            }
        }
        handoff.close();
    });
    assert_eq!(done.load(Ordering::SeqCst), ROUNDS);
}

#[test]
fn a_worker_that_was_woken_for_the_blocking_queue_and_takes_from_the_ready_one_wakes_another() {
    let handoff = Handoff::default();
    let blocking = thread::scope(|scope| {
        let other =
            scope.spawn(|| handoff.pick_up(WorkerKind::Permanent, FirstQueue::Blocking, None));
        while handoff.parked_workers.len() == 0 {
            thread::yield_now();
        }
        // Stands for work that `defer` has queued, for which this thread was woken.
        handoff.blocking.put(turn(7));
        handoff.dispatch(QueuedSlot::numbered(8));
        assert_eq!(
            handoff.pick_up(WorkerKind::Permanent, FirstQueue::Ready, None),
            Some(turn(8))
        );
        // If the other worker were not woken, this would never end.
        other.join().expect("the other worker")
    });
    assert_eq!(blocking, Some(turn(7)));
}

#[test]
fn a_long_queue_wakes_a_worker() {
    let handoff = Handoff::default();
    let start = Barrier::new(2);
    let picked_up = thread::scope(|scope| {
        let worker = scope.spawn(|| {
            start.wait();
            handoff.pick_up(WorkerKind::Permanent, FirstQueue::Ready, None)
        });
        start.wait();
        while handoff.parked_workers.len() == 0 && !worker.is_finished() {
            thread::yield_now();
        }
        for slot in 0..=READY_PER_WORKER as u32 {
            handoff.dispatch(QueuedSlot::numbered(slot));
        }
        assert_eq!(handoff.take().map(|queued| queued.index()), Some(0));
        worker.join().expect("the worker")
    });
    assert_eq!(picked_up, Some(turn(1)));
}

#[test]
fn queued_work_is_done_before_the_end() {
    let handoff = Handoff::default();
    handoff.defer(Work::GiveBackMemory);
    handoff.close();
    assert_eq!(
        handoff.pick_up(WorkerKind::Permanent, FirstQueue::Ready, None),
        Some(Work::GiveBackMemory)
    );
    assert_eq!(
        handoff.pick_up(WorkerKind::Permanent, FirstQueue::Ready, None),
        None
    );
    assert!(handoff.is_closed());
}

#[test]
fn a_worker_on_roots_leaves_jobs_and_deferred_mounts_to_others() {
    let handoff = Handoff::default();
    let on_roots =
        |order: PickOrder| handoff.pick_up(WorkerKind::SpareOnRoots, order, Some(Duration::ZERO));
    let any = |first| handoff.pick_up(WorkerKind::Spare, first, Some(Duration::ZERO));
    handoff.defer_beyond_mounts(turn(1));
    handoff.defer(Work::Slice(Flight::new()));
    assert_eq!((handoff.waiting(), handoff.waiting_on_roots()), (2, 0));
    for first in [
        FirstQueue::Ready,
        FirstQueue::Blocking,
        FirstQueue::BeyondMounts,
    ] {
        for job_is_due in [false, true] {
            assert_eq!(on_roots(PickOrder { job_is_due, first }), None);
        }
    }
    handoff.defer(turn(2));
    handoff.dispatch(QueuedSlot::numbered(3));
    assert_eq!(on_roots(JOB_FIRST), Some(turn(2)));
    assert_eq!(on_roots(FirstQueue::Blocking.into()), Some(turn(3)));
    assert_eq!(any(FirstQueue::Blocking), Some(turn(1)));
    assert!(matches!(any(FirstQueue::Ready), Some(Work::Slice(_))));
    assert_eq!(
        (handoff.pick_ups(), handoff.pick_ups_for_anywhere()),
        (4, 2)
    );
}

#[test]
fn work_beyond_mounts_wakes_a_worker_that_may_block_there() {
    let handoff = Handoff::default();
    let parked = |count| {
        while handoff.parked_workers.len() < count {
            thread::yield_now();
        }
    };
    thread::scope(|scope| {
        let anywhere =
            scope.spawn(|| handoff.pick_up(WorkerKind::Spare, FirstQueue::Blocking, None));
        parked(1);
        let on_roots =
            scope.spawn(|| handoff.pick_up(WorkerKind::SpareOnRoots, FirstQueue::Blocking, None));
        parked(2);
        handoff.defer_beyond_mounts(turn(1));
        // If the other worker were woken, this would never end.
        assert_eq!(anywhere.join().expect("no panic"), Some(turn(1)));
        handoff.defer(turn(2));
        assert_eq!(on_roots.join().expect("no panic"), Some(turn(2)));
    });
}
