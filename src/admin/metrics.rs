//! `/metrics`: every number as Prometheus reads it.
//!
//! All series exist from the start, whatever clients send and whatever a reload changes, so the number of series
//! never changes, except for certificates: each file has its series. (Figures of the process are missing if `/proc`
//! is.)

use super::exposition::{Exposition, Kind};
use super::figures::{CertificateFigures, Figures};
use super::process::ProcessFigures;
use crate::connection::counters::{CloseReason, HandshakeOutcome, REQUEST_BOUNDS, Totals};
use crate::connection::duration_histogram::BUCKETS;
use crate::connection::request_kind::RequestKind;
use crate::connection::server_context::Mode;
use crate::site::memory::LookupTotals;

/// The bounds of [`BOUNDS_MICROS`](crate::connection::duration_histogram::BOUNDS_MICROS) in seconds.
const DURATION_BOUNDS: [&str; BUCKETS - 1] = [
    "5e-05", "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05",
    "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0",
];

/// The bounds of [`REQUEST_BOUNDS`].
const LENGTH_BOUNDS: [&str; REQUEST_BOUNDS.len()] = [
    "0.0", "1.0", "2.0", "5.0", "10.0", "20.0", "50.0", "100.0", "200.0", "500.0", "1000.0",
];

/// The metrics, in OpenMetrics or in the text format.
#[must_use]
pub fn text(figures: &Figures, is_open_metrics: bool) -> String {
    let mut out = Exposition::new(is_open_metrics);
    out.family("abide_build", Kind::Info, "The version that runs.");
    out.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    requests(&mut out, &figures.totals);
    connections(&mut out, figures);
    promises(&mut out, &figures.totals);
    // Without a cache nothing is looked up in memory.
    let (lookups, loads) = figures.lookups.unwrap_or_default();
    cache(&mut out, &lookups, loads);
    threads(&mut out, figures);
    configuration(&mut out, figures);
    certificates(&mut out, &figures.certificates);
    process(&mut out, figures);
    out.finish()
}

fn requests(out: &mut Exposition, totals: &Totals) {
    let help = "Time from the first byte of a request to the last byte of its response that the \
                kernel took, by method and class of the status.";
    out.family("abide_http_request_duration_seconds", Kind::Histogram, help);
    for kind in RequestKind::all() {
        let labels = [("method", kind.method()), ("code", kind.class())];
        let durations = &totals.durations;
        let sum = seconds(durations.micros(kind));
        out.histogram(&labels, &DURATION_BOUNDS, durations.buckets(kind), sum);
    }
    let help = "Bytes that the kernel took for clients, heads included.";
    out.single("abide_sent_bytes", Kind::Counter, help, totals.sent_bytes);
}

fn connections(out: &mut Exposition, figures: &Figures) {
    let connections = &figures.connections;
    let help = "Connections accepted.";
    out.single(
        "abide_connections_accepted",
        Kind::Counter,
        help,
        connections.accepted,
    );
    let help = "Connections closed without a response, because a limit was reached. They are not \
                among the accepted.";
    out.single(
        "abide_connections_dropped",
        Kind::Counter,
        help,
        connections.dropped,
    );
    let help = "Open connections by state; their sum is the accepted minus the closed.";
    out.family("abide_connections", Kind::Gauge, help);
    for (state, count) in [
        ("active", connections.active),
        ("idle", connections.idle),
        ("lingering", connections.lingering),
    ] {
        out.sample(&[("state", state)], count);
    }
    let help = "The most connections that may be open.";
    out.single(
        "abide_connections_limit",
        Kind::Gauge,
        help,
        figures.most_connections,
    );
    let totals = &figures.totals;
    let help = "Connections closed, by reason.";
    out.family("abide_connections_closed", Kind::Counter, help);
    for (reason, name) in CloseReason::ALL {
        out.sample(&[("reason", name)], totals.closes(reason));
    }
    let help = "TLS handshakes that have ended, by outcome.";
    out.family("abide_tls_handshakes", Kind::Counter, help);
    for (outcome, name) in HandshakeOutcome::ALL {
        out.sample(&[("outcome", name)], totals.handshakes(outcome));
    }
    let help = "Requests answered on a connection, counted at its end.";
    out.family("abide_connection_requests", Kind::Histogram, help);
    out.histogram(
        &[],
        &LENGTH_BOUNDS,
        totals.lengths(),
        totals.requests_of_closed,
    );
}

fn promises(out: &mut Exposition, totals: &Totals) {
    let help = "Connections on which a request crossed the server's close and was lost.";
    out.single(
        "abide_keep_alive_races",
        Kind::Counter,
        help,
        totals.keep_alive_races,
    );
    let help =
        "Connections that ended during a drain or stop, by whether the promised time was kept.";
    out.family("abide_promises", Kind::Counter, help);
    out.sample(&[("outcome", "honoured")], totals.promises_honoured);
    out.sample(&[("outcome", "broken")], totals.promises_broken);
}

fn cache(out: &mut Exposition, lookups: &LookupTotals, loads: usize) {
    let help =
        "Lookups of paths, by what was found (a file or its absence) and whether memory had it.";
    out.family("abide_cache_lookups", Kind::Counter, help);
    for (kind, result, count) in [
        ("file", "hit", lookups.file_hits),
        ("file", "miss", lookups.file_misses),
        ("absence", "hit", lookups.absence_hits),
        ("absence", "miss", lookups.absence_misses),
    ] {
        out.sample(&[("kind", kind), ("result", result)], count);
    }
    out.single(
        "abide_loads",
        Kind::Gauge,
        "Loads from the disk under way.",
        loads,
    );
}

fn threads(out: &mut Exposition, figures: &Figures) {
    let help = "Work in the queues between event loops and workers.";
    out.family("abide_queue_length", Kind::Gauge, help);
    for (queue, length) in figures.queues {
        out.sample(&[("queue", queue)], length);
    }
    out.single(
        "abide_event_loops",
        Kind::Gauge,
        "Event loops.",
        figures.event_loops,
    );
    out.single(
        "abide_workers",
        Kind::Gauge,
        "Permanent workers.",
        figures.workers,
    );
    let help = "Workers without work, spare ones included.";
    out.single("abide_workers_parked", Kind::Gauge, help, figures.parked);
    let help = "The longest time in the last minute for which a thread ran turns without a look at \
                the clock: one turn of a worker, or a few of an event loop.";
    let longest = seconds(figures.longest_turn_micros);
    out.single("abide_longest_turn_seconds", Kind::Gauge, help, longest);
    let help = "Lines of the access log that were dropped because nobody took them.";
    let dropped = figures.log_lines_dropped;
    out.single(
        "abide_access_log_lines_dropped",
        Kind::Counter,
        help,
        dropped,
    );
}

fn configuration(out: &mut Exposition, figures: &Figures) {
    let reloads = &figures.reloads;
    let help = "Reloads of the configuration, by result.";
    out.family("abide_config_reloads", Kind::Counter, help);
    out.sample(&[("result", "applied")], reloads.applied);
    out.sample(&[("result", "refused")], reloads.refused);
    let help = "Whether the last reload took effect; 1 if there was none.";
    let is_applied = u8::from(reloads.is_last_applied());
    out.single(
        "abide_config_last_reload_successful",
        Kind::Gauge,
        help,
        is_applied,
    );
    let help = "When the last reload ended, or the server started, in seconds since 1970.";
    let last = reloads.last.as_ref();
    let at = last.map_or(figures.started_unix_secs, |last| last.unix_secs);
    out.single(
        "abide_config_last_reload_timestamp_seconds",
        Kind::Gauge,
        help,
        at,
    );
    let help = "Whether the server serves; 0 from the first moment of a drain.";
    let is_ready = u8::from(figures.mode == Mode::Serving);
    out.single("abide_ready", Kind::Gauge, help, is_ready);
}

/// Nothing without TLS.
fn certificates(out: &mut Exposition, certificates: &[CertificateFigures]) {
    if certificates.is_empty() {
        return;
    }
    let help = "The end of the validity of a certificate in use, in seconds since 1970.";
    let name = "abide_certificate_not_after_seconds";
    out.family(name, Kind::Gauge, help);
    for CertificateFigures {
        file, not_after, ..
    } in certificates
    {
        out.sample(&[("certificate", file)], not_after);
    }
    let help = "Whether the file of a certificate has changed but cannot be used, so that the old one stays.";
    out.family("abide_certificate_renewal_failed", Kind::Gauge, help);
    for certificate in certificates {
        let has_failed = u8::from(certificate.has_failed_renewal);
        out.sample(&[("certificate", &certificate.file)], has_failed);
    }
}

/// The names and texts are those of the Prometheus client libraries.
fn process(out: &mut Exposition, figures: &Figures) {
    let help = "Start time of the process since unix epoch in seconds.";
    let started = figures.started_unix_secs;
    out.single("process_start_time_seconds", Kind::Gauge, help, started);
    let ProcessFigures {
        cpu_secs,
        virtual_bytes,
        resident_bytes,
        threads,
        open_descriptors,
        most_descriptors,
    } = figures.process;
    let help = "Total user and system CPU time spent in seconds.";
    out.single_if_known("process_cpu_seconds", Kind::Counter, help, cpu_secs);
    let help = "Virtual memory size in bytes.";
    out.single_if_known(
        "process_virtual_memory_bytes",
        Kind::Gauge,
        help,
        virtual_bytes,
    );
    let help = "Resident memory size in bytes.";
    out.single_if_known(
        "process_resident_memory_bytes",
        Kind::Gauge,
        help,
        resident_bytes,
    );
    let help = "Number of OS threads in the process.";
    out.single_if_known("process_threads", Kind::Gauge, help, threads);
    let help = "Number of open file descriptors.";
    out.single_if_known("process_open_fds", Kind::Gauge, help, open_descriptors);
    let help = "Maximum number of open file descriptors.";
    out.single_if_known("process_max_fds", Kind::Gauge, help, most_descriptors);
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::duration_histogram::BOUNDS_MICROS;

    #[test]
    fn each_certificate_has_its_series() {
        let certificate = |file: &str, has_failed_renewal| CertificateFigures {
            file: file.to_owned(),
            not_after: 1_800_000_000,
            has_failed_renewal,
        };
        let mut out = Exposition::new(true);
        let all = [certificate("/a.pem", false), certificate("/b.pem", true)];
        certificates(&mut out, &all);
        let text = out.finish();
        for line in [
            "# UNIT abide_certificate_not_after_seconds seconds\n",
            "\nabide_certificate_not_after_seconds{certificate=\"/a.pem\"} 1800000000\n",
            "\nabide_certificate_renewal_failed{certificate=\"/a.pem\"} 0\n",
            "\nabide_certificate_renewal_failed{certificate=\"/b.pem\"} 1\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
        let mut out = Exposition::new(true);
        certificates(&mut out, &[]);
        assert_eq!(out.finish(), "# EOF\n");
    }

    #[test]
    fn the_bounds_are_those_of_the_counters() {
        for (text, micros) in DURATION_BOUNDS.iter().zip(BOUNDS_MICROS) {
            assert_eq!(text.parse(), Ok(seconds(micros)));
        }
        for (text, bound) in LENGTH_BOUNDS.iter().zip(REQUEST_BOUNDS) {
            assert_eq!(text.parse(), Ok(f64::from(bound)));
        }
    }
}
