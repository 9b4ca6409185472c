//! Appends the site's responses to the collected output, each with a line of the access log; sends the
//! output; and keeps the bytes that the socket does not take.

use std::io;

use super::state::{AckState, Phase, Session, Turn};
use crate::clock::Millis;
use crate::connection::access_log::line::{LogLine, LoggedRequest};
use crate::connection::access_log::log_buffer::LogBuffer;
use crate::connection::connection_id::ConnectionId;
use crate::connection::counters::CloseReason;
use crate::connection::output::{
    self, OutgoingData, Pause, SendProgress, Unsent, UnsentLimit, bytes_per_turn,
};
use crate::connection::request_kind::RequestKind;
use crate::connection::stall_detector::StallDetector;
use crate::connection::thread_buffers::ThreadBuffers;
use crate::connection::transport::Transport;
use crate::http::keep_alive::Persistence;
use crate::http::method::Method;
use crate::http::request::Reject;
use crate::http::response::{Body, Response, encode_head};
use crate::http::status::Status;
use crate::site::pages;

/// A body up to this size is copied after its head, which costs less than a second part to send.
pub(super) const COPY_BYTES: usize = 8 * 1024;

/// Bytes of a refused request that are searched for the end of its first line.
const SEARCHED_BYTES: usize = 512;

impl Session {
    /// The log line of a response that is about to be collected, after its persistence is decided.
    pub(super) fn line<'q>(
        &self,
        connection: ConnectionId,
        request: LoggedRequest<'q>,
        status: Status,
        now: Millis,
    ) -> LogLine<'q> {
        // A refusal answers no request.
        let number = match self.phase {
            Phase::Refused => 0,
            _ => self.answered + 1,
        };
        LogLine {
            request,
            connection,
            number,
            arrival: self.arrival(now),
            status,
        }
    }

    /// Appends the response to a request with this method, if the method is known, to the collected output,
    /// and consumes `consumed` bytes, its request. Returns the body if it must be sent after the collected
    /// output.
    pub(super) fn collect<T: Transport>(
        &mut self,
        method: Option<Method>,
        (response, persistence): (Response, Persistence),
        consumed: usize,
        turn: &mut Turn<'_, T>,
    ) -> Option<Body> {
        let buffers = &mut *turn.buffers;
        let shared_lines = buffers.shared_lines.at(turn.now.unix_secs);
        let persists = matches!(persistence, Persistence::Persist { .. });
        match self.promise.other_timeout_secs(shared_lines.timeout_secs()) {
            Some(timeout_secs) if persists => {
                let lines = shared_lines.promising(timeout_secs);
                encode_head(&response, &lines, persistence, &mut buffers.output);
            }
            _ => encode_head(&response, shared_lines, persistence, &mut buffers.output),
        }
        log::trace!(
            "{} for {}",
            response.status.code(),
            first_line(buffers.input.unread()).escape_ascii()
        );
        buffers.input.consume(consumed);
        // A refusal answers no request.
        if !matches!(self.phase, Phase::Refused) {
            self.answered += 1;
            buffers.counters.answered(1);
            let kind = RequestKind::new(method, response.status);
            buffers.timer.collected(kind, self.begun_at());
        }
        self.phase = Phase::Idle {
            since: turn.now.monotonic,
            ack: AckState::ThisTurn,
        };
        match response.body {
            Body::Empty => None,
            Body::Memory(content) if content.len() <= COPY_BYTES => {
                buffers.output.extend_from_slice(&content);
                None
            }
            body => Some(body),
        }
    }

    /// Collects an error response that ends the connection. Further received bytes are dropped.
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
            let request = LoggedRequest::first_line(self.peer, first_line(input.unread()));
            let line = self.line(log.connection(), request, response.status, now.monotonic);
            let dated = shared_lines.at(now.unix_secs);
            log.begin(&line, response.body.len(), self.closing, dated);
        }
        let consumed = input.unread().len();
        // An error page is small enough to be copied, so there is no tail.
        let answer = (response, Persistence::Close);
        let tail = self.collect(reject.method, answer, consumed, turn);
        debug_assert!(tail.is_none(), "error pages are copied");
    }

    /// Sends the collected output, and `tail` after it.
    pub(super) fn flush<T: Transport>(
        &mut self,
        tail: Option<Body>,
        turn: &mut Turn<'_, T>,
    ) -> Result<SendProgress, CloseReason> {
        if tail.is_none() && turn.buffers.output.is_empty() {
            return Ok(SendProgress::Done);
        }
        let has_tail = tail.is_some();
        let mut body = tail.unwrap_or(Body::Empty);
        let mut data = OutgoingData {
            bytes: &turn.buffers.output,
            body: &mut body,
        };
        let (result, count) = output::send(turn.io, &mut data, bytes_per_turn(turn.may_block));
        let sent = turn.buffers.output.len() - data.bytes.len();
        self.count_sent(count, turn);
        if let Ok(SendProgress::Done) = result {
            turn.buffers.output.clear();
            turn.buffers.counted_requests.clear();
            turn.buffers.timer.sent();
            return Ok(SendProgress::Done);
        }
        self.keep_unsent(result, sent, has_tail.then_some(body), turn)
    }

    /// After `result`, keeps the part of the collected output and of `tail` that the socket has not taken;
    /// `sent` bytes of the output are sent.
    #[cold]
    fn keep_unsent<T: Transport>(
        &mut self,
        result: io::Result<SendProgress>,
        sent: usize,
        tail: Option<Body>,
        turn: &mut Turn<'_, T>,
    ) -> Result<SendProgress, CloseReason> {
        let has_tail = tail.is_some();
        let mut unsent = Unsent {
            bytes: Vec::new(),
            sent: 0,
            body: tail.unwrap_or(Body::Empty),
            log: None,
            counted_requests: std::mem::take(&mut turn.buffers.counted_requests),
            responses: turn.buffers.timer.take_unsent(),
            stall_detector: StallDetector::start(0, turn.now.monotonic),
            unsent_limit: UnsentLimit::first(),
        };
        if has_tail {
            unsent.log = turn
                .buffers
                .log
                .as_mut()
                .and_then(LogBuffer::take_unfinished);
        }
        match result {
            Ok(sending) => {
                let acknowledged = acknowledged(self.sent_bytes, turn.io)?;
                unsent.stall_detector = StallDetector::start(acknowledged, turn.now.monotonic);
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
                // `finish` logs what was sent.
                self.unsent = Some(Box::new(unsent));
                Err(reason)
            }
        }
    }

    /// Sends again what the socket did not take before.
    pub(super) fn send_unsent<T: Transport>(
        &mut self,
        turn: &mut Turn<'_, T>,
    ) -> Result<SendProgress, CloseReason> {
        if let Some(unsent) = self.unsent.as_deref()
            && !unsent.is_within(turn.may_block)
        {
            turn.buffers.would_block_on_disk = true;
            return Ok(SendProgress::Paused(Pause::Again));
        }
        let Some(mut unsent) = self.unsent.take() else {
            return Ok(SendProgress::Done);
        };
        let mut data = OutgoingData {
            bytes: &unsent.bytes[unsent.sent..],
            body: &mut unsent.body,
        };
        let (result, count) = output::send(turn.io, &mut data, bytes_per_turn(turn.may_block));
        unsent.sent = unsent.bytes.len() - data.bytes.len();
        self.count_sent(count, turn);
        if let Ok(SendProgress::Done) = result {
            end_body(*unsent, None, turn.buffers);
        } else {
            if let Some(bytes) = unsent.unsent_limit.note(count) {
                turn.io.keep_unsent(bytes);
            }
            self.unsent = Some(unsent);
        }
        result.map_err(|error| reason_of(&error))
    }

    /// Logs the part of a response that was sent, when the server ends while the connection is open.
    pub fn cut_off(&mut self, buffers: &mut ThreadBuffers) {
        self.end_unsent(CloseReason::Stop, buffers);
    }

    /// Completes the log line of a response that is cut off because the connection ends for `reason`.
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

/// The number of the `sent` bytes that the peer has acknowledged.
pub(super) fn acknowledged<T: Transport>(sent: u64, io: &mut T) -> Result<u64, CloseReason> {
    let unacknowledged = io.unacknowledged().map_err(|_| CloseReason::Reset)?;
    Ok(sent.saturating_sub(unacknowledged))
}

/// Completes the log line of a body that was sent over several turns, with the bytes sent, and the times of
/// the responses.
fn end_body(unsent: Unsent, close: Option<CloseReason>, buffers: &mut ThreadBuffers) {
    buffers.timer.resume(unsent.responses);
    if let (Some(unfinished), Some(log)) = (unsent.log, &mut buffers.log) {
        log.resume(unfinished, unsent.body.len(), close);
    }
}

/// The reason to close after a failed send.
fn reason_of(error: &io::Error) -> CloseReason {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        CloseReason::Truncated
    } else if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) {
        // Only the body of a file is read from a disk while it is sent.
        log::error!("a file cannot be read to its end: {error}");
        CloseReason::Truncated
    } else {
        CloseReason::Reset
    }
}

/// The first line of a request as far as it has arrived, without the empty lines before it.
fn first_line(unread: &[u8]) -> &[u8] {
    let start = unread
        .iter()
        .position(|byte| !matches!(byte, b'\r' | b'\n'))
        .unwrap_or(unread.len());
    let line = &unread[start..];
    let end = memchr::memchr2(b'\r', b'\n', line).unwrap_or(line.len().min(SEARCHED_BYTES));
    &line[..end]
}
