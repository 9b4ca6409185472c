//! A connection that retires answers the requests that have been received already: `Connection: close` goes
//! on the answer to the last of them.

use std::collections::VecDeque;

use abide::connection::counters::CloseReason;
use abide::connection::service::Mode;

use super::peer::Peer;
use super::responses::{HeadRequests, Received, finals};
use super::world::{TestSite, World, at_secs};

const GET: &[u8] = b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n";
const GET_LARGE: &[u8] = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n";
const WITH_BODY: &[u8] = b"GET /small HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345";
const CHUNKED: &[u8] =
    b"GET /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n";

/// Ways to make a connection retire that has had an answer, and the reason that is given for its end.
const REASONS: [(fn(&mut World), CloseReason); 3] = [
    (
        |world| world.stage.service.enter(Mode::Draining),
        CloseReason::Drain,
    ),
    // Older than `keep_alive.max_age`, which is 10 s here.
    (|world| world.run_until(at_secs(11)), CloseReason::MaxAge),
    (
        // 9 of 10 are 90 %.
        |world| {
            for _ in 0..9 {
                assert!(world.stage.service.occupancy.enter());
            }
        },
        CloseReason::Pressure,
    ),
];

fn world() -> World {
    let mut site = TestSite::new();
    site.config.keep_alive.max_age_secs = 10;
    site.config.limits.connections = 10;
    site.world()
}

fn answers(world: &World, it: usize) -> Vec<Received> {
    finals(&world.peer(it).sent, HeadRequests::Known(&[]))
}

/// A connection that has had one answer, with max=999, and then retires.
fn retiring(world: &mut World, peer: Peer, retire: fn(&mut World)) -> usize {
    let it = world.connect(peer);
    world.send(at_secs(1), it, GET);
    world.run_until(at_secs(1));
    assert_eq!(answers(world, it)[0].max(), Some(999));
    retire(world);
    it
}

/// What `max` said in the answers after the first one: each is 200.
fn maxima(world: &World, it: usize) -> Vec<Option<u32>> {
    let answers = answers(world, it);
    assert!(answers.iter().all(|answer| answer.status == 200));
    answers[1..].iter().map(Received::max).collect()
}

#[test]
fn what_one_segment_brought_is_answered_whatever_the_reason() {
    for (retire, reason) in REASONS {
        let mut world = world();
        let it = retiring(&mut world, Peer::new(), retire);
        let now = world.now;
        world.send(now, it, GET.repeat(5));
        world.run_to_end();
        let expected = [Some(998), Some(997), Some(996), Some(995), None];
        assert_eq!(maxima(&world, it), expected, "{reason:?}");
        assert_eq!(world.closed(it).map(|(reason, _)| reason), Some(reason));
        assert_eq!(world.totals().keep_alive_races, 0);
    }
}

#[test]
fn a_single_request_is_answered_with_close() {
    for (retire, _) in REASONS {
        let mut world = world();
        let it = retiring(&mut world, Peer::new(), retire);
        let now = world.now;
        world.send(now, it, GET);
        world.run_to_end();
        assert_eq!(maxima(&world, it), [None]);
    }
}

#[test]
fn what_arrived_while_the_last_one_was_answered_counts() {
    let mut world = world();
    let peer = Peer {
        // Nothing comes while the first answer is made.
        meanwhile: VecDeque::from([Vec::new(), GET.to_vec()]),
        ..Peer::new()
    };
    let it = retiring(&mut world, peer, REASONS[0].0);
    // Within a second of the first one, so that no look at the disk ends the turn.
    world.send(at_secs(1), it, GET);
    world.run_until(at_secs(1));
    assert_eq!(maxima(&world, it), [Some(998), None]);
    assert_eq!(world.totals().keep_alive_races, 0);
}

#[test]
fn sixty_four_are_answered_and_the_drop_of_others_is_counted() {
    for requests in [64, 65, 70, 400] {
        let mut world = world();
        let it = retiring(&mut world, Peer::new(), REASONS[0].0);
        world.send(at_secs(3), it, GET.repeat(requests));
        world.run_to_end();
        let maxima = maxima(&world, it);
        assert_eq!(maxima.len(), 64, "{requests}");
        assert_eq!(maxima[62..], [Some(936), None]);
        let races = world.totals().keep_alive_races;
        assert_eq!(races, u64::from(requests > 64), "{requests}");
    }
}

#[test]
fn a_part_of_a_request_is_not_waited_for_and_counts_as_a_race() {
    for part in [
        &GET[..1],
        &GET[..GET.len() - 1],
        &WITH_BODY[..WITH_BODY.len() - 1],
    ] {
        let mut world = world();
        let it = retiring(&mut world, Peer::new(), REASONS[0].0);
        world.send(at_secs(3), it, [GET, GET, part].concat());
        world.run_to_end();
        assert_eq!(maxima(&world, it), [Some(998), None]);
        assert_eq!(world.totals().keep_alive_races, 1);
        assert_eq!(world.closed(it), Some((CloseReason::Drain, at_secs(3))));
    }
}

#[test]
fn a_request_that_was_sent_before_our_close_was_seen_is_a_race() {
    let mut world = world();
    let peer = Peer {
        closes_back: false,
        ..Peer::new()
    };
    let it = retiring(&mut world, peer, REASONS[0].0);
    world.send(at_secs(3), it, GET);
    world.send(at_secs(4), it, GET.repeat(2));
    world.run_to_end();
    assert_eq!(maxima(&world, it), [None]);
    assert_eq!(world.totals().keep_alive_races, 1);
}

#[test]
fn requests_with_bodies_count_when_they_are_there_to_their_end() {
    for with_body in [WITH_BODY, CHUNKED] {
        let mut world = world();
        let it = retiring(&mut world, Peer::new(), REASONS[0].0);
        world.send(at_secs(3), it, [GET, with_body, with_body, GET].concat());
        world.run_to_end();
        let expected = [Some(998), Some(997), Some(996), None];
        assert_eq!(maxima(&world, it), expected);
        assert_eq!(world.totals().keep_alive_races, 0);
    }
}

/// Large answers end a turn, or wait for a socket that is full.
#[test]
fn what_was_received_is_answered_over_several_turns() {
    for shares in [vec![], vec![1_000], vec![0, 7_000]] {
        let mut world = world();
        let peer = Peer {
            shares,
            ..Peer::new()
        };
        let it = retiring(&mut world, peer, REASONS[0].0);
        world.send(at_secs(3), it, GET_LARGE.repeat(5));
        world.run_to_end();
        let expected = [Some(998), Some(997), Some(996), Some(995), None];
        assert_eq!(maxima(&world, it), expected);
    }
}

#[test]
fn the_end_that_was_announced_by_max_or_wished_by_the_client_is_no_race() {
    let close = b"GET /small HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut site = TestSite::new();
    site.config.keep_alive.max_requests = 3.try_into().unwrap();
    let mut world = site.world();
    let it = world.connect(Peer::new());
    world.send(at_secs(1), it, GET.repeat(5));
    let other = world.connect(Peer::new());
    world.send(at_secs(1), other, [close, GET].concat());
    world.run_to_end();
    assert_eq!(maxima(&world, it), [Some(1), None]);
    assert_eq!(answers(&world, other).len(), 1);
    assert_eq!(world.totals().keep_alive_races, 0);
}

/// A half-close may come in the same edge.
#[test]
fn a_client_that_has_closed_its_side_gets_all_answers() {
    let mut world = world();
    let it = retiring(&mut world, Peer::new(), REASONS[0].0);
    let act = super::world::Act::SendAndClose(GET.repeat(3));
    world.schedule(at_secs(3), it, act);
    world.run_to_end();
    assert_eq!(maxima(&world, it), [Some(998), Some(997), None]);
    assert_eq!(world.totals().keep_alive_races, 0);
}

/// When places are free again before the last answer, the connection goes on.
#[test]
fn pressure_that_has_passed_ends_nothing() {
    let (press, _) = REASONS[2];
    let mut world = world();
    let it = retiring(&mut world, Peer::new(), press);
    for _ in 0..9 {
        world.stage.service.occupancy.leave();
    }
    world.send(at_secs(3), it, GET.repeat(2));
    world.run_until(at_secs(4));
    assert_eq!(maxima(&world, it), [Some(998), Some(997)]);
    assert_eq!(world.closed(it), None);
}
