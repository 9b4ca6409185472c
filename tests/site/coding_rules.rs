//! Header rules and media types that decide whether an answer is compressed.

use super::{PAGE, all, serve};
use support::{Client, Response, Server, Site, accepting, decoded, encoding, text};

const RULES: &str = r#"
spa = "/app.html"

[[header]]
path = "/**/*.dat"
set = { Content-Type = "text/plain" }

[[header]]
path = "/shots/**"
set = { Content-Type = "image/png" }

[[header]]
path = "/kept/**"
set = { Cache-Control = "public, No-Transform" }

[[header]]
path = "/kept/but/**"
set = { Cache-Control = "public" }

[[header]]
path = "/saved/**"
set = { Content-Type = "application/octet-stream" }

[[rewrite]]
from = "/kept/alias/*"
to = "/$1"

[[rewrite]]
from = "/free/*"
to = "/kept/$1"

[[rewrite]]
from = "/shots/alias/*"
to = "/kept/$1"
"#;

fn gzip(content: &[u8]) -> Vec<u8> {
    use std::io::Read;
    let mut encoded = Vec::new();
    flate2::read::GzEncoder::new(content, flate2::Compression::fast())
        .read_to_end(&mut encoded)
        .expect("gzip");
    encoded
}

fn files(site: &Site) {
    for name in [
        "list.html",
        "list.txt",
        "list.dat",
        "app.html",
        "shots/list.txt",
        "shots/list.dat",
        "kept/list.txt",
        "kept/list.dat",
        "kept/but/list.txt",
        "saved/list.txt",
        "kept/beside.txt",
        "saved/beside.txt",
        "shots/beside.txt",
    ] {
        site.write(name, text(4_000));
    }
    for name in ["kept", "saved", "shots"] {
        site.write(&format!("{name}/beside.txt.gz"), gzip(&text(4_000)));
    }
}

fn get(client: &mut Client, host: &str, target: &str) -> Response {
    let fields = accepting("br, gzip");
    client.send(format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\n{PAGE}{fields}\r\n"
    ));
    client.answer()
}

/// A target, the expected coding and Vary, and the start of the type.
type Expected = (
    &'static str,
    Option<&'static str>,
    &'static [&'static str],
    &'static str,
);

const CODED: &[&str] = &["Accept-Encoding"];

const ANSWERS: &[Expected] = &[
    ("/list.txt", Some("br"), CODED, "text/plain"),
    ("/list.dat", Some("br"), CODED, "text/plain"),
    ("/shots/list.txt", None, &[], "image/png"),
    ("/shots/list.dat", None, &[], "image/png"),
    ("/kept/list.txt", None, CODED, "text/plain"),
    ("/kept/list.dat", None, CODED, "text/plain"),
    ("/kept/but/list.txt", Some("br"), CODED, "text/plain"),
    ("/saved/list.txt", None, &[], "application/octet-stream"),
    // These files have sidecars, which the owner made.
    ("/kept/beside.txt", Some("gzip"), CODED, "text/plain"),
    (
        "/saved/beside.txt",
        Some("gzip"),
        CODED,
        "application/octet-stream",
    ),
    ("/shots/beside.txt", Some("gzip"), CODED, "image/png"),
    // Rules match the requested path, also if the file was cached for another one.
    ("/kept/alias/list.txt", None, CODED, "text/plain"),
    ("/free/list.txt", Some("br"), CODED, "text/plain"),
    ("/free/list.dat", Some("br"), CODED, "text/plain"),
    ("/shots/alias/list.txt", None, &[], "image/png"),
    (
        "/orders/7",
        Some("br"),
        &["Accept-Encoding", "Accept"],
        "text/html",
    ),
    // A rule's Cache-Control does not apply to the page of `spa`.
    (
        "/kept/orders/7",
        Some("br"),
        &["Accept-Encoding", "Accept"],
        "text/html",
    ),
];

fn check(server: &Server, host: &str, answers: &[&Expected]) {
    let mut client = server.connect();
    for (target, coding, vary, media_type) in answers {
        let answer = get(&mut client, host, target);
        assert_eq!(answer.status, 200, "{target}");
        assert_eq!(encoding(&answer), *coding, "{target}");
        assert_eq!(all(&answer, "vary"), *vary, "{target}");
        let content_type = answer.field("content-type").expect("a type");
        assert!(
            content_type.starts_with(media_type),
            "{target}: {content_type}"
        );
        assert!(decoded(&answer) == text(4_000), "{target}");
    }
}

/// RFC 9110 section 7.7, RFC 9111 section 5.2.2.6; a Content-Type that a rule sets is the type.
#[test]
fn a_rule_for_the_path_that_was_asked_for_decides_whether_it_is_compressed() {
    for cache in ["", "[cache]\nrevalidate = 0\n"] {
        let site = Site::empty();
        files(&site);
        let server = serve(&site, &[RULES, cache].concat());
        let forth: Vec<_> = ANSWERS.iter().collect();
        let back: Vec<_> = ANSWERS.iter().rev().collect();
        for answers in [&forth, &back, &forth] {
            check(&server, "localhost", answers);
        }
    }
}

#[test]
fn rules_decide_for_the_host_that_has_them() {
    let site = Site::empty();
    files(&site);
    let root = site.root().display().to_string();
    let rules = RULES.replace("[[", "[[host.");
    let hosts = format!(
        "[[host]]\nname = \"plain.example\"\nroot = \"{root}\"\n\
         [[host]]\nname = \"ruled.example\"\nroot = \"{root}\"\n{rules}"
    );
    let server = serve(&site, &hosts);
    let answers: Vec<_> = ANSWERS.iter().collect();
    for _ in 0..2 {
        check(&server, "ruled.example", &answers);
        for (target, coding) in [
            ("/list.txt", Some("br")),
            ("/list.dat", None),
            ("/kept/list.txt", Some("br")),
            ("/shots/list.txt", Some("br")),
        ] {
            for host in ["plain.example", "other.example"] {
                let answer = get(&mut server.connect(), host, target);
                assert_eq!(encoding(&answer), coding, "{host} {target}");
            }
        }
    }
}

#[test]
fn a_file_that_is_replaced_is_seen_under_every_policy() {
    let site = Site::empty();
    files(&site);
    let server = serve(&site, &[RULES, "[cache]\nrevalidate = 0\n"].concat());
    for bytes in [5_000, 6_000] {
        site.replace("kept/list.txt", text(bytes));
        for target in ["/kept/list.txt", "/free/list.txt", "/shots/alias/list.txt"] {
            let answer = get(&mut server.connect(), "localhost", target);
            assert_eq!(decoded(&answer).len(), bytes, "{target}");
        }
    }
}

#[test]
fn the_default_type_is_for_names_without_a_known_extension() {
    let site = Site::empty();
    let names = ["LICENSE", "a.frobnicate", "a.bin", "a.html"];
    for name in names {
        site.write(name, text(4_000));
    }
    let json = ".well-known/apple-app-site-association";
    site.write(json, "{}");
    site.write("apple-app-site-association", "{}");
    let root = site.root().display().to_string();
    let config = format!(
        "default_type = \"text/plain\"\n[[host]]\nname = \"a.example\"\nroot = \"{root}\"\n\
         [[host]]\nname = \"b.example\"\nroot = \"{root}\"\ndefault_type = \"application/x-b\"\n"
    );
    let octets = "application/octet-stream";
    for (config, host, default_type) in [
        ("", "localhost", octets),
        (&config[..], "localhost", "text/plain; charset=utf-8"),
        (&config[..], "a.example", "text/plain; charset=utf-8"),
        (&config[..], "b.example", "application/x-b"),
    ] {
        let server = serve(&site, config);
        let mut client = server.connect();
        let types = [
            default_type,
            default_type,
            octets,
            "text/html; charset=utf-8",
        ];
        for (name, media_type) in names.into_iter().zip(types) {
            let answer = get(&mut client, host, &format!("/{name}"));
            assert_eq!(answer.field("content-type"), Some(media_type), "{name}");
            let is_text = media_type.starts_with("text/");
            assert_eq!(encoding(&answer).is_some(), is_text, "{name}");
        }
        for name in ["apple-app-site-association", json] {
            let answer = get(&mut client, host, &format!("/{name}"));
            assert_eq!(answer.field("content-type"), Some("application/json"));
        }
    }
}

/// RFC 9110 section 7.7: the rules for the requested path decide, not those for the path of the page.
#[test]
fn the_page_of_an_error_is_not_compressed_where_a_rule_for_the_error_says_so() {
    let site = Site::empty();
    site.write("404.html", text(4_000));
    let rule = "[[header]]\npath = '/b/**'\nstatus = '404'\n\
                set = { Cache-Control = 'no-transform' }\n";
    let server = serve(&site, rule);
    let mut client = server.connect();
    for _ in 0..2 {
        for (target, coding) in [("/b/x", None), ("/a/x", Some("br"))] {
            let answer = get(&mut client, "localhost", target);
            assert_eq!(
                (answer.status, encoding(&answer)),
                (404, coding),
                "{target}"
            );
            assert!(decoded(&answer) == text(4_000));
        }
    }
}

#[test]
fn a_sidecar_may_be_alone_where_a_rule_makes_its_type_one_that_compresses() {
    let site = Site::empty();
    site.write("ct/l.bin.gz", gzip(&text(4_000)));
    site.write("l.bin.gz", gzip(&text(4_000)));
    let rule = "[[header]]\npath = '/ct/**'\nset = { Content-Type = 'text/plain' }\n";
    let server = serve(&site, rule);
    let mut client = server.connect();
    let answer = get(&mut client, "localhost", "/ct/l.bin");
    assert!(answer.status == 200 && encoding(&answer).is_some());
    assert!(decoded(&answer) == text(4_000));
    assert_eq!(get(&mut client, "localhost", "/l.bin").status, 404);
}

/// RFC 9110 section 7.7.
#[test]
fn a_listing_is_not_compressed_where_a_rule_says_so() {
    let site = Site::empty();
    for number in 0..100 {
        site.write(&format!("kept/file-{number}.txt"), "");
    }
    let server = serve(&site, &["listing = true\n", RULES].concat());
    let mut client = server.connect();
    // `/free/` is rewritten to `/kept/`.
    for (target, coding) in [("/kept/", None), ("/free/", Some("br"))] {
        let answer = get(&mut client, "localhost", target);
        assert_eq!(
            (answer.status, encoding(&answer)),
            (200, coding),
            "{target}"
        );
    }
}
