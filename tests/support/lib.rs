//! What the black-box tests share: a site to serve, a server to serve it, a client that sends raw
//! bytes. Every wait in here has a bound, and a test that runs into it fails with a sentence.

pub mod beside;
pub mod browser;
pub mod client;
pub mod codings;
pub mod counters;
pub mod crowd;
pub mod in_process;
pub mod load;
pub mod machine;
pub mod machinery;
pub mod peer;
pub mod process;
pub mod recipes;
pub mod response;
pub mod scripted;
pub mod server;
pub mod share;
pub mod site;
pub mod slow_disk;
pub mod stall;
pub mod turns;

pub use client::Client;
pub use codings::{accepting, decoded, encoding, gzip, text};
pub use in_process::InProcess;
pub use response::Response;
pub use server::{Launch, Server};
pub use share::Share;
pub use site::{Site, pattern};
pub use stall::retried_after_a_stall;

use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that should take no time, on a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `is_so`, or fails saying that `what` did not come true.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
