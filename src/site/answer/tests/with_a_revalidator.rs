//! Tests of responses from memory while a revalidation is outstanding. The test acts as the
//! revalidator.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::site::memory::{RevalidatorRole, STALE_IF_ERROR_MILLIS, STALE_WHILE_REVALIDATE_MILLIS};
use crate::site::waiting::Flight;

/// The time in milliseconds at which an entry from time 0 becomes stale.
const STALE_AT: u64 = 1_000;

/// A site whose cache has an entry for `path` from time 0.
fn fixture(path: &str) -> (Fixture, RevalidatorRole) {
    let fixture = Fixture::new(|_| {});
    assert!(fixture.get(MayBlock::Anywhere, 0, path).is_ok());
    let role = fixture.site.revalidators().expect("memory").all()[0].take_role();
    (fixture, role)
}

impl Fixture {
    /// The status of a response from memory.
    fn recall(&self, millis: u64, path: &str) -> Result<u16, WouldBlock> {
        let request = format!("GET {path} HTTP/1.1");
        let answer = self.ask_among_others(MayBlock::Never, millis, &request);
        answer.map(|response| response.status.code())
    }

    /// The flight that the request has to wait for.
    fn awaited(&self, millis: u64, path: &str) -> Arc<Flight> {
        match self.recall(millis, path) {
            Err(WouldBlock::InFlight(flight)) => flight,
            other => panic!("{path} at {millis}: {other:?}"),
        }
    }

    /// The revalidator carries out one order, which must be there, and ends at `millis`.
    fn check(&self, role: &RevalidatorRole, millis: u64) {
        let order = role.take().expect("an order");
        self.site.carry_out(&order, || Millis(millis));
    }
}

/// Whether the waiter on `flight` has been called.
fn is_called(flight: &Arc<Flight>) -> impl Fn() -> bool + use<> {
    let called = Arc::new(AtomicBool::new(false));
    let own = Arc::clone(&called);
    flight.wait(Box::new(move |_: &Arc<Flight>| {
        own.store(true, Ordering::Relaxed)
    }));
    move || called.load(Ordering::Relaxed)
}

#[test]
fn the_first_request_for_a_stale_entry_waits_and_the_others_do_not() {
    for (path, status) in [("/file.txt", 200), ("/guide", 301)] {
        let (fixture, role) = fixture(path);
        // The root is revalidated first, then the entry below it.
        let root = is_called(&fixture.awaited(STALE_AT, path));
        let own = is_called(&fixture.awaited(STALE_AT, path));
        assert_eq!(fixture.recall(STALE_AT, path), Ok(status));
        fixture.check(&role, STALE_AT + 1);
        assert!(root() && !own());
        fixture.check(&role, STALE_AT + 1);
        assert!(own());
        for millis in [STALE_AT + 1, 2 * STALE_AT] {
            assert_eq!(fixture.recall(millis, path), Ok(status));
        }
        fixture.awaited(2 * STALE_AT + 1, path);
    }
}

#[test]
fn a_changed_file_is_not_served_after_the_comparison() {
    for path in ["/file.txt", "/none"] {
        let (fixture, role) = fixture(path);
        let file = fixture.root().join(&path[1..]);
        fs::write(file, "another content").expect("write");
        fixture.awaited(STALE_AT, path);
        fixture.awaited(STALE_AT, path);
        fixture.check(&role, STALE_AT);
        fixture.check(&role, STALE_AT);
        let answer = fixture.recall(STALE_AT, path);
        assert_eq!(answer, Err(WouldBlock::OnDisk), "{path}");
        let answer = fixture.ask(
            MayBlock::Anywhere,
            STALE_AT,
            &format!("GET {path} HTTP/1.1"),
        );
        assert_eq!(answer.expect("with the disk").length, Some(15), "{path}");
    }
}

#[test]
fn while_the_disk_hangs_no_request_waits_for_a_recent_entry() {
    let (fixture, role) = fixture("/file.txt");
    let first = is_called(&fixture.awaited(STALE_AT, "/file.txt"));
    let order = role.take();
    role.begin(Millis(STALE_AT));
    let late = STALE_AT + STALE_WHILE_REVALIDATE_MILLIS;
    fixture.awaited(late - 1, "/file.txt");
    assert!(!first());
    assert_eq!(fixture.recall(late, "/file.txt"), Ok(200));
    assert!(first(), "the next request has released it");
    let too_old = STALE_AT + STALE_IF_ERROR_MILLIS;
    assert_eq!(fixture.recall(too_old - 1, "/file.txt"), Ok(200));
    let waiting = is_called(&fixture.awaited(too_old, "/file.txt"));
    // The disk answers after all.
    let order = order.expect("an order");
    fixture.site.carry_out(&order, || Millis(too_old));
    role.end();
    assert!(waiting());
    let own = is_called(&fixture.awaited(too_old, "/file.txt"));
    fixture.check(&role, too_old);
    assert!(own());
    assert_eq!(fixture.recall(too_old, "/file.txt"), Ok(200));
}

#[test]
fn an_entry_that_was_not_requested_for_an_hour_is_compared_first() {
    let (fixture, role) = fixture("/file.txt");
    let hour = 3_600_000;
    for _ in 0..2 {
        fixture.awaited(hour, "/file.txt");
    }
    fixture.check(&role, hour);
    for _ in 0..2 {
        fixture.awaited(hour, "/file.txt");
    }
    fixture.check(&role, hour);
    assert_eq!(fixture.recall(hour, "/file.txt"), Ok(200));
}

#[test]
fn all_requests_wait_if_the_entry_has_been_stale_for_long() {
    let (fixture, _role) = fixture("/file.txt");
    let first = fixture.awaited(STALE_AT + STALE_WHILE_REVALIDATE_MILLIS, "/file.txt");
    assert_eq!(
        fixture.awaited(STALE_AT + STALE_WHILE_REVALIDATE_MILLIS, "/file.txt"),
        first
    );
}

#[test]
fn a_thread_that_may_block_compares_by_itself() {
    let (fixture, _role) = fixture("/file.txt");
    fs::write(fixture.root().join("file.txt"), "another content").expect("write");
    let answer = fixture.ask(MayBlock::Anywhere, STALE_AT, "GET /file.txt HTTP/1.1");
    assert_eq!(answer.expect("with the disk").length, Some(15));
    assert_eq!(fixture.recall(2 * STALE_AT - 1, "/file.txt"), Ok(200));
}

#[test]
fn without_an_interval_nothing_is_left_to_the_revalidator() {
    let fixture = Fixture::new(|config| config.cache.revalidate_secs = 0);
    let _role = fixture.site.revalidators().expect("memory").all()[0].take_role();
    assert_eq!(fixture.get(MayBlock::Anywhere, 0, "/file.txt"), Ok(200));
    assert_eq!(
        fixture.get(MayBlock::Never, 0, "/file.txt"),
        Err(WouldBlockOnDisk)
    );
    assert_eq!(fixture.get(MayBlock::Anywhere, 0, "/file.txt"), Ok(200));
}

#[test]
fn without_the_revalidator_a_thread_that_may_block_compares() {
    let (fixture, role) = fixture("/file.txt");
    drop(role);
    let answer = fixture.get(MayBlock::Never, STALE_AT, "/file.txt");
    assert_eq!(answer, Err(WouldBlockOnDisk));
    assert_eq!(
        fixture.get(MayBlock::Anywhere, STALE_AT, "/file.txt"),
        Ok(200)
    );
}
