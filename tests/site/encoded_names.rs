//! Files whose names carry a content coding: `[encodings]`, and files of which only an encoded variant
//! exists.

use std::fs::File;
use std::io::Read;
use std::time::{Duration, SystemTime};

use support::{Client, Launch, Response, Server, Site, accepting, decoded, encoding, text, until};

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    flate2::read::GzEncoder::new(content, flate2::Compression::best())
        .read_to_end(&mut encoded)
        .expect("gzip");
    encoded
}

fn brotli(content: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    let parameters = brotli::enc::BrotliEncoderParams::default();
    brotli::BrotliCompress(&mut &content[..], &mut encoded, &parameters).expect("brotli");
    encoded
}

fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::encode_all(content, 3).expect("zstd")
}

fn get(client: &mut Client, target: &str, codings: &str) -> Response {
    client.ask_with("GET", target, &accepting(codings))
}

/// Sets the modification time of a file to `secs` ago.
fn age(site: &Site, name: &str, secs: u64) {
    let file = File::options().write(true).open(site.path(name));
    let modified = SystemTime::now() - Duration::from_secs(secs);
    file.and_then(|file| file.set_modified(modified))
        .expect("utimes");
}

/// Browsers request such a picture by its name, and show it only if the answer names the coding.
#[test]
fn a_compressed_picture_says_its_coding_without_a_setting() {
    let site = Site::new();
    let encoded = gzip(b"<svg xmlns='http://www.w3.org/2000/svg'/>");
    site.write("logo.svgz", &encoded);
    site.write("LOGO2.SVGZ", &encoded);
    let server = Server::of(site.root());
    let mut client = server.connect();
    for target in ["/logo.svgz", "/LOGO2.SVGZ"] {
        for fields in ["".to_owned(), accepting("br"), accepting("identity, *;q=0")] {
            let response = client.ask_with("GET", target, &fields);
            assert_eq!(response.status, 200);
            assert_eq!(encoding(&response), Some("gzip"), "{target} {fields}");
            assert_eq!(response.field("content-type"), Some("image/svg+xml"));
            assert_eq!(response.field("vary"), None, "there is no other variant");
            assert!(response.body == encoded);
        }
    }
    let config = "[encodings]\nsvgz = \"\"\n";
    let server = Launch::of(site.root()).config(config).start();
    let response = get(&mut server.connect(), "/logo.svgz", "gzip");
    assert_eq!(encoding(&response), None);
    assert!(response.body == encoded);
}

/// Exports of Unity and Godot request their files by these names.
#[test]
fn a_name_of_the_table_is_sent_in_its_coding_with_the_type_of_the_content() {
    let site = Site::new();
    let content = text(4_000);
    let files = [
        ("Build/x.wasm.gz", gzip(&content)),
        ("Build/x.data.br", brotli(&content)),
        ("Build/x.framework.js.br", brotli(&content)),
        ("Build/x.symbols.json.zst", zstd(&content)),
        ("x.tar.gz", gzip(&content)),
        ("table.csv.gz", gzip(&content)),
    ];
    for (name, encoded) in &files {
        site.write(name, encoded);
    }
    let config = "[encodings]\nbr = \"br\"\nGZ = \"gzip\"\nzst = \"zstd\"\n\"csv.gz\" = \"\"\n";
    let server = Launch::of(site.root()).config(config).start();
    let mut client = server.connect();
    let expected = [
        (Some("gzip"), "application/wasm"),
        (Some("br"), "application/octet-stream"),
        (Some("br"), "text/javascript; charset=utf-8"),
        (Some("zstd"), "application/json"),
        (None, "application/gzip"),
        (None, "application/gzip"),
    ];
    for ((name, encoded), (coding, media_type)) in files.iter().zip(expected) {
        let target = format!("/{name}");
        let response = get(&mut client, &target, "gzip, br, zstd");
        assert_eq!(encoding(&response), coding, "{name}");
        assert_eq!(response.field("content-type"), Some(media_type), "{name}");
        assert!(response.body == *encoded, "{name}");
        let head = client.ask("HEAD", &target);
        assert_eq!(encoding(&head), coding, "{name}");
        assert_eq!(head.length(), Some(encoded.len() as u64));
        let tag = response.field("etag").expect("ETag");
        assert_eq!(head.field("etag"), Some(tag));
        let fields = format!("If-None-Match: {tag}\r\n");
        assert_eq!(client.ask_with("GET", &target, &fields).status, 304);
        // RFC 9110 section 14.1.2: a range is of the encoded bytes.
        let part = client.ask_with("GET", &target, "Range: bytes=2-5\r\n");
        assert_eq!((part.status, encoding(&part)), (206, coding), "{name}");
        assert_eq!(part.body, encoded[2..6]);
    }
}

#[test]
fn each_host_has_its_own_table() {
    let site = Site::new();
    site.write("x.js.br", brotli(b"x"));
    site.write("x.svgz", gzip(b"x"));
    let config = format!(
        "[encodings]\nbr = \"br\"\n[[host]]\nname = \"a\"\nroot = {root:?}\n\
         [host.encodings]\nbr = \"\"\n[[host]]\nname = \"b\"\nroot = {root:?}\n",
        root = site.root()
    );
    let server = Launch::of(site.root()).config(&config).start();
    for (host, script) in [("a", None), ("b", Some("br")), ("c", Some("br"))] {
        for (target, coding) in [("/x.js.br", script), ("/x.svgz", Some("gzip"))] {
            let mut client = server.connect();
            client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            let response = client.answer();
            assert_eq!(encoding(&response), coding, "{host} {target}");
        }
    }
}

/// `x.js.br` without `x.js`, as exports of builds often have it.
#[test]
fn a_file_that_is_there_encoded_only_is_served_under_its_own_name() {
    let site = Site::new();
    let content = text(40_000);
    let encoded = brotli(&content);
    site.write("x.js.br", &encoded);
    let server = Server::of(site.root());
    let mut client = server.connect();
    let as_it_is = get(&mut client, "/x.js", "gzip, deflate, br");
    assert_eq!(encoding(&as_it_is), Some("br"));
    assert!(as_it_is.body == encoded, "sent unchanged");
    let by_gzip = get(&mut client, "/x.js", "gzip");
    let decoded_here = get(&mut client, "/x.js", "identity");
    assert_eq!(encoding(&decoded_here), None);
    let without = client.get("/x.js");
    assert_eq!(encoding(&without), None);
    let mut tags = Vec::new();
    for response in [&as_it_is, &by_gzip, &decoded_here, &without] {
        assert_eq!(response.status, 200);
        assert_eq!(response.field("vary"), Some("Accept-Encoding"));
        let media_type = response.field("content-type");
        assert_eq!(media_type, Some("text/javascript; charset=utf-8"));
        assert!(decoded(response) == content);
        tags.push(response.field("etag").expect("ETag").to_owned());
    }
    assert_ne!(tags[0], tags[2], "RFC 9110 section 8.8.3.3");
    assert_eq!(tags[2], tags[3]);
    for (codings, response) in [("br", &as_it_is), ("identity", &decoded_here)] {
        let head = client.ask_with("HEAD", "/x.js", &accepting(codings));
        assert_eq!(head.length(), Some(response.body.len() as u64));
        assert_eq!(head.field("etag"), response.field("etag"));
        assert_eq!(encoding(&head), encoding(response));
        let range = format!("{}Range: bytes=100-199\r\n", accepting(codings));
        let part = client.ask_with("GET", "/x.js", &range);
        assert_eq!(part.status, 206);
        assert_eq!(part.body, response.body[100..200]);
        let tag = response.field("etag").expect("ETag");
        let condition = format!("{}If-None-Match: {tag}\r\n", accepting(codings));
        let unchanged = client.ask_with("GET", "/x.js", &condition);
        assert_eq!(unchanged.status, 304);
        assert_eq!(unchanged.field("vary"), Some("Accept-Encoding"));
    }
    let by_name = get(&mut client, "/x.js.br", "br");
    assert_eq!(encoding(&by_name), None, "another file");
}

#[test]
fn every_sidecar_that_is_there_is_sent_to_those_who_like_it() {
    let site = Site::new();
    let content = text(4_000);
    site.write("x.css.gz", gzip(&content));
    site.write("x.css.zst", zstd(&content));
    let server = Server::of(site.root());
    let mut client = server.connect();
    for (codings, expected) in [
        ("gzip", Some("gzip")),
        ("zstd", Some("zstd")),
        ("gzip, zstd", Some("zstd")),
        ("identity", None),
    ] {
        let response = get(&mut client, "/x.css", codings);
        assert_eq!(encoding(&response), expected, "{codings}");
        assert!(decoded(&response) == content, "{codings}");
    }
}

#[test]
fn only_types_that_compress_are_looked_for_and_an_archive_is_not_unpacked() {
    let site = Site::new();
    for name in ["x.tar", "picture.png", "data.bin", "README", "x.js.gz"] {
        site.write(&format!("{name}.gz"), gzip(b"content"));
    }
    site.directory("d.js");
    site.write("d.js.br", brotli(b"content"));
    std::fs::write(site.beside("secret"), gzip(b"secret")).expect("a file outside");
    site.link("../secret", "outside.js.gz");
    site.directory("directory.js.gz");
    site.write(".hidden.js.gz", gzip(b"hidden"));
    site.write("on.js.gz", gzip(b"content"));
    let server = Server::of(site.root());
    let mut client = server.connect();
    for (target, expected) in [
        ("/x.tar", 404),
        ("/picture.png", 404),
        ("/data.bin", 404),
        ("/README", 404),
        ("/x.js", 404),
        ("/d.js", 301),
        ("/outside.js", 404),
        ("/directory.js", 404),
        ("/.hidden.js", 404),
        ("/on.js/", 404),
        ("/on.js", 200),
    ] {
        let response = get(&mut client, target, "br, gzip");
        assert_eq!(response.status, expected, "{target}");
    }
    let config = "precompressed = false\n";
    let server = Launch::of(site.root()).config(config).start();
    assert_eq!(get(&mut server.connect(), "/on.js", "gzip").status, 404);
}

#[test]
fn an_index_and_a_clean_address_may_be_there_encoded_only() {
    let site = Site::new();
    let (index, page) = (text(1_000), text(2_000));
    site.write("docs/index.html.gz", gzip(&index));
    site.write("docs/about.html.br", brotli(&page));
    site.write("both/index.html.gz", gzip(&index));
    site.write("both/start.html", &page);
    let config = "index = [\"index.html\", \"start.html\"]\nclean_urls = true\n";
    let server = Launch::of(site.root()).config(config).start();
    let mut client = server.connect();
    for codings in ["gzip", "identity"] {
        let response = get(&mut client, "/docs/", codings);
        assert!(decoded(&response) == index, "{codings}");
        let response = get(&mut client, "/docs/about", codings);
        assert!(decoded(&response) == page, "{codings}");
        let response = get(&mut client, "/both/", codings);
        assert!(decoded(&response) == page, "a file that exists comes first");
    }
    let response = client.get("/docs/about.html");
    let location = response.field("location");
    assert_eq!((response.status, location), (301, Some("/docs/about")));
    let response = client.get("/docs");
    assert_eq!(
        (response.status, response.field("location")),
        (301, Some("/docs/"))
    );
}

#[test]
fn pages_of_the_site_may_be_there_encoded_only() {
    let site = Site::new();
    site.write("404.html.br", brotli(&text(3_000)));
    let server = Server::of(site.root());
    for (codings, coding) in [("br", Some("br")), ("identity", None)] {
        let response = get(&mut server.connect(), "/none", codings);
        assert_eq!((response.status, encoding(&response)), (404, coding));
        assert!(decoded(&response) == text(3_000));
    }
}

#[test]
fn content_too_large_to_decode_is_for_those_who_accept_its_coding() {
    let site = Site::new();
    let content = text(300_000);
    let encoded = brotli(&content);
    site.write("large.js.br", &encoded);
    let short = brotli(&text(4_000));
    site.write("broken.js.br", &short[..short.len() - 1]);
    for config in [
        "[cache]\nbytes = 1000000\nfile_bytes = 100000\n",
        "[cache]\nbytes = 0\n",
    ] {
        let server = Launch::of(site.root()).config(config).start();
        let mut client = server.connect();
        for codings in ["br", "br;q=0.1, identity"] {
            let response = get(&mut client, "/large.js", codings);
            assert_eq!((response.status, encoding(&response)), (200, Some("br")));
            assert!(response.body == encoded, "{config}");
        }
        for codings in ["gzip", "identity", "", "br;q=0"] {
            let response = get(&mut client, "/large.js", codings);
            assert_eq!(response.status, 404, "{config} {codings}");
            assert_eq!(response.field("vary"), Some("Accept-Encoding"));
        }
        assert_eq!(client.get("/large.js").status, 404);
        assert_eq!(get(&mut client, "/broken.js", "br").status, 404);
        server.wait_for("broken.js: its sidecar in br cannot be decoded");
    }
    let server = Server::of(site.root());
    let response = server.connect().get("/large.js");
    assert!(response.body == content, "decoded by default");
}

#[test]
fn what_comes_or_goes_is_noticed_within_a_second_or_so() {
    let site = Site::new();
    let config = "[keep_alive]\nmax_requests = 1000000\n";
    let server = Launch::of(site.root()).config(config).start();
    let mut client = server.connect();
    assert_eq!(client.get("/x.js").status, 404);
    site.write("x.js.br", brotli(b"from the form"));
    age(&site, "x.js.br", 60);
    let mut other = server.connect();
    let mut expect = |what: &str, codings: &str, body: &[u8]| {
        until(what, || {
            let response = get(&mut other, "/x.js", codings);
            response.status == 200 && decoded(&response) == body
        });
    };
    expect("the variant is found", "identity", b"from the form");
    expect("the variant is found", "br", b"from the form");
    site.replace("x.js.br", brotli(b"from another"));
    expect("the variant changes", "identity", b"from another");
    site.write("x.js.gz", gzip(b"from the new one"));
    expect("a variant is added", "gzip", b"from the new one");
    site.write("x.js", b"itself");
    expect("the file is added", "identity", b"itself");
    std::fs::remove_file(site.path("x.js")).expect("remove");
    expect("the file is removed", "identity", b"from another");
    site.directory("x.js");
    until("a directory is found", || client.get("/x.js").status == 301);
    std::fs::remove_dir(site.path("x.js")).expect("rmdir");
    for name in ["x.js.br", "x.js.gz"] {
        std::fs::remove_file(site.path(name)).expect("remove");
    }
    until("the variants are gone", || {
        client.get("/x.js").status == 404
    });
}

/// The placeholder for content that could not be decoded is never sent, and no range of it either.
#[test]
fn a_range_of_a_sidecar_that_cannot_be_decoded_is_404_or_of_another_sidecar() {
    let site = Site::new();
    let content = text(4_000);
    let short = brotli(&content);
    site.write("alone.js.br", &short[..short.len() - 1]);
    site.write("both.js.br", &short[..short.len() - 1]);
    let sound = gzip(&content);
    site.write("both.js.gz", &sound);
    let server = Server::of(site.root());
    let mut client = server.connect();
    let fields = "Accept-Encoding: br, gzip\r\nRange: bytes=0-9\r\n";
    for _ in 0..2 {
        assert_eq!(client.ask_with("GET", "/alone.js", fields).status, 404);
        let part = client.ask_with("GET", "/both.js", fields);
        assert_eq!((part.status, encoding(&part)), (206, Some("gzip")));
        assert!(part.body == sound[..10]);
    }
}
