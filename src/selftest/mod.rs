//! `abide --selftest`: is this configuration safe for the clients that there are?
//!
//! The configured server is started on a loopback port, in this process, and real clients are played
//! against it over real sockets in real time: what each makes of the hint, how long it keeps an idle
//! connection, and that it uses one up to the last moment.
//!
//! - [`table`]: the clients, as data, and what arithmetic says of each.
//! - [`wire`]: one connection of a client.
//! - [`player`]: one client over such connections.
//! - [`report`]: what came of it, as text.
//!
//! Only what would take too long is scaled down ([`Scale`]): T, and with it the limits of clients that
//! have their own. What a client subtracts from T and what the line takes stay seconds and
//! milliseconds.

pub mod player;
pub mod report;
pub mod table;
pub mod wire;

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use crate::clock::SystemClock;
use crate::config::{Config, ListenAddress, SiteConfig};
use crate::connection::server_context::Mode;
use crate::server::{Handle, Server, StartError};
use player::{LATENESS_MILLIS, Player, Tally, Terms};
use report::{Report, Row};
use table::{CLIENTS, Client, Scale};
use wire::Reading;

/// The T that is played, in seconds, if the configured one is not shorter.
const TIMEOUT_SECS: u32 = 4;

/// The grace that is played, in seconds, if the configured one is not shorter.
const GRACE_SECS: u32 = 1;

/// The `max_requests` that is played, if the configured one is not smaller.
const MAX_REQUESTS: NonZeroU32 = const { NonZeroU32::new(12).unwrap() };

/// Connections of each client that ask for small files and idle in between.
const LANES: u32 = 16;

/// How often each of them idles.
const ROUNDS: u32 = 2;

/// How slowly the slow readers of each client read, in milliseconds per large answer: so that the
/// server, which looks within grace, finds all of it acknowledged, a moment too early, and later.
const SLOW_READERS_MILLIS: [u32; 8] = [150, 300, 450, 600, 750, 900, 1_200, 2_000];

/// How long before its very last moment a client comes back, in milliseconds, or a few times that:
/// what a thread may oversleep.
const EARLY_MILLIS: u64 = 50;

const SMALL_PATH: &str = "/";
const LARGE_PATH: &str = "/large.bin";

/// More than a slow reader's kernel takes, less than ours: we are done long before the reader is.
const LARGE_BYTES: usize = 384 * 1024;

/// What the thread of one connection needs at most.
const STACK_BYTES: usize = 256 * 1024;

/// Why nothing could be played: one sentence, without a full stop.
#[derive(Debug)]
pub enum SelftestError {
    /// The configured server does not start.
    Start(StartError),
    /// A directory to serve, or a thread to play in, could not be made.
    Place(io::Error),
}

impl fmt::Display for SelftestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SelftestError::Start(error) => error.fmt(f),
            SelftestError::Place(error) => write!(f, "the self-test cannot be set up: {error}"),
        }
    }
}

impl std::error::Error for SelftestError {}

impl From<io::Error> for SelftestError {
    fn from(error: io::Error) -> SelftestError {
        SelftestError::Place(error)
    }
}

/// Plays every client of [`CLIENTS`] against a server with the settings of `config`; takes about ten
/// seconds.
///
/// Other than configured are the listener, a port of 127.0.0.1 that the kernel picks; the files, which
/// are the self-test's own; the bounds on the number of connections, which are not what is tested; the
/// access log, which stays as it is; and what [`Scale`] scales down.
///
/// # Errors
/// If the server cannot start, or there is no place to put its files.
pub fn run(config: Config) -> Result<Report, SelftestError> {
    let place = Place::new()?;
    let played = played(&config, &place);
    let terms = Terms {
        scale: Scale {
            configured: config.keep_alive.timeout_secs,
            played: played.keep_alive.timeout_secs,
        },
        // Without a hint a client that waits for one reuses nothing.
        assumed_timeout_secs: 0,
        lateness_millis: LATENESS_MILLIS,
        looks: true,
    };
    let running = Running::start(played.clone())?;
    let tallies = play_all(
        running.address,
        terms,
        played.keep_alive.reaped_after_secs(),
    )?;
    drop(running);
    let rows = CLIENTS.iter().zip(tallies);
    let rows = rows.map(|(client, tally)| Row::new(client, tally, &config.keep_alive));
    Ok(Report::new(
        rows.collect(),
        config.keep_alive,
        played.keep_alive,
    ))
}

/// The configuration that is played.
fn played(config: &Config, place: &Place) -> Config {
    let mut played = config.clone();
    played.site = SiteConfig::at(&place.0);
    played.hosts = Vec::new();
    played.strict_hosts = false;
    played.listen = vec![ListenAddress::Tcp(([127, 0, 0, 1], 0).into())];
    played.access_log.target = None;
    played.limits.connections = 0;
    played.limits.connections_per_ip = 0;
    let keep_alive = &mut played.keep_alive;
    keep_alive.timeout_secs = keep_alive.timeout_secs.min(TIMEOUT_SECS);
    keep_alive.grace_secs = keep_alive.grace_secs.min(GRACE_SECS);
    keep_alive.max_requests = keep_alive.max_requests.min(MAX_REQUESTS);
    played
}

/// Plays all clients at the same time; their tallies in the order of the table.
fn play_all(address: SocketAddr, terms: Terms, reaped_secs: u32) -> io::Result<Vec<Tally>> {
    let clock = SystemClock::new();
    let clock = &clock;
    thread::scope(|scope| {
        let start = |script: Script| {
            let player = Player::new(script.client, address, clock, terms);
            let thread = thread::Builder::new().stack_size(STACK_BYTES);
            thread.spawn_scoped(scope, move || script.play(player, reaped_secs))
        };
        let mut all = Vec::new();
        for client in CLIENTS {
            let threads: io::Result<Vec<_>> = Script::all_of(client).map(start).collect();
            all.push(threads?);
        }
        let joined = all.into_iter().map(|threads| {
            let mut sum = Tally::default();
            for thread in threads {
                match thread.join() {
                    Ok(tally) => sum.add(&tally),
                    Err(_) => return Err(io::Error::other("a client panicked")),
                }
            }
            Ok(sum)
        });
        joined.collect()
    })
}

/// What one connection of a client does, and those that it opens in its place.
#[derive(Debug, Clone, Copy)]
struct Script {
    client: &'static Client,
    queue: u32,
    /// Set in a slow reader: the milliseconds it takes over an answer.
    slow_millis: Option<u32>,
}

impl Script {
    fn all_of(client: &'static Client) -> impl Iterator<Item = Script> {
        let script = move |queue, slow_millis| Script {
            client,
            queue,
            slow_millis,
        };
        let usual = (0..LANES).map(move |queue| script(queue, None));
        let slow = SLOW_READERS_MILLIS.into_iter().zip(0..);
        let slow = slow.filter(move |_| client.keeps.honours_hint());
        usual.chain(slow.map(move |(millis, queue)| script(queue, Some(millis))))
    }

    fn play(self, mut player: Player<'_>, reaped_secs: u32) -> Tally {
        // Not all in the same millisecond.
        player.wait(u64::from(self.queue) * 10);
        let reaped_millis = u64::from(reaped_secs) * 1000;
        let idle = |player: &mut Player<'_>, early_millis: u64| {
            let edge_millis = player.edge_millis(reaped_millis);
            let gap_millis = edge_millis.saturating_sub(early_millis);
            player.ask_after(gap_millis, SMALL_PATH, Reading::Quick);
        };
        match self.slow_millis {
            Some(millis) => {
                player.ask(LARGE_PATH, Reading::Slow { millis });
                idle(&mut player, EARLY_MILLIS);
            }
            None => {
                player.ask(SMALL_PATH, Reading::Quick);
                for _ in 0..ROUNDS {
                    idle(&mut player, EARLY_MILLIS * u64::from(1 + self.queue % 4));
                }
            }
        }
        // To the last answer of the connection, which says so.
        for _ in 0..MAX_REQUESTS.get() {
            if player.is_connected() {
                player.ask(SMALL_PATH, Reading::Quick);
            }
        }
        player.tally()
    }
}

/// The server, in a thread. It stops on drop.
struct Running {
    handle: Handle,
    address: SocketAddr,
    thread: Option<thread::JoinHandle<io::Result<()>>>,
}

impl Running {
    fn start(config: Config) -> Result<Running, SelftestError> {
        let server = Server::bind(config, Arc::new(SystemClock::new()), false);
        let server = server.map_err(SelftestError::Start)?;
        let Some(&ListenAddress::Tcp(address)) = server.addresses().first() else {
            return Err(io::Error::other("the listener is not a TCP one").into());
        };
        let handle = server.handle();
        let thread = thread::Builder::new().spawn(move || server.run())?;
        Ok(Running {
            handle,
            address,
            thread: Some(thread),
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.enter(Mode::Stopping);
        match self.thread.take().map(thread::JoinHandle::join) {
            None | Some(Ok(Ok(()))) => {}
            Some(Ok(Err(error))) => log::error!("the server of the self-test failed: {error}"),
            Some(Err(_)) => log::error!("the server of the self-test panicked"),
        }
    }
}

/// A directory to serve; removed on drop.
struct Place(PathBuf);

impl Place {
    fn new() -> io::Result<Place> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("abide-selftest-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // Fails if somebody has put something there; it is not ours to remove then.
        fs::create_dir(&path)?;
        let place = Place(path);
        fs::write(
            place.0.join("index.html"),
            "<!doctype html><title>abide</title>\n",
        )?;
        fs::write(place.0.join("large.bin"), vec![b'.'; LARGE_BYTES])?;
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            log::warn!("{} cannot be removed: {error}", self.0.display());
        }
    }
}
