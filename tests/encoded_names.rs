//! Files whose names carry a content coding: `[encodings]`, and files that are there in an encoded form
//! only.

mod support;

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

/// Makes a file look as if it had been written `secs` ago.
fn age(site: &Site, name: &str, secs: u64) {
    let file = File::options().write(true).open(site.path(name));
    let modified = SystemTime::now() - Duration::from_secs(secs);
    file.and_then(|file| file.set_modified(modified))
        .expect("utimes");
}

/// Browsers ask for such a picture by its name, and show it only with its coding.
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
            assert_eq!(response.field("vary"), None, "there is no other form");
            assert!(response.body == encoded);
        }
    }
    let config = "[encodings]\nsvgz = \"\"\n";
    let server = Launch::of(site.root()).config(config).start();
    let response = get(&mut server.connect(), "/logo.svgz", "gzip");
    assert_eq!(encoding(&response), None);
    assert!(response.body == encoded);
}

/// Sites made with Unity or Godot ask for their files by these very names.
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
