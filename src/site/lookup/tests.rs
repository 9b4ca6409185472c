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

/// proc(5) is mounted on every Linux, and not where temporary files are.
#[test]
fn what_lies_beyond_a_mount_point_is_not_compared_by_a_thread_that_others_need() {
    check_beyond_a_mount_point("/beyond", "/proc/none", "beyond");
    // The way to a directory depends on its index.
    check_beyond_a_mount_point("/guide", "/proc/version", "guide/index.html");
}

/// Asks for `path`, where nothing is, with a link `name` to `target` below the root.
fn check_beyond_a_mount_point(path: &str, target: &str, name: &str) {
    let place = tempfile::tempdir().expect("temporary directory");
    std::fs::create_dir(place.path().join("guide")).expect("mkdir");
    symlink(target, place.path().join(name)).expect("link");
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
    let find = |reach, millis| lookup.find(path.as_bytes(), reach, at(millis));
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
