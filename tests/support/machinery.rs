//! One event loop and one worker of the server in the thread of the test, under a clock that the test sets.
//! The test supplies the sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use abide::clock::{Clock, Millis, Now};
use abide::connection::counters::Counters;
use abide::connection::server_context::ServerContext;
use abide::server::accepting::Listeners;
use abide::server::access_log::AccessLog;
use abide::server::current_config::CurrentConfig;
use abide::server::dispatcher::{Dispatcher, NextPoll};
use abide::server::handoff::{FirstQueue, Handoff};
use abide::server::parked_workers::WorkerKind;
use abide::server::shared::{LoopMessage, Shared, Waker};
use abide::server::slots::{REFUSAL_RESERVE, Slots};
use abide::server::system::System;
use abide::server::work::Work;
use abide::server::worker::Worker;
use crossbeam_channel::Receiver;

use crate::turns::at;

/// A clock that stands still until a test sets it.
#[derive(Debug, Default)]
pub struct HandClock {
    millis: AtomicU64,
    /// Milliseconds by which each reading moves the clock.
    millis_per_look: AtomicU64,
}

impl HandClock {
    pub fn set(&self, now: Millis) {
        self.millis.fetch_max(now.0, Ordering::Relaxed);
    }

    /// From now on each reading moves the clock, so that time passes during turns.
    pub fn run(&self, millis_per_look: u64) {
        self.millis_per_look
            .store(millis_per_look, Ordering::Relaxed);
    }

    pub fn reading(&self) -> Millis {
        Millis(self.millis.load(Ordering::Relaxed))
    }
}

impl Clock for HandClock {
    fn now(&self) -> Now {
        let passing = self.millis_per_look.load(Ordering::Relaxed);
        at(Millis(self.millis.fetch_add(passing, Ordering::Relaxed)))
    }

    fn micros(&self) -> u64 {
        self.reading().0 * 1_000
    }
}

/// A waker that does nothing: the dispatcher runs after each event, so it never sleeps in a poll.
struct Awake;

impl Waker for Awake {
    fn wake(&self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The server's own dispatcher and worker, with all that they use.
pub struct Machinery<S: System> {
    pub dispatcher: Dispatcher<S>,
    pub worker: Worker<S::AcceptedSocket>,
    pub shared: Arc<Shared<S::AcceptedSocket>>,
    pub messages: Receiver<LoopMessage>,
    pub clock: Arc<HandClock>,
    /// The counters of each thread; the second are the worker's.
    pub counters: Vec<Arc<Counters>>,
    /// When the dispatcher wants its next round.
    pub next_round: Option<Millis>,
    /// Whether the server has ended.
    pub has_ended: bool,
    system: S,
}

impl<S: System> Machinery<S> {
    /// A server with room for `most_connections` that accepts from `queue`.
    pub fn new(
        context: &Arc<ServerContext>,
        access_log: Option<Arc<AccessLog>>,
        most_connections: usize,
        queue: S::AcceptQueue,
        system: S,
    ) -> Machinery<S> {
        let clock = Arc::new(HandClock::default());
        let waker = Box::new(Awake);
        let config = Arc::new(CurrentConfig::new(Arc::clone(context), access_log));
        let (shared, messages) = Shared::new(0, config, clock.clone(), waker);
        let shared = Arc::new(Shared {
            slots: Slots::new(most_connections + REFUSAL_RESERVE),
            ..shared
        });
        let counters = shared.counters.clone();
        let listeners = Listeners::open(vec![queue], &system).expect("no system call");
        let all = [Arc::clone(&shared)].into();
        Machinery {
            dispatcher: Dispatcher::new(0, all, listeners),
            worker: Worker::new(&shared, &counters[1], WorkerKind::Permanent),
            shared,
            messages,
            clock,
            counters,
            next_round: None,
            has_ended: false,
            system,
        }
    }

    pub fn now(&self) -> Millis {
        self.clock.reading()
    }

    /// Tells the server to drain or to stop.
    pub fn enter(&mut self, mode: abide::connection::server_context::Mode) {
        self.dispatcher.enter(mode, &self.system);
    }

    /// Puts the configuration in `context` in force, without other listeners.
    pub fn reload(&mut self, context: Arc<ServerContext>) {
        let access_log = self.shared.config.get().access_log.clone();
        self.shared.put_in_force(context, access_log);
        self.dispatcher.follow_reload(Vec::new(), &[], &self.system);
    }

    /// Takes the messages of the worker, and gives the event loop a round if the server has not ended.
    pub fn round(&mut self) {
        while let Ok(message) = self.messages.try_recv() {
            match message {
                LoopMessage::Closed(slot) => self.dispatcher.note_closed(slot),
                LoopMessage::Enter(mode) => self.dispatcher.enter(mode, &self.system),
                LoopMessage::Reloaded(_) => unreachable!("`reload` sends no message"),
            }
        }
        if self.has_ended {
            return;
        }
        let sample = self.clock.sample();
        let now = sample.now;
        match self.dispatcher.round(sample, &self.system) {
            NextPoll::Never => self.has_ended = true,
            NextPoll::Within(timeout) => {
                let at = |timeout: Duration| Millis(now.monotonic.0 + timeout.as_millis() as u64);
                self.next_round = timeout.map(at);
            }
        }
    }

    /// Has the worker do all waiting work, each piece after a call of `note`. Returns whether there was
    /// any.
    pub fn work(&mut self, mut note: impl FnMut(&Work, &Handoff)) -> bool {
        let mut has_worked = false;
        let handoff = &self.shared.handoff;
        while handoff.waiting() > 0 {
            let work = handoff.pick_up(
                WorkerKind::Permanent,
                FirstQueue::Blocking,
                Some(Duration::ZERO),
            );
            let work = work.expect("work that waits");
            note(&work, handoff);
            self.worker.perform(work);
            has_worked = true;
        }
        has_worked
    }
}
