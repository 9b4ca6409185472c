//! ApacheBench and siege: load tools, which ignore the hint. They do not pause, so they reach the last
//! answer of a connection, while other connections are closed for their age.

use std::any::Any;
use std::io::Write;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::trial::{GRACE_SECS, Load, Outcome, Program, Report, Trial, version};
use support::Client;
use support::client::request;
use support::tls;
use support::tls_line::{TLS13, client};

/// Concurrent connections of a tool.
const TOGETHER: usize = 20;

/// `keep_alive.max_requests`: the number of answers on a connection.
const MAX_REQUESTS: u64 = 100;

/// T in seconds, short so that idle connections soon reach their end.
const SHORT_T_SECS: u64 = 1;

/// The interval between the starts of the idle connections.
const BESIDE_MILLIS: u64 = 20;

/// Lets each client of `tool` send `requests_each` requests while idle connections reach their end.
fn beside_old_connections(
    trial: Trial,
    requests_each: usize,
    tool: impl Fn(&Load) -> Outcome,
) -> Report {
    let trial = trial
        .timeout_secs(SHORT_T_SECS)
        .keep_alive(&format!("max_requests = {MAX_REQUESTS}"))
        .lanes(TOGETHER, requests_each);
    trial.run_with(|load| {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut idle = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    idle.push(idle_connection(load));
                    thread::sleep(Duration::from_millis(BESIDE_MILLIS));
                }
            });
            // From now on one of them is closed every BESIDE_MILLIS.
            thread::sleep(Duration::from_secs(SHORT_T_SECS + GRACE_SECS));
            let outcome = tool(load);
            is_over.store(true, Ordering::Relaxed);
            outcome
        })
    })
}

/// A connection that has had an answer. It closes when it is dropped.
fn idle_connection(load: &Load) -> Box<dyn Any> {
    let authority = load.urls[0].split('/').nth(2);
    let address: Option<SocketAddr> = authority.and_then(|authority| authority.parse().ok());
    let address = address.expect("scheme://ADDRESS/...");
    if load.authority.is_none() {
        let mut client = Client::connect(address);
        assert_eq!(client.get("/page.txt").status, 200);
        return Box::new(client);
    }
    let mut stream = tls::connect(address, &client(&TLS13)).expect("a handshake");
    stream
        .write_all(request("GET", "/page.txt", "").as_bytes())
        .expect("a request");
    tls::read_answer(&mut stream).expect("an answer");
    Box::new(stream)
}

/// Checks that nothing failed, while connections reached max_requests and others were closed for their age.
fn assert_unharmed(report: &Report) {
    report.assert_nothing_lost();
    report.assert_no_race();
    let used_up = report.outcome.answered / MAX_REQUESTS;
    assert!(report.connections >= used_up, "{report}");
    assert!(report.idle_closes > 0, "{report}");
}

/// The number in the line of ApacheBench's report that begins with `name`, or 0 if there is no such line.
fn number(printed: &str, name: &str) -> u64 {
    let line = printed.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.trim().parse().ok());
    number.unwrap_or(0)
}

/// ApacheBench, which sends HTTP/1.0 with `Connection: keep-alive`.
fn apache_bench(load: &Load) -> Outcome {
    let mut command = Command::new("ab");
    // -r: errors are counted and do not end the run.
    command.args(["-k", "-r", "-q", "-n", &load.total().to_string()]);
    command.args(["-c", &load.lanes.to_string(), &load.urls[0]]);
    let printed = Program::start(&mut command).output(load.limit());
    let failed = number(&printed, "Failed requests:") + number(&printed, "Non-2xx responses:");
    let kept = number(&printed, "Keep-Alive requests:");
    assert!(kept > load.total() * 9 / 10, "{printed}");
    Outcome {
        version: version("ab", "-V"),
        answered: number(&printed, "Complete requests:") - failed,
        lost: failed,
        ..Outcome::default()
    }
}

/// siege, configured to keep connections. After the first answer that ends a connection siege sends
/// `Connection: close` itself and opens a new connection for each further request. siege 4.0.7
/// does not close these (seen with strace), and its reads fail after some thousand of them, presumably
/// because select(2) cannot watch a descriptor above 1,023. Over TLS each client of siege fails once after an
/// announced close, with nginx too, so it has no trial there.
fn siege(load: &Load) -> Outcome {
    let configuration = tempfile::NamedTempFile::new().expect("a temporary file");
    let lines = "connection = keep-alive\nprotocol = HTTP/1.1\nparser = false\nlogging = false\n\
                 show-logfile = false\nlimit = 255\nfailures = 1000000\n";
    std::fs::write(configuration.path(), lines).expect("the configuration");
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut command = Command::new("siege");
    command.env("HOME", home.path());
    command.arg("-R").arg(configuration.path());
    command.args(["-q", "-j", "-b", "-c", &load.lanes.to_string()]);
    command.args(["-r", &load.requests.to_string(), &load.urls[0]]);
    let printed = Program::start(&mut command).output(load.limit());
    let report: serde_json::Value =
        serde_json::from_str(printed[printed.find('{').unwrap_or(0)..].trim())
            .unwrap_or_else(|error| panic!("siege reports JSON ({error}): {printed}"));
    let count = |name: &str| {
        report[name]
            .as_u64()
            .unwrap_or_else(|| panic!("{name}: {printed}"))
    };
    let failed = count("failed_transactions");
    Outcome {
        version: "siege".to_owned(),
        answered: count("successful_transactions"),
        lost: failed,
        ..Outcome::default()
    }
}

#[test]
#[ignore = "needs ab"]
fn apache_bench_loses_nothing() {
    let trial = Trial::of("ApacheBench");
    assert_unharmed(&beside_old_connections(trial, 1000, apache_bench));
}

#[test]
#[ignore = "needs ab"]
fn apache_bench_loses_nothing_over_tls() {
    let trial = Trial::of("ApacheBench").over_tls();
    assert_unharmed(&beside_old_connections(trial, 1000, apache_bench));
}

#[test]
#[ignore = "needs siege"]
fn siege_loses_nothing() {
    // The last 30 requests of each client open a connection each: 600 descriptors.
    assert_unharmed(&beside_old_connections(Trial::of("siege"), 130, siege));
}
