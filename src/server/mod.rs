//! Threads, readiness, and time passing.
//!
//! [`Server::bind`] takes everything that can fail and does it first; [`Server::run`] turns the
//! calling thread into the event loop.

pub mod acceptor;
pub mod access_log;
pub mod drain;
pub mod event_loop;
pub mod handoff;
pub mod listener;
pub mod per_ip;
pub mod reaper;
pub mod slots;
pub mod timer_wheel;
pub mod workers;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use mio::{Poll, Waker};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook_mio::v1_0::Signals;

use crate::clock::Clock;
use crate::config::{Config, ListenAddress};
use crate::connection::counters::Totals;
use crate::connection::desk::Desk;
use crate::connection::service::{Mode, Service};
use crate::site::Site;
use crate::site::cache::MAX_DESCRIPTORS;
use acceptor::{Acceptor, REFUSAL_RESERVE};
use access_log::AccessLog;
use event_loop::{EventLoop, MAX_LISTENERS};
use handoff::{Handoff, Work};
use listener::Listener;
use slots::Slots;
use workers::{Report, Shared, Worker};

/// Descriptors kept for listeners, the poll, logs and files being opened.
const RESERVED_DESCRIPTORS: u64 = 64;

/// Connections that are never exceeded, whatever the descriptor limit says: tokens need the room.
const MAX_CONNECTIONS: u64 = 1 << 24;

/// How long the end waits for workers that are held up by the disk.
const JOIN_PATIENCE: Duration = Duration::from_secs(1);

/// Why the server could not start: one sentence, without a full stop.
#[derive(Debug)]
pub struct StartError(String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

impl StartError {
    fn because(what: impl fmt::Display) -> impl FnOnce(io::Error) -> StartError {
        move |error| StartError(format!("{what}: {error}"))
    }
}

/// A server that is bound and ready to run.
pub struct Server {
    event_loop: EventLoop,
    shared: Arc<Shared>,
    addresses: Vec<ListenAddress>,
    pool: Pool,
}

/// The running workers. Dropping it stops them and waits until they have written their logs.
struct Pool {
    shared: Arc<Shared>,
    /// Disconnected when the last worker has ended.
    ended: Receiver<()>,
}

impl Pool {
    fn start(shared: &Arc<Shared>) -> Result<Pool, StartError> {
        let (alive, ended) = crossbeam_channel::bounded::<()>(0);
        // Made first: should a thread fail to start, the others are stopped.
        let pool = Pool {
            shared: Arc::clone(shared),
            ended,
        };
        for (number, counters) in shared.counters.iter().enumerate() {
            let limits = &shared.service.config.limits;
            let desk = Desk::new(limits, Arc::clone(counters), shared.access_log.is_some());
            let worker = Worker::new(Arc::clone(shared), desk);
            let alive = alive.clone();
            let thread = thread::Builder::new().name(format!("worker-{number}"));
            let started = thread.spawn(move || {
                worker.run();
                drop(alive);
            });
            started.map_err(StartError::because("cannot start a worker"))?;
        }
        Ok(pool)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for _ in &self.shared.counters {
            // A full queue means that the pool is stuck; it ends with the process then.
            let _ = self.shared.handoff.dispatch(Work::Stop);
        }
        let _ = self.ended.recv_timeout(JOIN_PATIENCE);
    }
}

/// A way to reach a running server from another thread.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// Drains or stops the server, as SIGTERM and SIGINT do.
    pub fn enter(&self, mode: Mode) {
        self.shared.report_and_wake(Report::Enter(mode));
    }

    /// Makes the event loop look at the clock; for tests that have moved it.
    pub fn wake(&self) {
        if let Err(error) = self.shared.waker.wake() {
            log::warn!("the event loop cannot be woken: {error}");
        }
    }

    /// Connections open now, those that linger included, those that are being refused not.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.shared.service.occupancy.open()
    }

    /// The sum of all workers' counters.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals::sum(self.shared.counters.iter().map(AsRef::as_ref))
    }
}

impl Server {
    /// Opens the site, the logs and the listeners, and starts the workers. Nothing runs and nothing is
    /// left behind if any of it fails.
    ///
    /// `is_process` is for a server that is the process. It takes over the sockets that it was started
    /// with (LISTEN_FDS), and then listens on no others. SIGTERM drains it, SIGINT stops it, a second
    /// one of them exits at once with status 1.
    ///
    /// # Errors
    /// [`StartError`] says which part failed and why.
    pub fn bind(
        config: Config,
        clock: Arc<dyn Clock>,
        is_process: bool,
    ) -> Result<Server, StartError> {
        let limit = connection_limit(&config)?;
        let mut config = config;
        config.limits.connections = limit;
        let root = config.site.root.display().to_string();
        let site =
            Site::open(&config).map_err(StartError::because(format!("cannot serve {root}")))?;
        let access_log = config
            .access_log
            .target
            .as_ref()
            .map(AccessLog::open)
            .transpose();
        let access_log = access_log.map_err(StartError::because("cannot open the access log"))?;
        let listeners = listeners(&config, is_process)?;
        let addresses = listeners
            .iter()
            .map(|listener| listener.address.clone())
            .collect();
        let poll = Poll::new().map_err(StartError::because("cannot poll"))?;
        let waker = Waker::new(poll.registry(), event_loop::WAKER);
        let waker = waker.map_err(StartError::because("cannot make a waker"))?;
        let signals = if is_process {
            Some(catch_signals()?)
        } else {
            None
        };
        let (reports, receiver): (Sender<Report>, Receiver<Report>) = unbounded();
        let slots = Slots::new(limit + REFUSAL_RESERVE);
        let service = Service::new(config, site);
        let config = &service.config;
        let acceptor = Acceptor::new(&slots, Arc::clone(&service.occupancy), &config.limits);
        let shared = Arc::new(Shared {
            slots,
            handoff: Handoff::new(),
            counters: (0..config.workers).map(|_| Arc::default()).collect(),
            service,
            clock,
            reports,
            waker,
            wants_closes: AtomicBool::new(false),
            access_log,
        });
        let event_loop = EventLoop::new(
            poll,
            Arc::clone(&shared),
            acceptor,
            listeners,
            signals,
            receiver,
        );
        let event_loop = event_loop.map_err(StartError::because("cannot watch the listeners"))?;
        let pool = Pool::start(&shared)?;
        Ok(Server {
            event_loop,
            shared,
            addresses,
            pool,
        })
    }

    /// The addresses in force: a port 0 has become a real one.
    #[must_use]
    pub fn addresses(&self) -> &[ListenAddress] {
        &self.addresses
    }

    /// A way to reach the server while it runs.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Serves until the server is told to end and has ended. The calling thread becomes the event
    /// loop.
    ///
    /// # Errors
    /// If polling fails.
    pub fn run(mut self) -> io::Result<()> {
        let result = self.event_loop.run();
        drop(self.pool);
        result
    }
}

/// How many connections there may be. The soft limit of descriptors is raised to the hard one.
fn connection_limit(config: &Config) -> Result<usize, StartError> {
    let limits = getrlimit(Resource::Nofile);
    let hard = limits.maximum;
    let raised = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: hard,
            maximum: hard,
        },
    );
    let descriptors = match raised {
        Ok(()) => hard,
        Err(_) => limits.current,
    };
    // `None` is "unlimited".
    let descriptors = descriptors.unwrap_or(u64::MAX);
    let reserve = RESERVED_DESCRIPTORS + MAX_DESCRIPTORS + REFUSAL_RESERVE as u64;
    // A very low limit is shared half and half rather than refused.
    let possible = descriptors
        .saturating_sub(reserve)
        .max(descriptors / 2)
        .min(MAX_CONNECTIONS);
    let wanted = config.limits.connections as u64;
    if wanted > possible {
        return Err(StartError(format!(
            "limits.connections: {wanted} connections need {} file descriptors, the hard limit is {descriptors}",
            wanted + reserve
        )));
    }
    let limit = if wanted == 0 { possible } else { wanted };
    Ok(usize::try_from(limit).unwrap_or(usize::MAX))
}

/// The sockets to accept on. Those that the process was started with are all there are, if there are
/// any: whoever passes sockets decides which.
fn listeners(config: &Config, is_process: bool) -> Result<Vec<Listener>, StartError> {
    if is_process {
        let inherited = Listener::inherited(&config.tcp_keep_alive);
        let what = "LISTEN_FDS: cannot take over what was passed";
        let inherited = inherited.map_err(StartError::because(what))?;
        if inherited.len() > MAX_LISTENERS {
            return Err(StartError(format!(
                "LISTEN_FDS: at most {MAX_LISTENERS} sockets are possible"
            )));
        }
        if !inherited.is_empty() {
            return Ok(inherited);
        }
    }
    if config.listen.len() > MAX_LISTENERS {
        return Err(StartError(format!(
            "listen: at most {MAX_LISTENERS} addresses are possible"
        )));
    }
    let bind = |address: &ListenAddress| {
        let what = format!("cannot listen on {}", address.url());
        Listener::bind(address, &config.tcp_keep_alive).map_err(StartError::because(what))
    };
    config.listen.iter().map(bind).collect()
}

/// The first SIGTERM or SIGINT reaches the event loop; the second exits with status 1 from the
/// signal handler itself, however stuck the rest may be.
fn catch_signals() -> Result<Signals, StartError> {
    let failed = || StartError::because("cannot catch signals");
    // First, so that no signal arms the second one's effect without being seen itself.
    let signals = Signals::new([SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGHUP]).map_err(failed())?;
    let is_ending = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&is_ending))
            .map_err(failed())?;
        signal_hook::flag::register(signal, Arc::clone(&is_ending)).map_err(failed())?;
    }
    Ok(signals)
}
