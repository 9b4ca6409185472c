//! What idle connections cost, as a table of targets and measurements: `cargo bench --bench idle`.
//!
//! The first part is the real server and as many connections over loopback as the hard limit of
//! descriptors allows ([`sockets`]). The second is a million sessions without sockets, in this process:
//! the real slots, sessions and wheel ([`simulated`]). It takes about a minute where the limit is
//! 20,000 descriptors; `-- simulated` or `-- sockets` runs one of the two.

mod fleet;
mod process;
mod report;
mod simulated;
mod sockets;

/// Bytes of an idle connection in user space that are to be enough.
const MOST_BYTES_EACH: f64 = 160.0;

/// Bytes of a connection that has ended which may stay: its slot, its places in the lists, and what is
/// left of pages that hold something else as well.
const MOST_BYTES_KEPT_EACH: f64 = 80.0;

/// Per cent of one core that idle connections may take all together.
const MOST_CPU_PERCENT: f64 = 1.0;

fn main() {
    let parts: Vec<String> = std::env::args()
        .skip(1)
        // Cargo's own.
        .filter(|argument| argument != "--bench")
        .collect();
    let is_wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    // First, while nothing else has left its marks in the memory of this process.
    if is_wanted("simulated") {
        simulated::run();
    }
    if is_wanted("sockets") {
        sockets::run();
    }
}
