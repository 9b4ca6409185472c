//! Bursts of requests, each followed by a pause of a chosen length.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use crate::lane::{Lane, Outcome, Wanted};

/// All lanes send before the first one reads, so the proxy needs this many connections to abide. All of
/// these have been idle for about the same time when the next burst comes.
const LANES: usize = 100;

/// Sends one burst at the start, and one after each gap, in milliseconds.
pub fn run(address: SocketAddr, wanted: Wanted, gaps_millis: &[u64]) -> Outcome {
    let mut lanes: Vec<Lane> = (0..LANES).map(|_| Lane::to(address)).collect();
    let mut outcome = Outcome::default();
    for gap_millis in [0].iter().chain(gaps_millis) {
        thread::sleep(Duration::from_millis(*gap_millis));
        let sent: Vec<_> = lanes.iter_mut().map(|lane| lane.send(wanted, "")).collect();
        for (lane, sent) in lanes.iter_mut().zip(sent) {
            outcome.note(sent.and_then(|()| lane.receive(wanted)));
        }
    }
    outcome
}
