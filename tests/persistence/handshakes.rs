//! Distant clients that are connecting when the server is told to leave: their handshake has begun, so they
//! become connected and send a request, which must be answered. A relay of connections could not show this,
//! because its kernel would make the handshakes; this one relays packets.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use support::client::request;
use support::machine::Machine;
use support::{Launch, PATIENCE, Server, Site};

/// The clients of a server. Each has a connection under way at any time.
const CLIENTS: usize = 20;

/// Servers that are told to leave at the same time, each with its clients.
const SERVERS: usize = 6;

const ROUNDS: usize = 4;

/// The results of the clients of some servers.
#[derive(Debug, Default)]
struct ClientResults {
    answered: usize,
    /// Connected, but not answered.
    lost: usize,
    /// Not connected, because the port had closed after the signal.
    refused: usize,
}

impl ClientResults {
    fn add(&mut self, other: &ClientResults) {
        self.answered += other.answered;
        self.lost += other.lost;
        self.refused += other.refused;
    }
}

/// A server that the machine reaches, with this configuration. Every second one has several event loops,
/// which share its port.
fn start(machine: &Machine, site: &Site, number: usize, config: &str) -> Server {
    Launch::of(site.root())
        .config(&format!("event_loops = {}\n{config}", number % 2 * 2 + 1))
        .listen(&format!("{}:0", machine.server_address()))
        .start()
}

/// Opens a new connection for each request, until one is refused.
fn ask_until_refused(address: SocketAddr, first_pause: Duration) -> ClientResults {
    let mut results = ClientResults::default();
    thread::sleep(first_pause);
    loop {
        let mut stream = match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => stream,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
                results.refused += 1;
                return results;
            }
        };
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut answer = [0; 12];
        let asked = stream.write_all(request("GET", "/", "").as_bytes());
        match asked.and_then(|()| stream.read_exact(&mut answer)) {
            Ok(()) if answer == *b"HTTP/1.1 200" => results.answered += 1,
            _ => results.lost += 1,
        }
    }
}

/// Several servers get SIGTERM under load, in each round at another moment of the clients' round trips.
fn leave_under_load(round_trip: Duration, config: &str, rounds: usize) -> ClientResults {
    let machine = Machine::distant(round_trip);
    let site = Site::new();
    let mut results = ClientResults::default();
    for round in 0..rounds {
        let servers: Vec<Server> = (0..SERVERS)
            .map(|number| start(&machine, &site, number, config))
            .collect();
        let clients: Vec<_> = machine.run(|| {
            let of_server = |server: &Server| {
                let address = server.address();
                // Spread over the two round trips of a request.
                let pause = move |number: usize| round_trip * 2 * number as u32 / CLIENTS as u32;
                let start =
                    move |number| thread::spawn(move || ask_until_refused(address, pause(number)));
                (0..CLIENTS).map(start).collect::<Vec<_>>()
            };
            servers.iter().flat_map(of_server).collect()
        });
        thread::sleep(round_trip * 5 + Duration::from_millis(200 + 37 * round as u64));
        for server in &servers {
            server.signal(Signal::TERM);
        }
        for client in clients {
            results.add(&client.join().expect("no client panics"));
        }
        for server in servers {
            let ended = server.ended();
            assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        }
    }
    println!("at {round_trip:?}: {results:?}");
    assert_eq!(results.refused, rounds * SERVERS * CLIENTS);
    results
}

const LEAVE: &str = "keep_alive = { timeout = 2, grace = 1 }\n";

fn expect_none_lost(round_trip_millis: u64, config: &str) {
    let round_trip = Duration::from_millis(round_trip_millis);
    let results = leave_under_load(round_trip, &format!("{LEAVE}{config}"), ROUNDS);
    assert_eq!(results.lost, 0, "{results:?}");
    assert!(results.answered > 1_000, "{results:?}");
}

/// No handshake can begin with a server that is leaving, but it keeps its port until it has left.
#[test]
fn a_successor_can_have_the_port_when_the_handshakes_are_over() {
    let site = Site::new();
    let mut server = Server::of(site.root());
    let address = server.address();
    server.signal(Signal::TERM);
    server.wait_for("draining, waiting for 0 connections");
    let patience = Duration::from_millis(100);
    let error = TcpStream::connect_timeout(&address, patience).expect_err("it is leaving");
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    assert!(server.is_running(), "a client may be connecting");
    let early = Launch::of(site.root()).listen(&address.to_string()).run();
    assert_eq!(early.code, Some(2), "{}", early.stderr);
    assert_eq!(server.ended().code, Some(0));
    let successor = Launch::of(site.root()).listen(&address.to_string()).start();
    successor.connect().expect_usable();
}

#[test]
fn with_0_seconds_for_handshakes_the_port_closes_at_once() {
    let site = Site::new();
    let config = format!("{LEAVE}shutdown.handshakes = 0\n");
    let server = Launch::of(site.root()).config(&config).start();
    let address = server.address();
    let mut client = server.connect();
    client.expect_usable();
    server.signal(Signal::TERM);
    server.wait_for("draining, waiting for 1 connection");
    let error = TcpStream::connect(address).expect_err("it has closed");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
    client.expect_usable();
}

#[test]
#[ignore = "needs root, ip (iproute2) and macvtap, for a network namespace"]
fn none_is_lost_at_20_ms() {
    expect_none_lost(20, "");
}

#[test]
#[ignore = "needs root, ip (iproute2) and macvtap, for a network namespace"]
fn none_is_lost_at_100_ms() {
    expect_none_lost(100, "");
}

#[test]
#[ignore = "needs root, ip (iproute2) and macvtap, for a network namespace"]
fn none_is_lost_at_300_ms() {
    expect_none_lost(300, "");
}

#[test]
#[ignore = "needs root, ip (iproute2) and macvtap, for a network namespace"]
fn none_is_lost_after_accept_for() {
    expect_none_lost(100, "shutdown.accept_for = 1\n");
}

/// Recent kernels let only root filter. An account without rights has another way.
#[test]
#[ignore = "needs root, ip (iproute2) and macvtap, for a network namespace"]
fn none_is_lost_by_a_server_with_few_rights() {
    expect_none_lost(100, "user = '61000'\ngroup = '61001'\n");
}

/// The opposite case, which shows that the tests above can fail.
#[test]
#[ignore = "needs root, ip (iproute2) and macvtap, for a network namespace"]
fn those_under_way_are_lost_if_the_port_closes_at_once() {
    let config = format!("{LEAVE}shutdown.handshakes = 0\n");
    let results = leave_under_load(Duration::from_millis(100), &config, 1);
    assert!(results.lost > 0, "{results:?}");
}
