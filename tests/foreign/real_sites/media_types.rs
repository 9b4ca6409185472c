//! Compares the media types of all files of the sites with those of nginx and Debian's table for it.
//!
//! Types are compared without their parameters, since only abide adds a charset. nginx can add one to
//! configured types, and by default adds none.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;

use super::disk;
use super::real_site::ALL;
use support::client::request;
use support::other_server::OtherServer;
use support::{Client, Server, Site};

/// Requests on one connection: fewer than the limit of either server.
const PIPELINED: usize = 200;

/// A difference with a reason.
struct Difference {
    extension: &'static str,
    abide: &'static str,
    nginx: &'static str,
    reason: &'static str,
}

/// nginx's type for unknown extensions.
const UNKNOWN: &str = "application/octet-stream";

const DIFFERENCES: &[Difference] = &[
    Difference {
        extension: "gz",
        abide: "application/gzip",
        nginx: UNKNOWN,
        reason: "Registered (RFC 6713), unknown to nginx 1.22.",
    },
    Difference {
        extension: "js",
        abide: "text/javascript",
        nginx: "application/javascript",
        reason: "RFC 9239 keeps this name and makes the other obsolete.",
    },
    Difference {
        extension: "map",
        abide: "application/json",
        nginx: UNKNOWN,
        reason: "A source map is JSON (ECMA-426).",
    },
    Difference {
        extension: "md",
        abide: "text/markdown",
        nginx: UNKNOWN,
        reason: "Registered (RFC 7763); nginx makes browsers save it.",
    },
    Difference {
        extension: "py",
        abide: "text/plain",
        nginx: UNKNOWN,
        reason: "Readers of a documentation want to see programs; nginx makes browsers save them.",
    },
    Difference {
        extension: "ttf",
        abide: "font/ttf",
        nginx: UNKNOWN,
        reason: "Registered (RFC 8081), as WOFF, which nginx knows.",
    },
    Difference {
        extension: "webmanifest",
        abide: "application/manifest+json",
        nginx: UNKNOWN,
        reason: "Registered by the Web App Manifest, unknown to nginx 1.22.",
    },
    Difference {
        extension: "xml",
        abide: "application/xml",
        nginx: "text/xml",
        reason: "Synonyms (RFC 7303); abide declares UTF-8 for text/, and XML declares its own encoding.",
    },
];

/// The media type of each extension in lower case. The extension is empty for names without one.
type Types = BTreeMap<String, String>;

#[test]
#[ignore = "needs npm, pip, apt and nginx"]
fn every_difference_from_nginx_has_a_reason() {
    let site = Site::empty();
    // The peer is requested for this page when it starts.
    site.write("index.html", "<!doctype html><title>sites</title>\n");
    for real in ALL {
        site.directory(real.name);
        real.build(&site.path(real.name));
    }
    let targets = regular_files(&site.root());
    let (server, nginx) = (Server::of(site.root()), OtherServer::nginx_of_debian(&site));
    let ours = types(server.address(), &targets);
    let theirs = types(nginx.address, &targets);
    let mut seen = BTreeSet::new();
    for (extension, media_type) in &ours {
        let (abide, parameters) = split(media_type);
        let is_text = abide.starts_with("text/");
        let charset = if is_text { "charset=utf-8" } else { "" };
        assert_eq!(parameters, charset, ".{extension}: {media_type}");
        let (nginx, _) = split(&theirs[extension]);
        if abide != nginx {
            seen.insert((extension.as_str(), abide, nginx));
        }
    }
    println!("{} extensions, {} differences", ours.len(), seen.len());
    let listed = DIFFERENCES.iter();
    let listed = listed.map(|listed| (listed.extension, listed.abide, listed.nginx));
    let listed: BTreeSet<_> = listed.collect();
    assert_eq!(seen, listed, "seen and listed: extension, abide, nginx");
}

#[test]
fn every_listed_difference_has_a_reason() {
    for listed in DIFFERENCES {
        assert_ne!(listed.abide, listed.nginx, ".{}", listed.extension);
        assert!(listed.reason.ends_with('.'), ".{}", listed.extension);
    }
}

/// The targets of all files that both servers answer: nginx is configured to follow no links.
fn regular_files(root: &Path) -> Vec<String> {
    let files = disk::files(root).into_iter();
    files
        .filter(|name| !disk::is_hidden(name) && !root.join(name).is_symlink())
        .map(|name| disk::target(&name))
        .collect()
}

/// The media types of the extensions at the server at `address`, which must be the same for all files.
fn types(address: SocketAddr, targets: &[String]) -> Types {
    let mut types = Types::new();
    for targets in targets.chunks(PIPELINED) {
        for (target, media_type) in targets.iter().zip(content_types(address, targets)) {
            let extension = Path::new(target).extension().unwrap_or_default();
            let extension = extension.to_string_lossy().to_lowercase();
            let known = types.entry(extension).or_insert_with(|| media_type.clone());
            assert_eq!(*known, media_type, "{target}");
        }
    }
    types
}

/// Requests the heads of all targets on one connection. The answers of nginx are not checked strictly.
fn content_types(address: SocketAddr, targets: &[String]) -> Vec<String> {
    let (last, others) = targets.split_last().expect("at least one");
    let mut client = Client::connect(address);
    let others: String = others.iter().map(|it| request("HEAD", it, "")).collect();
    client.send(others + &request("HEAD", last, "Connection: close\r\n"));
    let answers = String::from_utf8(client.rest()).expect("heads in ASCII");
    let answers: Vec<_> = answers.split_terminator("\r\n\r\n").collect();
    assert_eq!(answers.len(), targets.len(), "an answer each");
    let answers = targets.iter().zip(answers);
    answers
        .map(|(target, head)| {
            assert!(head.starts_with("HTTP/1.1 200 "), "{target}: {head}");
            let mut lines = head.lines();
            let media_type = lines.find_map(|line| line.strip_prefix("Content-Type: "));
            media_type.expect("a media type").to_owned()
        })
        .collect()
}

/// A media type and its parameters.
fn split(media_type: &str) -> (&str, &str) {
    media_type.split_once("; ").unwrap_or((media_type, ""))
}
