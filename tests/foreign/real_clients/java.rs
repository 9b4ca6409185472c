//! Java's two clients. HttpURLConnection keeps a connection for the time in the hint. HttpClient has its
//! own limit, 1,200 s at first and 30 s since Java 20, but sees an idle close at once, and repeats a GET
//! whose connection ended before a byte of the answer.

use std::process::Command;

use super::edges::{assert_kept, assert_nothing_lost_within_t};
use super::trial::{Report, Trial, script};

/// The pauses for a client that keeps to the hint, around T and around T + grace.
pub const GAPS_MILLIS: [u64; 11] = [
    1000, 2800, 2950, 2990, 3000, 3010, 3050, 3200, 4900, 5000, 5100,
];

/// Runs `client`, with this idle limit instead of its own, if any.
pub fn command(client: &str, idle_limit_secs: Option<u64>) -> Command {
    let mut program = Command::new("java");
    // The trial is too short for the optimising compiler.
    program.arg("-XX:TieredStopAtLevel=1");
    if let Some(limit) = idle_limit_secs {
        program.arg(format!("-Djdk.httpclient.keepalive.timeout={limit}"));
    }
    program.arg(script("JavaClient.java")).arg(client);
    program
}

/// Tries `client` with one origin for each lane, because the lanes share a pool of connections.
fn java(client: &str, idle_limit_secs: Option<u64>, gaps: &[u64]) -> Report {
    let name = match idle_limit_secs {
        None => format!("Java {client}"),
        Some(limit) => format!("Java {client}, idle limit {limit} s"),
    };
    let trial = Trial::of(&name).gaps(gaps).an_origin_each();
    trial.run(command(client, idle_limit_secs))
}

#[test]
#[ignore = "needs java"]
fn java_url_connection_honours_the_hint_and_loses_nothing() {
    assert_kept(&java("HttpURLConnection", None, &GAPS_MILLIS));
}

#[test]
#[ignore = "needs java"]
fn java_http_client_loses_nothing_within_t() {
    assert_nothing_lost_within_t(|limit_secs, gaps| java("HttpClient", limit_secs, gaps));
}
