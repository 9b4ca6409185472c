//! Whether a greedy or a lazy client slows the others down: `cargo bench --bench fairness`. It prints a
//! table of latencies, after two minutes.
//!
//! The ordinary clients are 32 connections that ask for 1 KB, again as soon as they have it. Each kind
//! of bad neighbour is measured in short spells that take turns with spells without it. The ratio is
//! the median of the pairs, with the quartiles that say how far to trust it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use support::beside::{Compared, cell};
use support::client::request;
use support::load::{Load, Measured};
use support::{Launch, Site, pattern};

const ORDINARY: usize = 32;
const SPELL: Duration = Duration::from_millis(400);
const PAIRS: usize = 24;

/// Ratio of the p99 beside a bad neighbour to the p99 without one that is to be kept.
const MOST_RATIO: f64 = 1.3;

/// Requests in one call of the client that never reads.
const PIPELINED: usize = 64;

/// How long a client that is stuck waits before it starts anew, where it does.
const STUCK: Duration = Duration::from_millis(50);

/// A client that does not behave like the others.
struct Neighbour {
    title: &'static str,
    /// Plays it on one connection until it is stuck for good or is told to stop.
    play: fn(&Scene<'_>),
    /// Whether it connects again when it is stuck.
    starts_anew: bool,
    /// Whether the spells without it are spells in which it does the same to somebody else. What it
    /// takes of the CPU itself counts on both sides then: the server has no part in that.
    is_always_there: bool,
}

/// What a neighbour works with.
struct Scene<'a> {
    server: SocketAddr,
    has_to_stop: &'a AtomicBool,
    starts_anew: bool,
    /// Bytes that it has sent and received, to show that it did something.
    moved: &'a AtomicU64,
}

const NEIGHBOURS: [Neighbour; 4] = [
    Neighbour {
        title: "one that pipelines and never reads",
        play: pipeline,
        starts_anew: false,
        is_always_there: false,
    },
    Neighbour {
        title: "the same, on a new connection whenever it is stuck for 50 ms",
        play: pipeline,
        starts_anew: true,
        is_always_there: false,
    },
    Neighbour {
        title: "the same, compared with its doing it to another server",
        play: pipeline,
        starts_anew: true,
        is_always_there: true,
    },
    Neighbour {
        title: "one that reads 1 byte a second of 10 MB",
        play: sip,
        starts_anew: false,
        is_always_there: false,
    },
];

fn main() {
    let site = Site::empty();
    site.write("1k.html", pattern(1024));
    site.write("large.bin", pattern(10_000_000));
    let config = "[keep_alive]\nmax_requests = 2147483647\n";
    let server = Launch::of(site.root()).config(config).start();
    let answer = server.connect().get("/1k.html");
    let load = Load {
        server: server.address(),
        connections: ORDINARY,
        request: request("GET", "/1k.html", "").into_bytes(),
        answer_bytes: answer.head.len() + 4 + answer.body.len(),
    };
    println!("\n## {ORDINARY} ordinary clients beside one of another kind\n");
    println!("| neighbour | without it | beside it | ratio of p99 | target | met | it moved |");
    println!("|---|---|---|---|---|---|---|");
    for neighbour in &NEIGHBOURS {
        measure(neighbour, &load);
    }
}

fn measure(neighbour: &Neighbour, load: &Load) {
    let (moved, elsewhere) = (AtomicU64::new(0), AtomicU64::new(0));
    let sink = sink();
    let control = || {
        if neighbour.is_always_there {
            run_beside(neighbour, sink, load, &elsewhere)
        } else {
            load.run(SPELL)
        }
    };
    let besides = || run_beside(neighbour, load.server, load, &moved);
    let compared = Compared::in_turns(PAIRS, control, besides);
    let ratio = compared.ratio();
    // What starts anew is harder than what is promised; it is shown for what it is.
    let (target, met) = match neighbour.starts_anew {
        true => (String::new(), ""),
        false if ratio.median <= MOST_RATIO => (format!("<= {MOST_RATIO}"), "yes"),
        false => (format!("<= {MOST_RATIO}"), "NO"),
    };
    println!(
        "| {} | {} | {} | {ratio} | {target} | {met} | {} KB |",
        neighbour.title,
        cell(&compared.alone),
        cell(&compared.beside),
        moved.into_inner() / 1_000,
    );
}

fn run_beside(
    neighbour: &Neighbour,
    server: SocketAddr,
    load: &Load,
    moved: &AtomicU64,
) -> Measured {
    let has_to_stop = AtomicBool::new(false);
    let scene = Scene {
        server,
        has_to_stop: &has_to_stop,
        starts_anew: neighbour.starts_anew,
        moved,
    };
    thread::scope(|scope| {
        scope.spawn(|| (neighbour.play)(&scene));
        let measured = load.run(SPELL);
        has_to_stop.store(true, Ordering::Relaxed);
        measured
    })
}

/// A server that accepts and does nothing else.
fn sink() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let mut last = None;
        while let Ok((stream, _)) = listener.accept() {
            last = Some(stream);
        }
        drop(last);
    });
    address
}

/// Sends requests as fast as they are taken, and reads no answer.
fn pipeline(scene: &Scene<'_>) {
    let requests = request("GET", "/1k.html", "").repeat(PIPELINED);
    let mut socket = connect(scene.server);
    let mut at = 0;
    let mut moved_at = Instant::now();
    while !scene.has_to_stop.load(Ordering::Relaxed) {
        match socket.write(&requests.as_bytes()[at..]) {
            Ok(count) => {
                at = (at + count) % requests.len();
                scene.moved.fetch_add(count as u64, Ordering::Relaxed);
                moved_at = Instant::now();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(1));
                if scene.starts_anew && moved_at.elapsed() >= STUCK {
                    (socket, at, moved_at) = (connect(scene.server), 0, Instant::now());
                }
            }
            Err(error) => panic!("the server ends the connection: {error}"),
        }
    }
}

/// Asks for a large file and takes a byte of it each second.
fn sip(scene: &Scene<'_>) {
    let mut socket = connect(scene.server);
    let asked = request("GET", "/large.bin", "");
    socket.write_all(asked.as_bytes()).expect("a request fits");
    let mut next = Instant::now();
    while !scene.has_to_stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(10));
        if Instant::now() >= next {
            next += Duration::from_secs(1);
            let count = socket.read(&mut [0]).expect("a byte");
            scene.moved.fetch_add(count as u64, Ordering::Relaxed);
        }
    }
}

fn connect(server: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.connect(&server.into()).expect("the server accepts");
    socket.set_nonblocking(true).expect("non-blocking");
    socket
}
