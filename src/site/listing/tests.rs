//! Requests for directories.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use super::*;
use crate::clock::Millis;
use crate::http::request::sample::with_head;

const NOW: Now = Now {
    monotonic: Millis(0),
    unix_secs: 1_800_000_000,
};

struct Directory {
    files: tempfile::TempDir,
    listings: Listings,
}

impl Directory {
    fn with(names: &[&str]) -> Directory {
        let files = tempfile::tempdir().expect("temporary directory");
        for name in names {
            fs::write(files.path().join(name), name).expect("write");
        }
        Directory {
            files,
            listings: Listings::new(false),
        }
    }

    fn ask(&self, query: &str, lines: &[(&str, &str)]) -> Result<Response, OpenError> {
        let root = File::open(self.files.path()).expect("open the root");
        with_head(lines, |head| {
            self.listings.respond(
                root.as_fd(),
                &Resolver::new(),
                b"/",
                Some(query.as_bytes()),
                head,
                NOW,
            )
        })
    }
}

fn fields(response: &Response) -> String {
    String::from_utf8(response.fields.to_vec()).expect("ASCII")
}

fn content(response: &Response) -> String {
    let Body::Memory(content) = &response.body else {
        panic!("a listing is in memory")
    };
    assert_eq!(response.length, Some(content.len() as u64));
    String::from_utf8(content.to_vec()).expect("UTF-8")
}

#[test]
fn people_get_a_page_and_programs_get_json() {
    let directory = Directory::with(&["one", "two"]);
    let page = directory.ask("", &[]).expect("200");
    assert_eq!(page.status, Status::OK);
    assert!(fields(&page).contains("Content-Type: text/html; charset=utf-8\r\n"));
    assert!(fields(&page).contains("Vary: Accept\r\n"));
    assert!(content(&page).contains("<a href=\"one\">one</a>"));
    let json = directory
        .ask("sort=-name", &[("Accept", "application/json")])
        .expect("200");
    assert!(fields(&json).contains("Content-Type: application/json\r\n"));
    let parsed: serde_json::Value = serde_json::from_str(&content(&json)).expect("JSON");
    assert_eq!(parsed[0]["name"], "two");
    assert_eq!(parsed[1]["size"], 3);
}

#[test]
fn a_listing_that_has_not_changed_is_not_sent_again_rfc9110_13_1_2() {
    let directory = Directory::with(&["one"]);
    let page = directory.ask("", &[]).expect("200");
    let head = fields(&page);
    let etag = head
        .strip_prefix("ETag: ")
        .and_then(|rest| rest.split("\r\n").next())
        .expect("a tag");
    let again = directory.ask("", &[("If-None-Match", etag)]).expect("304");
    assert_eq!(again.status, Status::NOT_MODIFIED);
    assert_eq!(fields(&again), format!("ETag: {etag}\r\nVary: Accept\r\n"));
    fs::write(directory.files.path().join("one"), "longer").expect("write");
    let grown = directory.ask("", &[("If-None-Match", etag)]).expect("200");
    assert_eq!(grown.status, Status::OK, "a file in it has grown");
    let failed = directory.ask("", &[("If-Match", "\"x\"")]).expect("412");
    assert_eq!(failed.status, Status::PRECONDITION_FAILED);
}

#[test]
fn what_is_being_sent_is_bounded_and_counted_until_it_is_gone() {
    let directory = Directory::with(&["one"]);
    let held = || directory.listings.held_bytes.load(Ordering::Relaxed);
    let page = directory.ask("", &[]).expect("200");
    assert!(held() >= content(&page).len() as u64);
    let copy = page.clone();
    drop(page);
    assert!(held() > 0, "a copy is still being sent");
    drop(copy);
    assert_eq!(held(), 0);
    directory
        .listings
        .held_bytes
        .store(MAX_HELD_BYTES, Ordering::Relaxed);
    assert_eq!(
        directory.ask("", &[]).expect_err("503"),
        OpenError::Exhausted
    );
    assert_eq!(held(), MAX_HELD_BYTES);
}

/// The largest listing there is: one file more is not shown. Hard links make the files cheap; the
/// names have a byte that is not UTF-8.
#[test]
fn a_hundred_thousand_entries_are_listed_and_one_more_is_not() {
    let directory = Directory::with(&[]);
    let inner = directory.files.path();
    let file = |number: usize| {
        let name = format!("file-{number:06}\u{FF}.txt").into_bytes();
        inner.join(OsStr::from_bytes(&name))
    };
    for number in 0..entries::MAX_ENTRIES {
        // A file has at most 65,000 links on some file systems.
        if number % 50_000 == 0 {
            fs::write(file(number), "x").expect("write");
        } else {
            fs::hard_link(file(number / 50_000 * 50_000), file(number)).expect("link");
        }
    }
    let page = directory.ask("", &[]).expect("200");
    let text = content(&page);
    assert_eq!(text.matches("<time ").count(), entries::MAX_ENTRIES);
    assert!(!text.contains("There are more"));
    assert!(text.len() < 25_000_000, "{}", text.len());
    fs::write(inner.join("one-more"), "x").expect("write");
    let page = directory.ask("", &[]).expect("200");
    let text = content(&page);
    assert_eq!(text.matches("<time ").count(), entries::MAX_ENTRIES);
    assert!(text.contains("There are more"));
}
