//! The thread that looks for renewed certificates, so that no handshake waits for a disk.
//!
//! It looks at the certificates of the configuration in force, also after a reload. It starts when the first
//! configuration with TLS is in force, and sleeps while one without is.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use super::current_config::CurrentConfig;
use super::diagnostics::print_notice;
use crate::clock::Clock;
use crate::connection::tls::{Checked, RenewalEvent};

/// Starts the thread when it is needed. The thread ends when this is dropped; the end of the server does not wait for
/// that, because the thread has nothing to lose.
pub struct CertificateWatcher {
    config: Arc<CurrentConfig>,
    clock: Arc<dyn Clock>,
    /// Wakes the thread; `None` before it is started.
    waker: Option<Sender<()>>,
}

impl CertificateWatcher {
    /// A watcher for the server with this configuration in force. It does nothing before
    /// [`follow`](CertificateWatcher::follow) is called.
    #[must_use]
    pub fn new(config: Arc<CurrentConfig>, clock: Arc<dyn Clock>) -> CertificateWatcher {
        CertificateWatcher {
            config,
            clock,
            waker: None,
        }
    }

    /// Looks at the certificates of the configuration that is in force now. Called at the start and after each reload.
    ///
    /// # Errors
    /// If the thread cannot be started, as pthread_create(3). Then the certificates in use stay until a later call
    /// succeeds.
    pub fn follow(&mut self) -> io::Result<()> {
        let waker = match &self.waker {
            Some(waker) => waker,
            None if self.config.get().context.tls.is_none() => return Ok(()),
            None => {
                let waker = self.start()?;
                self.waker.insert(waker)
            }
        };
        match waker.try_send(()) {
            // A full channel wakes the thread as well.
            Ok(()) | Err(TrySendError::Full(())) => Ok(()),
            Err(TrySendError::Disconnected(())) => Err(io::Error::other("the thread has ended")),
        }
    }

    fn start(&self) -> io::Result<Sender<()>> {
        let (waker, wakeups) = bounded(1);
        let (config, clock) = (Arc::clone(&self.config), Arc::clone(&self.clock));
        let thread = thread::Builder::new().name("certificates".to_owned());
        thread.spawn(move || run(&config, &*clock, &wakeups))?;
        Ok(waker)
    }
}

fn run(config: &CurrentConfig, clock: &dyn Clock, wakeups: &Receiver<()>) {
    loop {
        let wakeup = match look(config, clock) {
            Some(pause) => wakeups.recv_timeout(pause),
            None => wakeups.recv().map_err(RecvTimeoutError::from),
        };
        if wakeup == Err(RecvTimeoutError::Disconnected) {
            return;
        }
    }
}

/// Looks once, and prints what there is to report. Returns the pause before the next look; `None` without TLS.
fn look(config: &CurrentConfig, clock: &dyn Clock) -> Option<Duration> {
    // Dropped before the pause: a reload waits for the last user of the configuration that it replaces.
    let (tls, now) = (config.get().context.tls.clone()?, clock.now());
    let checked = catch_unwind(AssertUnwindSafe(|| tls.check(now)));
    let Checked {
        events,
        next_in_millis,
    } = checked.unwrap_or_else(|_| {
        // The panic hook has printed where it was.
        log::error!("a look at the certificates panicked; those in use stay");
        Checked::default()
    });
    for event in &events {
        print_notice(format_args!("abide: {event}"));
    }
    let is_renewal = |event: &RenewalEvent| matches!(event, RenewalEvent::Renewed { .. });
    if events.iter().any(is_renewal) {
        // The new certificate may cover other names, or expire sooner.
        let context = Arc::clone(&config.get().context);
        for warning in tls.warnings(&context.config, now.unix_secs) {
            print_notice(format_args!("abide: warning: {warning}"));
        }
    }
    Some(Duration::from_millis(next_in_millis))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::clock::SystemClock;
    use crate::config::Config;
    use crate::connection::server_context::ServerContext;
    use crate::connection::tls::TlsContext;
    use crate::connection::tls::tests::{Files, leaf_valid};
    use crate::site::Sites;

    /// A context of `config`, whose sites have no files.
    fn context(config: &Config, clock: &dyn Clock) -> Arc<ServerContext> {
        let tls = TlsContext::open(config, clock.now()).unwrap();
        let sites = Sites::open(config).unwrap();
        Arc::new(ServerContext::new(config.clone(), sites).with_tls(tls))
    }

    /// Waits until the certificate in force is valid until `not_after`, for two seconds and a half at most.
    fn expect(current: &CurrentConfig, not_after: u64) {
        let start = Instant::now();
        let tls = current.get().context.tls.clone().unwrap();
        while tls.certificates()[0].not_after != not_after {
            assert!(start.elapsed() < Duration::from_millis(2_500));
            thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn the_certificates_in_force_are_followed_through_reloads() {
        let files = Files::new();
        let until = |not_after| leaf_valid(&["a.example"], [0, not_after]);
        files.write_pair("live", &until(5_000_000_001));
        let mut with_tls = files.config("live");
        with_tls.site.root = std::env::temp_dir();
        let without = Config {
            listen: Config::default().listen,
            ..with_tls.clone()
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let first = context(&without, &*clock);
        let current = Arc::new(CurrentConfig::new(first, None));
        let mut watcher = CertificateWatcher::new(Arc::clone(&current), Arc::clone(&clock));
        watcher.follow().unwrap();
        assert!(watcher.waker.is_none());
        for round in 1..3 {
            current.replace(context(&with_tls, &*clock), None);
            watcher.follow().unwrap();
            let next = 5_000_000_001 + round;
            files.write_pair("live", &until(next));
            expect(&current, next);
            let tls = Arc::downgrade(current.get().context.tls.as_ref().unwrap());
            current.replace(context(&without, &*clock), None);
            watcher.follow().unwrap();
            let start = Instant::now();
            while tls.strong_count() > 0 {
                assert!(
                    start.elapsed() < Duration::from_secs(5),
                    "the old one is kept"
                );
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}
