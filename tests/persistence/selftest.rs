//! `abide --selftest`: its report on a safe configuration, and on an unsafe one.

use std::process::{Command, Output, Stdio};

use abide::config::{Config, KeepAlive, SiteConfig};
use abide::selftest;
use abide::selftest::table::CLIENTS;
use support::server::program;

fn abide(arguments: &[&str]) -> Output {
    let mut command = Command::new(program());
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    command.args(arguments).output().expect("the binary runs")
}

#[test]
fn the_defaults_are_safe_for_every_client_that_honours_the_hint() {
    let output = abide(&["--selftest", "www"]);
    let said = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.starts_with("T = 120 s, grace = 10 s, "), "{said}");
    for client in CLIENTS {
        let mut lines = said.lines().filter(|line| line.starts_with(client.name));
        let line = lines.next().unwrap_or_else(|| panic!("{said}"));
        let is_promised = client.is_promised(&Config::default().keep_alive);
        assert!(!is_promised || line.ends_with("  yes"), "{said}");
    }
    assert!(
        said.ends_with("\nsafe for every client that honours the hint\n"),
        "{said}"
    );
}

#[test]
fn the_table_is_played_over_tls_too() {
    let both = [
        "--selftest",
        "--self-signed",
        "-l",
        "127.0.0.1:0",
        "-l",
        "https://127.0.0.1:0",
        "www",
    ];
    let output = abide(&both);
    let said = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("\nover TLS: T = 120 s, "), "{said}");
    let lines = said.lines();
    let verdicts = lines.filter(|line| *line == "safe for every client that honours the hint");
    assert_eq!(verdicts.count(), 2, "{said}");
}

/// No configuration file can set this; it stands for a defect in the idle timeout.
#[test]
fn a_reaper_without_grace_is_found_out() {
    let config = Config {
        site: SiteConfig::at("www"),
        keep_alive: KeepAlive {
            grace_secs: 0,
            ..Config::default().keep_alive
        },
        ..Config::default()
    };
    let reports = selftest::run(&config).expect("the server starts");
    let [report] = &reports[..] else {
        panic!("{reports:?}");
    };
    assert!(!report.is_safe(), "{report}");
    let row = |name: &str| {
        let found = report.rows().iter().find(|row| row.name() == name);
        found.unwrap_or_else(|| panic!("{report}"))
    };
    let said = report.to_string();
    let last = said.lines().last().unwrap_or_default();
    for name in ["Apache HttpClient 5", "Firefox"] {
        assert!(row(name).lost() > 0, "{report}");
        assert!(last.contains(name), "{report}");
    }
    // These clients stop a second before T, so the request has a second to arrive.
    for name in ["Node http.Agent", "undici, Node's fetch"] {
        assert!(row(name).is_safe(), "{report}");
        assert!(!last.contains(name), "{report}");
    }
}

#[test]
fn a_server_that_cannot_start_exits_with_2() {
    let output = abide(&["--selftest", "no/such/directory"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
}

#[test]
fn checking_and_testing_are_two_things() {
    let output = abide(&["--selftest", "--check", "www"]);
    assert_eq!(output.status.code(), Some(2));
}
