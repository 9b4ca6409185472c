//! What memory answers while a comparison with the disk is outstanding. The test plays the revalidator.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::site::memory::{RevalidatorRole, STALE_IF_ERROR_MILLIS, STALE_WHILE_REVALIDATE_MILLIS};
use crate::site::waiting::Flight;

/// When what was learnt at 0 is due.
const DUE: u64 = 1_000;

/// A world that knows the answer for `path`, learnt at 0.
fn world(path: &str) -> (World, RevalidatorRole) {
    let world = World::new(|_| {});
    assert!(world.get(MayBlock::Anywhere, 0, path).is_ok());
    let post = world.site.revalidators().expect("memory").all()[0].take_role();
    (world, post)
}

impl World {
    /// The status that memory answers with.
    fn recall(&self, millis: u64, path: &str) -> Result<u16, WouldBlock> {
        let request = format!("GET {path} HTTP/1.1");
        let answer = self.ask_among_others(MayBlock::Never, millis, &request);
        answer.map(|response| response.status.code())
    }

    /// The flight that has to be waited for.
    fn awaited(&self, millis: u64, path: &str) -> Arc<Flight> {
        match self.recall(millis, path) {
            Err(WouldBlock::InFlight(flight)) => flight,
            other => panic!("{path} at {millis}: {other:?}"),
        }
    }

    /// The revalidator carries out one order, which is there, by `millis`.
    fn check(&self, post: &RevalidatorRole, millis: u64) {
        let order = post.take().expect("an order");
        self.site.carry_out(&order, || Millis(millis));
    }
}

/// Whether who waits for `flight` has been called.
fn is_called(flight: &Arc<Flight>) -> impl Fn() -> bool + use<> {
    let called = Arc::new(AtomicBool::new(false));
    let own = Arc::clone(&called);
    flight.wait(Box::new(move |_: &Arc<Flight>| {
        own.store(true, Ordering::Relaxed)
    }));
    move || called.load(Ordering::Relaxed)
}

#[test]
fn who_finds_it_due_waits_and_the_others_do_not() {
    for (path, status) in [("/file.txt", 200), ("/guide", 301)] {
        let (world, post) = world(path);
        // The root first, then what is below it.
        let root = is_called(&world.awaited(DUE, path));
        let own = is_called(&world.awaited(DUE, path));
        assert_eq!(world.recall(DUE, path), Ok(status));
        world.check(&post, DUE + 1);
        assert!(root() && !own());
        world.check(&post, DUE + 1);
        assert!(own());
        for millis in [DUE + 1, 2 * DUE] {
            assert_eq!(world.recall(millis, path), Ok(status));
        }
        world.awaited(2 * DUE + 1, path);
    }
}

#[test]
fn what_has_changed_is_not_served_once_it_was_compared() {
    for path in ["/file.txt", "/none"] {
        let (world, post) = world(path);
        let file = world.root().join(&path[1..]);
        fs::write(file, "another content").expect("write");
        world.awaited(DUE, path);
        world.awaited(DUE, path);
        world.check(&post, DUE);
        world.check(&post, DUE);
        let answer = world.recall(DUE, path);
        assert_eq!(answer, Err(WouldBlock::OnDisk), "{path}");
        let answer = world.ask(MayBlock::Anywhere, DUE, &format!("GET {path} HTTP/1.1"));
        assert_eq!(answer.expect("with the disk").length, Some(15), "{path}");
    }
}

#[test]
fn while_the_disk_hangs_nobody_waits_for_what_was_known_of_late() {
    let (world, post) = world("/file.txt");
    let first = is_called(&world.awaited(DUE, "/file.txt"));
    let order = post.take();
    post.begin(Millis(DUE));
    let late = DUE + STALE_WHILE_REVALIDATE_MILLIS;
    world.awaited(late - 1, "/file.txt");
    assert!(!first());
    assert_eq!(world.recall(late, "/file.txt"), Ok(200));
    assert!(first(), "the next one has released it");
    let too_old = DUE + STALE_IF_ERROR_MILLIS;
    assert_eq!(world.recall(too_old - 1, "/file.txt"), Ok(200));
    let waiting = is_called(&world.awaited(too_old, "/file.txt"));
    // It answers after all.
    let order = order.expect("an order");
    world.site.carry_out(&order, || Millis(too_old));
    post.end();
    assert!(waiting());
    let own = is_called(&world.awaited(too_old, "/file.txt"));
    world.check(&post, too_old);
    assert!(own());
    assert_eq!(world.recall(too_old, "/file.txt"), Ok(200));
}

#[test]
fn what_nobody_has_asked_for_in_a_while_is_compared_first() {
    let (world, post) = world("/file.txt");
    let hour = 3_600_000;
    for _ in 0..2 {
        world.awaited(hour, "/file.txt");
    }
    world.check(&post, hour);
    for _ in 0..2 {
        world.awaited(hour, "/file.txt");
    }
    world.check(&post, hour);
    assert_eq!(world.recall(hour, "/file.txt"), Ok(200));
}

#[test]
fn others_wait_too_if_it_has_been_due_for_long() {
    let (world, _post) = world("/file.txt");
    let first = world.awaited(DUE + STALE_WHILE_REVALIDATE_MILLIS, "/file.txt");
    assert_eq!(
        world.awaited(DUE + STALE_WHILE_REVALIDATE_MILLIS, "/file.txt"),
        first
    );
}

#[test]
fn who_may_go_to_the_disk_compares_by_itself() {
    let (world, _post) = world("/file.txt");
    fs::write(world.root().join("file.txt"), "another content").expect("write");
    let answer = world.ask(MayBlock::Anywhere, DUE, "GET /file.txt HTTP/1.1");
    assert_eq!(answer.expect("with the disk").length, Some(15));
    assert_eq!(world.recall(2 * DUE - 1, "/file.txt"), Ok(200));
}

#[test]
fn without_an_interval_nothing_is_left_to_the_checker() {
    let world = World::new(|config| config.cache.revalidate_secs = 0);
    let _post = world.site.revalidators().expect("memory").all()[0].take_role();
    assert_eq!(world.get(MayBlock::Anywhere, 0, "/file.txt"), Ok(200));
    assert_eq!(
        world.get(MayBlock::Never, 0, "/file.txt"),
        Err(WouldBlockOnDisk)
    );
    assert_eq!(world.get(MayBlock::Anywhere, 0, "/file.txt"), Ok(200));
}

#[test]
fn without_the_checker_who_may_compares() {
    let (world, post) = world("/file.txt");
    drop(post);
    let answer = world.get(MayBlock::Never, DUE, "/file.txt");
    assert_eq!(answer, Err(WouldBlockOnDisk));
    assert_eq!(world.get(MayBlock::Anywhere, DUE, "/file.txt"), Ok(200));
}
