//! The listeners: when they are asked for connections, and how a socket becomes one.
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

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::Ordering;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::event::epoll::{self, EventData, EventFlags};

use super::acceptor::{ACCEPTS_PER_TURN, Accepted, Attempt};
use super::attendant::Attended;
use super::drain::Ending;
use super::event_loop::{EventLoop, token};
use super::handshakes;
use super::listener::{BACKLOG, Listener};
use super::slots::{Connection, QueuedSlot};
use super::timer_wheel::TICK_MILLIS;
use crate::clock::{Millis, Now};
use crate::connection::deadline::Deadline;
use crate::connection::session::Session;

/// Connections of a burst that have their first turn at once. The others are queued, so that workers
/// help with many.
const FIRST_TURNS: usize = 8;

/// A listener and what it still owes.
pub(super) struct Door {
    pub(super) token: Token,
    pub(super) listener: Listener,
    /// Stopped before the accept queue was empty: no new edge will come for what is left in it.
    pub(super) owes_turn: bool,
    /// Out of descriptors or slots: waits for a close, or until this time. Trying at every turn of
    /// the loop would spin.
    pub(super) blocked_until: Option<Millis>,
    /// Whether the poll tells of what comes.
    is_watched: bool,
    /// Whether no new handshake begins any more, while those that have begun complete.
    drops_syn: bool,
}

impl Door {
    /// A listener that may have connections already; the poll tells of those to come.
    pub(super) fn new(token: Token, listener: Listener, registry: &Registry) -> io::Result<Door> {
        let door = Door {
            token,
            listener,
            owes_turn: true,
            blocked_until: None,
            is_watched: true,
            drops_syn: false,
        };
        door.watch(registry)?;
        Ok(door)
    }

    fn watch(&self, registry: &Registry) -> io::Result<()> {
        if self.listener.is_shared {
            // mio has no word for it.
            let flags = EventFlags::IN | EventFlags::ET | EventFlags::EXCLUSIVE;
            let data = EventData::new_u64(self.token.0 as u64);
            return Ok(epoll::add(registry, &self.listener, data, flags)?);
        }
        let mut source = SourceFd(&self.listener.as_raw_fd());
        registry.register(&mut source, self.token, Interest::READABLE)
    }

    fn unwatch(&self, registry: &Registry) -> io::Result<()> {
        registry.deregister(&mut SourceFd(&self.listener.as_raw_fd()))
    }

    /// Lets the other event loops that share the queue go first with the next connection.
    fn step_back(&mut self, registry: &Registry, now: Millis) {
        if !self.listener.is_shared {
            return;
        }
        // It fails if the last step did only half. What comes between the two calls the second one tells.
        let _ = self.unwatch(registry);
        let watched = self.watch(registry);
        self.is_watched = watched.is_ok();
        if let Err(error) = watched {
            log::warn!("a listener cannot be watched and is asked at each tick: {error}");
            self.owes_turn = true;
            self.blocked_until = Some(Millis(now.0 + TICK_MILLIS));
        }
    }

    fn may_accept(&self, now: Millis) -> bool {
        self.owes_turn && self.blocked_until.is_none_or(|until| now >= until)
    }

    /// Keeps new handshakes from beginning, if the listener can do that.
    fn refuse_new_handshakes(&mut self) {
        if !self.listener.takes_filter {
            return;
        }
        let refused = handshakes::refuse_new(&self.listener);
        self.drops_syn = refused.is_ok();
        if let Err(error) = refused {
            let url = self.listener.address.url();
            log::warn!("{url} closes at once, handshakes that are under way are lost: {error}");
        }
    }

    /// Whether there may be connections that could not be accepted.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked_until.is_some()
    }
}

impl EventLoop {
    /// Empties the accept queues, as far as descriptors and slots allow.
    pub(super) fn accept_all(&mut self) {
        let now = self.shared.clock.now();
        for index in 0..self.doors.len() {
            self.doors[index].owes_turn = true;
            // Bounded: more may come as fast as they are accepted.
            for _ in 0..BACKLOG.div_ceil(ACCEPTS_PER_TURN) {
                if self.doors[index].owes_turn && self.doors[index].blocked_until.is_none() {
                    self.accept_from(index, now);
                }
            }
        }
    }

    /// Keeps new handshakes from beginning, on the listeners that can do that, and tells the other loops.
    pub(super) fn refuse_new_handshakes(&mut self) {
        self.doors.iter_mut().for_each(Door::refuse_new_handshakes);
        let drops_syn = &self.shared.admissions.drops_syn;
        drops_syn.store(true, Ordering::Release);
    }

    /// Closes the listeners whose queues are empty; with `keep_filtered` not those that wait for handshakes
    /// to complete. The clients in a queue have connected and may have sent a request, so they are accepted
    /// first: closing would reset them. A listener that can take no more for the moment stays, and is asked
    /// again at each turn of the loop.
    pub(super) fn accept_the_last(&mut self, keep_filtered: bool) {
        let is_kept = |door: &Door| keep_filtered && door.drops_syn;
        if self.doors.iter().all(is_kept) {
            return;
        }
        self.accept_all();
        self.close_doors(|door| !is_kept(door) && !door.is_blocked());
    }

    /// Closes the listeners. What is left in their queues is reset by the kernel, unless somebody else
    /// holds them open too.
    pub(super) fn stop_accepting(&mut self) {
        self.close_doors(|_| true);
    }

    /// Closes those listeners that `is_done` with.
    pub(super) fn close_doors(&mut self, is_done: impl Fn(&Door) -> bool) {
        let registry = self.poll.registry();
        self.doors.retain(|door| {
            if is_done(door)
                && let Err(error) = door.unwatch(registry)
            {
                log::debug!("a listener was not registered: {error}");
            }
            !is_done(door)
        });
        let doors = &self.shared.admissions.doors;
        doors.store(self.doors.len(), Ordering::Relaxed);
    }

    /// Gives each listener that has, or may have, something to accept a bounded turn.
    pub(super) fn accept_owed(&mut self, now: Now) {
        for index in 0..self.doors.len() {
            if self.doors[index].may_accept(now.monotonic) {
                self.accept_from(index, now);
            }
        }
        let wants_closes = self.is_blocked() || self.ending != Ending::NotYet;
        self.shared
            .wants_closes
            .store(wants_closes, Ordering::SeqCst);
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.doors.iter().any(Door::is_blocked)
    }

    fn accept_from(&mut self, index: usize, now: Now) {
        for attempt in 0..ACCEPTS_PER_TURN {
            let can_make_room = self.acceptor.is_overrun() && self.can_make_room(now.monotonic);
            match self
                .acceptor
                .accept(&self.doors[index].listener, can_make_room)
            {
                Attempt::Accepted(accepted) => {
                    self.doors[index].blocked_until = None;
                    self.receive(accepted, attempt < FIRST_TURNS, now);
                }
                Attempt::Crowded(newcomer) => {
                    self.doors[index].blocked_until = None;
                    if let Some(accepted) = self.make_room(newcomer, now) {
                        self.receive(accepted, attempt < FIRST_TURNS, now);
                    }
                }
                Attempt::Lost => {}
                Attempt::Drained => {
                    self.doors[index].owes_turn = false;
                    self.doors[index].blocked_until = None;
                    if attempt > 0 || !self.doors[index].is_watched {
                        self.doors[index].step_back(self.poll.registry(), now.monotonic);
                    }
                    return;
                }
                Attempt::Exhausted => {
                    let until = Millis(now.monotonic.0 + TICK_MILLIS);
                    self.doors[index].blocked_until = Some(until);
                    return;
                }
            }
        }
    }

    /// Makes an accepted socket a connection and gives it its first turn, `at_once` or in the queue.
    fn receive(&mut self, accepted: Accepted, at_once: bool, now: Now) {
        let client = self.acceptor.counted_client(&accepted);
        let queued = self.admit(accepted, now);
        let index = queued.index();
        let generation = self.shared.slots.at(index).generation();
        let attended = if at_once {
            // Its first request is mostly there already, so the turn comes first: the poll need not tell of
            // it. What comes between the two the registration tells, as it looks at the socket.
            self.attendant.attend(queued, now).0
        } else {
            Attended::WantsMore(queued)
        };
        match attended {
            Attended::Closed(slot) => self.note_closed(slot),
            open => {
                if let Some(open) = self.watch(index, open) {
                    match open {
                        Attended::WantsMore(queued) if !at_once => self.dispatch(queued),
                        open => self.settle(open),
                    }
                }
            }
        }
        let slot = self.shared.slots.at(index);
        // As far as this thread can see it has sent no request.
        if let Deadline::First(_) = slot.deadline()
            && slot.generation() == generation
        {
            self.silent
                .push(index, generation, client, &self.shared.slots);
        }
    }

    /// Makes an accepted socket a connection: stored, filed, and queued for its first turn.
    fn admit(&mut self, accepted: Accepted, now: Now) -> QueuedSlot {
        let Accepted {
            slot: index,
            socket,
            peer,
            is_refused,
            neighbours,
        } = accepted;
        let make = if is_refused {
            Session::refused
        } else {
            Session::accepted
        };
        let mut session = make(peer, now.monotonic).among(neighbours);
        let deadline = session.rest(&self.shared.service, now.monotonic);
        let connection = Connection {
            socket,
            session,
            is_counted: !is_refused,
        };
        let slot = self.shared.slots.at(index);
        let queued = slot.open(Box::new(connection), deadline);
        let id = self.shared.connection_id(index);
        log::debug!("connection {id} accepted from {peer:?}");
        self.file(index, now.monotonic);
        queued
    }

    /// Registers the connection in slot `index`, which no other thread can have touched yet, once for
    /// everything. If that is impossible it is closed. `attended` is what became of it in its first turn,
    /// and is returned if it lives on.
    fn watch(&mut self, index: u32, attended: Attended) -> Option<Attended> {
        let slot = self.shared.slots.at(index);
        let token = token(index, slot.generation());
        let registered = slot.look(|open| {
            self.poll.registry().register(
                &mut SourceFd(&open.socket.as_fd().as_raw_fd()),
                token,
                Interest::READABLE | Interest::WRITABLE,
            )
        });
        let Some(Err(error)) = registered else {
            return Some(attended);
        };
        // The kernel has no memory for another watch (ENOMEM, ENOSPC).
        log::warn!("a connection cannot be watched and is closed: {error}");
        let queued = match attended {
            Attended::WantsMore(queued) | Attended::Awaits(queued, _) => Some(queued),
            Attended::Waits | Attended::Closed(_) => slot.claim_idle().ok(),
        };
        if let Some(queued) = queued {
            let owned = self.shared.slots.begin(queued);
            let free = owned.close(|closed| self.shared.close(closed));
            self.acceptor.note_dropped();
            self.note_closed(free);
        }
        None
    }
}
