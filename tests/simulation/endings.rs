//! How connections end: lingering, refusal, draining and stopping.

use abide::connection::counters::CloseReason;
use abide::connection::server_context::Mode;

use super::responses::{HeadRequests, finals, only};
use super::world::{Act, LARGE, TestSite, World, at_secs, content};
use support::scripted::ScriptedPeer;

const GET: &[u8] = b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n";
const GET_LARGE: &[u8] = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n";
/// It closes the connection, but does not say that no more comes.
const GET_OLD: &[u8] = b"GET /small HTTP/1.0\r\n\r\n";
const GET_CLOSE: &[u8] = b"GET /small HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// A peer that keeps its side open when the server closes.
fn holding_on() -> ScriptedPeer {
    ScriptedPeer {
        closes_back: false,
        ..ScriptedPeer::new()
    }
}

/// A connection whose last answer and FIN were sent at 1 s.
fn lingering(world: &mut World) -> usize {
    let it = world.connect(holding_on());
    world.send(at_secs(1), it, GET_OLD);
    world.run_until(at_secs(1));
    assert_eq!(world.peer(it).fin_at, Some(at_secs(1)));
    assert_eq!(world.closed(it), None);
    it
}

#[test]
fn lingering_ends_at_the_peers_fin() {
    let mut world = TestSite::new().world();
    let it = lingering(&mut world);
    world.schedule(at_secs(3), it, Act::Close);
    world.run_to_end();
    assert_eq!(
        world.closed(it),
        Some((CloseReason::ClientAsked, at_secs(3)))
    );
}

#[test]
fn lingering_ends_at_its_timeout_though_bytes_keep_coming() {
    let mut world = TestSite::new().world();
    let it = lingering(&mut world);
    for second in 2..10 {
        world.send(at_secs(second), it, b"more");
    }
    world.run_to_end();
    assert_eq!(
        world.closed(it),
        Some((CloseReason::ClientAsked, at_secs(6)))
    );
    assert!(!world.peer(it).is_aborted, "everything was delivered");
}

#[test]
fn lingering_ends_when_64_mib_have_come() {
    let mut world = TestSite::new().world();
    let it = lingering(&mut world);
    world.schedule(at_secs(2), it, Act::Flood(64 << 20));
    world.run_until(at_secs(2));
    assert_eq!(world.closed(it), None, "64 MiB are still read");
    world.send(at_secs(3), it, b"!");
    world.run_until(at_secs(3));
    assert_eq!(
        world.closed(it),
        Some((CloseReason::ClientAsked, at_secs(3)))
    );
}

/// RFC 9112 section 9.6: such a client sends no more, so no reset can destroy the answer.
#[test]
fn a_client_that_has_said_close_is_not_waited_for() {
    let mut world = TestSite::new().world();
    let it = world.connect(holding_on());
    world.send(at_secs(1), it, GET_CLOSE);
    world.run_until(at_secs(1));
    assert_eq!(only(&world.peer(it).sent).status, 200);
    assert_eq!(
        world.closed(it),
        Some((CloseReason::ClientAsked, at_secs(1)))
    );
    assert!(!world.peer(it).is_aborted);
}

/// Only the kernel counts it then, and the process may end before the client has the answer.
#[test]
fn in_a_drain_and_under_pressure_it_lingers_all_the_same() {
    for is_drain in [true, false] {
        let mut site = TestSite::new();
        site.config.limits.connections = if is_drain { 100 } else { 1 };
        let mut world = site.world();
        let it = world.connect(holding_on());
        if is_drain {
            world.enter(Mode::Draining);
        }
        world.send(at_secs(0), it, GET_CLOSE);
        world.run_until(at_secs(0));
        assert_eq!(only(&world.peer(it).sent).status, 200);
        assert_eq!(world.closed(it), None, "{is_drain}");
        assert_eq!(world.peer(it).fin_at, Some(at_secs(0)));
    }
}

#[test]
fn the_connection_lingers_if_more_bytes_may_come_or_the_answer_is_large() {
    let large = b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let body = b"GET /small HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1\r\n\r\na";
    for bytes in [
        [GET_CLOSE, b"more"].concat(),
        [GET_CLOSE, GET].concat(),
        GET_OLD.to_vec(),
        large.to_vec(),
        body.to_vec(),
    ] {
        let mut world = TestSite::new().world();
        let it = world.connect(holding_on());
        world.send(at_secs(1), it, &bytes);
        world.run_until(at_secs(1));
        assert_eq!(world.closed(it), None, "{}", bytes.escape_ascii());
        assert_eq!(world.peer(it).fin_at, Some(at_secs(1)));
    }
}

#[test]
fn a_413_is_readable_by_a_client_that_is_still_uploading() {
    // RFC 9112 section 9.6
    let mut world = TestSite::new().world();
    let it = world.connect(holding_on());
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n";
    world.send(at_secs(0), it, head);
    world.schedule(at_secs(1), it, Act::Flood(9_999_999));
    world.run_until(at_secs(1));
    assert_eq!(only(&world.peer(it).sent).status, 413);
    assert_eq!(
        world.closed(it),
        None,
        "closing now would reset the connection"
    );
    assert!(world.peer(it).is_drained());
    world.schedule(at_secs(2), it, Act::Close);
    world.run_to_end();
    assert_eq!(
        world.closed(it),
        Some((CloseReason::BadRequest, at_secs(2)))
    );
    assert_eq!(
        world.totals().keep_alive_races,
        0,
        "an upload is no lost request"
    );
}

#[test]
fn a_client_that_half_closes_after_its_requests_is_answered() {
    // RFC 9112 section 9.6
    let mut world = TestSite::new().world();
    let it = world.connect(ScriptedPeer {
        shares: vec![1_000, 0],
        ..ScriptedPeer::new()
    });
    world.send(at_secs(0), it, [GET_LARGE, GET].concat());
    world.schedule(at_secs(0), it, Act::Close);
    world.run_to_end();
    let answers = finals(&world.peer(it).sent, HeadRequests::Known(&[]));
    assert_eq!(answers.len(), 2);
    assert!(answers[0].body == content(LARGE));
    assert_eq!(
        world.closed(it),
        Some((CloseReason::ClientClosed, at_secs(0)))
    );
}

#[test]
fn a_fin_that_shares_its_edge_with_the_request_is_seen() {
    let mut world = TestSite::new().world();
    let it = world.connect(ScriptedPeer::new());
    world.schedule(at_secs(1), it, Act::SendAndClose(GET.to_vec()));
    world.run_to_end();
    assert_eq!(only(&world.peer(it).sent).status, 200);
    let closed = world.closed(it);
    assert_eq!(closed, Some((CloseReason::ClientClosed, at_secs(1))));
}

#[test]
fn an_end_of_stream_inside_a_request_is_a_400_and_a_close_at_once() {
    for part in [
        "GET / HTT",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n123",
    ] {
        let mut world = TestSite::new().world();
        let it = world.connect(ScriptedPeer::new());
        world.send(at_secs(0), it, part);
        world.schedule(at_secs(1), it, Act::Close);
        world.run_to_end();
        assert_eq!(only(&world.peer(it).sent).status, 400, "{part}");
        assert_eq!(
            world.closed(it),
            Some((CloseReason::BadRequest, at_secs(1)))
        );
    }
}

/// A server whose only place for a connection is taken.
fn full_world() -> World {
    let mut site = TestSite::new();
    site.config.limits.connections = 1;
    let mut world = site.world();
    world.connect(ScriptedPeer::new());
    world
}

#[test]
fn a_refused_connection_is_told_when_to_come_back() {
    // RFC 9110 section 15.6.4
    let mut world = full_world();
    let it = world.connect(ScriptedPeer::new());
    let answer = only(&world.peer(it).sent);
    assert_eq!((answer.status, answer.max()), (503, None));
    assert_eq!(answer.field("retry-after"), Some("2"));
    world.run_to_end();
    assert_eq!(world.closed(it), Some((CloseReason::Refused, at_secs(0))));
}

#[test]
fn a_refused_connection_with_a_full_socket_is_told_all_the_same() {
    let mut world = full_world();
    let it = world.connect(ScriptedPeer {
        shares: vec![0, 3],
        ..ScriptedPeer::new()
    });
    world.run_to_end();
    assert_eq!(only(&world.peer(it).sent).status, 503);
}

#[test]
fn draining_says_close_on_the_next_answer_and_idle_connections_keep_their_promise() {
    let mut world = TestSite::new().world();
    let (busy, idle) = (
        world.connect(ScriptedPeer::new()),
        world.connect(ScriptedPeer::new()),
    );
    world.send(at_secs(1), busy, GET);
    world.send(at_secs(1), idle, GET);
    world.run_until(at_secs(5));
    world.enter(Mode::Draining);
    world.send(at_secs(100), busy, GET);
    world.run_to_end();

    let answers = finals(&world.peer(busy).sent, HeadRequests::Known(&[]));
    assert_eq!(answers[0].max(), Some(999));
    assert_eq!(answers[1].max(), None, "Connection: close");
    assert_eq!(world.closed(busy), Some((CloseReason::Drain, at_secs(100))));
    assert_eq!(world.closed(idle), Some((CloseReason::Idle, at_secs(131))));
}

#[test]
fn stopping_closes_what_is_idle_and_finishes_what_is_under_way() {
    let mut world = TestSite::new().world();
    let idle = world.connect(ScriptedPeer::new());
    let reading = world.connect(ScriptedPeer {
        room: 10_000,
        acknowledges: false,
        ..ScriptedPeer::new()
    });
    world.send(at_secs(1), idle, GET);
    world.send(at_secs(1), reading, [GET_LARGE, GET].concat());
    world.run_until(at_secs(2));
    world.enter(Mode::Stopping);
    world.run_until(at_secs(2));
    assert_eq!(world.closed(idle), Some((CloseReason::Stop, at_secs(2))));
    assert_eq!(world.peer(reading).fin_at, None);

    for _ in 0..5 {
        world.schedule(at_secs(3), reading, Act::Acknowledge(10_000));
    }
    world.run_to_end();
    // The second request came before the stop, so it is answered as the last one.
    let answers = finals(&world.peer(reading).sent, HeadRequests::Known(&[]));
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0].body, content(LARGE));
    assert_eq!(answers[1].field("connection"), Some("close"));
    assert_eq!(
        world.closed(reading),
        Some((CloseReason::Drain, at_secs(3)))
    );
}

/// A byte that has arrived takes precedence over a deadline, even over that of the stop.
#[test]
fn a_request_that_is_there_at_the_stop_is_answered() {
    let mut world = TestSite::new().world();
    let it = world.connect(ScriptedPeer::new());
    world.send(at_secs(1), it, GET);
    world.run_until(at_secs(2));
    world.peer(it).arrive(GET);
    world.enter(Mode::Stopping);
    let answers = finals(&world.peer(it).sent, HeadRequests::Known(&[]));
    assert_eq!(answers.len(), 2);
    let totals = world.totals();
    assert_eq!((totals.promises_honoured, totals.promises_broken), (1, 0));
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_ends_the_connection() {
    let mut world = TestSite::new().world();
    let it = world.connect(ScriptedPeer {
        room: 10_000,
        acknowledges: false,
        ..ScriptedPeer::new()
    });
    world.send(at_secs(1), it, GET_LARGE);
    world.run_until(at_secs(1));
    std::fs::write(world.stage.directory.path().join("large"), b"short").unwrap();
    world.schedule(at_secs(2), it, Act::Acknowledge(10_000));
    world.run_to_end();
    assert_eq!(world.closed(it), Some((CloseReason::Truncated, at_secs(2))));
}

#[test]
fn an_error_in_the_body_of_a_head_request_is_answered_without_content() {
    // RFC 9110 section 9.3.2
    let mut world = TestSite::new().world();
    let it = world.connect(ScriptedPeer::new());
    let head = "HEAD / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnot a size";
    world.send(at_secs(0), it, head);
    world.run_to_end();
    let answers = finals(&world.peer(it).sent, HeadRequests::Known(&[true]));
    assert_eq!(answers[0].status, 400);
}

/// A socket that the kernel cannot watch would never be heard of again.
#[test]
fn a_connection_that_cannot_be_watched_closes_and_counts() {
    let mut world = TestSite::new().world();
    world.set_out_of_memory(true);
    let mut early = ScriptedPeer::new();
    early.arrive(GET);
    let silent = world.connect(ScriptedPeer::new());
    let answered = world.connect(early);
    for it in [silent, answered] {
        let reason = world.closed(it).map(|(reason, _)| reason);
        assert_eq!(reason, Some(CloseReason::Exhausted));
    }
    // Every accepted connection is open or closed.
    assert_eq!((world.accepted(), world.open()), (2, 0));
    assert_eq!(world.totals().closed(), 2);
    world.set_out_of_memory(false);
    let it = world.connect(ScriptedPeer::new());
    world.send(at_secs(1), it, GET);
    world.run_until(at_secs(1));
    assert_eq!(world.closed(it), None);
    assert_eq!(world.totals().durations.requests(), world.totals().requests);
}
