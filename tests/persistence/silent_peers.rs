//! Peers that connect and never send a byte. They were promised nothing, so under pressure they are closed
//! first, and at a limit they keep no other client waiting.
//!
//! Servers under the test's clock have the limits of `pressure.rs`.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::pressure::{closed, config, expect_open, is_closed};
use abide::connection::counters::CloseReason;
use support::client::request;
use support::crowd::{CrowdPeer, crowd_size};
use support::{Client, InProcess, Launch, Server, Share, Site, retried_after_a_stall, until};

/// Peers of an attack that are open at the same time.
const PEERS: usize = 2_000;

/// The pause of a client that was told 503 before it tries again.
const RETRY: Duration = Duration::from_millis(50);

/// Connects and sends a request at once. Returns the status of the answer, or `None` if the connection was
/// closed.
fn visit(address: SocketAddr) -> Option<u16> {
    let mut client = Client::connect(address);
    let _ = client.try_send(request("GET", "/", ""));
    client.try_answer(true).ok().map(|answer| answer.status)
}

#[test]
fn those_who_never_asked_go_before_those_who_are_idle() {
    let site = Site::new();
    let server = InProcess::start(config(&site));
    let mut idle: Vec<Client> = (0..7).map(|_| server.connect()).collect();
    idle.iter_mut().for_each(Client::expect_usable);
    server.pass(27_000);
    let mut silent = Vec::new();
    for open in 8..=10 {
        silent.push(server.connect());
        expect_open(&server, open);
    }
    server.pass_until("two make room", 3_000, || {
        server.handle.open_connections() == 8
    });
    // The clients have not closed, and yet their places are free at once.
    assert_eq!(
        closed(&mut silent),
        [true, true, false],
        "the longest first"
    );
    assert!(!closed(&mut idle).contains(&true), "they are idle beyond T");
    let totals = server.handle.totals();
    assert_eq!(totals.closes(CloseReason::Pressure), 2);
}

#[test]
fn nobody_goes_within_the_first_second() {
    let site = Site::new();
    let server = InProcess::start(config(&site));
    let mut silent: Vec<Client> = (0..9).map(|_| server.connect()).collect();
    expect_open(&server, 9);
    server.pass(900);
    assert!(!closed(&mut silent).contains(&true));
    silent.iter_mut().for_each(|client| {
        assert_eq!(client.get("/").status, 200);
    });
}

#[test]
fn at_the_limit_a_newcomer_has_the_place_of_the_longest_silent() {
    let site = Site::new();
    let server = InProcess::start(config(&site));
    let mut silent: Vec<Client> = (0..10).map(|_| server.connect()).collect();
    expect_open(&server, 10);
    for _ in 0..5 {
        assert_eq!(visit(server.address()), Some(503), "they have just come");
    }
    // A newcomer with a request takes the place of a peer that was silent for a quarter of a second.
    server.pass(300);
    until("a request is served", || {
        visit(server.address()) == Some(200)
    });
    assert!(closed(&mut silent)[0], "the longest silent");
}

#[test]
fn at_the_limit_of_an_address_too() {
    let site = Site::new();
    let mut config = config(&site);
    config.limits.connections = 100;
    config.limits.connections_per_ip = 5;
    let server = InProcess::start(config);
    let mut others = Client::connect_from("127.0.0.2", server.address());
    expect_open(&server, 1);
    let mut silent: Vec<Client> = (0..5).map(|_| server.connect()).collect();
    expect_open(&server, 6);
    assert_eq!(visit(server.address()), Some(503));
    server.pass(300);
    until("a request is served", || {
        visit(server.address()) == Some(200)
    });
    assert!(closed(&mut silent)[0], "the longest silent");
    assert!(!is_closed(&mut others), "one of another address");
}

/// Silent peers that keep coming, some 2,000 in a second, until drop.
struct Attack<'a> {
    goes_on: &'a AtomicBool,
}

impl Drop for Attack<'_> {
    fn drop(&mut self) {
        self.goes_on.store(false, Ordering::Relaxed);
    }
}

fn attack(address: SocketAddr, goes_on: &AtomicBool) {
    let mut peers = VecDeque::new();
    let most = crowd_size(PEERS);
    // The number is bounded in any case.
    for _ in 0..2_000 {
        if !goes_on.load(Ordering::Relaxed) {
            return;
        }
        for _ in 0..20 {
            peers.push_back(CrowdPeer::connect(address));
            if peers.len() > most {
                peers.pop_front();
            }
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// An honest client that tries again when it is refused is served within two seconds, time after time.
fn expect_served_under_attack(server: &Server) {
    let address = server.address();
    let goes_on = AtomicBool::new(true);
    thread::scope(|scope| {
        let end = Attack { goes_on: &goes_on };
        scope.spawn(|| attack(address, &goes_on));
        thread::sleep(Duration::from_secs(1));
        let mut longest = Duration::ZERO;
        for _ in 0..10 {
            let start = Instant::now();
            while visit(address) != Some(200) {
                thread::sleep(RETRY);
            }
            longest = longest.max(start.elapsed());
            thread::sleep(Duration::from_millis(100));
        }
        println!("the longest wait was {longest:?}");
        assert!(longest < Duration::from_secs(2), "{longest:?}");
        drop(end);
    });
}

#[test]
fn full_of_silent_peers_that_keep_coming_it_serves_others_within_two_seconds() {
    let _share = Share::of(3);
    retried_after_a_stall(|| {
        let site = Site::new();
        for event_loops in [1, 2] {
            let server = Launch::of(site.root())
                .config(&format!(
                    "event_loops = {event_loops}\n[limits]\nconnections = 200\n"
                ))
                .start();
            expect_served_under_attack(&server);
        }
    });
}

#[test]
fn full_of_silent_peers_of_the_same_address_it_serves_within_two_seconds() {
    let _share = Share::of(3);
    retried_after_a_stall(|| {
        let site = Site::new();
        let server = Launch::of(site.root())
            .config("[limits]\nconnections = 5000\nconnections_per_ip = 200\n")
            .start();
        expect_served_under_attack(&server);
    });
}
