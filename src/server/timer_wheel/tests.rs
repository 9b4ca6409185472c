use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

const HORIZON_MILLIS: u64 = HORIZON * TICK_MILLIS;

const NOTHING: [u32; 0] = [];

fn advanced(wheel: &mut TimerWheel, now: u64) -> Vec<u32> {
    let mut fired = Vec::new();
    wheel.advance(Millis(now), &mut fired);
    fired
}

/// The number of entries for which the buckets hold memory.
fn capacity(wheel: &TimerWheel) -> usize {
    wheel.buckets.iter().map(Vec::capacity).sum()
}

/// The example of the module documentation. Entries are checked after 5 s at the latest.
#[test]
fn the_example_of_the_documentation() {
    // Requests come at 0, 3 and 50 s. The first check after a response moves the deadline to T + grace.
    let deadline_at = |secs: u64| match secs {
        0..3 => 5,
        3..9 => 8,
        9..50 => 133,
        50..56 => 55,
        _ => 180,
    };
    let mut wheel = TimerWheel::new(Millis(0));
    wheel.file(0, Millis(5_000));
    let mut due = Vec::new();
    for tick in 0..=1800 {
        let now = Tick(tick).reached_at();
        for slot in advanced(&mut wheel, now.0) {
            let deadline = Millis(deadline_at(now.0 / 1000) * 1000);
            let latest = now.plus_secs(5);
            if now >= deadline {
                due.push(now.0 / 1000);
                wheel.file(slot, now.plus_secs(1));
            } else {
                wheel.file(slot, deadline.min(latest));
            }
        }
    }
    assert_eq!(due, [8, 55, 180]);
}

#[test]
fn a_deadline_rounds_up_and_the_present_rounds_down() {
    assert_eq!(tick_of(Millis(0)), Tick(0));
    assert_eq!(tick_of(Millis(1)), Tick(1));
    assert_eq!(tick_of(Millis(100)), Tick(1));
    assert_eq!(tick_of(Millis(101)), Tick(2));

    let mut wheel = TimerWheel::new(Millis(0));
    assert_eq!(wheel.file(7, Millis(101)), Tick(2));
    assert_eq!(advanced(&mut wheel, 199), NOTHING);
    assert_eq!(advanced(&mut wheel, 200), [7]);
}

#[test]
fn a_deadline_that_has_passed_fires_at_the_next_tick() {
    let mut wheel = TimerWheel::new(Millis(5_050));
    assert_eq!(wheel.file(1, Millis(0)), Tick(51));
    assert_eq!(wheel.file(2, Millis(5_000)), Tick(51));
    assert_eq!(advanced(&mut wheel, 5_099), NOTHING);
    assert_eq!(advanced(&mut wheel, 5_100), [1, 2]);
}

#[test]
fn beyond_the_horizon_an_entry_fires_at_the_horizon() {
    let mut wheel = TimerWheel::new(Millis(0));
    assert_eq!(wheel.file(1, Millis(HORIZON_MILLIS)), Tick(2047));
    assert_eq!(wheel.file(2, Millis(HORIZON_MILLIS + 1)), Tick(2047));
    assert_eq!(wheel.file(3, Millis::NEVER), Tick(2047));
    assert_eq!(wheel.next_tick(), Some(Millis(HORIZON_MILLIS)));
    assert_eq!(advanced(&mut wheel, HORIZON_MILLIS - 1), NOTHING);
    assert_eq!(advanced(&mut wheel, HORIZON_MILLIS).len(), 3);
}

#[test]
fn a_jump_of_hours_hands_out_each_entry_once_in_order() {
    let mut wheel = TimerWheel::new(Millis(1_000_000));
    for slot in 0..3_000 {
        wheel.file(slot, Millis(1_000_000 + u64::from(slot) * 61));
    }
    let fired = advanced(&mut wheel, 1_000_000 + 9 * 3_600_000);
    assert_eq!(fired, (0..3_000).collect::<Vec<u32>>());
    assert!(wheel.is_empty());
    assert_eq!(wheel.file(0, Millis(0)), Tick(10_000 + 9 * 36_000 + 1));
}

#[test]
fn a_clock_that_goes_back_changes_nothing() {
    let mut wheel = TimerWheel::new(Millis(10_000));
    wheel.file(1, Millis(10_500));
    assert_eq!(advanced(&mut wheel, 3), NOTHING);
    assert_eq!(wheel.file(2, Millis(3)), Tick(101));
    assert_eq!(wheel.len(), 2);
}

#[test]
fn the_end_of_time_does_not_overflow() {
    let mut wheel = TimerWheel::new(Millis::NEVER);
    wheel.file(1, Millis::NEVER);
    assert_eq!(wheel.next_tick(), Some(Millis::NEVER));
    assert_eq!(advanced(&mut wheel, u64::MAX), NOTHING);
    assert_eq!(tick_of(Millis::NEVER).reached_at(), Millis::NEVER);
}

#[test]
fn next_tick_is_found_across_the_seam_of_the_bitmap() {
    for start in [0, 62, 63, 64, 1_000, 2_046, 2_047, 2_048, 5_000] {
        let mut wheel = TimerWheel::new(Tick(start).reached_at());
        assert_eq!(wheel.next_tick(), None);
        for ahead in (1..=HORIZON).rev() {
            wheel.file(0, Tick(start + ahead).reached_at());
            assert_eq!(wheel.next_tick(), Some(Tick(start + ahead).reached_at()));
        }
    }
}

#[test]
fn a_huge_bucket_gives_its_memory_back_and_a_small_one_keeps_it() {
    let mut wheel = TimerWheel::new(Millis(0));
    for slot in 0..1_000_000 {
        wheel.file(slot, Millis(100));
    }
    assert!(capacity(&wheel) >= 1_000_000);
    assert_eq!(advanced(&mut wheel, 100).len(), 1_000_000);
    assert_eq!(capacity(&wheel), 0);

    for slot in 0..10 {
        wheel.file(slot, Millis(200));
    }
    advanced(&mut wheel, 200);
    assert!((10..=KEPT_ENTRIES).contains(&capacity(&wheel)));
}

#[test]
fn a_million_connections_idle_through_three_timeouts() {
    let mut wheel = TimerWheel::new(Millis(0));
    for slot in 0..1_000_000_u32 {
        wheel.file(slot, Millis(1 + u64::from(slot) * 130_000 / 1_000_000));
    }
    assert!(capacity(&wheel) <= 2_000_000);
    let mut fired = Vec::new();
    let mut checks = 0;
    for tick in 1..=3 * 1300 {
        let now = Tick(tick).reached_at();
        wheel.advance(now, &mut fired);
        checks += fired.len();
        for slot in fired.drain(..) {
            wheel.file(slot, now.plus_secs(130));
        }
    }
    assert_eq!(checks, 3_000_000);
    assert_eq!(wheel.len(), 1_000_000);
}

#[derive(Debug, Clone)]
enum WheelStep {
    File { ahead_millis: u64 },
    Advance { millis: u64 },
}

fn steps() -> impl Strategy<Value = Vec<WheelStep>> {
    let ahead = prop_oneof![0_u64..400, 0..HORIZON_MILLIS, 0..3 * HORIZON_MILLIS];
    let advance = prop_oneof![0_u64..250, 0_u64..2_000, 0..3 * HORIZON_MILLIS];
    let step = prop_oneof![
        3 => ahead.prop_map(|ahead_millis| WheelStep::File { ahead_millis }),
        2 => advance.prop_map(|millis| WheelStep::Advance { millis }),
    ];
    vec(step, 0..200)
}

proptest! {
    /// The wheel fires the same entries as a sorted list, in the same order.
    #[test]
    fn the_wheel_agrees_with_a_sorted_list(start in 0_u64..1_000_000, steps in steps()) {
        let mut wheel = TimerWheel::new(Millis(start));
        let mut list: Vec<(Tick, u32)> = Vec::new();
        let mut now = start;
        for (slot, step) in (0_u32..).zip(steps) {
            match step {
                WheelStep::File { ahead_millis } => {
                    let deadline = Millis(now + ahead_millis);
                    let tick = wheel.file(slot, deadline);
                    prop_assert!(tick.reached_at().0 > now);
                    if ahead_millis < HORIZON_MILLIS - TICK_MILLIS {
                        prop_assert!(tick.reached_at() >= deadline, "filed early");
                        let late = tick.reached_at().since(deadline);
                        prop_assert!(late < TICK_MILLIS || ahead_millis == 0 && late == TICK_MILLIS);
                    }
                    list.push((tick, slot));
                }
                WheelStep::Advance { millis } => {
                    now += millis;
                    list.sort();
                    let due = list.partition_point(|(tick, _)| tick.reached_at().0 <= now);
                    let expected: Vec<_> = list.drain(..due).map(|(_, slot)| slot).collect();
                    prop_assert_eq!(advanced(&mut wheel, now), expected);
                }
            }
            prop_assert_eq!(wheel.len(), list.len());
            prop_assert_eq!(wheel.next_tick(), list.iter().min().map(|(tick, _)| tick.reached_at()));
        }
    }

    /// If the wheel advances at least once a tick and its owner refiles, a deadline is met within two ticks:
    /// one from rounding, one from advancing.
    #[test]
    fn deadlines_are_met_never_early_and_at_most_two_ticks_late(
        deadlines in vec(1_u64..2 * HORIZON_MILLIS, 1..20),
        pace in 1_u64..=TICK_MILLIS,
    ) {
        let mut wheel = TimerWheel::new(Millis(0));
        for (slot, deadline) in (0_u32..).zip(&deadlines) {
            wheel.file(slot, Millis(*deadline));
        }
        let mut met = vec![false; deadlines.len()];
        let mut fired = Vec::new();
        for now in (0..2 * HORIZON_MILLIS + 300).step_by(pace as usize) {
            wheel.advance(Millis(now), &mut fired);
            for slot in fired.drain(..) {
                let deadline = deadlines[slot as usize];
                if deadline > now {
                    wheel.file(slot, Millis(deadline));
                } else {
                    prop_assert!(now - deadline < 2 * TICK_MILLIS);
                    prop_assert!(!std::mem::replace(&mut met[slot as usize], true), "twice");
                }
            }
        }
        prop_assert!(met.into_iter().all(|met| met), "lost");
    }
}
