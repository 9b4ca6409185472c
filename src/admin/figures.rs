//! All numbers about the server at one moment.

#[cfg(feature = "tls")]
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use super::process::{ProcessFigures, ProcessFiles};
use crate::clock::Now;
use crate::config::ListenAddress;
use crate::connection::counters::Totals;
use crate::connection::server_context::Mode;
#[cfg(feature = "tls")]
use crate::connection::server_context::ServerContext;
use crate::server::reload_status::ReloadFigures;
use crate::server::shared::{ConnectionCounts, Shared, totals};
use crate::site::memory::LookupTotals;

/// The numbers of the server.
#[derive(Debug)]
pub struct Figures {
    /// When they were read.
    pub now: Now,
    /// When the server started, in seconds since 1970-01-01 UTC.
    pub started_unix_secs: u64,
    /// Whether the server serves, drains or stops.
    pub mode: Mode,
    /// The sum of the counters of all threads.
    pub totals: Totals,
    /// Connections by state.
    pub connections: ConnectionFigures,
    /// `limits.connections`, or what the machine allows.
    pub most_connections: usize,
    /// T in seconds.
    pub timeout_secs: u32,
    /// Work in the queues between the event loops and their workers, by the name of the queue.
    pub queues: [(&'static str, usize); 5],
    /// Permanent workers.
    pub workers: usize,
    /// Parked workers, spare ones included.
    pub parked: usize,
    /// Event loops.
    pub event_loops: usize,
    /// The longest turn of the last minute, in microseconds.
    pub longest_turn_micros: u64,
    /// Lookups in memory, and the loads from the disk under way; `None` without a cache.
    pub lookups: Option<(LookupTotals, usize)>,
    /// Lines of the access log that were dropped because nobody took them.
    pub log_lines_dropped: u64,
    /// Reloads of the configuration.
    pub reloads: ReloadFigures,
    /// The process as the operating system sees it.
    pub process: ProcessFigures,
    /// Where clients are served.
    pub listen: Vec<ListenAddress>,
    /// The certificates in use, each file once.
    pub certificates: Vec<CertificateFigures>,
}

/// A certificate in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFigures {
    /// The path of the file, or `self-signed` for a certificate made in memory. Bytes that are no UTF-8 are replaced.
    pub file: String,
    /// The last second for which the certificate is valid, since 1970-01-01 UTC.
    pub not_after: u64,
    /// Whether the file has changed, but cannot be used.
    pub has_failed_renewal: bool,
}

/// The connections that were accepted, and where they are now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectionFigures {
    /// Connections accepted since the start.
    pub accepted: u64,
    /// Connections closed without a response because a limit was reached, which are not among the accepted.
    pub dropped: u64,
    /// In the middle of a request or a response.
    pub active: u64,
    /// Between two requests, or before the first.
    pub idle: u64,
    /// Closed by us, waiting for the peer's FIN.
    pub lingering: u64,
}

impl ConnectionFigures {
    /// Derives the open connections from those accepted and closed, and divides them as the slots say. The
    /// slots are read one after the other, so the active connections are what is left.
    fn new(
        (accepted, dropped, closed): (u64, u64, u64),
        (idle, lingering): (u64, u64),
    ) -> ConnectionFigures {
        let open = accepted.saturating_sub(closed);
        let idle = idle.min(open);
        let lingering = lingering.min(open - idle);
        ConnectionFigures {
            accepted,
            dropped,
            active: open - idle - lingering,
            idle,
            lingering,
        }
    }

    /// The open connections: those accepted minus those closed.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.active + self.idle + self.lingering
    }
}

impl Figures {
    /// Reads the numbers of the server whose event loops are `all`. The caller fills in the longest turn, when
    /// the server started, and where it serves.
    #[must_use]
    pub fn read(all: &[Arc<Shared>], process: &ProcessFiles) -> Figures {
        let first = &all[0];
        let active = first.config.get();
        let (context, config) = (&active.context, &active.context.config);
        // Closes are read before accepts: a connection that comes and goes meanwhile then counts as open.
        let totals = totals(all);
        let counts = all.iter().map(|shared| shared.connection_counts());
        let counts: ConnectionCounts = counts.sum();
        let sum = |count: fn(&Shared) -> u64| all.iter().map(|shared| count(shared)).sum::<u64>();
        let dropped = sum(|shared| shared.accept_state.dropped.load(Ordering::Relaxed));
        let accepted = accepted(all);
        let mut queues = first.handoff.queue_lengths();
        for shared in &all[1..] {
            for (queue, (_, more)) in queues.iter_mut().zip(shared.handoff.queue_lengths()) {
                queue.1 += more;
            }
        }
        Figures {
            now: first.clock.now(),
            started_unix_secs: 0,
            mode: context.mode(),
            connections: ConnectionFigures::new(
                (accepted, dropped, totals.closed()),
                (counts.idle as u64, counts.lingering as u64),
            ),
            most_connections: config.limits.connections,
            timeout_secs: config.keep_alive.timeout_secs,
            queues,
            workers: all.iter().map(|shared| shared.workers).sum(),
            parked: all.iter().map(|shared| shared.handoff.parked()).sum(),
            event_loops: all.len(),
            longest_turn_micros: 0,
            lookups: context.sites.lookups(),
            log_lines_dropped: first.config.dropped_lines(),
            reloads: first.reload_status.figures(),
            process: process.read(),
            listen: first.config.addresses(),
            #[cfg(feature = "tls")]
            certificates: certificates(context),
            #[cfg(not(feature = "tls"))]
            certificates: Vec::new(),
            totals,
        }
    }

    /// Seconds since the start.
    #[must_use]
    pub fn uptime_secs(&self) -> u64 {
        self.now.monotonic.0 / 1_000
    }
}

/// The certificates in use. Two keys can have copies of one certificate, and two paths can look the same as text, but
/// a metric needs each text once.
#[cfg(feature = "tls")]
fn certificates(context: &ServerContext) -> Vec<CertificateFigures> {
    let mut by_file = BTreeMap::new();
    for facts in context.tls.iter().flat_map(|tls| tls.certificates()) {
        let path = facts.path.as_ref();
        let file = path.map_or("self-signed".into(), |path| path.to_string_lossy());
        let figures = CertificateFigures {
            file: file.into_owned(),
            not_after: facts.not_after,
            has_failed_renewal: facts.renewal_failure.is_some(),
        };
        let known = by_file
            .entry(figures.file.clone())
            .or_insert_with(|| figures.clone());
        known.not_after = known.not_after.min(figures.not_after);
        known.has_failed_renewal |= figures.has_failed_renewal;
    }
    by_file.into_values().collect()
}

/// Connections that all event loops have accepted since the start. Each connection whose close the caller has read
/// before is among them.
#[must_use]
pub fn accepted(all: &[Arc<Shared>]) -> u64 {
    // With the Release of `Counters::closed`: whoever sees the close also sees the accept, which came before.
    fence(Ordering::Acquire);
    let accepted = |shared: &Arc<Shared>| shared.accept_state.accepted.load(Ordering::Relaxed);
    all.iter().map(accepted).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever the slots say while connections open and close, the states add up.
        #[test]
        fn accepted_is_open_and_closed(
            accepted in 0..1_000_u64, closed in 0..1_000_u64, idle in 0..1_000_u64, lingering in 0..1_000_u64
        ) {
            let closed = closed.min(accepted);
            let figures = ConnectionFigures::new((accepted, 7, closed), (idle, lingering));
            prop_assert_eq!(figures.open() + closed, accepted);
        }
    }
}
