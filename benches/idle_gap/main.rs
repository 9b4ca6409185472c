//! Requests lost by abide, nginx, Apache and lighttpd when clients idle, with the same T everywhere:
//! `cargo bench --bench idle_gap`. It prints a Markdown table, after about a minute.
//!
//! The servers are those found on the path; each serves the same files from a port of 127.0.0.1. A
//! cell is requests lost / requests sent on connections that had been used before.

mod loads;
mod servers;

use std::process::ExitCode;

use loads::{LOADS, Outcome};
use servers::{KINDS, Place};
use support::process::NotStarted;

/// T, in seconds, in all servers.
const TIMEOUT_SECS: u32 = 3;

/// Requests per connection, in all servers.
const MAX_REQUESTS: u32 = 5;

/// Bytes of a request body that are accepted, in all servers.
const BODY_BYTES: u32 = 4096;

const NOTES: &str = "
The clients know T, from the Keep-Alive field or from us (lighttpd sends none). The first one comes
back at the last moment of T, and its request needs 0.4 s to arrive. The slow reader takes 6 s for
384 kB and asks again at once. The next four ask when so much time has passed, without looking whether
the server has closed. The client past max reads the connection's last answer as slowly, and sends
further requests, one with it and one near its end. The last one sends 2 MiB of a body that is too
large before it reads the answer. What these two can lose is that answer.
";

fn main() -> ExitCode {
    raise_descriptor_limit();
    let place = match Place::new() {
        Ok(place) => place,
        Err(error) => {
            eprintln!("there is no place for files to serve: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("T = {TIMEOUT_SECS} s, {MAX_REQUESTS} requests per connection\n");
    let titles: Vec<&str> = LOADS.iter().map(|load| load.title).collect();
    println!("| server | {} |", titles.join(" | "));
    println!("|---|{}", "---|".repeat(titles.len()));
    for kind in KINDS {
        let row = match kind.start(&place) {
            Ok(server) => cells(&loads::run_all(server.address)),
            Err(NotStarted::NotInstalled) => "not installed |".to_owned(),
            Err(NotStarted::Failed(why)) => {
                format!("does not start: {} |", why.trim().replace('\n', " "))
            }
        };
        println!("| {} | {row}", kind.title());
    }
    println!("{NOTES}");
    ExitCode::SUCCESS
}

fn cells(outcomes: &[Outcome]) -> String {
    let cell = |outcome: &Outcome| format!("{} / {} |", outcome.lost, outcome.sent);
    let cells: Vec<String> = outcomes.iter().map(cell).collect();
    cells.join(" ")
}

/// Some thousand sockets are open at a time.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        eprintln!("the limit on descriptors stays as it is: {error}");
    }
}
