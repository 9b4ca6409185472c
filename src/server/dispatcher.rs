//! The work of an event loop between two polls. The loop accepts connections, claims those that are due,
//! serves from memory, and hands the rest to the workers.
//!
//! Other modules decide: [`accepting`](super::accepting) which listeners accept,
//! [`deadlines`](super::deadlines) which connections are due, [`pressure`](super::pressure) which are
//! evicted, and [`lifecycle`](super::lifecycle) how the server ends. Each gets the time as an argument and
//! returns actions, which the [`Dispatcher`] carries out. This module neither polls nor reads a clock, and
//! its [system](super::system) is an argument. So simulations run it unchanged.

mod arrivals;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::Token;

use super::accepting::{Listeners, ListenersToClose};
use super::acceptor::Acceptor;
use super::deadlines::Deadlines;
use super::handoff::READY_PER_WORKER;
use super::lifecycle::{LifeStage, Lifecycle, LifecycleStep};
use super::listener::ListenerId;
use super::pressure::Pressure;
use super::shared::Shared;
use super::slots::QueuedSlot;
use super::summaries;
use super::system::System;
use super::timer_wheel::TICK_MILLIS;
use super::tokens;
use super::turn_runner::{TurnResult, TurnRunner};
use super::work::{FinishedFlights, Work};
use crate::clock::{Millis, Now, Sample};
use crate::connection::ownership::OwnershipState;
use crate::connection::server_context::Mode;
use crate::site::MayBlock;
use crate::site::waiting::RoundWatch;

/// Turns that the loop runs between two polls at most.
const TURNS_PER_POLL: usize = 1024;

/// Turns between two reads of the clock. So many turns mostly take less than a hundred microseconds.
const TURNS_PER_SAMPLE: usize = 8;

/// Milliseconds that the loop serves between two polls at most.
const MILLIS_PER_POLL: u64 = 5;

/// A readiness event for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readiness {
    /// There is something to receive.
    pub is_readable: bool,
    /// The peer has ended its side of the connection, or all of it.
    pub is_read_closed: bool,
}

/// The next step of an event loop after a [round](Dispatcher::round).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextPoll {
    /// The loop polls for this long at most; without a limit if `None`.
    Within(Option<Duration>),
    /// The server has ended.
    Never,
}

/// An event loop without its poll. Only the thread of the loop uses it.
#[derive(Debug)]
pub struct Dispatcher<S: System> {
    shared: Arc<Shared<S::AcceptedSocket>>,
    /// The shared state of all event loops of the server, this one's included.
    all: Arc<[Arc<Shared<S::AcceptedSocket>>]>,
    acceptor: Acceptor,
    listeners: Listeners<S::AcceptQueue>,
    deadlines: Deadlines,
    pressure: Pressure,
    lifecycle: Lifecycle,
    /// Whether this loop prints how the server ends.
    announces_end: bool,
    /// The last sample of the clock.
    now: Now,
    /// Runs turns that only need memory.
    turn_runner: TurnRunner<S::AcceptedSocket>,
    /// The first connections that this thread has found ready since it has last served all, fewer than a worker is
    /// woken for. A queue of its own costs this thread less than the ready queue, which workers share.
    own_queue: VecDeque<QueuedSlot>,
    /// Whether the own queue was full since then. Later connections then go to the ready queue, behind the earlier
    /// ones.
    is_own_queue_closed: bool,
    /// When the access log lines collected by this thread are due to be flushed.
    log_flush_due_at: Option<Millis>,
    /// When this round began, in microseconds.
    round_began: u64,
    round_watch: RoundWatch,
}

impl<S: System> Dispatcher<S> {
    /// A dispatcher for the event loop `number` of `all`, which accepts at `listeners`.
    #[must_use]
    pub fn new(
        number: usize,
        all: Arc<[Arc<Shared<S::AcceptedSocket>>]>,
        listeners: Listeners<S::AcceptQueue>,
    ) -> Dispatcher<S> {
        let shared = Arc::clone(&all[number]);
        let opened = &shared.accept_state.open_listeners;
        opened.store(listeners.len(), Ordering::Relaxed);
        let now = shared.clock.now();
        let counters = Arc::clone(&shared.counters[0]);
        let turn_runner = TurnRunner::new(Arc::clone(&shared), counters, MayBlock::Never);
        let active = Arc::clone(turn_runner.active());
        let config = &active.context.config;
        Dispatcher {
            all,
            acceptor: Acceptor::new(&shared, &config.trusted_proxies),
            listeners,
            deadlines: Deadlines::new(config, now.monotonic),
            pressure: Pressure::new(Arc::clone(&active.context)),
            lifecycle: Lifecycle::new(config.shutdown.clone()),
            announces_end: false,
            now,
            turn_runner,
            own_queue: VecDeque::with_capacity(READY_PER_WORKER),
            is_own_queue_closed: false,
            log_flush_due_at: None,
            round_began: 0,
            round_watch: RoundWatch::default(),
            shared,
        }
    }

    /// Makes the dispatcher print how the server ends.
    #[must_use]
    pub fn with_announcements(mut self) -> Dispatcher<S> {
        self.announces_end = true;
        self
    }

    /// The state that the event loop shares with its workers.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared<S::AcceptedSocket>> {
        &self.shared
    }

    /// The shared state of all event loops of the server.
    pub(super) fn all(&self) -> &Arc<[Arc<Shared<S::AcceptedSocket>>]> {
        &self.all
    }

    /// How far the server has come towards its end.
    #[must_use]
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    /// When the timer wheel needs the next round; `None` if the wheel is empty.
    #[must_use]
    pub fn next_check(&self) -> Option<Millis> {
        self.deadlines.next_check()
    }

    /// Does everything that is due at the time of `sample`. The caller has dispatched polled events before, so
    /// a byte that has arrived beats a deadline.
    pub fn round(&mut self, sample: Sample, system: &S) -> NextPoll {
        self.now = self.turn_runner.begin(sample);
        self.round_began = sample.micros;
        let now = self.now;
        self.accept_ready(now, system);
        self.close_retired(now, system);
        self.claim_due(now.monotonic);
        self.evict(now.monotonic);
        if self.acceptor.should_trim_memory() {
            self.shared.handoff.defer(Work::GiveBackMemory);
        }
        for step in self.lifecycle.advance(now.monotonic, &self.all) {
            self.carry_out(step, system);
        }
        if self.lifecycle.has_ended(now.monotonic, &self.all) {
            self.flush_log();
            return NextPoll::Never;
        }
        self.serve();
        NextPoll::Within(self.poll_timeout())
    }

    /// Notes that the poll has reported the listener with this number.
    pub fn note_ready(&mut self, listener: usize) {
        self.listeners.note_ready(listener);
    }

    /// Notes an event for a connection, and queues the connection if it was idle.
    pub fn notify(&mut self, token: Token, readiness: Readiness) {
        let (index, generation) = tokens::slot_and_generation(token);
        let slot = self.shared.slots.at(index);
        // The poll reports every socket as writable after registration, mostly before its first request
        // has arrived. A connection that waits for a request ignores that. The state is read first,
        // because only an idle connection has an up-to-date deadline.
        if !readiness.is_readable
            && !readiness.is_read_closed
            && slot.state() == OwnershipState::Idle
            && slot.deadline().is_between_requests()
        {
            return;
        }
        if let Some(queued) = slot.notify(generation, readiness.is_read_closed) {
            self.dispatch(queued);
        }
    }

    /// Queues a ready connection.
    #[inline]
    fn dispatch(&mut self, queued: QueuedSlot) {
        self.is_own_queue_closed |= self.own_queue.len() >= READY_PER_WORKER;
        if self.is_own_queue_closed {
            self.shared.handoff.dispatch(queued);
        } else {
            self.own_queue.push_back(queued);
        }
    }

    /// Takes the next ready connection.
    #[inline]
    fn take(&mut self) -> Option<QueuedSlot> {
        let own = self.own_queue.pop_front();
        own.or_else(|| {
            let taken = self.shared.handoff.take();
            self.is_own_queue_closed &= taken.is_some();
            taken
        })
    }

    /// Notes that the connection in `slot` is closed.
    pub fn note_closed(&mut self, slot: u32) {
        self.acceptor.release(slot);
        self.listeners.note_room();
    }

    /// Moves the server to `mode`.
    pub fn enter(&mut self, mode: Mode, system: &S) {
        let now = self.turn_runner.begin(self.shared.clock.sample()).monotonic;
        for step in self.lifecycle.enter(mode, now, &self.all) {
            self.carry_out(step, system);
        }
    }

    /// Takes over the configuration that a reload has put in force: opens the `added` listeners, then closes the
    /// `removed` ones when their queues are empty.
    pub fn follow_reload(
        &mut self,
        added: Vec<(ListenerId, S::AcceptQueue)>,
        removed: &[ListenerId],
        system: &S,
    ) {
        let now = self.shared.clock.now().monotonic;
        self.turn_runner.follow_reload();
        let active = Arc::clone(self.turn_runner.active());
        let config = &active.context.config;
        self.acceptor.trust(&config.trusted_proxies);
        self.pressure.follow_reload(Arc::clone(&active.context));
        self.deadlines
            .follow_reload(config, now, &self.shared.slots);
        self.lifecycle.set_shutdown(&config.shutdown);
        // There may be room under another limit.
        self.listeners.note_room();
        self.listeners.configure(config, system);
        let handshakes_secs = config.shutdown.handshakes_secs;
        let is_serving = self.lifecycle.stage() == LifeStage::Serving;
        for (id, listener) in added {
            if let Err(error) = self.listeners.add(id, listener, system) {
                log::error!("a new listener cannot be watched and is closed: {error}");
            }
            // The end has begun in this moment, and clients may wait in the queue.
            if !is_serving {
                self.listeners.retire(id, handshakes_secs, now, system);
            }
        }
        for id in removed {
            self.listeners.retire(*id, handshakes_secs, now, system);
        }
        self.count_listeners();
        self.renew_silent();
    }

    /// Gives connections without a request a turn, because `timeouts.head` may have changed. From their deadline
    /// follows how long they have been silent.
    fn renew_silent(&mut self) {
        for index in 0..self.acceptor.used() {
            let slot = self.shared.slots.at(index);
            if slot.deadline().is_silent()
                && let Ok(queued) = slot.claim_idle()
            {
                self.shared.handoff.dispatch(queued);
            }
        }
    }

    fn carry_out(&mut self, step: LifecycleStep, system: &S) {
        match step {
            LifecycleStep::Enter(mode) => self.shared.config.get().context.enter(mode),
            LifecycleStep::RefuseNewHandshakes => {
                self.listeners.refuse_new_handshakes(system);
                let drops_syn = &self.shared.accept_state.drops_syn;
                drops_syn.store(true, Ordering::Release);
            }
            LifecycleStep::AcceptAll => self.accept_all(system),
            LifecycleStep::AcceptAllAndClose { keep_filtered } => {
                self.accept_all_and_close(keep_filtered, system);
            }
            LifecycleStep::StopAccepting => self.close_listeners(ListenersToClose::All, system),
            LifecycleStep::StopIdle => self.stop_idle(),
            LifecycleStep::Announce(announcement) => {
                if self.announces_end {
                    let open = self.all.iter().map(|shared| shared.open()).sum();
                    summaries::announce(announcement, open);
                }
            }
        }
    }

    /// Claims the connections whose deadline has come.
    fn claim_due(&mut self, now: Millis) {
        let (shared, mode) = (&*self.shared, self.turn_runner.active().context.mode());
        let dispatch = |queued| shared.handoff.dispatch(queued);
        self.deadlines.claim_due(now, &shared.slots, mode, dispatch);
    }

    /// Claims connections whose slots are needed.
    fn evict(&mut self, now: Millis) {
        let (acceptor, shared) = (&mut self.acceptor, &self.shared);
        let acceptors = self.all.len();
        for queued in self.pressure.evict(now, acceptor, acceptors, shared) {
            shared.handoff.dispatch(queued);
        }
    }

    fn stop_idle(&self) {
        for index in 0..self.acceptor.used() {
            if let Ok(queued) = self.shared.slots.at(index).claim_idle() {
                self.shared.handoff.dispatch(queued);
            }
        }
    }

    /// Runs turns from memory until no connection is ready or the next poll is due. Turns that would block
    /// go to the workers, and workers are woken to help if many connections are ready.
    fn serve(&mut self) {
        let start = self.now.monotonic;
        let mut turns = 0;
        while turns < TURNS_PER_POLL {
            let Some(queued) = self.take() else {
                break;
            };
            if turns % TURNS_PER_SAMPLE == TURNS_PER_SAMPLE - 1 {
                let sample = self.shared.clock.sample();
                self.now = self.turn_runner.count_responses(sample);
                if self.now.monotonic.since(start) >= MILLIS_PER_POLL {
                    self.own_queue.push_front(queued);
                    break;
                }
            }
            self.run(queued, self.now);
            turns += 1;
        }
        let ended = self.turn_runner.end();
        let now = self.now.monotonic;
        self.note_round(turns as u64, ended);
        self.log_flush_due_at = self.turn_runner.log_flush_due_at(now);
        if self.log_flush_due_at.is_some_and(|due| now >= due) {
            self.flush_log();
        }
    }

    /// Notes how long the turns of this round took, if they may have opened files. `ended` is the time in
    /// microseconds after the last of them.
    fn note_round(&mut self, turns: u64, ended: Option<u64>) {
        let active = self.turn_runner.active();
        let (Some(access), Some(ended)) = (active.context.sites.cached_access(), ended) else {
            return;
        };
        let micros = ended.saturating_sub(self.round_began);
        let now = self.now.monotonic;
        if self.round_watch.note(access, turns, micros, now) {
            log::warn!(
                "files that the kernel has in memory take long to open, perhaps because a program must permit \
                 it (fanotify): only workers open files for a while"
            );
        }
    }

    /// Runs a turn on this thread.
    fn run(&mut self, queued: QueuedSlot, now: Now) {
        let (turn_result, _) = self.turn_runner.run(queued, now, false);
        self.after_turn(turn_result);
    }

    /// Queues or parks a connection after a turn on this thread, or frees its slot.
    #[inline]
    fn after_turn(&mut self, turn_result: TurnResult) {
        // The usual case costs no call.
        if turn_result == TurnResult::Idle {
            return;
        }
        let none_finished = FinishedFlights::default();
        if let Some(slot) = self.turn_runner.requeue_or_park(turn_result, none_finished) {
            self.note_closed(slot);
        }
    }

    fn flush_log(&mut self) {
        self.log_flush_due_at = None;
        self.turn_runner.flush_log();
    }

    /// Logs the responses that the end of the server cuts off. The workers have ended, except those that
    /// the disk still holds up: these keep their connections.
    pub(super) fn log_cut_off_answers(&mut self) {
        if self.turn_runner.active().access_log.is_none() {
            return;
        }
        for index in 0..self.acceptor.used() {
            let slot = self.shared.slots.at(index);
            if let Some(mut connection) = slot.take_if_free() {
                let id = self.shared.connection_id(index);
                self.turn_runner.cut_off(id, &mut connection.session);
            }
        }
        self.turn_runner.flush_log();
    }

    fn poll_timeout(&self) -> Option<Duration> {
        let is_ready = !self.own_queue.is_empty() || self.shared.handoff.is_ready();
        if self.listeners.has_more() || is_ready {
            return Some(Duration::ZERO);
        }
        let is_changing = self.listeners.is_retiring() || self.listeners.is_blocked();
        if is_changing || self.lifecycle.stage() != LifeStage::Serving {
            return Some(Duration::from_millis(TICK_MILLIS));
        }
        let is_under_pressure = self.acceptor.is_under_pressure();
        let next_eviction = is_under_pressure.then(|| self.pressure.next_eviction());
        let next = [
            self.deadlines.next_check(),
            next_eviction,
            self.log_flush_due_at,
        ]
        .into_iter()
        .flatten()
        .min()?;
        // mio rounds up to whole milliseconds, so the loop never spins towards a deadline.
        Some(Duration::from_millis(next.since(self.now.monotonic)))
    }
}
