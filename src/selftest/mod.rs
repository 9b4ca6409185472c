//! `abide --selftest`: whether the configuration is safe for existing clients.
//!
//! The self-test starts the configured server on a loopback port, in this process. It simulates real
//! clients against the server, over real sockets and in real time. Each client reads the Keep-Alive
//! field as the real one does, keeps an idle connection for as long, and uses it up to the last moment.
//!
//! - [`table`]: the clients, as data, and the prediction for each.
//! - [`wire`]: one connection of a client.
//! - [`simulated_client`]: one client over such connections.
//! - `over_tls`: the same connections over TLS.
//! - [`report`]: the results, as text.
//!
//! T and the idle limits of clients that have their own are scaled down ([`TimeScale`]), because the test
//! would take too long otherwise. The seconds that a client subtracts from T and the delays of the
//! network are not scaled.

#[cfg(feature = "tls")]
mod over_tls;
pub mod report;
pub mod simulated_client;
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
use report::{Report, Row};
use simulated_client::{Assumptions, LATENESS_MILLIS, RequestCounts, SimulatedClient};
use table::{CLIENTS, Client, TimeScale};
use wire::{Endpoint, PlainHttp, Protocol, ReadSpeed};

/// The T under test, in seconds, unless the configured one is shorter.
const TIMEOUT_SECS: u32 = 4;

/// The grace under test, in seconds, unless the configured one is shorter.
const GRACE_SECS: u32 = 1;

/// The `max_requests` under test, unless the configured one is smaller.
const MAX_REQUESTS: NonZeroU32 = const { NonZeroU32::new(12).unwrap() };

/// Connections of each client that ask for small files and idle in between.
const CONNECTIONS: u32 = 16;

/// Idle periods of each connection.
const ROUNDS: u32 = 2;

/// Milliseconds that the slow readers of each client take over a large response. When the server checks
/// the acknowledgements, within grace, some have just acknowledged everything and others have not.
const SLOW_READERS_MILLIS: [u32; 8] = [150, 300, 450, 600, 750, 900, 1_200, 2_000];

/// Milliseconds by which a client sends before its last possible moment; one to four times this. It
/// covers the time that a thread oversleeps.
const EARLY_MILLIS: u64 = 50;

const SMALL_PATH: &str = "/";
const LARGE_PATH: &str = "/large.bin";

/// More than the slow reader's receive buffer holds, and less than our send buffer does.
const LARGE_BYTES: usize = 384 * 1024;

/// The stack of the thread of one connection.
const STACK_BYTES: usize = 256 * 1024;

/// The self-test could not run. The message is one sentence without a full stop.
#[derive(Debug)]
pub enum SelftestError {
    /// The configured server does not start.
    Start(StartError),
    /// A directory to serve, or the thread of a client, could not be created.
    Setup(io::Error),
}

impl fmt::Display for SelftestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SelftestError::Start(error) => error.fmt(f),
            SelftestError::Setup(error) => write!(f, "the self-test cannot be set up: {error}"),
        }
    }
}

impl std::error::Error for SelftestError {}

impl From<io::Error> for SelftestError {
    fn from(error: io::Error) -> SelftestError {
        SelftestError::Setup(error)
    }
}

/// Runs every client of [`CLIENTS`] against a server with the settings of `config`, in about ten seconds; and over TLS
/// too if `config` has an address with TLS. Returns a report for each.
///
/// The server differs from the configuration in six points: it listens on a port of 127.0.0.1 that the
/// kernel picks, serves files of the self-test, has a certificate made in memory, has no limit on connections, writes
/// no access log, and has a shorter T and grace and a smaller `max_requests`.
///
/// # Errors
/// The server cannot start, or its files cannot be created.
pub fn run(config: &Config) -> Result<Vec<Report>, SelftestError> {
    let (over_tls, plain): (Vec<_>, Vec<_>) = config.listen.iter().partition(|it| it.tls);
    let mut reports = Vec::new();
    if !plain.is_empty() {
        reports.push(run_over(config, false, &PlainHttp)?);
    }
    #[cfg(feature = "tls")]
    if !over_tls.is_empty() {
        let client = crate::connection::tls::TlsClient::new()?;
        reports.push(run_over(config, true, &client)?);
    }
    // Reading the configuration refuses addresses with TLS otherwise.
    #[cfg(not(feature = "tls"))]
    debug_assert!(over_tls.is_empty());
    Ok(reports)
}

fn run_over(config: &Config, tls: bool, protocol: &dyn Protocol) -> Result<Report, SelftestError> {
    let directory = SiteDirectory::new()?;
    let tested = tested_config(config, tls, &directory);
    let assumptions = Assumptions {
        scale: TimeScale {
            configured: config.keep_alive.timeout_secs,
            tested: tested.keep_alive.timeout_secs,
        },
        // A client that honours the hint reuses nothing if it gets none.
        assumed_timeout_secs: 0,
        lateness_millis: LATENESS_MILLIS,
        checks_for_close: true,
    };
    let running = RunningServer::start(tested.clone())?;
    let counts = run_all(
        Endpoint {
            address: running.address,
            protocol,
        },
        assumptions,
        tested.keep_alive.idle_close_after_secs(),
    )?;
    drop(running);
    let rows = CLIENTS.iter().zip(counts);
    let rows = rows.map(|(client, counts)| Row::new(client, counts, &config.keep_alive));
    Ok(Report::new(
        rows.collect(),
        tls,
        config.keep_alive.clone(),
        tested.keep_alive,
    ))
}

/// The configuration of the server under test.
fn tested_config(config: &Config, tls: bool, directory: &SiteDirectory) -> Config {
    let mut tested = config.clone();
    tested.site = SiteConfig::at(&directory.0);
    tested.hosts = Vec::new();
    tested.strict_hosts = false;
    tested.listen = vec![ListenAddress {
        tls,
        ..ListenAddress::tcp(([127, 0, 0, 1], 0).into())
    }];
    tested.self_signed = true;
    tested.access_log.target = None;
    tested.limits.connections = 0;
    tested.limits.connections_per_ip = 0;
    let keep_alive = &mut tested.keep_alive;
    keep_alive.timeout_secs = keep_alive.timeout_secs.min(TIMEOUT_SECS);
    keep_alive.grace_secs = keep_alive.grace_secs.min(GRACE_SECS);
    keep_alive.max_requests = keep_alive.max_requests.min(MAX_REQUESTS);
    tested
}

/// Runs all clients at the same time. Their counts are in the order of the table.
fn run_all(
    server: Endpoint<'_>,
    assumptions: Assumptions,
    idle_close_secs: u32,
) -> io::Result<Vec<RequestCounts>> {
    let clock = SystemClock::new();
    let clock = &clock;
    thread::scope(|scope| {
        let start = |scenario: Scenario| {
            let client = SimulatedClient::new(scenario.client, server, clock, assumptions);
            let thread = thread::Builder::new().stack_size(STACK_BYTES);
            thread.spawn_scoped(scope, move || scenario.run(client, idle_close_secs))
        };
        let mut all = Vec::new();
        for client in CLIENTS {
            let threads: io::Result<Vec<_>> = Scenario::all_of(client).map(start).collect();
            all.push(threads?);
        }
        let joined = all.into_iter().map(|threads| {
            let mut sum = RequestCounts::default();
            for thread in threads {
                match thread.join() {
                    Ok(counts) => sum.add(&counts),
                    Err(_) => return Err(io::Error::other("a client panicked")),
                }
            }
            Ok(sum)
        });
        joined.collect()
    })
}

/// The requests of one client thread, over a connection and those that replace it.
#[derive(Debug, Clone, Copy)]
struct Scenario {
    client: &'static Client,
    number: u32,
    /// Milliseconds that a slow reader takes over a response; `None` for other clients.
    slow_millis: Option<u32>,
}

impl Scenario {
    fn all_of(client: &'static Client) -> impl Iterator<Item = Scenario> {
        let scenario = move |number, slow_millis| Scenario {
            client,
            number,
            slow_millis,
        };
        let usual = (0..CONNECTIONS).map(move |number| scenario(number, None));
        let slow = SLOW_READERS_MILLIS.into_iter().zip(0..);
        let slow = slow.filter(move |_| client.idle_limit.honours_hint());
        usual.chain(slow.map(move |(millis, number)| scenario(number, Some(millis))))
    }

    fn run(self, mut client: SimulatedClient<'_>, idle_close_secs: u32) -> RequestCounts {
        // The threads must not all start in the same millisecond.
        client.wait(u64::from(self.number) * 10);
        let idle_close_millis = u64::from(idle_close_secs) * 1000;
        let idle = |client: &mut SimulatedClient<'_>, early_millis: u64| {
            let riskiest_idle_millis = client.riskiest_idle_millis(idle_close_millis);
            let gap_millis = riskiest_idle_millis.saturating_sub(early_millis);
            client.ask_after(gap_millis, SMALL_PATH, ReadSpeed::Full);
        };
        match self.slow_millis {
            Some(millis) => {
                client.ask(LARGE_PATH, ReadSpeed::Slow { millis });
                idle(&mut client, EARLY_MILLIS);
            }
            None => {
                client.ask(SMALL_PATH, ReadSpeed::Full);
                for _ in 0..ROUNDS {
                    idle(&mut client, EARLY_MILLIS * u64::from(1 + self.number % 4));
                }
            }
        }
        // Use the connection up to its last response, which says that it is the last.
        for _ in 0..MAX_REQUESTS.get() {
            if client.is_connected() {
                client.ask(SMALL_PATH, ReadSpeed::Full);
            }
        }
        client.counts()
    }
}

/// The server, in a thread. It stops on drop.
struct RunningServer {
    handle: Handle,
    address: SocketAddr,
    thread: Option<thread::JoinHandle<io::Result<()>>>,
}

impl RunningServer {
    fn start(config: Config) -> Result<RunningServer, SelftestError> {
        let server = Server::bind(config, Arc::new(SystemClock::new()), false);
        let server = server.map_err(SelftestError::Start)?;
        let address = server.addresses().first();
        let Some(address) = address.and_then(ListenAddress::tcp_address) else {
            return Err(io::Error::other("the listener is not a TCP one").into());
        };
        let handle = server.handle();
        let thread = thread::Builder::new().spawn(move || server.run())?;
        Ok(RunningServer {
            handle,
            address,
            thread: Some(thread),
        })
    }
}

impl Drop for RunningServer {
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
struct SiteDirectory(PathBuf);

impl SiteDirectory {
    fn new() -> io::Result<SiteDirectory> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("abide-selftest-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // This fails if the path exists already, and then nothing is removed on drop.
        fs::create_dir(&path)?;
        let directory = SiteDirectory(path);
        fs::write(
            directory.0.join("index.html"),
            "<!doctype html><title>abide</title>\n",
        )?;
        fs::write(directory.0.join("large.bin"), vec![b'.'; LARGE_BYTES])?;
        Ok(directory)
    }
}

impl Drop for SiteDirectory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            log::warn!("{} cannot be removed: {error}", self.0.display());
        }
    }
}
