//! Many requests at once, then silence for a chosen time, and again.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use crate::lane::{Lane, Outcome, Wanted};

/// All of them send before the first one reads, so the proxy needs many connections to abide at a
/// time, and all of these have been idle for about as long when the next burst comes.
const LANES: usize = 100;

/// One burst at the start and one after each of the gaps, which are in milliseconds.
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
