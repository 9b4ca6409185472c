//! The end of a connection for reasons that are not the client's: the server drains, places are short, or
//! the connection is old.
//!
//! The client learns of it by `Connection: close` on an answer (RFC 9112 section 9.6), and may have sent
//! further requests before that answer reaches it. Those that have been received already are still
//! answered, up to [`MAX_ANSWERS`]: `close` goes on the answer to the last of them. So before an answer
//! says `close`, the session looks at what follows its request in the buffer, and asks the socket once.

use super::Session;
use crate::clock::Millis;
use crate::connection::counters::CloseReason;
use crate::connection::occupancy::Occupancy;
use crate::connection::service::{Mode, Service};
use crate::http::framing::{BodyDecoder, Framing};
use crate::http::request::{Parsed, parse_head};

/// Answers that a connection gives after it became known that it retires, the last one included.
const MAX_ANSWERS: u8 = 64;

/// Whether the answer to the request at hand is to be the last one, for reasons that are not the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retirement {
    /// Nothing asks for it.
    None,
    /// Not yet: another complete request has been received.
    Later,
    /// The buffer holds no other complete request, but the socket may.
    Unknown,
    /// It is the last one.
    Now(CloseReason),
}

impl Session {
    /// What becomes of the connection with the answer to the request that ends where `behind` begins.
    /// `has_looked` says that the socket has been asked for more.
    pub(super) fn retirement(
        &self,
        behind: &[u8],
        has_looked: bool,
        service: &Service,
        now: Millis,
    ) -> Retirement {
        let Some(reason) = self.reason_to_retire(service, now) else {
            return Retirement::None;
        };
        if self.answers_retiring + 1 >= MAX_ANSWERS {
            Retirement::Now(reason)
        } else if begins_with_request(behind, service) {
            Retirement::Later
        } else if has_looked {
            Retirement::Now(reason)
        } else {
            Retirement::Unknown
        }
    }

    fn reason_to_retire(&self, service: &Service, now: Millis) -> Option<CloseReason> {
        let max_age_millis = u64::from(service.config.keep_alive.max_age_secs) * 1000;
        if service.mode() != Mode::Serving {
            Some(CloseReason::Drain)
        } else if max_age_millis > 0 && now.since(self.opened_at) >= max_age_millis {
            Some(CloseReason::MaxAge)
        } else if self.is_pressed(service) {
            Some(CloseReason::Pressure)
        } else {
            None
        }
    }

    /// Whether connections should go, here or at the peer's address.
    pub(super) fn is_pressed(&self, service: &Service) -> bool {
        let neighbours = self.neighbours.as_deref();
        service.occupancy.is_pressing() || neighbours.is_some_and(Occupancy::is_pressing)
    }

    /// Whether a limit that concerns the connection is reached, so that newcomers have no place.
    pub(super) fn is_full(&self, service: &Service) -> bool {
        let neighbours = self.neighbours.as_deref();
        service.occupancy.is_full() || neighbours.is_some_and(Occupancy::is_full)
    }
}

/// Whether `bytes` begin with a valid request that is there to its end, its body included.
fn begins_with_request(bytes: &[u8], service: &Service) -> bool {
    // Rare enough to allocate.
    let mut spans = Vec::new();
    let Ok(Parsed::Complete { head, consumed }) =
        parse_head(bytes, &service.head_limits(), &mut spans)
    else {
        return false;
    };
    match head.framing {
        Framing::None | Framing::Length(0) => true,
        framing => BodyDecoder::new(framing, service.config.limits.body_bytes)
            .and_then(|mut decoder| decoder.decode(&bytes[consumed..]))
            .is_ok_and(|decoded| decoded.done),
    }
}

/// Whether a client whose connection ends for `reason` may have sent a request that it had been told was
/// welcome: one that is dropped then is a race between the two ends.
pub(super) fn may_race(reason: CloseReason) -> bool {
    matches!(
        reason,
        CloseReason::Drain | CloseReason::MaxAge | CloseReason::Pressure
    )
}
