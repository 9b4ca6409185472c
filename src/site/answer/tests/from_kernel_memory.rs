//! Tests of responses that need neither the cache nor a disk, because the kernel has the file in memory.

use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::config::SymlinkPolicy;
use crate::http::accept_encoding::Coding;
use crate::site::disk::Root;
use crate::site::waiting::CachedAccess;

/// A site below the build directory, which is on a disk also where temporary files are not.
fn fixture(configure: impl FnOnce(&mut Config)) -> Fixture {
    let mut program = std::env::current_exe().expect("the path of this test");
    program.pop();
    let fixture = Fixture::below(program, configure);
    let root = Root::open(&fixture.root()).expect("the root").directory();
    assert!(
        root.cached_access.is_some(),
        "the file system of the build directory cannot tell what it would have to wait for"
    );
    fixture.access().suspend(Millis(0));
    fixture.write("file.txt", 7);
    fixture
}

impl Fixture {
    /// Makes the kernel know the names that requests for `paths` look up, also those that do not exist.
    fn warm_up(&self, paths: &[&str]) {
        let place = TempDir::new().expect("temporary directory");
        let site = Sites::open(&self.config).expect("the site");
        let config = self.config.clone();
        let other = Fixture {
            place,
            config,
            site,
        };
        for path in paths {
            let status = other.get(MayBlock::Anywhere, 0, path);
            assert!(status.is_ok(), "{path}");
        }
    }

    /// As [`get`](Fixture::get) of a thread that must not block. A rename anywhere in the system makes the kernel
    /// give up, so a refusal is not final.
    fn get_at_once(&self, millis: u64, path: &str) -> Result<u16, WouldBlockOnDisk> {
        let tries = (0..1_000).map(|_| self.get(MayBlock::Never, millis, path));
        tries.reduce(Result::or).expect("a try")
    }

    /// Writes a file whose atime lies after the start of the test. Reading does not set it again, which would be a
    /// write.
    fn write(&self, name: &str, bytes: usize) {
        let path = self.root().join(name);
        fs::write(&path, vec![b'x'; bytes]).expect("write");
        let read = UNIX_EPOCH + Duration::from_secs(START_UNIX_SECS + 60);
        let file = fs::File::options().write(true).open(path).expect("open");
        let times = fs::FileTimes::new().set_accessed(read);
        file.set_times(times).expect("utimensat");
    }

    fn access(&self) -> &CachedAccess {
        self.site.cached_access().expect("a cache")
    }
}

#[test]
fn a_thread_that_must_not_block_loads_what_the_kernel_has_in_memory() {
    // A link that leads outside is refused by a thread that may block.
    for (path, status) in KNOWN.into_iter().filter(|(_, status)| *status != 403) {
        let fixture = fixture(|_| {});
        fixture.warm_up(&[path]);
        assert_eq!(fixture.get_at_once(0, path), Ok(status), "{path}");
        // From the cache.
        fixture.access().suspend(Millis::NEVER);
        assert_eq!(
            fixture.get(MayBlock::Never, 999, path),
            Ok(status),
            "{path}"
        );
    }
}

#[test]
fn a_stale_entry_is_compared_by_the_thread_that_has_the_request() {
    let fixture = fixture(|_| {});
    let get = |millis, path| fixture.get_at_once(millis, path);
    let resolve_root = |millis| {
        assert_eq!(
            fixture.get(MayBlock::Anywhere, millis, "/file.txt"),
            Ok(200)
        );
    };
    fixture.warm_up(&["/file.txt", "/none"]);
    assert_eq!((get(0, "/file.txt"), get(0, "/none")), (Ok(200), Ok(404)));
    resolve_root(1_000);
    assert_eq!(
        (get(1_000, "/file.txt"), get(1_000, "/none")),
        (Ok(200), Ok(404))
    );
    fs::remove_file(fixture.root().join("file.txt")).expect("rm");
    fs::write(fixture.root().join("none"), "new").expect("write");
    assert_eq!(
        (get(1_999, "/file.txt"), get(1_999, "/none")),
        (Ok(200), Ok(404))
    );
    fixture
        .get(MayBlock::Anywhere, 2_000, "/guide")
        .expect("the root");
    assert_eq!(get(2_000, "/file.txt"), Ok(404));
    // The kernel does not know yet whether the new file has sidecars.
    assert_eq!(get(2_000, "/none"), Err(WouldBlockOnDisk));
    assert_eq!(fixture.get(MayBlock::Anywhere, 2_000, "/none"), Ok(200));
}

#[test]
fn a_sidecar_that_appears_is_noticed() {
    let fixture = fixture(|config| config.site.compress = false);
    let encoded = |millis, may_block| -> Result<bool, WouldBlockOnDisk> {
        let request = "GET /file.txt HTTP/1.1\r\nAccept-Encoding: gzip";
        let response = fixture.ask(may_block, millis, request)?;
        Ok(String::from_utf8_lossy(&response.fields).contains("Content-Encoding: gzip"))
    };
    fixture.warm_up(&["/file.txt"]);
    assert_eq!(fixture.get_at_once(0, "/file.txt"), Ok(200));
    assert_eq!(encoded(0, MayBlock::Never), Ok(false));
    let gzip = crate::site::content::compress(Coding::Gzip, &[b'x'; 1_000]).expect("smaller");
    fs::write(fixture.root().join("file.txt.gz"), gzip).expect("write");
    assert_eq!(encoded(999, MayBlock::Never), Ok(false));
    assert_eq!(encoded(1_000, MayBlock::Anywhere), Ok(true));
}

#[test]
fn a_directory_without_sidecars_answers_for_its_files() {
    let fixture = fixture(|config| config.site.compress = false);

    for name in ["one.css", "two.css", "three.css", "four.css"] {
        fixture.write(name, 1);
    }
    // The names of sidecars are not known to the kernel, so they are looked up on the disk.
    let get = |may_block, millis, path| fixture.get(may_block, millis, path);
    assert_eq!(get(MayBlock::Never, 0, "/one.css"), Err(WouldBlockOnDisk));
    assert_eq!(get(MayBlock::Anywhere, 0, "/one.css"), Ok(200));
    // The second load reads the names of the directory. After it none is looked up.
    assert_eq!(get(MayBlock::Anywhere, 500, "/two.css"), Ok(200));
    assert_eq!(fixture.get_at_once(500, "/three.css"), Ok(200));
    // A sidecar changes the directory, which is noticed within a second.
    fs::write(fixture.root().join("four.css.gz"), "x").expect("write");
    assert_eq!(get(MayBlock::Anywhere, 1_500, "/guide"), Ok(301));
    assert_eq!(
        get(MayBlock::Never, 1_500, "/four.css"),
        Err(WouldBlockOnDisk)
    );
    let request = "GET /four.css HTTP/1.1\r\nAccept-Encoding: gzip";
    let response = fixture
        .ask(MayBlock::Anywhere, 1_500, request)
        .expect("the disk");
    assert!(String::from_utf8_lossy(&response.fields).contains("gzip"));
}

#[test]
fn what_takes_long_is_left_to_other_threads() {
    let fixture = fixture(|config| config.cache.file_bytes = 1 << 20);
    fixture.write("most.bin", 64 * 1024);
    fixture.write("more.bin", 64 * 1024 + 1);
    fixture.warm_up(&["/most.bin", "/more.bin"]);
    assert_eq!(fixture.get_at_once(0, "/most.bin"), Ok(200));
    assert_eq!(
        fixture.get(MayBlock::Never, 0, "/more.bin"),
        Err(WouldBlockOnDisk)
    );
    assert_eq!(fixture.get(MayBlock::Anywhere, 0, "/more.bin"), Ok(200));
}

#[test]
fn links_are_followed_as_configured() {
    for (symlinks, at_once, in_the_end) in [
        (SymlinkPolicy::Inside, Ok(200), 200),
        (SymlinkPolicy::Anywhere, Ok(200), 200),
        // The reason of a refusal is left to a thread that may block.
        (SymlinkPolicy::Never, Err(WouldBlockOnDisk), 403),
    ] {
        let fixture = fixture(|config| config.site.symlinks = symlinks);
        symlink("file.txt", fixture.root().join("inside")).expect("link");
        symlink("/proc/version", fixture.root().join("beyond")).expect("link");
        fixture.warm_up(&["/inside", "/beyond"]);
        let get = |may_block, path| fixture.get(may_block, 0, path);
        assert_eq!(fixture.get_at_once(0, "/inside"), at_once);
        assert_eq!(get(MayBlock::Anywhere, "/inside"), Ok(in_the_end));
        // The target is on another file system: it may hang, although that of the root does not.
        assert_eq!(get(MayBlock::Never, "/beyond"), Err(WouldBlockOnDisk));
    }
}

#[test]
fn a_file_system_in_memory_needs_no_disk() {
    let fixture = Fixture::below("/dev/shm".into(), |_| {});
    fixture.access().suspend(Millis(0));
    // This file system remembers no missing names, so the first load looks for sidecars in the way that may
    // block. The second reads the names of the directory.
    for name in ["one.css", "two.css", "three.css"] {
        fixture.write(name, 1);
    }
    for (millis, path) in [(0, "/one.css"), (500, "/two.css")] {
        assert_eq!(fixture.get(MayBlock::Anywhere, millis, path), Ok(200));
    }
    assert_eq!(fixture.get_at_once(500, "/three.css"), Ok(200));
}
