//! The shared parts of the tests and benches: a site, a server for it, a client that sends raw bytes, loads
//! and other programs; and the server's own parts with scripted peers in place of sockets. Every wait has a
//! bound, and a test that exceeds it fails with a message.

pub mod admin;
pub mod authority;
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
pub mod other_server;
pub mod paced;
pub mod process;
pub mod process_tree;
pub mod recipes;
pub mod response;
pub mod scripted;
pub mod server;
pub mod share;
pub mod site;
pub mod slow_disk;
pub mod stall;
pub mod tls;
pub mod tls_line;
pub mod turns;

pub use authority::Authority;
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

/// The bound of a wait for something that should take no time, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `is_so`, or fails with a message that contains `what`.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
