//! The running server: threads, socket readiness and timers.
//!
//! A start has three steps, so that the program can give up rights between the first two
//! ([`confinement`]): [`BoundListeners::bind`], [`Server::start`], which does all else that can fail and starts the
//! threads, and [`Server::run`], which makes the calling thread the first event loop.

pub mod accepting;
pub mod acceptor;
pub mod access_log;
mod bound_listeners;
#[cfg(feature = "tls")]
pub mod certificate_watcher;
pub mod confinement;
mod connection_limit;
pub mod current_config;
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
mod open_addresses;
pub mod parked_workers;
pub mod pool;
pub mod pressure;
pub mod reload;
pub mod reload_status;
pub mod revalidators;
pub mod service_manager;
pub mod shared;
pub mod silent;
pub mod slots;
pub mod socket_file;
pub mod spares;
mod start_error;
pub mod summaries;
pub mod supervisor_waker;
pub mod system;
pub mod timer_wheel;
pub mod tokens;
pub mod turn_runner;
pub mod work;
pub mod worker;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use crossbeam_channel::Receiver;
use mio::{Poll, Waker};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook_mio::v1_0::Signals;

use crate::clock::{Clock, Now};
use crate::config::{Config, Endpoint, ListenAddress};
use crate::connection::counters::Totals;
use crate::connection::server_context::{Mode, ServerContext};
use crate::connection::tls::TlsContext;
use crate::site::Sites;
pub use bound_listeners::BoundListeners;
pub use start_error::StartError;

use access_log::AccessLog;
use connection_limit::{ConnectionLimit, connection_limit};
use current_config::CurrentConfig;
use event_loop::{EventLoop, Sources};
use handoff::Handoff;
use listener::Listener;
use open_addresses::OpenAddresses;
use pool::Pool;
use reload::{ReadConfig, ReloadError, ReloadSender, Reloader};
use reload_status::ReloadStatus;
use service_manager::ServiceManager;
use shared::{LoopMessage, Shared};
use slots::{REFUSAL_RESERVE, Slots};
use supervisor_waker::SupervisorWaker;

/// How long the server waits at its end for the access log, or the time that the workers have left over, if
/// that is longer.
const MIN_LOG_TIMEOUT: Duration = Duration::from_millis(100);

/// A server that is bound and ready to run.
pub struct Server {
    event_loops: Vec<EventLoop>,
    all: Arc<[Arc<Shared>]>,
    addresses: Vec<ListenAddress>,
    pool: Pool,
    reloader: Option<Reloader>,
    reloads: ReloadSender,
    service_manager: Option<Arc<ServiceManager>>,
    is_process: bool,
}

/// Controls a running server from another thread.
#[derive(Debug, Clone)]
pub struct Handle {
    all: Arc<[Arc<Shared>]>,
    reloads: ReloadSender,
}

impl Handle {
    /// Drains or stops the server, as SIGTERM and SIGINT do.
    pub fn enter(&self, mode: Mode) {
        for shared in &*self.all {
            shared.report_and_wake(LoopMessage::Enter(mode));
        }
    }

    /// Puts another configuration in force while the server runs, and waits for that. Connections and listening
    /// sockets stay, and so does what clients were told.
    ///
    /// # Errors
    /// If the configuration cannot be used. Then nothing has changed.
    pub fn reload(&self, config: Config) -> Result<(), ReloadError> {
        self.reloads.take(config)
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
        self.all[0].gauge.open()
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
    /// Checks that the unix sockets of this configuration could be bound, with the rights that the process has before
    /// it gives some up. Nothing is bound.
    ///
    /// # Errors
    /// [`StartError`] says which address failed and why.
    pub fn check_sockets(config: &Config) -> Result<(), StartError> {
        let of_admin = config.admin.listen.iter().map(|it| ("admin.listen: ", it));
        let addresses = of_admin.chain(config.listen.iter().map(|it| ("", it)));
        for (key, address) in addresses {
            let Endpoint::Unix(path) = &address.endpoint else {
                continue;
            };
            let what = format!("{key}cannot listen on {}", address.url());
            socket_file::check(path).map_err(StartError::because(what))?;
        }
        Ok(())
    }

    /// Checks that a server with this configuration could start with the rights that remain, but for its addresses.
    /// Nothing is left behind. Returns warnings about the certificates, as [`warnings`](Server::warnings).
    ///
    /// # Errors
    /// [`StartError`] says which part failed and why.
    pub fn check(config: &Config, now: Now) -> Result<Vec<String>, StartError> {
        connection_limit(config).map_err(StartError::new)?;
        confinement::check(config).map_err(|error| StartError::new(error.to_string()))?;
        Sites::open(config).map_err(StartError::of_site)?;
        let tls = TlsContext::open(config, now).map_err(StartError::of_certificate)?;
        let access_log = config.access_log.target.as_ref();
        access_log
            .map_or(Ok(()), AccessLog::check)
            .map_err(StartError::of_log)?;
        let warnings = tls.map(|tls| tls.warnings(config, now.unix_secs));
        Ok(warnings.unwrap_or_default())
    }

    /// Listens and starts, with the rights that the process has: [`BoundListeners::bind`], [`Server::start`].
    ///
    /// # Errors
    /// [`StartError`] says which part failed and why.
    pub fn bind(
        config: Config,
        clock: Arc<dyn Clock>,
        is_process: bool,
    ) -> Result<Server, StartError> {
        let listeners = BoundListeners::bind(&config, is_process)?;
        Server::start(config, clock, listeners)
    }

    /// Opens the sites and the log, and starts the workers. If any step fails, nothing keeps running and nothing
    /// stays open. `listeners` must have been bound with the same `config`.
    ///
    /// # Errors
    /// [`StartError`] says which part failed and why.
    pub fn start(
        config: Config,
        clock: Arc<dyn Clock>,
        listeners: BoundListeners,
    ) -> Result<Server, StartError> {
        let BoundListeners {
            by_address: listeners,
            are_inherited,
            is_process,
            is_admin_inherited,
            ..
        } = listeners;
        let mut config = config;
        config.admin.is_inherited = is_admin_inherited;
        let ConnectionLimit {
            limit,
            most,
            descriptors,
        } = connection_limit(&config).map_err(StartError::new)?;
        config.limits.connections = limit;
        let sites = Sites::open_within(&config, Arc::new(descriptors));
        let sites = sites.map_err(StartError::of_site)?;
        let access_log = config.access_log.target.as_ref().map(AccessLog::open);
        let access_log = access_log.transpose().map_err(StartError::of_log)?;
        let addresses: Vec<ListenAddress> = listeners
            .iter()
            .map(|of_address| of_address[0].address.clone())
            .collect();
        let open_addresses = match are_inherited {
            true => OpenAddresses::inherited(config.event_loops),
            false => OpenAddresses::of_config(&config, &addresses),
        };
        let signals = if is_process {
            Some(catch_signals(&clock)?)
        } else {
            None
        };
        let tls = TlsContext::open(&config, clock.now());
        let tls = tls.map_err(StartError::of_certificate)?;
        sites.note_addresses(&addresses);
        let context = Arc::new(ServerContext::new(config, sites).with_tls(tls));
        let common = EventLoopBuilder {
            config: Arc::new(CurrentConfig::new(context, access_log.map(Arc::new))),
            clock,
            most_connections: most,
            supervisor_waker: Arc::default(),
            reload_status: Arc::default(),
        };
        let mut event_loops = common.event_loops(listeners, signals)?;
        let all = Arc::clone(event_loops[0].all());
        all[0].config.set_addresses(addresses.clone());
        let (reloader, reloads) = Reloader::new(Arc::clone(&all), open_addresses);
        event_loops[0].reload_by(reloads.clone());
        let pool = Pool::start(Arc::clone(&all));
        Ok(Server {
            event_loops,
            all,
            addresses,
            pool: pool.map_err(StartError::because("cannot start a worker"))?,
            reloader: Some(reloader),
            reloads,
            service_manager: None,
            is_process,
        })
    }

    /// Makes SIGHUP reload the configuration that `read` returns.
    pub fn reload_by(&mut self, read: ReadConfig) {
        if let Some(reloader) = &mut self.reloader {
            reloader.read_by(read);
        }
    }

    /// Makes the server report to the service manager that started it.
    pub fn report_to(&mut self, service_manager: ServiceManager) {
        let service_manager = Arc::new(service_manager);
        for event_loop in &mut self.event_loops {
            event_loop.report_to(&service_manager);
        }
        if let Some(reloader) = &mut self.reloader {
            reloader.report_to(Arc::clone(&service_manager));
        }
        self.service_manager = Some(service_manager);
    }

    /// Warnings about certificates that expire soon or have expired, and about names that none covers. Each is one
    /// sentence without a full stop.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let context = Arc::clone(&self.all[0].config.get().context);
        let now = self.all[0].clock.now().unix_secs;
        let warnings = context
            .tls
            .as_ref()
            .map(|tls| tls.warnings(&context.config, now));
        warnings.unwrap_or_default()
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
            reloads: self.reloads.clone(),
        }
    }

    /// Serves until the server has ended. The calling thread runs the first event loop.
    ///
    /// # Errors
    /// If a thread cannot be started, or if polling fails.
    pub fn run(mut self) -> io::Result<()> {
        let handle = self.handle();
        if let Some(reloader) = self.reloader.take() {
            reloader.start()?;
        }
        if let Some(service_manager) = &self.service_manager {
            service_manager.ready("serving");
        }
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
        self.reloads.end();
        for event_loop in &mut self.event_loops {
            event_loop.log_cut_off_answers();
        }
        if let Some(access_log) = &self.all[0].config.get().access_log {
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
    config: Arc<CurrentConfig>,
    clock: Arc<dyn Clock>,
    most_connections: usize,
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
        let count = self.config.get().context.config.event_loops;
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
        let (config, clock) = (Arc::clone(&self.config), Arc::clone(&self.clock));
        let (shared, messages) = Shared::new(number, config, clock, Box::new(waker));
        let shared = Shared {
            handoff: Handoff::new(Arc::clone(&self.supervisor_waker)),
            // The kernel may assign all connections to one loop.
            slots: Slots::new(self.most_connections + REFUSAL_RESERVE),
            most_connections: self.most_connections,
            reload_status: Arc::clone(&self.reload_status),
            ..shared
        };
        (shared, messages)
    }
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
