//! Several event loops are one server: they share the ports, the limits and the end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use abide::clock::SystemClock;
use abide::config::{Config, Limits, ListenAddress, SiteConfig};
use abide::connection::counters::CloseReason;
use abide::connection::server_context::Mode;
use abide::server::{Handle, Server};
use support::until;
use tempfile::TempDir;

const LOOPS: usize = 4;

/// So many that the kernel almost certainly gives every loop some.
const CLIENTS: usize = 64;

struct Running {
    handle: Handle,
    addresses: Vec<ListenAddress>,
    thread: JoinHandle<std::io::Result<()>>,
    _root: TempDir,
}

fn run(listen: Vec<ListenAddress>, limits: Limits) -> Running {
    let root = tempfile::tempdir().expect("temporary directory");
    std::fs::write(root.path().join("index.html"), "home").expect("write");
    let config = Config {
        site: SiteConfig::at(root.path()),
        listen,
        workers: 2,
        event_loops: LOOPS,
        limits,
        ..Config::default()
    };
    let server = Server::bind(config, Arc::new(SystemClock::new()), false).expect("bind");
    Running {
        handle: server.handle(),
        addresses: server.addresses().to_vec(),
        thread: thread::spawn(move || server.run()),
        _root: root,
    }
}

impl Running {
    fn address(&self) -> SocketAddr {
        self.addresses[0].tcp_address().expect("TCP")
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).expect("connect");
        let patience = Some(Duration::from_secs(30));
        stream.set_read_timeout(patience).expect("timeout");
        stream
    }

    fn end(self, mode: Mode) {
        self.handle.enter(mode);
        self.thread.join().expect("no panic").expect("no error");
    }
}

fn any_port() -> Vec<ListenAddress> {
    vec![ListenAddress::tcp("127.0.0.1:0".parse().expect("address"))]
}

/// The status line of the answer to a request for `/`.
fn status(stream: &mut (impl Read + Write)) -> String {
    // A refused connection is answered before its request, and may be closed by then.
    let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("an answer");
        answer.push(byte[0]);
    }
    let text = String::from_utf8(answer).expect("ASCII");
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.expect("a length").parse().expect("a number")];
    stream.read_exact(&mut body).expect("the body");
    text.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn they_share_a_port_and_each_serves() {
    let running = run(any_port(), Config::default().limits);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| running.connect()).collect();
    for _ in 0..2 {
        for client in &mut clients {
            assert_eq!(status(client), "HTTP/1.1 200 OK");
        }
    }
    assert_eq!(running.handle.totals().requests, 2 * CLIENTS as u64);
    assert_eq!(running.handle.open_connections(), CLIENTS);
    assert!(
        running
            .handle
            .accepted_by_loop()
            .iter()
            .all(|count| *count > 0),
        "{:?}",
        running.handle.accepted_by_loop()
    );
    running.end(Mode::Stopping);
    for mut client in clients {
        assert_eq!(client.read(&mut [0]).expect("an end"), 0, "closed in order");
    }
}

#[test]
fn a_drain_ends_when_the_last_connection_of_all_has() {
    let running = run(any_port(), Config::default().limits);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| running.connect()).collect();
    for client in &mut clients {
        status(client);
    }
    running.handle.enter(Mode::Draining);
    let mut last = clients.pop().expect("a client");
    drop(clients);
    let handle = running.handle.clone();
    until("the others are gone", || handle.open_connections() == 1);
    assert!(!running.thread.is_finished());
    assert_eq!(status(&mut last), "HTTP/1.1 200 OK", "its promise is kept");
    drop(last);
    running.thread.join().expect("no panic").expect("no error");
    assert_eq!(handle.totals().closes(CloseReason::Drain), 1);
}

#[test]
fn the_limits_are_those_of_the_server() {
    let default = Config::default().limits;
    for limits in [
        Limits {
            connections: 16,
            ..default.clone()
        },
        Limits {
            connections_per_ip: 16,
            ..default
        },
    ] {
        let running = run(any_port(), limits);
        let mut clients: Vec<_> = (0..16).map(|_| running.connect()).collect();
        // All are answered, though from 90 % on each answer is the last of its connection: the clients do
        // not read the end, so the connections stay.
        for client in &mut clients {
            assert_eq!(status(client), "HTTP/1.1 200 OK");
        }
        for _ in 0..LOOPS {
            let refusal = status(&mut running.connect());
            assert_eq!(refusal, "HTTP/1.1 503 Service Unavailable");
        }
        drop(clients);
        let handle = running.handle.clone();
        until("they are gone", || handle.open_connections() == 0);
        assert_eq!(status(&mut running.connect()), "HTTP/1.1 200 OK");
        running.end(Mode::Stopping);
    }
}

#[test]
fn a_unix_socket_is_one_queue_for_all() {
    let place = tempfile::tempdir().expect("temporary directory");
    let path = place.path().join("abide.sock");
    let running = run(vec![ListenAddress::unix(&path)], Config::default().limits);
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|_| UnixStream::connect(&path).expect("connect"))
        .collect();
    for client in &mut clients {
        assert_eq!(status(client), "HTTP/1.1 200 OK");
    }
    // This holds even if there is never more than one connection to accept.
    until("each loop has accepted", || {
        let mut client = UnixStream::connect(&path).expect("connect");
        assert_eq!(status(&mut client), "HTTP/1.1 200 OK");
        let accepted = running.handle.accepted_by_loop();
        accepted.iter().all(|count| *count > 0)
    });
    running.end(Mode::Stopping);
    assert!(!path.exists(), "the socket file is removed");
}
