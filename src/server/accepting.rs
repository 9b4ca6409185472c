//! The listeners of an event loop, and when it asks them for connections.
//!
//! # Queues that several event loops share
//!
//! On a port each loop has an accept queue of its own (SO_REUSEPORT). A unix socket has one queue, and
//! so has a socket that was passed to the process. Watched in the usual way it would wake all loops for
//! each connection, and all but one in vain. So it is watched with EPOLLEXCLUSIVE (epoll_ctl(2)): the
//! kernel goes through the loops in the order in which they began to watch, until it finds one that
//! sleeps. Those that are awake find the connection when they poll next, if it is still there.
//!
//! In that order the first loop would get nearly all connections of a quiet server, and have them for
//! as long as they live. So a loop that has accepted begins to watch anew, and is the last in the
//! order: two calls, for a connection that costs a dozen. With eight loops and one connection after the
//! other, threads went to sleep 2.8 times for each where it had been 8.7 times, and it cost 59
//! microseconds of CPU time where it had cost 99; each loop got its eighth.
//!
//! To give the queue to one of the loops would be simpler, and leave the others without work behind a
//! proxy that has one socket to connect to.

use super::acceptor::ACCEPTS_PER_TURN;
use super::listener::BACKLOG;
use super::system::System;
use super::timer_wheel::TICK_MILLIS;
use super::tokens;
use crate::clock::Millis;

/// Turns that a listener has at most if its accept queue is to be emptied: more may come as fast as they
/// are accepted.
pub const MAX_TURNS: usize = BACKLOG.div_ceil(ACCEPTS_PER_TURN);

/// A listener and what it still owes.
#[derive(Debug)]
struct ListenerState<L> {
    number: usize,
    listener: L,
    /// Stopped before the accept queue was empty: no new edge will come for what is left in it.
    owes_turn: bool,
    /// Out of descriptors or slots: waits for a close, or until this time. Trying at every turn of
    /// the loop would spin.
    blocked_until: Option<Millis>,
    /// Whether the poll tells of what comes.
    is_watched: bool,
    /// Whether no new handshake begins any more, while those that have begun complete.
    drops_syn: bool,
}

/// The listeners of an event loop. Those that are open stand in a row, by which they are named here.
#[derive(Debug)]
pub struct Listeners<L> {
    row: Vec<ListenerState<L>>,
}

impl<L> Listeners<L> {
    /// Listeners that may have connections already; the poll tells of those to come.
    ///
    /// # Errors
    /// If one cannot be watched.
    pub fn open<S>(listeners: Vec<L>, system: &S) -> std::io::Result<Listeners<L>>
    where
        S: System<AcceptQueue = L>,
    {
        let mut row = Vec::with_capacity(listeners.len());
        for (number, listener) in listeners.into_iter().enumerate() {
            system.watch_listener(&listener, tokens::of_listener(number))?;
            row.push(ListenerState {
                number,
                listener,
                owes_turn: true,
                blocked_until: None,
                is_watched: true,
                drops_syn: false,
            });
        }
        Ok(Listeners { row })
    }

    /// How many are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.row.len()
    }

    /// Whether none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.row.is_empty()
    }

    /// The listener at `place`.
    #[must_use]
    pub fn listener(&self, place: usize) -> &L {
        &self.row[place].listener
    }

    /// The poll has told of the listener that was given this `number`.
    pub fn note_ready(&mut self, number: usize) {
        if let Some(state) = self.row.iter_mut().find(|state| state.number == number) {
            state.owes_turn = true;
        }
    }

    /// A connection has closed, and left its descriptor and its slot.
    pub fn note_room(&mut self) {
        for state in &mut self.row {
            state.blocked_until = None;
        }
    }

    /// Whether the listener at `place` is asked for connections at `now`.
    #[must_use]
    pub fn may_accept(&self, place: usize, now: Millis) -> bool {
        let state = &self.row[place];
        state.owes_turn && state.blocked_until.is_none_or(|until| now >= until)
    }

    /// Whether some listener can be asked at once.
    #[must_use]
    pub fn has_more(&self) -> bool {
        (0..self.row.len()).any(|place| self.may_accept_at_once(place))
    }

    /// Whether there may be connections that could not be accepted.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.row.iter().any(|state| state.blocked_until.is_some())
    }

    /// The listener at `place` is to be asked, whatever the poll says.
    pub fn owe(&mut self, place: usize) {
        self.row[place].owes_turn = true;
    }

    /// Whether the listener at `place` can be asked for connections at any time.
    #[must_use]
    pub fn may_accept_at_once(&self, place: usize) -> bool {
        let state = &self.row[place];
        state.owes_turn && state.blocked_until.is_none()
    }

    /// A connection came from the listener at `place`.
    pub fn note_accepted(&mut self, place: usize) {
        self.row[place].blocked_until = None;
    }

    /// There was no descriptor or no slot for a connection of the listener at `place`.
    pub fn note_exhausted(&mut self, place: usize, now: Millis) {
        self.row[place].blocked_until = Some(Millis(now.0 + TICK_MILLIS));
    }

    /// The queue of the listener at `place` is empty, after `accepted` attempts of this round. If other event loops
    /// share the queue they go first with the next one.
    pub fn note_drained<S>(&mut self, place: usize, accepted: usize, now: Millis, system: &S)
    where
        S: System<AcceptQueue = L>,
    {
        let state = &mut self.row[place];
        state.owes_turn = false;
        state.blocked_until = None;
        if accepted == 0 && state.is_watched || !system.is_shared(&state.listener) {
            return;
        }
        // It fails if the last step did only half. What comes between the two calls the second one tells.
        let _ = system.unwatch_listener(&state.listener);
        let watched = system.watch_listener(&state.listener, tokens::of_listener(state.number));
        state.is_watched = watched.is_ok();
        if let Err(error) = watched {
            log::warn!("a listener cannot be watched and is asked at each tick: {error}");
            state.owes_turn = true;
            state.blocked_until = Some(Millis(now.0 + TICK_MILLIS));
        }
    }

    /// Keeps new handshakes from beginning, on the listeners that can do that.
    pub fn refuse_new_handshakes<S: System<AcceptQueue = L>>(&mut self, system: &S) {
        for state in &mut self.row {
            state.drops_syn = system.refuse_new_handshakes(&state.listener);
        }
    }

    /// Whether every listener waits for handshakes to complete.
    #[must_use]
    pub fn all_drop_syn(&self) -> bool {
        self.row.iter().all(|state| state.drops_syn)
    }

    /// Closes those of the listeners that are in `closing`.
    pub fn close<S: System<AcceptQueue = L>>(&mut self, closing: Closing, system: &S) {
        let is_done = |state: &ListenerState<L>| match closing {
            Closing::All => true,
            Closing::Drained => state.blocked_until.is_none(),
            Closing::DrainedUnfiltered => state.blocked_until.is_none() && !state.drops_syn,
        };
        self.row.retain(|state| {
            if is_done(state)
                && let Err(error) = system.unwatch_listener(&state.listener)
            {
                log::debug!("a listener was not registered: {error}");
            }
            !is_done(state)
        });
    }
}

/// Which listeners are closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// All of them. What is left in their queues is reset by the kernel, unless somebody else holds them
    /// open too.
    All,
    /// Those whose queues are empty. One that can take no more for the moment stays.
    Drained,
    /// Of those, all but the ones that wait for handshakes to complete.
    DrainedUnfiltered,
}
