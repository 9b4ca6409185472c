//! The TLS handshake, with which each connection of some listeners begins.
//!
//! The event loop receives the peer's bytes and leaves the cryptography to a worker, so that a flood of handshakes
//! does not hold up the connections that it serves from memory.

use std::io;

use super::state::{AckState, Phase, Session, Turn};
use crate::clock::Millis;
use crate::connection::counters::{CloseReason, HandshakeOutcome};
use crate::connection::deadline::Deadline;
use crate::connection::output::Pause;
use crate::connection::server_context::{Mode, ServerContext};
use crate::connection::transport::{Computing, HandshakeStep, Transport};
use crate::http::request::Reject;
use crate::http::status::Status;
use crate::site::MayBlock;

/// The response to a client that speaks HTTP without TLS at an address with TLS.
const PLAIN_HTTP: Reject = Reject::new(
    Status::BAD_REQUEST,
    "This port speaks HTTPS: use an address that begins with https://.",
);

impl Session {
    /// Goes on with the handshake, and answers the first requests once it is complete.
    #[cold]
    pub(super) fn continue_handshake<T: Transport>(
        &mut self,
        turn: &mut Turn<'_, T>,
    ) -> Result<Pause, CloseReason> {
        let computing = self.computing(turn);
        let tls = turn.context.tls_for_handshakes().map(|tls| &**tls);
        match turn.io.continue_handshake(tls, computing) {
            Ok(HandshakeStep::Complete(outcome)) => {
                turn.buffers.counters.handshake(outcome);
                self.begin_requests(turn.now.monotonic);
                let pause = self.receive_and_answer(false, turn)?;
                if self.answered == 0 {
                    // Mostly we have nothing to send, and the client may wait for the acknowledgement of its last
                    // message before it sends its request.
                    turn.io.acknowledge();
                }
                Ok(pause)
            }
            Ok(HandshakeStep::Waiting) => self.check_handshake(Pause::Wait, turn),
            Ok(HandshakeStep::NeedsComputing { is_rest }) => {
                turn.buffers.needs_computing = true;
                // The client's part has arrived, and is looked at before the clock.
                if is_rest && turn.context.mode() != Mode::Stopping {
                    return Ok(Pause::Again);
                }
                self.check_handshake(Pause::Again, turn)
            }
            Ok(HandshakeStep::PlainHttp(first)) => self.refuse_plain_http(&first, turn),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                turn.buffers.counters.handshake(HandshakeOutcome::Failed);
                self.end_after_alert(turn)
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(CloseReason::ClientClosed)
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {
                turn.buffers.counters.handshake(HandshakeOutcome::Failed);
                Err(CloseReason::Tls)
            }
            Err(_) => Err(CloseReason::Reset),
        }
    }

    /// The cryptography that this turn may do. A handshake whose connection would be closed next does not begin: in a
    /// flood, all CPU time would go into such ones.
    fn computing<T>(&self, turn: &Turn<'_, T>) -> Computing {
        match self.handshake_end(turn.context, turn.now.monotonic) {
            _ if turn.may_block == MayBlock::Never => Computing::Nothing,
            Some(CloseReason::Stop) => Computing::Nothing,
            Some(_) => Computing::Rest,
            None => Computing::All,
        }
    }

    /// Begins to wait for the first request, as a connection without TLS does when it is accepted.
    fn begin_requests(&mut self, now: Millis) {
        // The client has answered all that it was sent, so nothing is unacknowledged.
        self.phase = Phase::Idle {
            since: now,
            ack: AckState::Acknowledged,
        };
    }

    /// Ends the connection if its handshake is late or its place is needed.
    fn check_handshake<T: Transport>(
        &self,
        pause: Pause,
        turn: &Turn<'_, T>,
    ) -> Result<Pause, CloseReason> {
        let Some(reason) = self.handshake_end(turn.context, turn.now.monotonic) else {
            return Ok(pause);
        };
        if reason == CloseReason::Tls {
            turn.buffers.counters.handshake(HandshakeOutcome::Failed);
        }
        Err(reason)
    }

    /// Why a connection whose handshake is under way has to end, if it has to.
    fn handshake_end(&self, context: &ServerContext, now: Millis) -> Option<CloseReason> {
        if context.mode() == Mode::Stopping {
            return Some(CloseReason::Stop);
        }
        if now >= self.handshake_late_at(context) {
            return Some(CloseReason::Tls);
        }
        self.check_silence(now.since(self.opened_at), context).err()
    }

    /// The deadline of a connection that is queued for a turn: none, but for that of a handshake.
    #[must_use]
    pub fn queued_deadline(&self, context: &ServerContext) -> Deadline {
        match self.phase {
            Phase::Handshake => self.handshake_deadline(context),
            _ => Deadline::Exchange(Millis::NEVER),
        }
    }

    /// When the connection wants its next turn if its peer sends nothing.
    pub(super) fn handshake_deadline(&self, context: &ServerContext) -> Deadline {
        Deadline::Handshake(self.handshake_late_at(context))
    }

    fn handshake_late_at(&self, context: &ServerContext) -> Millis {
        let secs = context.config.timeouts.handshake_secs;
        self.opened_at.plus_secs(secs)
    }

    /// Answers a client that speaks HTTP without TLS with a 400 that it can read. `first` are its first bytes.
    fn refuse_plain_http<T: Transport>(
        &mut self,
        first: &[u8],
        turn: &mut Turn<'_, T>,
    ) -> Result<Pause, CloseReason> {
        turn.io.drop_tls(&mut turn.buffers.records);
        // The line of the access log shows the request.
        let space = turn.buffers.input.space();
        let count = first.len().min(space.len());
        space[..count].copy_from_slice(&first[..count]);
        turn.buffers.input.received(count);
        self.reject(&PLAIN_HTTP, CloseReason::BadRequest, turn);
        self.close_after_flush(turn)
    }

    /// Closes after the peer has broken the rules of TLS. The alert that says how has been sent, if rustls has one.
    #[cold]
    pub(super) fn end_after_alert<T: Transport>(
        &mut self,
        turn: &mut Turn<'_, T>,
    ) -> Result<Pause, CloseReason> {
        self.closing = Some(CloseReason::Tls);
        self.begin_linger(false, turn)
    }
}
