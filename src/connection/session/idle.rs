//! The idle timeout. The client measures it too: T counts from the moment when the peer has acknowledged the
//! last byte of the response, not from the moment when our kernel took that byte.

use super::promise::evictable_from;
use super::sending::acknowledged;
use super::state::{
    AckState, PROXY_HEADER_SECS, Phase, Session, Turn, Unacknowledged, first_ack_check,
};
use crate::clock::Millis;
use crate::config::IdleClose;
use crate::connection::counters::CloseReason;
use crate::connection::deadline::Deadline;
use crate::connection::output::Pause;
use crate::connection::server_context::{Mode, ServerContext};
use crate::connection::stall_detector::StallDetector;
use crate::connection::transport::Transport;

/// Milliseconds after which a connection without a first request may be closed under pressure. They leave
/// time for a first request over a slow line.
pub const SILENT_MILLIS: u64 = 1000;

/// Milliseconds instead of [`SILENT_MILLIS`] at the limit itself: the new connection may have sent its
/// request already.
pub const SILENT_AT_LIMIT_MILLIS: u64 = 250;

impl Session {
    /// Ends an idle connection if its timeout has passed or its place is needed. The socket was read just now
    /// and is empty.
    pub(super) fn check_idle<T: Transport>(
        &mut self,
        turn: &mut Turn<'_, T>,
    ) -> Result<(), CloseReason> {
        let Some(since) = self.acknowledged_since(turn)? else {
            return Ok(());
        };
        let (context, now) = (turn.context, turn.now.monotonic);
        if self.answered == 0 {
            return self.check_first(since, turn);
        }
        let close_at = self.promise.idle_close_at(since, context);
        if now >= close_at && Self::timeout_closes(context) {
            self.close_idle(CloseReason::Idle, turn)
        } else if now >= evictable_from(close_at, context.grace_secs(since))
            && self.is_under_pressure(context)
        {
            self.close_idle(CloseReason::Pressure, turn)
        } else {
            Ok(())
        }
    }

    /// Notes that what has begun to arrive was no request: a TLS record without content, or with empty lines alone.
    /// The connection is idle, as it was before. Whether its last response was acknowledged is forgotten, so T + grace
    /// may begin again.
    #[cold]
    pub(super) fn note_no_request(&mut self) {
        if let Phase::Head {
            since, idle_millis, ..
        } = self.phase
        {
            self.phase = Phase::Idle {
                since: Millis(since.0.saturating_sub(u64::from(idle_millis))),
                ack: match self.answered {
                    0 => AckState::Acknowledged,
                    _ => AckState::Unchecked,
                },
            };
        }
    }

    /// Ends a connection that is open since `since` and has sent no request, if its timeout has passed or
    /// its place is needed. The server has promised and sent nothing to it, so it is closed at once.
    fn check_first<T: Transport>(
        &self,
        since: Millis,
        turn: &Turn<'_, T>,
    ) -> Result<(), CloseReason> {
        let (context, now) = (turn.context, turn.now.monotonic);
        if now >= since.plus_secs(context.config.timeouts.head_secs) {
            return Err(CloseReason::Idle);
        }
        self.check_silence(now.since(since), context)
    }

    /// Ends a connection that has been silent for `silent_millis`, if its place is needed.
    pub(super) fn check_silence(
        &self,
        silent_millis: u64,
        context: &ServerContext,
    ) -> Result<(), CloseReason> {
        let is_evicted = silent_millis >= SILENT_MILLIS && self.is_under_pressure(context)
            || silent_millis >= SILENT_AT_LIMIT_MILLIS && self.is_full(context);
        if is_evicted {
            Err(CloseReason::Pressure)
        } else {
            Ok(())
        }
    }

    /// Whether T + grace ends an idle connection. With `keep_alive.close` = "pressure" it does so only while
    /// the server drains.
    fn timeout_closes(context: &ServerContext) -> bool {
        context.config.keep_alive.close == IdleClose::Timeout || context.mode() != Mode::Serving
    }

    /// Ends the connection because the server stops. The socket was read just now and is empty.
    pub(super) fn stop<T: Transport>(
        &mut self,
        turn: &mut Turn<'_, T>,
    ) -> Result<Pause, CloseReason> {
        if let Phase::Idle { .. } | Phase::Unacknowledged(_) = self.phase {
            self.close_idle(CloseReason::Stop, turn)?;
            return Ok(Pause::Wait);
        }
        self.closing = Some(CloseReason::Stop);
        self.begin_linger(false, turn)
    }

    /// The time since when the connection is idle; `None` if the last response is not known to have arrived.
    fn acknowledged_since<T: Transport>(
        &mut self,
        turn: &mut Turn<'_, T>,
    ) -> Result<Option<Millis>, CloseReason> {
        let now = turn.now.monotonic;
        let unchecked_since = match &self.phase {
            Phase::Idle { since, ack } => match ack {
                AckState::ThisTurn => return Ok(None),
                AckState::Unchecked if now < first_ack_check(turn.context, *since) => {
                    return Ok(None);
                }
                AckState::Acknowledged => return Ok(Some(*since)),
                AckState::Unchecked => Some(*since),
            },
            Phase::Unacknowledged(_) => None,
            _ => return Ok(None),
        };
        let acknowledged = acknowledged(self.sent_bytes, turn.io)?;
        if acknowledged < self.sent_bytes {
            self.await_acknowledgement(acknowledged, unchecked_since, turn)?;
            return Ok(None);
        }
        let since = match unchecked_since {
            None => now,
            // If busy workers delay the check, it proves less: the acknowledgement may be as old as the
            // response or quite recent. Counting from `ack_check_millis` ago still leaves T, and the rest of
            // grace, from now.
            Some(since) => {
                let ack_check_millis = turn.context.config.keep_alive.first_ack_check_millis();
                Millis(now.0.saturating_sub(ack_check_millis)).max(since)
            }
        };
        self.phase = Phase::Idle {
            since,
            ack: AckState::Acknowledged,
        };
        Ok(Some(since))
    }

    /// Goes on waiting for the acknowledgement of the last response, of which the peer has `acknowledged` some.
    /// `sent_at` is its time if this is the first check.
    #[cold]
    fn await_acknowledgement<T: Transport>(
        &mut self,
        acknowledged: u64,
        sent_at: Option<Millis>,
        turn: &mut Turn<'_, T>,
    ) -> Result<(), CloseReason> {
        if let Some(since) = sent_at {
            self.phase = Phase::Unacknowledged(Box::new(Unacknowledged {
                since,
                // How many bytes arrived since the response is unknown, so the detector starts at 0.
                stall_detector: StallDetector::start(0, since),
            }));
        }
        let (now, limits) = (turn.now.monotonic, turn.context.write_stall_limits());
        if let Phase::Unacknowledged(unacknowledged) = &mut self.phase
            && unacknowledged
                .stall_detector
                .has_stalled(acknowledged, now, &limits)
        {
            turn.io.abort();
            return Err(CloseReason::WriteTimeout);
        }
        Ok(())
    }
}

/// The time from which a connection whose last turn left `deadline` may be closed because the server or its
/// address is under pressure; `None` if it may not. After a reload the time may be too early: the session
/// decides by the promise that its client was told.
#[must_use]
pub fn evictable_at(context: &ServerContext, deadline: Deadline) -> Option<Millis> {
    match deadline {
        Deadline::Idle(close_at) | Deadline::IdleUntilDrain(close_at) => Some(evictable_from(
            close_at,
            context.config.keep_alive.grace_secs,
        )),
        _ => silent_since(context, deadline)
            .map(|since| Millis(since.0.saturating_add(SILENT_MILLIS))),
    }
}

/// The time when the connection whose last turn left `deadline` was accepted, or its TLS handshake ended if that is
/// complete; `None` if it has sent some of a request ([`Deadline::is_silent`]).
#[must_use]
pub fn silent_since(context: &ServerContext, deadline: Deadline) -> Option<Millis> {
    let secs = match deadline {
        Deadline::ProxyHeader(_) => PROXY_HEADER_SECS,
        Deadline::Handshake(_) => context.config.timeouts.handshake_secs,
        Deadline::First(_) => context.config.timeouts.head_secs,
        _ => return None,
    };
    let millis = u64::from(secs) * 1000;
    Some(Millis(deadline.at().0.saturating_sub(millis)))
}
