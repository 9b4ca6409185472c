//! Peers that vanish: no FIN, no reset, from one moment to the next nothing comes from them any more.
//! They live in a network namespace behind a virtual cable, and vanish when their address is taken
//! away. Nobody tells the server; its timeouts and TCP's own probes have to find out.

#[path = "support/crowd.rs"]
mod crowd;
mod support;

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crowd::{Peer, closes, expect_all_given_back, expect_served_at_once};
use support::client::request;
use support::{Client, Launch, PATIENCE, Server, Site};

/// A machine of its own: a network namespace on the other end of a cable. Removed on drop.
struct Machine {
    namespace: String,
    /// The names of the cable's ends, ours and the machine's.
    ends: [String; 2],
    /// The addresses of the cable's ends: of RFC 2544, which nobody uses in earnest.
    addresses: [Ipv4Addr; 2],
}

impl Machine {
    fn new() -> Machine {
        static MACHINES: AtomicU32 = AtomicU32::new(0);
        let number = MACHINES.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        // Four addresses for each network in 198.18.0.0/15.
        let network = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + (pid * 8 + number) % (1 << 15) * 4;
        let machine = Machine {
            namespace: format!("abide-{pid}-{number}"),
            ends: ["s", "c"].map(|end| format!("ab{pid}{end}{number}")),
            addresses: [network + 1, network + 2].map(Ipv4Addr::from),
        };
        let [ours, theirs] = &machine.ends;
        let namespace = &machine.namespace;
        ip(&format!("netns add {namespace}"));
        ip(&format!(
            "link add {ours} type veth peer name {theirs} netns {namespace}"
        ));
        ip(&format!(
            "address add {}/30 dev {ours}",
            machine.addresses[0]
        ));
        ip(&format!("link set {ours} up"));
        ip(&format!("-n {namespace} link set {theirs} up"));
        machine.appear();
        machine
    }

    /// Gives the machine its address.
    fn appear(&self) {
        let (address, end) = (self.addresses[1], &self.ends[1]);
        ip(&format!(
            "-n {} address add {address}/30 dev {end}",
            self.namespace
        ));
    }

    /// Takes the address away: what comes for it is dropped, and nothing can be sent from it. Its
    /// sockets do not know.
    fn vanish(&self) {
        ip(&format!(
            "-n {} address flush dev {}",
            self.namespace, self.ends[1]
        ));
    }

    /// Runs `start` on the machine: the sockets that it opens stay there.
    fn run<R: Send>(&self, start: impl FnOnce() -> R + Send) -> R {
        let namespace = File::open(format!("/run/netns/{}", self.namespace)).expect("a namespace");
        let enter_and_start = || {
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), network).expect("setns, as root");
            start()
        };
        // A thread of its own, so that nothing else moves there.
        let result = thread::scope(|scope| scope.spawn(enter_and_start).join());
        result.expect("the machine's thread does not panic")
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The cable goes with one of its ends, also when the namespace lives on in a socket.
        let [ours, _] = &self.ends;
        for arguments in [
            format!("link delete {ours}"),
            format!("netns delete {}", self.namespace),
        ] {
            let _ = Command::new("ip").args(arguments.split(' ')).output();
        }
    }
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.expect("the command ip, of the package iproute2");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments} (as root): {said}");
}

const CONFIG: &str = "\
    [tcp_keep_alive]\nidle = 1\ninterval = 1\ncount = 2\n\
    [timeouts]\nhead = 2\nbody = 2\nwrite = 2\nlinger = 1\n\
    [keep_alive]\nclose = \"pressure\"\n";

/// The machine that vanishes, a server that it reaches, and a client that stays.
struct Scene {
    server: Server,
    polite: Client,
    /// Where the machine reaches the server.
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
            .listen(&format!("{}:0", machine.addresses[0]))
            .start();
        let listening = server.listening();
        let address = listening[1]
            .strip_prefix("http://")
            .expect("a TCP listener");
        Scene {
            polite: server.connect(),
            address: address.parse().expect("an address"),
            server,
            machine,
            _site: site,
        }
    }

    /// Starts a peer on the machine.
    fn start(&self, start: impl Fn(SocketAddr) -> Peer + Sync) -> Peer {
        self.machine.run(|| start(self.address))
    }

    fn wait_for_close(&mut self, reason: &str) -> Duration {
        wait_for_closes(&self.server, &mut self.polite, reason, 1)
    }
}

/// Waits until `reason` is counted `count` times; returns how long that took. Meanwhile the polite
/// client is served.
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

/// It has had an answer and says nothing.
fn idle(address: SocketAddr) -> Peer {
    let peer = Peer::connect(address);
    peer.send(request("GET", "/", ""));
    while !peer.is_told_something() {
        thread::sleep(Duration::from_millis(1));
    }
    peer
}

/// It takes its download as fast as that comes, and is far from its end.
fn downloading(address: SocketAddr) -> Peer {
    let peer = Peer::connect(address);
    peer.send(request("GET", "/large.bin", ""));
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(1));
        peer.sip(64 * 1024);
    }
    peer
}

fn in_a_head(address: SocketAddr) -> Peer {
    let peer = Peer::connect(address);
    peer.send("GET / HTTP/1.1\r\nHo");
    peer
}

fn in_a_body(address: SocketAddr) -> Peer {
    let peer = Peer::connect(address);
    peer.send(request("POST", "/", "Content-Length: 9\r\n") + "body");
    peer
}

/// Nothing else would: no idle connection is closed for its age here. RFC 9293 section 3.8.4.
#[test]
#[ignore = "needs root and ip (iproute2), for a network namespace"]
fn an_idle_peer_that_vanishes_is_found_by_the_probes() {
    let mut scene = Scene::new();
    let _peer = scene.start(idle);
    // While it is there it answers them, and nothing happens.
    thread::sleep(Duration::from_secs(4));
    assert_eq!(closes(&scene.server, "reset"), 0);
    scene.machine.vanish();
    let took = scene.wait_for_close("reset");
    println!("found after {took:?}");
    assert!(took > Duration::from_secs(1), "after {took:?}");
}

#[test]
#[ignore = "needs root and ip (iproute2), for a network namespace"]
fn a_peer_that_vanishes_from_a_download_ends_at_the_write_timeout() {
    let mut scene = Scene::new();
    let _peer = scene.start(downloading);
    scene.machine.vanish();
    let took = scene.wait_for_close("write_timeout");
    println!("ended after {took:?}");
    // What it took before may be seen as late as the first look.
    assert!(took < Duration::from_secs(2 + 2 + 4), "after {took:?}");
}

/// The 408 cannot be delivered; `timeouts.write` after it was sent that is given up.
#[test]
#[ignore = "needs root and ip (iproute2), for a network namespace"]
fn a_peer_that_vanishes_within_a_request_ends_though_its_408_is_not_delivered() {
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
}

#[test]
#[ignore = "needs root and ip (iproute2), for a network namespace"]
fn nothing_is_left_of_two_hundred_that_vanish_at_once() {
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
    let mut held: Vec<Peer> = Vec::new();
    expect_all_given_back(server, 3, |round| {
        // Those of the last round close, where nobody hears it.
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
}
