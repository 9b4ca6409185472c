//! The lingering close (RFC 9112 section 9.6): FIN, read on until the peer has seen it, then close.
//!
//! Closing a socket with unread bytes, or one to which bytes still come, makes the kernel send a
//! reset, and a reset makes the peer's kernel throw away what it has not handed to its application:
//! our last answer. So nothing is closed before the peer's FIN, a timeout, or a flood.

use std::io;

use super::retirement::{hold_a_request, is_unforeseen};
use super::state::{Lingering, Phase, Session, Turn};
use crate::connection::counters::CloseReason;
use crate::connection::output::Pause;
use crate::connection::stall_detector::StallDetector;
use crate::connection::transport::Transport;

/// Bytes read after our FIN before the connection is closed all the same.
const MAX_DRAINED_BYTES: u64 = 64 * 1024 * 1024;

/// What our FIN counts among the unacknowledged bytes (`c_calls::unacknowledged`).
const FIN: u64 = 1;

/// Receives per turn.
const READS_PER_TURN: u32 = 16;

impl Session {
    /// Closes an idle connection, which the socket has nothing for (RFC 9112 section 9.5): as far as
    /// anybody here can know, no request is lost. If nothing was ever sent there is no answer that a
    /// reset could destroy, so the connection does not linger.
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

    /// Closes after the last answer, all of which has been handed to the kernel. `closing` says why.
    /// `is_drained` says that the last receive left nothing in the socket: whatever comes now, the
    /// peer's FIN before all, is announced, so there is no need to look.
    pub(super) fn begin_linger<T: Transport>(
        &mut self,
        is_drained: bool,
        turn: &mut Turn<'_, T>,
    ) -> Result<Pause, CloseReason> {
        self.send_fin(false, turn)?;
        if is_drained {
            return Ok(Pause::Wait);
        }
        self.linger(turn)
    }

    fn send_fin<T: Transport>(
        &mut self,
        was_idle: bool,
        turn: &mut Turn<'_, T>,
    ) -> Result<(), CloseReason> {
        let reason = self.closing.unwrap_or(CloseReason::ClientClosed);
        // Only an idle client, and one that had to expect no `close`, was free to send more.
        let mut may_cross = was_idle || is_unforeseen(reason);
        if may_cross && hold_a_request(turn.buffers.input.unread()) {
            count_race(reason, turn);
            may_cross = false;
        }
        // With both FINs exchanged there is nothing to wait for; the kernel delivers the rest.
        if self.peer_has_closed {
            return Err(reason);
        }
        turn.io.shutdown_write().map_err(|_| reason)?;
        let unread = turn.buffers.input.unread().len();
        turn.buffers.input.consume(unread);
        self.settle_promise(reason, turn);
        let since = turn.now.monotonic;
        self.phase = Phase::Linger(Box::new(Lingering {
            since,
            drained_bytes: 0,
            may_cross,
            stall_detector: None,
        }));
        Ok(())
    }

    /// Reads and drops what still comes.
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
                    if linger.may_cross && hold_a_request(&space[..count]) {
                        count_race(reason, turn);
                        linger.may_cross = false;
                    }
                    linger.drained_bytes += count as u64;
                    if linger.drained_bytes > MAX_DRAINED_BYTES {
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
        // A slow reader may still be taking the answer: it has as long as any other.
        let unacknowledged = turn.io.unacknowledged().map_err(|_| CloseReason::Reset)?;
        if unacknowledged <= FIN {
            return Err(reason);
        }
        let delivered = self.sent_bytes.saturating_sub(unacknowledged - FIN);
        let since = linger.since;
        let stall_detector = linger
            .stall_detector
            .get_or_insert_with(|| Box::new(StallDetector::start(0, since)));
        if stall_detector.has_stalled(delivered, now, &turn.context.write_stall_limits()) {
            turn.io.abort();
            return Err(reason);
        }
        Ok(())
    }
}

/// Counts a request that crosses with our close, and is lost.
fn count_race<T>(reason: CloseReason, turn: &Turn<'_, T>) {
    turn.buffers.counters.keep_alive_race();
    log::debug!("a request crosses with the close ({})", reason.name());
}
