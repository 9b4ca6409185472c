//! Ending a connection for reasons that are not the client's: a drain, its age, or pressure; and whether
//! that keeps what the client was promised.
//!
//! The client does not know of them before it reads `close`, and may have sent further requests, as it
//! was told it may. So `close` goes on the answer to the last complete request that has been received
//! already: what the buffer holds, and what one more receive brings. What comes behind that crosses with
//! our `close`, and is counted ([`Counters::keep_alive_race`]).
//!
//! [`Counters::keep_alive_race`]: crate::connection::counters::Counters::keep_alive_race

use super::state::{Delivery, Phase, Session, Turn};
use crate::clock::Millis;
use crate::connection::counters::CloseReason;
use crate::connection::server_context::{Mode, ServerContext};
use crate::connection::thread_buffers::ThreadBuffers;
use crate::connection::transport::Transport;
use crate::http::body::BodyDecoder;
use crate::http::request::{HeadProgress, Parsed, resume_head};

/// Answers that a connection gives, the last one included, after the first that ought to say `close`.
const MAX_ANSWERS: u8 = 64;

/// Whether the next answer is the last one, for reasons that are not the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retirement {
    /// There is no such reason.
    None,
    /// There is, but a further complete request has been received already.
    PutOff,
    /// This answer is the last one.
    Due(CloseReason),
}

/// The state of the promise that a further request is welcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Promise {
    /// Nothing was promised.
    None,
    /// The client had its T, or has said itself that it is done.
    Honoured,
    /// We ended before that.
    Broken,
}

/// Whether the client learns of a close for this reason from the `close` that announces it: until then
/// it was free to send.
pub(super) fn is_unforeseen(reason: CloseReason) -> bool {
    matches!(
        reason,
        CloseReason::Drain | CloseReason::MaxAge | CloseReason::Pressure
    )
}

/// Whether `bytes` are more than the empty lines that may stand between requests.
pub(super) fn hold_a_request(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| !matches!(byte, b'\r' | b'\n'))
}

impl Session {
    /// Whether the answer to the request at the start of the buffer is to be the last one. `len` is that
    /// request's length in bytes if its body has been removed already.
    pub(super) fn retirement<T: Transport>(
        &self,
        len: Option<usize>,
        turn: &mut Turn<'_, T>,
    ) -> Retirement {
        match self.reason_to_retire(turn) {
            None => Retirement::None,
            Some(_) if self.may_put_off(len, turn) => Retirement::PutOff,
            Some(reason) => Retirement::Due(reason),
        }
    }

    /// Why the connection is to end, for reasons that are not the client's.
    fn reason_to_retire<T>(&self, turn: &Turn<'_, T>) -> Option<CloseReason> {
        let (context, now) = (turn.context, turn.now.monotonic);
        let max_age_millis = u64::from(context.config.keep_alive.max_age_secs) * 1000;
        if context.mode() != Mode::Serving {
            Some(CloseReason::Drain)
        } else if max_age_millis > 0 && now.since(self.opened_at) >= max_age_millis {
            Some(CloseReason::MaxAge)
        } else if self.is_pressed(context) {
            Some(CloseReason::Pressure)
        } else {
            None
        }
    }

    /// Whether a further request has been received. If none is in the buffer, it may be in the socket.
    #[cold]
    fn may_put_off<T: Transport>(&self, len: Option<usize>, turn: &mut Turn<'_, T>) -> bool {
        if self.put_off + 1 >= MAX_ANSWERS {
            return false;
        }
        let progress = turn.buffers.input.progress().copied();
        let Some(len) = len.or_else(|| request_len(0, progress, turn)) else {
            // This request is not complete itself, and so is not answered yet.
            return false;
        };
        request_len(len, None, turn).is_some()
            || (receive_once(turn) && request_len(len, None, turn).is_some())
    }

    /// Notes, while the server drains or stops, what becomes of the promise that was made.
    pub(super) fn settle_promise<T: Transport>(&self, reason: CloseReason, turn: &Turn<'_, T>) {
        if turn.context.mode() == Mode::Serving {
            return;
        }
        let counters = &turn.buffers.counters;
        match self.promise(reason, turn.context, turn.now.monotonic) {
            Promise::None => {}
            Promise::Honoured => counters.promise_honoured(),
            Promise::Broken => counters.promise_broken(),
        }
    }

    /// The promise as it stands if the connection ends now for `reason`: whether one was made, and whether it
    /// is kept. A promise is broken by a stop before T has passed since the acknowledgement, or within a request.
    fn promise(&self, reason: CloseReason, context: &ServerContext, now: Millis) -> Promise {
        let is_cut = match &self.phase {
            Phase::Idle { since, delivery } => {
                let keep_alive = &context.config.keep_alive;
                let promised = since.plus_secs(keep_alive.timeout_secs);
                // The acknowledgement may be younger than the answer, by what passed before the look.
                let kept_at = Millis(promised.0.saturating_add(keep_alive.first_look_millis()));
                let has_begun = matches!(delivery, Delivery::Confirmed);
                self.answered > 0 && (!has_begun || now < kept_at)
            }
            Phase::Head { .. } | Phase::Body(_) => true,
            Phase::Linger(_) | Phase::Refused => return Promise::None,
        };
        match reason {
            CloseReason::Stop if is_cut => Promise::Broken,
            CloseReason::Truncated => Promise::Broken,
            // The peer has left, and its request with it.
            CloseReason::Reset | CloseReason::WriteTimeout => Promise::None,
            _ if self.answered > 0 => Promise::Honoured,
            _ => Promise::None,
        }
    }
}

/// Receives what else has come, as far as the buffer has room. Returns whether something has.
fn receive_once<T: Transport>(turn: &mut Turn<'_, T>) -> bool {
    let space = turn.buffers.input.space();
    if space.is_empty() {
        return false;
    }
    // The end of the stream, or an error, is found again by the next receive.
    let count = turn.io.recv(space).unwrap_or(0);
    turn.buffers.input.received(count);
    count > 0
}

/// How long the request is that starts at `from` in the buffer, its body included; `None` if it is not
/// valid or not complete. `progress` says how far its head has been read.
fn request_len<T>(
    from: usize,
    progress: Option<HeadProgress>,
    turn: &mut Turn<'_, T>,
) -> Option<usize> {
    let context = turn.context;
    let ThreadBuffers { input, spans, .. } = &mut *turn.buffers;
    let bytes = &input.unread()[from..];
    let progress = progress.unwrap_or_default();
    let parsed = resume_head(bytes, &context.head_limits(), spans, &progress);
    let Ok(Parsed::Complete { head, consumed }) = parsed else {
        return None;
    };
    let mut body = BodyDecoder::new(head.framing, context.config.limits.body_bytes).ok()?;
    let decoded = body.decode(&bytes[consumed..]).ok()?;
    decoded.done.then_some(consumed + decoded.consumed)
}
