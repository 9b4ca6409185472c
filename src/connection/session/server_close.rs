//! Decides whether a connection persists after a response, and ends it for the server's reasons: a drain, its
//! age, or pressure. Also records whether the promise to the client was kept.
//!
//! The client does not know of such a close before it reads `close`, and may have sent further requests, as
//! the promise allows. So `close` goes on the response to the last complete request in the buffer, after one
//! more receive. A request that arrives later crosses with our `close`, and is counted
//! ([`Counters::keep_alive_race`]).
//!
//! [`Counters::keep_alive_race`]: crate::connection::counters::Counters::keep_alive_race

use super::state::{AckState, Phase, Session, Turn};
use crate::clock::Millis;
use crate::config::KeepAlive;
use crate::connection::counters::CloseReason;
use crate::connection::server_context::{Mode, ServerContext};
use crate::connection::thread_buffers::ThreadBuffers;
use crate::connection::transport::Transport;
use crate::http::body::BodyDecoder;
use crate::http::framing::Framing;
use crate::http::keep_alive::{self, KeepAlivePolicy, Persistence, ends_connection};
use crate::http::method::Method;
use crate::http::request::{HeadProgress, Parsed, RequestHead, resume_head};
use crate::http::status::Status;
use crate::http::version::Version;

/// The most responses from the first that should say `close` to the one that does, both included.
const MAX_RESPONSES: u8 = 64;

/// Whether the server closes the connection after the next response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerClose {
    /// The server has no reason to close.
    None,
    /// The server has a reason, but a further complete request has already been received.
    Postponed,
    /// The next response is the last one.
    Now(CloseReason),
}

/// The outcome of the promise that a further request is welcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PromiseOutcome {
    /// The client was promised nothing.
    None,
    /// The client had its T, or has ended the connection itself.
    Honoured,
    /// The server ended the connection earlier.
    Broken,
}

/// Whether the client learns of a close for this reason only from the `close` in the response. Until then the
/// client was free to send.
pub(super) fn is_unforeseen(reason: CloseReason) -> bool {
    matches!(
        reason,
        CloseReason::Drain | CloseReason::MaxAge | CloseReason::Pressure
    )
}

/// Whether `bytes` hold more than empty lines, which may stand between requests.
pub(super) fn contain_request(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| !matches!(byte, b'\r' | b'\n'))
}

impl Session {
    /// Whether the response to the request at the start of the buffer should be the last one. `len` is that
    /// request's length in bytes if its body has been removed already.
    pub(super) fn server_close<T: Transport>(
        &self,
        len: Option<usize>,
        turn: &mut Turn<'_, T>,
    ) -> ServerClose {
        match self.server_close_reason(turn) {
            None => ServerClose::None,
            Some(_) if self.may_postpone(len, turn) => ServerClose::Postponed,
            Some(reason) => ServerClose::Now(reason),
        }
    }

    /// The server's reason to end the connection.
    fn server_close_reason<T>(&self, turn: &Turn<'_, T>) -> Option<CloseReason> {
        let (context, now) = (turn.context, turn.now.monotonic);
        let lifetime = context.lifetime_of(self.opened_at);
        if context.mode() != Mode::Serving {
            Some(CloseReason::Drain)
        } else if now.since(self.opened_at) >= lifetime.max_age_millis {
            Some(CloseReason::MaxAge)
        } else if lifetime.are_under_pressure(&context.gauge, self.gauge_of_client()) {
            Some(CloseReason::Pressure)
        } else {
            None
        }
    }

    /// Decides whether the connection persists after this response; if not, notes the reason. `server_close`
    /// is `None` if the response replaces 100 (Continue): a body may follow or not.
    pub(super) fn decide_persistence(
        &mut self,
        head: &RequestHead<'_, '_>,
        status: Status,
        context: &ServerContext,
        server_close: Option<ServerClose>,
    ) -> Persistence {
        let Some(server_close) = server_close else {
            self.closing = Some(CloseReason::ErrorAnswer);
            return Persistence::Close;
        };
        let ends_by_kind = ends_connection(head.method, status);
        if server_close == ServerClose::Postponed {
            self.postponed += 1;
        } else {
            self.postponed = 0;
        }
        let keep_alive = &context.config.keep_alive;
        let max = self.promise.requests(keep_alive.max_requests);
        let policy = KeepAlivePolicy {
            http10: keep_alive.http10 || self.promise.allows_more_than(self.answered),
            max_requests: max,
            closing: matches!(server_close, ServerClose::Now(_)),
        };
        let persistence = match keep_alive::decide(head, self.answered, &policy) {
            Persistence::Persist { .. } if ends_by_kind => Persistence::Close,
            persistence => persistence,
        };
        if let Persistence::Persist { .. } = persistence {
            self.promise = self.promise.renewed(keep_alive, max);
        } else {
            self.closing = Some(match server_close {
                _ if ends_by_kind => CloseReason::ErrorAnswer,
                _ if head.connection.close => CloseReason::ClientAsked,
                // The client knew of these reasons in advance.
                _ if head.version == Version::Http10 && !head.connection.keep_alive => {
                    CloseReason::ClientAsked
                }
                _ if self.answered + 1 >= max.get() => CloseReason::MaxRequests,
                ServerClose::Now(reason) => reason,
                _ => CloseReason::ClientAsked,
            });
            let has_no_body =
                matches!(head.method, Method::Get | Method::Head) && head.framing == Framing::None;
            if head.connection.close && has_no_body && !ends_by_kind {
                self.facts.note_last_request();
            }
        }
        persistence
    }

    /// Whether a further request has been received. If the buffer holds none, receives once more.
    #[cold]
    fn may_postpone<T: Transport>(&self, len: Option<usize>, turn: &mut Turn<'_, T>) -> bool {
        if self.postponed + 1 >= MAX_RESPONSES {
            return false;
        }
        let progress = turn.buffers.input.progress().copied();
        let Some(len) = len.or_else(|| request_len(0, progress, turn)) else {
            // This request itself is incomplete, so its response comes later.
            return false;
        };
        request_len(len, None, turn).is_some()
            || (receive_once(turn) && request_len(len, None, turn).is_some())
    }

    /// While the server drains or stops, counts whether the promise was kept.
    pub(super) fn settle_promise<T: Transport>(&self, reason: CloseReason, turn: &Turn<'_, T>) {
        if turn.context.mode() == Mode::Serving {
            return;
        }
        let counters = &turn.buffers.counters;
        match self.promise_outcome(reason, turn.context, turn.now.monotonic) {
            PromiseOutcome::None => {}
            PromiseOutcome::Honoured => counters.promise_honoured(),
            PromiseOutcome::Broken => counters.promise_broken(),
        }
    }

    /// The outcome of the promise if the connection ends now for `reason`. A stop breaks the promise if it
    /// comes before T has passed since the acknowledgement, or within a request.
    fn promise_outcome(
        &self,
        reason: CloseReason,
        context: &ServerContext,
        now: Millis,
    ) -> PromiseOutcome {
        let is_cut_short = match &self.phase {
            Phase::Idle { since, ack } => {
                let promised = self.promise.timeout_at(*since);
                // The acknowledgement may be as recent as the first check for it.
                let ack_check_millis = KeepAlive::ack_check_millis(context.grace_secs(*since));
                let kept_at = Millis(promised.0.saturating_add(ack_check_millis));
                let has_begun = *ack == AckState::Acknowledged;
                self.answered > 0 && (!has_begun || now < kept_at)
            }
            Phase::Unacknowledged(_) | Phase::Head { .. } | Phase::Body(_) => true,
            Phase::ProxyHeader | Phase::Handshake | Phase::Linger(_) | Phase::Refused => {
                return PromiseOutcome::None;
            }
        };
        match reason {
            CloseReason::Stop if is_cut_short => PromiseOutcome::Broken,
            CloseReason::Truncated => PromiseOutcome::Broken,
            // The peer has left before its request was answered.
            CloseReason::Reset | CloseReason::WriteTimeout => PromiseOutcome::None,
            _ if self.answered > 0 => PromiseOutcome::Honoured,
            _ => PromiseOutcome::None,
        }
    }
}

/// Receives once, as far as the buffer has room. Returns whether bytes have come.
fn receive_once<T: Transport>(turn: &mut Turn<'_, T>) -> bool {
    let space = turn.buffers.input.space();
    if space.is_empty() {
        return false;
    }
    // The next receive finds the end of stream again, and the next call an error.
    let count = turn.io.recv(space).unwrap_or(0);
    turn.buffers.input.received(count);
    count > 0
}

/// The length of the request that starts at `from` in the buffer, body included; `None` if it is invalid or
/// incomplete. `progress` says how far its head has been parsed.
fn request_len<T>(
    from: usize,
    progress: Option<HeadProgress>,
    turn: &mut Turn<'_, T>,
) -> Option<usize> {
    let context = turn.context;
    let ThreadBuffers { input, spans, .. } = &mut *turn.buffers;
    let bytes = &input.unread()[from..];
    let progress = progress.unwrap_or_default();
    let parsed = resume_head(bytes, &context.head_limits, spans, &progress);
    let Ok(Parsed::Complete { head, consumed }) = parsed else {
        return None;
    };
    let mut body = BodyDecoder::new(head.framing, context.config.limits.body_bytes).ok()?;
    let decoded = body.decode(&bytes[consumed..]).ok()?;
    decoded.done.then_some(consumed + decoded.consumed)
}
