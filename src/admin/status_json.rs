//! `/status.json`: the data of the status page.

use serde_json::{Map, Value, json};

use super::figures::Figures;
use super::history::{HISTORY_SECS, History, Series};
use crate::config::{Admin, ListenAddress};
use crate::connection::counters::CloseReason;
use crate::connection::peer::Peer;
use crate::connection::server_context::Mode;
use crate::connection::slow_requests::SlowRequest;

/// The status. Times are in the units that their names end with.
#[must_use]
pub fn value(figures: &Figures, history: &History, admin: &Admin) -> Value {
    let totals = &figures.totals;
    let connections = &figures.connections;
    let (requests_per_second, bytes_per_second) = history.rates();
    let [median, p99] = history.quantiles([0.5, 0.99]);
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "mode": mode_name(figures.mode),
        "unix_time_s": figures.now.unix_secs,
        "uptime_s": figures.uptime_secs(),
        "listen": figures.listen.iter().map(ListenAddress::url).collect::<Vec<_>>(),
        "requests": {
            "total": totals.durations.requests(),
            "per_second": requests_per_second,
            "sent_bytes": totals.sent_bytes,
            "sent_bytes_per_second": bytes_per_second,
            // The bound of the bucket, because a histogram knows no more.
            "median_at_most_us": median,
            "p99_at_most_us": p99,
            "slowest": slowest(history, figures, admin),
        },
        "connections": {
            "accepted": connections.accepted,
            "dropped": connections.dropped,
            "open": connections.open(),
            "active": connections.active,
            "idle": connections.idle,
            "lingering": connections.lingering,
            "limit": figures.most_connections,
            "closed": closes(&CloseReason::ALL.map(|(reason, _)| totals.closes(reason))),
        },
        "promises": {
            "timeout_s": figures.timeout_secs,
            "races": totals.keep_alive_races,
            "honoured": totals.promises_honoured,
            "broken": totals.promises_broken,
        },
        "cache": figures.lookups.map(|(lookups, loads)| json!({
            "file_hits": lookups.file_hits,
            "file_misses": lookups.file_misses,
            "absence_hits": lookups.absence_hits,
            "absence_misses": lookups.absence_misses,
            "loads": loads,
        })),
        "threads": {
            "event_loops": figures.event_loops,
            "workers": figures.workers,
            "parked": figures.parked,
            "longest_turn_us": figures.longest_turn_micros,
            "queues": Map::from_iter(figures.queues.map(|(name, len)| (name.to_owned(), len.into()))),
        },
        "reloads": {
            "applied": figures.reloads.applied,
            "refused": figures.reloads.refused,
            "last": figures.reloads.last.as_ref().map(|last| json!({
                "unix_time_s": last.unix_secs,
                "refusal": last.refusal,
            })),
        },
        "process": {
            "cpu_s": figures.process.cpu_secs,
            "resident_bytes": figures.process.resident_bytes,
            "threads": figures.process.threads,
            "open_descriptors": figures.process.open_descriptors,
            "most_descriptors": figures.process.most_descriptors,
        },
        "history": plotted(history),
    })
}

/// The name of a mode.
#[must_use]
pub fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Serving => "serving",
        Mode::Draining => "draining",
        Mode::Stopping => "stopping",
    }
}

/// The points of the plots, and the closes of the last minutes.
fn plotted(history: &History) -> Value {
    json!({
        "seconds": HISTORY_SECS,
        "requests_per_second": history.points(Series::Requests).to_vec(),
        "open": history.points(Series::Open).to_vec(),
        "closes_per_second": history.points(Series::Closes).to_vec(),
        "races": history.points(Series::Races).to_vec(),
        "closed": closes(&history.closes()),
    })
}

fn closes(counts: &[u64]) -> Value {
    let named = CloseReason::ALL.iter().zip(counts);
    let named = named.map(|((_, name), count)| ((*name).to_owned(), (*count).into()));
    Value::Object(named.collect())
}

fn slowest(history: &History, figures: &Figures, admin: &Admin) -> Value {
    let now_micros = figures.now.monotonic.0 * 1_000;
    let one = |slow: &SlowRequest| {
        let mut value = json!({
            "request": String::from_utf8_lossy(&slow.request.line),
            "status": slow.request.status.code(),
            "duration_us": slow.micros,
            "ago_s": now_micros.saturating_sub(slow.ended_at_micros) / 1_000_000,
        });
        if admin.clients {
            value["client"] = match slow.request.client {
                Peer::Ip(address) => address.to_string().into(),
                Peer::Unix => "unix".into(),
            };
        }
        value
    };
    history.slowest().iter().map(one).collect()
}
