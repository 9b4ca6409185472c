//! The idle clock. It is the client's: T counts from the moment the peer has acknowledged the last
//! byte of the answer, not from the moment our kernel took it.

use super::{Outcome, Phase, Session, Turn, delivered};
use crate::clock::Millis;
use crate::config::IdleClose;
use crate::connection::counters::CloseReason;
use crate::connection::deadline::Deadline;
use crate::connection::pace::Pace;
use crate::connection::service::Service;
use crate::connection::transport::Transport;

/// How long a request that a client sends in the last moment of its T may be on its way, even under
/// pressure: the least grace that can be configured.
const LEAST_GRACE_SECS: u32 = 1;

/// How much is known of the last answer's way to the peer. No event tells when it has arrived, and
/// asking costs a call. So it is asked once, within grace of the answer: if all is acknowledged by
/// then, the deadline counted from the answer keeps the promise. If not, it is asked again, and
/// T + grace counts from the first time that it is.
#[derive(Debug)]
pub(super) enum Delivery {
    /// Answered in this turn; [`Session::rest`] stamps the time.
    Fresh,
    /// Not asked yet.
    Unknown,
    /// Asked, and something was outstanding.
    Outstanding(Box<Pace>),
    /// All acknowledged, or nothing was ever sent: `since` counts.
    Confirmed,
}

impl Delivery {
    /// Ends a turn of an idle connection at `now`; [`Session::rest`] for this phase.
    pub(super) fn rest(&mut self, since: &mut Millis, service: &Service, now: Millis) -> Deadline {
        match self {
            Delivery::Fresh => {
                *since = now;
                *self = Delivery::Unknown;
                Deadline::Settling(first_look(service, now))
            }
            Delivery::Unknown => Deadline::Settling(first_look(service, *since)),
            Delivery::Outstanding(pace) => {
                let again = now.plus_secs(service.config.keep_alive.grace_secs);
                Deadline::Settling(again.min(pace.deadline(&service.write_pace())))
            }
            Delivery::Confirmed => Deadline::Idle(reap_at(service, *since)),
        }
    }
}

impl Session {
    /// Looks whether an idle connection has to end. The socket was read just now and is empty.
    pub(super) fn check_idle<T: Transport>(
        &mut self,
        turn: &mut Turn<'_, T>,
    ) -> Result<Outcome, CloseReason> {
        let Some(since) = self.confirm_delivery(turn)? else {
            return Ok(Outcome::Wait);
        };
        let (service, now) = (turn.service, turn.now.monotonic);
        let is_over = now >= reap_at(service, since);
        let reason = match service.config.keep_alive.close {
            IdleClose::Timeout if is_over => CloseReason::Idle,
            _ if now >= evictable_at(service, since) && self.is_pressed(service) => {
                CloseReason::Pressure
            }
            _ => return Ok(Outcome::Wait),
        };
        // RFC 9112 section 9.5: as far as anybody here can know, no request is lost.
        self.closing = Some(reason);
        self.begin_linger(turn)
    }

    /// Since when the connection is idle, if the last answer is known to have arrived.
    fn confirm_delivery<T: Transport>(
        &mut self,
        turn: &mut Turn<'_, T>,
    ) -> Result<Option<Millis>, CloseReason> {
        let now = turn.now.monotonic;
        let grace_millis = u64::from(turn.service.config.keep_alive.grace_secs) * 1000;
        let Phase::Idle { since, delivery } = &mut self.phase else {
            return Ok(None);
        };
        match delivery {
            Delivery::Fresh => return Ok(None),
            Delivery::Unknown if now < first_look(turn.service, *since) => return Ok(None),
            Delivery::Confirmed => return Ok(Some(*since)),
            Delivery::Unknown | Delivery::Outstanding(_) => {}
        }
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
            return Ok(None);
        }
        *since = match delivery {
            Delivery::Outstanding(_) => now,
            // A look that comes late, because the pool was held up, proves less: the acknowledgement
            // is at most as old as the answer. Counting from grace ago still leaves T from now.
            _ => Millis(now.0.saturating_sub(grace_millis)).max(*since),
        };
        *delivery = Delivery::Confirmed;
        Ok(Some(*since))
    }

    /// Whether stopping now breaks a promise: a further request is announced as welcome, or has begun.
    pub(super) fn is_promised(&self, service: &Service, now: Millis) -> bool {
        match &self.phase {
            Phase::Idle { since, .. } => {
                let promised = since.plus_secs(service.config.keep_alive.timeout_secs);
                self.answered > 0 && now < promised
            }
            Phase::Head { .. } | Phase::Body(_) => true,
            Phase::Linger(_) | Phase::Refused => false,
        }
    }
}

/// When an idle connection whose T + grace ends at `reaped_at` may be closed because others need
/// its place.
#[must_use]
pub fn evictable(service: &Service, reaped_at: Millis) -> Millis {
    let grace_secs = service.config.keep_alive.grace_secs;
    let early_millis = u64::from(grace_secs.saturating_sub(LEAST_GRACE_SECS)) * 1000;
    Millis(reaped_at.0.saturating_sub(early_millis))
}

fn evictable_at(service: &Service, since: Millis) -> Millis {
    evictable(service, reap_at(service, since))
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
