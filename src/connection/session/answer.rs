//! From received bytes to collected answers.
//!
//! Everything that one read brought is answered before the next read, in order, and sent with one
//! call (RFC 9112 section 9.3.2). A body too large to be copied ends the collecting: it is sent with
//! what is collected before it.

use std::io;

use super::record::first_line;
use super::retirement::Retirement;
use super::{Delivery, Phase, Session, Turn, delivered, reason_of};
use crate::connection::access_log::journal::Journal;
use crate::connection::counters::CloseReason;
use crate::connection::desk::Desk;
use crate::connection::output::{self, Allowance, Sending, Unsent, bytes_per_turn};
use crate::connection::pace::Pace;
use crate::connection::service::Service;
use crate::connection::transport::Transport;
use crate::http::framing::Framing;
use crate::http::keep_alive::{self, Fate, Policy, ends_connection};
use crate::http::method::Method;
use crate::http::request::{Expectation, Parsed, Reject, RequestHead};
use crate::http::response::{Body, Response, encode_head};
use crate::http::status::Status;
use crate::http::version::Version;
use crate::site::{NeedsDisk, Reach, pages};

/// Requests that one connection has answered per turn before others come.
const REQUESTS_PER_TURN: u32 = 64;

/// Collected output is sent when it has grown to this many bytes, however much is still to answer.
const FLUSH_BYTES: usize = 64 * 1024;

/// A body up to this many bytes is copied behind its head: cheaper than a second part to send.
const COPY_BYTES: usize = 8 * 1024;

/// RFC 9110 section 10.1.1.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Why answering what is buffered came to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// More bytes are needed.
    Starved,
    /// The socket is full.
    Blocked,
    /// The turn's share is used up.
    TurnOver,
    /// The last answer is sent.
    Closing,
}

/// What one look at the buffer led to.
pub(super) enum Step {
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
        let share = bytes_per_turn(turn.reach);
        for request in 0..REQUESTS_PER_TURN {
            // Whoever has asked for no more needs no other turn, however much this was.
            let is_used_up = self.sent_bytes - sent_before >= share || is_over(request, turn);
            if is_used_up && !turn.desk.input.unread().is_empty() {
                break;
            }
            let step = match self.phase {
                Phase::Body(_) if turn.reach == Reach::Memory => Step::Deferred,
                Phase::Body(_) => self.discard_body(turn),
                _ => self.read_head(turn),
            };
            let sending = match step {
                Step::Starved => {
                    let sending = self.flush(None, turn)?;
                    return Ok(if sending == Sending::Done {
                        Stop::Starved
                    } else {
                        stopped(sending)
                    });
                }
                Step::Deferred => break,
                // After 100 (Continue) the peer may be waiting; it is sent when the body starves.
                Step::BodyFollows => continue,
                Step::Answered(None)
                    if self.closing.is_none() && turn.desk.output.len() < FLUSH_BYTES =>
                {
                    continue;
                }
                Step::Answered(tail) => self.flush(tail, turn)?,
            };
            if sending != Sending::Done {
                return Ok(stopped(sending));
            }
            if self.closing.is_some() {
                return Ok(Stop::Closing);
            }
        }
        let sending = self.flush(None, turn)?;
        Ok(if sending == Sending::Done {
            Stop::TurnOver
        } else {
            // It is asked for again when the socket has taken what comes before it.
            turn.desk.awaited = None;
            stopped(sending)
        })
    }

    /// Answers the request at the start of the buffer if its head is complete and it has no body.
    fn read_head<T: Transport>(&mut self, turn: &mut Turn<'_, T>) -> Step {
        let (service, gives_up) = (turn.service, turn.gives_up);
        if turn.desk.input.unread().is_empty() {
            return Step::Starved;
        }
        let retirement = self.retirement(None, turn);
        let (input, spans, mut tools) = turn.tools();
        let now = tools.now.monotonic;
        let (head, consumed) = match input.parse_head(&service.head_limits(), spans) {
            // Empty lines before a request line are no request: the connection stays idle.
            Ok(Parsed::Partial { started: false, .. }) => return Step::Starved,
            Ok(Parsed::Partial {
                started: true,
                method,
                progress,
            }) => {
                input.note_progress(progress);
                self.note_begun(method, now);
                return Step::Starved;
            }
            Ok(Parsed::Complete { head, consumed }) => (head, consumed),
            Err(reject) => {
                self.reject(&reject, CloseReason::BadRequest, turn);
                return Step::Answered(None);
            }
        };
        let client = service.client(self.peer, &head.fields);
        if matches!(head.framing, Framing::None | Framing::Length(0)) {
            let response = match self.respond(&head, client, &mut tools) {
                Ok(response) => response,
                Err(NeedsDisk::UnderWay(_)) if gives_up => return self.give_up(head.method, turn),
                Err(needs) => {
                    self.note_begun(Some(head.method), now);
                    return turn.defer(needs);
                }
            };
            let fate = self.fate(&head, response.status, service, retirement);
            let answer = Answer::new(&head, response, fate);
            self.record(&head, client, &answer, &mut tools);
            return Step::Answered(self.collect(answer, consumed, turn));
        }
        // Rare on a static site; so a request with a body is all a worker's.
        if tools.reach == Reach::Memory {
            self.note_begun(Some(head.method), now);
            return Step::Deferred;
        }
        let wants_continue =
            head.expect == Expectation::Continue && head.version == Version::Http11;
        // RFC 9110 section 10.1.1: a client that waits for 100 is not made to send a body in vain.
        // Whether it sends it all the same is unknown, so the connection ends.
        if head.expect == Expectation::Other || wants_continue {
            let response = match self.respond(&head, client, &mut tools) {
                Ok(response) => response,
                Err(needs) => return turn.defer(needs),
            };
            let is_readable = matches!(head.method, Method::Get | Method::Head | Method::Options);
            if !is_readable || ends_connection(head.method, response.status) {
                let answer = Answer::new(&head, response, Fate::Close);
                self.closing = Some(CloseReason::ErrorAnswer);
                self.record(&head, client, &answer, &mut tools);
                return Step::Answered(self.collect(answer, consumed, turn));
            }
        }
        let step = self.begin_body(head.framing, head.method, consumed, turn);
        if wants_continue && matches!(step, Step::BodyFollows) {
            turn.desk.output.extend_from_slice(CONTINUE);
        }
        step
    }

    /// Whether the connection persists after this answer; if not, notes why.
    pub(super) fn fate(
        &mut self,
        head: &RequestHead<'_, '_>,
        status: Status,
        service: &Service,
        retirement: Retirement,
    ) -> Fate {
        let ends_by_kind = ends_connection(head.method, status);
        if retirement == Retirement::PutOff {
            self.put_off += 1;
        } else {
            self.put_off = 0;
        }
        let keep_alive = &service.config.keep_alive;
        let max = keep_alive.max_requests;
        let policy = Policy {
            http10: keep_alive.http10,
            max_requests: max,
            closing: matches!(retirement, Retirement::Due(_)),
        };
        let fate = match keep_alive::decide(head, self.answered, &policy) {
            Fate::Persist { .. } if ends_by_kind => Fate::Close,
            fate => fate,
        };
        if fate == Fate::Close {
            self.closing = Some(match retirement {
                _ if ends_by_kind => CloseReason::ErrorAnswer,
                _ if head.connection.close => CloseReason::ClientAsked,
                // The client knew of these in advance.
                _ if head.version == Version::Http10 && !head.connection.keep_alive => {
                    CloseReason::ClientAsked
                }
                _ if self.answered + 1 >= max.get() => CloseReason::MaxRequests,
                Retirement::Due(reason) => reason,
                _ => CloseReason::ClientAsked,
            });
        }
        fate
    }

    /// Puts an answer behind those collected before it and takes its request out of the buffer.
    pub(super) fn collect<T: Transport>(
        &mut self,
        answer: Answer,
        consumed: usize,
        turn: &mut Turn<'_, T>,
    ) -> Option<Body> {
        let Answer {
            response,
            fate,
            body,
        } = answer;
        let Desk {
            input,
            output,
            shared_lines,
            counters,
            ..
        } = &mut *turn.desk;
        let shared_lines = shared_lines.at(turn.now.unix_secs);
        encode_head(&response, shared_lines, fate, output);
        log::trace!(
            "{} for {}",
            response.status.code(),
            first_line(input.unread()).escape_ascii()
        );
        input.consume(consumed);
        // A refusal answers no request.
        if !matches!(self.phase, Phase::Refused) {
            self.answered += 1;
            counters.answered(1);
        }
        self.phase = Phase::Idle {
            since: turn.now.monotonic,
            delivery: Delivery::Fresh,
        };
        match body {
            Body::Empty => None,
            Body::Memory(content) if content.len() <= COPY_BYTES => {
                output.extend_from_slice(&content);
                None
            }
            body => Some(body),
        }
    }

    /// Collects an error answer after which the connection ends; what else was received is dropped.
    pub(super) fn reject<T: Transport>(
        &mut self,
        reject: &Reject,
        reason: CloseReason,
        turn: &mut Turn<'_, T>,
    ) {
        self.closing = Some(reason);
        let response = pages::rejected(reject);
        let body = match reject.method {
            Some(Method::Head) => Body::Empty,
            _ => response.body.clone(),
        };
        let fate = Fate::Close;
        let answer = Answer {
            response,
            fate,
            body,
        };
        self.record_unread(&answer, turn);
        let consumed = turn.desk.input.unread().len();
        // An error page is small enough to be copied, so there is no tail.
        let tail = self.collect(answer, consumed, turn);
        debug_assert!(tail.is_none(), "error pages are copied");
    }

    /// Refuses a request because nobody seems to wait for the answer, and it takes long to make.
    #[cold]
    fn give_up<T: Transport>(&mut self, method: Method, turn: &mut Turn<'_, T>) -> Step {
        let reject = Reject {
            status: Status::SERVICE_UNAVAILABLE,
            reason: "The answer takes longer than one is made for a client that has closed its side.",
            method: Some(method),
        };
        self.reject(&reject, CloseReason::ErrorAnswer, turn);
        Step::Answered(None)
    }

    /// Sends what is collected, and `tail` after it.
    pub(super) fn flush<T: Transport>(
        &mut self,
        tail: Option<Body>,
        turn: &mut Turn<'_, T>,
    ) -> Result<Sending, CloseReason> {
        if tail.is_none() && turn.desk.output.is_empty() {
            return Ok(Sending::Done);
        }
        let has_tail = tail.is_some();
        let (mut sent, mut body) = (0, tail.unwrap_or(Body::Empty));
        let (result, count) = output::send(
            turn.io,
            &turn.desk.output,
            &mut sent,
            &mut body,
            bytes_per_turn(turn.reach),
        );
        self.count_sent(count, turn);
        if let Ok(Sending::Done) = result {
            turn.desk.output.clear();
            turn.desk.guests.clear();
            return Ok(Sending::Done);
        }
        self.keep_unsent(result, sent, body, has_tail, turn)
    }

    /// Keeps what the socket has not taken of the collected output and of `body`, after `result`.
    #[cold]
    fn keep_unsent<T: Transport>(
        &mut self,
        result: io::Result<Sending>,
        sent: usize,
        body: Body,
        has_tail: bool,
        turn: &mut Turn<'_, T>,
    ) -> Result<Sending, CloseReason> {
        let mut unsent = Unsent {
            bytes: Vec::new(),
            sent: 0,
            body,
            log: None,
            guests: std::mem::take(&mut turn.desk.guests),
            pace: Pace::start(0, turn.now.monotonic),
            allowance: Allowance::first(),
        };
        if has_tail {
            unsent.log = turn.desk.log.as_mut().and_then(Journal::postpone);
        }
        match result {
            Ok(sending) => {
                let delivered = delivered(self.sent_bytes, turn.io)?;
                unsent.pace = Pace::start(delivered, turn.now.monotonic);
                unsent.bytes = turn.desk.output.split_off(sent);
                turn.desk.output.clear();
                self.unsent = Some(Box::new(unsent));
                Ok(sending)
            }
            Err(error) => {
                let reason = reason_of(&error);
                if let Some(log) = &mut turn.desk.log
                    && !has_tail
                {
                    log.note_close(reason);
                }
                // `finish` logs what has gone.
                self.unsent = Some(Box::new(unsent));
                Err(reason)
            }
        }
    }
}

/// A response with what the connection makes of it.
pub(super) struct Answer {
    pub(super) response: Response,
    fate: Fate,
    /// The body that is sent: none to HEAD (RFC 9110 section 9.3.2).
    pub(super) body: Body,
}

impl Answer {
    pub(super) fn new(head: &RequestHead<'_, '_>, mut response: Response, fate: Fate) -> Answer {
        let body = std::mem::replace(&mut response.body, Body::Empty);
        let body = if head.method == Method::Head {
            Body::Empty
        } else {
            body
        };
        Answer {
            response,
            fate,
            body,
        }
    }
}

/// Whether a turn has to end after this many requests for having taken long. The first is always
/// answered, and what the event loop does needs no such question.
fn is_over<T: Transport>(requests: u32, turn: &Turn<'_, T>) -> bool {
    requests > 0
        && turn.reach == Reach::Disk
        && !turn.desk.input.unread().is_empty()
        && (turn.is_over)()
}

fn stopped(sending: Sending) -> Stop {
    match sending {
        Sending::Blocked => Stop::Blocked,
        Sending::Done | Sending::TurnOver => Stop::TurnOver,
    }
}
