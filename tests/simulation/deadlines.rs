//! Peers that are slow, silent or stuck, and when the server closes their connections.

use abide::clock::Millis;
use abide::connection::counters::CloseReason;

use super::responses::only;
use super::world::{Act, HUGE, LARGE, TestSite, World, at_secs, content};
use support::scripted::ScriptedPeer;

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

/// A peer with room for `room` bytes that acknowledges only when told to.
fn reluctant(room: u64) -> ScriptedPeer {
    ScriptedPeer {
        room,
        acknowledges: false,
        ..ScriptedPeer::new()
    }
}

/// A peer that requests `path` at 0 and acknowledges `bytes` every `every_millis`.
fn slow_reader(world: &mut World, path: &str, room: u64, bytes: u64, every_millis: u64) -> usize {
    let it = world.connect(reluctant(room));
    world.send(Millis(0), it, get(path));
    for step in 1..=1_200_000 / every_millis {
        world.schedule(Millis(step * every_millis), it, Act::Acknowledge(bytes));
    }
    it
}

#[test]
fn half_a_head_gets_408_after_the_head_timeout_however_it_trickles() {
    // RFC 9110 section 15.5.9
    let mut world = TestSite::new().world();
    let it = world.connect(ScriptedPeer::new());
    for (second, byte) in (1..20).zip(b"GET /small HTTP/1.1") {
        world.send(at_secs(second), it, [*byte]);
    }
    world.run_until(at_secs(20));
    assert_eq!(world.peer(it).sent, b"");
    world.run_to_end();
    let answer = only(&world.peer(it).sent);
    assert_eq!((answer.status, answer.max()), (408, None));
    assert_eq!(world.peer(it).fin_at, Some(at_secs(21)));
    assert_eq!(
        world.closed(it),
        Some((CloseReason::HeadTimeout, at_secs(21)))
    );
}

#[test]
fn the_head_timeout_counts_for_each_request_from_its_own_start() {
    let mut world = TestSite::new().world();
    let it = world.connect(ScriptedPeer::new());
    for start in [0, 30, 60] {
        world.send(at_secs(start), it, b"GET /small ");
        world.send(at_secs(start + 19), it, b"HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    world.run_to_end();
    assert_eq!(world.totals().requests, 3);
    assert_eq!(
        world.closed(it),
        Some((CloseReason::Idle, at_secs(79 + 130)))
    );
}

#[test]
fn a_lone_crlf_is_no_request_and_no_activity() {
    // RFC 9112 section 2.2: an empty line before a request is skipped.
    let mut world = TestSite::new().world();
    let it = world.connect(ScriptedPeer::new());
    world.send(at_secs(1), it, b"\r");
    world.send(at_secs(10), it, b"\n");
    world.send(at_secs(19), it, b"\r\n");
    world.run_to_end();
    assert_eq!(world.peer(it).sent, b"", "neither 408 nor 400");
    assert_eq!(world.closed(it), Some((CloseReason::Idle, at_secs(20))));
}

#[test]
fn a_body_that_stops_gets_408() {
    let mut world = TestSite::new().world();
    let it = world.connect(ScriptedPeer::new());
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n";
    world.send(at_secs(1), it, head);
    world.run_to_end();
    assert_eq!(only(&world.peer(it).sent).status, 408);
    assert_eq!(
        world.closed(it),
        Some((CloseReason::BodyTimeout, at_secs(21)))
    );
}

#[test]
fn a_peer_that_takes_nothing_is_reset_after_the_write_timeout() {
    let mut world = TestSite::new().world();
    let it = world.connect(reluctant(10_000));
    world.send(at_secs(1), it, get("/large"));
    // Requests that it sends do not count: only what it takes is progress.
    world.send(at_secs(20), it, get("/small"));
    world.run_to_end();
    assert_eq!(
        world.closed(it),
        Some((CloseReason::WriteTimeout, at_secs(31)))
    );
    assert!(world.peer(it).is_aborted);
    assert_eq!(world.peer(it).sent.len(), 10_000);
}

#[test]
fn what_a_stuck_peer_took_at_the_start_is_not_progress_at_the_write_timeout() {
    let mut world = TestSite::new().world();
    let it = world.connect(reluctant(10_000));
    world.send(Millis(0), it, get("/large"));
    world.schedule(at_secs(1), it, Act::Acknowledge(2_000));
    world.run_to_end();
    let (reason, at) = world.closed(it).unwrap();
    assert_eq!(reason, CloseReason::WriteTimeout);
    // The first look after the acknowledgement comes within a sixth of the timeout.
    assert!((at_secs(31)..=at_secs(37)).contains(&at), "{at:?}");
}

#[test]
fn a_peer_that_acknowledges_nothing_is_reset_after_the_write_timeout() {
    let mut world = TestSite::new().world();
    let it = world.connect(reluctant(u64::MAX));
    world.send(at_secs(1), it, get("/small"));
    world.run_to_end();
    assert_eq!(
        world.closed(it),
        Some((CloseReason::WriteTimeout, at_secs(31)))
    );
    assert!(world.peer(it).is_aborted);
}

#[test]
fn a_slow_but_honest_reader_lives() {
    let mut world = TestSite::new().world();
    let it = slow_reader(&mut world, "/huge", 16_384, 2_048, 1_000);
    world.run_to_end();
    assert!(only(&world.peer(it).sent).body == content(HUGE));
    let (reason, at) = world.closed(it).unwrap();
    assert_eq!(reason, CloseReason::Idle);
    let acknowledged_secs = world.peer(it).sent.len().div_ceil(2_048) as u64;
    assert!(at >= at_secs(acknowledged_secs + 120), "{at:?}");
}

#[test]
fn a_reader_that_moves_but_below_the_floor_does_not_live_for_ever() {
    let mut world = TestSite::new().world();
    let it = slow_reader(&mut world, "/large", 16_384, 1, 29_000);
    world.run_to_end();
    let (reason, at) = world.closed(it).unwrap();
    assert_eq!(reason, CloseReason::WriteTimeout);
    assert!(at <= at_secs(90), "{at:?}");
    assert!(world.peer(it).sent.len() < LARGE);
}

#[test]
fn a_reader_just_above_the_floor_lives_when_the_kernel_holds_its_whole_answer() {
    let mut world = TestSite::new().world();
    // The whole answer is in the socket's buffer; 1,100 bytes per second are above 1 KiB/s.
    let it = slow_reader(&mut world, "/huge", u64::MAX, 1_100, 1_000);
    world.run_to_end();
    let (reason, at) = world.closed(it).unwrap();
    assert_eq!(reason, CloseReason::Idle, "at {at:?}");
}

#[test]
fn an_honest_reader_lives_even_if_grace_is_as_long_as_the_write_timeout() {
    let mut site = TestSite::new();
    site.config.keep_alive.grace_secs = 30;
    let mut world = site.world();
    let it = slow_reader(&mut world, "/huge", u64::MAX, 4_096, 1_000);
    world.run_to_end();
    let (reason, at) = world.closed(it).unwrap();
    assert_eq!(reason, CloseReason::Idle, "at {at:?}");
}

#[test]
fn an_honest_reader_of_the_last_answer_gets_all_of_it() {
    let mut site = TestSite::new();
    site.config.timeouts.write_secs = 5;
    let mut world = site.world();
    let it = world.connect(ScriptedPeer {
        closes_back: false,
        ..reluctant(u64::MAX)
    });
    world.send(
        Millis(0),
        it,
        "GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    );
    for second in 1..=11 {
        world.schedule(at_secs(second), it, Act::Acknowledge(4_096));
    }
    world.run_to_end();
    assert!(!world.peer(it).is_aborted, "{:?}", world.closed(it));
}

#[test]
fn t_is_kept_even_if_a_busy_pool_looks_late() {
    let mut world = TestSite::new().world();
    let it = world.connect(reluctant(u64::MAX));
    world.send(Millis(0), it, get("/small"));
    world.run_until(at_secs(9));
    // The look is due at 10 s, but every worker waits for the disk until 14 s. Meanwhile, at 13 s, the
    // peer acknowledges.
    world.stall_until(at_secs(13));
    world.perform(it, Act::Acknowledge(u64::MAX));
    world.stall_until(at_secs(14));
    world.run_to_end();
    let fin_at = world.peer(it).fin_at.unwrap();
    assert!(
        fin_at >= at_secs(13 + 120),
        "closed {} ms after the acknowledgement",
        fin_at.0 - 13_000
    );
}
