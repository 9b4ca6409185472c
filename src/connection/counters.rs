//! Counters of requests, bytes and closed connections. Each thread that serves has its own, so that
//! threads never contend for one; a report sums them.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::duration_histogram::{DurationHistograms, DurationTotals};
use super::slow_requests::SlowRequests;

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer closed between two requests.
    ClientClosed,
    /// The request said `Connection: close`, or HTTP/1.0 without keep-alive.
    ClientAsked,
    /// `keep_alive.max_requests` was reached.
    MaxRequests,
    /// `keep_alive.max_age` was reached.
    MaxAge,
    /// The connection was idle for T + grace, or sent no request within `timeouts.head`.
    Idle,
    /// The connection was silent, idle for more than T, or answered, while 90 % of a limit on connections
    /// were open.
    Pressure,
    /// The head was not complete within `timeouts.head`.
    HeadTimeout,
    /// The body made no progress within `timeouts.body`, or came below `limits.min_rate`.
    BodyTimeout,
    /// The peer took no bytes for `timeouts.write`, or fewer than `limits.min_rate`.
    WriteTimeout,
    /// A request was malformed or over a limit; framing is in doubt.
    BadRequest,
    /// The status of a response ends the connection.
    ErrorAnswer,
    /// A limit on connections is reached, in all or for the address.
    Refused,
    /// At an address with the PROXY protocol, the peer is no trusted proxy, or sent no valid header in time.
    ProxyHeader,
    /// The TLS handshake failed or was late, or the peer sent an invalid record.
    Tls,
    /// The server drains.
    Drain,
    /// The server stops at once.
    Stop,
    /// The peer reset the connection, or the network lost it.
    Reset,
    /// A file ended before its promised length, or could not be read to its end.
    Truncated,
    /// The thread that served the connection panicked.
    Panic,
    /// The kernel had no memory to watch the socket.
    Exhausted,
}

impl CloseReason {
    /// All reasons with their names, in the order of the reasons.
    pub const ALL: [(CloseReason, &'static str); 20] = [
        (CloseReason::ClientClosed, "client_closed"),
        (CloseReason::ClientAsked, "client_asked"),
        (CloseReason::MaxRequests, "max_requests"),
        (CloseReason::MaxAge, "max_age"),
        (CloseReason::Idle, "idle"),
        (CloseReason::Pressure, "pressure"),
        (CloseReason::HeadTimeout, "head_timeout"),
        (CloseReason::BodyTimeout, "body_timeout"),
        (CloseReason::WriteTimeout, "write_timeout"),
        (CloseReason::BadRequest, "bad_request"),
        (CloseReason::ErrorAnswer, "error_answer"),
        (CloseReason::Refused, "refused"),
        (CloseReason::ProxyHeader, "proxy_header"),
        (CloseReason::Tls, "tls"),
        (CloseReason::Drain, "drain"),
        (CloseReason::Stop, "stop"),
        (CloseReason::Reset, "reset"),
        (CloseReason::Truncated, "truncated"),
        (CloseReason::Panic, "panic"),
        (CloseReason::Exhausted, "exhausted"),
    ];

    /// The name in logs and counters.
    #[must_use]
    pub fn name(self) -> &'static str {
        CloseReason::ALL[self as usize].1
    }
}

/// Upper bounds, inclusive, of the histogram of requests per connection.
pub const REQUEST_BOUNDS: [u32; 11] = [0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];

/// The outcome of a TLS handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeOutcome {
    /// Both sides have exchanged keys, and the server has signed.
    Full,
    /// The client had a ticket of an earlier connection.
    Resumed,
    /// The peer broke the rules or was late, or its handshake was given up for a later one.
    Failed,
}

impl HandshakeOutcome {
    /// All outcomes with their names, in the order of the outcomes.
    pub const ALL: [(HandshakeOutcome, &'static str); 3] = [
        (HandshakeOutcome::Full, "full"),
        (HandshakeOutcome::Resumed, "resumed"),
        (HandshakeOutcome::Failed, "failed"),
    ];
}

/// One thread's counters.
#[derive(Debug, Default)]
pub struct Counters {
    requests: AtomicU64,
    sent_bytes: AtomicU64,
    keep_alive_races: AtomicU64,
    promises_honoured: AtomicU64,
    promises_broken: AtomicU64,
    closes: [AtomicU64; CloseReason::ALL.len()],
    /// Connections by the number of requests answered: up to each of [`REQUEST_BOUNDS`], and more.
    lengths: [AtomicU64; REQUEST_BOUNDS.len() + 1],
    /// Requests answered on connections that have ended.
    requests_of_closed: AtomicU64,
    /// TLS handshakes, by [`HandshakeOutcome`].
    handshakes: [AtomicU64; HandshakeOutcome::ALL.len()],
    durations: DurationHistograms,
    slow_requests: SlowRequests,
    longest_turn_micros: AtomicU64,
}

impl Counters {
    /// The histograms of the time that responses take.
    #[must_use]
    pub fn durations(&self) -> &DurationHistograms {
        &self.durations
    }

    /// The slowest requests, if they are kept.
    #[must_use]
    pub fn slow_requests(&self) -> &SlowRequests {
        &self.slow_requests
    }

    /// Notes that the thread ran turns for `micros` microseconds without a reading of the clock: one turn on
    /// a worker, a few on an event loop.
    #[inline]
    pub fn note_turn(&self, micros: u64) {
        // Only this thread raises the value, so a load and a store suffice. (Spare workers share theirs: of
        // two that raise it at once, the shorter turn may win.)
        if micros > self.longest_turn_micros.load(Ordering::Relaxed) {
            self.longest_turn_micros.store(micros, Ordering::Relaxed);
        }
    }

    /// The longest time since the last call in microseconds, as [`note_turn`](Counters::note_turn) counts it.
    pub fn take_longest_turn(&self) -> u64 {
        self.longest_turn_micros.swap(0, Ordering::Relaxed)
    }

    /// Counts requests that were answered.
    pub fn answered(&self, requests: u64) {
        self.requests.fetch_add(requests, Ordering::Relaxed);
    }

    /// Counts bytes that the kernel took.
    pub fn sent(&self, bytes: u64) {
        self.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts a connection on which we dropped a request that crossed with our close. The request arrived
    /// after our FIN on an idle connection, or after the last answered request when the client could not
    /// expect a `close`.
    pub fn keep_alive_race(&self) {
        self.keep_alive_races.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that ended during a drain after its promise was kept.
    pub fn promise_honoured(&self) {
        self.promises_honoured.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that was stopped before its T had passed, or within a request.
    pub fn promise_broken(&self) {
        self.promises_broken.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a TLS handshake that has ended.
    pub fn handshake(&self, outcome: HandshakeOutcome) {
        self.handshakes[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the end of a connection on which `answered` requests were answered.
    pub fn closed(&self, reason: CloseReason, answered: u32) {
        // Release: whoever sees the close and has an Acquire fence also sees that the connection was accepted.
        self.closes[reason as usize].fetch_add(1, Ordering::Release);
        let bucket = REQUEST_BOUNDS.partition_point(|bound| *bound < answered);
        self.lengths[bucket].fetch_add(1, Ordering::Relaxed);
        self.requests_of_closed
            .fetch_add(u64::from(answered), Ordering::Relaxed);
    }
}

/// The sum of several [`Counters`], printed one `name value` per line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests answered.
    pub requests: u64,
    /// Bytes sent, heads included.
    pub sent_bytes: u64,
    /// Connections on which a request crossed with our close ([`Counters::keep_alive_race`]).
    pub keep_alive_races: u64,
    /// Connections that ended during a drain after their promise was kept.
    pub promises_honoured: u64,
    /// Connections that were stopped before their T had passed, or within a request.
    pub promises_broken: u64,
    closes: [u64; CloseReason::ALL.len()],
    lengths: [u64; REQUEST_BOUNDS.len() + 1],
    /// Requests answered on connections that have ended.
    pub requests_of_closed: u64,
    handshakes: [u64; HandshakeOutcome::ALL.len()],
    /// The durations of responses, by kind. A response counts here some microseconds after it counts in
    /// `requests`.
    pub durations: DurationTotals,
}

impl Totals {
    /// Sums `all`.
    pub fn sum<'a>(all: impl Iterator<Item = &'a Counters>) -> Totals {
        let mut totals = Totals::default();
        for counters in all {
            totals.requests += counters.requests.load(Ordering::Relaxed);
            totals.sent_bytes += counters.sent_bytes.load(Ordering::Relaxed);
            totals.keep_alive_races += counters.keep_alive_races.load(Ordering::Relaxed);
            totals.promises_honoured += counters.promises_honoured.load(Ordering::Relaxed);
            totals.promises_broken += counters.promises_broken.load(Ordering::Relaxed);
            add(&mut totals.closes, &counters.closes);
            add(&mut totals.lengths, &counters.lengths);
            totals.requests_of_closed += counters.requests_of_closed.load(Ordering::Relaxed);
            add(&mut totals.handshakes, &counters.handshakes);
            totals.durations.add(&counters.durations);
        }
        totals
    }

    /// The number of TLS handshakes that ended with `outcome`.
    #[must_use]
    pub fn handshakes(&self, outcome: HandshakeOutcome) -> u64 {
        self.handshakes[outcome as usize]
    }

    /// The number of connections that ended for `reason`.
    #[must_use]
    pub fn closes(&self, reason: CloseReason) -> u64 {
        self.closes[reason as usize]
    }

    /// The number of connections that ended.
    #[must_use]
    pub fn closed(&self) -> u64 {
        self.closes.iter().sum()
    }

    /// Connections that ended by the number of requests answered: up to each of [`REQUEST_BOUNDS`], and more.
    #[must_use]
    pub fn lengths(&self) -> &[u64] {
        &self.lengths
    }
}

fn add(totals: &mut [u64], counts: &[AtomicU64]) {
    for (total, count) in totals.iter_mut().zip(counts) {
        *total += count.load(Ordering::Relaxed);
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "requests_total {}", self.requests)?;
        writeln!(f, "sent_bytes_total {}", self.sent_bytes)?;
        writeln!(f, "keep_alive_race_total {}", self.keep_alive_races)?;
        writeln!(f, "promises_honoured_total {}", self.promises_honoured)?;
        writeln!(f, "promises_broken_total {}", self.promises_broken)?;
        for (reason, name) in CloseReason::ALL {
            writeln!(
                f,
                "closes_total{{reason=\"{name}\"}} {}",
                self.closes(reason)
            )?;
        }
        // Histograms in this text format are cumulative: each line counts the connections up to its
        // bound.
        let name = "requests_per_connection";
        let mut ended = 0;
        for (bound, count) in REQUEST_BOUNDS.iter().zip(self.lengths) {
            ended += count;
            writeln!(f, "{name}_bucket{{le=\"{bound}\"}} {ended}")?;
        }
        ended += self.lengths[REQUEST_BOUNDS.len()];
        writeln!(f, "{name}_bucket{{le=\"+Inf\"}} {ended}")?;
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
    fn totals_sum_the_threads() {
        let (one, two) = (Counters::default(), Counters::default());
        one.answered(2);
        two.answered(3);
        two.closed(CloseReason::Idle, 3);
        one.closed(CloseReason::MaxRequests, 2000);
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
