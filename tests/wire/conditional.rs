//! Validators and conditional requests (RFC 9110 sections 8.8 and 13).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use abide::config::{FieldName, HeaderRule, Statuses};
use support::{Client, InProcess, Server, Site, until};

fn get(server: &Server, target: &str) -> support::Response {
    server.connect().get(target)
}

/// RFC 9110 section 8.8.
#[test]
fn a_file_has_a_strong_etag_and_a_modification_date() {
    let site = Site::new();
    let server = Server::of(site.root());
    let response = get(&server, "/");
    let etag = response.field("etag").expect("ETag");
    assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");
    let date = |name| httpdate::parse_http_date(response.field(name).expect(name)).expect(name);
    assert!(date("last-modified") <= date("date"));
    site.replace("index.html", "another content");
    until("the new content has a new ETag", || {
        get(&server, "/").field("etag") != Some(etag)
    });
}

/// RFC 9110 section 8.8.2.1: Last-Modified is never later than Date.
#[test]
fn a_file_from_the_future_is_modified_now() {
    let site = Site::new();
    let file = std::fs::File::open(site.path("page.html")).expect("open");
    let future = SystemTime::now() + Duration::from_secs(86_400);
    file.set_modified(future).expect("utimes");
    let server = Server::of(site.root());
    let response = get(&server, "/page.html");
    let date = |name| httpdate::parse_http_date(response.field(name).expect(name)).expect(name);
    assert!(date("last-modified") <= date("date"), "{}", response.head);
}

/// RFC 9110 section 8.8.2.1: a file in memory may have been loaded before the clock was set back.
#[test]
fn last_modified_is_not_later_than_date_after_the_clock_was_set_back() {
    let site = Site::empty();
    site.write("page.html", "0123456789".repeat(100));
    site.write("large.bin", vec![b'x'; 400 * 1024]);
    let modified = UNIX_EPOCH + Duration::from_secs(support::in_process::START_UNIX_SECS - 50);
    for name in ["page.html", "large.bin"] {
        let file = std::fs::File::open(site.path(name)).expect("open");
        file.set_modified(modified).expect("utimes");
    }
    let mut config = InProcess::config(&site);
    // Response fields that a rule has edited are cached separately.
    config.site.headers.push(HeaderRule {
        path: "/large.bin".parse().expect("a pattern"),
        status: Statuses::Unspecified,
        types: Vec::new(),
        set: Vec::new(),
        unset: vec![FieldName::to_unset("Accept-Ranges").expect("a name")],
    });
    let server = InProcess::start(config);
    let mut client = server.connect();
    for target in ["/page.html", "/large.bin"] {
        assert_eq!(date(&client.get(target), "last-modified"), modified);
    }
    server.set_clock_back(100);
    for target in ["/page.html", "/large.bin", "/page.html"] {
        for (method, fields, status) in [
            ("GET", "", 200),
            ("HEAD", "", 200),
            ("GET", "Accept-Encoding: gzip\r\n", 200),
            ("GET", "Range: bytes=0-1\r\n", 206),
            ("GET", "Range: bytes=0-1,5-6\r\n", 206),
        ] {
            let answer = client.ask_with(method, target, fields);
            assert_eq!(answer.status, status, "{method} {target} {fields}");
            assert_eq!(date(&answer, "last-modified"), date(&answer, "date"));
        }
        expect_conditions_to_agree(&mut client, target);
    }
    server.pass(60_000);
    let mut client = server.connect();
    for target in ["/page.html", "/large.bin"] {
        assert_eq!(date(&client.get(target), "last-modified"), modified);
    }
}

/// Conditions compare with the Last-Modified that was sent, which lies in the current second.
fn expect_conditions_to_agree(client: &mut Client, target: &str) {
    let sent = date(&client.get(target), "last-modified");
    let before = httpdate::fmt_http_date(sent - Duration::from_secs(1));
    let sent = httpdate::fmt_http_date(sent);
    for (fields, status) in [
        (format!("If-Modified-Since: {sent}\r\n"), 304),
        (format!("If-Modified-Since: {before}\r\n"), 200),
        (format!("If-Unmodified-Since: {sent}\r\n"), 200),
        (format!("If-Unmodified-Since: {before}\r\n"), 412),
        // A date in the current second is a weak validator.
        (format!("If-Range: {sent}\r\nRange: bytes=0-1\r\n"), 200),
    ] {
        let answer = client.ask_with("GET", target, &fields);
        assert_eq!(answer.status, status, "{target} {fields}");
    }
}

fn date(response: &support::Response, name: &str) -> SystemTime {
    let value = response.field(name).expect(name);
    httpdate::parse_http_date(value).expect(name)
}

/// RFC 9110 section 13.1.2, section 15.4.5.
#[test]
fn if_none_match_answers_304_with_what_it_owes() {
    let site = Site::new();
    let server = Server::of(site.root());
    let mut client = server.connect();
    let full = client.get("/");
    let etag = full.field("etag").expect("ETag").to_owned();
    for value in [&etag, &format!("\"other\", W/{etag}"), &"*".to_owned()] {
        let fields = format!("If-None-Match: {value}\r\n");
        for method in ["GET", "HEAD"] {
            let response = client.ask_with(method, "/", &fields);
            assert_eq!(response.status, 304, "{value}");
            assert_eq!(response.field("etag"), Some(etag.as_str()));
            assert!(response.field("date").is_some());
            assert_eq!(response.field("content-type"), None);
            assert!(response.persists());
        }
    }
    let response = client.ask_with("GET", "/", "If-None-Match: \"other\"\r\n");
    assert_eq!((response.status, &response.body), (200, &full.body));
}

/// RFC 9110 sections 13.1.3 and 13.2.2: If-None-Match wins, and an invalid date is ignored.
#[test]
fn if_modified_since_answers_304() {
    let site = Site::new();
    let server = Server::of(site.root());
    let mut client = server.connect();
    let modified = client
        .get("/")
        .field("last-modified")
        .expect("Last-Modified")
        .to_owned();
    let status = |client: &mut Client, fields: &str| client.ask_with("GET", "/", fields).status;
    let since = format!("If-Modified-Since: {modified}\r\n");
    assert_eq!(status(&mut client, &since), 304);
    let past = "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    assert_eq!(status(&mut client, past), 200);
    assert_eq!(status(&mut client, "If-Modified-Since: yesterday\r\n"), 200);
    let both = format!("{since}If-None-Match: \"other\"\r\n");
    assert_eq!(status(&mut client, &both), 200);
}

/// RFC 9110 section 13.1.1, section 13.1.4.
#[test]
fn a_precondition_that_fails_is_412_and_the_connection_goes_on() {
    let site = Site::new();
    let server = Server::of(site.root());
    let mut client = server.connect();
    for fields in [
        "If-Match: \"other\"\r\n",
        "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
    ] {
        let response = client.ask_with("GET", "/", fields);
        assert_eq!(response.status, 412, "{fields}");
        assert!(response.persists());
    }
    client.expect_usable();
}
