//! Tests of requests for directories.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use super::cache::MAX_HELD_BYTES;
use super::entries::ListedDirectory;
use super::*;
use crate::clock::{Millis, Now};
use crate::config::{self, SiteConfig};
use crate::http::request::sample::with_head;
use crate::http::response::{Body, Response};
use crate::http::status::Status;
use crate::site::content::ENCODER_PIECE_BYTES;
use crate::site::disk::{OpenError, Resolver, Root};
use crate::site::waiting::{FIRST_SLICE_ASKS, FirstSlice, Flight, MAX_JOBS, MayBlock, WouldBlock};

const NOW: Now = Now {
    monotonic: Millis(0),
    unix_secs: 1_800_000_000,
};

const LATER: Now = Now {
    monotonic: Millis(1_000),
    ..NOW
};

struct Directory {
    files: tempfile::TempDir,
    listings: Listings,
}

impl Directory {
    /// A directory without a cache: every request reads the disk.
    fn with(names: &[&str]) -> Directory {
        Directory::keeping(0, names)
    }

    fn keeping(revalidate_secs: u32, names: &[&str]) -> Directory {
        let files = tempfile::tempdir().expect("temporary directory");
        for name in names {
            fs::write(files.path().join(name), name).expect("write");
        }
        let cache = config::Cache {
            revalidate_secs,
            ..config::Config::default().cache
        };
        Directory {
            files,
            listings: Listings::new(&SiteConfig::default(), &cache),
        }
    }

    /// One attempt: the response, or why there is none yet.
    fn try_ask(
        &self,
        query: &str,
        lines: &[(&str, &str)],
        may_block: MayBlock,
        now: Now,
    ) -> Result<Result<Response, OpenError>, WouldBlock> {
        let root = Root::open(self.files.path()).expect("open the root");
        let listed = ListedDirectory {
            root: &root.directory(),
            resolver: &Arc::new(Resolver::new()),
            path: b"/",
        };
        let query = Some(query.as_bytes());
        with_head(lines, |head| {
            let request = ListingRequest {
                head,
                query,
                may_block,
                now,
            };
            self.listings.respond(&listed, &request, true)
        })
    }

    /// The response, after as many slices as it takes.
    fn ask(&self, query: &str, lines: &[(&str, &str)]) -> Result<Response, OpenError> {
        // The flight must live until the next request has taken its result.
        let mut held = Vec::new();
        loop {
            match self.try_ask(query, lines, MayBlock::Anywhere, NOW) {
                Ok(answer) => return answer,
                Err(WouldBlock::OnDisk) => panic!("the thread may block on the disk"),
                Err(WouldBlock::InFlight(flight)) => {
                    finish(&flight);
                    held.push(flight);
                }
            }
            assert_eq!(held.len(), 1, "no flight was needed");
        }
    }

    /// Creates many files. Hard links make that cheap. The names contain a byte that is not UTF-8.
    fn fill(&self, count: usize) {
        let inner = self.files.path();
        let file = |number: usize| {
            let name = format!("file-{number:06}\u{FF}.txt").into_bytes();
            inner.join(OsStr::from_bytes(&name))
        };
        for number in 0..count {
            // Some file systems allow only 65,000 links to a file.
            if number % 50_000 == 0 {
                fs::write(file(number), "x").expect("write");
            } else {
                fs::hard_link(file(number / 50_000 * 50_000), file(number)).expect("link");
            }
        }
    }
}

/// Runs the job in slices while a client waits, and returns the number of slices.
fn finish(flight: &Arc<Flight>) -> usize {
    flight.wait(Box::new(|_: &Arc<Flight>| {}));
    assert!(flight.claim_job());
    let mut slices = 1;
    while flight.work(&FirstSlice::new(NOW.monotonic)) {
        slices += 1;
    }
    slices
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
    assert!(fields(&page).contains("Vary: Accept, Accept-Encoding\r\n"));
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
    assert_eq!(
        fields(&again),
        format!("ETag: {etag}\r\nVary: Accept, Accept-Encoding\r\n")
    );
    fs::write(directory.files.path().join("one"), "longer").expect("write");
    let grown = directory.ask("", &[("If-None-Match", etag)]).expect("200");
    assert_eq!(grown.status, Status::OK, "a file in it has grown");
    let failed = directory.ask("", &[("If-Match", "\"x\"")]).expect("412");
    assert_eq!(failed.status, Status::PRECONDITION_FAILED);
}

#[test]
fn listings_being_sent_are_bounded_and_counted_until_they_are_dropped() {
    let directory = Directory::with(&["one"]);
    let held = || directory.listings.budget.held_bytes();
    let page = directory.ask("", &[]).expect("200");
    assert!(held() >= content(&page).len() as u64);
    let copy = page.clone();
    drop(page);
    assert!(held() > 0, "a copy is still being sent");
    drop(copy);
    assert_eq!(held(), 0);
    let mut others = directory.listings.budget.reservation();
    assert!(others.grow(MAX_HELD_BYTES));
    assert_eq!(
        directory.ask("", &[]).expect_err("503"),
        OpenError::Exhausted
    );
    assert_eq!(held(), MAX_HELD_BYTES);
}

#[test]
fn cached_listings_make_room_for_a_new_one() {
    let directory = Directory::keeping(1, &["one"]);
    directory.ask("", &[]).expect("200");
    let kept = directory.listings.budget.held_bytes();
    let mut others = directory.listings.budget.reservation();
    assert!(kept > 0 && others.grow(MAX_HELD_BYTES - kept - 1_000));
    directory.ask("sort=-name", &[]).expect("200");
}

/// GET, HEAD and 304, on a thread that may not block.
#[test]
fn a_cached_listing_needs_no_disk() {
    let directory = Directory::keeping(1, &["one"]);
    let from_memory = |now| directory.try_ask("", &[], MayBlock::Never, now);
    assert_eq!(from_memory(NOW).expect_err("new"), WouldBlock::OnDisk);
    let page = directory.ask("", &[]).expect("200");
    let kept = from_memory(NOW).expect("kept").expect("200");
    assert_eq!(content(&kept), content(&page));
    let head = fields(&kept);
    let etag = head.lines().find_map(|line| line.strip_prefix("ETag: "));
    let condition = [("If-None-Match", etag.expect("a tag"))];
    let same = directory.try_ask("", &condition, MayBlock::Never, NOW);
    assert_eq!(
        same.expect("kept").expect("304").status,
        Status::NOT_MODIFIED
    );
    let other = directory.try_ask("sort=size", &[], MayBlock::Never, NOW);
    assert_eq!(other.expect_err("another order"), WouldBlock::OnDisk);
    assert_eq!(from_memory(LATER).expect_err("old"), WouldBlock::OnDisk);
}

/// RFC 9110 section 8.8.3.3: each coding has its own tag.
#[test]
fn a_listing_is_made_and_cached_in_the_requested_coding() {
    let directory = Directory::keeping(1, &[]);
    directory.fill(3_000);
    let coded = |coding| [("Accept-Encoding", coding)];
    let plain = directory.ask("", &[]).expect("200");
    let mut held = directory.listings.budget.held_bytes();
    let mut tags = vec![tag(&plain)];
    for coding in ["br", "zstd", "gzip"] {
        let may_block = MayBlock::Never;
        let new = directory.try_ask("", &coded(coding), may_block, NOW);
        assert_eq!(new.expect_err("not in memory"), WouldBlock::OnDisk);
        let page = directory.ask("", &coded(coding)).expect("200");
        assert!(fields(&page).contains(&format!("\r\nContent-Encoding: {coding}\r\n")));
        let bytes = page.length.expect("a length");
        assert!(bytes * 10 < plain.length.expect("a length"), "{bytes}");
        // The page is cached once, with the bytes in each coding.
        let now_held = directory.listings.budget.held_bytes();
        assert!((held + bytes..held + 2 * bytes).contains(&now_held));
        held = now_held;
        let kept = directory.try_ask("", &coded(coding), may_block, NOW);
        let kept = kept.expect("kept").expect("200");
        assert_eq!(kept.fields, page.fields);
        let condition = [coded(coding)[0], ("If-None-Match", &tag(&page)[..])];
        let same = directory.try_ask("", &condition, may_block, NOW);
        let same = same.expect("kept").expect("304");
        assert_eq!(same.status, Status::NOT_MODIFIED);
        assert_eq!(tag(&same), tag(&page));
        tags.push(tag(&page));
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 4);
}

#[test]
fn a_large_listing_is_compressed_in_slices_for_all_requests() {
    let directory = Directory::keeping(1, &[]);
    directory.fill(10_000);
    let bytes = directory.ask("", &[]).expect("200").length;
    let ask = || directory.try_ask("", &[("Accept-Encoding", "gzip")], MayBlock::Anywhere, NOW);
    let (Err(WouldBlock::InFlight(one)), Err(WouldBlock::InFlight(other))) = (ask(), ask()) else {
        panic!("it takes more than one slice")
    };
    assert!(Arc::ptr_eq(&one, &other), "one job");
    let pieces = bytes.expect("a length") / ENCODER_PIECE_BYTES as u64;
    let slices = finish(&one) as u64;
    assert!(
        slices >= pieces / u64::from(FIRST_SLICE_ASKS),
        "{slices} slices"
    );
    let page = ask().expect("there").expect("200");
    assert!(fields(&page).contains("Content-Encoding: gzip"));
}

#[test]
fn a_listing_is_sent_uncompressed_if_there_is_no_memory_to_compress_it() {
    let directory = Directory::with(&[]);
    directory.fill(3_000);
    let plain = directory.ask("", &[]).expect("200");
    let bytes = plain.length.expect("a length");
    drop(plain);
    let mut others = directory.listings.budget.reservation();
    assert!(others.grow(MAX_HELD_BYTES - 3 * bytes));
    let page = directory
        .ask("", &[("Accept-Encoding", "gzip")])
        .expect("200");
    assert!(!fields(&page).contains("Content-Encoding"));
    assert_eq!(page.length, Some(bytes));
}

#[test]
fn a_cached_listing_is_sent_uncompressed_if_no_job_may_begin() {
    let directory = Directory::keeping(1, &[]);
    directory.fill(10_000);
    let plain = directory.ask("", &[]).expect("200");
    let taken: Vec<_> = (0..MAX_JOBS)
        .map(|_| directory.listings.permits.take())
        .collect();
    let ask = || {
        directory
            .ask("", &[("Accept-Encoding", "gzip")])
            .expect("200")
    };
    assert_eq!(ask().fields, plain.fields);
    drop(taken);
    assert!(fields(&ask()).contains("Content-Encoding: gzip"));
}

#[test]
fn a_site_that_does_not_compress_does_not_compress_listings() {
    let mut directory = Directory::with(&[]);
    directory.fill(300);
    let site = SiteConfig {
        compress: false,
        ..SiteConfig::default()
    };
    directory.listings = Listings::new(&site, &config::Config::default().cache);
    let page = directory
        .ask("", &[("Accept-Encoding", "gzip")])
        .expect("200");
    assert!(!fields(&page).contains("Content-Encoding"));
    assert!(fields(&page).contains("\r\nVary: Accept\r\n"));
}

fn tag(response: &Response) -> String {
    let fields = fields(response);
    let tag = fields.lines().find_map(|line| line.strip_prefix("ETag: "));
    tag.expect("a tag").to_owned()
}

#[test]
fn a_large_directory_is_listed_once_for_all_requests_and_in_slices() {
    let directory = Directory::with(&[]);
    directory.fill(5_000);
    let ask = || directory.try_ask("", &[], MayBlock::Anywhere, NOW);
    let awaited = || match ask() {
        Err(WouldBlock::InFlight(flight)) => flight,
        answer => panic!("it takes more than one slice: {answer:?}"),
    };
    let (one, other) = (awaited(), awaited());
    assert!(Arc::ptr_eq(&one, &other), "one job");
    let slices = finish(&one);
    assert!(slices >= 10, "{slices} slices");
    for _ in 0..2 {
        let page = ask().expect("there").expect("200");
        assert_eq!(content(&page).matches("<time ").count(), 5_000);
    }
    drop((one, other));
    assert_eq!(directory.listings.budget.held_bytes(), 0);
    drop(awaited());
    assert_eq!(
        directory.listings.budget.held_bytes(),
        0,
        "nobody waits for it"
    );
}

/// The largest possible listing: one more file is not shown.
#[test]
fn a_hundred_thousand_entries_are_listed_and_one_more_is_not() {
    let directory = Directory::with(&[]);
    directory.fill(entries::MAX_ENTRIES);
    let page = directory.ask("", &[]).expect("200");
    let text = content(&page);
    assert_eq!(text.matches("<time ").count(), entries::MAX_ENTRIES);
    assert!(!text.contains("There are more"));
    assert!(text.len() < 25_000_000, "{}", text.len());
    fs::write(directory.files.path().join("one-more"), "x").expect("write");
    let page = directory.ask("", &[]).expect("200");
    let text = content(&page);
    assert_eq!(text.matches("<time ").count(), entries::MAX_ENTRIES);
    assert!(text.contains("There are more"));
}
