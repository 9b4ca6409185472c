//! The clients over TLS, with a certificate of a private authority that they are told to trust: what they lose
//! and what they keep is as without TLS.
//!
//! The end of a connection is an alert and a FIN here, and a client has to read the alert, or find it, before it
//! knows. So this shows whether clients understand the close, and whether bytes that are not content (tickets,
//! alerts) make them give up a connection.

use std::process::Command;
use std::thread;

use tempfile::TempDir;

use super::edges::{AROUND_THE_CLOSE, WITHIN_T, assert_kept};
use super::node::{AGENT_MARGIN_SECS, UNDICI_MARGIN_SECS, node, obeys, undici};
use super::scripts::{RUBY_GAPS_MILLIS, client};
use super::trial::{LANES, Report, T_SECS, Trial};
use super::{chromium, curl, go, java, node, python, rust};

/// The number of requests of a lane: with [`LANES`] lanes the fewest that a trial needs.
const REQUESTS: usize = 4;

fn trial(client: &str, gaps_millis: &[u64]) -> Trial {
    let trial = Trial::of(client).over_tls();
    trial.gaps(gaps_millis).lanes(LANES, REQUESTS)
}

/// Runs trials at the same time, as far as the machine has room for them.
fn together(trials: &[&(dyn Fn() + Sync)]) {
    thread::scope(|scope| {
        for trial in trials {
            scope.spawn(trial);
        }
    });
}

#[test]
#[ignore = "needs node and undici"]
fn node_obeys_over_tls_and_loses_nothing() {
    let with_fetch = || {
        let trial = trial("fetch", &node::gaps(UNDICI_MARGIN_SECS));
        obeys(trial.an_origin_each(), node("fetch"));
    };
    let with_global_agent = || {
        let trial = trial("http.globalAgent", &node::gaps(AGENT_MARGIN_SECS));
        obeys(trial.an_origin_each(), node("http.globalAgent"));
    };
    let with_agent = || {
        let client = "http.Agent with a timeout";
        obeys(trial(client, &node::gaps(AGENT_MARGIN_SECS)), node(client));
    };
    let with_undici = |client: &str| {
        obeys(
            trial(client, &node::gaps(UNDICI_MARGIN_SECS)),
            undici(client),
        );
    };
    together(&[
        &with_fetch,
        &with_global_agent,
        &with_agent,
        &|| with_undici("undici.Agent"),
        &|| with_undici("undici.Pool"),
    ]);
}

/// HttpURLConnection honours the hint; HttpClient has a limit of its own, which is T here.
#[test]
#[ignore = "needs java"]
fn java_loses_nothing_over_tls() {
    let url_connection = || {
        let trial = trial("Java HttpURLConnection", &java::GAPS_MILLIS);
        let program = java::command("HttpURLConnection", None);
        assert_kept(&trial.an_origin_each().run(program));
    };
    let http_client = || {
        let trial = trial("Java HttpClient, idle limit T", &AROUND_THE_CLOSE);
        let program = java::command("HttpClient", Some(T_SECS));
        assert_kept(&trial.an_origin_each().run(program));
    };
    together(&[&url_connection, &http_client]);
}

#[test]
#[ignore = "needs go"]
fn go_loses_nothing_over_tls() {
    let place = TempDir::new().expect("a temporary directory");
    let program = go::build(&place);
    let go = |limit_secs: u64, gaps: &[u64]| -> Report {
        let mut command = Command::new(&program);
        command.arg(limit_secs.to_string());
        let name = format!("Go net/http, idle limit {limit_secs} s (0: default)");
        trial(&name, gaps).run(command)
    };
    together(&[&|| assert_kept(&go(0, &WITHIN_T)), &|| {
        assert_kept(&go(T_SECS, &AROUND_THE_CLOSE));
    }]);
}

/// aiohttp and urllib3 repeat a GET that was lost to the close. requests and httpx do not.
#[test]
#[ignore = "needs python3 and its clients"]
fn python_loses_nothing_over_tls() {
    let repeats = |library: &str| {
        let trial = trial(library, &python::GAPS_MILLIS);
        trial.run(python::python(library)).assert_nothing_lost();
    };
    let within_t = |library: &str| {
        let trial = trial(library, &WITHIN_T);
        assert_kept(&trial.run(python::python(library)));
    };
    together(&[
        &|| repeats("aiohttp"),
        &|| repeats("urllib3"),
        &|| within_t("requests"),
        &|| within_t("httpx"),
    ]);
}

/// PHP is told to drop connections that are older than T. LWP counts whole seconds, so it is told one less. Ruby opens a new one after 2 s by itself.
#[test]
#[ignore = "needs ruby, perl and php"]
fn scripts_lose_nothing_over_tls() {
    let ruby = || {
        // One thread of Ruby runs at a time, so that 250 handshakes at once would take it a second.
        let trial = trial("Ruby Net::HTTP", &RUBY_GAPS_MILLIS).lanes(LANES / 2, 2 * REQUESTS);
        assert_kept(&trial.run(client("ruby", "ruby.rb", 0)));
    };
    let kept = |name: &str, interpreter: &str, file: &str, secs: u64| {
        let trial = trial(name, &AROUND_THE_CLOSE);
        assert_kept(&trial.run(client(interpreter, file, secs)));
    };
    together(&[
        &ruby,
        &|| {
            let name = "Perl LWP, connections of more than 2 s dropped";
            kept(name, "perl", "perl.pl", T_SECS - 1);
        },
        &|| {
            kept(
                "PHP curl, CURLOPT_MAXAGE_CONN 3 s",
                "php",
                "php.php",
                T_SECS,
            )
        },
    ]);
}

#[test]
#[ignore = "needs curl"]
fn curl_reqwest_and_ureq_lose_nothing_over_tls() {
    let curl = || {
        let trial = trial("curl", &[1000, 2900, 3000, 4950, 5050, 5100, 5150, 5300]);
        trial.run_with(curl::curl).assert_nothing_lost();
    };
    let reqwest = || {
        let trial = trial("reqwest, idle limit T", &AROUND_THE_CLOSE);
        assert_kept(&trial.run_with(|load| rust::reqwest_lanes(load, Some(T_SECS))));
    };
    let ureq = || {
        let trial = trial("ureq, idle limit T", &AROUND_THE_CLOSE);
        assert_kept(&trial.run_with(|load| rust::ureq_lanes(load, Some(T_SECS))));
    };
    together(&[&curl, &reqwest, &ureq]);
}

/// Chromium opens no more than 256 connections at a time. It keeps an idle one for 300 s, so over TLS, where it opens
/// more of them than it needs, it uses some after T; then it tries again.
#[test]
#[ignore = "needs chromium"]
fn chromium_loses_nothing_over_tls() {
    let trial = |name: &str, gaps: &[u64]| {
        let trial = Trial::of(&format!("Chromium {name}")).over_tls();
        let trial = trial.gaps(gaps).lanes(220, 5).an_origin_each();
        trial.run_with(chromium::chromium)
    };
    together(&[
        &|| trial("within T", &WITHIN_T).assert_nothing_lost(),
        &|| trial("around the close", &AROUND_THE_CLOSE).assert_reused(),
    ]);
}
