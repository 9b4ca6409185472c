//! GoAccess parses abide's logs with the log formats in README.md.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use support::{Launch, Site};

/// The requests of each run: 10 for pages of 1000 bytes, 5 for missing pages.
const PAGES: u64 = 10;
const PAGE_BYTES: u64 = 1000;
const MISSING: u64 = 5;

/// The log in `format` of a server that has answered these requests and ended.
fn log_of(site: &Site, format: &str) -> std::path::PathBuf {
    let log = site.beside(format);
    let file = log.display();
    let server = Launch::of(site.root())
        .config(&format!(
            "[access_log]\npath = '{file}'\nformat = '{format}'"
        ))
        .start();
    let fields = "Referer: https://example.org/a?b=\"c\"\r\nUser-Agent: Mozilla/5.0 (X11; Linux \
                  x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n";
    let mut client = server.connect();
    for _ in 0..PAGES {
        assert_eq!(client.ask_with("GET", "/thousand.html", fields).status, 200);
    }
    for number in 0..MISSING {
        let target = format!("/missing/{number}");
        assert_eq!(client.ask_with("HEAD", &target, fields).status, 404);
    }
    drop(client);
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code, Some(0));
    log
}

/// The report of GoAccess about `log`.
fn analysed(log: &Path, arguments: &[&str]) -> Value {
    let report = log.with_extension("report.json");
    let output = Command::new("goaccess")
        .arg(log)
        .args(["--no-global-config", "--no-progress", "-o"])
        .arg(&report)
        .args(arguments)
        .output()
        .expect("goaccess is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let report = fs::read_to_string(report).expect("a report");
    serde_json::from_str(&report).expect("a report in JSON")
}

/// The options in the line of README.md that contains `mark`.
fn documented(mark: &str) -> Vec<String> {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));
    let readme = readme.expect("README.md");
    let line = readme.lines().find(|line| line.contains(mark)).expect(mark);
    let (_, options) = line.split_once("goaccess access.log ").expect("a command");
    let mut arguments = Vec::new();
    // An option is one word, or a name and a value in single quotes.
    for (index, part) in options.split('\'').enumerate() {
        if index % 2 == 1 {
            let name = arguments.pop().unwrap_or_default();
            arguments.push(format!("{name}{part}"));
        } else {
            arguments.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    arguments
}

fn expect_counts(format: &str, mark: &str, has_duration: bool) {
    let site = Site::new();
    site.write("thousand.html", [b'a'; PAGE_BYTES as usize]);
    let arguments = documented(mark);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let report = analysed(&log_of(&site, format), &arguments);
    let general = &report["general"];
    assert_eq!(general["valid_requests"], PAGES + MISSING, "{general}");
    assert_eq!(general["failed_requests"], 0, "{general}");
    assert_eq!(general["unique_not_found"], MISSING, "{general}");
    assert_eq!(general["bandwidth"], PAGES * PAGE_BYTES, "{general}");
    let pages = &report["requests"]["data"][0];
    assert_eq!(pages["data"], "/thousand.html", "{pages}");
    assert_eq!(pages["hits"]["count"], PAGES, "{pages}");
    assert_eq!(pages["avgts"].is_number(), has_duration, "{pages}");
    let browser = &report["browsers"]["data"][0];
    assert_eq!(browser["data"], "Firefox", "{browser}");
    let host = &report["hosts"]["data"][0];
    assert_eq!(host["data"], "127.0.0.1", "{host}");
}

#[test]
#[ignore = "needs goaccess"]
fn goaccess_reads_the_combined_format() {
    expect_counts("combined", "--log-format=COMBINED", false);
}

#[test]
#[ignore = "needs goaccess"]
fn goaccess_reads_the_extended_format() {
    expect_counts("extended", "duration_us=%D", true);
}

#[test]
#[ignore = "needs goaccess"]
fn goaccess_reads_json() {
    expect_counts("json", "\"duration_us\":\"%D\"", true);
}
