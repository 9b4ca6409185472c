//! Ranges of encoded variants: all requests of one download get the bytes of one variant.

use support::{
    Client, InProcess, Launch, Response, Server, Site, accepting, encoding, gzip, text, until,
};

const CODINGS: [&str; 3] = ["br", "zstd", "gzip"];

fn etag(response: &Response) -> String {
    response.field("etag").expect("ETag").to_owned()
}

/// A GET of a range of `target`, with further fields.
fn part(client: &mut Client, target: &str, range: &str, codings: &str, fields: &str) -> Response {
    let fields = format!("Range: bytes={range}\r\n{}{fields}", accepting(codings));
    client.ask_with("GET", target, &fields)
}

/// Checks that `part` is `range` of `full`, with its coding and its tag.
fn check_part(part: &Response, full: &Response, range: std::ops::Range<usize>) {
    assert_eq!(part.status, 206, "{}", part.head);
    assert_eq!(encoding(part), encoding(full));
    assert_eq!(etag(part), etag(full));
    assert_eq!(part.field("vary"), Some("Accept-Encoding"));
    let (last, length) = (range.end - 1, full.body.len());
    let expected = format!("bytes {}-{last}/{length}", range.start);
    assert_eq!(part.field("content-range"), Some(expected.as_str()));
    assert!(part.body == full.body[range]);
}

/// RFC 9110 sections 14.2 and 13.1.5.
#[test]
fn a_range_is_of_the_file_itself_unless_if_range_names_a_variant_that_is_made() {
    let site = Site::new();
    site.write("list.html", text(4_000));
    let server = Server::of(site.root());
    let mut client = server.connect();
    let itself = client.get("/list.html");
    for coding in CODINGS {
        let full = client.ask_with("GET", "/list.html", &accepting(coding));
        assert_eq!(encoding(&full), Some(coding));
        let mut ask = |fields: &str| part(&mut client, "/list.html", "10-29", coding, fields);
        check_part(&ask(""), &itself, 10..30);
        let date = itself.field("last-modified").expect("Last-Modified");
        for condition in [
            format!("If-Range: {}\r\n", etag(&itself)),
            format!("If-Match: {}\r\n", etag(&itself)),
            "If-Match: *\r\n".to_owned(),
            format!("If-Unmodified-Since: {date}\r\n"),
        ] {
            check_part(&ask(&condition), &itself, 10..30);
        }
        check_part(
            &ask(&format!("If-Range: {}\r\n", etag(&full))),
            &full,
            10..30,
        );
        check_part(
            &ask(&format!("If-Match: {}\r\n", etag(&full))),
            &full,
            10..30,
        );
        // The condition does not match: the client gets the whole of the variant that it prefers.
        for tag in [
            "\"other\"",
            &format!("W/{}", etag(&full)),
            "\"a\", \"b\"",
            "x",
        ] {
            let whole = ask(&format!("If-Range: {tag}\r\n"));
            assert_eq!(
                (whole.status, encoding(&whole)),
                (200, Some(coding)),
                "{tag}"
            );
            assert!(whole.body == full.body && etag(&whole) == etag(&full));
        }
        assert_eq!(ask("If-Match: \"other\"\r\n").status, 412);
    }
    // A variant that the client does not accept is not sent, even if If-Range names it.
    let gzip = client.ask_with("GET", "/list.html", &accepting("gzip"));
    let condition = format!("If-Range: {}\r\n", etag(&gzip));
    let whole = part(&mut client, "/list.html", "10-29", "br", &condition);
    assert_eq!((whole.status, encoding(&whole)), (200, Some("br")));
    let head = format!("Range: bytes=10-29\r\n{}", accepting("gzip"));
    let head = client.ask_with("HEAD", "/list.html", &head);
    assert_eq!((head.status, head.length()), (200, gzip.length()));
}

/// RFC 9110 section 14.6: the multipart body is not encoded, its parts are.
#[test]
fn several_ranges_say_in_each_part_what_it_is_encoded_in() {
    let site = Site::new();
    site.write("list.html", text(4_000));
    let server = Server::of(site.root());
    let mut client = server.connect();
    let full = client.ask_with("GET", "/list.html", &accepting("gzip"));
    let condition = format!("If-Range: {}\r\n", etag(&full));
    for (fields, encoded) in [("", 0), (condition.as_str(), 2)] {
        let response = part(&mut client, "/list.html", "0-9, 20-29", "gzip", fields);
        assert_eq!((response.status, encoding(&response)), (206, None));
        let body = String::from_utf8_lossy(&response.body);
        let lines = body.matches("\r\nContent-Encoding: gzip\r\n").count();
        assert_eq!(lines, encoded, "{fields}");
        assert_eq!(body.matches("\r\nContent-Range: ").count(), 2);
    }
}

/// A download is cut off while its file is being compressed.
#[test]
fn a_download_goes_on_in_the_variant_that_it_began_with() {
    let site = Site::new();
    let content = text(200_000);
    site.write("large.html", &content);
    let server = InProcess::start(InProcess::config(&site));
    let mut client = server.connect();
    let first = client.ask_with("GET", "/large.html", &accepting("gzip"));
    assert_eq!(encoding(&first), None);
    until("the file is compressed", || {
        let response = client.ask_with("GET", "/large.html", &accepting("gzip"));
        encoding(&response).is_some()
    });
    let later = client.ask_with("GET", "/large.html", &accepting("gzip"));
    // With a tag, and without a condition.
    for condition in [format!("If-Range: {}\r\n", etag(&first)), String::new()] {
        let mut ask = |range: &str| part(&mut client, "/large.html", range, "gzip", &condition);
        check_part(&ask("0-99999"), &first, 0..100_000);
        check_part(&ask("100000-"), &first, 100_000..200_000);
    }
    let condition = format!("If-Range: {}\r\n", etag(&later));
    let rest = part(&mut client, "/large.html", "1000-", "gzip", &condition);
    check_part(&rest, &later, 1_000..later.body.len());
}

/// After a restart no variant is in memory, and the tag of one still names it.
#[test]
fn a_variant_that_is_named_is_made_again() {
    let site = Site::new();
    site.write("list.html", text(20_000));
    let ask = |fields: &str| {
        let server = Server::of(site.root());
        let fields = format!("{}{fields}", accepting("br"));
        server.connect().ask_with("GET", "/list.html", &fields)
    };
    let full = ask("");
    assert_eq!(encoding(&full), Some("br"));
    let condition = format!("If-Range: {}\r\nRange: bytes=100-\r\n", etag(&full));
    check_part(&ask(&condition), &full, 100..full.body.len());
}

#[test]
fn what_lies_beside_a_file_has_ranges_of_its_own() {
    let site = Site::new();
    let content = text(4_000);
    site.write("app.js", &content);
    site.write("app.js.gz", gzip(&content));
    for config in ["", "compress = false\n", "[cache]\nbytes = 0\n"] {
        let server = Launch::of(site.root()).config(config).start();
        let mut client = server.connect();
        let itself = client.get("/app.js");
        let beside = client.ask_with("GET", "/app.js", &accepting("gzip"));
        assert!(beside.body == gzip(&content), "{config}");
        // A better variant could be made, but this one is a sidecar, which lasts.
        for codings in ["gzip", "br, gzip"] {
            let mut ask = |fields: &str| part(&mut client, "/app.js", "5-99", codings, fields);
            check_part(&ask(""), &beside, 5..100);
            check_part(
                &ask(&format!("If-Range: {}\r\n", etag(&beside))),
                &beside,
                5..100,
            );
            check_part(
                &ask(&format!("If-Range: {}\r\n", etag(&itself))),
                &itself,
                5..100,
            );
            assert_eq!(ask("If-Range: \"other\"\r\n").status, 200);
        }
        let plain = part(&mut client, "/app.js", "5-99", "identity", "");
        check_part(&plain, &itself, 5..100);
    }
}
