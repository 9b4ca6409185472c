//! Reloading the configuration while the server runs (SIGHUP).
//!
//! A thread of its own reads the configuration, opens what it names, and puts it in force in one step. Reading
//! may wait for a disk, and no other thread waits for that. If anything fails, nothing changes.
//!
//! ```text
//!   event loop        SIGHUP: ReloadSender::request
//!   reload thread     Reloader::reload                 reads, checks and opens everything
//!                     Shared::put_in_force             the new configuration is in force
//!                     LoopMessage::Reloaded            event loops: listeners, timers, limits
//!                     Handoff::recall                  wakes idle workers
//!   each thread       TurnRunner::follow_reload        before its next turn
//!   reload thread     Reloader::drop_retired           when no thread uses the old configuration any more
//! ```
//!
//! No connection is closed. Its next turn runs under the new configuration, and its session keeps T and the number
//! of requests that its client was told.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::access_log::AccessLog;
#[cfg(feature = "tls")]
use super::certificate_watcher::CertificateWatcher;
use super::current_config::ActiveConfig;
use super::diagnostics::print_notice;
use super::open_addresses::{AddressChange, OpenAddresses};
use super::revalidators;
use super::service_manager::ServiceManager;
use super::shared::{LoopMessage, Shared};
use crate::config::{Config, ConfigError, KeySources, Reloaded, Running};
use crate::connection::server_context::{Mode, ServerContext};
use crate::connection::tls::{CertificateError, TlsContext};

/// The first and the longest time after which the reload thread looks whether the last thread has left an old
/// configuration. A worker that waits for a disk may keep one for long.
const RETIREMENT_CHECKS: [Duration; 2] = [Duration::from_millis(5), Duration::from_secs(1)];

/// How long the lines of an old access log may take to be written.
const LOG_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads the configuration for the server that is running.
pub type ReadConfig = Box<dyn Fn(Running<'_>) -> Result<Reloaded, ConfigError> + Send>;

/// The reason why a reload was refused: a line for each error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReloadError(String);

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ReloadError {}

impl From<ConfigError> for ReloadError {
    fn from(error: ConfigError) -> ReloadError {
        ReloadError(error.to_string())
    }
}

/// A request to the reload thread.
#[derive(Debug)]
enum ReloadRequest {
    /// Reads the configuration again.
    Read,
    /// Takes this configuration, and returns the outcome.
    Take(Box<Config>, Sender<Result<(), ReloadError>>),
    /// The server has ended.
    End,
}

/// Asks the reload thread for reloads.
#[derive(Debug, Clone)]
pub struct ReloadSender(Sender<ReloadRequest>);

impl ReloadSender {
    /// Asks for a reload, without waiting for it. If a request waits already, it serves this one too, because the
    /// configuration will be read later.
    pub fn request(&self) {
        let _ = self.0.try_send(ReloadRequest::Read);
    }

    /// Puts `config` in force, and waits for that.
    ///
    /// # Errors
    /// If the configuration cannot be used, or the server has ended.
    pub(super) fn take(&self, config: Config) -> Result<(), ReloadError> {
        let ended = || ReloadError("the server has ended".to_owned());
        let (reply, outcome) = bounded(1);
        let request = ReloadRequest::Take(Box::new(config), reply);
        self.0.send(request).map_err(|_| ended())?;
        outcome.recv().unwrap_or_else(|_| Err(ended()))
    }

    /// Ends the reload thread, without waiting for it.
    pub(super) fn end(&self) {
        let _ = self.0.send_timeout(ReloadRequest::End, LOG_TIMEOUT);
    }
}

/// The thread that reloads.
pub(super) struct Reloader {
    all: Arc<[Arc<Shared>]>,
    requests: Receiver<ReloadRequest>,
    addresses: OpenAddresses,
    /// `None` if the server belongs to another program, which reads its own configuration.
    read: Option<ReadConfig>,
    service_manager: Option<Arc<ServiceManager>>,
    #[cfg(feature = "tls")]
    certificate_watcher: CertificateWatcher,
    /// Old configurations that some thread still uses.
    retired: Vec<Arc<ActiveConfig>>,
}

impl Reloader {
    /// A reloader for the server whose event loops are `all`, which listens on `addresses`.
    pub(super) fn new(
        all: Arc<[Arc<Shared>]>,
        addresses: OpenAddresses,
    ) -> (Reloader, ReloadSender) {
        // One place: a second request to read would change nothing.
        let (sender, requests) = bounded(1);
        let reloader = Reloader {
            #[cfg(feature = "tls")]
            certificate_watcher: {
                let config = Arc::clone(&all[0].config);
                CertificateWatcher::new(config, Arc::clone(&all[0].clock))
            },
            all,
            requests,
            addresses,
            read: None,
            service_manager: None,
            retired: Vec::new(),
        };
        (reloader, ReloadSender(sender))
    }

    /// Makes SIGHUP reload the configuration that `read` returns.
    pub(super) fn read_by(&mut self, read: ReadConfig) {
        self.read = Some(read);
    }

    /// Makes the reloader tell `service_manager` of reloads.
    pub(super) fn report_to(&mut self, service_manager: Arc<ServiceManager>) {
        self.service_manager = Some(service_manager);
    }

    /// Starts the thread. It ends with [`ReloadSender::end`], or when the last sender is dropped.
    ///
    /// # Errors
    /// As pthread_create(3).
    pub(super) fn start(mut self) -> std::io::Result<()> {
        self.watch_certificates();
        let thread = thread::Builder::new().name("reload".to_owned());
        thread.spawn(move || self.run()).map(drop)
    }

    fn run(mut self) {
        let [first, longest] = RETIREMENT_CHECKS;
        let mut pause = first;
        loop {
            let request = match self.retired.is_empty() {
                true => self.requests.recv().map_err(RecvTimeoutError::from),
                false => self.requests.recv_timeout(pause),
            };
            pause = match request {
                Err(RecvTimeoutError::Timeout) => longest.min(2 * pause),
                _ => first,
            };
            match request {
                Ok(ReloadRequest::Read) => {
                    if catch_unwind(AssertUnwindSafe(|| self.read_and_reload())).is_err() {
                        // The panic hook has printed where it was.
                        log::error!("a reload panicked; the configuration in force stays");
                    }
                }
                Ok(ReloadRequest::Take(config, reply)) => {
                    let _ = reply.send(self.reload(*config, None));
                }
                Ok(ReloadRequest::End) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.drop_retired();
        }
    }

    /// Reads the configuration, puts it in force, and prints the outcome.
    fn read_and_reload(&mut self) {
        let Some(read) = &self.read else {
            return log::warn!("SIGHUP is ignored: there is no configuration to read again");
        };
        let active = self.all[0].config.get();
        let is_serving = active.context.mode() == Mode::Serving;
        // The service manager has heard STOPPING otherwise.
        let service_manager = self.service_manager.clone().filter(|_| is_serving);
        if let Some(service_manager) = &service_manager {
            service_manager.reloading();
        }
        let reloaded = read(Running {
            config: &active.context.config,
            most_connections: self.all[0].most_connections,
        });
        // The old configuration must not be kept while the new one is opened.
        drop(active);
        let outcome =
            reloaded
                .map_err(ReloadError::from)
                .and_then(|Reloaded { config, sources }| {
                    for warning in config.warnings() {
                        print_notice(format_args!("abide: warning: {warning}"));
                    }
                    self.reload(config, Some(&sources))
                });
        if let Some(service_manager) = &service_manager {
            let refusal = outcome.as_ref().err().map(ToString::to_string);
            service_manager.note_reload(refusal);
        }
        let now = self.all[0].clock.now().unix_secs;
        let status = &self.all[0].reload_status;
        match outcome {
            Ok(()) => {
                status.note_applied(now);
                print_notice(format_args!("abide: reloaded"));
            }
            Err(error) => {
                status.note_refused(now, error.to_string());
                for line in error.0.lines() {
                    print_notice(format_args!("abide: reload refused: {line}"));
                }
            }
        }
    }

    /// Opens what `config` names and puts it in force, or changes nothing. Errors name the places in `sources`.
    fn reload(
        &mut self,
        mut config: Config,
        sources: Option<&KeySources>,
    ) -> Result<(), ReloadError> {
        let shared = &self.all[0];
        let active = shared.config.get();
        if active.context.mode() != Mode::Serving {
            return Err(ReloadError("the server is shutting down".to_owned()));
        }
        let most = shared.most_connections;
        if let Some((name, message)) = active.context.config.restart_reason(&config, most) {
            return Err(error_at(sources, name, message));
        }
        if config.limits.connections == 0 {
            config.limits.connections = most;
        }
        config.admin.is_inherited = active.context.config.admin.is_inherited;
        let sites = active.context.sites.reopen(&config);
        let sites = sites.map_err(|error| error_at(sources, "root", error.to_string()))?;
        if self.addresses.are_inherited() && config.listen != active.context.config.listen {
            let why = "the sockets come from the service manager, so a change needs a restart";
            return Err(error_at(sources, "listen", why.to_owned()));
        }
        let now = shared.clock.now();
        let tls = match active.context.tls_for_handshakes() {
            Some(tls) => tls.reopen(&config, now),
            None => TlsContext::open(&config, now),
        };
        let tls = tls.map_err(|error| of_certificate(sources, &error))?;
        let access_log = access_log(&active, &config);
        let access_log = access_log.map_err(|why| error_at(sources, "access_log.path", why))?;
        let change = self
            .addresses
            .change_to(&config, shared.clock.now().monotonic);
        let change = change.map_err(|why| error_at(sources, "listen", why))?;
        let now = shared.clock.now().monotonic;
        let context = active.context.after_reload(config, sites, now);
        let unix_secs = shared.clock.now().unix_secs;
        let warnings = tls
            .as_ref()
            .map(|tls| tls.warnings(&context.config, unix_secs));
        for warning in warnings.unwrap_or_default() {
            print_notice(format_args!("abide: warning: {warning}"));
        }
        let context = context.with_tls(tls);
        drop(active);
        self.switch(Arc::new(context), access_log, change);
        Ok(())
    }

    /// Puts a configuration in force whose parts are all open.
    fn switch(
        &mut self,
        context: Arc<ServerContext>,
        access_log: Option<Arc<AccessLog>>,
        change: AddressChange,
    ) {
        let shared = &self.all[0];
        revalidators::start(&context, &shared.clock);
        if let Some(addresses) = change.addresses {
            shared.config.set_addresses(addresses);
        }
        context.sites.note_addresses(&shared.config.addresses());
        let replaced = shared.put_in_force(context, access_log);
        self.watch_certificates();
        for url in &change.added {
            print_notice(format_args!("listening on {url}"));
        }
        for url in &change.removed {
            print_notice(format_args!("no longer listening on {url}"));
        }
        for (shared, change) in self.all.iter().zip(change.of_loops) {
            shared.report_and_wake(LoopMessage::Reloaded(Box::new(change)));
            shared.handoff.recall();
        }
        self.retired.push(replaced);
    }

    /// Looks for renewed certificates of the configuration in force from now on.
    #[cfg(feature = "tls")]
    fn watch_certificates(&mut self) {
        if let Err(error) = self.certificate_watcher.follow() {
            log::error!("renewed certificates are not noticed before the next reload: {error}");
        }
    }

    #[cfg(not(feature = "tls"))]
    fn watch_certificates(&mut self) {}

    /// Drops the old configurations that no other thread uses. Dropping frees a cache, and the threads that serve
    /// must not wait for that.
    fn drop_retired(&mut self) {
        let (unused, used) = std::mem::take(&mut self.retired)
            .into_iter()
            .partition(|retired| Arc::strong_count(retired) == 1);
        self.retired = used;
        let config = &self.all[0].config;
        for retired in unused as Vec<Arc<ActiveConfig>> {
            // Not before: a thread that still used it could place an order that nobody takes.
            revalidators::stop(&retired.context);
            let Some(access_log) = &retired.access_log else {
                continue;
            };
            // The last lines of each thread have been passed on before the thread left.
            let is_in_use = Arc::strong_count(access_log) > 1;
            if !is_in_use {
                access_log.finish(LOG_TIMEOUT);
                config.note_closed_log(access_log.lines_dropped());
            }
        }
    }
}

/// The access log for `config`: the open one if its target stays.
fn access_log(active: &ActiveConfig, config: &Config) -> Result<Option<Arc<AccessLog>>, String> {
    let target = &config.access_log.target;
    if active.context.config.access_log.target == *target {
        // The open log stays, and the next rotation must succeed too.
        let checked = target.as_ref().map(AccessLog::check).transpose();
        checked.map_err(|error| error.to_string())?;
        return Ok(active.access_log.clone());
    }
    let opened = target.as_ref().map(AccessLog::open).transpose();
    let opened = opened.map_err(|error| error.to_string())?;
    Ok(opened.map(Arc::new))
}

#[cfg(feature = "tls")]
fn of_certificate(sources: Option<&KeySources>, error: &CertificateError) -> ReloadError {
    let (name, message) = (error.key.name(), error.to_string());
    match sources {
        Some(sources) => sources.certificate_error(name, error.host, message).into(),
        None => ReloadError(format!("{name}: {message}")),
    }
}

#[cfg(not(feature = "tls"))]
fn of_certificate(_: Option<&KeySources>, error: &CertificateError) -> ReloadError {
    match *error {}
}

fn error_at(sources: Option<&KeySources>, name: &str, message: String) -> ReloadError {
    match sources {
        Some(sources) => sources.error(name, message).into(),
        None => ReloadError(format!("{name}: {message}")),
    }
}
