//! The idle clock. It is the client's: T counts from the moment the peer has acknowledged the last
//! byte of the answer, not from the moment our kernel took it.

use super::sending::delivered;
use super::state::{Delivery, Phase, Session, Turn, first_look, reap_at};
use crate::clock::Millis;
use crate::config::IdleClose;
use crate::connection::counters::CloseReason;
use crate::connection::deadline::Deadline;
use crate::connection::output::Pause;
use crate::connection::server_context::{Mode, ServerContext};
use crate::connection::stall_detector::StallDetector;
use crate::connection::transport::Transport;

/// How long a request that a client sends in the last moment of its T may be on its way, even under
/// pressure: the least grace that can be configured.
const LEAST_GRACE_SECS: u32 = 1;

/// Milliseconds after which a connection that has never asked for anything has no claim to its place
/// under pressure: time for the first request over a slow line.
pub const SILENT_MILLIS: u64 = 1000;

/// Milliseconds of silence at the limit itself, against a newcomer whose request is there already.
pub const SILENT_AT_LIMIT_MILLIS: u64 = 250;

impl Session {
    /// Looks whether an idle connection has to end. The socket was read just now and is empty.
    pub(super) fn check_idle<T: Transport>(
        &mut self,
        turn: &mut Turn<'_, T>,
    ) -> Result<(), CloseReason> {
        let Some(since) = self.confirm_delivery(turn)? else {
            return Ok(());
        };
        let (context, now) = (turn.context, turn.now.monotonic);
        if self.answered == 0 {
            return self.check_first(since, turn);
        }
        let reaped_at = reap_at(context, since);
        if now >= reaped_at && Self::is_reaped_by_age(context) {
            self.close_idle(CloseReason::Idle, turn)
        } else if now >= idle_evictable_at(context, reaped_at) && self.is_pressed(context) {
            self.close_idle(CloseReason::Pressure, turn)
        } else {
            Ok(())
        }
    }

    /// Looks whether a connection that was accepted at `since` and has never asked for anything has to
    /// end. It was promised nothing and sent nothing, so it is closed without a word and at once.
    fn check_first<T: Transport>(
        &self,
        since: Millis,
        turn: &Turn<'_, T>,
    ) -> Result<(), CloseReason> {
        let (context, now) = (turn.context, turn.now.monotonic);
        let silent_millis = now.since(since);
        let is_late = now >= since.plus_secs(context.config.timeouts.head_secs);
        let is_in_the_way = silent_millis >= SILENT_MILLIS && self.is_pressed(context)
            || silent_millis >= SILENT_AT_LIMIT_MILLIS && self.is_full(context);
        if is_late {
            Err(CloseReason::Idle)
        } else if is_in_the_way {
            Err(CloseReason::Pressure)
        } else {
            Ok(())
        }
    }

    /// Whether T + grace ends an idle connection. With `keep_alive.close` = "pressure" it does only if
    /// the server drains.
    fn is_reaped_by_age(context: &ServerContext) -> bool {
        context.config.keep_alive.close == IdleClose::Timeout || context.mode() != Mode::Serving
    }

    /// Ends the connection because the server stops. The socket was read just now and is empty.
    pub(super) fn stop<T: Transport>(
        &mut self,
        turn: &mut Turn<'_, T>,
    ) -> Result<Pause, CloseReason> {
        if let Phase::Idle { .. } = self.phase {
            self.close_idle(CloseReason::Stop, turn)?;
            return Ok(Pause::Wait);
        }
        self.closing = Some(CloseReason::Stop);
        self.begin_linger(false, turn)
    }

    /// Since when the connection is idle, if the last answer is known to have arrived.
    fn confirm_delivery<T: Transport>(
        &mut self,
        turn: &mut Turn<'_, T>,
    ) -> Result<Option<Millis>, CloseReason> {
        let now = turn.now.monotonic;
        let look_millis = turn.context.config.keep_alive.first_look_millis();
        let Phase::Idle { since, delivery } = &mut self.phase else {
            return Ok(None);
        };
        match delivery {
            Delivery::Fresh => return Ok(None),
            Delivery::Unknown if now < first_look(turn.context, *since) => return Ok(None),
            Delivery::Confirmed => return Ok(Some(*since)),
            Delivery::Unknown | Delivery::Outstanding(_) => {}
        }
        let delivered = delivered(self.sent_bytes, turn.io)?;
        if delivered < self.sent_bytes {
            let start = *since;
            if let Delivery::Unknown = delivery {
                // Nothing is known of the time since the answer but that some may have moved.
                *delivery = Delivery::Outstanding(Box::new(StallDetector::start(0, start)));
            }
            if let Delivery::Outstanding(stall_detector) = delivery
                && stall_detector.has_stalled(delivered, now, &turn.context.write_stall_limits())
            {
                turn.io.abort();
                return Err(CloseReason::WriteTimeout);
            }
            return Ok(None);
        }
        *since = match delivery {
            Delivery::Outstanding(_) => now,
            // A look that comes late, because the pool was held up, proves less: the acknowledgement
            // is at most as old as the answer. Counting from half of grace ago still leaves T and the
            // other half from now.
            _ => Millis(now.0.saturating_sub(look_millis)).max(*since),
        };
        *delivery = Delivery::Confirmed;
        Ok(Some(*since))
    }
}

/// From when on a connection whose last turn left `deadline` may be closed because the server or its
/// address is under pressure; `None` if its place is not to be had.
#[must_use]
pub fn evictable_at(context: &ServerContext, deadline: Deadline) -> Option<Millis> {
    match deadline {
        Deadline::First(late_at) => Some(Millis(
            silent_since(context, late_at)
                .0
                .saturating_add(SILENT_MILLIS),
        )),
        Deadline::Idle(reaped_at) | Deadline::Parked(reaped_at) => {
            Some(idle_evictable_at(context, reaped_at))
        }
        Deadline::Exchange(_) | Deadline::Settling(_) | Deadline::Linger(_) => None,
    }
}

/// When a connection with [`Deadline::First`] at `late_at` was accepted.
#[must_use]
pub fn silent_since(context: &ServerContext, late_at: Millis) -> Millis {
    let head_millis = u64::from(context.config.timeouts.head_secs) * 1000;
    Millis(late_at.0.saturating_sub(head_millis))
}

/// When an idle connection whose T + grace ends at `reaped_at` may be closed because others need
/// its place.
fn idle_evictable_at(context: &ServerContext, reaped_at: Millis) -> Millis {
    // The acknowledgement may be younger than the answer, by what passed before the first look.
    let look_millis = context.config.keep_alive.first_look_millis();
    let early_millis = look_millis.saturating_sub(u64::from(LEAST_GRACE_SECS) * 1000);
    Millis(reaped_at.0.saturating_sub(early_millis))
}
