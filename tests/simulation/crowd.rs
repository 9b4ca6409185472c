//! Ten thousand connections in one wheel.

use abide::clock::Millis;
use abide::connection::counters::CloseReason;

use super::world::{TestSite, at_secs};
use support::scripted::ScriptedPeer;

const CONNECTIONS: usize = 10_000;
const HOUR_MILLIS: u64 = 3_600_000;
/// T + grace, in milliseconds.
const REAPED_AFTER: u64 = 130_000;
/// `timeouts.head`, in milliseconds: the time for the first byte of the first request.
const FIRST_BYTE_WITHIN: u64 = 20_000;
const GET: &[u8] = b"HEAD /small HTTP/1.1\r\nHost: a\r\n\r\n";

/// A generator of numbers that look random and are the same in every run (splitmix64).
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

#[test]
fn ten_thousand_connections_are_each_reaped_in_the_second_after_t_plus_grace() {
    let mut world = TestSite::new().world();
    let mut dice = Dice(2026);
    let mut arrivals: Vec<u64> = (0..CONNECTIONS).map(|_| dice.below(HOUR_MILLIS)).collect();
    arrivals.sort_unstable();
    let mut last_activity = Vec::new();
    for arrival in arrivals {
        world.run_until(Millis(arrival));
        let it = world.connect(ScriptedPeer::new());
        // Requests with pauses of up to 100 s: less than T, so none of them may be lost.
        let mut last = arrival;
        let requests = dice.below(5);
        for number in 0..requests {
            let pause = if number == 0 {
                FIRST_BYTE_WITHIN
            } else {
                100_000
            };
            last += dice.below(pause);
            world.send(Millis(last), it, GET);
        }
        let patience = if requests == 0 {
            FIRST_BYTE_WITHIN
        } else {
            REAPED_AFTER
        };
        last_activity.push((last, patience));
    }
    world.run_to_end();

    for (it, (last, patience)) in last_activity.into_iter().enumerate() {
        let (reason, at) = world.closed(it).expect("nothing is left");
        assert_eq!(reason, CloseReason::Idle);
        let after = at.0 - last;
        assert!(
            (patience..=patience + 1_000).contains(&after),
            "{it}: {after} ms"
        );
    }
    assert_eq!(world.totals().keep_alive_races, 0);
    // Old entries may be left in the wheel. No connection waits for them, and they go when their tick
    // comes.
    world.run_until(Millis(world.now().0 + at_secs(300).0));
    assert_eq!(world.next_check(), None);
}
