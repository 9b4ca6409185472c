//! One turn of a connection: receives, answers, and checks the deadline.

use std::io;

use super::answer::AnswerStop;
use super::sending::acknowledged;
use super::server_close::contain_request;
use super::state::{Outcome, Phase, Session, Turn};
use crate::connection::counters::CloseReason;
use crate::connection::output::{Pause, SendProgress};
use crate::connection::server_context::Mode;
use crate::connection::transport::Transport;
use crate::http::request::Reject;
use crate::http::scheme::Scheme;
use crate::http::status::Status;

/// Receives per turn. After these, a peer that sends without end must wait for other connections.
const READS_PER_TURN: u32 = 8;

impl Session {
    /// Does all that is possible without waiting.
    pub fn turn<T: Transport>(&mut self, turn: &mut Turn<'_, T>) -> Outcome {
        if let Some(kept) = self.kept.take() {
            turn.buffers.input.load(kept);
        }
        turn.io.lend(&mut turn.buffers.records);
        let outcome = Outcome::from(self.advance(turn));
        self.kept = turn.buffers.input.take();
        turn.buffers.output.clear();
        turn.buffers.counted_requests.clear();
        turn.buffers.timer.sent();
        if let Outcome::Close(reason) = outcome {
            self.finish(reason, turn);
        }
        turn.io.give_back(&mut turn.buffers.records);
        outcome
    }

    fn advance<T: Transport>(&mut self, turn: &mut Turn<'_, T>) -> Result<Pause, CloseReason> {
        if self.unsent.is_some() {
            match self.send_unsent(turn)? {
                SendProgress::Done => {}
                SendProgress::Paused(Pause::Again) => return Ok(Pause::Again),
                SendProgress::Paused(Pause::Wait) => return self.check_deadline(turn),
            }
        }
        match self.phase {
            Phase::Linger(_) => return self.linger(turn),
            Phase::Refused => return self.refuse_connection(turn),
            Phase::ProxyHeader => return self.receive_proxy_header(turn),
            Phase::Handshake => return self.continue_handshake(turn),
            Phase::Idle { .. } | Phase::Unacknowledged(_) | Phase::Head { .. } | Phase::Body(_) => {
            }
        }
        if self.closing.is_some() {
            return self.begin_linger(false, turn);
        }
        self.receive_and_answer(false, turn)
    }

    /// Answers 503, because a limit on connections is reached, and closes. Over TLS it only closes.
    pub(super) fn refuse_connection<T: Transport>(
        &mut self,
        turn: &mut Turn<'_, T>,
    ) -> Result<Pause, CloseReason> {
        if turn.io.scheme() == Scheme::Https {
            // A response would need a handshake, which is what the limit prevents.
            self.closing = Some(CloseReason::Refused);
            return self.begin_linger(false, turn);
        }
        let reject = Reject {
            status: Status::SERVICE_UNAVAILABLE,
            reason: "The limit on connections is reached.",
            method: None,
        };
        self.reject(&reject, CloseReason::Refused, turn);
        self.close_after_flush(turn)
    }

    /// Receives and answers until no bytes are left, or the turn's bounds are reached. `is_socket_empty` says
    /// that the last receive emptied the socket.
    pub(super) fn receive_and_answer<T: Transport>(
        &mut self,
        mut is_socket_empty: bool,
        turn: &mut Turn<'_, T>,
    ) -> Result<Pause, CloseReason> {
        let mut reads = 0;
        loop {
            match self.answer_buffered(turn)? {
                AnswerStop::NeedMore => {}
                AnswerStop::Paused(pause) => return Ok(pause),
                AnswerStop::Closing => return self.begin_linger(is_socket_empty, turn),
            }
            if is_socket_empty {
                return self.check_deadline(turn);
            }
            if reads == READS_PER_TURN {
                return Ok(Pause::Again);
            }
            let space = turn.buffers.input.space();
            let room = space.len();
            match turn.io.recv(space) {
                Ok(0) => return self.end_of_stream(turn),
                Ok(count) => {
                    turn.buffers.input.received(count);
                    reads += 1;
                    // The kernel had no more bytes, and will raise a new edge when some arrive.
                    is_socket_empty = count < room && !turn.read_closed && !turn.io.has_ended();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.check_deadline(turn);
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return self.end_after_alert(turn);
                }
                Err(_) => return Err(CloseReason::Reset),
            }
        }
    }

    /// Handles the peer's FIN. All complete requests are answered by now; an incomplete one is an error (RFC
    /// 9112 section 8).
    fn end_of_stream<T: Transport>(
        &mut self,
        turn: &mut Turn<'_, T>,
    ) -> Result<Pause, CloseReason> {
        self.facts.note_closed();
        match self.phase {
            Phase::Idle { .. } | Phase::Unacknowledged(_) => return Err(CloseReason::ClientClosed),
            // Of a TLS record that was cut off, nothing can be answered.
            Phase::Head { .. } if !contain_request(turn.buffers.input.unread()) => {
                return Err(CloseReason::ClientClosed);
            }
            _ => {}
        }
        let reject = Reject {
            status: Status::BAD_REQUEST,
            reason: "The connection ended before the request was complete.",
            method: self.method(),
        };
        self.reject(&reject, CloseReason::BadRequest, turn);
        self.close_after_flush(turn)
    }

    /// Acts on the deadline of the phase if it has passed. Called when the socket has no bytes.
    fn check_deadline<T: Transport>(
        &mut self,
        turn: &mut Turn<'_, T>,
    ) -> Result<Pause, CloseReason> {
        let now = turn.now.monotonic;
        if let Some(unsent) = &mut self.unsent {
            let limits = turn.context.write_stall_limits();
            let acknowledged = acknowledged(self.sent_bytes, turn.io)?;
            if unsent
                .stall_detector
                .has_stalled(acknowledged, now, &limits)
            {
                turn.io.abort();
                return Err(CloseReason::WriteTimeout);
            }
            return Ok(Pause::Wait);
        }
        if turn.context.mode() == Mode::Stopping {
            return self.stop(turn);
        }
        match &mut self.phase {
            Phase::Idle { .. } | Phase::Unacknowledged(_) if turn.io.has_incomplete_record() => {
                self.note_begun(None, now);
                Ok(Pause::Wait)
            }
            Phase::Idle { .. } | Phase::Unacknowledged(_) => {
                self.check_idle(turn).map(|()| Pause::Wait)
            }
            Phase::Head { .. } if !has_begun(turn) => {
                self.note_no_request();
                Ok(Pause::Wait)
            }
            Phase::Head { since, .. } => {
                if now < since.plus_secs(turn.context.config.timeouts.head_secs) {
                    return Ok(Pause::Wait);
                }
                self.time_out(CloseReason::HeadTimeout, turn)
            }
            Phase::Body(body) => {
                let limits = turn.context.body_stall_limits();
                let is_due = now >= body.stall_detector.deadline(&limits);
                if !is_due || !body.stall_detector.has_stalled(body.received, now, &limits) {
                    return Ok(Pause::Wait);
                }
                self.time_out(CloseReason::BodyTimeout, turn)
            }
            // `linger`, `proxy_header` and `handshake` check their own deadlines. A refused connection has none.
            Phase::ProxyHeader | Phase::Handshake | Phase::Linger(_) | Phase::Refused => {
                Ok(Pause::Wait)
            }
        }
    }

    /// Answers 408 and closes (RFC 9110 section 15.5.9).
    fn time_out<T: Transport>(
        &mut self,
        reason: CloseReason,
        turn: &mut Turn<'_, T>,
    ) -> Result<Pause, CloseReason> {
        let reject = Reject {
            status: Status::REQUEST_TIMEOUT,
            reason: "The request did not arrive completely in time.",
            method: self.method(),
        };
        self.reject(&reject, reason, turn);
        self.close_after_flush(turn)
    }

    pub(super) fn close_after_flush<T: Transport>(
        &mut self,
        turn: &mut Turn<'_, T>,
    ) -> Result<Pause, CloseReason> {
        match self.flush(None, turn)? {
            SendProgress::Done => self.begin_linger(false, turn),
            SendProgress::Paused(pause) => Ok(pause),
        }
    }

    /// Completes the log and the counters of a connection that ends.
    fn finish<T: Transport>(&mut self, reason: CloseReason, turn: &mut Turn<'_, T>) {
        // A connection that lingered did this with its FIN.
        self.settle_promise(reason, turn);
        // An unfinished response must not look like a complete one.
        if self.unsent.is_none()
            && !matches!(reason, CloseReason::Reset | CloseReason::WriteTimeout)
        {
            turn.io.send_close_notify();
        }
        self.end_unsent(reason, turn.buffers);
        turn.buffers.counters.closed(reason, self.answered);
    }
}

/// Whether the peer has sent a part of a request, or of a TLS record that may hold one.
fn has_begun<T: Transport>(turn: &Turn<'_, T>) -> bool {
    contain_request(turn.buffers.input.unread()) || turn.io.has_incomplete_record()
}
