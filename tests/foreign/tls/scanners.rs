//! Two scanners, which know the weaknesses of TLS servers of the past, and recommendations for today's.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::{TlsServer, python};
use crate::real_clients::trial::Program;

const SSLYZE_LIMIT: Duration = Duration::from_secs(60);

const TESTSSL_LIMIT: Duration = Duration::from_secs(240);

/// Two years, which Mozilla recommends, and fields that testssl.sh asks for.
const SITE_KEYS: &str = "hsts = 63072000\nsecurity = true\n";

fn start() -> TlsServer {
    TlsServer::start(SITE_KEYS, |_, _| String::new())
}

/// sslyze compares versions, cipher suites, curves, and the certificate with Mozilla's profile, and looks for
/// known weaknesses.
#[test]
#[ignore = "needs python3 and sslyze"]
fn sslyze_finds_the_intermediate_profile_of_mozilla_met() {
    let server = start();
    let mut command = python();
    command.args(["-m", "sslyze", "--mozilla_config=intermediate"]);
    command
        .arg("--certinfo_ca_file")
        .arg(server.authority.root());
    command.args(["--sni", "localhost", &server.address()]);
    // The exit status is 0 if the profile is met.
    let (is_met, said, complaint) = Program::start(&mut command).ended(SSLYZE_LIMIT);
    let result = said.find("COMPLIANCE").map_or(&*said, |at| &said[at..]);
    assert!(is_met, "{result}\n{complaint}");
}

/// The sections of testssl.sh: protocols, categories of ciphers, forward secrecy, preferences, defaults,
/// fields of the answer, and known weaknesses.
const SECTIONS: [&str; 7] = ["-p", "-s", "-f", "-P", "-S", "-h", "-U"];

/// Findings that the server cannot avoid, or should not.
const EXCLUDED: [(&str, &str); 3] = [
    (
        "cipher_order",
        "all suites that are offered are strong, and the client knows whether its processor has instructions \
         for AES; Mozilla's profile leaves the choice to the client",
    ),
    (
        "cert_revocation",
        "the authority of a test names no place that says which certificates are revoked",
    ),
    (
        "BREACH",
        "a compressed static page holds no secret, and nothing of the request",
    ),
];

#[test]
#[ignore = "needs testssl.sh, and takes a minute"]
fn testssl_finds_nothing_of_medium_severity() {
    let server = start();
    let place = TempDir::new().expect("a temporary directory");
    let file = place.path().join("findings.json");
    let mut command = Command::new("testssl");
    command.args(["--quiet", "--color", "0", "--warnings", "off"]);
    // Nothing but the server is asked.
    command.args(["--nodns", "none", "--ip", "127.0.0.1"]);
    command.arg("--add-ca").arg(server.authority.root());
    command.arg("--jsonfile").arg(&file).args(SECTIONS);
    let port = server.server.tls_address().port();
    command.arg(format!("https://localhost:{port}"));
    // The exit status counts weaknesses as well as tests that could not be done.
    let (_, said, complaint) = Program::start(&mut command).ended(TESTSSL_LIMIT);
    let findings = std::fs::read_to_string(&file).unwrap_or_default();
    let findings: Vec<Value> = serde_json::from_str(&findings)
        .unwrap_or_else(|error| panic!("no findings ({error}): {said}\n{complaint}"));
    let severity = |finding: &Value| finding["severity"].as_str().unwrap_or("").to_owned();
    let done = findings.iter().filter(|finding| severity(finding) == "OK");
    assert!(done.count() > 30, "too few tests were done: {said}");
    let is_grave = |finding: &&Value| {
        ["MEDIUM", "HIGH", "CRITICAL", "FATAL"].contains(&&*severity(finding))
            && !EXCLUDED.iter().any(|(id, _)| finding["id"] == *id)
    };
    let grave: Vec<&Value> = findings.iter().filter(is_grave).collect();
    assert!(grave.is_empty(), "{grave:#?}\n{said}");
}
