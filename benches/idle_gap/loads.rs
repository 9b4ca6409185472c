//! The loads for each server. The clients are those of the self-test ([`abide::selftest`]).

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use abide::clock::SystemClock;
use abide::selftest::simulated_client::{Assumptions, LATENESS_MILLIS, SimulatedClient};
use abide::selftest::table::{Client, HintSupport, IdleLimit, TimeScale};
use abide::selftest::wire::{ClientConnection, Endpoint, ReadSpeed, get};

use super::servers::{LARGE_PATH, SMALL_PATH};
use super::{MAX_REQUESTS, TIMEOUT_SECS};

/// Connections for each load.
const CONNECTIONS: u64 = 240;

/// Milliseconds between the starts of two connections, so that 2 CPUs are enough for their handshakes.
const STAGGER_MILLIS: u64 = 24;

/// Milliseconds that a thread may oversleep.
const EARLY_MILLIS: u64 = 50;

const SLOW_MILLIS: u64 = 6_000;

const SLOW: ReadSpeed = ReadSpeed::Slow {
    millis: SLOW_MILLIS as u32,
};

const STACK_BYTES: usize = 256 * 1024;

const T_MILLIS: u64 = TIMEOUT_SECS as u64 * 1000;

/// One column of the table.
pub struct Load {
    pub title: &'static str,
    client: Behaviour,
}

enum Behaviour {
    /// Honours T to the last moment, over a network with some delay.
    Honours,
    /// Asks again right after an answer that it read slowly.
    ReadsSlowly,
    /// Asks again after this time, without checking whether the server has closed.
    AsksAfter { millis: u64 },
    /// Sends further requests after the last one that the connection may carry.
    SendsPastMax,
    /// Sends a body that is too large to its end before it reads the answer.
    SendsTooMuch,
}

pub const LOADS: [Load; 8] = [
    load("honours T", Behaviour::Honours),
    load("slow reader", Behaviour::ReadsSlowly),
    load("T - 0.1 s", asks_after(T_MILLIS - 100)),
    load("T", asks_after(T_MILLIS)),
    load("T + 0.1 s", asks_after(T_MILLIS + 100)),
    load("T + 0.5 s", asks_after(T_MILLIS + 500)),
    load("past max", Behaviour::SendsPastMax),
    load("413", Behaviour::SendsTooMuch),
];

const fn load(title: &'static str, client: Behaviour) -> Load {
    Load { title, client }
}

const fn asks_after(millis: u64) -> Behaviour {
    Behaviour::AsksAfter { millis }
}

/// Counts of requests on connections that had been used before.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcome {
    pub lost: u32,
    pub sent: u32,
}

const HONOURING: Client = Client {
    name: "honours T",
    idle_limit: IdleLimit::Hint { less_secs: 0 },
    hint_support: HintSupport::Timeout,
    retries: false,
};

const CARELESS: Client = Client {
    name: "careless",
    idle_limit: IdleLimit::Unlimited,
    hint_support: HintSupport::Ignored,
    retries: false,
};

/// Runs all loads against the server. Loads that mostly wait run at the same time; loads that
/// use the CPU run one by one after them.
pub fn run_all(server: Endpoint<'_>) -> Vec<Outcome> {
    let works = |load: &&Load| matches!(load.client, Behaviour::SendsTooMuch);
    let waiting: Vec<&Load> = LOADS.iter().filter(|load| !works(load)).collect();
    let mut outcomes = run(&waiting, server);
    for load in LOADS.iter().filter(works) {
        outcomes.extend(run(&[load], server));
    }
    outcomes
}

fn run(loads: &[&Load], server: Endpoint<'_>) -> Vec<Outcome> {
    let clock = SystemClock::new();
    let clock = &clock;
    thread::scope(|scope| {
        let mut all = Vec::new();
        for load in loads {
            let start = |number| {
                let thread = thread::Builder::new().stack_size(STACK_BYTES);
                let run = move || {
                    clock.sleep(number * STAGGER_MILLIS);
                    load.client.run(server, clock)
                };
                thread.spawn_scoped(scope, run).expect("a thread")
            };
            all.push((0..CONNECTIONS).map(start).collect::<Vec<_>>());
        }
        let sum = |threads: Vec<thread::ScopedJoinHandle<'_, Outcome>>| {
            let mut sum = Outcome::default();
            for thread in threads {
                let outcome = thread.join().expect("a client does not panic");
                sum.lost += outcome.lost;
                sum.sent += outcome.sent;
            }
            sum
        };
        all.into_iter().map(sum).collect()
    })
}

impl Behaviour {
    fn run(&self, server: Endpoint<'_>, clock: &SystemClock) -> Outcome {
        let honest = assumptions(LATENESS_MILLIS, true);
        let blind = assumptions(0, false);
        let (mut client, first, gap_millis) = match *self {
            Behaviour::Honours => (
                SimulatedClient::new(&HONOURING, server, clock, honest),
                ReadSpeed::Full,
                T_MILLIS - EARLY_MILLIS,
            ),
            Behaviour::ReadsSlowly => (
                SimulatedClient::new(&CARELESS, server, clock, blind),
                SLOW,
                0,
            ),
            Behaviour::AsksAfter { millis } => (
                SimulatedClient::new(&CARELESS, server, clock, blind),
                ReadSpeed::Full,
                millis,
            ),
            Behaviour::SendsPastMax => return one(send_past_max(server, clock)),
            Behaviour::SendsTooMuch => return one(send_too_much(server, clock)),
        };
        let path = if first == SLOW {
            LARGE_PATH
        } else {
            SMALL_PATH
        };
        client.ask(path, first);
        client.ask_after(gap_millis, SMALL_PATH, ReadSpeed::Full);
        let counts = client.counts();
        Outcome {
            lost: counts.lost,
            sent: counts.reused,
        }
    }
}

fn assumptions(lateness_millis: u64, checks_for_close: bool) -> Assumptions {
    Assumptions {
        scale: TimeScale {
            configured: 1,
            tested: 1,
        },
        assumed_timeout_secs: TIMEOUT_SECS,
        lateness_millis,
        checks_for_close,
    }
}

fn one(result: io::Result<()>) -> Outcome {
    Outcome {
        lost: u32::from(result.is_err()),
        sent: 1,
    }
}

/// Uses a connection up to its last answer, a large one that is read slowly. Sends further requests
/// together with the last one, and while its answer arrives. Fails unless the last answer is complete.
fn send_past_max(server: Endpoint<'_>, clock: &SystemClock) -> io::Result<()> {
    let mut connection = ClientConnection::open(server, SLOW)?;
    for _ in 1..MAX_REQUESTS {
        connection.send(&get(SMALL_PATH))?;
        connection.read(HintSupport::Ignored, ReadSpeed::Full, clock)?;
    }
    connection.send(&get(LARGE_PATH).repeat(2))?;
    let mut sender = connection.sender()?;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let is_over = &is_over;
        let keep_on = move || {
            while !is_over.load(Ordering::Relaxed) {
                clock.sleep(SLOW_MILLIS - 400);
                // An error here does not matter: the check is that the last answer arrives.
                let _ = sender.write_all(&get(LARGE_PATH));
            }
        };
        let thread = thread::Builder::new().stack_size(STACK_BYTES);
        thread.spawn_scoped(scope, keep_on)?;
        // Some servers answer one request more than their configuration says.
        let mut last = connection.read(HintSupport::Ignored, SLOW, clock);
        if last.as_ref().is_ok_and(|answer| answer.persists) {
            last = connection.read(HintSupport::Ignored, SLOW, clock);
        }
        is_over.store(true, Ordering::Relaxed);
        match last {
            Ok(answer) if answer.persists => Err(io::Error::other("no last answer")),
            other => other.map(drop),
        }
    })
}

/// Sends a request that is too large, to its end or as far as the server receives it. Fails unless the answer
/// can be read after that.
fn send_too_much(server: Endpoint<'_>, clock: &SystemClock) -> io::Result<()> {
    const PIECE: &[u8] = &[b'.'; 64 * 1024];
    const PIECES: usize = 32;
    let mut connection = ClientConnection::open(server, ReadSpeed::Full)?;
    let length = PIECE.len() * PIECES;
    let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
    connection.send(head.as_bytes())?;
    for _ in 0..PIECES {
        // The rate of a real upload, not of the loopback device.
        clock.sleep(20);
        if connection.send(PIECE).is_err() {
            break;
        }
    }
    connection
        .read(HintSupport::Ignored, ReadSpeed::Full, clock)
        .map(drop)
}
