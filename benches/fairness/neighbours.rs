//! The effect of noisy neighbours, greedy or slow clients, on other clients.
//!
//! The ordinary clients are 32 connections, each of which requests 1 KB again and again. Short intervals with
//! a noisy neighbour alternate with intervals without it. The ratio is the median of the pairs; the
//! quartiles show how reliable it is.

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
const INTERVAL: Duration = Duration::from_millis(400);
const PAIRS: usize = 24;

/// The target for the ratio of the p99 beside a noisy neighbour to the p99 without one.
const MAX_RATIO: f64 = 1.3;

/// Requests in one call of the client that never reads.
const PIPELINED: usize = 64;

/// How long a client is stuck before it connects again, if it does.
const STUCK: Duration = Duration::from_millis(50);

/// A noisy neighbour: a client that takes more than its share.
struct Neighbour {
    title: &'static str,
    /// Runs the client until it has to stop.
    play: fn(&NeighbourContext<'_>),
    /// Whether the client connects again when it is stuck.
    starts_anew: bool,
    /// Whether the client runs against another server in the other intervals. Then its own CPU time, which
    /// the server cannot avoid, affects both sides.
    is_always_there: bool,
}

/// The parameters of a running neighbour.
struct NeighbourContext<'a> {
    server: SocketAddr,
    has_to_stop: &'a AtomicBool,
    starts_anew: bool,
    /// The bytes that the client has sent and received, to show that it was active.
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
        title: "one that also reconnects whenever it is stuck for 50 ms",
        play: pipeline,
        starts_anew: true,
        is_always_there: false,
    },
    Neighbour {
        title: "the previous one, compared with the same load on another server",
        play: pipeline,
        starts_anew: true,
        is_always_there: true,
    },
    Neighbour {
        title: "one that reads 10 MB at 1 byte a second",
        play: read_slowly,
        starts_anew: false,
        is_always_there: false,
    },
];

/// Runs the part and prints its table.
pub fn run() {
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
            load.run(INTERVAL)
        }
    };
    let besides = || run_beside(neighbour, load.server, load, &moved);
    let compared = Compared::alternating(PAIRS, control, besides);
    let ratio = compared.ratio();
    // There is no target for a client that reconnects, which is harder than the promise covers.
    let (target, met) = match neighbour.starts_anew {
        true => (String::new(), ""),
        false if ratio.median <= MAX_RATIO => (format!("<= {MAX_RATIO}"), "yes"),
        false => (format!("<= {MAX_RATIO}"), "NO"),
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
    let context = NeighbourContext {
        server,
        has_to_stop: &has_to_stop,
        starts_anew: neighbour.starts_anew,
        moved,
    };
    thread::scope(|scope| {
        scope.spawn(|| (neighbour.play)(&context));
        let measured = load.run(INTERVAL);
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

/// Sends requests as fast as the socket accepts them, and reads no answer.
fn pipeline(context: &NeighbourContext<'_>) {
    let requests = request("GET", "/1k.html", "").repeat(PIPELINED);
    let mut socket = connect(context.server);
    let mut at = 0;
    let mut moved_at = Instant::now();
    while !context.has_to_stop.load(Ordering::Relaxed) {
        match socket.write(&requests.as_bytes()[at..]) {
            Ok(count) => {
                at = (at + count) % requests.len();
                context.moved.fetch_add(count as u64, Ordering::Relaxed);
                moved_at = Instant::now();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(1));
                if context.starts_anew && moved_at.elapsed() >= STUCK {
                    (socket, at, moved_at) = (connect(context.server), 0, Instant::now());
                }
            }
            Err(error) => panic!("the server ends the connection: {error}"),
        }
    }
}

/// Requests a large file and reads a byte of it each second.
fn read_slowly(context: &NeighbourContext<'_>) {
    let mut socket = connect(context.server);
    let asked = request("GET", "/large.bin", "");
    socket.write_all(asked.as_bytes()).expect("a request fits");
    let mut next = Instant::now();
    while !context.has_to_stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(10));
        if Instant::now() >= next {
            next += Duration::from_secs(1);
            let count = socket.read(&mut [0]).expect("a byte");
            context.moved.fetch_add(count as u64, Ordering::Relaxed);
        }
    }
}

fn connect(server: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.connect(&server.into()).expect("the server accepts");
    socket.set_nonblocking(true).expect("non-blocking");
    socket
}
