//! Python: no client honours the hint. aiohttp and urllib3 repeat a GET that was lost to an idle close;
//! requests and httpx do not.
//!
//! All of them check for a close before they reuse a connection. A request is lost only if it crosses the
//! close on the wire.

use std::process::Command;

use super::trial::{LANES, Trial, assert_within_t, installed, script};

/// Pauses around T, around T + grace, and in small steps around the server's close.
pub const GAPS_MILLIS: [u64; 12] = [
    1000, 5020, 2900, 5050, 3000, 5080, 3100, 5110, 4800, 5140, 5000, 5170,
];

pub fn python(library: &str) -> Command {
    installed(&format!("python/{library}"));
    let mut command = Command::new("python3");
    command.arg(script("python.py")).arg(library);
    command.env("PYTHONPATH", installed("python"));
    command
}

/// The application sees only answers, since the library repeats lost requests.
fn repeats(library: &str) {
    let report = Trial::of(library).gaps(&GAPS_MILLIS).run(python(library));
    report.assert_nothing_lost();
}

#[test]
#[ignore = "needs python3 and aiohttp"]
fn aiohttp_repeats_and_loses_nothing() {
    repeats("aiohttp");
}

#[test]
#[ignore = "needs python3 and urllib3"]
fn urllib3_repeats_and_loses_nothing() {
    repeats("urllib3");
}

#[test]
#[ignore = "needs python3 and requests"]
fn requests_loses_nothing_within_t() {
    assert_within_t("requests", || python("requests"));
}

/// httpx has a limit of 5 s, which is equal to T + grace here.
#[test]
#[ignore = "needs python3 and httpx"]
fn httpx_loses_nothing_within_t() {
    assert_within_t("httpx", || python("httpx"));
}

/// A client without a limit and without retries loses nothing if the server closes no connection for its
/// age.
#[test]
#[ignore = "needs python3 and requests"]
fn requests_loses_nothing_at_any_pause_under_pressure_mode() {
    let report = Trial::of("requests, keep_alive.close = \"pressure\"")
        .keep_alive("close = \"pressure\"")
        .gaps(&GAPS_MILLIS)
        .run(python("requests"));
    report.assert_nothing_lost();
    report.assert_no_race();
    assert_eq!(report.idle_closes, 0, "{report}");
    assert_eq!(report.connections, LANES as u64, "one for each lane");
}
