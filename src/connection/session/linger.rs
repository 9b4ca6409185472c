//! The lingering close (RFC 9112 section 9.6): sends FIN, reads until the peer has seen it, then closes.
//!
//! If a socket closes while it has unread bytes, or receives bytes later, the kernel sends a reset. Then the
//! peer's kernel discards what its application has not read: our last response. So a connection closes only
//! after the peer's FIN, a timeout, or [`MAX_DISCARDED_BYTES`].
//!
//! There is one exception. A client that has said `close` sends nothing after that request. If all of its bytes are
//! read, and the response is small, the connection closes at once. The kernel delivers the unsent bytes and the FIN. Over
//! TLS the client still sends its own alert, so this holds without TLS only. Under pressure and in a drain such a
//! connection lingers too: what closes before its client has the response is counted by no limit but the kernel's
//! (tcp_max_orphans, tcp(7)).

use std::io;

use super::server_close::{contain_request, is_unforeseen};
use super::state::{Lingering, Phase, Session, Turn};
use crate::connection::counters::CloseReason;
use crate::connection::output::Pause;
use crate::connection::server_context::Mode;
use crate::connection::stall_detector::StallDetector;
use crate::connection::transport::Transport;
use crate::http::scheme::Scheme;

/// Bytes read after our FIN before the connection closes in any case.
const MAX_DISCARDED_BYTES: u64 = 64 * 1024 * 1024;

/// The most bytes sent on a connection that closes at once. The kernel sends that many without an acknowledgement (RFC
/// 6928: ten segments), so it seldom holds them for a client that does not read. Only `timeouts.write` would bound
/// that, and it ends with the connection.
const MAX_UNLINGERED_BYTES: u64 = 14 * 1024;

/// Our FIN counts as this many unacknowledged bytes (`c_calls::unacknowledged`).
const FIN: u64 = 1;

/// Receives per turn.
const READS_PER_TURN: u32 = 16;

impl Session {
    /// Closes an idle connection whose socket has no bytes (RFC 9112 section 9.5), so no request is known to
    /// be lost. If no response was ever sent, a reset can destroy none, and the connection does not linger.
    pub(super) fn close_idle<T: Transport>(
        &mut self,
        reason: CloseReason,
        turn: &mut Turn<'_, T>,
    ) -> Result<(), CloseReason> {
        if self.answered == 0 {
            return Err(reason);
        }
        self.closing = Some(reason);
        self.send_fin(true, turn)
    }

    /// Closes after the last response, which the kernel has taken whole; `closing` holds the reason. If
    /// `is_socket_empty`, the last receive emptied the socket: an event will announce further bytes and the
    /// peer's FIN, so there is no need to receive now.
    pub(super) fn begin_linger<T: Transport>(
        &mut self,
        is_socket_empty: bool,
        turn: &mut Turn<'_, T>,
    ) -> Result<Pause, CloseReason> {
        if self.may_close_at_once(turn) && (is_socket_empty || receives_nothing(turn)) {
            return Err(self.closing.unwrap_or(CloseReason::ClientAsked));
        }
        self.send_fin(false, turn)?;
        if is_socket_empty {
            return Ok(Pause::Wait);
        }
        self.linger(turn)
    }

    /// Whether the client may send no byte to which a reset would be the answer.
    fn may_close_at_once<T: Transport>(&self, turn: &Turn<'_, T>) -> bool {
        let is_busy = turn.context.mode() != Mode::Serving || self.is_under_pressure(turn.context);
        self.facts.sends_no_more()
            && !is_busy
            && self.sent_bytes <= MAX_UNLINGERED_BYTES
            && turn.buffers.input.unread().is_empty()
            && turn.io.scheme() == Scheme::Http
    }

    fn send_fin<T: Transport>(
        &mut self,
        was_idle: bool,
        turn: &mut Turn<'_, T>,
    ) -> Result<(), CloseReason> {
        let reason = self.closing.unwrap_or(CloseReason::ClientClosed);
        // A client may send more if it was idle or could not expect a `close`.
        let mut may_cross = was_idle || is_unforeseen(reason);
        if may_cross && contain_request(turn.buffers.input.unread()) {
            count_race(reason, turn);
            may_cross = false;
        }
        // After both FINs there is nothing to wait for; the kernel delivers the rest.
        if self.facts.has_closed() {
            return Err(reason);
        }
        turn.io.shutdown_write().map_err(|_| reason)?;
        let unread = turn.buffers.input.unread().len();
        turn.buffers.input.consume(unread);
        self.settle_promise(reason, turn);
        let since = turn.now.monotonic;
        self.phase = Phase::Linger(Box::new(Lingering {
            since,
            discarded_bytes: 0,
            may_cross,
            stall_detector: None,
        }));
        Ok(())
    }

    /// Reads and discards received bytes.
    pub(super) fn linger<T: Transport>(
        &mut self,
        turn: &mut Turn<'_, T>,
    ) -> Result<Pause, CloseReason> {
        let reason = self.closing.unwrap_or(CloseReason::ClientClosed);
        let Phase::Linger(linger) = &mut self.phase else {
            return Err(reason);
        };
        for _ in 0..READS_PER_TURN {
            let space = turn.buffers.input.space();
            match turn.io.recv(space) {
                Ok(0) => return Err(reason),
                Ok(count) => {
                    if linger.may_cross && contain_request(&space[..count]) {
                        count_race(reason, turn);
                        linger.may_cross = false;
                    }
                    linger.discarded_bytes += count as u64;
                    if linger.discarded_bytes > MAX_DISCARDED_BYTES {
                        return Err(reason);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.check_linger(reason, turn).map(|()| Pause::Wait);
                }
                Err(_) => return Err(reason),
            }
        }
        Ok(Pause::Again)
    }

    fn check_linger<T: Transport>(
        &mut self,
        reason: CloseReason,
        turn: &mut Turn<'_, T>,
    ) -> Result<(), CloseReason> {
        let now = turn.now.monotonic;
        let Phase::Linger(linger) = &mut self.phase else {
            return Err(reason);
        };
        if now
            < linger
                .since
                .plus_secs(turn.context.config.timeouts.linger_secs)
        {
            return Ok(());
        }
        // A slow reader may still be taking the response, within the limits for every response.
        let unacknowledged = turn.io.unacknowledged().map_err(|_| CloseReason::Reset)?;
        if unacknowledged <= FIN {
            return Err(reason);
        }
        let acknowledged = self.sent_bytes.saturating_sub(unacknowledged - FIN);
        let since = linger.since;
        let stall_detector = linger
            .stall_detector
            .get_or_insert_with(|| Box::new(StallDetector::start(0, since)));
        if stall_detector.has_stalled(acknowledged, now, &turn.context.write_stall_limits()) {
            turn.io.abort();
            return Err(reason);
        }
        Ok(())
    }
}

/// Receives once. Returns whether nothing has come, or the FIN.
fn receives_nothing<T: Transport>(turn: &mut Turn<'_, T>) -> bool {
    match turn.io.recv(turn.buffers.input.space()) {
        Ok(count) => {
            turn.buffers.input.received(count);
            count == 0
        }
        // Another error ends the connection too.
        Err(_) => true,
    }
}

/// Counts a request that crosses with our close and is lost.
fn count_race<T>(reason: CloseReason, turn: &Turn<'_, T>) {
    turn.buffers.counters.keep_alive_race();
    log::debug!("a request crosses with the close ({})", reason.name());
}
