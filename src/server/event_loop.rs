//! The only poll. One thread waits for sockets, signals and deadlines, and hands what is ready to
//! the workers; it never reads, parses or sends.
//!
//! A turn of the loop: take the workers' reports, turn the timer wheel, wait until a worker is
//! hungry ([`Handoff::await_appetite`](super::handoff::Handoff::await_appetite)), poll, dispatch.
//! Polled events are dispatched before the wheel is turned, and a worker reads before it looks at the
//! clock, so a byte that has arrived beats a deadline.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::Receiver;
use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use signal_hook_mio::v1_0::Signals;

use super::acceptor::{ACCEPTS_PER_TURN, Accepted, Acceptor, Attempt};
use super::drain::Ending;
use super::handoff::Work;
use super::listener::{BACKLOG, Listener};
use super::reaper::max_sleep_millis;
use super::slots::Connection;
use super::timer_wheel::{TICK_MILLIS, TimerWheel};
use super::workers::{Report, Shared};
use crate::clock::{Millis, Now};
use crate::connection::ownership::{Claim, Notified, State};
use crate::connection::service::Mode;
use crate::connection::session::Session;

/// Events taken from the kernel at a time.
const EVENTS_PER_POLL: usize = 1024;

/// Tokens of sources that are not connections. A connection's token is its generation in the upper
/// half and its slot in the lower one, and no slot has a number this high.
pub(super) const WAKER: Token = Token(u32::MAX as usize);
const SIGNALS: Token = Token(u32::MAX as usize - 1);
const FIRST_LISTENER: usize = u32::MAX as usize - 1024;

/// The most listeners that the tokens leave room for.
pub const MAX_LISTENERS: usize = 1022;

/// A listener and what it still owes.
pub(super) struct Door {
    token: Token,
    listener: Listener,
    /// Stopped before the accept queue was empty: no new edge will come for what is left in it.
    owes_turn: bool,
    /// Out of descriptors or slots: waits for a close, or until this time. Trying at every turn of
    /// the loop would spin.
    blocked_until: Option<Millis>,
}

impl Door {
    fn may_accept(&self, now: Millis) -> bool {
        self.owes_turn && self.blocked_until.is_none_or(|until| now >= until)
    }

    /// Whether there may be connections that could not be accepted.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked_until.is_some()
    }
}

/// The event loop's state; all of it belongs to one thread.
pub struct EventLoop {
    pub(super) shared: Arc<Shared>,
    pub(super) acceptor: Acceptor,
    pub(super) wheel: TimerWheel,
    pub(super) fired: Vec<u32>,
    /// For each slot, whether the wheel has an entry.
    pub(super) is_filed: Vec<bool>,
    /// The longest that an entry sleeps.
    pub(super) max_sleep_millis: u64,
    /// When connections are next sent for, if there is pressure.
    pub(super) next_relief: Millis,
    /// When idle connections are told again that the server stops.
    pub(super) next_sweep: Millis,
    pub(super) ending: Ending,
    /// Whether the end began with a drain, which is reported on.
    pub(super) has_drained: bool,
    poll: Poll,
    doors: Vec<Door>,
    signals: Option<Signals>,
    reports: Receiver<Report>,
    /// Claimed connections for which the queue had no room; at most all of them.
    overflow: VecDeque<u32>,
}

impl EventLoop {
    /// A loop that will accept from `listeners`.
    ///
    /// # Errors
    /// If a source cannot be registered.
    pub fn new(
        poll: Poll,
        shared: Arc<Shared>,
        acceptor: Acceptor,
        listeners: Vec<Listener>,
        signals: Option<Signals>,
        reports: Receiver<Report>,
    ) -> io::Result<EventLoop> {
        let mut signals = signals;
        if let Some(signals) = &mut signals {
            poll.registry()
                .register(signals, SIGNALS, Interest::READABLE)?;
        }
        let mut doors = Vec::new();
        for (index, listener) in listeners.into_iter().enumerate() {
            let token = Token(FIRST_LISTENER + index);
            let mut source = SourceFd(&listener.as_raw_fd());
            poll.registry()
                .register(&mut source, token, Interest::READABLE)?;
            doors.push(Door {
                token,
                listener,
                owes_turn: true,
                blocked_until: None,
            });
        }
        let start = shared.clock.now().monotonic;
        let max_sleep_millis = max_sleep_millis(&shared.service.config);
        Ok(EventLoop {
            shared,
            acceptor,
            wheel: TimerWheel::new(start),
            fired: Vec::new(),
            is_filed: Vec::new(),
            max_sleep_millis,
            next_relief: Millis(0),
            next_sweep: Millis(0),
            ending: Ending::NotYet,
            has_drained: false,
            poll,
            doors,
            signals,
            reports,
            overflow: VecDeque::new(),
        })
    }

    /// Runs until the server has ended.
    ///
    /// # Errors
    /// If polling fails, which no peer can cause.
    pub fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_POLL);
        loop {
            self.take_reports();
            let now = self.shared.clock.now();
            self.accept_owed(now);
            self.turn_wheel(now.monotonic);
            self.relieve(now.monotonic);
            self.advance_ending(now.monotonic);
            if self.has_ended() {
                self.report_drain();
                return Ok(());
            }
            self.shared
                .handoff
                .await_appetite(Duration::from_millis(TICK_MILLIS));
            self.refill_queue();
            if !self.overflow.is_empty() {
                // The queue is full and so is the pool; polling would only find more.
                continue;
            }
            let timeout = self.poll_timeout();
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                self.handle(event);
            }
        }
    }

    /// Hands the claimed connection in `slot` to the pool. The other half is `Worker::serve`.
    pub(super) fn dispatch(&mut self, slot: u32) {
        if !self.overflow.is_empty() || self.shared.handoff.dispatch(Work::Turn(slot)).is_err() {
            self.overflow.push_back(slot);
        }
    }

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

    /// Whether the server is the process.
    pub(super) fn catches_signals(&self) -> bool {
        self.signals.is_some()
    }

    /// Whether the listeners are open.
    pub(super) fn is_accepting(&self) -> bool {
        !self.doors.is_empty()
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
                && let Err(error) = registry.deregister(&mut SourceFd(&door.listener.as_raw_fd()))
            {
                log::debug!("a listener was not registered: {error}");
            }
            !is_done(door)
        });
    }

    fn refill_queue(&mut self) {
        while let Some(slot) = self.overflow.pop_front() {
            if self.shared.handoff.dispatch(Work::Turn(slot)).is_err() {
                self.overflow.push_front(slot);
                return;
            }
        }
    }

    fn poll_timeout(&self) -> Option<Duration> {
        if self
            .doors
            .iter()
            .any(|door| door.owes_turn && door.blocked_until.is_none())
        {
            return Some(Duration::ZERO);
        }
        let tick = Duration::from_millis(TICK_MILLIS);
        if self.is_blocked() || self.ending != Ending::NotYet {
            return Some(tick);
        }
        let now = self.shared.clock.now().monotonic;
        let relief = self.acceptor.is_pressed().then_some(self.next_relief);
        let next = [self.wheel.next_tick(), relief]
            .into_iter()
            .flatten()
            .min()?;
        // mio rounds up to whole milliseconds, so the loop never spins towards a deadline.
        Some(Duration::from_millis(next.since(now)))
    }

    fn handle(&mut self, event: &Event) {
        match event.token() {
            WAKER => {}
            SIGNALS => self.take_signals(),
            Token(token) if (FIRST_LISTENER..u32::MAX as usize).contains(&token) => {
                let mut doors = self.doors.iter_mut();
                if let Some(door) = doors.find(|door| door.token == event.token()) {
                    door.owes_turn = true;
                }
            }
            Token(token) => self.notify(token, event),
        }
    }

    fn notify(&mut self, token: usize, event: &Event) {
        let (index, generation) = slot_and_generation(token);
        let slot = self.shared.slots.at(index);
        let read_closed = event.is_read_closed() || event.is_error();
        // Every socket is announced as writable when it is registered, mostly before its first request
        // is there. What waits for nothing but a request has no use for that. `Idle` comes first: only
        // then is the deadline the one that goes with it.
        if !event.is_readable()
            && !read_closed
            && slot.ownership.state() == State::Idle
            && slot.deadline().is_between_requests()
        {
            return;
        }
        match slot.ownership.notify(generation, read_closed) {
            Notified::Dispatch => self.dispatch(index),
            // A worker has it and will see what happened, or it belonged to an earlier connection.
            Notified::AlreadyOwned | Notified::Stale => {}
        }
    }

    fn take_reports(&mut self) {
        while let Ok(report) = self.reports.try_recv() {
            match report {
                Report::Closed(slot) => {
                    self.acceptor.release(slot);
                    for door in &mut self.doors {
                        door.blocked_until = None;
                    }
                }
                Report::Enter(mode) => self.enter(mode),
            }
        }
    }

    fn take_signals(&mut self) {
        // What the signals print is to be of now.
        self.take_reports();
        let Some(signals) = &mut self.signals else {
            return;
        };
        let pending: Vec<_> = signals.pending().collect();
        for signal in pending {
            self.handle_signal(signal);
        }
    }

    /// Gives each listener that has, or may have, something to accept a bounded turn.
    fn accept_owed(&mut self, now: Now) {
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

    fn is_blocked(&self) -> bool {
        self.doors.iter().any(Door::is_blocked)
    }

    fn accept_from(&mut self, index: usize, now: Now) {
        for _ in 0..ACCEPTS_PER_TURN {
            match self.acceptor.accept(&self.doors[index].listener) {
                Attempt::Accepted(accepted) => {
                    self.doors[index].blocked_until = None;
                    self.admit(accepted, now);
                }
                Attempt::Lost => {}
                Attempt::Drained => {
                    self.doors[index].owes_turn = false;
                    self.doors[index].blocked_until = None;
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

    /// Makes an accepted socket a connection: stored, opened, filed, registered once for everything.
    fn admit(&mut self, accepted: Accepted, now: Now) {
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
        let fd = socket.as_fd().as_raw_fd();
        let shared = Arc::clone(&self.shared);
        let slot = shared.slots.at(index);
        *slot.lock() = Some(Box::new(Connection { socket, session }));
        let generation = slot.ownership.open();
        log::debug!("connection {index}.{generation} accepted from {peer:?}");
        slot.postpone(deadline);
        self.file(index, now.monotonic);
        let token = token(index, generation);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = self
            .poll
            .registry()
            .register(&mut SourceFd(&fd), token, interest);
        if let Err(error) = registered {
            // The kernel has no memory for another watch (ENOMEM, ENOSPC).
            log::warn!("a connection cannot be watched and is closed: {error}");
            self.abandon(index);
        } else if is_refused && slot.ownership.claim_idle() == Claim::Claimed {
            self.dispatch(index);
        }
    }

    /// Closes a connection that no worker has seen yet.
    fn abandon(&mut self, index: u32) {
        let shared = Arc::clone(&self.shared);
        let slot = shared.slots.at(index);
        if slot.ownership.claim_idle() == Claim::Claimed {
            slot.ownership.begin();
            slot.lock().take();
            slot.ownership.free();
            self.acceptor.release(index);
            self.acceptor.dropped += 1;
        }
    }

    pub(super) fn enter(&mut self, mode: Mode) {
        let now = self.shared.clock.now().monotonic;
        self.begin_ending(mode, now);
    }
}

fn token(slot: u32, generation: u32) -> Token {
    Token((generation as usize) << 32 | slot as usize)
}

/// The inverse of [`token`]; both halves are 32 bits wide.
#[allow(clippy::cast_possible_truncation)]
fn slot_and_generation(token: usize) -> (u32, u32) {
    (token as u32, (token >> 32) as u32)
}

const _: () = assert!(usize::BITS == 64, "tokens hold a slot and a generation");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_holds_slot_and_generation() {
        for (slot, generation) in [(0, 0), (7, u32::MAX), (1 << 24, 3)] {
            assert_eq!(
                slot_and_generation(token(slot, generation).0),
                (slot, generation)
            );
        }
    }
}
