//! Comparisons that lead beyond a mount point. The test plays the checkers.

use std::os::unix::fs::symlink;
use std::sync::Mutex;

use super::*;
use crate::clock::Millis;
use crate::site::checks::Post;
use crate::site::descriptors::DescriptorBudget;
use crate::site::errand::Errand;

/// When what was learnt at 0 is due.
const DUE: u64 = 1_000;

fn at(millis: u64) -> Now {
    Now {
        monotonic: Millis(millis),
        unix_secs: millis / 1_000,
    }
}

/// A site with files of its own and a link beyond a mount point: proc(5) is mounted on every Linux, and not
/// where temporary files are.
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
        let budget = Arc::new(DescriptorBudget::unlimited());
        let memory = Memory::new(&cache, &budget).map(Arc::new);
        let lookup = Lookup::open(&site_in(&place), 0, &cache, memory, budget).expect("the root");
        // Twice: new, and due. No checker is there.
        for millis in [0, DUE] {
            let find = |path: &[u8], reach| lookup.find(path, reach, at(millis));
            for path in [&b"/file"[..], b"/large"] {
                let found = find(path, Reach::Roots);
                let Ok(Found::File(entry)) = found else {
                    panic!("{found:?}")
                };
                assert_eq!(entry.representation.content.within(Reach::Roots), Ok(()));
            }
            assert!(matches!(
                find(b"/none", Reach::Roots),
                Ok(Found::Nothing(_))
            ));
            let beyond = find(b"/beyond", Reach::Roots);
            assert_eq!(beyond.expect_err("beyond"), NeedsDisk::OutOfReach);
            assert!(matches!(find(b"/beyond", Reach::Disk), Ok(Found::File(_))));
        }
    }
}

/// proc(5) is mounted on every Linux, and not where temporary files are.
#[test]
fn what_lies_beyond_a_mount_point_is_not_compared_by_a_thread_that_others_need() {
    let place = tempfile::tempdir().expect("temporary directory");
    symlink("/proc/none", place.path().join("beyond")).expect("link");
    let site = SiteConfig {
        symlinks: SymlinkPolicy::Anywhere,
        ..SiteConfig::at(place.path().to_owned())
    };
    let cache = config::Config::default().cache;
    let memory = Memory::new(&cache, &DescriptorBudget::unlimited())
        .map(Arc::new)
        .expect("a memory");
    let lookup = Lookup::open(
        &site,
        0,
        &cache,
        Some(Arc::clone(&memory)),
        Arc::new(DescriptorBudget::unlimited()),
    )
    .expect("the root");
    let posts: Arc<Mutex<Vec<Post>>> = Arc::default();
    let manned = Arc::clone(&posts);
    memory.checkers().start(Box::new(move |checks| {
        manned.lock().expect("nobody panics").push(checks.man());
    }));
    let find = |reach, millis| lookup.find(b"/beyond", reach, at(millis));
    assert!(matches!(find(Reach::Disk, 0), Ok(Found::Nothing(_))));
    assert_eq!(posts.lock().expect("nobody panics").len(), 1, "the root's");
    // A worker finds the mount point, and leaves the rest to another checker. Later nobody tries.
    for millis in [DUE, 2 * DUE] {
        let Err(NeedsDisk::UnderWay(errand)) = find(Reach::Disk, millis) else {
            panic!("at {millis}")
        };
        let posts = posts.lock().expect("nobody panics");
        assert_eq!(posts.len(), 2);
        let order = posts[1].take().expect("an order");
        lookup.carry_out(&order, || Millis(millis));
        let own = Arc::new(AtomicBool::new(false));
        let is_called = Arc::clone(&own);
        errand.wait(Box::new(move |_: &Arc<Errand>| {
            own.store(true, Ordering::Relaxed)
        }));
        assert!(is_called.load(Ordering::Relaxed), "it is over");
        assert!(matches!(find(Reach::Memory, millis), Ok(Found::Nothing(_))));
    }
}
