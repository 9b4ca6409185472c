//! A reload under simulated time: no client gets less than it was told, and the new values hold for everybody
//! else from then on.

use std::net::{IpAddr, Ipv4Addr};

use abide::clock::Millis;
use abide::config::Config;
use abide::connection::counters::CloseReason;
use abide::connection::peer::Peer;

use super::responses::{HeadRequests, Received, finals};
use super::world::{TestSite, World, at_secs};
use support::scripted::ScriptedPeer;

const GET: &[u8] = b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n";

/// The values of `timeout` and `max` that a peer was told, response by response; `None` for `close`.
fn told(world: &World, index: usize) -> Vec<Option<(u32, u32)>> {
    let hint = |answer: &Received| {
        let max = answer.max()?;
        let keep_alive = answer.field("keep-alive").expect("it has a max");
        let timeout = keep_alive.strip_prefix("timeout=").expect("T comes first");
        let (timeout, _) = timeout.split_once(',').expect("two parameters");
        Some((timeout.parse().expect("a number"), max))
    };
    let answers = finals(&world.peer(index).sent, HeadRequests::Known(&[]));
    answers.iter().map(hint).collect()
}

/// A connection whose first response was sent at 1 s, of a server with T = 120, grace = 10 and max_requests =
/// 1,000.
fn idle_connection(world: &mut World) -> usize {
    let index = world.connect(ScriptedPeer::new());
    world.send(at_secs(1), index, GET);
    world.run_until(at_secs(2));
    assert_eq!(told(world, index), [Some((120, 999))]);
    index
}

fn lower_all(config: &mut Config) {
    config.keep_alive.timeout_secs = 5;
    config.keep_alive.grace_secs = 1;
    config.keep_alive.max_requests = 3.try_into().expect("not zero");
    config.keep_alive.max_age_secs = 30;
    config.keep_alive.http10 = false;
    config.limits.connections = 1;
    config.limits.connections_per_ip = 1;
}

#[test]
fn an_idle_connection_keeps_the_t_that_it_was_told() {
    // Half of grace after the response, at 6 s, the server learns that it was acknowledged. After that the old
    // grace holds too. Before that the acknowledgement counts as half of the new grace old.
    for (reload_at, closed_at) in [(10, 131_000), (2, 5_500 + 121_000)] {
        let mut world = TestSite::new().world();
        let old = idle_connection(&mut world);
        world.run_until(at_secs(reload_at));
        world.reload(lower_all);
        world.run_until(at_secs(200));
        let closed = (CloseReason::Idle, Millis(closed_at));
        assert_eq!(world.closed(old), Some(closed));
    }
}

#[test]
fn t_never_becomes_shorter_during_a_connection() {
    let mut world = TestSite::new().world();
    let old = idle_connection(&mut world);
    world.reload(lower_all);
    world.send(at_secs(100), old, GET);
    world.run_until(at_secs(101));
    assert_eq!(told(&world, old)[1], Some((120, 998)));
    world.run_to_end();
    let (reason, at) = world.closed(old).expect("it has ended");
    assert_eq!(reason, CloseReason::Idle);
    assert!(
        (221_000..=221_600).contains(&at.0),
        "{at:?}: 100 s + 120 s + 1 s"
    );
}

#[test]
fn a_connection_gets_as_many_requests_as_it_was_told_whatever_is_lowered() {
    let mut site = TestSite::new();
    site.config.keep_alive.max_age_secs = 0;
    let mut world = site.world();
    let old = idle_connection(&mut world);
    let other = idle_connection_at(&mut world, 2);
    world.reload(lower_all);
    for number in 1..1_000 {
        world.send(at_secs(2 + number), old, GET);
    }
    world.run_to_end();
    let told = told(&world, old);
    assert_eq!(told.len(), 1_000);
    for (answered, hint) in (1..1_000).zip(&told) {
        assert_eq!(hint.map(|(_, max)| max), Some(1_000 - answered));
    }
    assert_eq!(told.last(), Some(&None));
    assert!(matches!(
        world.closed(old),
        Some((CloseReason::MaxRequests, _))
    ));
    assert!(
        world
            .closed(other)
            .is_some_and(|(_, at)| at >= at_secs(122))
    );
}

/// As [`idle_connection`], at another second.
fn idle_connection_at(world: &mut World, secs: u64) -> usize {
    let index = world.connect(ScriptedPeer::new());
    world.send(at_secs(secs), index, GET);
    world.run_until(at_secs(secs));
    index
}

#[test]
fn new_connections_get_the_new_values() {
    let mut world = TestSite::new().world();
    world.reload(|config| {
        lower_all(config);
        config.limits.connections = 10;
    });
    let new = world.connect(ScriptedPeer::new());
    world.send(at_secs(1), new, GET.repeat(3));
    world.run_to_end();
    let hints = [Some((5, 2)), Some((5, 1)), None];
    assert_eq!(told(&world, new), hints);
}

#[test]
fn a_longer_t_holds_from_the_next_response_on() {
    let mut site = TestSite::new();
    site.config.keep_alive.timeout_secs = 60;
    let mut world = site.world();
    let old = world.connect(ScriptedPeer::new());
    world.send(at_secs(1), old, GET);
    world.run_until(at_secs(2));
    world.reload(|config| config.keep_alive.timeout_secs = 300);
    world.send(at_secs(3), old, GET);
    world.run_to_end();
    assert_eq!(told(&world, old), [Some((60, 999)), Some((300, 998))]);
    let closed = world.closed(old);
    assert_eq!(closed, Some((CloseReason::Idle, at_secs(313))));
}

#[test]
fn a_higher_max_holds_for_open_connections_too() {
    let mut site = TestSite::new();
    site.config.keep_alive.max_requests = 3.try_into().expect("not zero");
    let mut world = site.world();
    let old = world.connect(ScriptedPeer::new());
    world.send(at_secs(1), old, GET);
    world.run_until(at_secs(2));
    world.reload(|config| config.keep_alive.max_requests = 10.try_into().expect("not zero"));
    world.send(at_secs(3), old, GET);
    world.run_until(at_secs(4));
    assert_eq!(told(&world, old), [Some((120, 2)), Some((120, 8))]);
}

#[test]
fn a_lower_limit_refuses_new_connections_only() {
    let mut world = TestSite::new().world();
    let client = Peer::Ip(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    world.reload(|config| config.limits.connections_per_ip = 10);
    let old: Vec<_> = (0..4)
        .map(|_| world.connect_from(client, ScriptedPeer::new()))
        .collect();
    for index in &old {
        world.send(at_secs(1), *index, GET);
    }
    world.run_until(at_secs(2));
    world.reload(lower_all);
    for index in &old {
        world.send(at_secs(60), *index, GET);
    }
    world.run_until(at_secs(61));
    for index in &old {
        assert_eq!(told(&world, *index), [Some((120, 999)), Some((120, 998))]);
        assert_eq!(world.closed(*index), None);
    }
    let new = world.connect_from(client, ScriptedPeer::new());
    world.send(at_secs(62), new, GET);
    world.run_until(at_secs(63));
    let answers = finals(&world.peer(new).sent, HeadRequests::Known(&[]));
    assert_eq!(answers[0].status, 503);
    // The places under both limits are given back, also under the changed ones.
    world.run_to_end();
    assert_eq!(world.open_under_limit(), 0);
}

#[test]
fn a_shorter_timeout_is_met_for_connections_that_were_idle_before() {
    let mut site = TestSite::new();
    site.config.timeouts.linger_secs = 60;
    site.config.keep_alive.grace_secs = 120;
    let mut world = site.world();
    let old = world.connect(ScriptedPeer::new());
    world.send(at_secs(1), old, GET);
    world.run_until(at_secs(2));
    world.reload(|config| config.timeouts.head_secs = 2);
    // The beginning of a head has the new timeout at once, though the wheel slept for longer before.
    world.send(at_secs(10), old, b"GET /");
    world.run_until(at_secs(30));
    let answers = finals(&world.peer(old).sent, HeadRequests::Known(&[]));
    assert_eq!(answers[1].status, 408);
    assert!(world.peer(old).fin_at.is_some_and(|at| at <= at_secs(13)));
}
