//! Go's net/http: a Transport keeps a connection for its IdleConnTimeout, 90 s, whatever the hint is, and
//! repeats a GET whose connection ended before a byte of the answer.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::edges::assert_nothing_lost_within_t;
use super::trial::{Program, Trial, script};

/// The first build compiles the standard library too.
const BUILD_LIMIT: Duration = Duration::from_secs(120);

/// Compiles the client into `place`, without network access.
pub fn build(place: &TempDir) -> PathBuf {
    let program = place.path().join("go_client");
    let mut command = Command::new("go");
    command
        .args(["build", "-buildvcs=false", "-o"])
        .args([&program, &script("go_client.go")])
        .env("GOCACHE", concat!(env!("CARGO_TARGET_TMPDIR"), "/go-cache"))
        .env("GOPATH", place.path().join("path"))
        .env("GOENV", "off")
        .env("GOFLAGS", "-mod=mod")
        .env("GOPROXY", "off");
    Program::start(&mut command).output(BUILD_LIMIT);
    program
}

#[test]
#[ignore = "needs go"]
fn go_loses_nothing_within_t() {
    let place = TempDir::new().expect("a temporary directory");
    let program = build(&place);
    assert_nothing_lost_within_t(|limit_secs, gaps| {
        let mut command = Command::new(&program);
        command.arg(limit_secs.unwrap_or(0).to_string());
        let name = match limit_secs {
            None => "Go net/http".to_owned(),
            Some(secs) => format!("Go net/http, idle limit {secs} s"),
        };
        Trial::of(&name).gaps(gaps).run(command)
    });
}
