//! The cost of a million connections in the timer wheel: filing them, firing them, and the steady state in
//! which each tick fires some and their owners refile them.

use abide::clock::Millis;
use abide::server::timer_wheel::{Tick, TimerWheel};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

const ENTRIES: u32 = 1_000_000;
/// T + grace at the defaults.
const IDLE_SECS: u32 = 130;
const IDLE_TICKS: u64 = 1_300;

/// Deadlines of a million connections, scattered over the idle time: neighbours in the slot table
/// are not neighbours in the wheel.
fn deadline(slot: u32) -> Millis {
    let scattered = u64::from(slot.wrapping_mul(2_654_435_761));
    Millis(1 + scattered * 1000 * u64::from(IDLE_SECS) / (1 << 32))
}

fn filled() -> TimerWheel {
    let mut wheel = TimerWheel::new(Millis(0));
    for slot in 0..ENTRIES {
        wheel.file(slot, deadline(slot));
    }
    wheel
}

fn file_a_million(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("timer_wheel");
    group.throughput(Throughput::Elements(u64::from(ENTRIES)));
    group.sample_size(20);
    group.bench_function("file 1M", |bencher| bencher.iter_with_large_drop(filled));
    group.finish();
}

fn fire_a_million(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("timer_wheel");
    group.throughput(Throughput::Elements(u64::from(ENTRIES)));
    group.sample_size(20);
    group.bench_function("turn over 1M", |bencher| {
        bencher.iter_batched_ref(
            || (filled(), Vec::new()),
            |(wheel, fired)| {
                for tick in 1..=IDLE_TICKS {
                    wheel.advance(Tick(tick).reached_at(), fired);
                    black_box(&fired);
                    fired.clear();
                }
                assert!(wheel.is_empty());
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// One iteration is one tick of 100 ms: about 770 of a million entries fire and are refiled.
fn steady_state(criterion: &mut Criterion) {
    let mut wheel = filled();
    let mut fired = Vec::new();
    let mut tick = 0;
    criterion.bench_function("timer_wheel/one tick of 1M, refiled", |bencher| {
        bencher.iter(|| {
            tick += 1;
            let now = Tick(tick).reached_at();
            wheel.advance(now, &mut fired);
            for slot in fired.drain(..) {
                wheel.file(slot, now.plus_secs(IDLE_SECS));
            }
        });
    });
    assert_eq!(wheel.len(), ENTRIES as usize);
}

criterion_group!(benches, file_a_million, fire_a_million, steady_state);
criterion_main!(benches);
