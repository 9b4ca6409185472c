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

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::Receiver;
use mio::event::Event;
use mio::{Events, Interest, Poll, Token};
use signal_hook_mio::v1_0::Signals;

use super::acceptor::Acceptor;
use super::attendant::{Attendant, Attended};
use super::doors::Door;
use super::drain::Ending;
use super::listener::Listener;
use super::reaper::max_sleep_millis;
use super::shared::{LoopMessage, Shared};
use super::silent::SilentQueue;
use super::slots::QueuedSlot;
use super::timer_wheel::{TICK_MILLIS, TimerWheel};
use super::work::{FinishedErrands, Work};
use crate::clock::{Millis, Now};
use crate::connection::desk::Desk;
use crate::connection::ownership::OwnershipState;
use crate::connection::service::Mode;
use crate::site::Reach;

/// Events taken from the kernel at a time.
const EVENTS_PER_POLL: usize = 1024;

/// Turns that the loop gives before it polls again, if there is no end of them.
const TURNS_PER_POLL: usize = 1024;

/// Turns between two looks at the clock: mostly some hundred microseconds.
const TURNS_PER_SAMPLE: usize = 16;

/// Milliseconds that the loop serves before it polls again, if there is no end of it.
const MILLIS_PER_POLL: u64 = 5;

/// Tokens of sources that are not connections. A connection's token is its generation in the upper
/// half and its slot in the lower one, and no slot has a number this high.
pub(super) const WAKER: Token = Token(u32::MAX as usize);
const SIGNALS: Token = Token(u32::MAX as usize - 1);
const FIRST_LISTENER: usize = u32::MAX as usize - 1024;

/// The most listeners that the tokens leave room for.
pub const MAX_LISTENERS: usize = 1022;

/// What an event loop listens to, besides connections.
pub struct Sources {
    /// The poll; the loop's waker is registered there.
    pub poll: Poll,
    /// What workers and other event loops have to say.
    pub reports: Receiver<LoopMessage>,
    /// Where connections are accepted.
    pub listeners: Vec<Listener>,
    /// The signals, for one event loop of a server that is the process.
    pub signals: Option<Signals>,
}

/// The event loop's state; all of it belongs to one thread.
pub struct EventLoop {
    pub(super) shared: Arc<Shared>,
    /// What all the event loops of the server share with their workers, this one's included.
    pub(super) all: Arc<[Arc<Shared>]>,
    pub(super) acceptor: Acceptor,
    /// The connections that have never asked for anything.
    pub(super) silent: SilentQueue,
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
    pub(super) poll: Poll,
    pub(super) doors: Vec<Door>,
    signals: Option<Signals>,
    reports: Receiver<LoopMessage>,
    /// The last sample of the clock.
    now: Now,
    /// Gives the turns that memory is enough for.
    pub(super) attendant: Attendant,
    /// When the lines of the access log that were collected here are handed over.
    log_due_at: Option<Millis>,
}

impl EventLoop {
    /// The event loop `number` of `all`.
    ///
    /// # Errors
    /// If a source cannot be registered.
    pub fn new(
        number: usize,
        all: Arc<[Arc<Shared>]>,
        acceptor: Acceptor,
        sources: Sources,
    ) -> io::Result<EventLoop> {
        let shared = Arc::clone(&all[number]);
        let Sources {
            poll,
            reports,
            listeners,
            mut signals,
        } = sources;
        if let Some(signals) = &mut signals {
            poll.registry()
                .register(signals, SIGNALS, Interest::READABLE)?;
        }
        let mut doors = Vec::new();
        for (index, listener) in listeners.into_iter().enumerate() {
            let token = Token(FIRST_LISTENER + index);
            doors.push(Door::new(token, listener, poll.registry())?);
        }
        let opened = &shared.admissions.doors;
        opened.store(doors.len(), Ordering::Relaxed);
        let start = shared.clock.now();
        let max_sleep_millis = max_sleep_millis(&shared.service.config);
        let counters = Arc::clone(&shared.counters[0]);
        let desk = Desk::new(&shared.service.config, counters);
        let attendant = Attendant::new(Arc::clone(&shared), desk, Reach::Memory);
        Ok(EventLoop {
            shared,
            all,
            acceptor,
            silent: SilentQueue::default(),
            wheel: TimerWheel::new(start.monotonic),
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
            now: start,
            attendant,
            log_due_at: None,
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
            self.now = now;
            self.accept_owed(now);
            self.turn_wheel(now.monotonic);
            self.relieve(now.monotonic);
            if self.acceptor.has_ebbed() {
                self.shared.handoff.defer(Work::GiveBackMemory);
            }
            self.advance_ending(now.monotonic);
            if self.has_ended() {
                self.leave_log();
                return Ok(());
            }
            self.serve();
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

    /// Queues a connection. Some thread will [`attend`](Attendant::attend) to it.
    pub(super) fn dispatch(&self, queued: QueuedSlot) {
        self.shared.handoff.dispatch(queued);
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
                    self.dispatch(queued);
                    break;
                }
            }
            self.attend(queued, self.now);
        }
        let now = self.now.monotonic;
        self.log_due_at = self.attendant.log_due_at(now);
        if self.log_due_at.is_some_and(|due| now >= due) {
            self.leave_log();
        }
    }

    /// Gives a connection a turn on this thread.
    pub(super) fn attend(&mut self, queued: QueuedSlot, now: Now) {
        let (attended, _) = self.attendant.attend(queued, now);
        self.settle(attended);
    }

    /// Sees to a connection that has had a turn on this thread.
    pub(super) fn settle(&mut self, attended: Attended) {
        let none_finished = FinishedErrands::default();
        if let Some(slot) = self.attendant.settle(attended, none_finished) {
            self.note_closed(slot);
        }
    }

    fn leave_log(&mut self) {
        self.log_due_at = None;
        self.attendant.leave_log();
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
                self.attendant.cut_off(id, &mut connection.session);
            }
        }
        self.attendant.leave_log();
    }

    pub(super) fn note_closed(&mut self, slot: u32) {
        self.acceptor.release(slot);
        for door in &mut self.doors {
            door.blocked_until = None;
        }
    }

    /// Its number among the event loops of the server, from 0.
    #[must_use]
    pub fn number(&self) -> usize {
        self.shared.number
    }

    /// Whether the server is the process, and this loop the one that speaks for it.
    pub(super) fn catches_signals(&self) -> bool {
        self.signals.is_some()
    }

    fn poll_timeout(&self) -> Option<Duration> {
        let mut doors = self.doors.iter();
        let may_accept = doors.any(|door| door.owes_turn && door.blocked_until.is_none());
        if may_accept || self.shared.handoff.is_ready() {
            return Some(Duration::ZERO);
        }
        let tick = Duration::from_millis(TICK_MILLIS);
        if self.is_blocked() || self.ending != Ending::NotYet {
            return Some(tick);
        }
        let now = self.now.monotonic;
        let relief = self.acceptor.is_pressed().then_some(self.next_relief);
        let next = [self.wheel.next_tick(), relief, self.log_due_at]
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
            && slot.state() == OwnershipState::Idle
            && slot.deadline().is_between_requests()
        {
            return;
        }
        if let Some(queued) = slot.notify(generation, read_closed) {
            self.dispatch(queued);
        }
    }

    fn take_reports(&mut self) {
        while let Ok(report) = self.reports.try_recv() {
            match report {
                LoopMessage::Closed(slot) => self.note_closed(slot),
                LoopMessage::Enter(mode) => self.enter(mode),
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

    pub(super) fn enter(&mut self, mode: Mode) {
        let now = self.shared.clock.now().monotonic;
        self.begin_ending(mode, now);
    }
}

pub(super) fn token(slot: u32, generation: u32) -> Token {
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
