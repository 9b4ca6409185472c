//! The life of a deadline, from start to end.
//!
//! A deadline passes through several files, and no function shows the whole way:
//!
//! 1. The *session* sets it. After a turn, the thread calls `Session::next_deadline` and stores the result
//!    in the slot. It notifies no other thread.
//! 2. The *wheel* finds it. Each connection is filed under one tick, at most the shortest timeout ahead
//!    (5 s by default, to linger). At that tick the event loop compares the deadline with the clock, and
//!    files the connection again if it is not due.
//! 3. The *loop* sleeps until then: it waits for sockets until `TimerWheel::next_tick` at most. A connection
//!    that is due gets a turn, in which the session looks first at its socket and then at the clock.

use abide::clock::Millis;
use abide::connection::counters::CloseReason;

use super::responses::{HeadRequests, finals};
use super::world::{Act, TestSite, at_secs};
use support::scripted::ScriptedPeer;

const GET: &[u8] = b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn three_requests_an_unacknowledged_answer_and_a_close_at_exactly_t_plus_grace() {
    // T is 120 s and grace 10 s, as by default. The client is told T; the server waits for grace longer.
    let site = TestSite::new();
    assert_eq!(site.config.keep_alive.idle_close_after_secs(), 130);
    let mut world = site.world();

    // 0 s. Accepted. Nothing is promised yet: the first byte has to come in 20 s (timeouts.head). The wheel
    // still looks at 5 s, because that deadline may have moved by then.
    let it = world.connect(ScriptedPeer::new());
    assert_eq!(world.deadline(it), at_secs(20));
    assert_eq!(world.next_check(), Some(at_secs(5)));

    // 5 s, 25 s and 60 s: three requests. Each answer moves the deadline to half of grace after it. At that
    // time, if no request has come, the session asks once whether the peer has acknowledged the answer: no
    // event reports that, and asking after each answer would cost a system call.
    world.send(at_secs(5), it, GET);
    world.send(at_secs(25), it, GET);
    world.run_until(at_secs(5));
    assert_eq!(world.deadline(it), at_secs(10));
    // The deadline has moved to an earlier time. The wheel looks at 5 s, finds it, and looks again at 10 s.
    assert_eq!(world.next_check(), Some(at_secs(10)));

    // 10 s. The first look: everything is acknowledged, so T + grace counts from the answer.
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

    // 60 s. The third answer goes into the kernel, but the peer's network is down. T starts when the last
    // byte is acknowledged, which does not happen yet.
    world.schedule(at_secs(60), it, Act::HoldAcknowledgements);
    world.send(at_secs(60), it, GET);
    world.run_until(at_secs(60));
    assert_eq!(
        finals(&world.peer(it).sent, HeadRequests::Known(&[])).len(),
        3
    );
    assert!(world.peer(it).unacknowledged > 0);
    assert_eq!(world.deadline(it), at_secs(65));

    // 65 s. The look finds unacknowledged bytes. The session looks again within grace, and T has not begun.
    world.schedule(at_secs(74), it, Act::Acknowledge(u64::MAX));
    world.run_until(at_secs(65));
    assert_eq!(world.deadline(it), at_secs(75));

    // 74 s. The network is back and the peer acknowledges. The server gets no event.
    world.run_until(at_secs(74));
    assert_eq!(world.deadline(it), at_secs(75));

    // 75 s. The look finds nothing unacknowledged. The peer may rely on the connection until
    // 74 + T = 194 s. T + grace counts from this look, so the connection ends well after that.
    world.run_until(at_secs(75));
    assert_eq!(world.deadline(it), at_secs(75 + 130));

    // 205 s. The deadline passes without a request: the server sends its FIN, and the peer answers with its
    // own.
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
    let it = world.connect(ScriptedPeer::new());
    // The first request comes at the end of timeouts.head, the second at the end of T + grace.
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

/// A client counts T from when it has the whole answer; its last request needs time to arrive.
#[test]
fn a_last_request_has_half_of_grace_whenever_the_answer_was_acknowledged() {
    for late_millis in [100, 4_900, 5_100, 9_900, 12_000, 20_000] {
        let mut world = TestSite::new().world();
        let it = world.connect(ScriptedPeer::new());
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
    let peer = ScriptedPeer {
        closes_back: false,
        ..ScriptedPeer::new()
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
    let it = world.connect(ScriptedPeer::new());
    world.run_to_end();
    assert_eq!(world.closed(it), Some((CloseReason::Idle, at_secs(20))));
    assert_eq!(world.peer(it).sent, b"");
    assert_eq!(
        world.peer(it).fin_at,
        None,
        "no answer was sent that a reset could destroy, so it does not linger"
    );
}
