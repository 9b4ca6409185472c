//! Valid and invalid request heads, case by case.

use super::*;
use crate::http::status::Status;

const LIMITS: HeadLimits = HeadLimits {
    target_bytes: 64,
    head_bytes: 1024,
    headers: 8,
};

/// Runs `check` on the head, which must be the whole of `text`.
fn accept(text: impl AsRef<[u8]>, check: impl FnOnce(RequestHead<'_, '_>)) {
    let text = text.as_ref();
    match parse_head(text, &LIMITS, &mut Vec::new()) {
        Ok(Parsed::Complete { head, consumed }) => {
            assert_eq!(consumed, text.len());
            check(head);
        }
        other => panic!("{}: {other:?}", text.escape_ascii()),
    }
}

/// Checks that `text` is refused with `status` at its last byte, and not before.
fn refuse(status: Status, text: impl AsRef<[u8]>) -> Reject {
    let text = text.as_ref();
    let mut spans = Vec::new();
    let before = parse_head(&text[..text.len() - 1], &LIMITS, &mut spans);
    let shown = text.escape_ascii();
    assert!(
        matches!(before, Ok(Parsed::Partial { .. })),
        "{shown}: {before:?}"
    );
    match parse_head(text, &LIMITS, &mut Vec::new()) {
        Err(reject) => {
            assert_eq!(reject.status, status, "{shown}: {}", reject.reason);
            reject
        }
        other => panic!("{shown}: {other:?}"),
    }
}

fn refuse_400(text: impl AsRef<[u8]>) {
    refuse(Status::BAD_REQUEST, text);
}

/// A head with these lines after the request line, each without its CRLF.
fn get(version: &str, lines: &[&str]) -> String {
    let mut text = format!("GET / HTTP/{version}\r\n");
    for line in lines {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text + "\r\n"
}

fn started(text: &[u8]) -> bool {
    match parse_head(text, &LIMITS, &mut Vec::new()) {
        Ok(Parsed::Partial { started, .. }) => started,
        other => panic!("{}: {other:?}", text.escape_ascii()),
    }
}

#[test]
fn a_request_is_parsed_into_its_parts_rfc9112_3() {
    let text =
        "HEAD /a?b=c HTTP/1.1\r\nHost: example.com:8080\r\nX: \t one two \t\r\nempty:\r\n\r\n";
    accept(text, |head| {
        assert_eq!(head.method, Method::Head);
        assert_eq!(head.method_token(), b"HEAD");
        assert_eq!(head.raw_target(), b"/a?b=c");
        let (path, query) = (b"/a".as_slice(), Some(b"b=c".as_slice()));
        assert_eq!(head.target, Target::Path { path, query });
        assert_eq!(head.version, Version::Http11);
        assert_eq!(head.host, Some(b"example.com:8080".as_slice()));
        assert_eq!(head.framing, Framing::None);
        assert_eq!(head.request_line, b"HEAD /a?b=c HTTP/1.1");
        assert_eq!(head.fields.first("x"), Some(b"one two".as_slice()));
        assert_eq!(head.fields.first("empty"), Some(b"".as_slice()));
        assert_eq!(head.fields.iter().count(), 3);
    });
}

#[test]
fn bytes_after_the_head_are_not_consumed_rfc9112_9_3_2() {
    let one = get("1.1", &["Host: a"]);
    let two = one.repeat(2);
    match parse_head(two.as_bytes(), &LIMITS, &mut Vec::new()) {
        Ok(Parsed::Complete { consumed, .. }) => assert_eq!(consumed, one.len()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn eight_empty_lines_before_the_request_line_are_skipped_rfc9112_2_2() {
    let request = get("1.1", &["Host: a"]);
    accept("\r\n".repeat(8) + &request, |head| {
        assert_eq!(head.request_line, b"GET / HTTP/1.1");
    });
    refuse_400("\r\n".repeat(8) + "\r");
    refuse_400("\rG");
    refuse_400("\n");
}

#[test]
fn a_request_has_started_once_a_byte_of_its_request_line_is_there() {
    assert!(!started(b""));
    assert!(!started(b"\r"));
    assert!(!started(b"\r\n\r\n"));
    assert!(started(b"\r\nG"));
    assert!(started(b"GET / HTTP/1.1\r\nHost: a\r\n"));
}

#[test]
fn the_request_line_has_exactly_two_single_spaces_rfc9112_3() {
    refuse_400(" ");
    refuse_400("GET  ");
    refuse_400("GET\t");
    refuse_400("GET / \t");
    refuse_400("GET /  ");
    refuse_400("GET / HTTP/1.1 ");
    refuse_400("GET / HTTP/1.1\n");
    refuse_400("GET / HTTP/1.1\r\r");
}

#[test]
fn http09_is_refused() {
    refuse_400("GET /\r");
    refuse_400("GET /\n");
    refuse_400("GET / \r");
}

#[test]
fn other_major_versions_are_505_rfc9110_15_6_6() {
    for text in [
        "GET / HTTP/0.0\r\n",
        "GET / HTTP/0.9\r\n",
        "GET / HTTP/2.0\r\n",
        "GET / HTTP/9.9\r\n",
        "GET nowhere HTTP/3.0\r\n",
        "PRI * HTTP/2.0\r\n",
    ] {
        refuse(Status::VERSION_NOT_SUPPORTED, text);
    }
}

#[test]
fn a_broken_request_line_is_400_whatever_its_version_rfc9112_3() {
    refuse_400("GET / HTTP/2\r");
    refuse_400("GET / HTTP/22");
    refuse_400("GET / HTTP/2.x");
    refuse_400("GET / HTTP/2.0\n");
    refuse_400("GET / HTTP/2.0 ");
    refuse_400("GET / HTTP/2.00");
    refuse_400("GET / HTTP/2.0\r\r");
    refuse_400("PRI * HTTP/2.0\n");
}

#[test]
fn later_minor_versions_are_answered_as_11_rfc9110_2_5() {
    accept(get("1.9", &["Host: a"]), |head| {
        assert_eq!(head.version, Version::Http11)
    });
    refuse_400("GET / HTTP/1.10");
    refuse_400("GET / h");
    refuse_400("GET / HTTP/1,");
    refuse_400("GET / HTTP/1.x");
    refuse_400("GET / HTTP/x");
}

#[test]
fn a_tls_client_is_refused_at_its_first_byte() {
    refuse_400(b"\x16");
}

#[test]
fn a_method_is_a_token_of_at_most_64_bytes() {
    let longest = "M".repeat(64);
    accept(format!("{longest} / HTTP/1.1\r\nHost: a\r\n\r\n"), |head| {
        assert_eq!(head.method, Method::Unknown);
    });
    refuse_400(longest + "M");
    refuse_400("GE(");
    refuse_400("GET\0");
}

#[test]
fn the_target_is_visible_ascii_without_a_fragment() {
    refuse_400("GET /#");
    refuse_400("GET /\u{7f}");
    refuse_400(b"GET /caf\xc3");
    refuse_400("GET /\0");
    accept(
        "GET /?a=\"<>[]{}|\\^`'% HTTP/1.1\r\nHost: a\r\n\r\n",
        |head| {
            let (path, query) = (b"/".as_slice(), Some(b"a=\"<>[]{}|\\^`'%".as_slice()));
            assert_eq!(head.target, Target::Path { path, query });
        },
    );
}

#[test]
fn a_target_over_the_limit_is_414_rfc9110_15_5_15() {
    let longest = format!("GET /{}", "a".repeat(LIMITS.target_bytes - 1));
    accept(format!("{longest} HTTP/1.1\r\nHost: a\r\n\r\n"), |_| {});
    refuse(Status::URI_TOO_LONG, longest + "a");
}

#[test]
fn a_head_over_the_limit_is_431_as_soon_as_it_cannot_fit() {
    let frame = get("1.1", &["Host: a", "X: "]).len();
    let fill = |bytes: usize| get("1.1", &["Host: a", &format!("X: {}", "a".repeat(bytes))]);
    accept(fill(LIMITS.head_bytes - frame), |_| {});
    let over = fill(LIMITS.head_bytes - frame + 1);
    refuse(Status::HEADER_FIELDS_TOO_LARGE, &over[..LIMITS.head_bytes]);
}

#[test]
fn more_lines_than_allowed_are_431_at_the_first_byte_too_many() {
    let lines = format!("GET / HTTP/1.0\r\n{}", "X: y\r\n".repeat(LIMITS.headers));
    accept(lines.clone() + "\r\n", |_| {});
    refuse(Status::HEADER_FIELDS_TOO_LARGE, lines + "X");
}

#[test]
fn a_refusal_knows_the_method_once_it_was_read() {
    let text = "HEAD / HTTP/1.1\r\n X";
    let reject = parse_head(text.as_bytes(), &LIMITS, &mut Vec::new()).unwrap_err();
    assert_eq!(reject.method, Some(Method::Head));
    assert_eq!(refuse(Status::BAD_REQUEST, "HEAD\t").method, None);
}

#[test]
fn broken_field_lines_are_refused_rfc9112_5() {
    let line = "GET / HTTP/1.1\r\n";
    for tail in [
        "Name ",       // space before the colon
        "Name\t",      //
        ":",           // empty name
        " ",           // folding before the first field
        "A: b\r\n ",   // obs-fold (RFC 9112 section 5.2)
        "A: b\r\n\t",  //
        "A: b\n",      // bare LF
        "A: b\rc",     // bare CR
        "A\r",         // no colon
        "A\n",         //
        "A(",          // not a token
        "A: b\0",      // NUL
        "A: b\u{7f}",  // DEL
        "A: b\u{b}",   // VT
        "\n",          // the empty line without its CR
        "A: b\r\n\rX", // the empty line without its LF
    ] {
        refuse_400(format!("{line}{tail}"));
    }
    refuse_400(b"GET / HTTP/1.1\r\nN\xe9");
}

#[test]
fn field_values_may_hold_tabs_and_high_bytes_rfc9110_5_5() {
    accept(b"GET / HTTP/1.0\r\nA: x\ty \x80\xff~\r\n\r\n", |head| {
        assert_eq!(head.fields.first("a"), Some(b"x\ty \x80\xff~".as_slice()));
    });
}

#[test]
fn http11_needs_exactly_one_host_rfc9112_3_2() {
    refuse_400(get("1.1", &[]));
    refuse_400(get("1.1", &["X: y"]));
    let twice = get("1.1", &["Host: a", "hOST: a"]);
    refuse_400(&twice[..twice.len() - 2]);
}

#[test]
fn http10_may_omit_host_but_not_break_or_repeat_it() {
    accept(get("1.0", &[]), |head| assert_eq!(head.host, None));
    for value in ["", ":80", "a,b", "a b", "u@a", "a/b", "a:65536"] {
        for version in ["1.0", "1.1"] {
            let text = get(version, &[&format!("Host: {value}")]);
            refuse_400(&text[..text.len() - 2]);
        }
    }
    let twice = get("1.0", &["Host: a", "Host: a"]);
    refuse_400(&twice[..twice.len() - 2]);
}

#[test]
fn an_absolute_form_wins_over_host_rfc9112_3_2_2() {
    accept("GET HTTP://b:81/x?y HTTP/1.1\r\nHost: a\r\n\r\n", |head| {
        assert_eq!(head.host, Some(b"b:81".as_slice()));
        let (path, query) = (b"/x".as_slice(), Some(b"y".as_slice()));
        assert_eq!(head.target, Target::Path { path, query });
    });
    refuse_400("GET http://b/ HTTP/1.1\r\n\r\n");
    refuse_400("GET http://b/ HTTP/1.1\r\nHost: a b\r\n");
}

#[test]
fn framing_errors_that_one_line_shows_come_at_that_line() {
    for line in [
        "Content-Length: +1",
        "Content-Length: 1, 1",
        "Transfer-Encoding: \"x\"",
    ] {
        let text = get("1.1", &["Host: a", line]);
        refuse_400(&text[..text.len() - 2]);
    }
    let text = get("1.0", &["Transfer-Encoding: chunked"]);
    refuse_400(&text[..text.len() - 2]);
}

#[test]
fn framing_is_decided_when_the_head_is_complete() {
    let chunked = "Transfer-Encoding: chunked";
    accept(get("1.1", &["Host: a", chunked]), |head| {
        assert_eq!(head.framing, Framing::Chunked)
    });
    accept(get("1.0", &["Content-Length: 7"]), |head| {
        assert_eq!(head.framing, Framing::Length(7));
    });
    refuse_400(get("1.1", &["Host: a", chunked, "Content-Length: 1"]));
    refuse_400(get("1.1", &["Host: a", "Transfer-Encoding: identity"]));
    refuse_400(get("1.1", &["Host: a", "Transfer-Encoding:"]));
    let codings = [
        "Host: a",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding:",
        "Transfer-Encoding: chunked",
    ];
    refuse(Status::NOT_IMPLEMENTED, get("1.1", &codings));
}

#[test]
fn an_https_target_needs_a_secure_connection_rfc9110_7_4() {
    let https =
        |version: &str, lines: &[&str]| get(version, lines).replacen("GET /", "GET https://b/", 1);
    for head in [https("1.1", &["Host: b"]), https("1.0", &[])] {
        accept(&head, |head| {
            assert!(head.is_misdirected(Scheme::Http));
            assert!(!head.is_misdirected(Scheme::Https));
        });
    }
    refuse(Status::VERSION_NOT_SUPPORTED, "GET https://b/ HTTP/2.0\r\n");
    refuse_400(https("1.1", &[]));
    refuse_400(https(
        "1.1",
        &["Host: b", "Content-Length: 1", "Transfer-Encoding: chunked"],
    ));
    refuse_400(https("1.1", &["Host: b", "Transfer-Encoding: gzip"]));
    for lines in [
        ["Host: b", "Host: b"],
        ["X: y", "Host: b c"],
        ["Host: b", "Content-Length: x"],
    ] {
        let text = https("1.1", &lines);
        refuse_400(&text[..text.len() - 2]);
    }
    refuse_400("GET https://b/ HTTP/1.1\r\nHost: b\r\nX ");
    refuse_400("OPTIONS https://b HTTP/1.1\r\n\r\n");
}

#[test]
fn connection_options_are_collected_over_lines_and_without_case_rfc9110_7_6_1() {
    let options = |lines: &[&str]| {
        let mut found = ConnectionOptions::default();
        accept(get("1.0", lines), |head| found = head.connection);
        (found.close, found.keep_alive)
    };
    assert_eq!(options(&[]), (false, false));
    assert_eq!(options(&["Connection: Keep-Alive"]), (false, true));
    assert_eq!(options(&["Connection: upgrade, CLOSE"]), (true, false));
    assert_eq!(
        options(&["Connection: close", "Connection: ,keep-alive"]),
        (true, true)
    );
    assert_eq!(
        options(&["Connection: closed, keep-alive-x"]),
        (false, false)
    );
}

#[test]
fn expectations_are_distinguished_rfc9110_10_1_1() {
    let expect = |version, value: &str| {
        let mut found = Expectation::None;
        let line = format!("Expect: {value}");
        accept(get(version, &["Host: a", &line]), |head| {
            found = head.expect
        });
        found
    };
    assert_eq!(expect("1.1", "100-Continue"), Expectation::Continue);
    assert_eq!(expect("1.0", "100-continue"), Expectation::None);
    assert_eq!(expect("1.1", ""), Expectation::None);
    assert_eq!(expect("1.1", "a, 100-continue"), Expectation::Other);
    assert_eq!(expect("1.1", "100-continue, a"), Expectation::Other);
    assert_eq!(expect("1.1", "100-continue;a=b"), Expectation::Other);
}

#[test]
fn signs_of_a_proxy_are_noticed() {
    accept(
        get("1.0", &["Via: 1.0 old", "Proxy-Connection: keep-alive"]),
        |head| {
            assert!(head.via && head.proxy_connection);
            assert!(!head.connection.keep_alive);
        },
    );
}

#[test]
fn connect_has_an_authority_as_its_target_rfc9112_3_2_3() {
    accept("CONNECT b:443 HTTP/1.1\r\nHost: a\r\n\r\n", |head| {
        assert_eq!(head.method, Method::Connect);
        assert_eq!(head.target, Target::Authority(b"b:443"));
        assert_eq!(head.host, Some(b"b:443".as_slice()));
    });
    refuse_400("CONNECT / HTTP/1.1\r\n");
}

#[test]
fn spans_are_reused_from_call_to_call() {
    let mut spans = Vec::new();
    for lines in [&["A: b", "C: d"][..], &["E: f"]] {
        let text = get("1.0", lines);
        match parse_head(text.as_bytes(), &LIMITS, &mut spans) {
            Ok(Parsed::Complete { head, .. }) => {
                assert_eq!(head.fields.iter().count(), lines.len())
            }
            other => panic!("{other:?}"),
        }
    }
}
