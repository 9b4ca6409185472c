//! An event loop: one thread and its poll.
//!
//! Each iteration takes messages, runs a round of the [`dispatcher`](super::dispatcher), polls, and
//! dispatches the events. In a round the loop accepts connections, advances the timer wheel, and serves
//! ready connections. Workers take ready connections too; otherwise this thread would only wait for them
//! ([`handoff`](super::handoff) says which are woken). The loop never waits for a disk: it defers a
//! connection that needs one to the workers, and also one that wants more than a whole turn.
//!
//! Polled events are dispatched before the wheel advances, and a session reads before it checks its
//! deadline. So a byte that has arrived beats a deadline.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::Receiver;
use mio::event::Event;
use mio::{Events, Interest, Poll, Registry};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook_mio::v1_0::Signals;

use super::accepting::Listeners;
use super::dispatcher::{Dispatcher, NextPoll, Readiness};
use super::lifecycle::LifeStage;
use super::listener::Listener;
use super::reload::ReloadSender;
use super::service_manager::{ServiceManager, ServiceReports, ServiceStage};
use super::shared::{ListenerChange, LoopMessage, Shared};
use super::summaries;
use super::tokens::{self, SIGNALS, WAKER};
use crate::clock::Millis;
use crate::connection::server_context::Mode;

/// Events taken from the kernel at a time.
const EVENTS_PER_POLL: usize = 1024;

/// The event sources of an event loop, except the connections.
pub struct Sources {
    /// The poll; the loop's waker is registered there.
    pub poll: Poll,
    /// Messages from workers, other event loops and handles.
    pub messages: Receiver<LoopMessage>,
    /// The sockets on which connections are accepted.
    pub listeners: Vec<Listener>,
    /// The signals, for one event loop of a server that is the whole process.
    pub signals: Option<Signals>,
}

/// An event loop. All of it belongs to one thread.
pub struct EventLoop {
    poll: Poll,
    messages: Receiver<LoopMessage>,
    signals: Option<Signals>,
    /// Where SIGHUP goes.
    reloads: Option<ReloadSender>,
    /// The reports to the service manager, of one event loop.
    reports: Option<ServiceReports>,
    /// The longest time between two rounds, if the service manager has a watchdog.
    watchdog_period: Option<Duration>,
    dispatcher: Dispatcher<Registry>,
}

impl EventLoop {
    /// Makes the event loop `number` of `all`.
    ///
    /// # Errors
    /// If a source cannot be registered.
    pub fn new(number: usize, all: Arc<[Arc<Shared>]>, sources: Sources) -> io::Result<EventLoop> {
        let Sources {
            poll,
            messages,
            listeners,
            mut signals,
        } = sources;
        if let Some(signals) = &mut signals {
            poll.registry()
                .register(signals, SIGNALS, Interest::READABLE)?;
        }
        let listeners = Listeners::open(listeners, poll.registry())?;
        let mut dispatcher = Dispatcher::new(number, all, listeners);
        // The loop that catches the signals prints how the server ends.
        if signals.is_some() {
            dispatcher = dispatcher.with_announcements();
        }
        Ok(EventLoop {
            poll,
            messages,
            signals,
            reloads: None,
            reports: None,
            watchdog_period: None,
            dispatcher,
        })
    }

    /// Makes the loop that catches the signals pass SIGHUP on to `reloads`.
    pub(super) fn reload_by(&mut self, reloads: ReloadSender) {
        self.reloads = Some(reloads);
    }

    /// Makes the loop turn as often as the watchdog of `manager` needs it, and the loop that catches the signals
    /// report there.
    pub(super) fn report_to(&mut self, manager: &Arc<ServiceManager>) {
        self.watchdog_period = manager.watchdog_period();
        if self.signals.is_some() {
            self.reports = Some(ServiceReports::new(Arc::clone(manager)));
        }
    }

    /// Runs until the server has ended.
    ///
    /// # Errors
    /// If polling fails, which no peer can cause.
    pub fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_POLL);
        loop {
            self.take_messages();
            let sample = self.dispatcher.shared().clock.sample();
            let timeout = match self.dispatcher.round(sample, self.poll.registry()) {
                NextPoll::Within(timeout) => timeout,
                NextPoll::Never => return Ok(()),
            };
            let timeout = self.report(sample.now.monotonic, timeout);
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                self.handle(event);
            }
        }
    }

    /// The number of this loop among the event loops of the server, from 0.
    #[must_use]
    pub fn number(&self) -> usize {
        self.dispatcher.shared().number
    }

    /// The shared state of all event loops of the server.
    pub(super) fn all(&self) -> &Arc<[Arc<Shared>]> {
        self.dispatcher.all()
    }

    /// Whether the server was drained before it ended.
    pub(super) fn has_drained(&self) -> bool {
        self.dispatcher.lifecycle().has_drained()
    }

    /// How long the server waits at its end for workers that the disk holds up.
    pub(super) fn workers_timeout(&self) -> Duration {
        let now = self.dispatcher.shared().clock.now().monotonic;
        self.dispatcher.lifecycle().workers_timeout(now)
    }

    /// Logs the responses that the end of the server cuts off.
    pub(super) fn log_cut_off_answers(&mut self) {
        self.dispatcher.log_cut_off_answers();
    }

    /// Reports to the service manager what is due. Returns how long the loop may poll.
    fn report(&mut self, now: Millis, timeout: Option<Duration>) -> Option<Duration> {
        if let Some(period) = self.watchdog_period {
            let shared = self.dispatcher.shared();
            shared.last_round.store(now.0, Ordering::Relaxed);
            let timeout = timeout.map_or(period, |timeout| timeout.min(period));
            self.send_reports(now);
            return Some(timeout);
        }
        self.send_reports(now);
        timeout
    }

    fn send_reports(&mut self, now: Millis) {
        let Some(reports) = &mut self.reports else {
            return;
        };
        let stage = match self.dispatcher.lifecycle().stage() {
            LifeStage::Serving => ServiceStage::Serving,
            LifeStage::Draining { .. } => ServiceStage::Draining,
            LifeStage::Stopping(_) => ServiceStage::Stopping,
        };
        let all = self.dispatcher.all();
        let open = all.iter().map(|shared| shared.open()).sum();
        let last_rounds = all.iter().map(|shared| &shared.last_round);
        let last_rounds = last_rounds.map(|last| Millis(last.load(Ordering::Relaxed)));
        reports.send_due(stage, open, now, last_rounds);
    }

    fn handle(&mut self, event: &Event) {
        match event.token() {
            WAKER => {}
            SIGNALS => self.take_signals(),
            token => match tokens::listener(token) {
                Some(listener) => self.dispatcher.note_ready(listener),
                None => {
                    let readiness = Readiness {
                        is_readable: event.is_readable(),
                        is_read_closed: event.is_read_closed() || event.is_error(),
                    };
                    self.dispatcher.notify(token, readiness);
                }
            },
        }
    }

    fn take_messages(&mut self) {
        while let Ok(message) = self.messages.try_recv() {
            match message {
                LoopMessage::Closed(slot) => self.dispatcher.note_closed(slot),
                LoopMessage::Enter(mode) => self.dispatcher.enter(mode, self.poll.registry()),
                LoopMessage::Reloaded(change) => {
                    let ListenerChange { added, removed } = *change;
                    let registry = self.poll.registry();
                    self.dispatcher.follow_reload(added, &removed, registry);
                }
            }
        }
    }

    fn take_signals(&mut self) {
        // The counters that a signal prints are then up to date.
        self.take_messages();
        let Some(signals) = &mut self.signals else {
            return;
        };
        let pending: Vec<_> = signals.pending().collect();
        for signal in pending {
            match signal {
                SIGTERM => self.enter_all(Mode::Draining),
                SIGINT => self.enter_all(Mode::Stopping),
                SIGUSR1 => {
                    if let Some(access_log) = &self.dispatcher.shared().config.get().access_log {
                        access_log.reopen();
                    }
                }
                SIGUSR2 => summaries::print_counters(self.all()),
                SIGHUP => {
                    if let Some(reloads) = &self.reloads {
                        reloads.request();
                    }
                }
                other => log::debug!("signal {other} ignored"),
            }
        }
    }

    /// Moves all event loops to `mode`, this one at once.
    fn enter_all(&mut self, mode: Mode) {
        let own = self.number();
        for other in self.all().iter().filter(|other| other.number != own) {
            other.report_and_wake(LoopMessage::Enter(mode));
        }
        self.dispatcher.enter(mode, self.poll.registry());
    }
}
