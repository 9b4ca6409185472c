//! Requests lost by abide, nginx, Apache and lighttpd when clients idle, with the same T everywhere, without
//! and with TLS: `cargo bench --bench idle_gap`. It prints two Markdown tables, after about three minutes.
//!
//! The bench runs the servers that are installed; each serves the same files from a port of 127.0.0.1. A
//! cell is requests lost / requests sent on connections that had been used before.

mod loads;
mod servers;

use std::process::ExitCode;

use abide::connection::tls::TlsClient;
use abide::selftest::wire::Endpoint;
use loads::{LOADS, Outcome};
use servers::{KINDS, SiteDirectory};
use support::process::{NotStarted, Process, raise_descriptor_limit};
use support::tls::Certificate;

/// T in seconds, the same for all servers.
const TIMEOUT_SECS: u32 = 3;

/// Requests per connection, the same for all servers.
const MAX_REQUESTS: u32 = 5;

/// Bytes of a request body that are accepted, the same for all servers.
const BODY_BYTES: u32 = 4096;

const NOTES: &str = "
The clients know T from the Keep-Alive field or from the bench (lighttpd does not send the field). The
first client asks at the last moment of T, and its request needs 0.4 s to arrive. The slow reader takes
6 s for 384 kB and asks again at once. The next four ask after the given time, without checking for a
close. The client past max reads the last answer of the connection as slowly, and sends one further
request together with the last one and one near the end of the answer. The last client sends 2 MiB of a
body that is too large before it reads the answer. These two can lose that answer.
";

fn main() -> ExitCode {
    raise_descriptor_limit();
    let place = match SiteDirectory::new() {
        Ok(place) => place,
        Err(error) => {
            eprintln!("the files to serve cannot be created: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("T = {TIMEOUT_SECS} s, {MAX_REQUESTS} requests per connection\n");
    print_table(&place, None);
    println!("\nOver TLS:\n");
    print_table(&place, Some(&Certificate::new()));
    println!("{NOTES}");
    ExitCode::SUCCESS
}

/// Runs all loads against all servers, over TLS if there is a certificate.
fn print_table(place: &SiteDirectory, certificate: Option<&Certificate>) {
    let tls = certificate.map(|_| TlsClient::new().expect("a client"));
    let titles: Vec<&str> = LOADS.iter().map(|load| load.title).collect();
    println!("| server | {} |", titles.join(" | "));
    println!("|---|{}", "---|".repeat(titles.len()));
    for kind in KINDS {
        let row = match kind.start(place, certificate) {
            Ok(server) => cells(&loads::run_all(endpoint(&server, tls.as_ref()))),
            Err(NotStarted::NotInstalled) => "not installed |".to_owned(),
            Err(NotStarted::Failed(why)) => {
                format!("does not start: {} |", why.trim().replace('\n', " "))
            }
        };
        println!("| {} | {row}", kind.title());
    }
}

fn endpoint<'a>(server: &Process, tls: Option<&'a TlsClient>) -> Endpoint<'a> {
    let plain = Endpoint::plain(server.address);
    match tls {
        Some(protocol) => Endpoint { protocol, ..plain },
        None => plain,
    }
}

fn cells(outcomes: &[Outcome]) -> String {
    let cell = |outcome: &Outcome| format!("{} / {} |", outcome.lost, outcome.sent);
    let cells: Vec<String> = outcomes.iter().map(cell).collect();
    cells.join(" ")
}
