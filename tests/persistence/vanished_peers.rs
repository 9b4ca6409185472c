//! Peers that vanish: without a FIN or a reset, they send nothing from one moment to the next. They live in
//! a network namespace behind a virtual cable, and vanish when their address is removed. The server gets no
//! event; its timeouts and TCP's own probes have to notice.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use support::client::request;
use support::counters::closes;
use support::crowd::{CrowdPeer, expect_all_given_back, expect_served_at_once};
use support::machine::Machine;
use support::{Client, Launch, PATIENCE, Server, Site, retried_after_a_stall};

const CONFIG: &str = "\
    [tcp_keep_alive]\nidle = 1\ninterval = 1\ncount = 2\n\
    [timeouts]\nhead = 2\nbody = 2\nwrite = 2\nlinger = 1\n\
    [keep_alive]\nclose = \"pressure\"\n";

/// The machine that vanishes, a server that it reaches, and a client that stays.
struct Scene {
    server: Server,
    polite: Client,
    /// The address at which the machine reaches the server.
    address: SocketAddr,
    machine: Machine,
    _site: Site,
}

impl Scene {
    fn new() -> Scene {
        let site = Site::new();
        site.sparse("large.bin", 64 * 1024 * 1024);
        let machine = Machine::new();
        let server = Launch::of(site.root())
            .config(CONFIG)
            .listen("127.0.0.1:0")
            .listen(&format!("{}:0", machine.server_address()))
            .start();
        let listening = server.listening();
        let address = listening[1]
            .strip_prefix("http://")
            .expect("a TCP listener");
        // It sends a request at once: a connection without one is closed after `timeouts.head`.
        let mut polite = server.connect();
        polite.expect_usable();
        Scene {
            polite,
            address: address.parse().expect("an address"),
            server,
            machine,
            _site: site,
        }
    }

    /// Starts a peer on the machine.
    fn start(&self, start: impl Fn(SocketAddr) -> CrowdPeer + Sync) -> CrowdPeer {
        self.machine.run(|| start(self.address))
    }

    fn wait_for_close(&mut self, reason: &str) -> Duration {
        wait_for_closes(&self.server, &mut self.polite, reason, 1)
    }
}

/// Waits until `reason` is counted `count` times, and returns how long that took. The polite client is
/// served meanwhile.
fn wait_for_closes(server: &Server, polite: &mut Client, reason: &str, count: u64) -> Duration {
    let start = Instant::now();
    while closes(server, reason) != count {
        let said = server.stderr();
        assert!(start.elapsed() < PATIENCE, "no {reason}: {said}");
        expect_served_at_once(polite);
        thread::sleep(Duration::from_millis(50));
    }
    start.elapsed()
}

/// A peer that has had an answer and sends nothing more.
fn idle(address: SocketAddr) -> CrowdPeer {
    let peer = CrowdPeer::connect(address);
    peer.send(request("GET", "/", ""));
    while !peer.is_told_something() {
        thread::sleep(Duration::from_millis(1));
    }
    peer
}

/// A peer that reads its download as fast as it comes, and is far from the end.
fn downloading(address: SocketAddr) -> CrowdPeer {
    let peer = CrowdPeer::connect(address);
    peer.send(request("GET", "/large.bin", ""));
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(1));
        peer.sip(64 * 1024);
    }
    peer
}

fn in_a_head(address: SocketAddr) -> CrowdPeer {
    let peer = CrowdPeer::connect(address);
    peer.send("GET / HTTP/1.1\r\nHo");
    peer
}

fn in_a_body(address: SocketAddr) -> CrowdPeer {
    let peer = CrowdPeer::connect(address);
    peer.send(request("POST", "/", "Content-Length: 9\r\n") + "body");
    peer
}

/// RFC 9293 section 3.8.4: only the probes find it, as no idle connection is closed for its age here.
#[test]
#[ignore = "needs root and ip (iproute2), for a network namespace"]
fn an_idle_peer_that_vanishes_is_found_by_the_probes() {
    retried_after_a_stall(|| {
        let mut scene = Scene::new();
        let _peer = scene.start(idle);
        // While it is there it answers the probes, and nothing happens.
        thread::sleep(Duration::from_secs(4));
        assert_eq!(closes(&scene.server, "reset"), 0);
        scene.machine.vanish();
        let took = scene.wait_for_close("reset");
        println!("found after {took:?}");
        assert!(took > Duration::from_secs(1), "after {took:?}");
    });
}

#[test]
#[ignore = "needs root and ip (iproute2), for a network namespace"]
fn a_peer_that_vanishes_from_a_download_ends_at_the_write_timeout() {
    retried_after_a_stall(|| {
        let mut scene = Scene::new();
        let _peer = scene.start(downloading);
        scene.machine.vanish();
        let took = scene.wait_for_close("write_timeout");
        println!("ended after {took:?}");
        // The bytes that it took before may be seen as late as the first look.
        assert!(took < Duration::from_secs(2 + 2 + 4), "after {took:?}");
    });
}

/// The 408 cannot be delivered; the server gives up `timeouts.write` after it was sent.
#[test]
#[ignore = "needs root and ip (iproute2), for a network namespace"]
fn a_peer_that_vanishes_within_a_request_ends_though_its_408_is_not_delivered() {
    retried_after_a_stall(|| {
        let mut scene = Scene::new();
        let _head = scene.start(in_a_head);
        let _body = scene.start(in_a_body);
        let start = Instant::now();
        scene.machine.vanish();
        for reason in ["head_timeout", "body_timeout"] {
            scene.wait_for_close(reason);
            let took = start.elapsed();
            println!("{reason} after {took:?}");
            let bounds = Duration::from_secs(2)..Duration::from_secs(2 + 2 + 4);
            assert!(bounds.contains(&took), "{reason} after {took:?}");
        }
    });
}

#[test]
#[ignore = "needs root and ip (iproute2), for a network namespace"]
fn nothing_is_left_of_two_hundred_that_vanish_at_once() {
    retried_after_a_stall(|| {
        let mut scene = Scene::new();
        // The large file stays open in the cache.
        assert_eq!(scene.polite.ask("HEAD", "/large.bin").status, 200);
        let Scene {
            server,
            polite,
            address,
            machine,
            ..
        } = &mut scene;
        let each: u64 = 50;
        let mut held: Vec<CrowdPeer> = Vec::new();
        expect_all_given_back(server, 3, |round| {
            // The peers of the previous round close, but their FINs cannot arrive.
            held.clear();
            if round > 1 {
                machine.appear();
            }
            held = machine.run(|| {
                let kinds = [idle, in_a_head, in_a_body, downloading];
                let four = |_| kinds.map(|start| start(*address));
                (0..each).flat_map(four).collect()
            });
            machine.vanish();
            for reason in ["head_timeout", "body_timeout", "write_timeout", "reset"] {
                let took = wait_for_closes(server, polite, reason, u64::from(round) * each);
                println!("round {round}: {reason} after another {took:?}");
            }
        });
    });
}
