//! The life of a deadline, from start to end.
//!
//! Deadlines cross files, and no function shows the whole way. It is this:
//!
//! 1. The *session* says when. A worker that has given a session its turn asks `Session::next_deadline`, and
//!    leaves the answer beside the connection. It tells nobody.
//! 2. The *wheel* finds it. Each connection is filed under one tick, never further ahead than the
//!    shortest timeout (5 s by default, to linger). When that tick comes, the event loop compares the
//!    deadline with the clock: not due yet is refiled.
//! 3. The *loop* sleeps until then: `TimerWheel::next_tick` is the longest that it waits for sockets.
//!    What is due gets a turn, and the session looks at its socket first and at the clock second.

use abide::clock::Millis;
use abide::connection::counters::CloseReason;

use super::responses::{HeadRequests, finals};
use super::world::{Act, TestSite, at_secs};
use support::scripted::Peer;

const GET: &[u8] = b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn three_requests_an_unacknowledged_answer_and_a_close_at_exactly_t_plus_grace() {
    // T is 120 s and grace 10 s, as by default. T is what the client is told, grace what we add.
    let site = TestSite::new();
    assert_eq!(site.config.keep_alive.reaped_after_secs(), 130);
    let mut world = site.world();

    // 0 s. Accepted. Nothing was promised yet: the first byte has to come in 20 s (timeouts.head).
    // The wheel looks in 5 s all the same, for that deadline may have moved by then.
    let it = world.connect(Peer::new());
    assert_eq!(world.deadline(it), at_secs(20));
    assert_eq!(world.next_check(), Some(at_secs(5)));

    // 5 s, 25 s and 60 s: three requests. Each answer moves the deadline to half of grace after it,
    // when it will be asked whether the peer has acknowledged it: no event tells, and asking costs a
    // system call, so it is not done after each answer, but once, if nothing else has come by then.
    world.send(at_secs(5), it, GET);
    world.send(at_secs(25), it, GET);
    world.run_until(at_secs(5));
    assert_eq!(world.deadline(it), at_secs(10));
    // It has moved to an earlier time. The wheel looks at 5 s, finds it, and looks again at 10 s.
    assert_eq!(world.next_check(), Some(at_secs(10)));

    // 10 s. The first look: everything is acknowledged. So T + grace counts from the answer.
    world.run_until(at_secs(10));
    assert_eq!(world.peer(it).looks, 1);
    assert_eq!(world.deadline(it), at_secs(5 + 130));
    world.run_until(at_secs(59));
    assert_eq!(
        world.peer(it).looks,
        2,
        "at 30 s the second answer was looked at"
    );
    assert_eq!(world.deadline(it), at_secs(25 + 130));

    // 60 s. The third answer goes into the kernel, but the peer's network is down: the promise of T
    // starts when the last byte is acknowledged, and it is not.
    world.schedule(at_secs(60), it, Act::HoldAcknowledgements);
    world.send(at_secs(60), it, GET);
    world.run_until(at_secs(60));
    assert_eq!(
        finals(&world.peer(it).sent, HeadRequests::Known(&[])).len(),
        3
    );
    assert!(world.peer(it).unacknowledged > 0);
    assert_eq!(world.deadline(it), at_secs(65));

    // 65 s. The look finds bytes outstanding: it looks again within grace, and T has not begun.
    world.schedule(at_secs(74), it, Act::Acknowledge(u64::MAX));
    world.run_until(at_secs(65));
    assert_eq!(world.deadline(it), at_secs(75));

    // 74 s. The network is back and the peer acknowledges. Nobody tells the server.
    world.run_until(at_secs(74));
    assert_eq!(world.deadline(it), at_secs(75));

    // 75 s. The look finds nothing outstanding. The peer may believe in a connection until
    // 74 + T = 194 s; counting T + grace from the first zero seen keeps that, with room to spare.
    world.run_until(at_secs(75));
    assert_eq!(world.deadline(it), at_secs(75 + 130));

    // 205 s. The deadline passes in silence: our FIN, and the peer's in return.
    world.run_until(at_secs(204));
    assert_eq!(world.peer(it).fin_at, None);
    world.run_until(at_secs(205));
    assert_eq!(world.peer(it).fin_at, Some(at_secs(205)));
    assert_eq!(world.closed(it), Some((CloseReason::Idle, at_secs(205))));
    assert_eq!(world.totals().keep_alive_races, 0);
}

#[test]
fn a_request_in_the_very_turn_in_which_the_deadline_passes_is_answered() {
    let mut world = TestSite::new().world();
    let it = world.connect(Peer::new());
    // The first request at the end of timeouts.head, the second at the end of T + grace.
    for (number, at) in [(1, at_secs(20)), (2, at_secs(150))] {
        world.send(at, it, GET);
        world.run_until(at);
        assert_eq!(
            finals(&world.peer(it).sent, HeadRequests::Known(&[])).len(),
            number
        );
        assert_eq!(world.peer(it).fin_at, None);
    }
    world.run_to_end();
    assert_eq!(world.closed(it), Some((CloseReason::Idle, at_secs(280))));
}

/// A client counts T from when it has the whole answer; its last request needs time to reach us.
#[test]
fn a_last_request_has_half_of_grace_whenever_the_answer_was_acknowledged() {
    for late_millis in [100, 4_900, 5_100, 9_900, 12_000, 20_000] {
        let mut world = TestSite::new().world();
        let it = world.connect(Peer::new());
        world.schedule(at_secs(5), it, Act::HoldAcknowledgements);
        world.send(at_secs(5), it, GET);
        let acknowledged_at = Millis(5_000 + late_millis);
        world.schedule(acknowledged_at, it, Act::Acknowledge(u64::MAX));
        let arrives_at = Millis(acknowledged_at.0 + 120_000 + 4_900);
        world.send(arrives_at, it, GET);
        world.run_until(arrives_at);
        let answers = finals(&world.peer(it).sent, HeadRequests::Known(&[])).len();
        assert_eq!(answers, 2, "acknowledged {late_millis} ms late");
    }
}

#[test]
fn a_request_after_our_fin_is_counted_as_a_race() {
    let mut world = TestSite::new().world();
    let peer = Peer {
        closes_back: false,
        ..Peer::new()
    };
    let it = world.connect(peer);
    world.send(at_secs(0), it, GET);
    world.run_until(at_secs(130));
    assert_eq!(world.peer(it).fin_at, Some(at_secs(130)));
    let sent = world.peer(it).sent.len();
    world.send(at_secs(131), it, GET);
    world.send(at_secs(132), it, GET);
    world.run_to_end();
    assert_eq!(
        world.totals().keep_alive_races,
        1,
        "one for each connection"
    );
    assert_eq!(world.peer(it).sent.len(), sent);
}

#[test]
fn a_connection_that_never_sends_a_byte_is_closed_silently() {
    let mut world = TestSite::new().world();
    let it = world.connect(Peer::new());
    world.run_to_end();
    assert_eq!(world.closed(it), Some((CloseReason::Idle, at_secs(20))));
    assert_eq!(world.peer(it).sent, b"");
    assert_eq!(
        world.peer(it).fin_at,
        None,
        "nothing was sent that a reset could destroy, so it does not linger"
    );
}
