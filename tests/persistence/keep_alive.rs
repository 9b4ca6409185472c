//! Which connections persist after an answer, what is advertised, and the order of answers.

use std::fmt::Write;

use support::{Launch, Response, Server, Site, pattern};

const TWENTY: &str = "[keep_alive]\ntimeout = 7\nmax_requests = 20\n";

fn request(version: &str, fields: &str) -> String {
    format!("GET / HTTP/{version}\r\nHost: test\r\n{fields}\r\n")
}

/// The answer to one request on a connection of its own. Checks that the connection persists or ends as the
/// answer declares.
fn first_answer(server: &Server, version: &str, fields: &str) -> Response {
    let mut client = server.connect();
    client.send(request(version, fields));
    let response = client.answer();
    assert_eq!(response.status, 200);
    if response.persists() {
        client.expect_usable();
    } else {
        client.expect_end();
    }
    response
}

// The advertised hint.

/// RFC 9112 section 9.3: the connection persists. By design, M counts down to 1, then comes `close`.
#[test]
fn max_counts_down_to_one_and_the_last_answer_closes() {
    let site = Site::new();
    let server = Launch::of(site.root()).config(TWENTY).start();
    let mut client = server.connect();
    for max in (1..20).rev() {
        let response = client.get("/");
        assert_eq!(response.hint(), (7, max));
    }
    let last = client.get("/");
    assert_eq!(last.status, 200);
    assert_eq!(last.field("connection"), Some("close"));
    assert_eq!(last.field("keep-alive"), None);
    client.expect_end();
}

#[test]
fn the_flags_set_what_is_advertised() {
    let site = Site::new();
    let server = Launch::of(site.root())
        .args(&["--keep-alive-timeout", "33", "--max-requests", "3"])
        .start();
    assert_eq!(server.connect().get("/").hint(), (33, 2));
}

#[test]
fn one_request_per_connection_is_never_max_0() {
    let site = Site::new();
    let server = Launch::of(site.root())
        .args(&["--max-requests", "1"])
        .start();
    assert!(!first_answer(&server, "1.1", "").persists());
}

#[test]
fn the_largest_max_fits_a_signed_integer() {
    let site = Site::new();
    let server = Launch::of(site.root())
        .args(&["--max-requests", "2147483647"])
        .start();
    assert_eq!(server.connect().get("/").hint(), (120, 2_147_483_646));
}

/// The hint does not depend on what the client sends about keep-alive; numbers that it sends are not used.
#[test]
fn every_persistent_answer_carries_the_hint_whatever_the_client_sent() {
    let site = Site::new();
    let server = Launch::of(site.root()).config(TWENTY).start();
    for fields in [
        "",
        "Connection: keep-alive\r\n",
        "Connection: Keep-Alive\r\nKeep-Alive: timeout=600, max=5000\r\n",
        "Keep-Alive: max=1\r\n",
        "Connection: keep-alive, x-other\r\n",
        "Connection: upgrade\r\nUpgrade: h2c\r\n",
        "Connection: te\r\nTE: trailers\r\n",
        "Connection:\r\n",
        "Connection: closed\r\n",
        "Connection: not-close\r\n",
        "Proxy-Connection: close\r\n",
        "Via: 1.1 proxy\r\n",
    ] {
        let response = first_answer(&server, "1.1", fields);
        assert_eq!(response.hint(), (7, 19), "{fields}");
    }
}

/// RFC 9112 section 9.3: a higher minor version is answered as 1.1 (RFC 9110 section 2.5).
#[test]
fn a_higher_minor_version_persists_like_1_1() {
    let site = Site::new();
    let server = Server::of(site.root());
    assert!(first_answer(&server, "1.2", "").persists());
}

// The end of a connection.

/// RFC 9112 section 9.6; RFC 9110 section 7.6.1: options are case-insensitive members of a list.
#[test]
fn close_is_honoured_in_every_spelling() {
    let site = Site::new();
    let server = Server::of(site.root());
    for fields in [
        "Connection: close\r\n",
        "connection:CLOSE\r\n",
        "Connection: keep-alive, close\r\n",
        "Connection: , x ,\tclose ,\r\n",
        "Connection: keep-alive\r\nConnection: close\r\n",
    ] {
        assert!(!first_answer(&server, "1.1", fields).persists(), "{fields}");
    }
}

/// RFC 9112 section 9.6: requests after one with `close` are not answered.
#[test]
fn nothing_after_a_close_is_answered() {
    let site = Site::new();
    let server = Server::of(site.root());
    let mut client = server.connect();
    let closing = request("1.1", "Connection: close\r\n");
    client.send([closing, request("1.1", ""), request("1.1", "")].concat());
    assert!(!client.answer().persists());
    client.expect_end();
}

/// RFC 9112 section 9.3 and appendix C.2.2: HTTP/1.0 persists by token only.
#[test]
fn http_1_0_persists_only_if_it_asks() {
    let site = Site::new();
    let server = Server::of(site.root());
    assert!(!first_answer(&server, "1.0", "").persists());
    assert!(!first_answer(&server, "1.0", "Keep-Alive: timeout=5\r\n").persists());
    let asked = first_answer(&server, "1.0", "Connection: Keep-Alive\r\n");
    assert_eq!(asked.hint(), (120, 999));
    let both = "Connection: keep-alive, close\r\n";
    assert!(!first_answer(&server, "1.0", both).persists());
}

/// RFC 9112 appendix C.2.2: an old proxy may have forwarded the token without understanding it.
#[test]
fn http_1_0_through_a_proxy_is_answered_and_closed() {
    let site = Site::new();
    let server = Server::of(site.root());
    for fields in ["Via: 1.0 old\r\n", "Proxy-Connection: keep-alive\r\n"] {
        let fields = format!("Connection: keep-alive\r\n{fields}");
        assert!(!first_answer(&server, "1.0", &fields).persists());
    }
}

#[test]
fn http10_false_closes_every_http_1_0_connection() {
    let site = Site::new();
    let server = Launch::of(site.root())
        .config("[keep_alive]\nhttp10 = false\n")
        .start();
    assert!(!first_answer(&server, "1.0", "Connection: keep-alive\r\n").persists());
    assert!(first_answer(&server, "1.1", "").persists());
}

/// RFC 9112 section 3.2: HTTP/1.0 may omit Host.
#[test]
fn http_1_0_needs_no_host() {
    let site = Site::new();
    let server = Server::of(site.root());
    let mut client = server.connect();
    client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert!(client.answer().persists());
    client.expect_usable();
}

#[test]
fn errors_that_were_understood_keep_the_connection() {
    let site = Site::new();
    let server = Launch::of(site.root()).config(TWENTY).start();
    let mut client = server.connect();
    assert_eq!(client.get("/missing").hint(), (7, 19));
    assert_eq!(client.ask("DELETE", "/").hint(), (7, 18));
    assert_eq!(
        client.ask_with("GET", "/", "If-None-Match: *\r\n").hint(),
        (7, 17)
    );
    assert_eq!(client.ask("HEAD", "/missing").hint(), (7, 16));
    client.expect_usable();
}

/// RFC 9112 section 9.6: a client that has closed its sending side still gets its answers.
#[test]
fn a_client_that_half_closes_is_answered() {
    let site = Site::new();
    site.sparse("large.bin", 8 * 1024 * 1024);
    let server = Server::of(site.root());
    for target in ["/", "/large.bin"] {
        let mut client = server.connect();
        client.send(support::client::request("GET", target, ""));
        client.half_close();
        assert_eq!(client.answer().status, 200);
        client.expect_end();
    }
}

/// More requests than one turn answers, and the FIN on the same edge.
#[test]
fn many_pipelined_requests_and_a_half_close_are_all_answered() {
    let site = Site::new();
    let server = Server::of(site.root());
    let mut client = server.connect();
    client.send(request("1.1", "").repeat(200));
    client.half_close();
    for _ in 0..200 {
        assert_eq!(client.answer().status, 200);
    }
    client.expect_end();
}

// Pipelining, RFC 9112 section 9.3.2.

/// A few hundred requests in one write: small and large, found and not, answered in the order of sending.
#[test]
fn pipelined_requests_are_answered_in_order() {
    let site = Site::new();
    let lengths = [0, 1, 8191, 8193, 70_000, 262_145];
    lengths
        .iter()
        .for_each(|len| site.write(&format!("{len}"), pattern(*len)));
    let server = Server::of(site.root());
    let mut client = server.connect();
    let mut requests = String::new();
    for n in 0..240 {
        let len = lengths[n % lengths.len()];
        let (method, name) = match n % 7 {
            3 => ("HEAD", len.to_string()),
            5 => ("GET", format!("missing-{n}")),
            6 => ("POST", len.to_string()),
            _ => ("GET", len.to_string()),
        };
        write!(requests, "{method} /{name} HTTP/1.1\r\nHost: test\r\n\r\n").expect("a string");
    }
    client.send(requests);
    for n in 0..240 {
        let len = lengths[n % lengths.len()];
        let response = match n % 7 {
            3 => client.answer_to_head(),
            _ => client.answer(),
        };
        assert_eq!(response.hint().1, 999 - n as u32, "answer {n}");
        match n % 7 {
            3 => assert_eq!(response.length(), Some(len as u64), "answer {n}"),
            5 => assert_eq!(response.status, 404, "answer {n}"),
            6 => assert_eq!(response.status, 405, "answer {n}"),
            _ => assert!(response.body == pattern(len), "answer {n}"),
        }
    }
    client.expect_usable();
}

/// The answers to all requests of one read are sent with one send.
#[test]
fn answers_to_one_read_leave_in_one_flush() {
    let site = Site::new();
    let server = Server::of(site.root());
    let mut client = server.connect();
    client.send(request("1.1", "").repeat(20));
    let first = String::from_utf8(client.receive_once()).expect("text");
    assert_eq!(first.matches("HTTP/1.1 200 OK\r\n").count(), 20);
}

/// RFC 9112 section 9.6: no reset may destroy the last answer.
#[test]
fn requests_past_the_maximum_do_not_harm_the_last_answer() {
    let site = Site::new();
    site.write("large.bin", pattern(3_000_000));
    let server = Launch::of(site.root())
        .args(&["--max-requests", "3"])
        .start();
    for target in ["/", "/large.bin"] {
        let mut client = server.connect();
        client.send(support::client::request("GET", target, "").repeat(5_000));
        for left in [true, true, false] {
            let response = client.answer();
            assert_eq!((response.status, response.persists()), (200, left));
        }
        client.expect_end();
    }
}

/// The way in which a request is cut makes no difference.
#[test]
fn a_request_that_comes_byte_by_byte_is_answered_once() {
    let site = Site::new();
    let server = Server::of(site.root());
    let mut client = server.connect();
    let whole = request("1.1", "X-Some: thing\r\n");
    for _ in 0..3 {
        for byte in whole.as_bytes() {
            client.send([*byte]);
        }
        assert_eq!(client.answer().status, 200);
    }
    client.expect_usable();
}

/// RFC 9112 section 2.2: empty lines before a request line are ignored.
#[test]
fn a_few_empty_lines_between_requests_do_no_harm() {
    let site = Site::new();
    let server = Server::of(site.root());
    let mut client = server.connect();
    for _ in 0..3 {
        client.send("\r\n\r\n\r\n\r\n");
        client.expect_usable();
    }
    client.send(["\r\n".repeat(8), request("1.1", "")].concat());
    assert_eq!(client.answer().status, 200);
    client.send("\r\n".repeat(9));
    assert_eq!(client.answer().status, 400);
    client.expect_end();
}

// Bodies, RFC 9112 section 6.3.

#[test]
fn a_body_is_read_and_thrown_away_and_the_next_request_answered() {
    let site = Site::new();
    let server = Server::of(site.root());
    let mut client = server.connect();
    let large = "x".repeat(300_000);
    for body in ["", "x", "GET / HTTP/1.1\r\n\r\n", &large] {
        for method in ["POST", "GET", "PUT"] {
            let len = body.len();
            client.send(format!(
                "{method} / HTTP/1.1\r\nHost: test\r\nContent-Length: {len}\r\n\r\n{body}"
            ));
            let status = if method == "GET" { 200 } else { 405 };
            assert_eq!(client.answer().status, status);
        }
    }
    client.expect_usable();
}

/// RFC 9112 section 7.1: chunks, extensions and trailers.
#[test]
fn a_chunked_body_is_read_and_thrown_away() {
    let site = Site::new();
    let server = Server::of(site.root());
    let mut client = server.connect();
    for chunks in [
        "0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        "00A;name=value;q=\"a;\\\"b\"\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n",
        "12\r\nGET / HTTP/1.1\r\n\r\n\r\n0\r\n\r\n",
    ] {
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
        ));
        assert_eq!(client.answer().status, 405, "{chunks}");
    }
    client.expect_usable();
}

/// RFC 9110 section 10.1.1: only a client whose body is wanted gets 100.
#[test]
fn an_expectation_of_100_is_met_or_answered_finally() {
    let site = Site::new();
    let server = Server::of(site.root());
    let expecting = "Expect: 100-continue\r\nContent-Length: 5\r\n";
    let mut client = server.connect();
    client.send(support::client::request("GET", "/", expecting));
    assert_eq!(client.answer().status, 100);
    client.send("hello");
    assert_eq!(client.answer().status, 200);
    client.expect_usable();
    let mut client = server.connect();
    let refused = client.ask_with("POST", "/", expecting);
    assert_eq!(refused.status, 405, "at once: the body is not waited for");
    assert!(!refused.persists());
    client.expect_end();
}

/// RFC 9110 section 10.1.1: an HTTP/1.0 client must not be sent 100.
#[test]
fn an_expectation_in_http_1_0_is_ignored() {
    let site = Site::new();
    let server = Server::of(site.root());
    let mut client = server.connect();
    client.send(request(
        "1.0",
        "Expect: 100-continue\r\nContent-Length: 2\r\n",
    ));
    client.send("hi");
    assert_eq!(client.answer().status, 200);
}

#[test]
fn another_expectation_is_417() {
    let site = Site::new();
    let server = Server::of(site.root());
    let mut client = server.connect();
    let response = client.ask_with("GET", "/", "Expect: 200-ok\r\n");
    assert_eq!(response.status, 417);
    client.expect_end();
}

// Beyond HTTP: TCP's own probes.

/// RFC 9293 section 3.8.4: the kernel's table of sockets shows a keep-alive timer, type 02.
#[test]
fn accepted_sockets_are_probed() {
    let site = Site::new();
    let server = Server::of(site.root());
    let mut client = server.connect();
    client.expect_usable();
    let (ours, theirs) = (server.address().port(), client.address().port());
    let is_probed = || {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp");
        table.lines().any(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            columns.len() > 5
                && columns[1].ends_with(&format!(":{ours:04X}"))
                && columns[2].ends_with(&format!(":{theirs:04X}"))
                && columns[5].starts_with("02:")
        })
    };
    support::until("the connection has a keep-alive timer", is_probed);
}
