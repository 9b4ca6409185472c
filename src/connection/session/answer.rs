//! From received bytes to answers.
//!
//! Everything that one read brought is answered before the next read, in order, and sent with one
//! call (RFC 9112 section 9.3.2). A body too large to be copied ends the collecting: it is sent with
//! what is collected before it.
//!
//! Request bodies are read within bounds, and thrown away: nobody needs them on a static site.

use super::state::{BodyInProgress, Phase, Session, Turn};
use crate::clock::Millis;
use crate::connection::access_log::line::Arrival;
use crate::connection::counters::CloseReason;
use crate::connection::output::{Pause, Sending, bytes_per_turn};
use crate::connection::server_context::ServerContext;
use crate::connection::stall_detector::StallDetector;
use crate::connection::transport::Transport;
use crate::http::body::BodyDecoder;
use crate::http::framing::Framing;
use crate::http::keep_alive::ends_connection;
use crate::http::method::Method;
use crate::http::request::{Expectation, Parsed, Reject, RequestHead};
use crate::http::response::Body;
use crate::http::status::Status;
use crate::http::version::Version;
use crate::site::{MayBlock, WouldBlock, pages};

/// Requests that one connection has answered per turn before others come.
const REQUESTS_PER_TURN: u32 = 64;

/// Collected output is sent when it has grown to this many bytes, however much is still to answer.
const FLUSH_BYTES: usize = 64 * 1024;

/// RFC 9110 section 10.1.1.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The answer to a client behind a proxy that has its share of requests under way.
const OVER_ITS_SHARE: Reject = Reject::new(
    Status::SERVICE_UNAVAILABLE,
    "Too many requests of this client are being answered.",
);

/// Why answering what is buffered came to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// More bytes are needed.
    Starved,
    /// The socket is full, or the turn's share is used up.
    Paused(Pause),
    /// The last answer is sent.
    Closing,
}

/// What one look at the buffer led to.
enum Looked {
    Starved,
    /// An answer is collected, its body perhaps still to be sent after it.
    Answered(Option<Body>),
    /// A head is read; its body comes next.
    BodyFollows,
    /// Nothing is consumed: it takes a thread that may wait for the disk, or what another thread is
    /// getting from there.
    Deferred,
}

impl Session {
    /// Answers the complete requests in the buffer and sends the answers.
    pub(super) fn answer_buffered<T: Transport>(
        &mut self,
        turn: &mut Turn<'_, T>,
    ) -> Result<Stop, CloseReason> {
        let sent_before = self.sent_bytes;
        let share = bytes_per_turn(turn.may_block);
        for request in 0..REQUESTS_PER_TURN {
            // The first request is always answered. Without another one there is no reason to yield.
            if request > 0 && !turn.buffers.input.unread().is_empty() {
                let is_used_up = self.sent_bytes - sent_before >= share;
                // Only a worker is to look at the clock: the event loop's turns are short.
                if is_used_up || turn.may_block != MayBlock::Never && (turn.is_over)() {
                    break;
                }
            }
            let sending = match self.look(turn) {
                Looked::Starved => {
                    return Ok(match self.flush(None, turn)? {
                        Sending::Done => Stop::Starved,
                        Sending::Paused(pause) => Stop::Paused(pause),
                    });
                }
                Looked::Deferred => break,
                // After 100 (Continue) the peer may be waiting; it is sent when the body starves.
                Looked::BodyFollows => continue,
                Looked::Answered(None)
                    if self.closing.is_none() && turn.buffers.output.len() < FLUSH_BYTES =>
                {
                    continue;
                }
                Looked::Answered(tail) => self.flush(tail, turn)?,
            };
            if let Sending::Paused(pause) = sending {
                return Ok(Stop::Paused(pause));
            }
            if self.closing.is_some() {
                return Ok(Stop::Closing);
            }
        }
        Ok(Stop::Paused(match self.flush(None, turn)? {
            Sending::Done => Pause::Again,
            Sending::Paused(pause) => {
                // The request is answered again when the socket has taken the answers before it.
                turn.buffers.awaited = None;
                pause
            }
        }))
    }

    /// Takes the next step with the request at the start of the buffer.
    fn look<T: Transport>(&mut self, turn: &mut Turn<'_, T>) -> Looked {
        let head_len = match &self.phase {
            Phase::Body(_) if turn.may_block == MayBlock::Never => return Looked::Deferred,
            Phase::Body(body) => Some(body.head_len),
            _ => None,
        };
        if head_len.is_some() {
            match self.discard_body(turn) {
                Ok(true) => {}
                Ok(false) => return Looked::Starved,
                Err(reject) => {
                    self.reject(&reject, CloseReason::BadRequest, turn);
                    return Looked::Answered(None);
                }
            }
        }
        if turn.buffers.input.unread().is_empty() {
            return Looked::Starved;
        }
        self.answer_head(head_len, turn)
    }

    /// Answers the request at the start of the buffer if its head is complete, and its body is no more to
    /// come. `len` is its length in bytes if its body has been removed already.
    fn answer_head<T: Transport>(&mut self, len: Option<usize>, turn: &mut Turn<'_, T>) -> Looked {
        let retirement = self.retirement(len, turn);
        let (context, may_block, now) = (turn.context, turn.may_block, turn.now);
        let buffers = &mut *turn.buffers;
        let limits = context.head_limits();
        let (head, consumed) = match buffers.input.parse_head(&limits, &mut buffers.spans) {
            Ok(Parsed::Complete { head, consumed }) => (head, consumed),
            // Empty lines before a request line are no request: the connection stays idle.
            Ok(Parsed::Partial { started: false, .. }) => return Looked::Starved,
            Ok(Parsed::Partial {
                method, progress, ..
            }) => {
                buffers.input.note_progress(progress);
                self.note_begun(method, now.monotonic);
                return Looked::Starved;
            }
            Err(reject) => {
                self.reject(&reject, CloseReason::BadRequest, turn);
                return Looked::Answered(None);
            }
        };
        let is_whole = len.is_some() || matches!(head.framing, Framing::None | Framing::Length(0));
        // Rare on a static site; so a request with a body is all a worker's.
        if !is_whole && may_block == MayBlock::Never {
            self.note_begun(Some(head.method), now.monotonic);
            return Looked::Deferred;
        }
        let (method, wants_continue) = (head.method, wants_continue(&head));
        if is_whole || wants_continue || head.expect == Expectation::Other {
            let client = context.client(self.peer, &head.fields);
            let responded = if self.is_admitted(client, context, &mut buffers.counted_requests) {
                let sites = &context.sites;
                sites.respond(&head, &mut buffers.path, may_block, now)
            } else {
                Ok(pages::rejected(&OVER_ITS_SHARE))
            };
            let response = match responded {
                Ok(response) => response.to(Some(method)),
                Err(WouldBlock::InFlight(_)) if turn.gives_up => {
                    self.give_up(method, turn);
                    return Looked::Answered(None);
                }
                Err(needs) => {
                    self.note_begun(Some(method), now.monotonic);
                    turn.buffers.await_flight(needs);
                    return Looked::Deferred;
                }
            };
            if is_whole || !may_continue(method, response.status) {
                let retirement = is_whole.then_some(retirement);
                let fate = self.fate(&head, response.status, context, retirement);
                if let Some(log) = &mut buffers.log {
                    let quoted = log.quote(client, &head);
                    let line = self.line(log.connection(), quoted, response.status, now.monotonic);
                    let dated = buffers.shared_lines.at(now.unix_secs);
                    log.begin(&line, response.body.len(), self.closing, dated);
                }
                return Looked::Answered(self.collect(response, fate, consumed, turn));
            }
        }
        match self.begin_body(&head, consumed, context, now.monotonic) {
            Ok(()) if wants_continue => turn.buffers.output.extend_from_slice(CONTINUE),
            Ok(()) => {}
            Err(reject) => {
                self.reject(&reject, CloseReason::BadRequest, turn);
                return Looked::Answered(None);
            }
        }
        Looked::BodyFollows
    }

    /// Refuses a request because nobody seems to wait for the answer, and it takes long to make.
    #[cold]
    fn give_up<T: Transport>(&mut self, method: Method, turn: &mut Turn<'_, T>) {
        let reject = Reject {
            status: Status::SERVICE_UNAVAILABLE,
            reason: "The answer takes longer than one is made for a client that has closed its side.",
            method: Some(method),
        };
        self.reject(&reject, CloseReason::ErrorAnswer, turn);
    }

    /// Takes note of a head of `head_len` bytes whose body comes next; an error if the body is too large.
    fn begin_body(
        &mut self,
        head: &RequestHead<'_, '_>,
        head_len: usize,
        context: &ServerContext,
        now: Millis,
    ) -> Result<(), Reject> {
        let method = head.method;
        let decoder = BodyDecoder::new(head.framing, context.config.limits.body_bytes);
        let arrival = self.arrival(now);
        self.phase = Phase::Body(Box::new(BodyInProgress {
            method,
            head_len,
            decoder: decoder.map_err(|reject| of_method(method, reject))?,
            received: 0,
            stall_detector: StallDetector::start(0, now),
            // The body may come in another turn.
            arrival: Arrival {
                since: arrival.since.or(Some(now)),
                ..arrival
            },
        }));
        Ok(())
    }

    /// Throws away what has come of the body behind the head; whether it has come completely.
    fn discard_body<T: Transport>(&mut self, turn: &mut Turn<'_, T>) -> Result<bool, Reject> {
        let Phase::Body(body) = &mut self.phase else {
            return Ok(true);
        };
        let input = &mut turn.buffers.input;
        let decoded = body.decoder.decode(&input.unread()[body.head_len..]);
        let decoded = decoded.map_err(|reject| of_method(body.method, reject))?;
        input.remove(body.head_len, decoded.consumed);
        body.received += decoded.consumed as u64;
        body.stall_detector.note(body.received, turn.now.monotonic);
        Ok(decoded.done)
    }
}

/// Whether the client waits for 100 (Continue) before it sends the body.
fn wants_continue(head: &RequestHead<'_, '_>) -> bool {
    head.expect == Expectation::Continue && head.version == Version::Http11
}

/// Whether a client that waits for 100 (Continue), and would be answered with `status`, is to send its
/// body. It is not made to send one in vain (RFC 9110 section 10.1.1). Whether it sends it all the same
/// is unknown, so the connection ends otherwise.
fn may_continue(method: Method, status: Status) -> bool {
    let is_readable = matches!(method, Method::Get | Method::Head | Method::Options);
    is_readable && !ends_connection(method, status)
}

/// The refusal of a body behind a head with this method.
fn of_method(method: Method, reject: Reject) -> Reject {
    Reject {
        method: Some(method),
        ..reject
    }
}
