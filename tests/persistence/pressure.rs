//! Too many connections, or too old ones: how the server ends some, and that no client loses anything.
//!
//! The servers run under the test's clock. T = 20 s, grace = 10 s, ten connections at most: pressure begins
//! with the ninth.

use std::time::Duration;

use abide::config::{Config, IdleClose};
use abide::connection::counters::CloseReason;
use abide::connection::server_context::Mode;
use support::{Client, InProcess, Launch, Site, until};

pub fn config(site: &Site) -> Config {
    let mut config = InProcess::config(site);
    config.keep_alive.timeout_secs = 20;
    config.keep_alive.grace_secs = 10;
    config.limits.connections = 10;
    config
}

/// A client with an answer that promises T.
fn regular(server: &InProcess) -> Client {
    let mut client = server.connect();
    assert!(client.get("/").persists());
    client
}

/// A client in the middle of a request: its place cannot be taken.
fn begun(server: &InProcess) -> Client {
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHo");
    client
}

pub fn is_closed(client: &mut Client) -> bool {
    client.is_told_something(Duration::from_millis(2))
}

/// Which of the clients are closed.
pub fn closed(clients: &mut [Client]) -> Vec<bool> {
    clients.iter_mut().map(is_closed).collect()
}

fn count_closed(clients: &mut [Client]) -> usize {
    closed(clients).into_iter().filter(|it| *it).count()
}

fn closes(server: &InProcess, reason: CloseReason) -> u64 {
    server.handle.totals().closes(reason)
}

/// Waits until the server has `count` open connections.
pub fn expect_open(server: &InProcess, count: usize) {
    until("the server has as many connections", || {
        server.handle.open_connections() == count
    });
}

#[test]
fn from_nine_tenths_on_every_answer_is_the_last_one() {
    let site = Site::new();
    let server = InProcess::start(config(&site));
    let mut clients: Vec<Client> = (0..8).map(|_| regular(&server)).collect();
    let mut ninth = server.connect();
    assert!(!ninth.get("/").persists(), "90 % are reached");
    ninth.expect_end();
    drop(ninth);
    expect_open(&server, 8);
    assert!(clients[0].get("/").persists(), "the pressure is over");
    let silent = server.connect();
    expect_open(&server, 9);
    assert!(!clients[0].get("/").persists());
    clients[0].expect_end();
    drop(silent);
    assert_eq!(closes(&server, CloseReason::Pressure), 1);
}

#[test]
fn the_longest_idle_go_first_and_only_as_many_as_it_takes() {
    let site = Site::new();
    let server = InProcess::start(config(&site));
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..8 {
        clients.push(regular(&server));
        server.pass(500);
    }
    // 27 s: the first three have been idle for T + 6 s or longer.
    server.pass(23_000);
    assert!(!clients.iter_mut().any(is_closed), "no pressure, no haste");
    let _two = [begun(&server), begun(&server)];
    server.pass_until("two are closed", 3_000, || count_closed(&mut clients) == 2);
    assert_eq!(
        closed(&mut clients)[..3],
        [true, true, false],
        "the longest idle first"
    );
    drop(clients.drain(..2));
    server.pass(2_000);
    assert!(!clients.iter_mut().any(is_closed), "the pressure is over");
    assert_eq!(closes(&server, CloseReason::Pressure), 2);
    assert_eq!(server.handle.totals().keep_alive_races, 0);
}

/// The promise holds to its last moment: T, half of grace because the server knows only roughly when the
/// answer arrived, and a second for the request to arrive.
#[test]
fn nobody_goes_before_the_time_that_was_promised() {
    let site = Site::new();
    let mut config = config(&site);
    config.timeouts.head_secs = 1_000;
    let server = InProcess::start(config);
    let mut clients: Vec<Client> = (0..9).map(|_| server.connect()).collect();
    // With nine open connections each answer would be the last one.
    let more = clients.split_off(8);
    drop(more);
    expect_open(&server, 8);
    for client in &mut clients {
        assert!(client.get("/").persists());
    }
    let _two = [begun(&server), begun(&server)];
    expect_open(&server, 10);
    server.pass(25_900);
    assert!(!clients.iter_mut().any(is_closed), "closed before T + 6 s");
    assert_eq!(clients[3].get("/").status, 200, "in the last moment");
    // This is before T + grace.
    server.pass_until("the idle ones go", 3_800, || is_closed(&mut clients[0]));
}

#[test]
fn a_busy_connection_is_never_closed_for_its_place() {
    let site = Site::new();
    let mut config = config(&site);
    config.timeouts.head_secs = 1_000;
    let server = InProcess::start(config);
    let mut busy: Vec<Client> = (0..8).map(|_| regular(&server)).collect();
    for client in &mut busy {
        client.send("GET / HTTP/1.1\r\nHo");
    }
    let _two = [begun(&server), begun(&server)];
    server.pass(60_000);
    assert!(!busy.iter_mut().any(is_closed));
    for client in &mut busy {
        client.send("st: test\r\n\r\n");
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn a_request_that_has_come_is_answered_and_not_closed() {
    let site = Site::new();
    let server = InProcess::start(config(&site));
    let mut clients: Vec<Client> = (0..8).map(|_| regular(&server)).collect();
    server.pass(25_000);
    // Pressure and a request on each connection come at the same moment.
    let _two = [begun(&server), begun(&server)];
    for client in &mut clients {
        client.send(support::client::request("GET", "/", ""));
    }
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }
    assert_eq!(server.handle.totals().keep_alive_races, 0);
}

#[test]
fn pressure_only_never_closes_for_age() {
    let site = Site::new();
    let mut config = config(&site);
    config.keep_alive.close = IdleClose::Pressure;
    let server = InProcess::start(config);
    let mut clients: Vec<Client> = (0..8).map(|_| regular(&server)).collect();
    server.pass(100_000);
    assert!(!clients.iter_mut().any(is_closed), "T + grace is 30 s");
    assert!(clients[7].get("/").persists());
    let _ninth = begun(&server);
    server.pass_until("one makes room", 3_000, || count_closed(&mut clients) == 1);
    server.pass(4_000);
    assert_eq!(
        count_closed(&mut clients),
        1,
        "under pressure a lingering connection counts as closed"
    );
    assert!(!is_closed(&mut clients[7]), "it was used last");
    clients.retain_mut(|client| !is_closed(client));
    expect_open(&server, 8);
    assert_eq!(closes(&server, CloseReason::Idle), 0);
    assert_eq!(closes(&server, CloseReason::Pressure), 1);
}

#[test]
fn one_address_feels_its_own_pressure() {
    let site = Site::new();
    let mut config = config(&site);
    config.limits.connections = 100;
    config.limits.connections_per_ip = 2;
    let server = InProcess::start(config);
    let mut first = regular(&server);
    server.pass(27_000);
    let second = begun(&server);
    server.pass_until("the idle one goes", 3_000, || is_closed(&mut first));
    assert_eq!(
        closes(&server, CloseReason::Pressure),
        0,
        "it still lingers"
    );
    first.expect_end();
    drop((first, second));
    expect_open(&server, 0);
    assert_eq!(closes(&server, CloseReason::Pressure), 1);
    let _silent = server.connect();
    assert!(
        !server.connect().get("/").persists(),
        "both places are taken"
    );
}

#[test]
fn unix_peers_are_not_counted_by_address() {
    let site = Site::new();
    let path = site.beside("abide.sock");
    let server = Launch::of(site.root())
        .config("[limits]\nconnections_per_ip = 1\n")
        .listen(&format!("unix:{}", path.display()))
        .start();
    let mut clients: Vec<Client> = (0..20).map(|_| Client::connect_unix(&path)).collect();
    for client in &mut clients {
        assert!(client.get("/").persists());
    }
    drop(server);
}

#[test]
fn an_old_connection_ends_with_its_next_answer_and_not_before() {
    let site = Site::new();
    let mut config = config(&site);
    config.keep_alive.max_age_secs = 60;
    let server = InProcess::start(config);
    let mut client = regular(&server);
    for _ in 0..5 {
        server.pass(11_900);
        assert!(client.get("/").persists());
    }
    server.pass(1_000);
    assert!(!is_closed(&mut client), "60 s old, and idle");
    assert!(!client.get("/").persists());
    client.expect_end();
    drop(client);
    until("the end is counted", || {
        closes(&server, CloseReason::MaxAge) == 1
    });
}

#[test]
fn without_a_maximum_age_a_connection_may_grow_old() {
    let site = Site::new();
    let mut config = config(&site);
    config.keep_alive.max_age_secs = 0;
    let server = InProcess::start(config);
    let mut client = regular(&server);
    for _ in 0..5 {
        server.pass(19_000);
        assert!(client.get("/").persists());
    }
}

#[test]
fn pressure_only_is_no_home_for_those_who_never_ask() {
    let site = Site::new();
    let mut config = config(&site);
    config.keep_alive.close = IdleClose::Pressure;
    let server = InProcess::start(config);
    let mut silent = server.connect();
    let mut asked = regular(&server);
    server.pass(21_000);
    silent.expect_end();
    assert!(!is_closed(&mut asked));
}

#[test]
fn a_drain_ends_at_t_and_grace_under_pressure_only_too() {
    let site = Site::new();
    let mut config = config(&site);
    config.keep_alive.close = IdleClose::Pressure;
    config.shutdown.drain_secs = 1_000;
    let server = InProcess::start(config);
    let mut long_idle = regular(&server);
    server.pass(100_000);
    let mut fresh = regular(&server);
    server.pass(10_000);
    server.handle.enter(Mode::Draining);
    server.pass_until("the old one goes at once", 6_000, || {
        is_closed(&mut long_idle)
    });
    assert!(!is_closed(&mut fresh), "10 s of 30");
    server.pass_until("the other has its time", 21_000, || is_closed(&mut fresh));
    let totals = server.handle.totals();
    assert_eq!(totals.promises_broken, 0);
}

/// The clients of a crowd from one address are refused, and take no place of other clients.
#[test]
fn those_who_are_refused_press_nobody() {
    let site = Site::new();
    let mut config = config(&site);
    config.limits.connections = 20;
    config.limits.connections_per_ip = 4;
    let server = InProcess::start(config);
    let mut crowd: Vec<Client> = (0..60).map(|_| server.connect()).collect();
    until("the crowd is refused", || is_closed(&mut crowd[59]));
    assert_eq!(server.handle.open_connections(), 4);
    assert_eq!(crowd[59].answer().status, 503);
    let mut other = Client::connect_from("127.0.0.2", server.address());
    assert!(other.get("/").persists());
    assert_eq!(server.handle.totals().requests, 1, "a refusal is no answer");
}

/// While the server refuses as many connections as it can, it drops the rest of a crowd; other clients must
/// not wait for that.
#[test]
fn a_crowd_that_cannot_even_be_refused_keeps_nobody_waiting() {
    let site = Site::new();
    let mut config = config(&site);
    config.limits.connections = 300;
    config.limits.connections_per_ip = 4;
    let server = InProcess::start(config);
    let _crowd: Vec<Client> = (0..200).map(|_| server.connect()).collect();
    let mut other = Client::connect_from("127.0.0.2", server.address());
    assert!(other.get("/").persists());
}

/// Refused clients that linger take no place, so their end makes no room.
#[test]
fn refused_ones_that_linger_do_not_count_as_room() {
    let site = Site::new();
    let mut config = config(&site);
    config.keep_alive.close = IdleClose::Pressure;
    let server = InProcess::start(config);
    let mut clients: Vec<Client> = (0..8).map(|_| regular(&server)).collect();
    server.pass(40_000);
    let _two = [begun(&server), begun(&server)];
    expect_open(&server, 10);
    let mut stay: Vec<Client> = (0..4).map(|_| server.connect()).collect();
    until("the four are refused", || stay.iter_mut().all(is_closed));
    server.pass_until("two make room", 4_000, || count_closed(&mut clients) == 2);
}
