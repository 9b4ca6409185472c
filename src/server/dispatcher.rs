//! The work of an event loop between two polls: it accepts, claims what is due, serves from memory, and
//! hands the rest to the workers.
//!
//! The decisions are elsewhere: when the listeners are asked ([`accepting`](super::accepting)), what is
//! due ([`deadlines`](super::deadlines)), who goes when places are short
//! ([`pressure`](super::pressure)) and how the server ends ([`lifecycle`](super::lifecycle)). Each takes
//! the time and says what is to be done, which the [`Dispatcher`] carries out. No poll and no clock is
//! in here, and the [system](super::system) is an argument, so simulations run it as it is.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::Token;

use super::accepting::{Closing, Listeners, MAX_TURNS};
use super::acceptor::{ACCEPTS_PER_TURN, Accepted, Acceptor, Attempt, Newcomer};
use super::deadlines::Deadlines;
use super::lifecycle::{LifeStage, Lifecycle, LifecycleStep};
use super::pressure::{Pressure, TRIES_PER_NEWCOMER};
use super::shared::Shared;
use super::slots::QueuedSlot;
use super::summaries;
use super::system::System;
use super::timer_wheel::TICK_MILLIS;
use super::tokens;
use super::turn_runner::{TurnResult, TurnRunner};
use super::work::{FinishedFlights, Work};
use crate::clock::{Millis, Now};
use crate::connection::ownership::OwnershipState;
use crate::connection::server_context::Mode;
use crate::connection::thread_buffers::ThreadBuffers;
use crate::site::MayBlock;

/// Turns that the loop gives before it polls again, if there is no end of them.
const TURNS_PER_POLL: usize = 1024;

/// Turns between two looks at the clock: mostly some hundred microseconds.
const TURNS_PER_SAMPLE: usize = 16;

/// Milliseconds that the loop serves before it polls again, if there is no end of it.
const MILLIS_PER_POLL: u64 = 5;

/// Connections of a burst that have their first turn at once. The others are queued, so that workers
/// help with many.
const FIRST_TURNS: usize = 8;

/// An event for a connection, as far as it matters.
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
    /// The loop polls, and sleeps no longer than this; without a limit if there is none.
    Within(Option<Duration>),
    /// The server has ended.
    Never,
}

/// The state of an event loop, but for its poll. All of it belongs to one thread.
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
    /// Whether it tells the person at the terminal how the server ends.
    is_speaker: bool,
    /// The last sample of the clock.
    now: Now,
    /// Gives the turns that memory is enough for.
    turn_runner: TurnRunner<S::AcceptedSocket>,
    /// When the lines of the access log that were collected here are handed over.
    log_due_at: Option<Millis>,
}

impl<S: System> Dispatcher<S> {
    /// For the event loop `number` of `all`, which accepts at `listeners`.
    #[must_use]
    pub fn new(
        number: usize,
        all: Arc<[Arc<Shared<S::AcceptedSocket>>]>,
        listeners: Listeners<S::AcceptQueue>,
    ) -> Dispatcher<S> {
        let shared = Arc::clone(&all[number]);
        let opened = &shared.admissions.open_listeners;
        opened.store(listeners.len(), Ordering::Relaxed);
        let now = shared.clock.now();
        let config = &shared.context.config;
        let buffers = ThreadBuffers::new(config, Arc::clone(&shared.counters[0]));
        Dispatcher {
            all,
            acceptor: Acceptor::new(&shared),
            listeners,
            deadlines: Deadlines::new(config, now.monotonic),
            pressure: Pressure::default(),
            lifecycle: Lifecycle::new(config.shutdown.clone()),
            is_speaker: false,
            now,
            turn_runner: TurnRunner::new(Arc::clone(&shared), buffers, MayBlock::Never),
            log_due_at: None,
            shared,
        }
    }

    /// Has the dispatcher tell the person at the terminal how the server ends.
    #[must_use]
    pub fn speaking(mut self) -> Dispatcher<S> {
        self.is_speaker = true;
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

    /// How the server ends.
    #[must_use]
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    /// When the timers want the next round; `None` if no connection is filed.
    #[must_use]
    pub fn next_look(&self) -> Option<Millis> {
        self.deadlines.next_look()
    }

    /// All that is to be done at `now`. Polled events were dispatched before, so a byte that has arrived
    /// beats a deadline.
    pub fn round(&mut self, now: Now, system: &S) -> NextPoll {
        self.now = now;
        self.accept_owed(now, system);
        self.turn_wheel(now.monotonic);
        self.relieve(now.monotonic);
        if self.acceptor.has_ebbed() {
            self.shared.handoff.defer(Work::GiveBackMemory);
        }
        let steps = self.lifecycle.advance(now.monotonic, &self.all);
        self.carry_out(steps, system);
        if self.lifecycle.has_ended(now.monotonic, &self.all) {
            self.leave_log();
            return NextPoll::Never;
        }
        self.serve();
        NextPoll::Within(self.poll_timeout())
    }

    /// The poll has told of the listener with this number.
    pub fn note_ready(&mut self, listener: usize) {
        self.listeners.note_ready(listener);
    }

    /// An event has come for a connection.
    pub fn notify(&mut self, token: Token, readiness: Readiness) {
        let (index, generation) = tokens::slot_and_generation(token);
        let slot = self.shared.slots.at(index);
        // Every socket is announced as writable when it is registered, mostly before its first request
        // is there. What waits for nothing but a request has no use for that. `Idle` comes first: only
        // then is the deadline the one that goes with it.
        if !readiness.is_readable
            && !readiness.is_read_closed
            && slot.state() == OwnershipState::Idle
            && slot.deadline().is_between_requests()
        {
            return;
        }
        if let Some(queued) = slot.notify(generation, readiness.is_read_closed) {
            self.shared.handoff.dispatch(queued);
        }
    }

    /// The connection in `slot` is closed.
    pub fn note_closed(&mut self, slot: u32) {
        self.acceptor.release(slot);
        self.listeners.note_room();
    }

    /// Moves towards the end of the server.
    pub fn enter(&mut self, mode: Mode, system: &S) {
        let now = self.shared.clock.now().monotonic;
        let steps = self.lifecycle.enter(mode, now, &self.all);
        self.carry_out(steps, system);
    }

    fn carry_out(&mut self, steps: Vec<LifecycleStep>, system: &S) {
        for step in steps {
            match step {
                LifecycleStep::Enter(mode) => self.shared.context.enter(mode),
                LifecycleStep::RefuseNewHandshakes => {
                    self.listeners.refuse_new_handshakes(system);
                    let drops_syn = &self.shared.admissions.drops_syn;
                    drops_syn.store(true, Ordering::Release);
                }
                LifecycleStep::AcceptAll => self.accept_all(system),
                LifecycleStep::AcceptTheLast { keep_filtered } => {
                    self.accept_the_last(keep_filtered, system);
                }
                LifecycleStep::StopAccepting => self.close_listeners(Closing::All, system),
                LifecycleStep::StopIdle => self.stop_idle(),
                LifecycleStep::Announce(announcement) => {
                    if self.is_speaker {
                        let open = self.all.iter().map(|shared| shared.open()).sum();
                        summaries::announce(announcement, open);
                    }
                }
            }
        }
    }

    fn accept_all(&mut self, system: &S) {
        let now = self.shared.clock.now();
        for place in 0..self.listeners.len() {
            self.listeners.owe(place);
            for _ in 0..MAX_TURNS {
                if self.listeners.may_accept_at_once(place) {
                    self.accept_from(place, now, system);
                }
            }
        }
    }

    fn accept_the_last(&mut self, keep_filtered: bool, system: &S) {
        if self.listeners.is_empty() || keep_filtered && self.listeners.all_drop_syn() {
            return;
        }
        self.accept_all(system);
        let closing = match keep_filtered {
            true => Closing::DrainedUnfiltered,
            false => Closing::Drained,
        };
        self.close_listeners(closing, system);
    }

    fn close_listeners(&mut self, closing: Closing, system: &S) {
        self.listeners.close(closing, system);
        let listeners = &self.shared.admissions.open_listeners;
        listeners.store(self.listeners.len(), Ordering::Relaxed);
    }

    /// Gives each listener that has, or may have, something to accept a bounded turn.
    fn accept_owed(&mut self, now: Now, system: &S) {
        for place in 0..self.listeners.len() {
            if self.listeners.may_accept(place, now.monotonic) {
                self.accept_from(place, now, system);
            }
        }
        let wants_closes =
            self.listeners.is_blocked() || self.lifecycle.stage() != LifeStage::Serving;
        self.shared
            .wants_closes
            .store(wants_closes, Ordering::SeqCst);
    }

    fn accept_from(&mut self, place: usize, now: Now, system: &S) {
        for attempt in 0..ACCEPTS_PER_TURN {
            let can_make_room = self.acceptor.is_overrun()
                && self.pressure.can_make_room(now.monotonic, &self.shared);
            let listener = self.listeners.listener(place);
            match self.acceptor.accept(listener, can_make_room, system) {
                Attempt::Accepted(accepted) => {
                    self.listeners.note_accepted(place);
                    self.receive(accepted, attempt < FIRST_TURNS, now, system);
                }
                Attempt::Crowded(newcomer) => {
                    self.listeners.note_accepted(place);
                    if let Some(accepted) = self.make_room(newcomer, now, system) {
                        self.receive(accepted, attempt < FIRST_TURNS, now, system);
                    }
                }
                Attempt::Lost => {}
                Attempt::Drained => {
                    self.listeners
                        .note_drained(place, attempt, now.monotonic, system);
                    return;
                }
                Attempt::Exhausted => {
                    self.listeners.note_exhausted(place, now.monotonic);
                    return;
                }
            }
        }
    }

    /// Finds a place for a connection that is one too many: that of the longest silent one, or one to be
    /// refused in. `None` if it had to be closed without a word.
    fn make_room(
        &mut self,
        mut newcomer: Newcomer<S::AcceptedSocket>,
        now: Now,
        system: &S,
    ) -> Option<Accepted<S::AcceptedSocket>> {
        for _ in 0..TRIES_PER_NEWCOMER {
            let has_asked = || system.has_input(&newcomer.socket);
            let going =
                self.pressure
                    .next_to_go(newcomer.crowd, has_asked, now.monotonic, &self.shared);
            match going {
                None => break,
                Some(Ok(queued)) => self.run(queued, now),
                Some(Err(_)) => {}
            }
            match self.acceptor.admit(newcomer.socket, newcomer.peer) {
                Ok(accepted) => return Some(accepted),
                Err(still_crowded) => newcomer = still_crowded,
            }
        }
        self.acceptor.refuse(newcomer)
    }

    /// Makes an accepted socket a connection and gives it its first turn, `at_once` or in the queue.
    fn receive(
        &mut self,
        accepted: Accepted<S::AcceptedSocket>,
        at_once: bool,
        now: Now,
        system: &S,
    ) {
        let client = self.acceptor.counted_client(&accepted);
        let queued = self.admit(accepted, now);
        let index = queued.index();
        let generation = self.shared.slots.at(index).generation();
        if at_once {
            // Its first request is mostly there already, so the turn comes first: the poll need not tell of
            // it. What comes between the two the registration tells, as it looks at the socket.
            let (turn_result, _) = self.turn_runner.run(queued, now);
            if let Some(turn_result) = self.watch(index, turn_result, system) {
                self.settle(turn_result);
            }
        } else if let Some(TurnResult::WantsMore(queued)) =
            self.watch(index, TurnResult::WantsMore(queued), system)
        {
            self.shared.handoff.dispatch(queued);
        }
        self.pressure
            .note_accepted((index, generation), client, &self.shared);
    }

    /// Makes an accepted socket a connection: stored, filed, and queued for its first turn.
    fn admit(&mut self, accepted: Accepted<S::AcceptedSocket>, now: Now) -> QueuedSlot {
        let (index, peer) = (accepted.slot, accepted.peer);
        let (connection, deadline) = accepted.into_connection(&self.shared.context, now.monotonic);
        let queued = self.shared.slots.at(index).open(connection, deadline);
        let id = self.shared.connection_id(index);
        log::debug!("connection {id} accepted from {peer:?}");
        self.deadlines.file(index, now.monotonic);
        queued
    }

    /// Has the poll watch the connection in slot `index`, which no other thread can have touched yet, once
    /// for everything. If that is impossible it is closed. `turn_result` is what became of it in its first
    /// turn, and is returned if there is more to do.
    fn watch(&mut self, index: u32, turn_result: TurnResult, system: &S) -> Option<TurnResult> {
        if let TurnResult::Closed(_) = turn_result {
            return Some(turn_result);
        }
        let slot = self.shared.slots.at(index);
        let token = tokens::of_connection(index, slot.generation());
        let watched = slot.look(|open| system.watch(&open.socket, token));
        let Some(Err(error)) = watched else {
            return Some(turn_result);
        };
        log::warn!("a connection cannot be watched and is closed: {error}");
        let queued = match turn_result {
            TurnResult::WantsMore(queued) | TurnResult::Awaits(queued, _) => Some(queued),
            TurnResult::Waits | TurnResult::Closed(_) => slot.claim_idle().ok(),
        };
        if let Some(queued) = queued {
            let owned = self.shared.slots.begin(queued);
            let free = owned.close(|closed| self.shared.close(closed));
            self.acceptor.note_dropped();
            self.note_closed(free);
        }
        None
    }

    /// Claims the connections whose deadline has come.
    fn turn_wheel(&mut self, now: Millis) {
        let (shared, mode) = (&*self.shared, self.shared.context.mode());
        let dispatch = |queued| shared.handoff.dispatch(queued);
        self.deadlines.turn(now, &shared.slots, mode, dispatch);
    }

    /// Sends for connections whose place is needed.
    fn relieve(&mut self, now: Millis) {
        let (acceptors, shared) = (self.all.len(), &self.shared);
        for queued in self
            .pressure
            .relieve(now, &self.acceptor, acceptors, shared)
        {
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

    /// Serves what can be served from memory, until nothing is ready any more or it is time to poll
    /// again. The workers are called for what cannot, and for help if it is much.
    fn serve(&mut self) {
        let start = self.now.monotonic;
        for turns in 0..TURNS_PER_POLL {
            let Some(queued) = self.shared.handoff.take() else {
                break;
            };
            if turns % TURNS_PER_SAMPLE == TURNS_PER_SAMPLE - 1 {
                self.now = self.shared.clock.now();
                if self.now.monotonic.since(start) >= MILLIS_PER_POLL {
                    self.shared.handoff.dispatch(queued);
                    break;
                }
            }
            self.run(queued, self.now);
        }
        let now = self.now.monotonic;
        self.log_due_at = self.turn_runner.log_due_at(now);
        if self.log_due_at.is_some_and(|due| now >= due) {
            self.leave_log();
        }
    }

    /// Gives a connection a turn on this thread.
    fn run(&mut self, queued: QueuedSlot, now: Now) {
        let (turn_result, _) = self.turn_runner.run(queued, now);
        self.settle(turn_result);
    }

    /// Sees to a connection that has had a turn on this thread.
    #[inline]
    fn settle(&mut self, turn_result: TurnResult) {
        // The usual case costs no call.
        if turn_result == TurnResult::Waits {
            return;
        }
        let none_finished = FinishedFlights::default();
        if let Some(slot) = self.turn_runner.settle(turn_result, none_finished) {
            self.note_closed(slot);
        }
    }

    fn leave_log(&mut self) {
        self.log_due_at = None;
        self.turn_runner.leave_log();
    }

    /// Leaves the lines of the answers that the end of the server cuts off. The workers have ended; one
    /// that the disk holds up still has its connection.
    pub(super) fn log_the_cut_off(&mut self) {
        if self.shared.access_log.is_none() {
            return;
        }
        for index in 0..self.acceptor.used() {
            let slot = self.shared.slots.at(index);
            if let Some(mut connection) = slot.take_if_free() {
                let id = self.shared.connection_id(index);
                self.turn_runner.cut_off(id, &mut connection.session);
            }
        }
        self.turn_runner.leave_log();
    }

    fn poll_timeout(&self) -> Option<Duration> {
        if self.listeners.has_more() || self.shared.handoff.is_ready() {
            return Some(Duration::ZERO);
        }
        if self.listeners.is_blocked() || self.lifecycle.stage() != LifeStage::Serving {
            return Some(Duration::from_millis(TICK_MILLIS));
        }
        let relief = self.acceptor.is_pressed();
        let relief = relief.then(|| self.pressure.next_relief());
        let next = [self.deadlines.next_look(), relief, self.log_due_at]
            .into_iter()
            .flatten()
            .min()?;
        // mio rounds up to whole milliseconds, so the loop never spins towards a deadline.
        Some(Duration::from_millis(next.since(self.now.monotonic)))
    }
}
