//! The life of one connection, as a state table.
//!
//! | phase      | waits for                        | deadline                        | when it passes                     |
//! |------------|----------------------------------|---------------------------------|------------------------------------|
//! | `Idle`     | the first byte of a request      | T + grace, see `Delivery`       | FIN, then `Linger`                 |
//! | `Head`     | the rest of a head               | `timeouts.head` from its start  | 408, then `Linger`                 |
//! | `Body`     | the rest of a body, to discard   | `timeouts.body` of no progress  | 408, then `Linger`                 |
//! | `Linger`   | the peer's FIN                   | `timeouts.linger`               | close                              |
//! | `Refused`  | its first turn                   | none                            | 503, then `Linger`                 |
//!
//! In any phase but `Linger`, bytes that the socket did not take ([`Unsent`]) come first: reading
//! stops until they are gone, and `timeouts.write` without progress resets the connection.
//!
//! A worker gives a session a [`Turn`] whenever the socket may have become readable or writable, or
//! the deadline has passed; the session does what it can without waiting and says how it goes on.
//! It looks at the socket first and at the clock second: a byte that has arrived beats a deadline.

mod answer;
mod linger;

use std::io;

use super::access_line::Peer;
use super::counters::CloseReason;
use super::desk::Desk;
use super::output::{self, Sending, Unsent};
use super::pace::Pace;
use super::service::{Mode, Service};
use super::transport::Transport;
use crate::clock::{Millis, Now};
use crate::http::framing::BodyDecoder;
use crate::http::method::Method;
use crate::http::request::Reject;
use crate::http::status::Status;

use answer::Stop;

/// Receives per turn: a peer that sends without end gives way to the others after these.
const READS_PER_TURN: u32 = 8;

/// What a turn works with.
#[derive(Debug)]
pub struct Turn<'a, T> {
    /// The connection's socket.
    pub io: &'a mut T,
    /// The worker's buffers.
    pub desk: &'a mut Desk,
    /// The configuration, the site and the mode.
    pub service: &'a Service,
    /// The time at the start of the turn.
    pub now: Now,
    /// Whether the kernel has announced the peer's FIN: a short read is then no proof that nothing
    /// is left to read, as data and FIN share one edge.
    pub read_closed: bool,
}

/// How the connection goes on after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to do until the socket is ready or [`Session::rest`]'s deadline passes.
    Wait,
    /// There is more to do at once, but others come first.
    Again,
    /// Over: drop the socket.
    Close(CloseReason),
}

/// One connection's state.
#[derive(Debug)]
pub struct Session {
    phase: Phase,
    /// Received bytes of an incomplete request. `None` in a connection that has nothing but waits.
    kept: Option<Box<[u8]>>,
    unsent: Option<Box<Unsent>>,
    opened_at: Millis,
    sent_bytes: u64,
    answered: u32,
    peer: Peer,
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
        method: Option<Method>,
    },
    Body(Box<BodyInProgress>),
    Linger(linger::Linger),
    Refused,
}

/// How much is known of the last answer's way to the peer. T is promised from the moment the peer
/// has acknowledged the last byte. No event tells when, and asking costs a call. So it is asked once,
/// within grace of the answer: if all is acknowledged by then, the deadline counted from the answer
/// keeps the promise. If not, it is asked again, and T + grace counts from the first time that it is.
#[derive(Debug)]
enum Delivery {
    /// Answered in this turn; [`Session::rest`] stamps the time.
    Fresh,
    /// Not asked yet.
    Unknown,
    /// Asked, and something was outstanding.
    Outstanding(Box<Pace>),
    /// All acknowledged, or nothing was ever sent: `since` counts.
    Confirmed,
}

/// A body that is read and thrown away. The head stays in the buffer, before the body's bytes.
#[derive(Debug)]
struct BodyInProgress {
    method: Method,
    head_len: usize,
    decoder: BodyDecoder,
    received: u64,
    pace: Pace,
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
            peer,
            closing: None,
            peer_has_closed: false,
        }
    }

    /// Does everything that can be done without waiting.
    pub fn turn<T: Transport>(&mut self, turn: &mut Turn<'_, T>) -> Outcome {
        if let Some(kept) = self.kept.take() {
            turn.desk.input.load(&kept);
        }
        let outcome = self.advance(turn).unwrap_or_else(Outcome::Close);
        self.kept = turn.desk.input.take();
        turn.desk.output.clear();
        if let Outcome::Close(reason) = outcome {
            self.finish(reason, turn);
        }
        outcome
    }

    /// Ends a turn that said [`Outcome::Wait`], at `now`: stamps what the turn began and returns
    /// when the next turn is due should the socket stay silent.
    pub fn rest(&mut self, service: &Service, now: Millis) -> Millis {
        if let Some(unsent) = &self.unsent {
            return unsent.pace.deadline(&service.write_pace());
        }
        let config = &service.config;
        match &mut self.phase {
            Phase::Idle { since, delivery } => match delivery {
                Delivery::Fresh => {
                    *since = now;
                    *delivery = Delivery::Unknown;
                    first_look(service, now)
                }
                Delivery::Unknown => first_look(service, *since),
                Delivery::Outstanding(pace) => now
                    .plus_secs(config.keep_alive.grace_secs)
                    .min(pace.deadline(&service.write_pace())),
                Delivery::Confirmed => reap_at(service, *since),
            },
            Phase::Head { since, .. } => since.plus_secs(config.timeouts.head_secs),
            Phase::Body(body) => body.pace.deadline(&service.body_pace()),
            Phase::Linger(linger) => linger.deadline(service, now),
            Phase::Refused => now,
        }
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
        if self.closing.is_none() && turn.service.mode() == Mode::Stopping {
            self.closing = Some(CloseReason::Stop);
        }
        if self.closing.is_some() {
            return self.begin_linger(turn);
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
                Stop::Closing => return self.begin_linger(turn),
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
            if now >= unsent.pace.deadline(&limits) {
                let delivered = delivered(self.sent_bytes, turn.io)?;
                if unsent.pace.has_stalled(delivered, now, &limits) {
                    turn.io.abort();
                    return Err(CloseReason::WriteTimeout);
                }
            }
            return Ok(Outcome::Wait);
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

    fn check_idle<T: Transport>(&mut self, turn: &mut Turn<'_, T>) -> Result<Outcome, CloseReason> {
        let now = turn.now.monotonic;
        let grace_millis = u64::from(turn.service.config.keep_alive.grace_secs) * 1000;
        let Phase::Idle { since, delivery } = &mut self.phase else {
            return Ok(Outcome::Wait);
        };
        match delivery {
            Delivery::Fresh => return Ok(Outcome::Wait),
            Delivery::Unknown if now < first_look(turn.service, *since) => {
                return Ok(Outcome::Wait);
            }
            Delivery::Confirmed => {}
            Delivery::Unknown | Delivery::Outstanding(_) => {
                let delivered = delivered(self.sent_bytes, turn.io)?;
                if delivered < self.sent_bytes {
                    let start = *since;
                    if let Delivery::Unknown = delivery {
                        // Nothing is known of the time since the answer but that some may have moved.
                        *delivery = Delivery::Outstanding(Box::new(Pace::start(0, start)));
                    }
                    if let Delivery::Outstanding(pace) = delivery
                        && pace.has_stalled(delivered, now, &turn.service.write_pace())
                    {
                        turn.io.abort();
                        return Err(CloseReason::WriteTimeout);
                    }
                    return Ok(Outcome::Wait);
                }
                *since = match delivery {
                    Delivery::Outstanding(_) => now,
                    // A look that comes late, because the pool was held up, proves less: the
                    // acknowledgement is at most as old as the answer. Counting from grace ago still
                    // leaves T from now.
                    _ => Millis(now.0.saturating_sub(grace_millis)).max(*since),
                };
                *delivery = Delivery::Confirmed;
            }
        }
        if now < reap_at(turn.service, *since) {
            return Ok(Outcome::Wait);
        }
        // RFC 9112 section 9.5: the socket was read just now and is empty, so as far as anybody here
        // can know, no request is lost.
        self.closing = Some(CloseReason::Idle);
        self.begin_linger(turn)
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
            Sending::Done => self.begin_linger(turn),
            Sending::Blocked => Ok(Outcome::Wait),
            Sending::TurnOver => Ok(Outcome::Again),
        }
    }

    /// Writes what is left for the log and the counters.
    fn finish<T: Transport>(&mut self, reason: CloseReason, turn: &mut Turn<'_, T>) {
        if let Some(unsent) = self.unsent.take() {
            answer::log_body(*unsent, turn.desk);
        }
        turn.desk.counters.closed(reason);
    }

    fn send_unsent<T: Transport>(
        &mut self,
        turn: &mut Turn<'_, T>,
    ) -> Result<Sending, CloseReason> {
        let Some(mut unsent) = self.unsent.take() else {
            return Ok(Sending::Done);
        };
        let Unsent {
            bytes, sent, body, ..
        } = &mut *unsent;
        let (result, count) = output::send(turn.io, bytes, sent, body);
        self.count_sent(count, turn);
        if let Ok(Sending::Done) = result {
            answer::log_body(*unsent, turn.desk);
        } else {
            self.unsent = Some(unsent);
        }
        result.map_err(|error| reason_of(&error))
    }

    fn count_sent<T: Transport>(&mut self, count: u64, turn: &Turn<'_, T>) {
        self.sent_bytes += count;
        turn.desk.counters.sent(count);
    }
}

/// When the acknowledgement of an answer that was sent at `since` is looked at first.
fn first_look(service: &Service, since: Millis) -> Millis {
    let config = &service.config;
    since.plus_secs(config.keep_alive.grace_secs.min(config.timeouts.write_secs))
}

/// T + grace: when a connection that has been idle `since` is closed.
fn reap_at(service: &Service, since: Millis) -> Millis {
    let keep_alive = &service.config.keep_alive;
    since
        .plus_secs(keep_alive.timeout_secs)
        .plus_secs(keep_alive.grace_secs)
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
