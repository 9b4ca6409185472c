//! A connection that is to end, because of a drain, its age or pressure, answers the complete requests that
//! it has received already: the server had allowed the client to send them.

use abide::connection::counters::CloseReason;
use abide::connection::server_context::Mode;

use super::responses::{HeadRequests, finals};
use super::world::{TestSite, World, at_secs};
use support::scripted::ScriptedPeer;

const GET: &[u8] = b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n";
const GET_LARGE: &[u8] = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n";
const GET_CLOSE: &[u8] = b"GET /small HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const POST: &[u8] = b"POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
const POST_CHUNKED: &[u8] =
    b"POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
    4\r\nbody\r\n0\r\nTrailer: x\r\n\r\n";

/// The reasons that the client does not cause.
const REASONS: [CloseReason; 3] = [
    CloseReason::Drain,
    CloseReason::MaxAge,
    CloseReason::Pressure,
];

/// A peer that keeps its side open when the server closes, so that its bytes can cross with the FIN.
fn holding_on() -> ScriptedPeer {
    ScriptedPeer {
        closes_back: false,
        ..ScriptedPeer::new()
    }
}

/// A connection that has had one answer, and is to end for `reason`.
fn retiring(mut site: TestSite, reason: CloseReason) -> (World, usize) {
    match reason {
        CloseReason::MaxAge => site.config.keep_alive.max_age_secs = 5,
        CloseReason::Pressure => site.config.limits.connections = 3,
        _ => {}
    }
    let mut world = site.world();
    let it = world.connect(holding_on());
    world.send(at_secs(1), it, GET);
    world.run_until(at_secs(9));
    match reason {
        CloseReason::Drain => world.enter(Mode::Draining),
        CloseReason::Pressure => {
            let gauge = &world.stage.context.gauge;
            assert!(gauge.enter() && gauge.enter());
        }
        _ => {}
    }
    (world, it)
}

/// The values of `max` in all answers but the first, why the connection ended, and the number of requests
/// that were counted as lost.
fn end(mut world: World, it: usize) -> (Vec<Option<u32>>, CloseReason, u64) {
    world.run_to_end();
    let answers = finals(&world.peer(it).sent, HeadRequests::Known(&[]));
    let max = answers[1..].iter().map(|answer| answer.max()).collect();
    let (reason, _) = world.closed(it).expect("it has ended");
    (max, reason, world.totals().keep_alive_races)
}

/// As [`end`], for `bytes` that arrive at once.
fn answered(reason: CloseReason, bytes: &[u8]) -> (Vec<Option<u32>>, CloseReason, u64) {
    let (mut world, it) = retiring(TestSite::new(), reason);
    world.send(at_secs(10), it, bytes);
    end(world, it)
}

/// The `max` of `count` answers after the first, of which the last says `close`.
fn counted_down(count: u32) -> Vec<Option<u32>> {
    let persisting = (1..count).map(|answered| Some(999 - answered));
    persisting.chain([None]).collect()
}

#[test]
fn close_is_said_on_the_answer_to_the_last_complete_request() {
    for reason in REASONS {
        for count in 1..=5 {
            let expected = (counted_down(count), reason, 0);
            assert_eq!(answered(reason, &GET.repeat(count as usize)), expected);
        }
    }
}

#[test]
fn the_64th_answer_is_the_last_one_and_what_is_dropped_is_counted() {
    for reason in REASONS {
        let all = (counted_down(64), reason, 0);
        assert_eq!(answered(reason, &GET.repeat(64)), all);
        let some = (counted_down(64), reason, 1);
        assert_eq!(answered(reason, &GET.repeat(65)), some);
        assert_eq!(answered(reason, &GET.repeat(70)), some);
    }
}

#[test]
fn a_request_that_is_not_complete_is_not_waited_for() {
    for reason in REASONS {
        for rest in [&GET[..1], &GET[..GET.len() - 1], &POST[..POST.len() - 1]] {
            let bytes = [GET, GET, rest].concat();
            assert_eq!(answered(reason, &bytes), (counted_down(2), reason, 1));
        }
        // A request that is refused, or would be, is not waited for either.
        let bytes = [GET, b"no request\r\n\r\n"].concat();
        assert_eq!(answered(reason, &bytes), (counted_down(1), reason, 1));
    }
}

/// RFC 9112 section 2.2: an empty line after a request is not a request.
#[test]
fn an_empty_line_is_no_request() {
    let bytes = [GET, b"\r\n"].concat();
    let expected = (counted_down(1), CloseReason::Drain, 0);
    assert_eq!(answered(CloseReason::Drain, &bytes), expected);
    let bytes = [GET, b"\r\n", GET, b"\r\n"].concat();
    let expected = (counted_down(2), CloseReason::Drain, 0);
    assert_eq!(answered(CloseReason::Drain, &bytes), expected);
}

#[test]
fn requests_with_bodies_count_if_all_of_them_has_come() {
    for reason in REASONS {
        let bytes = [POST, POST_CHUNKED, GET, POST_CHUNKED, POST].concat();
        assert_eq!(answered(reason, &bytes), (counted_down(5), reason, 0));
    }
}

/// Between two of the requests the connection moves to a worker, because the event loop cannot answer.
#[test]
fn a_request_that_has_to_wait_for_the_disk_is_not_lost() {
    for reason in REASONS {
        let bytes = [GET, GET_LARGE, GET, GET_LARGE, GET_LARGE, GET].concat();
        assert_eq!(answered(reason, &bytes), (counted_down(6), reason, 0));
    }
}

#[test]
fn answers_that_the_socket_takes_byte_by_byte_change_nothing() {
    let mut world = TestSite::new().world();
    let it = world.connect(ScriptedPeer {
        shares: vec![1, 0, 100_000, 0],
        ..ScriptedPeer::new()
    });
    world.send(at_secs(1), it, GET);
    world.run_until(at_secs(2));
    world.enter(Mode::Draining);
    world.send(at_secs(10), it, [GET, GET_LARGE, GET].concat());
    assert_eq!(end(world, it), (counted_down(3), CloseReason::Drain, 0));
}

/// The session looks in the socket for requests that did not fit the buffer at first.
#[test]
fn what_is_still_in_the_socket_has_been_received() {
    let mut site = TestSite::new();
    site.config.limits.head_bytes = 1024;
    let (mut world, it) = retiring(site, CloseReason::Drain);
    let filler = "x".repeat(900);
    let get = format!("GET /small HTTP/1.1\r\nHost: a\r\nX: {filler}\r\n\r\n");
    world.send(at_secs(10), it, get.repeat(40));
    assert_eq!(end(world, it), (counted_down(40), CloseReason::Drain, 0));
}

/// Wherever two requests are cut, both are answered, or the second is counted.
#[test]
fn no_cut_loses_a_request_uncounted() {
    let bytes = [GET, POST_CHUNKED].concat();
    for cut in 1..bytes.len() {
        let (mut world, it) = retiring(TestSite::new(), CloseReason::Drain);
        world.send(at_secs(10), it, &bytes[..cut]);
        world.send(at_secs(11), it, &bytes[cut..]);
        let expected = if cut < GET.len() {
            (counted_down(2), CloseReason::Drain, 0)
        } else {
            (counted_down(1), CloseReason::Drain, 1)
        };
        assert_eq!(end(world, it), expected, "cut at {cut}");
    }
}

#[test]
fn a_request_that_comes_after_the_last_answer_is_counted_once() {
    let (mut world, it) = retiring(TestSite::new(), CloseReason::Drain);
    world.send(at_secs(10), it, [GET, b"GET /"].concat());
    world.send(at_secs(11), it, b"small HTTP/1.1\r\n");
    world.send(at_secs(12), it, b"Host: a\r\n\r\n");
    assert_eq!(end(world, it), (counted_down(1), CloseReason::Drain, 1));
}

/// The client knows these ends in advance, so no request crosses with them.
#[test]
fn max_requests_and_the_clients_own_close_still_end_it() {
    let mut site = TestSite::new();
    site.config.keep_alive.max_requests = 3.try_into().expect("not zero");
    let (mut world, it) = retiring(site, CloseReason::Drain);
    world.send(at_secs(10), it, GET.repeat(5));
    assert_eq!(
        end(world, it),
        (vec![Some(1), None], CloseReason::MaxRequests, 0)
    );

    // The maximum is also the reason if the drain would end with the same answer.
    let mut site = TestSite::new();
    site.config.keep_alive.max_requests = 2.try_into().expect("not zero");
    let (mut world, it) = retiring(site, CloseReason::Drain);
    world.send(at_secs(10), it, [GET, b"GET /"].concat());
    assert_eq!(end(world, it), (vec![None], CloseReason::MaxRequests, 0));

    let bytes = [&b"GET /small HTTP/1.0\r\n\r\n"[..], b"more"].concat();
    let expected = (counted_down(1), CloseReason::ClientAsked, 0);
    assert_eq!(answered(CloseReason::Drain, &bytes), expected);

    let bytes = [GET, GET_CLOSE, GET, GET].concat();
    let expected = (counted_down(2), CloseReason::ClientAsked, 0);
    assert_eq!(answered(CloseReason::Drain, &bytes), expected);
}
