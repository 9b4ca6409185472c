//! How SIGTERM ends the server: it keeps the promises that were made, however often the signal comes.
//! SIGINT is in `interrupt.rs`, handshakes are in `handshakes.rs`, a disk that does not answer is in
//! `slow_disk.rs`.

use std::io::BufReader;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::client::request;
use support::server::{listening_address, program};
use support::{Client, Launch, Server, Site, retried_after_a_stall, until};

/// T = 2 s, grace = 1 s, and a drain that follows them: 3 s.
fn two_seconds(site: &Site) -> Server {
    Launch::of(site.root())
        .config("[keep_alive]\ntimeout = 2\ngrace = 1\n")
        .start()
}

#[test]
fn without_connections_it_ends_at_once_or_after_the_handshakes() {
    retried_after_a_stall(|| {
        let site = Site::new();
        for signal in [Signal::TERM, Signal::INT] {
            let server = Server::of(site.root());
            // A connection that has ended does not count.
            server.connect().expect_usable();
            until("it is gone", || {
                server.signal(Signal::USR2);
                server
                    .stderr()
                    .contains("closes_total{reason=\"client_closed\"} 1\n")
            });
            let start = Instant::now();
            server.signal(signal);
            let ended = server.ended();
            assert_eq!(ended.code, Some(0), "{}", ended.stderr);
            let took = start.elapsed();
            assert!(took < Duration::from_millis(2_500), "{took:?}");
            let handshakes = Duration::from_secs(1);
            assert_eq!(took >= handshakes, signal == Signal::TERM, "{took:?}");
            let nobody = [
                "waiting for 0 connections",
                "stopping, closing 0 connections",
            ];
            assert!(
                nobody.iter().any(|said| ended.stderr.contains(said)),
                "{}",
                ended.stderr
            );
        }
    });
}

/// RFC 9112 section 9.6: the next answer says `close`.
#[test]
fn a_drain_answers_those_who_were_promised_and_refuses_new_ones() {
    retried_after_a_stall(|| {
        let site = Site::new();
        let mut server = two_seconds(&site);
        let address = server.address();
        let mut clients = [server.connect(), server.connect()];
        clients.iter_mut().for_each(Client::expect_usable);
        let answered = Instant::now();
        server.signal(Signal::TERM);
        server.wait_for("waiting for 2 connections");
        until("new connections are refused", || {
            TcpStream::connect(address).is_err()
        });
        // T is 2 s.
        thread::sleep(Duration::from_millis(1_800).saturating_sub(answered.elapsed()));
        assert!(server.is_running(), "it left before T was over");
        for client in &mut clients {
            let response = client.get("/");
            assert_eq!((response.status, response.persists()), (200, false));
            client.expect_end();
        }
        let start = Instant::now();
        drop(clients);
        assert_eq!(server.ended().code, Some(0));
        assert!(
            start.elapsed() < Duration::from_secs(3),
            "no connection is left"
        );
    });
}

#[test]
fn a_drain_ends_when_the_idle_connections_have_had_their_time() {
    retried_after_a_stall(|| {
        let site = Site::new();
        let server = two_seconds(&site);
        let mut client = server.connect();
        client.expect_usable();
        let start = Instant::now();
        server.signal(Signal::TERM);
        client.expect_end();
        let held = start.elapsed();
        assert!(held > Duration::from_millis(1_900), "closed at {held:?}");
        drop(client);
        let ended = server.ended();
        assert_eq!(ended.code, Some(0));
        let report = "drained, promises honoured: 1, broken by the deadline: 0";
        assert!(ended.stderr.contains(report), "{}", ended.stderr);
        assert!(start.elapsed() < Duration::from_secs(6));
    });
}

/// Three clients lose something: one in its T, one within a request, one that has not read its last answer
/// to the end. One that has sent no request and one that was told `close` lose nothing.
#[test]
fn the_report_counts_only_promises() {
    let site = Site::new();
    site.sparse("large", 64 << 20);
    let server = Launch::of(site.root())
        .config("[shutdown]\ndrain = 1\n")
        .start();
    let mut promised = server.connect();
    promised.expect_usable();
    let mut begun = server.connect();
    begun.send("GET / HTTP/1.1\r\nHo");
    let _silent = server.connect();
    let mut told = server.connect();
    told.send("GET / HTTP/1.0\r\n\r\n");
    assert!(!told.answer().persists());
    let mut slow = server.connect();
    slow.send(request("GET", "/large", "Connection: close\r\n"));
    slow.head();
    until("all are accepted", || {
        server.signal(Signal::USR2);
        server.stderr().contains("connections_open 5\n")
    });
    server.signal(Signal::TERM);
    let ended = server.ended();
    let report = "drained, promises honoured: 0, broken by the deadline: 3";
    assert!(ended.stderr.contains(report), "{}", ended.stderr);
    assert_eq!(ended.code, Some(0));
}

/// The server has no room for these clients yet, but their requests are on the way.
#[test]
fn a_drain_serves_the_queue_though_there_is_no_room_for_the_moment() {
    let site = Site::new();
    let server = Launch::of(site.root())
        .config("[limits]\nconnections = 1\n[timeouts]\nlinger = 1\n")
        .start();
    let address = server.address();
    let mut begun = server.connect();
    begun.send("GET / HTTP/1.1\r\nHo");
    // One request is being received, other clients are told 503 and linger, and some are not accepted.
    let mut crowd: Vec<Client> = (0..70).map(|_| server.connect()).collect();
    until("there is no room", || {
        server.signal(Signal::USR2);
        server.stderr().contains("connections_open 65\n")
    });
    let mut waiting = crowd.split_off(64);
    for client in &mut waiting {
        client.send(request("GET", "/", ""));
    }
    server.signal(Signal::TERM);
    server.wait_for("draining");
    drop((begun, crowd));
    for client in &mut waiting {
        let response = client.answer();
        assert!(matches!(response.status, 200 | 503), "{}", response.head);
        assert!(!response.persists());
    }
    drop(waiting);
    until("new connections are refused", || {
        TcpStream::connect(address).is_err()
    });
    assert_eq!(server.ended().code, Some(0));
}

/// A load balancer needs a moment to notice the drain: its connections are accepted, and told `close`.
#[test]
fn a_drain_accepts_for_as_long_as_it_is_told_to() {
    retried_after_a_stall(|| {
        let site = Site::new();
        let mut server = Launch::of(site.root())
            .config("[keep_alive]\ntimeout = 2\ngrace = 1\n[shutdown]\naccept_for = 2\n")
            .start();
        let address = server.address();
        let start = Instant::now();
        server.signal(Signal::TERM);
        server.wait_for("draining");
        while start.elapsed() < Duration::from_millis(1_500) {
            let mut late = server.connect();
            let response = late.get("/");
            assert_eq!((response.status, response.persists()), (200, false));
            late.expect_end();
            drop(late);
            assert!(
                server.is_running(),
                "no client is connected, but one may come"
            );
            thread::sleep(Duration::from_millis(100));
        }
        until("new connections are refused", || {
            TcpStream::connect(address).is_err()
        });
        assert!(start.elapsed() > Duration::from_millis(1_900));
        assert_eq!(server.ended().code, Some(0));
        assert!(start.elapsed() < Duration::from_secs(6));
    });
}

/// A request that is under way when the signal comes is no new request.
#[test]
fn a_drain_waits_for_the_rest_of_a_request() {
    let site = Site::new();
    let server = two_seconds(&site);
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHo");
    until("the server has accepted", || {
        server.signal(Signal::USR2);
        server.stderr().contains("connections_accepted_total 1")
    });
    server.signal(Signal::TERM);
    server.wait_for("draining");
    client.send("st: test\r\n\r\n");
    let response = client.answer();
    assert_eq!((response.status, response.persists()), (200, false));
    client.expect_end();
    drop(client);
    assert_eq!(server.ended().code, Some(0));
}

/// Pipelined requests behind the next one were sent before the client could know of the close.
#[test]
fn a_drain_answers_a_pipeline_to_its_end_and_at_most_64_of_it() {
    let site = Site::new();
    for (sent, answered, lost) in [(5, 5, 0), (70, 64, 1)] {
        let server = two_seconds(&site);
        let mut client = server.connect();
        client.expect_usable();
        server.signal(Signal::TERM);
        server.wait_for("draining");
        client.send(request("GET", "/", "").repeat(sent));
        for number in 1..=answered {
            let response = client.answer();
            assert_eq!(response.status, 200);
            assert_eq!(response.persists(), number < answered, "{number} of {sent}");
        }
        client.expect_end();
        let races = format!("keep_alive_race_total {lost}\n");
        until("the dropped requests are counted", || {
            server.signal(Signal::USR2);
            server.stderr().contains(&races)
        });
        drop(client);
        assert_eq!(server.ended().code, Some(0));
    }
}

#[test]
fn the_drain_deadline_cuts_and_was_warned_about() {
    retried_after_a_stall(|| {
        let site = Site::new();
        let server = Launch::of(site.root())
            .config("[shutdown]\ndrain = 1\n")
            .start();
        assert!(server.stderr().contains("warning: shutdown.drain"));
        let mut client = server.connect();
        client.expect_usable();
        let start = Instant::now();
        server.signal(Signal::TERM);
        client.expect_end();
        assert!(start.elapsed() > Duration::from_millis(900));
        drop(client);
        let ended = server.ended();
        assert_eq!(ended.code, Some(0));
        assert!(ended.stderr.contains("drain deadline"), "{}", ended.stderr);
        let report = "drained, promises honoured: 0, broken by the deadline: 1";
        assert!(ended.stderr.contains(report), "{}", ended.stderr);
        assert!(start.elapsed() < Duration::from_secs(4));
    });
}

#[test]
fn a_drain_of_0_seconds_cuts_at_once() {
    retried_after_a_stall(|| {
        let site = Site::new();
        let server = Launch::of(site.root())
            .config("[shutdown]\ndrain = 0\n")
            .start();
        let mut client = server.connect();
        client.expect_usable();
        let start = Instant::now();
        server.signal(Signal::TERM);
        client.expect_end();
        drop(client);
        assert_eq!(server.ended().code, Some(0));
        assert!(start.elapsed() < Duration::from_secs(2));
    });
}

/// Process managers repeat the signal: at once, in the drain, near its end.
#[test]
fn a_repeated_sigterm_changes_nothing() {
    let site = Site::new();
    let server = two_seconds(&site);
    let mut clients: Vec<Client> = (0..40).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(Client::expect_usable);
    for pause_millis in [0, 1, 50, 600, 600] {
        server.signal(Signal::TERM);
        thread::sleep(Duration::from_millis(pause_millis));
    }
    for client in &mut clients {
        let response = client.get("/");
        assert_eq!((response.status, response.persists()), (200, false));
        client.expect_end();
    }
    drop(clients);
    let ended = server.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let report = "drained, promises honoured: 40, broken by the deadline: 0";
    assert!(ended.stderr.contains(report), "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("draining").count(), 1);
}

/// Clients that connected before the signal may have sent a request, which is answered.
#[test]
fn a_drain_serves_those_who_are_still_in_the_accept_queue() {
    let site = Site::new();
    let server = two_seconds(&site);
    // A stopped process accepts nothing, so all these clients wait in the queue.
    server.signal(Signal::STOP);
    let mut clients: Vec<Client> = (0..100).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send(request("GET", "/", ""));
    }
    server.signal(Signal::TERM);
    server.signal(Signal::CONT);
    for client in &mut clients {
        let answer = client.answer();
        assert_eq!(answer.status, 200);
        client.expect_end();
    }
    assert_eq!(server.ended().code, Some(0));
}

/// The process that started the server may be gone, and with it the terminal or pipe of standard error.
#[test]
fn a_closed_standard_error_does_not_end_the_server() {
    let site = Site::new();
    let mut child = Command::new(program())
        .args(["-l", "127.0.0.1:0"])
        .arg(site.root())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut said = BufReader::new(child.stderr.take().expect("a pipe"));
    let address = listening_address(&mut said);
    drop(said);
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::USR2).expect("the counters are asked for");
    Client::connect(address).expect_usable();
    kill_process(pid, Signal::TERM).expect("the drain begins");
    let mut status = None;
    until("it has drained", || {
        status = child.try_wait().expect("wait");
        status.is_some()
    });
    assert_eq!(status.and_then(|status| status.code()), Some(0));
}

/// RFC 9112 section 9.6: the requests were sent before the client could see a `close`.
#[test]
fn requests_that_have_been_received_are_answered_before_the_close() {
    let site = Site::new();
    let server = two_seconds(&site);
    let mut client = server.connect();
    client.expect_usable();
    server.signal(Signal::TERM);
    server.wait_for("waiting for 1 connection");
    client.send(request("GET", "/", "").repeat(5));
    for _ in 0..4 {
        let response = client.answer();
        assert_eq!((response.status, response.persists()), (200, true));
    }
    let last = client.answer();
    assert_eq!((last.status, last.persists()), (200, false));
    client.expect_end();
    drop(client);
    assert_eq!(server.ended().code, Some(0));
}
