//! Validators of files whose modification time is unusable or ambiguous (RFC 9110 section 8.8).

use std::fs::File;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use support::{Launch, Server, Site, until};

const LONG_AGO: &str = "Mon, 04 Jan 2010 00:00:00 GMT";
const IN_2038: &str = "Fri, 01 Jan 2038 00:00:00 GMT";

fn set_time(site: &Site, name: &str, time: SystemTime) {
    let file = File::options().write(true).open(site.path(name));
    file.and_then(|file| file.set_modified(time))
        .expect("utimes");
}

fn seconds(secs: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(secs)
}

/// Overwrites a file in place and restores its time, as a build with fixed times does.
fn rewrite(site: &Site, name: &str, content: &str, secs: u64) {
    site.write(name, content);
    set_time(site, name, seconds(secs));
}

#[test]
fn with_tags_of_the_content_no_time_is_used() {
    let site = Site::new();
    rewrite(&site, "a.txt", "first state", 1_262_563_200);
    let server = Launch::of(site.root())
        .config("etag = \"content\"\n")
        .start();
    let mut client = server.connect();
    let first = client.get("/a.txt");
    assert_eq!(first.field("last-modified"), None);
    rewrite(&site, "a.txt", "other state", 1_262_563_200);
    until("the change is seen", || {
        client.get("/a.txt").text() == "other state"
    });
    let since = format!("If-Modified-Since: {LONG_AGO}\r\n");
    let whole = client.ask_with("GET", "/a.txt", &since);
    assert_eq!((whole.status, whole.text()), (200, "other state"));
    let unmodified = "If-Unmodified-Since: Sun, 04 Jan 2009 00:00:00 GMT\r\n";
    assert_eq!(client.ask_with("GET", "/a.txt", unmodified).status, 200);
    let range = format!("Range: bytes=0-4\r\nIf-Range: {LONG_AGO}\r\n");
    let whole = client.ask_with("GET", "/a.txt", &range);
    assert_eq!((whole.status, whole.text()), (200, "other state"));
    let etag = whole.field("etag").expect("a tag").to_owned();
    assert_ne!(Some(&*etag), first.field("etag"));
    let range = format!("Range: bytes=0-4\r\nIf-Range: {etag}\r\n");
    let part = client.ask_with("GET", "/a.txt", &range);
    assert_eq!((part.status, part.text()), (206, "other"));
}

#[test]
fn a_time_that_is_none_is_not_said_and_the_tag_tells_two_builds_apart() {
    let site = Site::new();
    rewrite(&site, "a.txt", "build one", 1);
    let server = Server::of(site.root());
    let mut client = server.connect();
    let first = client.get("/a.txt");
    assert_eq!(first.field("last-modified"), None);
    let etag = first.field("etag").expect("a tag").to_owned();
    let same = format!("If-None-Match: {etag}\r\n");
    assert_eq!(client.ask_with("GET", "/a.txt", &same).status, 304);
    let since = format!("If-Modified-Since: {IN_2038}\r\n");
    assert_eq!(client.ask_with("GET", "/a.txt", &since).status, 200);
    rewrite(&site, "a.txt", "build two", 1);
    until("the other build is served", || {
        let response = client.ask_with("GET", "/a.txt", &same);
        response.status == 200 && response.text() == "build two"
    });
}

/// With a tag of size and time alone the client would keep the first version for ever.
#[test]
fn two_writes_in_one_whole_second_are_told_apart_in_the_end() {
    let site = Site::new();
    let server = Server::of(site.root());
    let mut client = server.connect();
    // The write and the request fall into one second, which has just begun. If the machine is too busy
    // for that, the next second is tried.
    let (second, etag) = loop {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let second = now.expect("after 1970").as_secs() + 1;
        until("the second begins", || SystemTime::now() >= seconds(second));
        rewrite(&site, "a.txt", "one", second);
        let first = client.get("/a.txt");
        let etag = first.field("etag").expect("a tag").to_owned();
        if SystemTime::now() < seconds(second + 1) {
            break (second, etag);
        }
    };
    assert!(etag.starts_with("W/"), "{etag}");
    let part = format!("Range: bytes=0-0\r\nIf-Range: {etag}\r\n");
    assert_eq!(client.ask_with("GET", "/a.txt", &part).status, 200);
    rewrite(&site, "a.txt", "two", second);
    let same = format!("If-None-Match: {etag}\r\n");
    until("the second write is served", || {
        let response = client.ask_with("GET", "/a.txt", &same);
        response.status == 200 && response.text() == "two"
    });
    until("the tag is strong", || {
        let response = client.get("/a.txt");
        response
            .field("etag")
            .is_some_and(|etag| !etag.starts_with("W/"))
    });
}

/// Regression: files with a time in the future were read and compressed again at each check.
#[test]
fn a_time_in_the_future_costs_no_more_than_another() {
    let site = Site::new();
    let large = "line of a large file\n".repeat(10_000_000 / 21);
    site.write("future.txt", &large);
    set_time(
        &site,
        "future.txt",
        SystemTime::now() + Duration::from_secs(1 << 30),
    );
    let config = "[cache]\nrevalidate = 0\nfile_bytes = 20000000\n";
    let server = Launch::of(site.root()).config(config).start();
    let mut client = server.connect();
    // Soon after the last change of the inode, each check may read the file again.
    until("the file is not read again", || {
        let before = server.cpu_ticks();
        for _ in 0..50 {
            assert_eq!(client.ask("HEAD", "/future.txt").status, 200);
        }
        server.cpu_ticks() - before <= 5
    });
    let response = client.ask("HEAD", "/future.txt");
    assert_eq!(response.length(), Some(large.len() as u64));
    let date = |name| {
        let value = response.field(name).expect("a date");
        httpdate::parse_http_date(value).expect("an HTTP-date")
    };
    assert!(date("last-modified") <= date("date"));
}
