//! The part of a round that accepts connections.

use std::sync::atomic::Ordering;

use super::super::accepting::{ListenersToClose, MAX_BATCHES};
use super::super::acceptor::{ACCEPTS_PER_BATCH, AcceptOutcome, Accepted, SocketOverLimit};
use super::super::lifecycle::LifeStage;
use super::super::pressure::MAX_EVICTION_ATTEMPTS;
use super::super::slots::QueuedSlot;
use super::super::system::System;
use super::super::tokens;
use super::super::turn_runner::TurnResult;
use super::Dispatcher;
use crate::clock::Now;

/// Connections of one batch that have their first turn at once. The others are queued, so that workers
/// help with a large batch.
const FIRST_TURNS: usize = 8;

impl<S: System> Dispatcher<S> {
    pub(super) fn accept_all(&mut self, system: &S) {
        let now = self.shared.clock.now();
        for index in 0..self.listeners.len() {
            self.empty_queue(index, now, system);
        }
    }

    pub(super) fn accept_all_and_close(&mut self, keep_filtered: bool, system: &S) {
        if self.listeners.is_empty() || keep_filtered && self.listeners.all_drop_syn() {
            return;
        }
        self.accept_all(system);
        self.close_listeners(ListenersToClose::Empty { keep_filtered }, system);
    }

    pub(super) fn close_listeners(&mut self, closing: ListenersToClose, system: &S) {
        self.listeners.close(closing, system);
        self.count_listeners();
    }

    pub(super) fn count_listeners(&self) {
        let listeners = &self.shared.accept_state.open_listeners;
        listeners.store(self.listeners.len(), Ordering::Relaxed);
    }

    /// Empties the queues of listeners whose addresses are no longer in use, and closes them.
    pub(super) fn close_retired(&mut self, now: Now, system: &S) {
        if !self.listeners.is_retiring() {
            return;
        }
        for index in 0..self.listeners.len() {
            if self.listeners.is_retired(index, now.monotonic) {
                self.empty_queue(index, now, system);
            }
        }
        self.close_listeners(ListenersToClose::Retired(now.monotonic), system);
    }

    /// Accepts from the listener at `index` until its queue is empty, as far as descriptors and slots allow.
    fn empty_queue(&mut self, index: usize, now: Now, system: &S) {
        self.listeners.mark_ready(index);
        for _ in 0..MAX_BATCHES {
            if self.listeners.may_accept_now(index) {
                self.accept_from(index, now, system);
            }
        }
    }

    /// Accepts a bounded batch from each listener that may have connections.
    pub(super) fn accept_ready(&mut self, now: Now, system: &S) {
        for index in 0..self.listeners.len() {
            if self.listeners.may_accept(index, now.monotonic) {
                self.accept_from(index, now, system);
            }
        }
        let wants_closes =
            self.listeners.is_blocked() || self.lifecycle.stage() != LifeStage::Serving;
        self.shared
            .wants_closes
            .store(wants_closes, Ordering::SeqCst);
    }

    fn accept_from(&mut self, index: usize, now: Now, system: &S) {
        for attempt in 0..ACCEPTS_PER_BATCH {
            let can_evict =
                self.acceptor.is_overrun() && self.pressure.can_evict(now.monotonic, &self.shared);
            let listener = self.listeners.listener(index);
            match self.acceptor.accept(listener, can_evict, system) {
                AcceptOutcome::Accepted(accepted) => {
                    self.listeners.note_accepted(index);
                    self.receive(accepted, attempt < FIRST_TURNS, now, system);
                }
                AcceptOutcome::OverLimit(over_limit) => {
                    self.listeners.note_accepted(index);
                    if let Some(accepted) = self.make_room(over_limit, now, system) {
                        self.receive(accepted, attempt < FIRST_TURNS, now, system);
                    }
                }
                AcceptOutcome::Aborted => {}
                AcceptOutcome::QueueEmpty => {
                    self.listeners
                        .note_queue_empty(index, attempt, now.monotonic, system);
                    return;
                }
                AcceptOutcome::Exhausted => {
                    self.listeners.note_exhausted(index, now.monotonic);
                    return;
                }
            }
        }
    }

    /// Finds a slot for a connection over a limit: that of the longest silent connection, or else one in
    /// which the new connection is refused. `None` if the new connection was closed without a response.
    fn make_room(
        &mut self,
        mut over_limit: SocketOverLimit<S::AcceptedSocket>,
        now: Now,
        system: &S,
    ) -> Option<Accepted<S::AcceptedSocket>> {
        for _ in 0..MAX_EVICTION_ATTEMPTS {
            let has_request = || system.has_input(&over_limit.socket);
            let evicted = self.pressure.evict_for_new(
                over_limit.limit,
                has_request,
                now.monotonic,
                &self.shared,
            );
            match evicted {
                None => break,
                Some(Ok(queued)) => self.run(queued, now),
                Some(Err(_)) => {}
            }
            match self.acceptor.admit(over_limit.socket, over_limit.origin) {
                Ok(accepted) => return Some(accepted),
                Err(still_over_limit) => over_limit = still_over_limit,
            }
        }
        self.acceptor.refuse(over_limit)
    }

    /// Turns an accepted socket into a connection and gives it its first turn, `at_once` or from the queue.
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
            // The first request has mostly arrived already, so the turn comes before the registration. Bytes
            // that arrive between the two are reported too: registering checks the socket.
            let (turn_result, _) = self.turn_runner.run(queued, now, false);
            if let Some(turn_result) = self.watch(index, turn_result, system) {
                self.after_turn(turn_result);
            }
        } else if let Some(TurnResult::WantsTurn(queued)) =
            self.watch(index, TurnResult::WantsTurn(queued), system)
        {
            self.shared.handoff.dispatch(queued);
        }
        self.pressure
            .note_accepted((index, generation), client, &self.shared);
    }

    /// Stores an accepted socket as a connection, files its deadline, and claims it for its first turn.
    fn admit(&mut self, accepted: Accepted<S::AcceptedSocket>, now: Now) -> QueuedSlot {
        let (index, peer) = (accepted.slot, accepted.origin.peer());
        let (connection, deadline) =
            accepted.into_connection(&self.turn_runner.active().context, now.monotonic);
        let queued = self.shared.slots.at(index).open(connection, deadline);
        let id = self.shared.connection_id(index);
        log::debug!("connection {id} accepted from {peer:?}");
        self.deadlines.file(index, now.monotonic);
        queued
    }

    /// Registers the connection in slot `index` with the poll, for all events. No other thread can have seen
    /// the connection yet. If registering fails the connection is closed. `turn_result` is the result of its
    /// first turn, and is returned if there is more to do.
    fn watch(&mut self, index: u32, turn_result: TurnResult, system: &S) -> Option<TurnResult> {
        if let TurnResult::Closed(_) = turn_result {
            return Some(turn_result);
        }
        let slot = self.shared.slots.at(index);
        let token = tokens::of_connection(index, slot.generation());
        let watched = slot.inspect(|open| system.watch(&open.socket, token));
        let Some(Err(error)) = watched else {
            return Some(turn_result);
        };
        log::warn!("a connection cannot be watched and is closed: {error}");
        let queued = match turn_result {
            TurnResult::WantsTurn(queued) | TurnResult::AwaitsFlight(queued, _) => Some(queued),
            TurnResult::Idle | TurnResult::Closed(_) => slot.claim_idle().ok(),
        };
        if let Some(queued) = queued {
            let owned = self.shared.slots.begin(queued);
            let free = owned.close(|closed| self.turn_runner.end_unwatched(closed, self.now));
            self.note_closed(free);
        }
        None
    }
}
