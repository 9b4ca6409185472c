//! Certificates and keys that can be read and not be used: a start refuses them, and a reload keeps the old ones.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use support::authority::{Authority, CertificateFiles};
use support::tls::{SecureStream, connect, read_answer};
use support::tls_line::{TLS13, client};
use support::{Launch, Site};

/// Faults: a name, the key of the configuration, and words of the reason.
const FAULTS: [(&str, &str, &str); 6] = [
    ("of another", "key", "does not belong to"),
    ("encrypted", "key", "encrypted"),
    ("no key", "key", "holds no private key"),
    ("of an unknown kind", "key", "not supported"),
    ("empty", "certificate", "is empty"),
    ("in the wrong order", "certificate", "order"),
];

/// The contents of the pair with this fault, made from a good one.
fn with(fault: &str, good: &CertificateFiles, authority: &Authority) -> [String; 2] {
    let read = |path: &PathBuf| fs::read_to_string(path).expect("a PEM file");
    let (certificate, key) = (read(&good.certificate), read(&good.key));
    // An Ed448 key (RFC 8410 section 10), which the provider does not know.
    let unknown = "-----BEGIN PRIVATE KEY-----\n\
                   MEcCAQAwBQYDK2VxBDsEOQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fICEiIyQlJico\n\
                   KSorLC0uLzAxMjM0NTY3OA==\n-----END PRIVATE KEY-----\n";
    match fault {
        "of another" => [certificate, read(&authority.issue(&["b.example"]).key)],
        "encrypted" => [certificate, key.replace("PRIVATE", "ENCRYPTED PRIVATE")],
        "no key" => [certificate.clone(), certificate],
        "of an unknown kind" => [certificate, unknown.to_owned()],
        "empty" => [String::new(), key],
        _ => [read(&authority.root()) + &certificate, key],
    }
}

/// A configuration with these files at the lines 2 and 3.
fn toml(files: [&PathBuf; 2]) -> String {
    let [certificate, key] = files.map(|path| path.display().to_string());
    format!("workers = 1\ncertificate = {certificate:?}\nkey = {key:?}\n")
}

#[test]
fn a_start_names_the_file_and_the_reason() {
    let (site, authority) = (Site::new(), Authority::new());
    let good = authority.issue_local();
    let files = ["c.pem", "k.pem"].map(|name| site.beside(name));
    for (fault, key, reason) in FAULTS {
        for (file, content) in std::iter::zip(&files, with(fault, &good, &authority)) {
            fs::write(file, content).expect("a file");
        }
        let refusal = |arguments: &[&str]| {
            let launch = Launch::of(site.root()).config(&toml(files.each_ref()));
            let ended = launch.listen("https://127.0.0.1:0").args(arguments).run();
            assert_eq!(ended.code, Some(2), "{}", ended.stderr);
            let lines = ended.stderr.lines();
            lines
                .filter(|line| !line.contains("warning"))
                .collect::<Vec<_>>()
                .join("\n")
        };
        let said = refusal(&[]);
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.starts_with(&format!("abide: {key}: ")), "{said}");
        assert!(said.contains(".pem") && said.contains(reason), "{said}");
        assert_eq!(refusal(&["--check"]), said);
    }
}

#[test]
fn a_reload_names_the_line_and_keeps_the_old_ones() {
    let (site, authority) = (Site::new(), Authority::new());
    let good = authority.issue_local();
    let host = format!("[[host]]\nname = \"b.example\"\nroot = {:?}\n", site.root());
    let settings = toml([&good.certificate, &good.key]) + &host;
    let server = Launch::of(site.root())
        .config(&settings)
        .listen("https://127.0.0.1:0")
        .start();
    let files = ["c.pem", "k.pem"].map(|name| site.beside(name));
    let of_host = toml(files.each_ref()).replace("workers = 1\n", "");
    for (fault, key, reason) in FAULTS {
        for (file, content) in std::iter::zip(&files, with(fault, &good, &authority)) {
            fs::write(file, content).expect("a file");
        }
        let said = server.reload(&(settings.clone() + &of_host));
        let line = if key == "key" { 8 } else { 7 };
        let place = format!(":{line}: host.{key}: ");
        assert!(
            said.contains("reload refused: ") && said.contains(&place),
            "{said}"
        );
        assert!(said.contains(reason), "{said}");
        let mut stream: SecureStream =
            connect(server.tls_address(), &client(&TLS13)).expect("a handshake");
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .expect("a request");
        read_answer(&mut stream).expect("an answer");
    }
}
