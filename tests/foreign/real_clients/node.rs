//! Node: its clients honour the hint, minus a margin of one or two seconds, and repeat no request.
//!
//! `http.Agent` honours it only if the agent has its own limit: `globalAgent` has one of 5 s, an agent with
//! `keepAlive: true` alone has none and keeps its connections for ever.

use std::process::Command;
use std::thread;

use super::trial::{T_SECS, Trial, assert_within_t, installed, script};

/// undici, and with it fetch, stops using a connection this long before T.
pub const UNDICI_MARGIN_SECS: u64 = 2;

/// http.Agent stops using a connection this long before T.
pub const AGENT_MARGIN_SECS: u64 = 1;

pub fn node(client: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(script("node.mjs")).arg(client);
    command
}

/// undici from the registry. fetch uses the copy inside Node.
pub fn undici(client: &str) -> Command {
    let place = installed("node/node_modules/undici");
    let mut command = node(client);
    command.env("NODE_CLIENTS", place.join("../.."));
    command
}

/// Pauses around the limit of a client that stops `margin_secs` before T, then around T and T + grace.
pub fn gaps(margin_secs: u64) -> Vec<u64> {
    let edge = (T_SECS - margin_secs) * 1000;
    let around_the_edge = [edge - 500, edge - 50, edge, edge + 50, edge + 450];
    let around_the_server = [2900, 3000, 3100, 4800, 5000, 5100];
    // The lengths alternate, so that each lane gets some of each kind.
    let mut gaps: Vec<u64> = around_the_edge
        .into_iter()
        .zip(around_the_server)
        .flat_map(|(near, far)| [near, far])
        .collect();
    gaps.push(around_the_server[5]);
    gaps
}

/// The client reuses connections, gives each up in time, and loses nothing.
pub fn obeys(trial: Trial, program: Command) {
    let report = trial.run(program);
    report.assert_nothing_lost();
    report.assert_no_race();
    // The client closed the connections, not the server.
    assert_eq!(report.idle_closes, 0, "{report}");
}

#[test]
#[ignore = "needs node"]
fn fetch_obeys_and_loses_nothing() {
    let trial = Trial::of("fetch").gaps(&gaps(UNDICI_MARGIN_SECS));
    obeys(trial.an_origin_each(), node("fetch"));
}

#[test]
#[ignore = "needs node"]
fn the_global_agent_obeys_and_loses_nothing() {
    let client = "http.globalAgent";
    let trial = Trial::of(client).gaps(&gaps(AGENT_MARGIN_SECS));
    obeys(trial.an_origin_each(), node(client));
}

#[test]
#[ignore = "needs node"]
fn an_agent_with_a_timeout_obeys_and_loses_nothing() {
    let client = "http.Agent with a timeout";
    obeys(
        Trial::of(client).gaps(&gaps(AGENT_MARGIN_SECS)),
        node(client),
    );
}

#[test]
#[ignore = "needs node and undici"]
fn undici_obeys_and_loses_nothing() {
    let trials = ["undici.Agent", "undici.Pool"].map(|client| {
        let trial = Trial::of(client).gaps(&gaps(UNDICI_MARGIN_SECS));
        thread::spawn(move || obeys(trial, undici(client)))
    });
    for trial in trials {
        trial.join().expect("nothing is lost");
    }
}

/// With a T of 2 s or less nothing remains after the margin: undici opens a connection for every request.
#[test]
#[ignore = "needs node and undici"]
fn undici_reuses_nothing_if_t_is_its_margin() {
    let report = Trial::of("undici.Agent, T = 2 s")
        .timeout_secs(UNDICI_MARGIN_SECS)
        .lanes(100, 10)
        .gaps(&[10, 100, 500])
        .run(undici("undici.Agent"));
    assert_eq!((report.outcome.lost, report.reused()), (0, 0), "{report}");
}

/// Such an agent ignores the hint. Its losses at T + grace are printed; within T it loses nothing. Node runs
/// due timers before it reads its sockets, so a busy program sends on a connection whose end has already
/// arrived. Therefore the agent loses more than the other clients that repeat nothing.
#[test]
#[ignore = "needs node"]
fn an_agent_without_a_timeout_loses_nothing_within_t() {
    let client = "http.Agent without a timeout";
    assert_within_t(client, || node(client));
}
