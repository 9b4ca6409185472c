//! The running server: threads, socket readiness and timers.
//!
//! [`Server::bind`] first does everything that can fail. [`Server::run`] then makes the calling thread
//! the first event loop.

pub mod accepting;
pub mod acceptor;
pub mod access_log;
pub mod deadlines;
pub mod diagnostics;
pub mod dispatcher;
pub mod event_loop;
pub mod handoff;
pub mod handshakes;
pub mod interrupt;
pub mod lease;
pub mod lifecycle;
pub mod line_writer;
pub mod listener;
pub mod parked_workers;
pub mod pool;
pub mod pressure;
pub mod reload_status;
pub mod revalidators;
pub mod shared;
pub mod silent;
pub mod slots;
pub mod spares;
pub mod summaries;
pub mod supervisor_waker;
pub mod system;
pub mod timer_wheel;
pub mod tokens;
pub mod turn_runner;
pub mod work;
pub mod worker;

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use crossbeam_channel::Receiver;
use mio::{Poll, Waker};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook_mio::v1_0::Signals;

use crate::clock::Clock;
use crate::config::{AccessLogTarget, Config, ListenAddress};
use crate::connection::counters::Totals;
use crate::connection::limits::per_ip::ConnectionsPerClient;
use crate::connection::server_context::{Mode, ServerContext};
use crate::site::Sites;
use crate::site::disk::{DescriptorBudget, MAX_CACHED_FILES};
use access_log::AccessLog;
use event_loop::{EventLoop, Sources};
use handoff::Handoff;
use listener::Listener;
use pool::Pool;
use reload_status::ReloadStatus;
use shared::{LoopMessage, Shared, share_of};
use slots::REFUSAL_RESERVE;
use spares::most_spares;
use supervisor_waker::SupervisorWaker;
use tokens::MAX_LISTENERS;

/// Descriptors reserved for the standard streams, logs, signals and libraries.
const RESERVED_DESCRIPTORS: u64 = 64;

/// Descriptors that a thread has open for a short time: the file that it reads, and one more.
const DESCRIPTORS_PER_THREAD: u64 = 2;

/// Descriptors of the admin listener: its poll, its waker, the listener, its clients, and one to look at the
/// process with.
pub const ADMIN_DESCRIPTORS: u64 = 20;

/// The most connections, whatever the descriptor limit is. Tokens have no room for more.
const MAX_CONNECTIONS: u64 = 1 << 24;

/// How long the server waits at its end for the access log, or the time that the workers have left over, if
/// that is longer.
const MIN_LOG_TIMEOUT: Duration = Duration::from_millis(100);

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
    event_loops: Vec<EventLoop>,
    all: Arc<[Arc<Shared>]>,
    addresses: Vec<ListenAddress>,
    pool: Pool,
    is_process: bool,
}

/// Controls a running server from another thread.
#[derive(Debug, Clone)]
pub struct Handle {
    all: Arc<[Arc<Shared>]>,
}

impl Handle {
    /// Drains or stops the server, as SIGTERM and SIGINT do.
    pub fn enter(&self, mode: Mode) {
        for shared in &*self.all {
            shared.report_and_wake(LoopMessage::Enter(mode));
        }
    }

    /// Makes the event loops read the clock. Tests call this after they have moved it.
    pub fn wake(&self) {
        for shared in &*self.all {
            if let Err(error) = shared.waker.wake() {
                log::warn!("the event loop cannot be woken: {error}");
            }
        }
    }

    /// The number of open connections: lingering ones count, those that are being refused do not.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.all[0].context.gauge.open()
    }

    /// The number of connections that each event loop has accepted since the start.
    #[must_use]
    pub fn accepted_by_loop(&self) -> Vec<u64> {
        let accepted = |shared: &Arc<Shared>| shared.accept_state.accepted.load(Ordering::Relaxed);
        self.all.iter().map(accepted).collect()
    }

    /// The shared state of the event loops, for observers. There is at least one.
    #[must_use]
    pub fn event_loops(&self) -> &Arc<[Arc<Shared>]> {
        &self.all
    }

    /// The sum of all counters.
    #[must_use]
    pub fn totals(&self) -> Totals {
        shared::totals(&self.all)
    }
}

impl Server {
    /// Opens the site, the logs and the listeners, and starts the workers. If any step fails, nothing keeps
    /// running and nothing stays open.
    ///
    /// `is_process` says that the server is the whole process. It then takes over the sockets that it was
    /// started with (LISTEN_FDS), and listens on no others. SIGTERM drains it, SIGINT stops it within two
    /// seconds, and a second SIGINT exits at once with status 1 ([`interrupt`]).
    ///
    /// # Errors
    /// [`StartError`] says which part failed and why.
    pub fn bind(
        config: Config,
        clock: Arc<dyn Clock>,
        is_process: bool,
    ) -> Result<Server, StartError> {
        let (limit, descriptors) = connection_limit(&config)?;
        let mut config = config;
        config.limits.connections = limit;
        let sites = Sites::open_within(&config, descriptors);
        let sites = sites.map_err(|error| StartError(error.to_string()))?;
        let access_log = config.access_log.target.as_ref().map(open_access_log);
        let access_log = access_log.transpose()?;
        let listeners = listeners(&config, is_process)?;
        let addresses = listeners
            .iter()
            .map(|of_address| of_address[0].address.clone())
            .collect();
        let signals = if is_process {
            Some(catch_signals(&clock)?)
        } else {
            None
        };
        let (per_ip, ipv6_prefix) = (config.limits.connections_per_ip, config.limits.ipv6_prefix);
        let common = EventLoopBuilder {
            context: Arc::new(ServerContext::new(config, sites)),
            clock,
            access_log: access_log.map(Arc::new),
            per_client: (per_ip > 0)
                .then(|| Arc::new(ConnectionsPerClient::new(per_ip, ipv6_prefix))),
            supervisor_waker: Arc::default(),
            reload_status: Arc::default(),
        };
        let event_loops = common.event_loops(listeners, signals)?;
        let all = Arc::clone(event_loops[0].all());
        let pool = Pool::start(Arc::clone(&all));
        Ok(Server {
            event_loops,
            all,
            addresses,
            pool: pool.map_err(StartError::because("cannot start a worker"))?,
            is_process,
        })
    }

    /// The addresses in use, with port 0 replaced by the real port.
    #[must_use]
    pub fn addresses(&self) -> &[ListenAddress] {
        &self.addresses
    }

    /// A handle that controls the server while it runs.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle {
            all: Arc::clone(&self.all),
        }
    }

    /// Serves until the server has ended. The calling thread runs the first event loop.
    ///
    /// # Errors
    /// If a thread cannot be started, or if polling fails.
    pub fn run(mut self) -> io::Result<()> {
        let handle = self.handle();
        let result = thread::scope(|scope| {
            let mut event_loops = self.event_loops.iter_mut();
            let first = event_loops.next();
            let mut others = Vec::new();
            for event_loop in event_loops {
                let name = format!("event-loop-{}", event_loop.number());
                let started = thread::Builder::new()
                    .name(name)
                    .spawn_scoped(scope, || run_or_stop_all(event_loop, &handle));
                // The kernel may assign clients to this loop's listeners, and no thread would serve them.
                let started = started.inspect_err(|_| handle.enter(Mode::Stopping));
                others.push(started?);
            }
            let mut result = first.map_or(Ok(()), |first| run_or_stop_all(first, &handle));
            for thread in others {
                let ended = thread.join().unwrap_or_else(|panic| resume_unwind(panic));
                result = result.and(ended);
            }
            result
        });
        if self.is_process && self.event_loops[0].has_drained() {
            summaries::report_drain(&self.all);
        }
        let now = || self.all[0].clock.now().monotonic;
        let stopping_since = now();
        // A worker that the disk holds up would otherwise hold up the end as well.
        let timeout = self.event_loops[0].workers_timeout();
        // A worker that still runs then keeps its connection and the lines that it has collected, of half a
        // second at most. All other responses are logged.
        self.pool.stop(timeout);
        for event_loop in &mut self.event_loops {
            event_loop.log_cut_off_answers();
        }
        if let Some(access_log) = &self.all[0].access_log {
            let waited = Duration::from_millis(now().since(stopping_since));
            let left = timeout.saturating_sub(waited);
            access_log.finish(left.max(MIN_LOG_TIMEOUT));
        }
        result
    }
}

/// Runs one event loop. If it fails the others stop: an operator notices a server that serves no
/// client sooner than one that serves only some.
fn run_or_stop_all(event_loop: &mut EventLoop, handle: &Handle) -> io::Result<()> {
    match catch_unwind(AssertUnwindSafe(|| event_loop.run())) {
        Ok(result) => result.inspect_err(|_| handle.enter(Mode::Stopping)),
        Err(panic) => {
            handle.enter(Mode::Stopping);
            resume_unwind(panic)
        }
    }
}

/// The parts that all event loops share, from which the loops are made.
struct EventLoopBuilder {
    context: Arc<ServerContext>,
    clock: Arc<dyn Clock>,
    access_log: Option<Arc<AccessLog>>,
    per_client: Option<Arc<ConnectionsPerClient>>,
    supervisor_waker: Arc<SupervisorWaker>,
    reload_status: Arc<ReloadStatus>,
}

impl EventLoopBuilder {
    /// Makes the event loops. `listeners` has, for each address, one listener for each loop.
    fn event_loops(
        &self,
        mut listeners: Vec<Vec<Listener>>,
        signals: Option<Signals>,
    ) -> Result<Vec<EventLoop>, StartError> {
        let count = self.context.config.event_loops;
        let mut all = Vec::with_capacity(count);
        let mut loop_parts = Vec::with_capacity(count);
        for number in 0..count {
            let poll = Poll::new().map_err(StartError::because("cannot poll"))?;
            let waker = Waker::new(poll.registry(), tokens::WAKER);
            let waker = waker.map_err(StartError::because("cannot make a waker"))?;
            let (shared, messages) = self.shared(number, waker);
            all.push(Arc::new(shared));
            loop_parts.push((poll, messages));
        }
        let all: Arc<[Arc<Shared>]> = all.into();
        let mut signals = signals;
        let mut event_loops = Vec::with_capacity(count);
        for (number, (poll, messages)) in loop_parts.into_iter().enumerate() {
            let sources = Sources {
                poll,
                messages,
                listeners: listeners.iter_mut().filter_map(Vec::pop).collect(),
                // The first loop runs on the main thread and handles the signals.
                signals: signals.take(),
            };
            let event_loop = EventLoop::new(number, Arc::clone(&all), sources);
            event_loops
                .push(event_loop.map_err(StartError::because("cannot watch the listeners"))?);
        }
        Ok(event_loops)
    }

    fn shared(&self, number: usize, waker: Waker) -> (Shared, Receiver<LoopMessage>) {
        let (context, clock) = (Arc::clone(&self.context), Arc::clone(&self.clock));
        let (shared, messages) = Shared::new(number, context, clock, Box::new(waker));
        let shared = Shared {
            handoff: Handoff::new(Arc::clone(&self.supervisor_waker)),
            per_client: self.per_client.clone(),
            access_log: self.access_log.clone(),
            reload_status: Arc::clone(&self.reload_status),
            ..shared
        };
        (shared, messages)
    }
}

fn open_access_log(target: &AccessLogTarget) -> Result<AccessLog, StartError> {
    let what = match target {
        AccessLogTarget::Stdout => "cannot write the access log".to_owned(),
        AccessLogTarget::File(path) => format!("cannot open the access log {}", path.display()),
    };
    AccessLog::open(target).map_err(StartError::because(what))
}

/// The most workers that there can be in all, spare ones included.
fn most_workers(config: &Config) -> usize {
    let of_loop = |number| {
        let workers = share_of(config.workers, number, config.event_loops);
        workers + most_spares(workers)
    };
    (0..config.event_loops).map(of_loop).sum()
}

/// The limit on connections, and the descriptors that connections and large files share. Raises the soft
/// limit of descriptors to the hard one.
fn connection_limit(config: &Config) -> Result<(usize, DescriptorBudget), StartError> {
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
    // Each event loop has a poll, a waker, its listeners, the connections that it refuses, and one socket
    // that it has just accepted.
    let per_event_loop = (config.listen.len() + 2 + REFUSAL_RESERVE + 1) as u64;
    let event_loops = config.event_loops as u64;
    let threads = DESCRIPTORS_PER_THREAD * (most_workers(config) as u64 + 2);
    // The sites share the cache, but each has a root.
    let roots = 1 + config.hosts.len() as u64;
    let cached_files = MAX_CACHED_FILES.min(descriptors / 4);
    let admin = config
        .admin
        .listen
        .as_ref()
        .map_or(0, |_| ADMIN_DESCRIPTORS);
    let reserve = RESERVED_DESCRIPTORS
        + admin
        + threads
        + roots
        + event_loops * per_event_loop
        + cached_files;
    // With a limit of some hundreds the reserve leaves nothing. A server with few connections is better
    // than none.
    let possible = descriptors.saturating_sub(reserve).max(descriptors / 4);
    let places = usize::try_from(possible).unwrap_or(usize::MAX);
    let budget = DescriptorBudget::new(places, cached_files);
    let possible = possible.min(MAX_CONNECTIONS);
    let wanted = config.limits.connections as u64;
    if wanted > possible {
        return Err(StartError(format!(
            "limits.connections: {wanted} connections need {} file descriptors, the hard limit is {descriptors}",
            wanted + reserve
        )));
    }
    let limit = if wanted == 0 { possible } else { wanted };
    Ok((usize::try_from(limit).unwrap_or(usize::MAX), budget))
}

/// The listening sockets: one for each address and event loop. If the process was started with
/// sockets, these are used and no others are bound, because the parent process decides.
fn listeners(config: &Config, is_process: bool) -> Result<Vec<Vec<Listener>>, StartError> {
    let probes = &config.tcp_keep_alive;
    if is_process {
        let what = "LISTEN_FDS: cannot take over the sockets";
        let inherited = Listener::inherited(probes).map_err(StartError::because(what))?;
        if inherited.len() > MAX_LISTENERS {
            return Err(StartError(format!(
                "LISTEN_FDS: at most {MAX_LISTENERS} sockets are possible"
            )));
        }
        if !inherited.is_empty() {
            // The parent process has decided whether the sockets share their ports.
            let split = |listener: Listener| listener.split(config.event_loops);
            let split = inherited.into_iter().map(split);
            return split
                .collect::<io::Result<_>>()
                .map_err(StartError::because(what));
        }
    }
    if config.listen.len() > MAX_LISTENERS {
        return Err(StartError(format!(
            "listen: at most {MAX_LISTENERS} addresses are possible"
        )));
    }
    let bind = |address: &ListenAddress| {
        let what = format!("cannot listen on {}", address.url());
        Listener::bind_for(config.event_loops, address, probes).map_err(StartError::because(what))
    };
    config.listen.iter().map(bind).collect()
}

/// Catches the signals for the event loop, and SIGINT also for a thread of its own.
fn catch_signals(clock: &Arc<dyn Clock>) -> Result<Signals, StartError> {
    let failed = || StartError::because("cannot catch signals");
    let signals = Signals::new([SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGHUP]).map_err(failed())?;
    interrupt::watch(Arc::clone(clock)).map_err(failed())?;
    // A signal handler that does nothing replaces the default, which ends the process. So a log that
    // reaches a file size limit only loses lines (write(2): EFBIG).
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map_err(failed())?;
    Ok(signals)
}
