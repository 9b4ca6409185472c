//! A million sessions in the code of the server, without sockets, threads and system calls, under a clock
//! that jumps from one round of the event loop to the next.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use abide::clock::Millis;
use abide::config::{Config, SiteConfig};
use abide::connection::peer::Peer;
use abide::connection::server_context::ServerContext;
use abide::connection::transport::Transport;
use abide::server::dispatcher::Readiness;
use abide::server::slots::{Connection, Slot};
use abide::server::system::System;
use abide::server::tokens;
use mio::Token;
use support::Site;
use support::machinery::Machinery;

use crate::{MAX_BYTES_EACH, MAX_CPU_PERCENT, process, report};

const SESSIONS: u32 = 1_000_000;

/// Milliseconds in which all sessions arrive, so their deadlines fall into the same span. One second is the
/// hardest case for deadlines that are precise to the second.
const ARRIVAL_MILLIS: u32 = 1_000;

const REQUEST: &[u8] = b"GET /page.html HTTP/1.1\r\nHost: test\r\n\r\n";

/// A peer that sends one request, accepts every answer at once, and closes when the server does. It has the
/// size of a descriptor and of a pointer to the state of TLS: its number, with its state in the highest bits,
/// and nothing. The scripted peer of the tests is larger, and this bench measures memory.
struct QuietPeer(
    u32,
    #[allow(dead_code, reason = "only its size counts")] Option<Box<()>>,
);

const HAS_ASKED: u32 = 1 << 31;
const HAS_OUR_FIN: u32 = 1 << 30;

const _: () = assert!(SESSIONS < HAS_OUR_FIN);
const _: () = assert!(size_of::<Connection<QuietPeer>>() == size_of::<Connection>());

/// The numbers of the peers that have sent a FIN which the dispatcher has not been notified of.
static FINS: Mutex<Vec<u32>> = Mutex::new(Vec::new());

impl Transport for QuietPeer {
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0 & HAS_ASKED == 0 {
            self.0 |= HAS_ASKED;
            buffer[..REQUEST.len()].copy_from_slice(REQUEST);
            return Ok(REQUEST.len());
        }
        if self.0 & HAS_OUR_FIN != 0 {
            return Ok(0);
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn send(&mut self, first: &[u8], second: &[u8], _: bool) -> io::Result<usize> {
        Ok(first.len() + second.len())
    }

    fn send_file(&mut self, _: &File, _: u64, count: usize) -> io::Result<usize> {
        Ok(count)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        let number = self.0 & !HAS_ASKED;
        FINS.lock().expect("one thread").push(number);
        self.0 |= HAS_OUR_FIN;
        Ok(())
    }

    fn unacknowledged(&mut self) -> io::Result<u64> {
        Ok(0)
    }

    fn abort(&mut self) {}
}

/// The next peer of the queue, and the number of peers that have arrived. Slots are used in this order,
/// because none is free again before the last peer has arrived.
#[derive(Default)]
struct SimulatedAcceptQueue {
    next: AtomicU32,
    come: Arc<AtomicU32>,
}

struct QuietSystem;

impl System for QuietSystem {
    type AcceptedSocket = QuietPeer;
    type AcceptQueue = SimulatedAcceptQueue;

    fn accept(&self, queue: &SimulatedAcceptQueue) -> io::Result<(QuietPeer, Peer)> {
        if queue.next.load(Ordering::Relaxed) == queue.come.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let number = queue.next.fetch_add(1, Ordering::Relaxed);
        Ok((QuietPeer(number, None), Peer::Unix))
    }

    fn has_input(&self, _: &QuietPeer) -> bool {
        true
    }

    fn watch(&self, _: &QuietPeer, _: Token) -> io::Result<()> {
        Ok(())
    }

    fn watch_listener(&self, _: &SimulatedAcceptQueue, _: Token) -> io::Result<()> {
        Ok(())
    }

    fn unwatch_listener(&self, _: &SimulatedAcceptQueue) -> io::Result<()> {
        Ok(())
    }

    fn is_shared(&self, _: &SimulatedAcceptQueue) -> bool {
        false
    }

    fn refuse_new_handshakes(&self, _: &SimulatedAcceptQueue) -> bool {
        true
    }
}

struct Simulation {
    machinery: Machinery<QuietSystem>,
    come: Arc<AtomicU32>,
    rounds: u64,
}

/// The measurements.
struct Measurements {
    private_bytes: f64,
    opening: Duration,
    idling: Duration,
    /// How long the sessions were idle, in seconds of the simulated clock.
    idled_secs: f64,
    /// The longest time of one tick while they were idle.
    longest: Duration,
    reaping: Duration,
    /// Seconds from T + grace of the last session to its close, on the simulated clock.
    last_secs: f64,
    kept_bytes: f64,
}

/// Runs the part and prints its table.
pub fn run() {
    let site = Site::new();
    let mut simulation = Simulation::new(&site);
    let own = std::process::id();
    let active = simulation.machinery.shared.config.get();
    let keep_alive = &active.context.config.keep_alive;
    let idle_secs = keep_alive.timeout_secs + keep_alive.grace_secs;
    let first_due = Millis(0).plus_secs(idle_secs);
    let last_due = Millis(first_due.0 + u64::from(ARRIVAL_MILLIS));
    let private_before = process::private_bytes(own) as f64;

    let (opening, ()) = timed(|| simulation.open_all());
    let opened_at = simulation.now();
    let (idling, longest) = timed(|| simulation.pass_until(Millis(first_due.0 - 1)));
    assert_eq!(
        simulation.machinery.shared.open(),
        SESSIONS as usize,
        "no session is reaped early"
    );
    let idled_secs = simulation.now().since(opened_at) as f64 / 1e3;
    let private_bytes = process::private_bytes(own) as f64 - private_before;
    let rounds = simulation.rounds;
    let (reaping, ()) = timed(|| simulation.reap_all(Millis(last_due.0 + 60_000)));
    print(&Measurements {
        private_bytes,
        opening,
        idling,
        idled_secs,
        longest,
        reaping,
        last_secs: simulation.now().since(last_due) as f64 / 1e3,
        kept_bytes: process::private_bytes(own) as f64 - private_before,
    });
    report::note(
        "rounds of the event loop before the reaping",
        rounds.to_string(),
    );
}

fn print(measured: &Measurements) {
    let each = |amount: f64| amount / f64::from(SESSIONS);
    report::head("1,000,000 sessions over simulated transports, defaults (T + grace = 130 s)");
    let bytes_each = each(measured.private_bytes);
    report::line(
        "memory per idle session",
        "<= 160 bytes",
        format!("{bytes_each:.0} bytes"),
        bytes_each <= MAX_BYTES_EACH,
    );
    report::note("of these, slot and connection", sizes());
    let percent = 100.0 * measured.idling.as_secs_f64() / measured.idled_secs;
    report::line(
        "CPU while all are idle",
        "< 1 % of a core",
        format!("{percent:.2} %"),
        percent < MAX_CPU_PERCENT,
    );
    let longest_millis = measured.longest.as_secs_f64() * 1e3;
    report::note(
        "longest that a tick of the loop takes meanwhile",
        format!("{longest_millis:.0} ms"),
    );
    let reaping_secs = measured.reaping.as_secs_f64();
    report::line(
        "CPU to reap all, due within one second",
        "<= 1 s",
        format!("{reaping_secs:.2} s"),
        reaping_secs <= 1.0,
    );
    let last_secs = measured.last_secs;
    report::line(
        "last FIN after its T + grace",
        "<= 1 s",
        format!("{last_secs:.2} s"),
        last_secs <= 1.0,
    );
    let kept_each = each(measured.kept_bytes);
    report::note(
        "memory that the allocator keeps afterwards, per session",
        format!("{kept_each:.0} bytes"),
    );
    let opening_micros = each(measured.opening.as_secs_f64()) * 1e6;
    report::note(
        "CPU to open one, with its request",
        format!("{opening_micros:.2} us"),
    );
}

fn sizes() -> String {
    let (slot, connection) = (size_of::<Slot>(), size_of::<Connection>());
    format!("{slot} + {connection} bytes")
}

/// The CPU time of `work`, and its result.
fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let before = process::cpu_time(std::process::id());
    let result = work();
    (
        process::cpu_time(std::process::id()).saturating_sub(before),
        result,
    )
}

impl Simulation {
    fn new(site: &Site) -> Simulation {
        let config = Config {
            site: SiteConfig::at(site.root()),
            ..Config::default()
        };
        let sites = abide::site::Sites::open(&config).expect("the site");
        let context = Arc::new(ServerContext::new(config, sites));
        let queue = SimulatedAcceptQueue::default();
        Simulation {
            come: Arc::clone(&queue.come),
            machinery: Machinery::new(&context, None, SESSIONS as usize, queue, QuietSystem),
            rounds: 0,
        }
    }

    fn now(&self) -> Millis {
        self.machinery.now()
    }

    /// Opens all sessions, each with its request.
    fn open_all(&mut self) {
        for index in 0..SESSIONS {
            let millis = u64::from(index) * u64::from(ARRIVAL_MILLIS) / u64::from(SESSIONS);
            self.pass_until(Millis(millis));
            self.come.store(index + 1, Ordering::Relaxed);
            self.machinery.dispatcher.note_ready(0);
            self.round(Millis(millis));
        }
    }

    /// Advances the clock from round to round; returns the longest time of a round.
    fn pass_until(&mut self, end: Millis) -> Duration {
        let mut longest = Duration::ZERO;
        while let Some(next) = self.machinery.next_round.filter(|next| *next <= end) {
            let start = Instant::now();
            self.round(next);
            longest = longest.max(start.elapsed());
        }
        self.machinery.clock.set(end);
        longest
    }

    fn reap_all(&mut self, end: Millis) {
        while self.machinery.shared.open() > 0 {
            let next = self.machinery.next_round.expect("an open session is filed");
            assert!(next <= end, "a session that lives on");
            self.round(next);
        }
    }

    /// Runs a round of the event loop at the time `at`, and then the work that it leaves to workers.
    fn round(&mut self, at: Millis) {
        self.rounds += 1;
        self.machinery.clock.set(at);
        self.machinery.round();
        assert!(!self.machinery.has_ended, "the server is not told to end");
        self.machinery.work(|_, _| {});
        let fins = std::mem::take(&mut *FINS.lock().expect("one thread"));
        for number in &fins {
            let readiness = Readiness {
                is_readable: true,
                is_read_closed: true,
            };
            let token = tokens::of_connection(*number, 0);
            self.machinery.dispatcher.notify(token, readiness);
        }
        if !fins.is_empty() || !self.machinery.messages.is_empty() {
            self.machinery.next_round = Some(self.now());
        }
    }
}
