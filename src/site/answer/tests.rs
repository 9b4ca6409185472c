//! Tests of responses from memory: when they are possible, and when the disk is needed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;

use crate::clock::{Millis, Now};
use crate::config::{Config, Precompressed, SiteConfig};
use crate::http::request::{HeadLimits, Parsed, parse_head};
use crate::http::response::Response;
use crate::http::scheme::Scheme;
use crate::site::waiting::{MayBlock, WouldBlock};
use crate::site::{Sites, WouldBlockOnDisk};

const LIMITS: HeadLimits = HeadLimits {
    target_bytes: 2_000,
    head_bytes: 10_000,
    headers: 100,
};

/// The first second of 2100. Every file is older, whenever the test runs.
const START_UNIX_SECS: u64 = 4_102_444_800;

/// A site in a temporary directory, whose root can be moved away.
struct Fixture {
    place: TempDir,
    config: Config,
    site: Sites,
}

impl Fixture {
    fn new(configure: impl FnOnce(&mut Config)) -> Fixture {
        Fixture::below(std::env::temp_dir(), configure)
    }

    fn below(directory: PathBuf, configure: impl FnOnce(&mut Config)) -> Fixture {
        let place = tempfile::tempdir_in(directory).expect("temporary directory");
        let root = place.path().join("root");
        fs::create_dir_all(root.join("guide")).expect("mkdir");
        fs::write(root.join("file.txt"), "content").expect("write");
        fs::write(root.join("large.bin"), [b'x'; 2_000]).expect("write");
        symlink("/etc/hostname", root.join("outside")).expect("link");
        let mut config = Config {
            site: SiteConfig::at(root),
            ..Config::default()
        };
        config.cache.file_bytes = 1_000;
        configure(&mut config);
        let site = Sites::open(&config).expect("the site");
        // The kernel has these small files in memory. Most tests are about files that it does not have.
        if let Some(access) = site.cached_access() {
            access.suspend(Millis::NEVER);
        }
        Fixture {
            place,
            config,
            site,
        }
    }

    fn root(&self) -> PathBuf {
        self.place.path().join("root")
    }

    fn ask(
        &self,
        may_block: MayBlock,
        millis: u64,
        request: &str,
    ) -> Result<Response, WouldBlockOnDisk> {
        let answer = self.ask_among_others(may_block, millis, request);
        answer.map_err(|needs| match needs {
            WouldBlock::OnDisk => WouldBlockOnDisk,
            WouldBlock::InFlight(flight) => panic!("no other thread runs: {flight:?}"),
        })
    }

    fn ask_among_others(
        &self,
        may_block: MayBlock,
        millis: u64,
        request: &str,
    ) -> Result<Response, WouldBlock> {
        let request = format!("{request}\r\n\r\n").replace("HTTP/1.1", "HTTP/1.1\r\nHost: a");
        let mut spans = Vec::new();
        let Ok(Parsed::Complete { head, .. }) = parse_head(request.as_bytes(), &LIMITS, &mut spans)
        else {
            panic!("{request}")
        };
        let now = Now {
            monotonic: Millis(millis),
            unix_secs: START_UNIX_SECS + millis / 1_000,
        };
        self.site
            .respond(&head, Scheme::Http, &mut Vec::new(), may_block, now)
    }

    fn status(
        &self,
        may_block: MayBlock,
        millis: u64,
        request: &str,
    ) -> Result<u16, WouldBlockOnDisk> {
        let answer = self.ask(may_block, millis, request);
        answer.map(|response| response.status.code())
    }

    fn get(&self, may_block: MayBlock, millis: u64, path: &str) -> Result<u16, WouldBlockOnDisk> {
        self.status(may_block, millis, &format!("GET {path} HTTP/1.1"))
    }
}

/// One path for each kind of response that memory can give.
const KNOWN: [(&str, u16); 7] = [
    ("/file.txt", 200),
    ("/none", 404),
    ("/none/", 404),
    ("/.hidden", 404),
    ("/guide", 301),
    ("/guide?x", 301),
    ("/outside", 403),
];

#[test]
fn memory_answers_what_it_knows_without_the_disk() {
    let fixture = Fixture::new(|_| {});
    for (path, _) in KNOWN {
        assert_eq!(
            fixture.get(MayBlock::Never, 0, path),
            Err(WouldBlockOnDisk),
            "{path}"
        );
    }
    for (path, status) in KNOWN {
        assert_eq!(
            fixture.get(MayBlock::Anywhere, 0, path),
            Ok(status),
            "{path}"
        );
    }
    fs::remove_dir_all(fixture.root()).expect("rm -r");
    for (path, status) in KNOWN {
        assert_eq!(
            fixture.get(MayBlock::Never, 999, path),
            Ok(status),
            "{path}"
        );
    }
}

#[test]
fn a_request_that_names_no_file_needs_no_disk() {
    let fixture = Fixture::new(|_| {});
    for (request, status) in [
        ("OPTIONS * HTTP/1.1", 200),
        ("DELETE /file.txt HTTP/1.1", 405),
        ("BREW /file.txt HTTP/1.1", 501),
        ("GET /%zz HTTP/1.1", 400),
    ] {
        assert_eq!(fixture.status(MayBlock::Never, 5_000, request), Ok(status));
    }
}

#[test]
fn stale_entries_need_the_disk_and_a_refusal_leaves_the_work_undone() {
    let fixture = Fixture::new(|_| {});
    for (path, status) in KNOWN {
        assert_eq!(fixture.get(MayBlock::Anywhere, 0, path), Ok(status));
    }
    for second in 1..=3 {
        let millis = second * 1_000;
        for (path, status) in KNOWN {
            // Twice, because the first refusal must leave the work to a thread that may block. The root is
            // stale for all paths until the first one has read the disk.
            for _ in 0..2 {
                let answer = fixture.get(MayBlock::Never, millis, path);
                // Two paths share the cache entry of another path: the 404 page, or the directory.
                let is_shared = ["/.hidden", "/guide?x"].contains(&path);
                assert!(
                    answer == Err(WouldBlockOnDisk) || is_shared,
                    "{path} at {millis}"
                );
            }
            assert_eq!(fixture.get(MayBlock::Anywhere, millis, path), Ok(status));
            assert_eq!(fixture.get(MayBlock::Never, millis + 999, path), Ok(status));
        }
    }
}

#[test]
fn a_new_file_is_there_within_a_second_and_a_removed_one_gone() {
    let fixture = Fixture::new(|_| {});
    let path = "/none";
    assert_eq!(fixture.get(MayBlock::Anywhere, 0, path), Ok(404));
    fs::write(fixture.root().join("none"), "there").expect("write");
    assert_eq!(fixture.get(MayBlock::Never, 999, path), Ok(404));
    assert_eq!(
        fixture.get(MayBlock::Never, 1_000, path),
        Err(WouldBlockOnDisk)
    );
    assert_eq!(fixture.get(MayBlock::Anywhere, 1_000, path), Ok(200));
    fs::remove_file(fixture.root().join("none")).expect("rm");
    fs::create_dir(fixture.root().join("none")).expect("mkdir");
    assert_eq!(fixture.get(MayBlock::Never, 1_999, path), Ok(200));
    assert_eq!(fixture.get(MayBlock::Anywhere, 2_000, path), Ok(301));
    fs::remove_dir(fixture.root().join("none")).expect("rmdir");
    assert_eq!(fixture.get(MayBlock::Anywhere, 3_000, path), Ok(404));
    assert_eq!(fixture.get(MayBlock::Never, 3_999, path), Ok(404));
}

#[test]
fn a_404_page_that_comes_later_is_used() {
    let fixture = Fixture::new(|_| {});
    let length = |may_block, millis| {
        let answer = fixture.ask(may_block, millis, "GET /none HTTP/1.1");
        answer.map(|response| response.length)
    };
    assert_ne!(length(MayBlock::Anywhere, 0), Ok(Some(5)));
    fs::write(fixture.root().join("404.html"), "None.").expect("write");
    assert_eq!(length(MayBlock::Anywhere, 1_000), Ok(Some(5)));
    assert_eq!(length(MayBlock::Never, 1_999), Ok(Some(5)));
}

#[test]
fn content_in_a_descriptor_needs_the_disk_but_its_fields_do_not() {
    let fixture = Fixture::new(|_| {});
    let get = "GET /large.bin HTTP/1.1";
    let response = fixture
        .ask(MayBlock::Anywhere, 0, get)
        .expect("with the disk");
    let fields = String::from_utf8(response.fields.to_vec()).expect("ASCII");
    let etag = fields.lines().find_map(|line| line.strip_prefix("ETag: "));
    let etag = etag.expect("an entity tag");
    assert_eq!(
        fixture.status(MayBlock::Never, 0, get),
        Err(WouldBlockOnDisk)
    );
    let range = format!("{get}\r\nRange: bytes=0-1");
    assert_eq!(
        fixture.status(MayBlock::Never, 0, &range),
        Err(WouldBlockOnDisk)
    );
    let condition = format!("{get}\r\nIf-None-Match: {etag}");
    assert_eq!(fixture.status(MayBlock::Never, 0, &condition), Ok(304));
    let condition = format!("{get}\r\nIf-Match: \"another\"");
    assert_eq!(fixture.status(MayBlock::Never, 0, &condition), Ok(412));
    let head = fixture.ask(MayBlock::Never, 0, "HEAD /large.bin HTTP/1.1");
    let head = head.expect("nothing is sent of the file");
    assert_eq!((head.length, head.body.len()), (Some(2_000), 0));
}

#[test]
fn another_root_invalidates_all_entries() {
    let fixture = Fixture::new(|config| {
        symlink("root", config.site.root.with_file_name("current")).expect("link");
        config.site.root.set_file_name("current");
        config.cache.revalidate_secs = 3_600;
    });
    assert_eq!(fixture.get(MayBlock::Anywhere, 0, "/none"), Ok(404));
    assert_eq!(fixture.get(MayBlock::Anywhere, 0, "/file.txt"), Ok(200));
    let place = fixture.place.path();
    fs::create_dir(place.join("next")).expect("mkdir");
    fs::write(place.join("next/none"), "there").expect("write");
    symlink("next", place.join("swap")).expect("link");
    fs::rename(place.join("swap"), place.join("current")).expect("swap");
    assert_eq!(fixture.get(MayBlock::Never, 999, "/none"), Ok(404));
    assert_eq!(
        fixture.get(MayBlock::Never, 1_000, "/none"),
        Err(WouldBlockOnDisk)
    );
    assert_eq!(fixture.get(MayBlock::Anywhere, 1_000, "/none"), Ok(200));
    // The root is known again, but entries from below the old root are not used any more.
    assert_eq!(
        fixture.get(MayBlock::Never, 1_000, "/file.txt"),
        Err(WouldBlockOnDisk)
    );
    assert_eq!(fixture.get(MayBlock::Anywhere, 1_000, "/file.txt"), Ok(404));
}

#[test]
fn nothing_is_trusted_without_a_cache_or_an_interval() {
    let without_cache = Fixture::new(|config| config.cache.bytes = 0);
    let without_interval = Fixture::new(|config| config.cache.revalidate_secs = 0);
    for fixture in [without_cache, without_interval] {
        for (path, status) in KNOWN {
            assert_eq!(fixture.get(MayBlock::Anywhere, 0, path), Ok(status));
            assert_eq!(
                fixture.get(MayBlock::Never, 0, path),
                Err(WouldBlockOnDisk),
                "{path}"
            );
        }
        fs::write(fixture.root().join("none"), "there").expect("write");
        assert_eq!(fixture.get(MayBlock::Anywhere, 0, "/none"), Ok(200));
    }
}

#[test]
fn a_name_too_long_to_cache_is_still_answered() {
    let fixture = Fixture::new(|_| {});
    let path = format!("/{}", "n/".repeat(400));
    assert_eq!(fixture.get(MayBlock::Anywhere, 0, &path), Ok(404));
    assert_eq!(
        fixture.get(MayBlock::Never, 0, &path),
        Err(WouldBlockOnDisk)
    );
}

#[test]
fn a_special_file_is_opened_once() {
    let fixture = Fixture::new(|_| {});
    let fifo = fixture.root().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .expect("mkfifo");
    assert_eq!(fixture.get(MayBlock::Anywhere, 0, "/fifo"), Ok(403));
    assert_eq!(fixture.get(MayBlock::Never, 0, "/fifo"), Ok(403));
}

/// The content coding of a response.
fn coding(answer: Result<Response, WouldBlockOnDisk>) -> Result<Option<String>, WouldBlockOnDisk> {
    answer.map(|response| {
        let fields = String::from_utf8(response.fields.to_vec()).expect("ASCII");
        let mut lines = fields.lines();
        let value = lines.find_map(|line| line.strip_prefix("Content-Encoding: "));
        value.map(str::to_owned)
    })
}

#[test]
fn memory_answers_with_the_variants_that_are_ready_and_makes_none() {
    let fixture = Fixture::new(|config| config.cache.file_bytes = 1_000_000);
    fs::write(fixture.root().join("page.html"), [b'x'; 2_000]).expect("write");
    let get = "GET /page.html HTTP/1.1";
    let gzip = format!("{get}\r\nAccept-Encoding: gzip");
    let both = format!("{get}\r\nAccept-Encoding: gzip;q=0.5, br");
    assert_eq!(coding(fixture.ask(MayBlock::Anywhere, 0, get)), Ok(None));
    assert_eq!(coding(fixture.ask(MayBlock::Never, 0, get)), Ok(None));
    for request in [&gzip, &both] {
        for _ in 0..2 {
            assert_eq!(
                fixture.ask(MayBlock::Never, 0, request).err(),
                Some(WouldBlockOnDisk)
            );
        }
        let made = coding(fixture.ask(MayBlock::Anywhere, 0, request));
        assert!(made.as_ref().is_ok_and(Option::is_some), "{made:?}");
        assert_eq!(coding(fixture.ask(MayBlock::Never, 999, request)), made);
    }
}

/// Sidecars are always used, whatever their time and content, and no variant is made.
fn only_sidecars(config: &mut Config) {
    config.site.compress = false;
    config.site.precompressed = Precompressed::Always;
}

#[test]
fn a_sidecar_is_read_with_the_disk_and_kept() {
    let fixture = Fixture::new(only_sidecars);
    fs::write(fixture.root().join("page.html"), "original").expect("write");
    fs::write(fixture.root().join("page.html.gz"), "gzip").expect("write");
    let gzip = "GET /page.html HTTP/1.1\r\nAccept-Encoding: br, gzip";
    let plain = fixture.ask(MayBlock::Anywhere, 0, "GET /page.html HTTP/1.1");
    assert_eq!(plain.map(|response| response.length), Ok(Some(8)));
    assert_eq!(
        fixture.ask(MayBlock::Never, 0, gzip).err(),
        Some(WouldBlockOnDisk)
    );
    for may_block in [MayBlock::Anywhere, MayBlock::Never] {
        let response = fixture.ask(may_block, 0, gzip);
        assert_eq!(response.map(|response| response.length), Ok(Some(4)));
    }
    fs::remove_file(fixture.root().join("page.html.gz")).expect("rm");
    assert_eq!(
        coding(fixture.ask(MayBlock::Never, 1_000, gzip)),
        Err(WouldBlockOnDisk)
    );
    assert_eq!(
        coding(fixture.ask(MayBlock::Anywhere, 1_000, gzip)),
        Ok(None)
    );
    assert_eq!(coding(fixture.ask(MayBlock::Never, 1_000, gzip)), Ok(None));
}

#[test]
fn a_sidecar_that_was_replaced_before_its_first_use_is_looked_up_again() {
    let fixture = Fixture::new(only_sidecars);
    fs::write(fixture.root().join("page.html"), "original").expect("write");
    fs::write(fixture.root().join("page.html.gz"), "gzip").expect("write");
    let gzip = "GET /page.html HTTP/1.1\r\nAccept-Encoding: gzip";
    assert_eq!(fixture.get(MayBlock::Anywhere, 0, "/page.html"), Ok(200));
    fs::write(fixture.root().join("page.html.gz"), "another").expect("write");
    assert_eq!(coding(fixture.ask(MayBlock::Anywhere, 0, gzip)), Ok(None));
    assert_eq!(
        coding(fixture.ask(MayBlock::Anywhere, 0, gzip)),
        Ok(Some("gzip".to_owned()))
    );
}

mod from_kernel_memory;
mod with_a_revalidator;
