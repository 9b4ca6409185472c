//! How SIGINT ends the server: it finishes the answers under way, within two seconds in any case, and a
//! second SIGINT ends it at once. A disk that does not answer is in `slow_disk.rs`.

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::client::request;
use support::server::{listening_address, program};
use support::{Client, Server, Site, retried_after_a_stall, until};

/// A server with a client whose download never ends, so that the server has something to wait for.
fn with_a_stuck_download(site: &Site) -> (Server, Client) {
    site.sparse("large.bin", 1 << 30);
    let server = Server::of(site.root());
    let mut stuck = Client::connect_narrow(server.address());
    stuck.send(request("GET", "/large.bin", ""));
    stuck.head();
    (server, stuck)
}

#[test]
fn sigint_closes_idle_connections_and_ends_promptly() {
    retried_after_a_stall(|| {
        let site = Site::new();
        let server = Server::of(site.root());
        let mut clients: Vec<Client> = (0..20).map(|_| server.connect()).collect();
        clients.iter_mut().for_each(Client::expect_usable);
        let start = Instant::now();
        server.signal(Signal::INT);
        clients.iter_mut().for_each(Client::expect_end);
        drop(clients);
        let ended = server.ended();
        assert_eq!(ended.code, Some(0));
        assert!(start.elapsed() < Duration::from_secs(2));
    });
}

/// A peer that does not close its side does not keep a user at a terminal waiting.
#[test]
fn sigint_ends_within_two_seconds_whatever_the_clients_do() {
    retried_after_a_stall(|| {
        let site = Site::new();
        site.sparse("large.bin", 1 << 30);
        let server = Server::of(site.root());
        let mut idle = server.connect();
        idle.expect_usable();
        let mut stuck = Client::connect_narrow(server.address());
        stuck.send(request("GET", "/large.bin", ""));
        stuck.head();
        let start = Instant::now();
        server.signal(Signal::INT);
        assert_eq!(server.ended().code, Some(0));
        assert!(start.elapsed() < Duration::from_secs(2));
    });
}

#[test]
fn sigint_finishes_the_answer_under_way() {
    let site = Site::new();
    let len = 16 * 1024 * 1024;
    site.sparse("large.bin", len);
    let server = Server::of(site.root());
    let mut client = Client::connect_narrow(server.address());
    client.send(request("GET", "/large.bin", ""));
    let head = client.head();
    server.signal(Signal::INT);
    server.wait_for("stopping");
    let body = client.rest();
    assert_eq!(head.length(), Some(body.len() as u64));
    drop(client);
    assert_eq!(server.ended().code, Some(0));
}

/// The first SIGINT after a SIGTERM counts as the first.
#[test]
fn a_second_sigint_half_a_second_later_ends_it_at_once_with_1() {
    retried_after_a_stall(|| {
        let site = Site::new();
        for is_draining in [false, true] {
            let (server, _stuck) = with_a_stuck_download(&site);
            if is_draining {
                server.signal(Signal::TERM);
                server.wait_for("draining");
            }
            server.signal(Signal::INT);
            server.wait_for("stopping");
            thread::sleep(Duration::from_millis(550));
            let start = Instant::now();
            server.signal(Signal::INT);
            assert_eq!(server.ended().code, Some(1));
            let took = start.elapsed();
            assert!(took < Duration::from_millis(700), "{took:?}");
        }
    });
}

#[test]
fn sigint_within_a_drain_stops_in_order() {
    retried_after_a_stall(|| {
        let site = Site::new();
        let (server, _stuck) = with_a_stuck_download(&site);
        let mut idle = server.connect();
        idle.expect_usable();
        server.signal(Signal::TERM);
        server.wait_for("draining");
        thread::sleep(Duration::from_millis(600));
        let start = Instant::now();
        server.signal(Signal::INT);
        idle.expect_end();
        assert_eq!(server.ended().code, Some(0));
        let took = start.elapsed();
        let bounds = Duration::from_secs(1)..Duration::from_secs(2);
        assert!(bounds.contains(&took), "an answer was under way: {took:?}");
    });
}

#[test]
fn a_sigterm_after_sigint_changes_nothing() {
    retried_after_a_stall(|| {
        let site = Site::new();
        let (server, _stuck) = with_a_stuck_download(&site);
        let start = Instant::now();
        server.signal(Signal::INT);
        server.wait_for("stopping");
        thread::sleep(Duration::from_millis(600));
        server.signal(Signal::TERM);
        let ended = server.ended();
        assert_eq!(ended.code, Some(0));
        assert!(start.elapsed() > Duration::from_millis(1_100));
        assert!(start.elapsed() < Duration::from_secs(2));
        assert!(!ended.stderr.contains("draining"), "{}", ended.stderr);
    });
}

/// Nothing reads standard error: that holds up no thread of the server, and delays its end by 200 ms at
/// most.
#[test]
fn sigint_ends_it_though_standard_error_is_a_full_pipe() {
    retried_after_a_stall(|| {
        let site = Site::new();
        let mut child = Command::new(program())
            .args(["-l", "127.0.0.1:0"])
            .arg(site.root())
            .env("RUST_LOG", "abide=trace")
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        // At most two bytes are read ahead, so the pipe stays full.
        let mut said = BufReader::with_capacity(2, child.stderr.take().expect("a pipe"));
        let address = listening_address(&mut said);
        let fill = || {
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
            stream.write_all(request("GET", "/", "").repeat(100).as_bytes())
        };
        // More lines than a pipe holds: one for each request.
        for _ in 0..40 {
            if fill().is_err() {
                break;
            }
        }
        let pid = Pid::from_child(&child);
        let start = Instant::now();
        kill_process(pid, Signal::INT).expect("SIGINT");
        let mut status = None;
        until("it has ended", || {
            status = child.try_wait().expect("wait");
            status.is_some()
        });
        let took = start.elapsed();
        assert_eq!(status.and_then(|status| status.code()), Some(0));
        assert!(took < Duration::from_secs(2), "{took:?}");
    });
}
