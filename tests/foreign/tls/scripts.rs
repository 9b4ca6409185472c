//! The scripts with tlslite-ng: updates of keys, ends of connections, records, session tickets and refusals.

use std::time::Duration;

use support::counters::counter;
use support::retried_after_a_stall;

use super::{TlsServer, script};

const LIMIT: Duration = Duration::from_secs(60);

const VERSIONS: [&str; 2] = ["1.2", "1.3"];

/// T and grace of one second each, for scripts that wait for the idle close.
const SHORT: &str = "[keep_alive]\ntimeout = 1\ngrace = 1\n";

/// T plus grace of [`SHORT`], in seconds.
const SHORT_OPEN_SECS: &str = "2";

fn start() -> TlsServer {
    TlsServer::start("", |_, _| String::new())
}

fn start_with(tables: &str) -> TlsServer {
    TlsServer::start("", |_, _| tables.to_owned())
}

/// Runs a case of a script for both versions of TLS.
fn for_each_version(server: &TlsServer, file: &str, case: &str, more: &[&str]) {
    for version in VERSIONS {
        let address = server.address();
        let arguments = [&[case, &address, version], more].concat();
        print!("{case} {version}: {}", script(file, &arguments, LIMIT));
    }
}

/// Runs a case of a script that concerns one version only.
fn once(server: &TlsServer, file: &str, case: &str, more: &[&str]) {
    let address = server.address();
    let arguments = [&[case, &address], more].concat();
    print!("{case}: {}", script(file, &arguments, LIMIT));
}

#[test]
#[ignore = "needs python3 and tlslite-ng"]
fn keys_are_updated_in_the_middle_of_a_download() {
    let server = start();
    let file = server.site.path("large.bin").display().to_string();
    once(&server, "keys.py", "in_a_download", &["/large.bin", &file]);
}

#[test]
#[ignore = "needs python3 and tlslite-ng"]
fn a_key_update_of_an_idle_client_draws_no_byte() {
    once(&start(), "keys.py", "while_idle", &[]);
}

#[test]
#[ignore = "needs python3 and tlslite-ng"]
fn thousands_of_key_updates_do_no_harm() {
    once(&start(), "keys.py", "too_many", &[]);
}

#[test]
#[ignore = "needs python3 and tlslite-ng"]
fn a_half_closed_client_is_answered() {
    let server = start();
    for_each_version(&server, "endings.py", "half_close", &[]);
    for_each_version(&server, "endings.py", "half_close_in_a_head", &[]);
}

#[test]
#[ignore = "needs python3 and tlslite-ng"]
fn an_idle_connection_ends_with_an_alert_and_a_fin_alone() {
    retried_after_a_stall(|| {
        let server = start_with(SHORT);
        for_each_version(&server, "endings.py", "idle_close", &[SHORT_OPEN_SECS]);
        assert_eq!(counter(&server.server, "keep_alive_race_total"), 0);
    });
}

#[test]
#[ignore = "needs python3 and tlslite-ng"]
fn the_end_of_an_idle_client_is_no_race_but_a_crossing_request_is() {
    let server = start_with(SHORT);
    for_each_version(&server, "endings.py", "client_closes", &[]);
    assert_eq!(counter(&server.server, "keep_alive_race_total"), 0);
    for_each_version(&server, "endings.py", "crossing", &[]);
    let races = counter(&server.server, "keep_alive_race_total");
    assert_eq!(races, VERSIONS.len() as u64);
}

#[test]
#[ignore = "needs python3 and tlslite-ng"]
fn records_have_any_size() {
    // Each padding is a request.
    let server = start_with("[keep_alive]\nmax_requests = 1000000\n");
    for_each_version(&server, "records.py", "every_size", &[]);
    once(&server, "records.py", "every_padding", &[]);
}

#[test]
#[ignore = "needs python3 and tlslite-ng"]
fn segments_and_records_are_cut_anywhere() {
    let server = start();
    let root = server.authority.root().display().to_string();
    for_each_version(&server, "records.py", "one_byte_a_segment", &[]);
    for_each_version(&server, "records.py", "split_requests", &[]);
    for_each_version(&server, "records.py", "split_handshakes", &[]);
    for_each_version(&server, "segments.py", "cut_everywhere", &[&root]);
}

#[test]
#[ignore = "needs python3 and tlslite-ng"]
fn empty_records_change_nothing_and_keep_nothing_open() {
    for_each_version(&start(), "records.py", "some_empty", &[]);
    let server = start_with("[timeouts]\nhead = 1\n");
    for_each_version(&server, "records.py", "only_empty", &["4"]);
}

#[test]
#[ignore = "needs python3 and tlslite-ng"]
fn bad_records_are_answered_with_an_alert_at_once() {
    let server = start();
    for_each_version(&server, "records.py", "too_long", &[]);
    for_each_version(&server, "records.py", "garbled", &[]);
    for_each_version(&server, "records.py", "unknown_type", &[]);
}

#[test]
#[ignore = "needs python3 and tlslite-ng"]
fn tickets_come_with_the_first_answer_and_none_later() {
    for_each_version(&start(), "sessions.py", "come_early", &[]);
}

#[test]
#[ignore = "needs python3 and tlslite-ng"]
fn tickets_resume_sessions_across_a_reload() {
    let server = start();
    let pid = server.server.pid().to_string();
    for_each_version(&server, "sessions.py", "resume", &[&pid]);
    once(&server, "sessions.py", "stay_with_their_version", &[]);
}

#[test]
#[ignore = "needs python3 and tlslite-ng"]
fn tickets_resume_no_session_of_another_host() {
    let server = TlsServer::start("", |authority, site| {
        let hosts = ["a.test", "b.test"].map(|name| {
            let settings = authority.issue(&[name]).settings();
            format!(
                "[[host]]\nname = {name:?}\nroot = {:?}\n{settings}",
                site.root()
            )
        });
        hosts.concat()
    });
    let names = ["a.test", "b.test", "localhost"];
    for_each_version(&server, "sessions.py", "stay_with_their_host", &names);
}

#[test]
#[ignore = "needs python3 and tlslite-ng"]
fn renegotiation_and_early_data_are_refused() {
    let server = start();
    for_each_version(&server, "refusals.py", "renegotiation", &[]);
    once(&server, "refusals.py", "early_data", &[]);
}

#[test]
#[ignore = "needs python3 and tlslite-ng"]
fn requests_at_the_wrong_listener_get_a_readable_answer() {
    let server = start();
    once(&server, "refusals.py", "plain_request", &[]);
    let plain = server.server.address().to_string();
    let arguments = ["hello_to_plain_listener", &plain];
    print!("{}", script("refusals.py", &arguments, LIMIT));
}
