//! Encoded variants of files together with every other setting of a site.

use std::time::{Duration, SystemTime};

use super::{PAGE, all, serve};
use support::{
    Client, Launch, Response, Server, Site, accepting, decoded, encoding, gzip, text, until,
};

/// A GET of `target` at `host`, which accepts `codings`.
fn get(client: &mut Client, host: &str, target: &str, codings: &str) -> Response {
    ask(client, host, "GET", target, &accepting(codings))
}

fn ask(client: &mut Client, host: &str, method: &str, target: &str, fields: &str) -> Response {
    client.send(format!(
        "{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"
    ));
    match method {
        "HEAD" => client.answer_to_head(),
        _ => client.answer(),
    }
}

/// Two hosts beside the default site. Each has a page of another size at the same path. The first has
/// header rules.
fn hosts() -> (Site, Server) {
    let site = Site::empty();
    site.write("list.html", text(4_000));
    let host = |name: &str, bytes: usize, more: &str| {
        let root = site.beside(name);
        std::fs::create_dir(&root).expect("a root");
        std::fs::write(root.join("list.html"), text(bytes)).expect("its page");
        std::fs::write(root.join("large.html"), text(40 * bytes)).expect("a larger page");
        let root = root.display();
        format!("[[host]]\nname = \"{name}.example\"\nroot = \"{root}\"\n{more}\n")
    };
    let rule = "[[host.header]]\npath = \"/*.html\"\n\
        set = { X-Rule = \"1\", Vary = \"Cookie\", Content-Type = \"text/x-ruled\" }\n\
        unset = [\"X-Content-Type-Options\"]\n";
    let config = [
        host("ruled", 5_000, rule),
        host("plain", 6_000, "compress = false"),
    ];
    let server = Launch::of(site.root()).config(&config.concat()).start();
    (site, server)
}

fn check_ruled(answer: &Response) {
    assert_eq!(answer.field("x-rule"), Some("1"), "{}", answer.head);
    assert_eq!(all(answer, "vary"), ["Accept-Encoding", "Cookie"]);
    assert_eq!(answer.field("x-content-type-options"), None);
}

#[test]
fn the_rules_of_a_host_are_about_every_variant_and_its_304_and_parts() {
    let (_site, server) = hosts();
    let mut client = server.connect();
    let mut tags = Vec::new();
    for coding in ["br", "zstd", "gzip", "identity"].repeat(2) {
        let mut ask = |method, fields: &str| {
            let fields = format!("{}{fields}", accepting(coding));
            let answer = ask(&mut client, "ruled.example", method, "/list.html", &fields);
            check_ruled(&answer);
            answer
        };
        let full = ask("GET", "");
        assert_eq!(encoding(&full).unwrap_or("identity"), coding);
        assert!(decoded(&full) == text(5_000), "{coding}");
        assert_eq!(full.field("content-type"), Some("text/x-ruled"));
        let tag = full.field("etag").expect("ETag");
        tags.push(tag.to_owned());
        let head = ask("HEAD", "");
        assert_eq!(head.length(), full.length());
        assert_eq!(encoding(&head), encoding(&full));
        let current = ask("GET", &format!("If-None-Match: {tag}\r\n"));
        assert_eq!((current.status, current.field("etag")), (304, Some(tag)));
        let part = ask("GET", &format!("If-Range: {tag}\r\nRange: bytes=7-19\r\n"));
        assert_eq!((part.status, encoding(&part)), (206, encoding(&full)));
        assert_eq!(part.body, full.body[7..20]);
        assert_eq!(part.field("content-type"), Some("text/x-ruled"));
        let parts = ask(
            "GET",
            &format!("If-Range: {tag}\r\nRange: bytes=0-1, 5-6\r\n"),
        );
        let media_type = parts.field("content-type").expect("Content-Type");
        assert!(media_type.starts_with("multipart/byteranges; boundary="));
        let parts = String::from_utf8_lossy(&parts.body);
        let lines = match encoding(&full) {
            None => "\r\nContent-Type: text/x-ruled\r\nContent-Range: ".to_owned(),
            Some(_) => format!(
                "\r\nContent-Type: text/x-ruled\r\nContent-Encoding: {coding}\r\nContent-Range: "
            ),
        };
        assert_eq!(parts.matches(&lines).count(), 2, "{parts}");
    }
    assert_eq!(tags[..4], tags[4..], "no variant changes");
    tags.truncate(4);
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 4, "each variant has its own tag");
}

#[test]
fn the_same_path_has_other_variants_in_another_site() {
    let (_site, server) = hosts();
    let mut client = server.connect();
    for _ in 0..2 {
        for (host, bytes, is_encoded, has_rule) in [
            ("ruled.example", 5_000, true, true),
            ("plain.example", 6_000, false, false),
            ("other.example", 4_000, true, false),
        ] {
            for coding in ["br", "gzip"] {
                let answer = get(&mut client, host, "/list.html", coding);
                assert_eq!(encoding(&answer), is_encoded.then_some(coding), "{host}");
                assert!(decoded(&answer) == text(bytes), "{host}");
                assert_eq!(answer.field("x-rule").is_some(), has_rule, "{host}");
            }
        }
    }
}

/// One thread compresses for all sites.
#[test]
fn a_large_file_of_a_host_is_compressed_in_time_and_has_its_fields_then() {
    let (_site, server) = hosts();
    let mut client = server.connect();
    let mut ask = |host: &str| get(&mut client, host, "/large.html", "br");
    until("the host's file is compressed", || {
        let answer = ask("ruled.example");
        check_ruled(&answer);
        assert!(decoded(&answer) == text(200_000));
        encoding(&answer) == Some("br")
    });
    let plain = ask("plain.example");
    assert_eq!((encoding(&plain), plain.body.len()), (None, 240_000));
}

#[test]
fn the_page_of_an_application_has_its_variants() {
    let site = Site::empty();
    site.write("app.html", text(4_000));
    site.write("404.html", text(3_000));
    let server = serve(&site, "spa = \"/app.html\"\nsecurity = true\n");
    let mut client = server.connect();
    for target in ["/orders/7", "/orders/7", "/orders/8?x"] {
        for coding in ["gzip", "br"] {
            let fields = format!("{PAGE}{}", accepting(coding));
            let mut ask = |method, more: &str| {
                let answer = client.ask_with(method, target, &format!("{fields}{more}"));
                assert_eq!(all(&answer, "vary"), ["Accept-Encoding", "Accept"]);
                assert!(answer.field("x-frame-options").is_some());
                answer
            };
            let page = ask("GET", "");
            assert_eq!((page.status, encoding(&page)), (200, Some(coding)));
            assert!(decoded(&page) == text(4_000));
            assert_eq!(ask("HEAD", "").length(), page.length());
            let tag = page.field("etag").expect("ETag");
            assert_eq!(ask("GET", &format!("If-None-Match: {tag}\r\n")).status, 304);
            let part = ask("GET", &format!("If-Range: {tag}\r\nRange: bytes=3-9\r\n"));
            assert_eq!((part.status, &part.body[..]), (206, &page.body[3..10]));
            let part = ask("GET", "Range: bytes=3-9\r\n");
            assert_eq!((part.status, &part.body[..]), (206, &text(10)[3..]));
        }
        // A request that does not ask for a page gets the error page, in a variant too.
        let missing = client.ask_with("GET", target, &accepting("gzip"));
        assert_eq!((missing.status, encoding(&missing)), (404, Some("gzip")));
        assert_eq!(all(&missing, "vary"), ["Accept-Encoding", "Accept"]);
        assert!(decoded(&missing) == text(3_000));
    }
}

#[test]
fn whatever_leads_to_a_file_leads_to_its_variants() {
    let site = Site::empty();
    site.write("about.html", text(4_000));
    site.write("guide/index.htm", text(5_000));
    site.write("packed.html", text(6_000));
    site.date("packed.html", SystemTime::now() - Duration::from_secs(60));
    site.write("packed.html.gz", gzip(&text(6_000)));
    let config = "index = [\"index.html\", \"index.htm\"]\nclean_urls = true\n\
        [cache]\nrevalidate = 0\n[[rewrite]]\nfrom = \"/latest/*\"\nto = \"/$1\"\n";
    let server = serve(&site, config);
    let mut client = server.connect();
    let mut ask = |target: &str, coding: &str, bytes: usize| {
        let answer = client.ask_with("GET", target, &accepting(coding));
        assert_eq!((answer.status, encoding(&answer)), (200, Some(coding)));
        assert_eq!(answer.field("vary"), Some("Accept-Encoding"), "{target}");
        assert!(decoded(&answer) == text(bytes), "{target}");
        let tag = answer.field("etag").expect("ETag");
        let again = format!("{}If-None-Match: {tag}\r\n", accepting(coding));
        assert_eq!(client.ask_with("GET", target, &again).status, 304);
        answer
    };
    for _ in 0..2 {
        ask("/about", "br", 4_000);
        ask("/guide/", "zstd", 5_000);
        assert!(ask("/packed", "gzip", 6_000).body == gzip(&text(6_000)));
        ask("/latest/about", "br", 4_000);
        ask("/latest/packed.html", "gzip", 6_000);
    }
    // The index takes precedence, and comes with its own variants.
    site.write("guide/index.html", text(7_000));
    site.write(
        "guide/index.html.zst",
        zstd::encode_all(&text(7_000)[..], 1).expect("zstd"),
    );
    ask("/guide/", "zstd", 7_000);
}

#[test]
fn a_link_beside_a_file_is_followed_as_the_site_says() {
    let site = Site::empty();
    site.write("page.html", text(4_000));
    site.date("page.html", SystemTime::now() - Duration::from_secs(60));
    std::fs::write(site.beside("page.html.gz"), gzip(b"outside")).expect("a file outside");
    site.link("../page.html.gz", "page.html.gz");
    for (policy, expected) in [
        ("inside", text(4_000)),
        ("never", text(4_000)),
        ("anywhere", b"outside".to_vec()),
    ] {
        let server = serve(&site, &format!("symlinks = \"{policy}\"\n"));
        let mut client = server.connect();
        for _ in 0..2 {
            let answer = client.ask_with("GET", "/page.html", &accepting("gzip"));
            assert_eq!(encoding(&answer), Some("gzip"), "{policy}");
            assert!(decoded(&answer) == expected, "{policy}");
        }
    }
}

#[test]
fn an_origin_that_may_read_the_file_may_read_its_variants() {
    let site = Site::empty();
    site.write("page.html", text(4_000));
    let server = serve(
        &site,
        "cors = [\"https://a.example\"]\netag = \"content\"\n",
    );
    let mut client = server.connect();
    let fields = format!("Origin: https://a.example\r\n{}", accepting("br"));
    let full = client.ask_with("GET", "/page.html", &fields);
    assert_eq!(encoding(&full), Some("br"));
    let tag = full.field("etag").expect("ETag");
    let again = format!("{fields}If-None-Match: {tag}\r\n");
    let current = client.ask_with("GET", "/page.html", &again);
    assert_eq!(current.status, 304);
    for answer in [&full, &current] {
        let allowed = answer.field("access-control-allow-origin");
        assert_eq!(allowed, Some("https://a.example"));
        assert_eq!(all(answer, "vary"), ["Accept-Encoding", "Origin"]);
    }
}
