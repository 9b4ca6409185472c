//! Tests of lookups: sidecars without a file, and names beyond a mount point. The test acts as the
//! revalidators.

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::*;
use crate::clock::{Millis, Now};
use crate::config::{self, Precompressed, SiteConfig, SymlinkPolicy};
use crate::http::accept_encoding::Coding;
use crate::site::disk::DescriptorBudget;
use crate::site::memory::{FileStore, LookupResult, RevalidatorRole};
use crate::site::waiting::{FirstSlice, Flight, MayBlock, WouldBlock};

/// The time when facts that were obtained at 0 become stale, in milliseconds.
const STALE_AT: u64 = 1_000;

fn at(millis: u64) -> Now {
    Now {
        monotonic: Millis(millis),
        unix_secs: millis / 1_000,
    }
}

fn lookup_of(site: &SiteConfig, cache: &config::Cache) -> Lookup {
    let store = FileStore::new(
        cache,
        Arc::new(DescriptorBudget::unlimited()),
        Arc::default(),
    );
    Lookup::open(site, 0, &store).expect("the root")
}

/// Only these sidecars are looked up, at the first request and at each revalidation.
#[test]
fn only_a_missing_file_of_a_type_that_compresses_may_have_variants() {
    let place = tempfile::tempdir().expect("temporary directory");
    std::fs::create_dir(place.path().join("d.css")).expect("mkdir");
    let cache = config::Config::default().cache;
    let mut site = SiteConfig::at(place.path().to_owned());
    for precompressed in [Precompressed::Current, Precompressed::Never] {
        site.precompressed = precompressed;
        let lookup = lookup_of(&site, &cache);
        for (path, expected) in [
            ("/app.js", "app.js.br app.js.zst app.js.gz"),
            ("/", "index.html.br index.html.zst index.html.gz"),
            ("/d.css", "d.css.br d.css.zst d.css.gz"),
            ("/app.js.gz", ""),
            ("/logo.svgz", ""),
            ("/x.tar", ""),
            ("/x.png", ""),
            ("/x", ""),
        ] {
            let found = lookup.find(path.as_bytes(), MayBlock::Anywhere, at(0));
            let Ok(LookupResult::NegativeEntry(negative)) = found else {
                panic!("{path}")
            };
            let variants: Vec<_> = negative.variants().map(String::from_utf8_lossy).collect();
            let expected = match precompressed {
                Precompressed::Never => "",
                _ => expected,
            };
            assert_eq!(variants.join(" "), expected, "{path}");
        }
    }
}

/// A site with its own files and a link beyond a mount point: proc(5) is mounted on every Linux system,
/// and temporary files are not below it.
fn site_in(place: &tempfile::TempDir) -> SiteConfig {
    symlink("/proc/version", place.path().join("beyond")).expect("link");
    for (name, bytes) in [("file", 3), ("large", 2_000)] {
        std::fs::write(place.path().join(name), vec![b'x'; bytes]).expect("write");
    }
    SiteConfig {
        symlinks: SymlinkPolicy::Anywhere,
        ..SiteConfig::at(place.path().to_owned())
    }
}

#[test]
fn a_thread_that_stays_on_the_file_system_of_the_root_opens_nothing_beyond() {
    for (bytes, revalidate_secs) in [(1 << 20, 1), (1 << 20, 0), (0, 1)] {
        let place = tempfile::tempdir().expect("temporary directory");
        let cache = config::Cache {
            bytes,
            file_bytes: 1_000,
            revalidate_secs,
            ..config::Config::default().cache
        };
        let lookup = lookup_of(&site_in(&place), &cache);
        // First new, then stale. No revalidator runs.
        for millis in [0, STALE_AT] {
            let find = |path: &[u8], may_block| lookup.find(path, may_block, at(millis));
            for path in [&b"/file"[..], b"/large"] {
                let found = find(path, MayBlock::OnRoots);
                let Ok(LookupResult::File(entry)) = found else {
                    panic!("{found:?}")
                };
                assert_eq!(
                    entry.representation.content.within(MayBlock::OnRoots),
                    Ok(())
                );
            }
            assert!(matches!(
                find(b"/none", MayBlock::OnRoots),
                Ok(LookupResult::NegativeEntry(_))
            ));
            let beyond = find(b"/beyond", MayBlock::OnRoots);
            assert_eq!(beyond.expect_err("beyond"), WouldBlock::OnDisk);
            assert!(matches!(
                find(b"/beyond", MayBlock::Anywhere),
                Ok(LookupResult::File(_))
            ));
        }
    }
}

#[test]
fn a_sidecar_without_its_original_is_decoded_in_slices() {
    let place = tempfile::tempdir().expect("temporary directory");
    let content = b"function f() {}\n".repeat(200_000);
    let encoded = crate::site::content::compress(Coding::Gzip, &content);
    let encoded = encoded.expect("text compresses");
    std::fs::write(place.path().join("app.js.gz"), encoded).expect("write");
    let site = SiteConfig::at(place.path().to_owned());
    let lookup = lookup_of(&site, &config::Config::default().cache);
    let find = || lookup.find(b"/app.js", MayBlock::Anywhere, at(0));
    let Err(WouldBlock::InFlight(flight)) = find() else {
        panic!("it takes longer than a slice")
    };
    // Without a waiter the job would end.
    flight.wait(Box::new(|_: &Arc<Flight>| {}));
    assert!(flight.claim_job());
    let mut slices = 1;
    while flight.work(&FirstSlice::new(Millis(0))) {
        slices += 1;
    }
    assert!(slices >= 5, "{slices}");
    let Ok(LookupResult::File(entry)) = find() else {
        panic!("it is decoded")
    };
    assert_eq!(entry.original, crate::site::memory::OriginalState::Decoded);
    assert_eq!(entry.representation.content.len(), content.len() as u64);
    let variants = entry.variants.as_ref().expect("the decoded variant");
    assert!(variants.ready_in(Coding::Gzip).is_some());
}

/// The lookup of `site`, and the roles of its revalidators, which the test takes.
fn with_revalidators(site: &SiteConfig) -> (Lookup, Arc<Mutex<Vec<RevalidatorRole>>>) {
    let cache = config::Config::default().cache;
    let store = FileStore::new(
        &cache,
        Arc::new(DescriptorBudget::unlimited()),
        Arc::default(),
    );
    let lookup = Lookup::open(site, 0, &store).expect("the root");
    let memory = store.memory.expect("a memory");
    let roles: Arc<Mutex<Vec<RevalidatorRole>>> = Arc::default();
    let taken = Arc::clone(&roles);
    memory.revalidators().start(Box::new(move |revalidator| {
        taken
            .lock()
            .expect("nobody panics")
            .push(revalidator.take_role());
    }));
    (lookup, roles)
}

/// If the new file system hangs, the revalidator of the old one still compares the files of other sites.
#[test]
fn a_root_that_is_swapped_to_another_device_gets_a_revalidator_of_its_own() {
    let place = tempfile::tempdir().expect("temporary directory");
    let [current, next] = ["current", "next"].map(|name| place.path().join(name));
    symlink(place.path(), &current).expect("link");
    std::fs::write(place.path().join("version"), "1").expect("write");
    let (lookup, roles) = with_revalidators(&SiteConfig::at(current.clone()));
    let find = |millis| lookup.find(b"/version", MayBlock::Anywhere, at(millis));
    assert!(matches!(find(0), Ok(LookupResult::File(_))));
    symlink("/proc", &next).expect("link");
    std::fs::rename(&next, &current).expect("swap");
    assert!(matches!(find(STALE_AT), Ok(LookupResult::File(_))));
    assert_eq!(roles.lock().expect("nobody panics").len(), 1, "the root's");
    let Err(WouldBlock::InFlight(_)) = find(2 * STALE_AT) else {
        panic!("the order is left to a revalidator")
    };
    let roles = roles.lock().expect("nobody panics");
    assert_eq!(roles.len(), 2);
    let order = roles[1].take().expect("an order");
    lookup.carry_out(&order, || Millis(2 * STALE_AT));
    assert!(matches!(
        lookup.find(b"/version", MayBlock::Never, at(2 * STALE_AT)),
        Ok(LookupResult::File(_))
    ));
}

/// proc(5) is mounted on every Linux system, and temporary files are not below it.
#[test]
fn entries_beyond_a_mount_point_are_left_to_another_revalidator() {
    check_beyond_a_mount_point("/beyond", "/proc/none", "beyond");
    // With applications, the redirect to a directory depends on its index.
    check_beyond_a_mount_point("/guide", "/proc/version", "guide/index.html");
    // So it does on the sidecars of the index, of which each is probed.
    check_beyond_a_mount_point("/guide", "/proc/version", "guide/index.html.gz");
    check_beyond_a_mount_point("/app.js", "/proc/none", "app.js.gz");
}

/// Requests `path`, which has no file, with a link `name` to `target` below the root.
fn check_beyond_a_mount_point(path: &str, target: &str, name: &str) {
    let place = tempfile::tempdir().expect("temporary directory");
    std::fs::create_dir(place.path().join("guide")).expect("mkdir");
    symlink(target, place.path().join(name)).expect("link");
    let site = SiteConfig {
        spa: vec![config::SinglePageApp::everywhere("/app.html")],
        symlinks: SymlinkPolicy::Anywhere,
        ..SiteConfig::at(place.path().to_owned())
    };
    let (lookup, roles) = with_revalidators(&site);
    let find = |may_block, millis| lookup.find(path.as_bytes(), may_block, at(millis));
    assert!(matches!(
        find(MayBlock::Anywhere, 0),
        Ok(LookupResult::NegativeEntry(_))
    ));
    assert_eq!(roles.lock().expect("nobody panics").len(), 1, "the root's");
    // A worker meets the mount point, and leaves the comparison to another revalidator. Later requests
    // go to that one directly.
    for millis in [STALE_AT, 2 * STALE_AT] {
        let Err(WouldBlock::InFlight(flight)) = find(MayBlock::Anywhere, millis) else {
            panic!("at {millis}")
        };
        let roles = roles.lock().expect("nobody panics");
        assert_eq!(roles.len(), 2);
        let order = roles[1].take().expect("an order");
        lookup.carry_out(&order, || Millis(millis));
        let own = Arc::new(AtomicBool::new(false));
        let is_called = Arc::clone(&own);
        flight.wait(Box::new(move |_: &Arc<Flight>| {
            own.store(true, Ordering::Relaxed)
        }));
        assert!(is_called.load(Ordering::Relaxed), "it is over");
        assert!(matches!(
            find(MayBlock::Never, millis),
            Ok(LookupResult::NegativeEntry(_))
        ));
    }
}
