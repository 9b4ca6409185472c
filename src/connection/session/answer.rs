//! Finds requests in the received bytes and answers them.
//!
//! All requests that one receive brings are answered in order before the next receive, and their responses
//! are sent with one call (RFC 9112 section 9.3.2). A body too large to copy ends the collecting: it is sent
//! after the responses collected so far.
//!
//! Request bodies are read within bounds and discarded: a static site does not use them.

use std::net::IpAddr;

use super::sending::COPY_BYTES;
use super::state::{BodyInProgress, Phase, Session, Turn};
use crate::clock::Millis;
use crate::connection::access_log::line::Arrival;
use crate::connection::counters::CloseReason;
use crate::connection::limits::requests_per_client::CountedRequest;
use crate::connection::output::{Pause, SendProgress, bytes_per_turn};
use crate::connection::peer::Peer;
use crate::connection::server_context::ServerContext;
use crate::connection::stall_detector::StallDetector;
use crate::connection::transport::Transport;
use crate::http::body::BodyDecoder;
use crate::http::fields::Fields;
use crate::http::forwarded::is_trusted;
use crate::http::framing::Framing;
use crate::http::keep_alive::ends_connection;
use crate::http::method::Method;
use crate::http::request::{Expectation, Parsed, Reject, RequestHead};
use crate::http::response::{Body, Response};
use crate::http::status::Status;
use crate::http::version::Version;
use crate::site::{MayBlock, WouldBlock, pages};

/// Requests answered per turn before other connections come.
const REQUESTS_PER_TURN: u32 = 64;

/// Collected output of this size is sent, even if more requests wait.
const FLUSH_BYTES: usize = 64 * 1024;

/// The interim response of RFC 9110 section 10.1.1.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The response to a client behind a trusted proxy that has as many requests in progress as one client may.
const CLIENT_OVER_LIMIT: Reject = Reject::new(
    Status::SERVICE_UNAVAILABLE,
    "Too many requests of this client are being answered.",
);

/// The response to a request for an https URI over a plain connection (RFC 9110 section 7.4).
const MISDIRECTED: Reject = Reject::new(
    Status::MISDIRECTED_REQUEST,
    "An https resource is not served over an unsecured connection.",
);

/// The reason why answering the buffered requests has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AnswerStop {
    /// The next request is incomplete.
    NeedMore,
    /// The socket is full, the turn's quota is used up, or only another thread can do more.
    Paused(Pause),
    /// The last response is sent.
    Closing,
}

/// The result of one step with the request at the start of the buffer.
enum RequestStep {
    NeedMore,
    /// A response is collected; its body, if any, is to be sent after it.
    Answered(Option<Body>),
    /// A head is read; its body comes next.
    BodyFollows,
    /// No bytes are consumed. The response needs a thread that may wait for the disk, or a load that another
    /// thread is doing.
    Deferred,
}

impl Session {
    /// Answers the complete requests in the buffer and sends the responses.
    pub(super) fn answer_buffered<T: Transport>(
        &mut self,
        turn: &mut Turn<'_, T>,
    ) -> Result<AnswerStop, CloseReason> {
        let sent_before = self.sent_bytes;
        let quota = bytes_per_turn(turn.may_block);
        for request in 0..REQUESTS_PER_TURN {
            // The first request is always answered. If no further one waits, there is no reason to yield.
            if request > 0 && !turn.buffers.input.unread().is_empty() {
                let is_used_up = self.sent_bytes - sent_before >= quota;
                // Only workers check the clock: the event loop's turns are short.
                if is_used_up || turn.may_block != MayBlock::Never && (turn.is_over)() {
                    break;
                }
            }
            let sending = match self.next_step(turn) {
                RequestStep::NeedMore => {
                    return Ok(match self.flush(None, turn)? {
                        SendProgress::Done => AnswerStop::NeedMore,
                        SendProgress::Paused(pause) => AnswerStop::Paused(pause),
                    });
                }
                RequestStep::Deferred => break,
                // The peer may wait for 100 (Continue), which is sent when more of the body is needed.
                RequestStep::BodyFollows => continue,
                RequestStep::Answered(None)
                    if self.closing.is_none() && turn.buffers.output.len() < FLUSH_BYTES =>
                {
                    continue;
                }
                RequestStep::Answered(tail) => self.flush(tail, turn)?,
            };
            if let SendProgress::Paused(pause) = sending {
                return Ok(AnswerStop::Paused(pause));
            }
            if self.closing.is_some() {
                return Ok(AnswerStop::Closing);
            }
        }
        Ok(AnswerStop::Paused(match self.flush(None, turn)? {
            SendProgress::Done => Pause::Again,
            SendProgress::Paused(pause) => {
                // The request is tried again when the socket has taken the responses before it.
                turn.buffers.awaited = None;
                pause
            }
        }))
    }

    /// Takes the next step with the request at the start of the buffer.
    fn next_step<T: Transport>(&mut self, turn: &mut Turn<'_, T>) -> RequestStep {
        let head_len = match &self.phase {
            Phase::Body(_) if turn.may_block == MayBlock::Never => return RequestStep::Deferred,
            Phase::Body(body) => Some(body.head_len),
            _ => None,
        };
        if head_len.is_some() {
            match self.discard_body(turn) {
                Ok(true) => {}
                Ok(false) => return RequestStep::NeedMore,
                Err(reject) => return self.refuse(&reject, turn),
            }
        }
        if turn.buffers.input.unread().is_empty() {
            return RequestStep::NeedMore;
        }
        self.answer_head(head_len, turn)
    }

    /// Whether one more request of `client` may be answered. Direct connections were counted when they were
    /// accepted, and proxies are exempt.
    fn is_admitted(
        &self,
        client: Peer,
        context: &ServerContext,
        counted: &mut Vec<CountedRequest>,
    ) -> bool {
        let (Some(counted_requests), Peer::Ip(address)) = (&context.requests_per_client, client)
        else {
            return true;
        };
        let is_proxy = |address: IpAddr| is_trusted(address, &context.config.trusted_proxies);
        client == self.peer || is_proxy(address) || counted_requests.admit(address, counted)
    }

    /// The client that sent a request with these fields.
    fn client(&self, fields: &Fields<'_, '_>, context: &ServerContext) -> Peer {
        match self.facts.names_no_client() {
            true => self.peer,
            false => context.client(self.peer, fields),
        }
    }

    /// Answers the request at the start of the buffer, if its head is complete and its body needs no more
    /// bytes. `len` is the request's length in bytes if its body has been removed already.
    fn answer_head<T: Transport>(
        &mut self,
        len: Option<usize>,
        turn: &mut Turn<'_, T>,
    ) -> RequestStep {
        let server_close = self.server_close(len, turn);
        let (context, may_block, now) = (turn.context, turn.may_block, turn.now);
        let buffers = &mut *turn.buffers;
        let limits = &context.head_limits;
        let (head, consumed) = match buffers.input.parse_head(limits, &mut buffers.spans) {
            Ok(Parsed::Complete { head, .. }) if head.is_misdirected(turn.io.scheme()) => {
                let reject = of_method(head.method, MISDIRECTED);
                return self.refuse(&reject, turn);
            }
            Ok(Parsed::Complete { head, consumed }) => (head, consumed),
            // Empty lines before a request line are no request: the connection stays idle.
            Ok(Parsed::Partial { started: false, .. }) => return RequestStep::NeedMore,
            Ok(Parsed::Partial {
                method, progress, ..
            }) => {
                buffers.input.note_progress(progress);
                self.note_begun(method, now.monotonic);
                return RequestStep::NeedMore;
            }
            Err(reject) => return self.refuse(&reject, turn),
        };
        let is_whole = len.is_some() || matches!(head.framing, Framing::None | Framing::Length(0));
        // Workers take all requests with a body, which are rare on a static site.
        if !is_whole && may_block == MayBlock::Never {
            self.note_begun(Some(head.method), now.monotonic);
            return RequestStep::Deferred;
        }
        let (method, wants_continue) = (head.method, wants_continue(&head));
        if is_whole || wants_continue || head.expect == Expectation::Other {
            let client = self.client(&head.fields, context);
            let responded = if self.is_admitted(client, context, &mut buffers.counted_requests) {
                let sites = &context.sites;
                sites.respond(&head, turn.io.scheme(), &mut buffers.path, may_block, now)
            } else {
                Ok(pages::rejected(&CLIENT_OVER_LIMIT))
            };
            let response = match responded {
                Ok(response) => response.to(Some(method)),
                Err(WouldBlock::InFlight(_)) if turn.gives_up => return self.give_up(method, turn),
                Err(needs) => return self.defer(method, needs, turn),
            };
            if is_whole || !may_continue(method, response.status) {
                let server_close = is_whole.then_some(server_close);
                let persistence =
                    self.decide_persistence(&head, response.status, context, server_close);
                if let Some(log) = &mut buffers.log {
                    let request = log.logged_request(client, &head);
                    let line = self.line(log.connection(), request, response.status, now.monotonic);
                    let dated = buffers.shared_lines.at(now.unix_secs);
                    log.begin(&line, response.body.len(), self.closing, dated);
                }
                if buffers.timer.keeps_slow() && self.may_be_slow(&response, may_block) {
                    buffers.timer.note_target(client, &head, response.status);
                }
                let answer = (response, persistence);
                return RequestStep::Answered(self.collect(Some(method), answer, consumed, turn));
            }
        }
        match self.begin_body(&head, consumed, context, now.monotonic) {
            Ok(()) if wants_continue => turn.buffers.output.extend_from_slice(CONTINUE),
            Ok(()) => {}
            Err(reject) => return self.refuse(&reject, turn),
        }
        RequestStep::BodyFollows
    }

    /// Leaves a request to a thread that may block, or to a later turn.
    fn defer<T>(
        &mut self,
        method: Method,
        needs: WouldBlock,
        turn: &mut Turn<'_, T>,
    ) -> RequestStep {
        self.note_begun(Some(method), turn.now.monotonic);
        turn.buffers.note_would_block(needs);
        RequestStep::Deferred
    }

    /// Whether the response may take so long that its request should be noted: it needs a disk, its request
    /// began in an earlier turn, or it is large.
    fn may_be_slow(&self, response: &Response, may_block: MayBlock) -> bool {
        let is_large = response.body.len() > COPY_BYTES as u64;
        may_block != MayBlock::Never || self.begun_at().is_some() || is_large
    }

    /// Refuses a request that is malformed or over a limit.
    fn refuse<T: Transport>(&mut self, reject: &Reject, turn: &mut Turn<'_, T>) -> RequestStep {
        self.reject(reject, CloseReason::BadRequest, turn);
        RequestStep::Answered(None)
    }

    /// Refuses a request whose response takes long, because the client has probably left.
    #[cold]
    fn give_up<T: Transport>(&mut self, method: Method, turn: &mut Turn<'_, T>) -> RequestStep {
        let reject = Reject {
            status: Status::SERVICE_UNAVAILABLE,
            reason: "The answer takes too long for a client that has closed its side of the connection.",
            method: Some(method),
        };
        self.reject(&reject, CloseReason::ErrorAnswer, turn);
        RequestStep::Answered(None)
    }

    /// Notes a head of `head_len` bytes whose body comes next; an error if the body is too large.
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
            // The body may arrive in a later turn.
            arrival: Arrival {
                since: arrival.since.or(Some(now)),
                ..arrival
            },
        }));
        Ok(())
    }

    /// Discards the received part of the body after the head. Returns whether the body is complete.
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

/// Whether a client that waits for 100 (Continue), and would be answered with `status`, should send its body.
/// A client should not send one in vain (RFC 9110 section 10.1.1). If it should not, it may still
/// send the body, so the connection ends.
fn may_continue(method: Method, status: Status) -> bool {
    let is_readable = matches!(method, Method::Get | Method::Head | Method::Options);
    is_readable && !ends_connection(method, status)
}

/// Adds the method to the refusal of a body.
fn of_method(method: Method, reject: Reject) -> Reject {
    Reject {
        method: Some(method),
        ..reject
    }
}
