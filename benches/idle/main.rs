//! The cost of idle connections, as a table of targets and measurements: `cargo bench --bench idle`.
//!
//! The first part measures the real server with as many connections over loopback as the hard limit of
//! descriptors allows ([`sockets`]). The second measures a million sessions without sockets, in this
//! process, with the real slots, sessions and wheel ([`simulated`]). The third measures the memory of idle TLS
//! connections, beside other servers ([`tls`]). The bench takes about three minutes if the limit is 20,000
//! descriptors; `-- simulated`, `-- sockets` or `-- tls` runs one of the three.

mod idle_connections;
mod process;
mod report;
mod simulated;
mod sockets;
mod tls;

/// The target for the bytes of an idle connection in user space.
const MAX_BYTES_EACH: f64 = 160.0;

/// The target for the bytes that stay after a connection has ended: its slot, its entries in the lists, and
/// parts of pages that other objects use as well.
const MAX_BYTES_KEPT_EACH: f64 = 80.0;

/// The target for the CPU time of all idle connections, in per cent of one core.
const MAX_CPU_PERCENT: f64 = 1.0;

fn main() {
    let parts: Vec<String> = std::env::args()
        .skip(1)
        // Cargo adds this argument.
        .filter(|argument| argument != "--bench")
        .collect();
    let is_wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    // This part comes first, because the other one would change the memory of this process.
    if is_wanted("simulated") {
        simulated::run();
    }
    if is_wanted("sockets") {
        sockets::run();
    }
    if is_wanted("tls") {
        tls::run();
    }
}
