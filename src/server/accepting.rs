//! The listeners of an event loop, and when the loop accepts from them.
//!
//! # Queues that several event loops share
//!
//! On a TCP port each loop has an accept queue of its own (SO_REUSEPORT). A unix socket has one queue, and
//! so has a socket that was passed to the process. An ordinary watch on such a queue would wake all loops
//! for each connection, and all but one in vain. So the loops watch it with EPOLLEXCLUSIVE (epoll_ctl(2)):
//! the kernel asks the loops in the order in which they began to watch, until it finds one that sleeps.
//! Loops that are awake find the connection at their next poll, if it is still there.
//!
//! In that order the first loop would get nearly all connections of a quiet server, and keep them as long
//! as they live. So a loop that has accepted watches anew, and is then the last in the order. That costs
//! two system calls, for a connection that costs a dozen. With eight loops and successive connections, each
//! connection put threads to sleep 2.8 times instead of 8.7 times and cost 59 microseconds of CPU time
//! instead of 99, and each loop got an eighth.
//!
//! Giving the queue to one loop would be simpler. But behind a proxy that connects to a single socket, the
//! other loops would have no work.

use super::acceptor::ACCEPTS_PER_BATCH;
use super::listener::{BACKLOG, ListenerId};
use super::system::System;
use super::timer_wheel::TICK_MILLIS;
use super::tokens;
use crate::clock::Millis;
use crate::config::Config;

/// The most batches accepted from a listener when its queue is to be emptied. New connections may arrive
/// as fast as they are accepted.
pub const MAX_BATCHES: usize = BACKLOG.div_ceil(ACCEPTS_PER_BATCH);

/// A listener and what the event loop knows of its queue.
#[derive(Debug)]
struct ListenerState<L> {
    id: ListenerId,
    /// The number in its token.
    number: usize,
    listener: L,
    /// Whether the queue may have connections. Polling is edge-triggered, so this stays set until the queue
    /// was found empty.
    is_ready: bool,
    /// Until when the loop does not accept for lack of descriptors or slots, unless a connection closes.
    /// Trying in each iteration of the loop would spin.
    blocked_until: Option<Millis>,
    /// Whether the poll reports new connections.
    is_watched: bool,
    /// Whether new handshakes are dropped, while those that have begun complete.
    drops_syn: bool,
    /// From when the listener closes once its queue is empty; `None` if its address stays in use.
    retires_at: Option<Millis>,
}

/// The open listeners of an event loop, numbered here by their index.
#[derive(Debug)]
pub struct Listeners<L> {
    open: Vec<ListenerState<L>>,
}

impl<L> Listeners<L> {
    /// Opens listeners, which may have connections already, and watches them.
    ///
    /// # Errors
    /// If one cannot be watched.
    pub fn open<S>(listeners: Vec<L>, system: &S) -> std::io::Result<Listeners<L>>
    where
        S: System<AcceptQueue = L>,
    {
        let mut opened = Listeners {
            open: Vec::with_capacity(listeners.len()),
        };
        for (id, listener) in (0..).zip(listeners) {
            opened.add(id, listener, system)?;
        }
        Ok(opened)
    }

    /// Adds a listener, which may have connections already, and watches it.
    ///
    /// # Errors
    /// If it cannot be watched, or if tokens have no room for another one.
    pub fn add<S>(&mut self, id: ListenerId, listener: L, system: &S) -> std::io::Result<()>
    where
        S: System<AcceptQueue = L>,
    {
        let is_free = |number: &usize| self.open.iter().all(|state| state.number != *number);
        let number = (0..tokens::MAX_LISTENERS).find(is_free);
        let number = number.ok_or(std::io::ErrorKind::QuotaExceeded)?;
        system.watch_listener(&listener, tokens::of_listener(number))?;
        self.open.push(ListenerState {
            id,
            number,
            listener,
            is_ready: true,
            blocked_until: None,
            is_watched: true,
            drops_syn: false,
            retires_at: None,
        });
        Ok(())
    }

    /// Begins to close the listeners of an address that is no longer in use. New handshakes are dropped if that
    /// is possible; then handshakes that have begun may complete for `handshakes_secs`.
    pub fn retire<S>(&mut self, id: ListenerId, handshakes_secs: u32, now: Millis, system: &S)
    where
        S: System<AcceptQueue = L>,
    {
        for state in self.open.iter_mut().filter(|state| state.id == id) {
            system.unlink(&mut state.listener);
            state.drops_syn = system.refuse_new_handshakes(&state.listener);
            let secs = if state.drops_syn { handshakes_secs } else { 0 };
            state.retires_at = Some(now.plus_secs(secs));
        }
    }

    /// Whether some listener is about to close because its address is no longer in use.
    #[must_use]
    pub fn is_retiring(&self) -> bool {
        self.open.iter().any(|state| state.retires_at.is_some())
    }

    /// Whether the listener at `index` closes as soon as its queue is empty.
    #[must_use]
    pub fn is_retired(&self, index: usize, now: Millis) -> bool {
        self.open[index].retires_at.is_some_and(|at| now >= at)
    }

    /// Makes the listeners follow `config` after a reload.
    pub fn configure<S>(&self, config: &Config, system: &S)
    where
        S: System<AcceptQueue = L>,
    {
        for state in &self.open {
            system.configure(&state.listener, config);
        }
    }

    /// The number of open listeners.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether no listener is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The listener at `index`.
    #[must_use]
    pub fn listener(&self, index: usize) -> &L {
        &self.open[index].listener
    }

    /// Notes that the poll has reported the listener with this `number`.
    pub fn note_ready(&mut self, number: usize) {
        if let Some(state) = self.open.iter_mut().find(|state| state.number == number) {
            state.is_ready = true;
        }
    }

    /// Notes that a connection has closed and has freed its descriptor and its slot.
    pub fn note_room(&mut self) {
        for state in &mut self.open {
            state.blocked_until = None;
        }
    }

    /// Whether the loop may accept from the listener at `index` at `now`.
    #[must_use]
    pub fn may_accept(&self, index: usize, now: Millis) -> bool {
        let state = &self.open[index];
        state.is_ready && state.blocked_until.is_none_or(|until| now >= until)
    }

    /// Whether some listener is ready and not blocked.
    #[must_use]
    pub fn has_more(&self) -> bool {
        (0..self.open.len()).any(|index| self.may_accept_now(index))
    }

    /// Whether some listener is blocked for lack of descriptors or slots.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.open.iter().any(|state| state.blocked_until.is_some())
    }

    /// Marks the listener at `index` as ready, whatever the poll has reported.
    pub fn mark_ready(&mut self, index: usize) {
        self.open[index].is_ready = true;
    }

    /// Whether the listener at `index` is ready and not blocked.
    #[must_use]
    pub fn may_accept_now(&self, index: usize) -> bool {
        let state = &self.open[index];
        state.is_ready && state.blocked_until.is_none()
    }

    /// Notes that the listener at `index` has given a connection.
    pub fn note_accepted(&mut self, index: usize) {
        self.open[index].blocked_until = None;
    }

    /// Notes that a connection of the listener at `index` found no descriptor or no slot.
    pub fn note_exhausted(&mut self, index: usize, now: Millis) {
        self.open[index].blocked_until = Some(Millis(now.0 + TICK_MILLIS));
    }

    /// Notes that the queue of the listener at `index` is empty, after `accepted` attempts of this batch. If
    /// other event loops share the queue, they are first with the next connection.
    pub fn note_queue_empty<S>(&mut self, index: usize, accepted: usize, now: Millis, system: &S)
    where
        S: System<AcceptQueue = L>,
    {
        let state = &mut self.open[index];
        state.is_ready = false;
        state.blocked_until = None;
        if accepted == 0 && state.is_watched || !system.is_shared(&state.listener) {
            return;
        }
        // This fails if the last watch failed. The second call reports what comes between the two.
        let _ = system.unwatch_listener(&state.listener);
        let watched = system.watch_listener(&state.listener, tokens::of_listener(state.number));
        state.is_watched = watched.is_ok();
        if let Err(error) = watched {
            log::warn!("a listener cannot be watched and is asked at each tick: {error}");
            state.is_ready = true;
            state.blocked_until = Some(Millis(now.0 + TICK_MILLIS));
        }
    }

    /// Drops new handshakes on the listeners that can do so.
    pub fn refuse_new_handshakes<S: System<AcceptQueue = L>>(&mut self, system: &S) {
        for state in &mut self.open {
            state.drops_syn = system.refuse_new_handshakes(&state.listener);
        }
    }

    /// Whether every listener drops new handshakes.
    #[must_use]
    pub fn all_drop_syn(&self) -> bool {
        self.open.iter().all(|state| state.drops_syn)
    }

    /// Closes the listeners that `closing` names.
    pub fn close<S: System<AcceptQueue = L>>(&mut self, closing: ListenersToClose, system: &S) {
        let should_close = |state: &ListenerState<L>| match closing {
            ListenersToClose::All => true,
            ListenersToClose::Retired(now) => {
                state.retires_at.is_some_and(|at| now >= at)
                    && !state.is_ready
                    && state.blocked_until.is_none()
            }
            ListenersToClose::Empty { keep_filtered } => {
                state.blocked_until.is_none() && !(keep_filtered && state.drops_syn)
            }
        };
        self.open.retain(|state| {
            if should_close(state)
                && let Err(error) = system.unwatch_listener(&state.listener)
            {
                log::debug!("a listener was not registered: {error}");
            }
            !should_close(state)
        });
    }
}

/// The listeners to close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenersToClose {
    /// All of them. The kernel resets the connections in their queues, unless another process holds them
    /// open too.
    All,
    /// Those whose addresses are no longer in use, whose handshakes have had their time until now, and whose
    /// queues are empty.
    Retired(Millis),
    /// Those whose queues are empty. A listener that is blocked stays, and with `keep_filtered` also one that
    /// waits for handshakes to complete.
    Empty {
        /// Whether listeners stay that begin no new handshakes.
        keep_filtered: bool,
    },
}
