//! More connections than there are places, and a drain: which connections end, which stay, and that no
//! client loses a promised answer.

use abide::clock::Millis;
use abide::connection::counters::CloseReason;
use abide::connection::server_context::Mode;

use super::crowd::Dice;
use super::responses::{HeadRequests, Received, finals, only};
use super::world::{Act, LARGE, SMALL, TestSite, World, at_secs, content};
use support::scripted::ScriptedPeer;

const GET: &[u8] = b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n";
const GET_LARGE: &[u8] = b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n";

/// The time that each answer promises, in milliseconds.
const T_MILLIS: u64 = 120_000;

const LIMIT: usize = 2_500;
/// Connections that come one by one, in [`ARRIVAL_MILLIS`].
const STEADY: usize = 7_000;
/// Connections that come within a second, at [`BURST_AT`].
const BURST: usize = 3_000;
const ARRIVAL_MILLIS: u64 = 300_000;
const BURST_AT: u64 = 150_000;
/// When the drain begins, in the middle of many conversations.
const DRAIN_AT: Millis = Millis(300_000);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Sends a request at once, and again after pauses shorter than T.
    Regular,
    /// Never sends anything.
    Silent,
    /// Sends its request in two parts.
    Halting,
    /// Reads a large file slowly.
    Slow,
}

/// A peer whose request arrives with the connection.
fn asking(request: &[u8]) -> ScriptedPeer {
    let mut peer = ScriptedPeer::new();
    peer.arrive(request);
    peer
}

/// Opens a connection of this kind now.
fn connect(world: &mut World, kind: Kind, dice: &mut Dice) -> usize {
    let now = world.now().0;
    match kind {
        Kind::Silent => world.connect(ScriptedPeer::new()),
        Kind::Regular => {
            let it = world.connect(asking(GET));
            let mut at = now;
            for _ in 0..dice.below(5) {
                at += 1 + dice.below(T_MILLIS - 1);
                world.send(Millis(at), it, GET);
            }
            it
        }
        Kind::Halting => {
            let it = world.connect(asking(&GET[..12]));
            world.send(Millis(now + 5_000), it, &GET[12..]);
            it
        }
        Kind::Slow => {
            let it = world.connect(ScriptedPeer {
                room: 8_192,
                acknowledges: false,
                ..asking(GET_LARGE)
            });
            for step in 1..40 {
                let at = Millis(now + step * 500);
                world.schedule(at, it, Act::Acknowledge(4_096));
            }
            it
        }
    }
}

fn answers(world: &World, it: usize) -> Vec<Received> {
    finals(&world.peer(it).sent, HeadRequests::Known(&[]))
}

/// Checks that the server kept its promises to connection `it`. Returns why it ended; `None` if it was
/// closed without an answer.
fn check(world: &World, kind: Kind, it: usize, came_at: Millis) -> Option<CloseReason> {
    let Some((reason, closed_at)) = world.closed(it) else {
        assert_eq!(
            kind,
            Kind::Silent,
            "{it}: a request is left without an answer"
        );
        assert_eq!(world.peer(it).sent, b"");
        return None;
    };
    let answers = answers(world, it);
    if reason == CloseReason::Refused {
        assert_eq!((answers.len(), answers[0].status), (1, 503), "{it}");
        return Some(reason);
    }
    let requests = match kind {
        Kind::Silent => 0,
        Kind::Halting => world.peer(it).arrivals / 2,
        Kind::Regular | Kind::Slow => world.peer(it).arrivals,
    };
    assert_eq!(answers.len(), requests, "{it}: {kind:?} {reason:?}");
    let len = if kind == Kind::Slow { LARGE } else { SMALL };
    for answer in &answers {
        assert!(answer.status == 200 && answer.body == content(len), "{it}");
    }
    let is_promised = answers.last().is_some_and(|answer| answer.max().is_some());
    let had = closed_at.since(world.peer(it).sent_at);
    assert!(
        !is_promised || had >= T_MILLIS,
        "{it}: {reason:?} after {had} ms"
    );
    if kind == Kind::Silent && reason == CloseReason::Pressure {
        let silent_millis = closed_at.since(came_at);
        assert!(silent_millis >= 250, "{it}: after {silent_millis} ms");
    }
    Some(reason)
}

#[test]
fn of_ten_thousand_connections_at_a_limit_and_in_a_drain_nobody_loses_what_was_promised() {
    let mut site = TestSite::new();
    site.config.limits.connections = LIMIT;
    let mut world = site.world();
    let mut dice = Dice(16);
    let steady = (0..STEADY).map(|_| dice.below(ARRIVAL_MILLIS));
    let mut arrivals: Vec<u64> = steady.collect();
    arrivals.extend((0..BURST).map(|_| BURST_AT + dice.below(1_000)));
    arrivals.sort_unstable();
    let mut connections = Vec::new();
    let mut most_open = 0;
    for arrival in arrivals {
        world.run_until(Millis(arrival));
        let kind = match dice.below(20) {
            0..11 => Kind::Regular,
            11..16 => Kind::Silent,
            16..18 => Kind::Halting,
            _ => Kind::Slow,
        };
        let it = connect(&mut world, kind, &mut dice);
        connections.push((kind, it, world.now()));
        most_open = most_open.max(world.stage.context.gauge.open());
    }
    world.run_until(DRAIN_AT);
    world.enter(Mode::Draining);
    world.run_to_end();

    assert_eq!(most_open, LIMIT, "the limit is reached, and not exceeded");
    assert!(world.has_ended(), "nothing is left at the drain's deadline");
    let mut reasons = Vec::new();
    for (kind, it, came_at) in connections {
        reasons.push((kind, check(&world, kind, it, came_at)));
    }
    for expected in [
        (Kind::Silent, CloseReason::Pressure),
        (Kind::Silent, CloseReason::Idle),
        (Kind::Regular, CloseReason::Pressure),
        (Kind::Regular, CloseReason::Refused),
        (Kind::Regular, CloseReason::Drain),
        (Kind::Regular, CloseReason::Idle),
    ] {
        let (kind, reason) = expected;
        let count = reasons.iter().filter(|of| **of == (kind, Some(reason)));
        assert!(count.count() > 10, "{expected:?}");
    }
    let totals = world.totals();
    assert_eq!((totals.promises_broken, totals.keep_alive_races), (0, 0));
    assert!(
        totals.promises_honoured > 1_000,
        "{}",
        totals.promises_honoured
    );
}

#[test]
fn a_newcomer_takes_the_place_of_the_longest_silent_one() {
    let mut site = TestSite::new();
    site.config.limits.connections = 3;
    let mut world = site.world();
    let asked = world.connect(asking(GET));
    let mut silent = Vec::new();
    for at in [100, 200] {
        world.run_until(Millis(at));
        silent.push(world.connect(ScriptedPeer::new()));
    }
    // No connection has been silent for 250 ms, so this request gets a 503.
    world.run_until(Millis(300));
    let early = world.connect(asking(GET));
    assert_eq!(only(&world.peer(early).sent).status, 503);
    // Now the first has been. A newcomer without a request is refused until one has been silent for a
    // second.
    world.run_until(Millis(400));
    let mute = world.connect(ScriptedPeer::new());
    assert_eq!(only(&world.peer(mute).sent).status, 503);
    assert_eq!(world.closed(silent[0]), None);
    let late = world.connect(asking(GET));
    assert_eq!(only(&world.peer(late).sent).status, 200);
    let evicted = Some((CloseReason::Pressure, Millis(400)));
    assert_eq!(world.closed(silent[0]), evicted);
    assert_eq!(world.closed(silent[1]), None);
    assert_eq!(world.closed(asked), None, "it was promised more");
    assert_eq!(world.peer(silent[0]).sent, b"");
}

/// The first turn of a handshake that has begun leaves it to a worker, and it is silent all the same.
#[test]
fn a_newcomer_takes_the_place_of_a_handshake_that_does_not_go_on() {
    let mut site = TestSite::new();
    site.config.limits.connections = 3;
    let mut world = site.world();
    let asked = world.connect(asking(GET));
    let mut begun = Vec::new();
    for at in [100, 200] {
        world.run_until(Millis(at));
        begun.push(world.connect(ScriptedPeer {
            handshake: Some(8),
            ..asking(b"hello")
        }));
    }
    world.run_until(Millis(300));
    let early = world.connect(asking(GET));
    assert_eq!(only(&world.peer(early).sent).status, 503);
    world.run_until(Millis(400));
    let late = world.connect(asking(GET));
    assert_eq!(only(&world.peer(late).sent).status, 200);
    let evicted = Some((CloseReason::Pressure, Millis(400)));
    assert_eq!(world.closed(begun[0]), evicted);
    assert_eq!(world.closed(begun[1]), None);
    assert_eq!(world.closed(asked), None);
}

#[test]
fn the_longest_idle_go_first_and_only_after_their_t() {
    let mut site = TestSite::new();
    site.config.limits.connections = 20;
    let mut world = site.world();
    // 17 connections are just below nine tenths of the limit. With two more, two must end.
    let mut idle = Vec::new();
    for second in 0..17 {
        world.run_until(at_secs(second));
        idle.push(world.connect(asking(GET)));
    }
    // These never complete a request, so they cannot be closed under pressure.
    world.run_until(at_secs(115));
    for _ in 0..2 {
        world.connect(asking(&GET[..12]));
    }
    world.run_until(at_secs(119));
    assert!(idle.iter().all(|it| world.closed(*it).is_none()));
    world.run_until(at_secs(128));
    let gone: Vec<usize> = (0..17)
        .filter(|it| world.closed(idle[*it]).is_some())
        .collect();
    assert_eq!(gone, [0, 1]);
    for it in gone {
        let (reason, at) = world.closed(idle[it]).expect("it has gone");
        assert_eq!(reason, CloseReason::Pressure);
        assert!(at.0 >= it as u64 * 1_000 + T_MILLIS, "{at:?}");
    }
}

#[test]
fn the_deadline_of_a_drain_breaks_the_promises_that_are_left_and_counts_them() {
    let mut site = TestSite::new();
    site.config.shutdown.drain_secs = 60;
    let mut world = site.world();
    let mut idle = Vec::new();
    for second in [1, 20, 50, 61, 90] {
        world.run_until(at_secs(second));
        idle.push(world.connect(asking(GET)));
    }
    let silent = world.connect(ScriptedPeer::new());
    world.run_until(at_secs(120));
    world.enter(Mode::Draining);
    world.run_to_end();
    assert!(world.has_ended());
    // The deadline is at 180 s. The first two have gone by then, and the third has had its T.
    let ends = idle.iter().map(|it| world.closed(*it).expect("closed").0);
    assert_eq!(
        ends.collect::<Vec<_>>(),
        [
            CloseReason::Idle,
            CloseReason::Idle,
            CloseReason::Stop,
            CloseReason::Stop,
            CloseReason::Stop
        ]
    );
    assert_eq!(
        world.closed(silent),
        Some((CloseReason::Idle, at_secs(110)))
    );
    let totals = world.totals();
    assert_eq!((totals.promises_honoured, totals.promises_broken), (3, 2));
}
