//! The effect of floods of TLS handshakes on established clients, compared with the effect of ordinary requests
//! that cost the server as much CPU time. nginx goes through the same, as a scale.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use socket2::{Domain, Socket, Type};
use support::beside::{Compared, cell, median};
use support::client::request;
use support::load::Measured;
use support::paced::PacedClients;
use support::process::{NotStarted, Process, Recipe, raise_descriptor_limit};
use support::tls::{self, Certificate, KeyExchange};
use support::{Site, pattern, process_tree, recipes};

/// The established clients and all their requests in a second: a tenth of a core, about.
const ESTABLISHED: usize = 32;
const RATE: f64 = 3_200.0;

/// The connections with the ordinary requests that the flood is compared with.
const ORDINARY: usize = 16;

const INTERVAL: Duration = Duration::from_millis(500);

/// The time in which the server gets over an interval.
const PAUSE: Duration = Duration::from_millis(100);

const ROUNDS: usize = 16;

/// Rounds at the beginning, which find the rate of the ordinary requests and do not count.
const CALIBRATING: usize = 4;

/// Threads of a flood. Each waits for its handshake or connection before it begins the next.
const FLOODING: usize = 8;

/// Connections that stay half-open.
const HALF_OPEN: usize = 10_000;

/// New half-open connections of a thread in a second. All threads open ten thousand in two seconds: without a
/// bound, their own work for the kernel would slow down everybody.
const OPENED_PER_SECOND: u32 = 625;

/// Handshakes that a thread has the server begin in a second. With more, the server would spend more CPU time on
/// them than on the ordinary requests, whose clients need the other half of two CPUs.
const GIVEN_UP_PER_SECOND: u32 = 800;

/// Half-open connections that a thread of a flood holds. With those of the round before, all are so few that
/// the server is not under pressure, where it would ask established clients to leave.
const HELD: usize = 500;

/// The target for the ratio of the p99 beside a flood to the p99 beside ordinary requests.
const MAX_RATIO: f64 = 2.0;

/// Half-open connections stay for longer than the bench takes.
const ABIDE: &str = "
[keep_alive]
max_requests = 2147483647
[timeouts]
handshake = 300
";

const NGINX_HTTP: &str = "
    access_log off;
    keepalive_timeout 300s;
    keepalive_requests 2147483647;
    client_header_timeout 300s;
    server { listen {address} ssl backlog=16384; root {root}; {tls} }
";

type Kind = (&'static str, fn() -> Recipe);

const KINDS: [Kind; 2] = [
    ("abide", || recipes::abide_tls(ABIDE)),
    ("nginx", || {
        let main = "user www-data; worker_processes 2; worker_rlimit_nofile 20000;";
        let http = NGINX_HTTP.replace("{tls}", recipes::NGINX_TLS);
        recipes::nginx(main, "worker_connections 16384;", &http)
    }),
];

/// A flood: its name, and the function that a thread of it runs until it has to stop.
type Flood = (&'static str, fn(&FloodContext<'_>));

const FLOODS: [Flood; 3] = [
    ("full handshakes", make_handshakes),
    (
        "handshakes given up after the server's part",
        give_up_handshakes,
    ),
    ("half a ClientHello on each connection", leave_half_open),
];

struct FloodContext<'a> {
    server: SocketAddr,
    config: &'a Arc<ClientConfig>,
    /// The address that the clients come from. Another one for each round: each has ports of its own.
    source: Ipv4Addr,
    has_to_stop: &'a AtomicBool,
    counts: &'a FloodCounts,
}

/// The handshakes or connections of a flood.
#[derive(Default)]
struct FloodCounts {
    made: AtomicU64,
    refused: AtomicU64,
}

/// The measurements of an interval.
struct Interval {
    /// The requests of the established clients.
    established: Measured,
    /// The server's CPU time, in cores.
    cores: f64,
    /// Handshakes, connections or requests of the others in a second.
    others_per_second: f64,
    /// Handshakes or connections that failed.
    refused: u64,
}

struct FloodBench {
    server: Process,
    config: Arc<ClientConfig>,
    established: PacedClients,
    ordinary: PacedClients,
    /// Ordinary requests per second that cost as much as the flood.
    ordinary_rate: f64,
}

/// Runs the part and prints its tables.
pub fn run() {
    raise_descriptor_limit();
    let site = Site::empty();
    site.write("1k.html", pattern(1024));
    let certificate = Certificate::new();
    println!("\n## {ESTABLISHED} established TLS clients, {RATE} requests/s, beside a flood\n");
    println!(
        "| server | flood | alone | beside it | beside requests at equal CPU | ratio of p99 | target | met |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (server, recipe) in KINDS {
        for flood in FLOODS {
            match FloodBench::start(&recipe(), &site, &certificate) {
                Ok(mut bench) => {
                    if let Err(error) = bench.compare(server, flood) {
                        println!("| {server} | {}: {error} |", flood.0);
                    }
                }
                Err(NotStarted::NotInstalled) => println!("| {server} | not installed |"),
                Err(NotStarted::Failed(why)) => println!("| {server} | {} |", why.trim()),
            }
        }
    }
    println!(
        "\n## {ESTABLISHED} established TLS clients beside {HALF_OPEN} half-open connections\n"
    );
    println!("| server | none | beside them | ratio of p99 | target | met | still open |");
    println!("|---|---|---|---|---|---|---|");
    for (server, recipe) in KINDS {
        let start = || FloodBench::start(&recipe(), &site, &certificate);
        match start().and_then(|empty| Ok((empty, start()?))) {
            Ok((empty, crowded)) => beside_half_open(server, empty, crowded),
            Err(NotStarted::NotInstalled) => println!("| {server} | not installed |"),
            Err(NotStarted::Failed(why)) => println!("| {server} | {} |", why.trim()),
        }
    }
}

impl FloodBench {
    fn start(
        recipe: &Recipe,
        site: &Site,
        certificate: &Certificate,
    ) -> Result<FloodBench, NotStarted> {
        let recipe = recipe.clone().presenting(certificate).serving(&site.root());
        let server = recipe.try_start(Ipv4Addr::LOCALHOST)?;
        let config = Arc::new(certificate.client(KeyExchange::X25519));
        let request = request("GET", "/1k.html", "");
        let connect = |count| {
            PacedClients::connect(server.address, &config, count, request.as_bytes())
                .map_err(|error| NotStarted::Failed(error.to_string()))
        };
        let (established, ordinary) = (connect(ESTABLISHED)?, connect(ORDINARY)?);
        Ok(FloodBench {
            server,
            config,
            established,
            ordinary,
            ordinary_rate: 2.0 * RATE,
        })
    }

    /// Measures the established clients alone, beside the flood and beside ordinary requests, in turn.
    fn compare(&mut self, server: &str, (title, play): Flood) -> io::Result<()> {
        let mut quiet = Vec::new();
        let mut compared = Compared {
            alone: Vec::new(),
            beside: Vec::new(),
        };
        for round in 0..CALIBRATING + ROUNDS {
            let source = Ipv4Addr::new(127, 1, round as u8, 1);
            let alone = self.interval()?;
            let flooded = self.beside_flood(play, source)?;
            let loaded = self.beside_requests()?;
            let cost = |interval: &Interval| (interval.cores - alone.cores).max(0.01);
            self.ordinary_rate *= (cost(&flooded) / cost(&loaded)).clamp(0.5, 2.0);
            if round >= CALIBRATING {
                quiet.push(alone);
                compared.beside.push(flooded);
                compared.alone.push(loaded);
            }
        }
        let refused: u64 = compared
            .beside
            .iter()
            .map(|interval| interval.refused)
            .sum();
        let ratio = compared.ratio_of(|interval| interval.established.p99().into());
        println!(
            "| {server} | {title}, {refused} refused | {} | {} | {} | {ratio} | <= {MAX_RATIO} | {} |",
            described(&quiet),
            described(&compared.beside),
            described(&compared.alone),
            met(ratio.median)
        );
        Ok(())
    }

    /// Measures the established clients.
    fn interval(&mut self) -> io::Result<Interval> {
        let FloodBench {
            server,
            established,
            ..
        } = self;
        observed(server, || established.run(RATE, INTERVAL))
    }

    /// Measures the established clients beside a flood from this address.
    fn beside_flood(
        &mut self,
        play: fn(&FloodContext<'_>),
        source: Ipv4Addr,
    ) -> io::Result<Interval> {
        let FloodBench {
            server,
            config,
            established,
            ..
        } = self;
        let has_to_stop = AtomicBool::new(false);
        let counts = FloodCounts::default();
        let context = FloodContext {
            server: server.address,
            config,
            source,
            has_to_stop: &has_to_stop,
            counts: &counts,
        };
        let interval = thread::scope(|scope| {
            for _ in 0..FLOODING {
                scope.spawn(|| {
                    yield_to_others();
                    play(&context);
                });
            }
            let interval = observed(server, || established.run(RATE, INTERVAL));
            has_to_stop.store(true, Ordering::Relaxed);
            interval
        });
        let made = counts.made.into_inner() as f64;
        Ok(Interval {
            others_per_second: made / (PAUSE + INTERVAL).as_secs_f64(),
            refused: counts.refused.into_inner(),
            ..interval?
        })
    }

    /// Measures the established clients beside ordinary requests.
    fn beside_requests(&mut self) -> io::Result<Interval> {
        let FloodBench {
            server,
            established,
            ordinary,
            ordinary_rate,
            ..
        } = self;
        thread::scope(|scope| {
            let load = scope.spawn(|| {
                yield_to_others();
                ordinary.run(*ordinary_rate, PAUSE + INTERVAL)
            });
            let interval = observed(server, || established.run(RATE, INTERVAL));
            let load = load.join().expect("a client")?;
            Ok(Interval {
                others_per_second: load.requests_per_second,
                ..interval?
            })
        })
    }
}

/// Gives this thread, and those that it starts, the lowest priority. The work of a flood's clients would
/// otherwise delay the server and the established clients: elsewhere they have CPUs of their own.
fn yield_to_others() {
    rustix::process::nice(19).expect("a lower priority is granted");
}

/// Runs the established clients after a pause, and measures the CPU time of the server meanwhile.
fn observed(server: &Process, run: impl FnOnce() -> io::Result<Measured>) -> io::Result<Interval> {
    thread::sleep(PAUSE);
    let processes = server.tree();
    let before = process_tree::cpu_time(&processes);
    let established = run()?;
    let used = process_tree::cpu_time(&processes).saturating_sub(before);
    Ok(Interval {
        established,
        cores: used.as_secs_f64() / INTERVAL.as_secs_f64(),
        others_per_second: 0.0,
        refused: 0,
    })
}

/// The medians over the intervals.
fn described(intervals: &[Interval]) -> String {
    let of = |value: fn(&Interval) -> f64| median(intervals.iter().map(value).collect());
    format!(
        "{}, {:.2} cores, others {:.0}/s",
        cell(intervals.iter().map(|interval| &interval.established)),
        of(|interval| interval.cores),
        of(|interval| interval.others_per_second),
    )
}

fn met(ratio: f64) -> &'static str {
    if ratio <= MAX_RATIO { "yes" } else { "NO" }
}

/// Compares a server with many half-open connections with one that has none.
fn beside_half_open(title: &str, mut empty: FloodBench, mut crowded: FloodBench) {
    let hello = half_a_client_hello(&crowded.config);
    let connections = (0..HALF_OPEN).map(|number| {
        let mut socket = connect(crowded.server.address, Ipv4Addr::LOCALHOST)?;
        if number % 2 == 0 {
            socket.write_all(&hello)?;
        }
        Ok(socket)
    });
    let connections: io::Result<Vec<Socket>> = connections.collect();
    let connections = connections.expect("the server accepts");
    let compared = Compared::alternating(
        ROUNDS,
        || empty.interval().expect("answers").established,
        || crowded.interval().expect("answers").established,
    );
    let ratio = compared.ratio();
    let open = connections.iter().filter(|socket| is_open(socket)).count();
    println!(
        "| {title} | {} | {} | {ratio} | <= {MAX_RATIO} | {} | {open} |",
        cell(&compared.alone),
        cell(&compared.beside),
        met(ratio.median),
    );
}

/// Makes one full handshake after the other.
fn make_handshakes(context: &FloodContext<'_>) {
    while !context.has_to_stop.load(Ordering::Relaxed) {
        let made = connect(context.server, context.source)
            .and_then(|socket| tls::handshake(TcpStream::from(socket), context.config));
        context.counts.count(&made);
    }
}

/// Has the server do its part of one handshake after the other. All clients send the same ClientHello, so they
/// compute nothing, and leave the CPUs to the server.
fn give_up_handshakes(context: &FloodContext<'_>) {
    let hello = client_hello(context.config);
    let mut pace = Pace::new(GIVEN_UP_PER_SECOND);
    while !context.has_to_stop.load(Ordering::Relaxed) {
        let made = connect(context.server, context.source).and_then(|mut socket| {
            socket.write_all(&hello)?;
            match socket.read(&mut [0; 4096])? {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                _ => Ok(()),
            }
        });
        context.counts.count(&made);
        pace.wait();
    }
}

/// Opens one connection after the other, and sends half a ClientHello on each. The last ones stay open.
fn leave_half_open(context: &FloodContext<'_>) {
    let hello = half_a_client_hello(context.config);
    let mut open = VecDeque::new();
    let mut pace = Pace::new(OPENED_PER_SECOND);
    while !context.has_to_stop.load(Ordering::Relaxed) {
        let made = connect(context.server, context.source).and_then(|mut socket| {
            socket.write_all(&hello)?;
            Ok(socket)
        });
        context.counts.count(&made);
        open.extend(made);
        pace.wait();
        if open.len() > HELD {
            open.pop_front();
        }
    }
}

/// The pace of a thread of a flood.
struct Pace {
    start: Instant,
    per_second: u32,
    count: u32,
}

impl Pace {
    fn new(per_second: u32) -> Pace {
        Pace {
            start: Instant::now(),
            per_second,
            count: 0,
        }
    }

    /// Waits until the next connection is due.
    fn wait(&mut self) {
        self.count += 1;
        let next = self.start + Duration::from_secs(1) * self.count / self.per_second;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

impl FloodCounts {
    fn count<T>(&self, result: &io::Result<T>) {
        let count = match result {
            Ok(_) => &self.made,
            Err(_) => &self.refused,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn client_hello(config: &Arc<ClientConfig>) -> Vec<u8> {
    let mut hello = Vec::new();
    let mut session = tls::session(config);
    session.write_tls(&mut hello).expect("a ClientHello");
    hello
}

fn half_a_client_hello(config: &Arc<ClientConfig>) -> Vec<u8> {
    let mut hello = client_hello(config);
    hello.truncate(hello.len() / 2);
    hello
}

fn connect(server: SocketAddr, source: Ipv4Addr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect(&server.into())?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

/// Whether the server has neither closed the connection nor sent anything.
fn is_open(socket: &Socket) -> bool {
    let mut byte = [std::mem::MaybeUninit::uninit()];
    let peeked = socket
        .set_nonblocking(true)
        .and_then(|()| socket.peek(&mut byte));
    peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}
