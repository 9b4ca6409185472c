//! Content codings: which encoded variant of a file is sent, and with which fields.

use std::thread;
use std::time::{Duration, SystemTime};

use support::{
    Client, InProcess, Launch, Response, Server, Site, accepting, decoded, encoding, gzip, text,
    until,
};

const CODINGS: [&str; 3] = ["br", "zstd", "gzip"];

fn brotli(content: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    let parameters = brotli::enc::BrotliEncoderParams::default();
    brotli::BrotliCompress(&mut &content[..], &mut encoded, &parameters).expect("brotli");
    encoded
}

fn get(client: &mut Client, target: &str, codings: &str) -> Response {
    client.ask_with("GET", target, &accepting(codings))
}

fn etag(response: &Response) -> String {
    response.field("etag").expect("ETag").to_owned()
}

/// Sets the modification time of a file to `secs` ago.
fn age(site: &Site, name: &str, secs: u64) {
    site.date(name, SystemTime::now() - Duration::from_secs(secs));
}

/// RFC 9110 section 12.5.3.
#[test]
fn the_client_chooses_the_coding() {
    let site = Site::new();
    let content = text(4_000);
    site.write("list.html", &content);
    let server = Server::of(site.root());
    let mut client = server.connect();
    let cases = [
        ("gzip", Some("gzip")),
        ("x-gzip", Some("gzip")),
        ("GZIP", Some("gzip")),
        ("br", Some("br")),
        ("zstd", Some("zstd")),
        ("gzip, deflate, br, zstd", Some("br")),
        ("gzip, br;q=0.5", Some("gzip")),
        ("br;q=0.001", Some("br")),
        ("br;q=0, *", Some("zstd")),
        ("*", Some("br")),
        ("*;q=0", None),
        ("gzip;q=0", None),
        ("identity;q=0, gzip", Some("gzip")),
        ("identity;q=0", None),
        ("identity, gzip;q=0.5", None),
        ("deflate, compress", None),
        ("gzip;q=2", None),
        ("", None),
    ];
    for (codings, expected) in cases {
        let response = get(&mut client, "/list.html", codings);
        assert_eq!(response.status, 200, "{codings}");
        assert_eq!(encoding(&response), expected, "{codings}");
        assert_eq!(response.field("vary"), Some("Accept-Encoding"), "{codings}");
        let media_type = response.field("content-type");
        assert_eq!(media_type, Some("text/html; charset=utf-8"), "{codings}");
        assert!(decoded(&response) == content, "{codings}");
    }
    let plain = client.get("/list.html");
    assert_eq!(encoding(&plain), None);
    assert_eq!(plain.field("vary"), Some("Accept-Encoding"));
    let lines = format!("{}{}", accepting("gzip;q=0.5"), accepting("zstd"));
    let response = client.ask_with("GET", "/list.html", &lines);
    assert_eq!(encoding(&response), Some("zstd"), "lines are combined");
}

/// RFC 9110 section 12.5.5: a Vary that is not needed makes caches store several copies of one response.
#[test]
fn what_has_no_variant_does_not_vary() {
    let site = Site::new();
    for name in ["picture.png", "film.mp4", "data.bin", "list.html.gz"] {
        site.write(name, text(4_000));
    }
    let server = Server::of(site.root());
    let mut client = server.connect();
    for target in ["/picture.png", "/film.mp4", "/data.bin", "/list.html.gz"] {
        let response = get(&mut client, target, "br, zstd, gzip");
        assert_eq!(response.field("vary"), None, "{target}");
        assert_eq!(encoding(&response), None, "{target}");
        assert!(response.body == text(4_000), "{target}");
    }
    let small = get(&mut client, "/page.html", "br");
    assert_eq!(encoding(&small), None, "too small");
    assert_eq!(small.field("vary"), Some("Accept-Encoding"));
    let missing = get(&mut client, "/none", "br");
    assert_eq!((missing.status, missing.field("vary")), (404, None));
}

/// RFC 9110 sections 8.8.3.3 and 13.1.2, section 15.4.5.
#[test]
fn every_variant_has_a_tag_of_its_own_and_its_own_304() {
    let site = Site::new();
    site.write("list.html", text(4_000));
    let server = Server::of(site.root());
    let mut client = server.connect();
    let codings = ["br", "zstd", "gzip", "identity"];
    let tags = codings.map(|coding| etag(&get(&mut client, "/list.html", coding)));
    for (place, coding) in codings.into_iter().enumerate() {
        for (other, tag) in tags.iter().enumerate() {
            assert!(tag.starts_with('"'), "strong: {tag}");
            let fields = format!("{}If-None-Match: \"x\", {tag}\r\n", accepting(coding));
            let response = client.ask_with("GET", "/list.html", &fields);
            assert_eq!(response.status == 304, other == place, "{coding} {tag}");
            assert_eq!(response.field("vary"), Some("Accept-Encoding"));
            assert_eq!(etag(&response), tags[place]);
            if response.status == 304 {
                assert_eq!(encoding(&response), None);
                assert_eq!(response.field("content-type"), None);
            }
            let fields = format!("{}If-Match: {tag}\r\n", accepting(coding));
            let expected = if other == place { 200 } else { 412 };
            let response = client.ask_with("GET", "/list.html", &fields);
            assert_eq!(response.status, expected, "{coding} {tag}");
        }
    }
}

#[test]
fn head_says_what_get_says() {
    let site = Site::new();
    site.write("list.html", text(4_000));
    let server = Server::of(site.root());
    let mut client = server.connect();
    for coding in CODINGS {
        let head = client.ask_with("HEAD", "/list.html", &accepting(coding));
        let full = get(&mut client, "/list.html", coding);
        assert_eq!(encoding(&head), Some(coding));
        assert_eq!(head.length(), Some(full.body.len() as u64));
        for name in ["etag", "vary", "last-modified", "content-type"] {
            assert_eq!(head.field(name), full.field(name), "{name}");
        }
    }
}

#[test]
fn what_lies_beside_a_file_is_sent_in_its_place() {
    let site = Site::new();
    let content = text(4_000);
    site.write("app.js", &content);
    age(&site, "app.js", 60);
    site.write("app.js.gz", gzip(&content));
    site.write("game.data", &content);
    age(&site, "game.data", 60);
    site.write("game.data.br", brotli(&content));
    let config = "compress = false\n";
    let server = Launch::of(site.root()).config(config).start();
    let mut client = server.connect();
    let response = get(&mut client, "/app.js", "br, gzip");
    assert_eq!(encoding(&response), Some("gzip"));
    assert!(response.body == gzip(&content), "sent unchanged");
    assert_eq!(
        response.field("content-type"),
        Some("text/javascript; charset=utf-8")
    );
    assert_eq!(encoding(&get(&mut client, "/app.js", "br")), None);
    // A sidecar is also used for a file whose type is unknown.
    let response = get(&mut client, "/game.data", "br");
    assert_eq!(encoding(&response), Some("br"));
    assert_eq!(response.field("vary"), Some("Accept-Encoding"));
    let plain = client.get("/game.data");
    assert_eq!(plain.field("vary"), Some("Accept-Encoding"));
    // A request for the sidecar's own name gets it as a file like any other.
    let response = get(&mut client, "/app.js.gz", "gzip");
    assert_eq!(encoding(&response), None);
    assert_eq!(response.field("content-type"), Some("application/gzip"));
}

#[test]
fn neither_what_is_stale_nor_what_is_no_file_of_the_site_is_sent() {
    let site = Site::new();
    let content = text(4_000);
    let other = brotli(b"something else");
    for name in ["stale.html", "outside.html", "directory.html"] {
        site.write(name, &content);
    }
    age(&site, "stale.html", 60);
    site.write("stale.html.br", &other);
    age(&site, "stale.html.br", 61);
    std::fs::write(site.beside("secret"), &other).expect("a file outside");
    site.link("../secret", "outside.html.br");
    site.directory("directory.html.br");
    let server = Server::of(site.root());
    let mut client = server.connect();
    for target in ["/stale.html", "/outside.html", "/directory.html"] {
        let response = get(&mut client, target, "br");
        assert_eq!(encoding(&response), Some("br"), "{target}");
        assert!(decoded(&response) == content, "{target}");
    }
}

#[test]
fn a_sidecar_that_comes_changes_or_goes_is_noticed_within_a_second_or_so() {
    let site = Site::new();
    let versions: Vec<_> = ["one", "two"].map(|word| brotli(word.as_bytes())).into();
    site.write("page.html", text(4_000));
    age(&site, "page.html", 60);
    let server = Server::of(site.root());
    let mut client = server.connect();
    let made = get(&mut client, "/page.html", "br");
    let mut tags = vec![etag(&made)];
    for version in &versions {
        site.replace("page.html.br", version);
        until("the sidecar is sent", || {
            let response = get(&mut client, "/page.html", "br");
            let is_sent = response.body == *version;
            if is_sent {
                tags.push(etag(&response));
            }
            is_sent
        });
    }
    tags.dedup();
    assert_eq!(tags.len(), 3, "one for each variant: {tags:?}");
    std::fs::remove_file(site.path("page.html.br")).expect("remove");
    until("the server makes a variant again", || {
        get(&mut client, "/page.html", "br").body == made.body
    });
    // A newer original makes it stale.
    site.write("page.html.br", &versions[0]);
    until("the sidecar is used again", || {
        get(&mut client, "/page.html", "br").body == versions[0]
    });
    age(&site, "page.html.br", 30);
    site.replace("page.html", text(5_000));
    until("the sidecar is found stale", || {
        decoded(&get(&mut client, "/page.html", "br")) == text(5_000)
    });
}

/// The clock stands still, so no file is compared with the disk again.
#[test]
fn a_large_file_is_sent_as_it_is_at_first_and_compressed_from_then_on() {
    let site = Site::new();
    let content = text(200_000);
    site.write("large.html", &content);
    site.write("packed.html", &content);
    age(&site, "packed.html", 60);
    site.write("packed.html.gz", gzip(&content));
    let server = InProcess::start(InProcess::config(&site));
    let mut client = server.connect();
    for (target, coding, at_first) in [
        ("/large.html", "br", None),
        ("/large.html", "zstd", None),
        // Until the better variant is made, the sidecar is sent.
        ("/packed.html", "br, gzip;q=0.5", Some("gzip")),
    ] {
        let first = get(&mut client, target, coding);
        assert_eq!(encoding(&first), at_first, "{target} {coding}");
        assert_eq!(first.field("vary"), Some("Accept-Encoding"));
        assert!(decoded(&first) == content, "{target} {coding}");
        let wanted = coding.split(',').next();
        until("the file is compressed", || {
            let response = get(&mut client, target, coding);
            assert!(decoded(&response) == content, "{target} {coding}");
            encoding(&response) == wanted
        });
        let compressed = get(&mut client, target, coding);
        assert_eq!(encoding(&compressed), wanted, "the variant is kept");
        assert_ne!(etag(&compressed), etag(&first));
    }
}

#[test]
fn everybody_gets_the_same_variant() {
    let site = Site::new();
    let content = text(30_000);
    site.write("list.html", &content);
    let server = InProcess::start(InProcess::config(&site));
    let bodies: Vec<_> = thread::scope(|scope| {
        let ask = || get(&mut server.connect(), "/list.html", "br");
        let askers: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        let answers = askers
            .into_iter()
            .map(|asker| asker.join().expect("an answer"));
        answers.collect()
    });
    for response in &bodies {
        assert_eq!(encoding(response), Some("br"));
        assert!(response.body == bodies[0].body);
    }
    assert!(decoded(&bodies[0]) == content);
}

#[test]
fn what_the_cache_does_not_keep_is_not_compressed_but_its_sidecars_are_found() {
    let site = Site::new();
    let content = text(4_000);
    for name in ["list.html", "packed.html"] {
        site.write(name, &content);
        age(&site, name, 60);
    }
    site.write(
        "packed.html.zst",
        zstd::encode_all(&content[..], 3).expect("zstd"),
    );
    for config in ["[cache]\nfile_bytes = 100\n", "[cache]\nbytes = 0\n"] {
        let server = Launch::of(site.root()).config(config).start();
        let mut client = server.connect();
        for _ in 0..3 {
            assert_eq!(encoding(&get(&mut client, "/list.html", "br")), None);
            let response = get(&mut client, "/packed.html", "br, zstd");
            assert_eq!(encoding(&response), Some("zstd"), "{config}");
            assert!(decoded(&response) == content, "{config}");
            let range = format!("{}Range: bytes=5-9\r\n", accepting("zstd"));
            let part = client.ask_with("GET", "/packed.html", &range);
            assert_eq!(part.body, response.body[5..10], "{config}");
        }
    }
}

#[test]
fn each_of_the_two_ways_can_be_turned_off() {
    let site = Site::new();
    let content = text(4_000);
    site.write("app.js", &content);
    age(&site, "app.js", 60);
    site.write("app.js.gz", gzip(b"beside"));
    let ask = |config: &str| {
        let server = Launch::of(site.root()).config(config).start();
        let response = get(&mut server.connect(), "/app.js", "gzip");
        let vary = response.field("vary").map(str::to_owned);
        (decoded(&response), vary, encoding(&response).is_some())
    };
    let vary = Some("Accept-Encoding".to_owned());
    assert_eq!(
        ask("compress = false\n"),
        (b"beside".to_vec(), vary.clone(), true)
    );
    assert_eq!(
        ask("precompressed = false\n"),
        (content.clone(), vary, true)
    );
    let neither = ask("compress = false\nprecompressed = false\n");
    assert_eq!(neither, (content, None, false));
}

/// RFC 9110 section 8.8.3: equal bytes have equal tags, whatever their modification time.
#[test]
fn a_tag_of_the_content_outlives_a_new_build() {
    let site = Site::new();
    let config = "etag = \"content\"\n[cache]\nfile_bytes = 5000\n";
    let tags = |site: &Site, secs| {
        let mut tags = Vec::new();
        // One file is kept in memory, the other is sent from the disk.
        for (name, bytes) in [("small.html", 4_000), ("large.html", 300_000)] {
            site.write(name, text(bytes));
            age(site, name, secs);
            let server = Launch::of(site.root()).config(config).start();
            let mut client = server.connect();
            let target = format!("/{name}");
            tags.push(etag(&client.get(&target)));
            tags.push(etag(&get(&mut client, &target, "br")));
        }
        tags
    };
    let before = tags(&site, 1_000);
    assert_eq!(before, tags(&site, 500));
    assert_ne!(before[0], before[1], "the variant has its own tag");
    assert_eq!(before[2], before[3], "the large file has no variant");
    site.write("small.html", &text(4_001)[1..]);
    age(&site, "small.html", 500);
    let server = Launch::of(site.root()).config(config).start();
    assert_ne!(etag(&server.connect().get("/small.html")), before[0]);
}

/// `[types]`: a file that the site declares to be text is compressed like text.
#[test]
fn a_type_of_the_sites_own_counts() {
    let site = Site::new();
    site.write("notes.gmi", text(4_000));
    let config = "[types]\ngmi = \"text/gemini\"\n";
    let server = Launch::of(site.root()).config(config).start();
    let response = get(&mut server.connect(), "/notes.gmi", "gzip");
    assert_eq!(encoding(&response), Some("gzip"));
    assert_eq!(
        response.field("content-type"),
        Some("text/gemini; charset=utf-8")
    );
}

/// RFC 9110 section 7.7: no-transform binds the server as well as intermediaries.
#[test]
fn a_header_rule_can_stop_and_start_compression() {
    let site = Site::new();
    for name in ["kept.html", "notes.dat", "picture.html"] {
        site.write(name, text(4_000));
    }
    let config = "[[header]]\npath = \"/kept.*\"\nset = { Cache-Control = \"no-transform\" }\n\
        [[header]]\npath = \"/*.dat\"\nset = { Content-Type = \"text/plain\" }\n\
        [[header]]\npath = \"/picture.*\"\nset = { Content-Type = \"image/png\" }\n";
    let server = Launch::of(site.root()).config(config).start();
    let mut client = server.connect();
    for (target, coding) in [
        ("/kept.html", None),
        ("/notes.dat", Some("gzip")),
        ("/picture.html", None),
    ] {
        for _ in 0..2 {
            let response = get(&mut client, target, "gzip");
            assert_eq!(encoding(&response), coding, "{target}");
            assert!(decoded(&response) == text(4_000), "{target}");
        }
    }
}
