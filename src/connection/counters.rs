//! What happened, counted. Each worker has its own counters, so that counting is never contended;
//! they are summed when somebody asks.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer closed between two requests.
    ClientClosed,
    /// The request said `Connection: close`, or HTTP/1.0 without keep-alive.
    ClientAsked,
    /// `keep_alive.max_requests` was reached.
    MaxRequests,
    /// Idle for T + grace.
    Idle,
    /// The head was not complete within `timeouts.head`.
    HeadTimeout,
    /// The body made no progress within `timeouts.body`.
    BodyTimeout,
    /// The peer took nothing for `timeouts.write`, or less than `limits.min_rate`.
    WriteTimeout,
    /// A request was malformed or over a limit; framing is in doubt.
    BadRequest,
    /// The status of an answer ends the connection.
    ErrorAnswer,
    /// Over `limits.connections`.
    Refused,
    /// The server drains.
    Drain,
    /// The server stops at once.
    Stop,
    /// The peer reset the connection, or the network lost it.
    Reset,
    /// A file ended before its promised length, or could not be read to its end.
    Truncated,
    /// A worker panicked while it served the connection.
    Panic,
}

impl CloseReason {
    const ALL: [(CloseReason, &'static str); 15] = [
        (CloseReason::ClientClosed, "client_closed"),
        (CloseReason::ClientAsked, "client_asked"),
        (CloseReason::MaxRequests, "max_requests"),
        (CloseReason::Idle, "idle"),
        (CloseReason::HeadTimeout, "head_timeout"),
        (CloseReason::BodyTimeout, "body_timeout"),
        (CloseReason::WriteTimeout, "write_timeout"),
        (CloseReason::BadRequest, "bad_request"),
        (CloseReason::ErrorAnswer, "error_answer"),
        (CloseReason::Refused, "refused"),
        (CloseReason::Drain, "drain"),
        (CloseReason::Stop, "stop"),
        (CloseReason::Reset, "reset"),
        (CloseReason::Truncated, "truncated"),
        (CloseReason::Panic, "panic"),
    ];

    /// The name in logs and counters.
    #[must_use]
    pub fn name(self) -> &'static str {
        CloseReason::ALL[self as usize].1
    }
}

/// One worker's counters.
#[derive(Debug, Default)]
pub struct Counters {
    requests: AtomicU64,
    sent_bytes: AtomicU64,
    keep_alive_races: AtomicU64,
    closes: [AtomicU64; CloseReason::ALL.len()],
}

impl Counters {
    /// Counts requests that were answered.
    pub fn answered(&self, requests: u64) {
        self.requests.fetch_add(requests, Ordering::Relaxed);
    }

    /// Counts bytes that the kernel took.
    pub fn sent(&self, bytes: u64) {
        self.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts a request that arrived after our FIN on an idle connection.
    pub fn keep_alive_race(&self) {
        self.keep_alive_races.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the end of a connection.
    pub fn closed(&self, reason: CloseReason) {
        self.closes[reason as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// The sum of several [`Counters`], printed one `name value` per line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests answered.
    pub requests: u64,
    /// Bytes sent, heads included.
    pub sent_bytes: u64,
    /// Requests that arrived after our FIN on an idle connection.
    pub keep_alive_races: u64,
    closes: [u64; CloseReason::ALL.len()],
}

impl Totals {
    /// Sums `all`.
    pub fn sum<'a>(all: impl Iterator<Item = &'a Counters>) -> Totals {
        let mut totals = Totals::default();
        for counters in all {
            totals.requests += counters.requests.load(Ordering::Relaxed);
            totals.sent_bytes += counters.sent_bytes.load(Ordering::Relaxed);
            totals.keep_alive_races += counters.keep_alive_races.load(Ordering::Relaxed);
            for (total, count) in totals.closes.iter_mut().zip(&counters.closes) {
                *total += count.load(Ordering::Relaxed);
            }
        }
        totals
    }

    /// How many connections ended for `reason`.
    #[must_use]
    pub fn closes(&self, reason: CloseReason) -> u64 {
        self.closes[reason as usize]
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "requests_total {}", self.requests)?;
        writeln!(f, "sent_bytes_total {}", self.sent_bytes)?;
        writeln!(f, "keep_alive_race_total {}", self.keep_alive_races)?;
        for (reason, name) in CloseReason::ALL {
            writeln!(
                f,
                "closes_total{{reason=\"{name}\"}} {}",
                self.closes(reason)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_in_the_order_of_the_reasons() {
        for (index, (reason, name)) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{name}");
        }
    }

    #[test]
    fn totals_sum_the_workers() {
        let (one, two) = (Counters::default(), Counters::default());
        one.answered(2);
        two.answered(3);
        two.closed(CloseReason::Idle);
        let totals = Totals::sum([&one, &two].into_iter());
        assert_eq!((totals.requests, totals.closes(CloseReason::Idle)), (5, 1));
        assert!(
            totals
                .to_string()
                .contains("closes_total{reason=\"idle\"} 1\n"),
            "{totals}"
        );
    }
}
