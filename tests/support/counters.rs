//! The counters of a running server, as SIGUSR2 prints them.

use rustix::process::Signal;

use super::{Server, until};

/// The value of the counter `name` now.
pub fn counter(server: &Server, name: &str) -> u64 {
    let before = values(server, name).len();
    server.signal(Signal::USR2);
    until(&format!("the server prints {name}"), || {
        values(server, name).len() > before
    });
    *values(server, name).last().expect("it has been printed")
}

/// How many connections ended for `reason`.
pub fn closes(server: &Server, reason: &str) -> u64 {
    counter(server, &format!("closes_total{{reason=\"{reason}\"}}"))
}

/// All the values that the server has printed so far, the oldest first.
fn values(server: &Server, name: &str) -> Vec<u64> {
    let said = server.stderr();
    // A last line without its end may be incomplete.
    let complete = said.rfind('\n').map_or("", |end| &said[..end]);
    complete
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
        .collect()
}
