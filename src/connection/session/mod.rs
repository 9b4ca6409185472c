//! The life of one connection, as a state table.
//!
//! | phase      | waits for                        | deadline                        | when it passes                     |
//! |------------|----------------------------------|---------------------------------|------------------------------------|
//! | `Idle`     | the first byte of a request      | T + grace, see `idle`           | FIN, then `Linger`                 |
//! | the first  | the first byte of all            | `timeouts.head` from the accept | close                              |
//! | `Head`     | the rest of a head               | `timeouts.head` from its start  | 408, then `Linger`                 |
//! | `Body`     | the rest of a body, to discard   | `timeouts.body` of no progress  | 408, then `Linger`                 |
//! | `Linger`   | the peer's FIN                   | `timeouts.linger`               | close                              |
//! | `Refused`  | its first turn                   | none                            | 503, then `Linger`                 |
//!
//! An idle connection goes before its deadline if its place is needed, but never before the T it was
//! told; with `keep_alive.close = "pressure"` it goes for no other reason.
//!
//! A drain, pressure and age end a connection with an answer that says `close` (`retirement`).
//!
//! In any phase but `Linger`, bytes that the socket did not take ([`Unsent`]) come first: reading
//! stops until they are gone, and `timeouts.write` without progress resets the connection.
//!
//! A thread gives a session a [`Turn`] whenever the socket may have become readable or writable, or
//! the deadline has passed; the session does what it can without waiting and says how it goes on.
//! It looks at the socket first and at the clock second: a byte that has arrived beats a deadline.

mod answer;
mod body;
mod idle;
mod linger;
mod record;
mod retirement;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use super::counters::CloseReason;
use super::deadline::Deadline;
use super::desk::{Desk, Kept};
use super::limits::occupancy::Occupancy;
use super::output::{self, Sending, Unsent, bytes_per_turn};
use super::peer::Peer;
use super::service::{Mode, Service};
use super::transport::{Transport, UNSENT_BYTES};
use crate::clock::{Millis, Now};
use crate::config::IdleClose;
use crate::http::method::Method;
use crate::http::request::Reject;
use crate::http::status::Status;
use crate::site::Reach;

use answer::Stop;
use body::BodyInProgress;
use idle::{Delivery, Promise};
pub use idle::{SILENT_AT_LIMIT_MILLIS, SILENT_MILLIS, evictable_at, silent_since};

/// Receives per turn: a peer that sends without end gives way to the others after these.
const READS_PER_TURN: u32 = 8;

/// Looks per `timeouts.write` at how far a peer has come with what the socket did not take. No event
/// tells, and what it took before the first look counts as taken at that look.
const WRITE_LOOKS: u32 = 6;

/// What a turn works with.
pub struct Turn<'a, T> {
    /// The connection's socket.
    pub io: &'a mut T,
    /// The thread's buffers.
    pub desk: &'a mut Desk,
    /// The configuration, the site and the mode.
    pub service: &'a Service,
    /// The time at the start of the turn.
    pub now: Now,
    /// Whether the thread may wait for the disk.
    pub reach: Reach,
    /// Whether the kernel has announced the peer's FIN: a short read is then no proof that nothing
    /// is left to read, as data and FIN share one edge.
    pub read_closed: bool,
    /// Whether what the first request waits for is not waited for any longer: it takes too long to go on
    /// with for a peer that has ended its side, and most likely left.
    pub gives_up: bool,
    /// Whether the turn is to end because it has taken long and others wait. Asked only by a thread
    /// that may wait for the disk, between two requests of a pipeline.
    pub is_over: &'a dyn Fn() -> bool,
}

/// How the connection goes on after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to do until the socket is ready or [`Session::rest`]'s deadline passes.
    Wait,
    /// There is more to do at once, but not in this turn: others come first, or it takes a thread with
    /// a longer [`Reach`], or what another thread is getting ([`Desk::awaited`]).
    Again,
    /// Over: drop the socket.
    Close(CloseReason),
}

/// One connection's state.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    /// Received bytes of an incomplete request. `None` in a connection that has nothing but waits.
    kept: Option<Box<Kept>>,
    unsent: Option<Box<Unsent>>,
    opened_at: Millis,
    sent_bytes: u64,
    answered: u32,
    /// Answers in a row for which the retirement was put off ([`retirement`]).
    put_off: u8,
    peer: Peer,
    /// The connections from the same address, if their number is limited.
    neighbours: Option<Arc<Occupancy>>,
    /// Set with the last answer; what follows it is [`linger`].
    closing: Option<CloseReason>,
    peer_has_closed: bool,
}

#[derive(Debug)]
enum Phase {
    Idle {
        since: Millis,
        delivery: Delivery,
    },
    Head {
        since: Millis,
        /// Milliseconds of idling before it; as many as fit.
        idle_millis: u32,
        method: Option<Method>,
    },
    Body(Box<BodyInProgress>),
    /// Boxed, as it is the largest and the shortest: it would make every idle connection larger.
    Linger(Box<linger::Linger>),
    Refused,
}

impl Session {
    /// A connection that was accepted at `now`.
    #[must_use]
    pub fn accepted(peer: Peer, now: Millis) -> Session {
        // Nothing was sent, so there is nothing to be acknowledged.
        Session::new(
            peer,
            now,
            Phase::Idle {
                since: now,
                delivery: Delivery::Confirmed,
            },
        )
    }

    /// A connection over the limit: it is told so with a 503 in its first turn, and closed.
    #[must_use]
    pub fn refused(peer: Peer, now: Millis) -> Session {
        Session::new(peer, now, Phase::Refused)
    }

    fn new(peer: Peer, now: Millis, phase: Phase) -> Session {
        Session {
            phase,
            kept: None,
            unsent: None,
            opened_at: now,
            sent_bytes: 0,
            answered: 0,
            put_off: 0,
            peer,
            neighbours: None,
            closing: None,
            peer_has_closed: false,
        }
    }

    /// The same connection as one of those from its address, whose number is limited.
    #[must_use]
    pub fn among(mut self, neighbours: Option<Arc<Occupancy>>) -> Session {
        self.neighbours = neighbours;
        self
    }

    /// The address that it comes from and the connections from there, if their number is limited.
    #[must_use]
    pub fn neighbours(&self) -> Option<(IpAddr, &Occupancy)> {
        match (self.peer, &self.neighbours) {
            (Peer::Ip(address), Some(neighbours)) => Some((address, neighbours)),
            _ => None,
        }
    }

    /// Does everything that can be done without waiting.
    pub fn turn<T: Transport>(&mut self, turn: &mut Turn<'_, T>) -> Outcome {
        if let Some(kept) = self.kept.take() {
            turn.desk.input.load(kept);
        }
        let outcome = self.advance(turn).unwrap_or_else(Outcome::Close);
        self.kept = turn.desk.input.take();
        turn.desk.output.clear();
        turn.desk.guests.clear();
        if let Outcome::Close(reason) = outcome {
            self.finish(reason, turn);
        }
        outcome
    }

    /// Ends a turn that said [`Outcome::Wait`], at `now`: stamps what the turn began and returns
    /// when the next turn is due should the socket stay silent.
    pub fn rest(&mut self, service: &Service, now: Millis) -> Deadline {
        let timeouts = &service.config.timeouts;
        if let Some(unsent) = &self.unsent {
            let look = now.plus_secs(timeouts.write_secs.div_ceil(WRITE_LOOKS));
            return Deadline::Exchange(look.min(unsent.pace.deadline(&service.write_pace())));
        }
        Deadline::Exchange(match &mut self.phase {
            Phase::Idle { since, .. } if self.answered == 0 => {
                return Deadline::First(since.plus_secs(timeouts.head_secs));
            }
            Phase::Idle { since, delivery } => {
                let parks = service.config.keep_alive.close == IdleClose::Pressure;
                return delivery.rest(since, service, now, parks);
            }
            Phase::Head { since, .. } => since.plus_secs(timeouts.head_secs),
            Phase::Body(body) => body.pace.deadline(&service.body_pace()),
            Phase::Linger(linger) => return Deadline::Linger(linger.deadline(service, now)),
            Phase::Refused => now,
        })
    }

    /// Whether connections should go, here or at the peer's address.
    fn is_pressed(&self, service: &Service) -> bool {
        let neighbours = self.neighbours.as_deref();
        service.occupancy.is_pressing() || neighbours.is_some_and(Occupancy::is_pressing)
    }

    /// Whether a limit that concerns the connection is reached, so that newcomers have no place.
    fn is_full(&self, service: &Service) -> bool {
        let neighbours = self.neighbours.as_deref();
        service.occupancy.is_full() || neighbours.is_some_and(Occupancy::is_full)
    }

    /// The method of the request that is being received, as far as it has come.
    fn method(&self) -> Option<Method> {
        match &self.phase {
            Phase::Head { method, .. } => *method,
            Phase::Body(body) => Some(body.method),
            Phase::Idle { .. } | Phase::Linger(_) | Phase::Refused => None,
        }
    }

    /// For the debug line at the end: requests answered, bytes sent, milliseconds open.
    #[must_use]
    pub fn summary(&self, now: Millis) -> (u32, u64, u64) {
        (self.answered, self.sent_bytes, now.since(self.opened_at))
    }

    fn advance<T: Transport>(&mut self, turn: &mut Turn<'_, T>) -> Result<Outcome, CloseReason> {
        if self.unsent.is_some() {
            match self.send_unsent(turn)? {
                Sending::Done => {}
                Sending::TurnOver => return Ok(Outcome::Again),
                Sending::Blocked => return self.check_deadline(turn),
            }
        }
        if let Phase::Linger(_) = self.phase {
            return self.linger(turn);
        }
        if let Phase::Refused = self.phase {
            let reject = Reject {
                status: Status::SERVICE_UNAVAILABLE,
                reason: "The server has as many connections as it can take.",
                method: None,
            };
            self.reject(&reject, CloseReason::Refused, turn);
            return self.close_after_flush(turn);
        }
        if self.closing.is_some() {
            return self.begin_linger(false, turn);
        }
        self.converse(turn)
    }

    /// Receives and answers until nothing is left to read, or others must have their turn.
    fn converse<T: Transport>(&mut self, turn: &mut Turn<'_, T>) -> Result<Outcome, CloseReason> {
        let mut is_drained = false;
        let mut reads = 0;
        loop {
            match self.answer_buffered(turn)? {
                Stop::Starved => {}
                Stop::Blocked => return Ok(Outcome::Wait),
                Stop::TurnOver => return Ok(Outcome::Again),
                Stop::Closing => return self.begin_linger(is_drained, turn),
            }
            if is_drained {
                return self.check_deadline(turn);
            }
            if reads == READS_PER_TURN {
                return Ok(Outcome::Again);
            }
            let space = turn.desk.input.space();
            let room = space.len();
            match turn.io.recv(space) {
                Ok(0) => return self.end_of_stream(turn),
                Ok(count) => {
                    turn.desk.input.received(count);
                    reads += 1;
                    // The kernel had no more, and will raise a new edge when it has.
                    is_drained = count < room && !turn.read_closed;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.check_deadline(turn);
                }
                Err(_) => return Err(CloseReason::Reset),
            }
        }
    }

    /// The peer has sent its last byte. All complete requests are answered by now; an incomplete one
    /// is an error (RFC 9112 section 8).
    fn end_of_stream<T: Transport>(
        &mut self,
        turn: &mut Turn<'_, T>,
    ) -> Result<Outcome, CloseReason> {
        self.peer_has_closed = true;
        if let Phase::Idle { .. } = self.phase {
            return Err(CloseReason::ClientClosed);
        }
        let reject = Reject {
            status: Status::BAD_REQUEST,
            reason: "The connection ended before the request was complete.",
            method: self.method(),
        };
        self.reject(&reject, CloseReason::BadRequest, turn);
        self.close_after_flush(turn)
    }

    /// Acts if the deadline of the phase has passed. Called when the socket has nothing to offer.
    fn check_deadline<T: Transport>(
        &mut self,
        turn: &mut Turn<'_, T>,
    ) -> Result<Outcome, CloseReason> {
        let now = turn.now.monotonic;
        if let Some(unsent) = &mut self.unsent {
            let limits = turn.service.write_pace();
            let delivered = delivered(self.sent_bytes, turn.io)?;
            if unsent.pace.has_stalled(delivered, now, &limits) {
                turn.io.abort();
                return Err(CloseReason::WriteTimeout);
            }
            return Ok(Outcome::Wait);
        }
        if turn.service.mode() == Mode::Stopping {
            return self.stop(turn);
        }
        match &mut self.phase {
            Phase::Idle { .. } => self.check_idle(turn),
            Phase::Head { since, .. } => {
                if now < since.plus_secs(turn.service.config.timeouts.head_secs) {
                    return Ok(Outcome::Wait);
                }
                self.time_out(CloseReason::HeadTimeout, turn)
            }
            Phase::Body(body) => {
                let limits = turn.service.body_pace();
                let is_due = now >= body.pace.deadline(&limits);
                if !is_due || !body.pace.has_stalled(body.received, now, &limits) {
                    return Ok(Outcome::Wait);
                }
                self.time_out(CloseReason::BodyTimeout, turn)
            }
            // A lingering connection looks at its own deadline; a refused one has none.
            Phase::Linger(_) | Phase::Refused => Ok(Outcome::Wait),
        }
    }

    /// 408, and close (RFC 9110 section 15.5.9).
    fn time_out<T: Transport>(
        &mut self,
        reason: CloseReason,
        turn: &mut Turn<'_, T>,
    ) -> Result<Outcome, CloseReason> {
        let reject = Reject {
            status: Status::REQUEST_TIMEOUT,
            reason: "The request did not arrive completely in time.",
            method: self.method(),
        };
        self.reject(&reject, reason, turn);
        self.close_after_flush(turn)
    }

    fn close_after_flush<T: Transport>(
        &mut self,
        turn: &mut Turn<'_, T>,
    ) -> Result<Outcome, CloseReason> {
        match self.flush(None, turn)? {
            Sending::Done => self.begin_linger(false, turn),
            Sending::Blocked => Ok(Outcome::Wait),
            Sending::TurnOver => Ok(Outcome::Again),
        }
    }

    /// Notes, while the server drains or stops, what becomes of the promise that was made.
    fn settle_promise<T: Transport>(&self, reason: CloseReason, turn: &Turn<'_, T>) {
        if turn.service.mode() == Mode::Serving {
            return;
        }
        let counters = &turn.desk.counters;
        match self.promise(reason, turn.service, turn.now.monotonic) {
            Promise::None => {}
            Promise::Honoured => counters.promise_honoured(),
            Promise::Broken => counters.promise_broken(),
        }
    }

    /// Writes what is left for the log and the counters.
    fn finish<T: Transport>(&mut self, reason: CloseReason, turn: &mut Turn<'_, T>) {
        // One that lingered has settled it with its FIN.
        self.settle_promise(reason, turn);
        if let Some(unsent) = self.unsent.take() {
            record::end_body(*unsent, Some(reason), turn.desk);
        }
        turn.desk.counters.closed(reason, self.answered);
    }

    /// The server ends while the connection is open: the access log has what went of an answer.
    pub fn cut_off(&mut self, desk: &mut Desk) {
        if let Some(unsent) = self.unsent.take() {
            record::end_body(*unsent, Some(CloseReason::Stop), desk);
        }
    }

    fn send_unsent<T: Transport>(
        &mut self,
        turn: &mut Turn<'_, T>,
    ) -> Result<Sending, CloseReason> {
        if self
            .unsent
            .as_deref()
            .is_some_and(|unsent| unsent.body.is_on_disk() && turn.reach == Reach::Memory)
        {
            return Ok(Sending::TurnOver);
        }
        let Some(mut unsent) = self.unsent.take() else {
            return Ok(Sending::Done);
        };
        let Unsent {
            bytes, sent, body, ..
        } = &mut *unsent;
        let (result, count) = output::send(turn.io, bytes, sent, body, bytes_per_turn(turn.reach));
        self.count_sent(count, turn);
        if let Ok(Sending::Done) = result {
            if unsent.allowance.has_grown() {
                turn.io.keep_unsent(UNSENT_BYTES);
            }
            record::end_body(*unsent, None, turn.desk);
        } else {
            if let Some(bytes) = unsent.allowance.note(count) {
                turn.io.keep_unsent(bytes);
            }
            self.unsent = Some(unsent);
        }
        result.map_err(|error| reason_of(&error))
    }

    fn count_sent<T: Transport>(&mut self, count: u64, turn: &Turn<'_, T>) {
        self.sent_bytes += count;
        turn.desk.counters.sent(count);
    }
}

/// How many of the `sent` bytes the peer has acknowledged.
fn delivered<T: Transport>(sent: u64, io: &mut T) -> Result<u64, CloseReason> {
    let unacknowledged = io.unacknowledged().map_err(|_| CloseReason::Reset)?;
    Ok(sent.saturating_sub(unacknowledged))
}

/// Why a failed send ends the connection.
fn reason_of(error: &io::Error) -> CloseReason {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        CloseReason::Truncated
    } else if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) {
        // Only sendfile reads a disk.
        log::error!("a file cannot be read to its end: {error}");
        CloseReason::Truncated
    } else {
        CloseReason::Reset
    }
}
