//! The poll, and the thread that belongs to it.
//!
//! A turn of the loop: take the reports, accept, turn the timer wheel, serve, poll, dispatch. What is
//! ready is served by whoever comes first: the workers, or this thread, which would otherwise have
//! nothing to do until they are through ([`handoff`](super::handoff) says why and who is woken). But
//! it never waits for a disk: what needs one is deferred to the workers, and so is a connection that
//! has had a whole turn and wants another.
//!
//! Polled events are dispatched before the wheel is turned, and a session reads before it looks at the
//! clock, so a byte that has arrived beats a deadline.
//!
//! Here is the poll. All between two polls is a round of the [`dispatcher`](super::dispatcher).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use mio::event::Event;
use mio::{Events, Interest, Poll, Registry};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook_mio::v1_0::Signals;

use super::accepting::Listeners;
use super::dispatcher::{Dispatcher, NextPoll, Readiness};
use super::listener::Listener;
use super::shared::{LoopMessage, Shared};
use super::summaries;
use super::tokens::{self, SIGNALS, WAKER};
use crate::connection::server_context::Mode;

/// Events taken from the kernel at a time.
const EVENTS_PER_POLL: usize = 1024;

/// What an event loop listens to, besides connections.
pub struct Sources {
    /// The poll; the loop's waker is registered there.
    pub poll: Poll,
    /// What workers and other event loops have to say.
    pub messages: Receiver<LoopMessage>,
    /// Where connections are accepted.
    pub listeners: Vec<Listener>,
    /// The signals, for one event loop of a server that is the process.
    pub signals: Option<Signals>,
}

/// The poll, and what is done about what it tells; all of it belongs to one thread.
pub struct EventLoop {
    poll: Poll,
    messages: Receiver<LoopMessage>,
    signals: Option<Signals>,
    dispatcher: Dispatcher<Registry>,
}

impl EventLoop {
    /// The event loop `number` of `all`.
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
        // The server is the process, and this loop the one that speaks for it.
        if signals.is_some() {
            dispatcher = dispatcher.speaking();
        }
        Ok(EventLoop {
            poll,
            messages,
            signals,
            dispatcher,
        })
    }

    /// Runs until the server has ended.
    ///
    /// # Errors
    /// If polling fails, which no peer can cause.
    pub fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_POLL);
        loop {
            self.take_messages();
            let now = self.dispatcher.shared().clock.now();
            let timeout = match self.dispatcher.round(now, self.poll.registry()) {
                NextPoll::Within(timeout) => timeout,
                NextPoll::Never => return Ok(()),
            };
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                self.handle(event);
            }
        }
    }

    /// Its number among the event loops of the server, from 0.
    #[must_use]
    pub fn number(&self) -> usize {
        self.dispatcher.shared().number
    }

    /// The shared state of all event loops of the server.
    pub(super) fn all(&self) -> &Arc<[Arc<Shared>]> {
        self.dispatcher.all()
    }

    /// Whether the end began with a drain.
    pub(super) fn has_drained(&self) -> bool {
        self.dispatcher.lifecycle().has_drained()
    }

    /// How long the end waits for workers that the disk holds up.
    pub(super) fn patience_with_workers(&self) -> Duration {
        let now = self.dispatcher.shared().clock.now().monotonic;
        self.dispatcher.lifecycle().patience_with_workers(now)
    }

    /// Leaves the lines of the answers that the end of the server cuts off.
    pub(super) fn log_the_cut_off(&mut self) {
        self.dispatcher.log_the_cut_off();
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
            }
        }
    }

    fn take_signals(&mut self) {
        // What the signals print is to be of now.
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
                    if let Some(access_log) = &self.dispatcher.shared().access_log {
                        access_log.reopen();
                    }
                }
                SIGUSR2 => summaries::print_counters(self.all()),
                SIGHUP => {
                    log::warn!(
                        "SIGHUP is reserved for reloading, which does not exist yet: ignored"
                    );
                }
                other => log::debug!("signal {other} ignored"),
            }
        }
    }

    /// Has every event loop move to `mode`, this one at once.
    fn enter_all(&mut self, mode: Mode) {
        let own = self.number();
        for other in self.all().iter().filter(|other| other.number != own) {
            other.report_and_wake(LoopMessage::Enter(mode));
        }
        self.dispatcher.enter(mode, self.poll.registry());
    }
}
