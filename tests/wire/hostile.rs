//! Requests that break the rules, by mistake or on purpose. The server answers each with a status that
//! names the fault, closes the connection, and keeps running. There is no leniency, since a message that
//! two servers on a path parse differently allows request smuggling (RFC 9112 section 11).

use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use support::client::request;
use support::{Client, Launch, Server, Site, until};

/// The sizes of the pieces in which a request is sent.
const PIECES: [usize; 3] = [usize::MAX, 1, 7];

/// Sends `bytes` in pieces. The server may answer and close before the last piece.
fn feed(client: &mut Client, bytes: &[u8], piece: usize) {
    for piece in bytes.chunks(piece.min(bytes.len()).max(1)) {
        if client.try_send(piece).is_err() {
            return;
        }
    }
}

/// Sends `bytes` in pieces of each size. Expects one answer with `status` and an explanation, and then
/// the end of the connection.
fn expect_refusal(server: &Server, status: u16, bytes: &[u8]) {
    for piece in PIECES {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).into_owned();
        // A long request is not sent byte by byte, which would show no more than a short one does.
        let piece = if bytes.len() > 2_000 {
            piece.max(61)
        } else {
            piece
        };
        let mut client = server.connect();
        feed(&mut client, bytes, piece);
        let response = client
            .try_answer(!bytes.starts_with(b"HEAD "))
            .unwrap_or_else(|why| panic!("{shown:?} in pieces of {piece}: {why}"));
        assert_eq!(response.status, status, "{shown:?} in pieces of {piece}");
        assert!(!response.persists(), "{shown:?}");
        client.expect_end();
        // The page explains the status in a sentence.
        assert!(response.text().contains("<p>") || bytes.starts_with(b"HEAD "));
    }
}

/// A table of requests without a body, each with the expected status.
fn expect_refusals(table: &[(u16, &[u8])]) {
    let site = Site::new();
    site.write("secret/index.html", "x");
    let server = Server::of(site.root());
    for (status, bytes) in table {
        expect_refusal(&server, *status, bytes);
    }
    server.connect().expect_usable();
    let said = server.stderr();
    assert!(!said.contains("panicked"), "{said}");
}

/// RFC 9112 sections 2.2 and 3.
#[test]
fn a_malformed_request_line_is_400() {
    expect_refusals(&[
        (400, b"GET / HTTP/1.1\nHost: test\n\n"),
        (400, b"GET / HTTP/1.1\rHost: test\r\r"),
        (400, b"\nGET / HTTP/1.1\r\nHost: test\r\n\r\n"),
        (400, b"\r\rGET / HTTP/1.1\r\nHost: test\r\n\r\n"),
        (400, b" GET / HTTP/1.1\r\nHost: test\r\n\r\n"),
        (400, b"GET  / HTTP/1.1\r\nHost: test\r\n\r\n"),
        (400, b"GET /  HTTP/1.1\r\nHost: test\r\n\r\n"),
        (400, b"GET\t/ HTTP/1.1\r\nHost: test\r\n\r\n"),
        (400, b"GET / HTTP/1.1 \r\nHost: test\r\n\r\n"),
        (400, b"GET / http/1.1\r\nHost: test\r\n\r\n"),
        (400, b"GET / HTTP/11\r\nHost: test\r\n\r\n"),
        (400, b"GET / HTTP/1.10\r\nHost: test\r\n\r\n"),
        (400, b"GET / HTTP/1,1\r\nHost: test\r\n\r\n"),
        (505, b"GET / HTTP/0.9\r\n\r\n"),
        (400, b"GET / HTTP/2.0\nHost: test\r\n\r\n"),
        (400, b"GET / HTTP/2\r\nHost: test\r\n\r\n"),
        (400, b"GET /\r\n\r\n"),
        (400, b"GET HTTP/1.1\r\nHost: test\r\n\r\n"),
        (400, b"G\x00T / HTTP/1.1\r\nHost: test\r\n\r\n"),
        (400, b"(GET) / HTTP/1.1\r\nHost: test\r\n\r\n"),
        (505, b"GET / HTTP/2.0\r\nHost: test\r\n\r\n"),
        (505, b"GET / HTTP/9.9\r\nHost: test\r\n\r\n"),
        // RFC 9113 section 3.4: the preface of HTTP/2.
        (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        // A TLS ClientHello on a plain port.
        (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    ]);
}

/// RFC 9112 section 3.2; RFC 3986.
#[test]
fn a_malformed_target_is_400() {
    expect_refusals(&[
        (400, b"GET * HTTP/1.1\r\nHost: test\r\n\r\n"),
        (400, b"GET index.html HTTP/1.1\r\nHost: test\r\n\r\n"),
        (400, b"GET /\x80 HTTP/1.1\r\nHost: test\r\n\r\n"),
        (400, b"GET /\xc3\xa9 HTTP/1.1\r\nHost: test\r\n\r\n"),
        (400, b"GET /\x00 HTTP/1.1\r\nHost: test\r\n\r\n"),
        (400, b"GET /\x7f HTTP/1.1\r\nHost: test\r\n\r\n"),
        (400, b"GET /#top HTTP/1.1\r\nHost: test\r\n\r\n"),
        (
            400,
            b"GET /secret%2Findex.html HTTP/1.1\r\nHost: test\r\n\r\n",
        ),
        (
            400,
            b"GET /secret%2findex.html HTTP/1.1\r\nHost: test\r\n\r\n",
        ),
        (
            400,
            b"GET /secret%5Cindex.html HTTP/1.1\r\nHost: test\r\n\r\n",
        ),
        (
            400,
            b"GET /secret\\index.html HTTP/1.1\r\nHost: test\r\n\r\n",
        ),
        (400, b"GET /page.html%00.png HTTP/1.1\r\nHost: test\r\n\r\n"),
        (400, b"GET /%zz HTTP/1.1\r\nHost: test\r\n\r\n"),
        (400, b"GET /%4 HTTP/1.1\r\nHost: test\r\n\r\n"),
        (400, b"GET /% HTTP/1.1\r\nHost: test\r\n\r\n"),
        (400, b"GET /.. HTTP/1.1\r\nHost: test\r\n\r\n"),
        (400, b"GET /../etc/passwd HTTP/1.1\r\nHost: test\r\n\r\n"),
        (
            400,
            b"GET /a/../../etc/passwd HTTP/1.1\r\nHost: test\r\n\r\n",
        ),
        (
            400,
            b"GET /%2e%2e/etc/passwd HTTP/1.1\r\nHost: test\r\n\r\n",
        ),
        (400, b"GET /.%2E/etc/passwd HTTP/1.1\r\nHost: test\r\n\r\n"),
        (400, b"GET ftp://test/ HTTP/1.1\r\nHost: test\r\n\r\n"),
        (400, b"GET http:///x HTTP/1.1\r\nHost: test\r\n\r\n"),
        (400, b"GET http://user@test/ HTTP/1.1\r\nHost: test\r\n\r\n"),
        (400, b"GET test:80 HTTP/1.1\r\nHost: test\r\n\r\n"),
        (400, b"CONNECT / HTTP/1.1\r\nHost: test\r\n\r\n"),
    ]);
}

/// RFC 9112 section 5; RFC 9110 section 5.5.
#[test]
fn a_malformed_field_line_is_400() {
    expect_refusals(&[
        (400, b"GET / HTTP/1.1\r\nHost: test\nX: y\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: test\r\nX: a\rb\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: test\r\nX: a\x00b\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: test\r\nX: a\x7fb\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: test\r\nX: a\x1bb\r\n\r\n"),
        (
            400,
            b"GET / HTTP/1.1\r\nHost: test\r\nX: a\r\n folded\r\n\r\n",
        ),
        (400, b"GET / HTTP/1.1\r\n Host: test\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost : test\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: test\r\nX\t: y\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: test\r\n: empty\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: test\r\nno colon\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: test\r\nX(y): z\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: test\r\nX\x80: z\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: test\r\n\rX: y\r\n\r\n"),
        (400, b"HEAD / HTTP/1.1\r\nHost: test\r\nX(y): z\r\n\r\n"),
    ]);
}

/// RFC 9112 section 3.2; RFC 9110 section 7.2.
#[test]
fn a_missing_repeated_or_invalid_host_is_400() {
    expect_refusals(&[
        (400, b"GET / HTTP/1.1\r\n\r\n"),
        (400, b"GET http://test/ HTTP/1.1\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost:\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: :80\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: user@test\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: test/path\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: test:65536\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: test:port\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: ::1\r\n\r\n"),
        (400, b"GET http://other/ HTTP/1.1\r\nHost: a b\r\n\r\n"),
        (400, b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
        (400, b"GET / HTTP/1.0\r\nHost:\r\n\r\n"),
    ]);
}

/// RFC 9110 section 7.2 and RFC 3986 section 3.2.2: a host need not be a DNS name.
#[test]
fn every_valid_host_is_accepted() {
    let site = Site::new();
    let server = Server::of(site.root());
    let mut client = server.connect();
    for host in [
        "a",
        "my_host",
        "127.0.0.1:8080",
        "[::1]",
        "[::1]:80",
        "a.b.",
        "test:",
        "x:65535",
    ] {
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(client.answer().status, 200, "{host}");
    }
}

/// RFC 9112 section 6.3: the end of a body must be unambiguous.
#[test]
fn ambiguous_framing_is_400() {
    let head = |fields: &str| request("POST", "/", fields).into_bytes();
    let site = Site::new();
    let server = Server::of(site.root());
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length:\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, gzip\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: ,\r\n",
    ] {
        expect_refusal(&server, 400, &head(fields));
    }
    let old = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    expect_refusal(&server, 400, old);
}

/// RFC 9112 sections 6.1 and 6.3: an unknown coding is 501 if chunked tells where the body ends, and
/// 400 if nothing does.
#[test]
fn an_unknown_transfer_coding_is_501_if_chunked_is_the_last() {
    let site = Site::new();
    let server = Server::of(site.root());
    for coding in ["identity", "gzip", "xchunked", "x;q=\"1\""] {
        for (status, codings) in [
            (400, coding.to_owned()),
            (501, format!("{coding}, chunked")),
        ] {
            let fields = format!("Transfer-Encoding: {codings}\r\n");
            expect_refusal(&server, status, request("POST", "/", &fields).as_bytes());
        }
    }
}

/// RFC 9112 section 7.1.
#[test]
fn malformed_chunks_are_400() {
    let site = Site::new();
    let server = Server::of(site.root());
    let long = format!("5;x={}\r\nhello\r\n0\r\n\r\n", "y".repeat(1100));
    for chunks in [
        "x\r\n",
        "\r\n",
        "-1\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5;\r\nhello\r\n0\r\n\r\n",
        "5;a\x00=b\r\nhello\r\n0\r\n\r\n",
        "5;a=b\nhello\r\n0\r\n\r\n",
        "5\r\nhelloworld\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "0\r\nTrailer : x\r\n\r\n",
        "0\r\nno colon\r\n\r\n",
        "0\r\n folded: x\r\n\r\n",
        "10000000000000000\r\n",
        "fffffffffffffffff\r\n",
        &long,
    ] {
        let bytes = request("POST", "/", "Transfer-Encoding: chunked\r\n") + chunks;
        expect_refusal(&server, 400, bytes.as_bytes());
    }
    let huge = request("POST", "/", "Transfer-Encoding: chunked\r\n") + "ffffffffffffffff\r\n";
    expect_refusal(&server, 413, huge.as_bytes());
}

/// RFC 9110 section 15.5.15; RFC 6585 section 5; RFC 9112 section 3.
#[test]
fn what_is_too_long_is_414_or_431() {
    let site = Site::new();
    let server = Server::of(site.root());
    let target = |len: usize| format!("/{}", "t".repeat(len - 1));
    expect_refusal(&server, 414, request("GET", &target(8193), "").as_bytes());
    let large = format!("X: {}\r\n", "v".repeat(33_000));
    expect_refusal(&server, 431, request("GET", "/", &large).as_bytes());
    let name = format!("{}: v\r\n", "n".repeat(33_000));
    expect_refusal(&server, 431, request("GET", "/", &name).as_bytes());
    let many = "X: y\r\n".repeat(100);
    expect_refusal(&server, 431, request("GET", "/", &many).as_bytes());
    let method = request(&"M".repeat(65), "/", "");
    expect_refusal(&server, 400, method.as_bytes());
    // A request exactly at the limits is accepted.
    let mut client = server.connect();
    assert_eq!(client.get(&target(8192)).status, 404);
    let fields = "X: y\r\n".repeat(99);
    assert_eq!(client.ask_with("GET", "/", &fields).status, 200);
    let used = request("GET", "/", "X: \r\n").len();
    let full = format!("X: {}\r\n", "v".repeat(32_768 - used));
    assert_eq!(client.ask_with("GET", "/", &full).status, 200);
    assert_eq!(client.ask(&"M".repeat(64), "/").status, 501);
}

/// RFC 9110 section 9.3.6: CONNECT is valid, but not for an origin server.
#[test]
fn connect_is_405() {
    let site = Site::new();
    let server = Server::of(site.root());
    let mut client = server.connect();
    let response = client.ask("CONNECT", "example.org:443");
    assert_eq!(response.status, 405);
    assert_eq!(response.field("allow"), Some("GET, HEAD, OPTIONS"));
}

/// RFC 9112 section 8.
#[test]
fn an_end_of_stream_within_a_request_is_400_at_once() {
    let site = Site::new();
    let server = Server::of(site.root());
    for bytes in [
        "GET / HT".to_owned(),
        "GET / HTTP/1.1\r\nHost: test\r\n".to_owned(),
        request("POST", "/", "Content-Length: 5\r\n") + "hell",
        request("POST", "/", "Transfer-Encoding: chunked\r\n") + "5\r\nhe",
    ] {
        let mut client = server.connect();
        client.send(&bytes);
        client.half_close();
        assert_eq!(client.answer().status, 400, "{bytes:?}");
        client.expect_end();
    }
    // Between two requests the end of the stream is no error.
    let mut client = server.connect();
    client.expect_usable();
    client.half_close();
    client.expect_end();
}

/// RFC 9112 section 11.2: bytes of a body must not be parsed as a request.
#[test]
fn a_body_is_never_executed_as_a_request() {
    let site = Site::new();
    site.write("inner.html", "SMUGGLED");
    let server = Server::of(site.root());
    let inner = request("GET", "/inner.html", "");
    let len = inner.len();
    let chunks = format!("{len:x}\r\n{inner}\r\n0\r\n\r\n");
    let with_length = request("POST", "/", &format!("Content-Length: {len}\r\n")) + &inner;
    let chunked = request("POST", "/", "Transfer-Encoding: chunked\r\n") + &chunks;
    for bytes in [with_length, chunked] {
        for piece in PIECES {
            let mut client = server.connect();
            feed(&mut client, bytes.as_bytes(), piece);
            feed(&mut client, request("GET", "/", "").as_bytes(), piece);
            assert_eq!(client.answer().status, 405);
            assert!(client.answer().text().contains("home"));
        }
    }
    // Invalid framing ends the connection, whatever follows.
    for fields in [
        format!("Content-Length: {len}\r\nTransfer-Encoding: chunked\r\n"),
        "Content-Length: 0\r\nContent-Length: 5\r\n".to_owned(),
        "Transfer-Encoding: xchunked\r\n".to_owned(),
        "Transfer-Encoding : chunked\r\n".to_owned(),
        "Expect: 100-continue\r\nContent-Length: 5\r\n".to_owned(),
    ] {
        let mut client = server.connect();
        client.send(request("POST", "/", &fields) + &inner);
        let all = String::from_utf8_lossy(&client.rest()).into_owned();
        assert_eq!(all.matches("HTTP/1.1 ").count(), 1, "{fields}{all}");
        assert!(!all.contains("SMUGGLED"), "{fields}");
    }
}

/// Random bytes get an answer or a close, never a hang, and the server keeps running.
#[test]
fn random_bytes_never_kill_the_server() {
    let site = Site::new();
    let server = Launch::of(site.root())
        .config("[timeouts]\nhead = 1\nbody = 1\nlinger = 1\n")
        .start();
    // The seed is fixed, so that a failure can be repeated.
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let valid = request("POST", "/page.html?q", "Transfer-Encoding: chunked\r\n");
    let valid = valid + "5;a=b\r\nhello\r\n0\r\nT: x\r\n\r\n";
    for round in 0..400 {
        let mut bytes = valid.clone().into_bytes();
        if round % 2 == 0 {
            bytes.resize(1 + random.next_u32() as usize % 600, 0);
            random.fill_bytes(&mut bytes);
        } else {
            // Bytes that are nearly a request get further into the parser.
            for _ in 0..1 + round % 3 {
                let at = random.next_u32() as usize % bytes.len();
                bytes[at] = random.next_u32().to_le_bytes()[0];
            }
        }
        let mut client = server.connect();
        feed(
            &mut client,
            &bytes,
            1 + random.next_u32() as usize % bytes.len(),
        );
        client.half_close();
        let got = client.rest();
        assert!(got.is_empty() || got.starts_with(b"HTTP/1.1 "), "{bytes:?}");
    }
    server.connect().expect_usable();
    assert!(!server.stderr().contains("panicked"), "{}", server.stderr());
}

#[test]
fn connections_that_come_and_go_leave_nothing_behind() {
    let site = Site::new();
    site.sparse("large.bin", 8 * 1024 * 1024);
    let server = Server::of(site.root());
    // The large file may stay open in the cache.
    let before = server.descriptors() + 1;
    for _ in 0..10 {
        let clients: Vec<Client> = (0..200).map(|n| connect_in_state(&server, n)).collect();
        drop(clients);
    }
    until("all 2,000 are closed on both sides", || {
        server.descriptors() <= before
    });
    server.connect().expect_usable();
}

/// A client that is about to disconnect, in one of several states.
fn connect_in_state(server: &Server, n: usize) -> Client {
    let mut client = server.connect();
    match n % 5 {
        0 => {}
        1 => client.send("GET / HT"),
        2 => client.send(request("GET", "/large.bin", "")),
        3 => client.expect_usable(),
        _ => client.send(request("POST", "/", "Content-Length: 10\r\n")),
    }
    if n.is_multiple_of(2) {
        client.reset_on_drop();
    }
    client
}
