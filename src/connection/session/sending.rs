//! From the site's response to bytes behind those that are collected already, with a line of the access log;
//! from there to the socket; and what becomes of the bytes that it does not take.

use std::io;
use std::net::IpAddr;

use super::retirement::Retirement;
use super::state::{Delivery, Phase, Session, Turn};
use crate::clock::Millis;
use crate::connection::access_log::line::{Line, Quoted};
use crate::connection::access_log::log_buffer::LogBuffer;
use crate::connection::connection_id::ConnectionId;
use crate::connection::counters::CloseReason;
use crate::connection::limits::requests_per_client::CountedRequest;
use crate::connection::output::{self, Allowance, Offer, Pause, Sending, Unsent, bytes_per_turn};
use crate::connection::peer::Peer;
use crate::connection::server_context::ServerContext;
use crate::connection::stall_detector::StallDetector;
use crate::connection::thread_buffers::ThreadBuffers;
use crate::connection::transport::{Transport, UNSENT_BYTES};
use crate::http::forwarded::is_trusted;
use crate::http::keep_alive::{self, Fate, Policy, ends_connection};
use crate::http::request::{Reject, RequestHead};
use crate::http::response::{Body, Response, encode_head};
use crate::http::status::Status;
use crate::http::version::Version;
use crate::site::pages;

impl Session {
    /// Sends what is collected, and `tail` after it.
    pub(super) fn flush<T: Transport>(
        &mut self,
        tail: Option<Body>,
        turn: &mut Turn<'_, T>,
    ) -> Result<Sending, CloseReason> {
        if tail.is_none() && turn.buffers.output.is_empty() {
            return Ok(Sending::Done);
        }
        let has_tail = tail.is_some();
        let mut body = tail.unwrap_or(Body::Empty);
        let mut offer = Offer {
            bytes: &turn.buffers.output,
            body: &mut body,
        };
        let (result, count) = output::send(turn.io, &mut offer, bytes_per_turn(turn.may_block));
        let sent = turn.buffers.output.len() - offer.bytes.len();
        self.count_sent(count, turn);
        if let Ok(Sending::Done) = result {
            turn.buffers.output.clear();
            turn.buffers.counted_requests.clear();
            return Ok(Sending::Done);
        }
        self.keep_unsent(result, sent, has_tail.then_some(body), turn)
    }

    /// Keeps what the socket has not taken of the collected output, of which `sent` bytes are gone, and of
    /// `tail`, after `result`.
    #[cold]
    fn keep_unsent<T: Transport>(
        &mut self,
        result: io::Result<Sending>,
        sent: usize,
        tail: Option<Body>,
        turn: &mut Turn<'_, T>,
    ) -> Result<Sending, CloseReason> {
        let has_tail = tail.is_some();
        let mut unsent = Unsent {
            bytes: Vec::new(),
            sent: 0,
            body: tail.unwrap_or(Body::Empty),
            log: None,
            counted_requests: std::mem::take(&mut turn.buffers.counted_requests),
            stall_detector: StallDetector::start(0, turn.now.monotonic),
            allowance: Allowance::first(),
        };
        if has_tail {
            unsent.log = turn.buffers.log.as_mut().and_then(LogBuffer::postpone);
        }
        match result {
            Ok(sending) => {
                let delivered = delivered(self.sent_bytes, turn.io)?;
                unsent.stall_detector = StallDetector::start(delivered, turn.now.monotonic);
                unsent.bytes = turn.buffers.output.split_off(sent);
                turn.buffers.output.clear();
                self.unsent = Some(Box::new(unsent));
                Ok(sending)
            }
            Err(error) => {
                let reason = reason_of(&error);
                if let Some(log) = &mut turn.buffers.log
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

    /// Offers again what the socket did not take before.
    pub(super) fn send_unsent<T: Transport>(
        &mut self,
        turn: &mut Turn<'_, T>,
    ) -> Result<Sending, CloseReason> {
        if let Some(unsent) = self.unsent.as_deref()
            && !unsent.is_within(turn.may_block)
        {
            turn.buffers.would_block_on_disk = true;
            return Ok(Sending::Paused(Pause::Again));
        }
        let Some(mut unsent) = self.unsent.take() else {
            return Ok(Sending::Done);
        };
        let mut offer = Offer {
            bytes: &unsent.bytes[unsent.sent..],
            body: &mut unsent.body,
        };
        let (result, count) = output::send(turn.io, &mut offer, bytes_per_turn(turn.may_block));
        unsent.sent = unsent.bytes.len() - offer.bytes.len();
        self.count_sent(count, turn);
        if let Ok(Sending::Done) = result {
            if unsent.allowance.has_grown() {
                turn.io.keep_unsent(UNSENT_BYTES);
            }
            end_body(*unsent, None, turn.buffers);
        } else {
            if let Some(bytes) = unsent.allowance.note(count) {
                turn.io.keep_unsent(bytes);
            }
            self.unsent = Some(unsent);
        }
        result.map_err(|error| reason_of(&error))
    }

    /// The server ends while the connection is open: the access log has what went of an answer.
    pub fn cut_off(&mut self, buffers: &mut ThreadBuffers) {
        self.end_unsent(CloseReason::Stop, buffers);
    }

    /// Ends the line of an answer that does not go on, because the connection ends for `reason`.
    pub(super) fn end_unsent(&mut self, reason: CloseReason, buffers: &mut ThreadBuffers) {
        if let Some(unsent) = self.unsent.take() {
            end_body(*unsent, Some(reason), buffers);
        }
    }

    fn count_sent<T: Transport>(&mut self, count: u64, turn: &Turn<'_, T>) {
        self.sent_bytes += count;
        turn.buffers.counters.sent(count);
    }
}

/// How many of the `sent` bytes the peer has acknowledged.
pub(super) fn delivered<T: Transport>(sent: u64, io: &mut T) -> Result<u64, CloseReason> {
    let unacknowledged = io.unacknowledged().map_err(|_| CloseReason::Reset)?;
    Ok(sent.saturating_sub(unacknowledged))
}

/// Ends the line of a body that was sent over several turns, with the bytes that really went.
fn end_body(unsent: Unsent, close: Option<CloseReason>, buffers: &mut ThreadBuffers) {
    if let (Some(postponed), Some(log)) = (unsent.log, &mut buffers.log) {
        log.resume(postponed, unsent.body.len(), close);
    }
}

/// Why a failed send ends the connection.
fn reason_of(error: &io::Error) -> CloseReason {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        CloseReason::Truncated
    } else if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) {
        // Only sendfile reads a disk.
        log::error!("a file cannot be read to its end: {error}");
        CloseReason::Truncated
    } else {
        CloseReason::Reset
    }
}

/// A body up to this many bytes is copied behind its head: cheaper than a second part to send.
const COPY_BYTES: usize = 8 * 1024;

/// Bytes of a refused request that are searched for its first line.
const SEARCHED_BYTES: usize = 512;

impl Session {
    /// Whether one more request of `client` may be answered. A connection of its own was counted when
    /// it was accepted, and proxies are exempt.
    pub(super) fn is_admitted(
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

    /// Whether the connection persists after this answer; if not, notes why. `retirement` is `None` if the
    /// answer stands in place of 100 (Continue): a body may follow it or not.
    pub(super) fn fate(
        &mut self,
        head: &RequestHead<'_, '_>,
        status: Status,
        context: &ServerContext,
        retirement: Option<Retirement>,
    ) -> Fate {
        let Some(retirement) = retirement else {
            self.closing = Some(CloseReason::ErrorAnswer);
            return Fate::Close;
        };
        let ends_by_kind = ends_connection(head.method, status);
        if retirement == Retirement::PutOff {
            self.put_off += 1;
        } else {
            self.put_off = 0;
        }
        let keep_alive = &context.config.keep_alive;
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

    /// The line of an answer that is about to be collected, after its fate is decided.
    pub(super) fn line<'q>(
        &self,
        connection: ConnectionId,
        quoted: Quoted<'q>,
        status: Status,
        now: Millis,
    ) -> Line<'q> {
        // A refusal answers no request.
        let number = match self.phase {
            Phase::Refused => 0,
            _ => self.answered + 1,
        };
        Line {
            quoted,
            connection,
            number,
            arrival: self.arrival(now),
            status,
        }
    }

    /// Puts an answer behind those collected before it and takes its request out of the buffer. Returns
    /// the body if it is to be sent after what is collected.
    pub(super) fn collect<T: Transport>(
        &mut self,
        response: Response,
        fate: Fate,
        consumed: usize,
        turn: &mut Turn<'_, T>,
    ) -> Option<Body> {
        let ThreadBuffers {
            input,
            output,
            shared_lines,
            counters,
            ..
        } = &mut *turn.buffers;
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
        match response.body {
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
        let response = pages::rejected(reject).to(reject.method);
        let now = turn.now;
        let ThreadBuffers {
            input,
            log,
            shared_lines,
            ..
        } = &mut *turn.buffers;
        if let Some(log) = log {
            let quoted = Quoted::first_line(self.peer, first_line(input.unread()));
            let line = self.line(log.connection(), quoted, response.status, now.monotonic);
            let dated = shared_lines.at(now.unix_secs);
            log.begin(&line, response.body.len(), self.closing, dated);
        }
        let consumed = input.unread().len();
        // An error page is small enough to be copied, so there is no tail.
        let tail = self.collect(response, Fate::Close, consumed, turn);
        debug_assert!(tail.is_none(), "error pages are copied");
    }
}

/// The first line of a request, as far as it has come, without the empty lines before it.
fn first_line(unread: &[u8]) -> &[u8] {
    let start = unread
        .iter()
        .position(|byte| !matches!(byte, b'\r' | b'\n'))
        .unwrap_or(unread.len());
    let line = &unread[start..];
    let end = memchr::memchr2(b'\r', b'\n', line).unwrap_or(line.len().min(SEARCHED_BYTES));
    &line[..end]
}
