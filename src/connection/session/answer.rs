//! From received bytes to collected answers.
//!
//! Everything that one read brought is answered before the next read, in order, and sent with one
//! call (RFC 9112 section 9.3.2). A body too large to be copied ends the collecting: it is sent with
//! what is collected before it.

use super::{Delivery, Phase, Session, Turn, delivered, reason_of};
use crate::clock::Millis;
use crate::connection::access_line;
use crate::connection::counters::CloseReason;
use crate::connection::desk::Desk;
use crate::connection::output::{self, Sending, Unsent};
use crate::connection::pace::Pace;
use crate::connection::service::Service;
use crate::connection::transport::Transport;
use crate::http::framing::Framing;
use crate::http::keep_alive::{self, Fate, Policy};
use crate::http::method::Method;
use crate::http::request::{Expectation, Parsed, Reject, RequestHead, parse_head};
use crate::http::response::{Body, Response, encode_head};
use crate::http::status::Status;
use crate::http::version::Version;
use crate::site::{Reach, pages};

/// Requests that one connection has answered per turn before others come.
const REQUESTS_PER_TURN: u32 = 64;

/// Collected output is sent when it has grown to this many bytes, however much is still to answer.
const FLUSH_BYTES: usize = 64 * 1024;

/// A body up to this many bytes is copied behind its head: cheaper than a second part to send.
const COPY_BYTES: usize = 8 * 1024;

/// Bytes of a refused request that are searched for its first line, for the access log.
const LOGGED_BYTES: usize = 512;

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
    Answered(Option<Tail>),
    /// A head is read; its body comes next.
    BodyFollows,
    /// Nothing is consumed: it takes a thread that may wait for the disk.
    Deferred,
}

/// A body that was not copied, and its line of the access log.
pub(super) struct Tail {
    body: Body,
    log: Option<(Vec<u8>, u64)>,
}

/// Whether an answer with this status ends the connection.
///
/// | status                              | connection | because                                              |
/// |-------------------------------------|------------|------------------------------------------------------|
/// | 200, 206, 301, 304                  | persists   |                                                      |
/// | 403, 404, 405, 412, 416             | persists   | the request was understood and is read to its end    |
/// | 400, 413, 414, 431, 505             | ends       | where the next request begins may be in doubt        |
/// | 421                                 | ends       | the client takes us for another server               |
/// | 408                                 | ends       | the request never came (RFC 9110 section 15.5.9)     |
/// | 417                                 | ends       | a body may or may not follow                         |
/// | 500, 501, 503                       | ends       | nothing is gained by trusting an unknown state       |
///
/// Besides, any answer that is given in place of 100 (Continue) ends it: a body may follow or not.
#[must_use]
pub fn ends_connection(status: Status) -> bool {
    !matches!(
        status.code(),
        200 | 204 | 206 | 301..=304 | 307 | 308 | 403 | 404 | 405 | 412 | 416
    )
}

impl Session {
    /// Answers the complete requests in the buffer and sends the answers.
    pub(super) fn answer_buffered<T: Transport>(
        &mut self,
        turn: &mut Turn<'_, T>,
    ) -> Result<Stop, CloseReason> {
        let sent_before = self.sent_bytes;
        for _ in 0..REQUESTS_PER_TURN {
            if self.sent_bytes - sent_before >= bytes_per_turn(turn.reach) {
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
            stopped(sending)
        })
    }

    /// Answers the request at the start of the buffer if its head is complete and it has no body.
    fn read_head<T: Transport>(&mut self, turn: &mut Turn<'_, T>) -> Step {
        let service = turn.service;
        let Desk {
            input, spans, path, ..
        } = &mut *turn.desk;
        let (head, consumed) = match parse_head(input.unread(), &service.head_limits(), spans) {
            // Empty lines before a request line are no request: the connection stays idle.
            Ok(Parsed::Partial { started: false, .. }) => return Step::Starved,
            Ok(Parsed::Partial {
                started: true,
                method,
            }) => {
                let since = match self.phase {
                    Phase::Head { since, .. } => since,
                    _ => turn.now.monotonic,
                };
                self.phase = Phase::Head { since, method };
                return Step::Starved;
            }
            Ok(Parsed::Complete { head, consumed }) => (head, consumed),
            Err(reject) => {
                self.reject(&reject, CloseReason::BadRequest, turn);
                return Step::Answered(None);
            }
        };
        if matches!(head.framing, Framing::None | Framing::Length(0)) {
            let Ok(response) = service.sites.respond(&head, path, turn.reach, turn.now) else {
                return Step::Deferred;
            };
            let fate = self.fate(&head, response.status, service, turn.now.monotonic);
            let answer = Answer::new(&head, response, fate);
            return Step::Answered(self.collect(answer, consumed, turn));
        }
        // Rare on a static site; so a request with a body is all a worker's.
        if turn.reach == Reach::Memory {
            return Step::Deferred;
        }
        let wants_continue =
            head.expect == Expectation::Continue && head.version == Version::Http11;
        // RFC 9110 section 10.1.1: a client that waits for 100 is not made to send a body in vain.
        // Whether it sends it all the same is unknown, so the connection ends.
        if head.expect == Expectation::Other || wants_continue {
            let Ok(response) = service.sites.respond(&head, path, turn.reach, turn.now) else {
                return Step::Deferred;
            };
            let is_readable = matches!(head.method, Method::Get | Method::Head | Method::Options);
            if !is_readable || ends_connection(response.status) {
                let answer = Answer::new(&head, response, Fate::Close);
                self.closing = Some(CloseReason::ErrorAnswer);
                return Step::Answered(self.collect(answer, consumed, turn));
            }
        }
        let (framing, method) = (head.framing, head.method);
        let step = self.begin_body(framing, method, consumed, turn);
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
        now: Millis,
    ) -> Fate {
        let retirement = self.retirement(service, now);
        let keep_alive = &service.config.keep_alive;
        let policy = Policy {
            http10: keep_alive.http10,
            closing: retirement.is_some(),
        };
        let max = keep_alive.max_requests;
        let fate = match keep_alive::decide(
            head.version,
            &head.connection,
            head.via,
            head.proxy_connection,
            self.answered,
            max,
            policy,
        ) {
            Fate::Persist { .. } if ends_connection(status) => Fate::Close,
            fate => fate,
        };
        if fate == Fate::Close {
            self.closing = Some(match retirement {
                _ if ends_connection(status) => CloseReason::ErrorAnswer,
                _ if head.connection.close => CloseReason::ClientAsked,
                Some(reason) => reason,
                None if self.answered + 1 >= max.get() => CloseReason::MaxRequests,
                None => CloseReason::ClientAsked,
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
    ) -> Option<Tail> {
        let Answer {
            response,
            fate,
            body,
        } = answer;
        let Desk {
            input,
            output,
            date,
            log,
            counters,
            ..
        } = &mut *turn.desk;
        let unix_secs = turn.now.unix_secs;
        let timeout_secs = turn.service.config.keep_alive.timeout_secs;
        encode_head(&response, date.line(unix_secs), fate, timeout_secs, output);
        let request_line = logged_line(input.unread());
        log::trace!(
            "{} for {}",
            response.status.code(),
            request_line.escape_ascii()
        );
        let mut line = None;
        if let Some(log) = log {
            let status = response.status;
            let date = date.date(unix_secs);
            if is_copied(&body) {
                // As good as sent.
                access_line::start(self.peer, date, request_line, status, log);
                access_line::finish(body.len(), log);
            } else {
                let mut start = Vec::new();
                access_line::start(self.peer, date, request_line, status, &mut start);
                line = Some((start, body.len()));
            }
        }
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
            body => Some(Tail { body, log: line }),
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
        let consumed = turn.desk.input.unread().len();
        // An error page is small enough to be copied, so there is no tail.
        let tail = self.collect(answer, consumed, turn);
        debug_assert!(tail.is_none(), "error pages are copied");
    }

    /// Sends what is collected, and `tail` after it.
    pub(super) fn flush<T: Transport>(
        &mut self,
        tail: Option<Tail>,
        turn: &mut Turn<'_, T>,
    ) -> Result<Sending, CloseReason> {
        if tail.is_none() && turn.desk.output.is_empty() {
            return Ok(Sending::Done);
        }
        let Tail { body, log } = tail.unwrap_or(Tail {
            body: Body::Empty,
            log: None,
        });
        let mut unsent = Unsent {
            bytes: Vec::new(),
            sent: 0,
            body,
            log,
            pace: Pace::start(0, turn.now.monotonic),
        };
        let output = &turn.desk.output;
        let (result, count) = output::send(turn.io, output, &mut unsent.sent, &mut unsent.body);
        self.count_sent(count, turn);
        match result {
            Ok(Sending::Done) => {
                turn.desk.output.clear();
                log_body(unsent, turn.desk);
                Ok(Sending::Done)
            }
            Ok(sending) => {
                let delivered = delivered(self.sent_bytes, turn.io)?;
                unsent.pace = Pace::start(delivered, turn.now.monotonic);
                unsent.bytes = turn.desk.output.split_off(std::mem::take(&mut unsent.sent));
                turn.desk.output.clear();
                self.unsent = Some(Box::new(unsent));
                Ok(sending)
            }
            Err(error) => {
                // `finish` logs what has gone.
                self.unsent = Some(Box::new(unsent));
                Err(reason_of(&error))
            }
        }
    }
}

/// A response with what the connection makes of it.
pub(super) struct Answer {
    response: Response,
    fate: Fate,
    /// The body that is sent: none to HEAD (RFC 9110 section 9.3.2).
    body: Body,
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

/// Ends the access log's line of a body that was sent apart, with the bytes that really went.
pub(super) fn log_body(unsent: Unsent, desk: &mut Desk) {
    if let (Some((start, length)), Some(log)) = (unsent.log, &mut desk.log) {
        log.extend_from_slice(&start);
        access_line::finish(length - unsent.body.len(), log);
    }
}

/// Bytes after which a connection has had its turn, if it asks for more. A thread that others wait for
/// gives less.
fn bytes_per_turn(reach: Reach) -> u64 {
    match reach {
        Reach::Memory => 256 * 1024,
        Reach::Disk => output::SEND_BYTES_PER_TURN,
    }
}

fn is_copied(body: &Body) -> bool {
    match body {
        Body::Empty => true,
        Body::Memory(content) => content.len() <= COPY_BYTES,
        Body::File { .. } | Body::Parts(_) => false,
    }
}

/// The first line of a request, as far as it has come, without the empty lines before it.
fn logged_line(unread: &[u8]) -> &[u8] {
    let start = unread
        .iter()
        .position(|byte| !matches!(byte, b'\r' | b'\n'))
        .unwrap_or(unread.len());
    let line = &unread[start..];
    let end = memchr::memchr2(b'\r', b'\n', line).unwrap_or(line.len().min(LOGGED_BYTES));
    &line[..end]
}

fn stopped(sending: Sending) -> Stop {
    match sending {
        Sending::Blocked => Stop::Blocked,
        Sending::Done | Sending::TurnOver => Stop::TurnOver,
    }
}
