//! The access log lines that one thread collects.
//!
//! A line is begun when its response is collected, and completed at the end of the turn. If the body is not
//! sent whole by then, its line waits with the connection ([`UnfinishedLine`]) and comes back for the turn
//! that ends the body.

use super::line::{self, LineEnd, LineStart, LogLine, LoggedRequest};
use super::timestamp::LogTimestamp;
use crate::config::{AccessLogConfig, AccessLogFormat};
use crate::connection::connection_id::ConnectionId;
use crate::connection::counters::CloseReason;
use crate::connection::peer::Peer;
use crate::http::request::RequestHead;
use crate::http::response::SharedLines;

/// One thread's buffer of access log lines.
#[derive(Debug)]
pub struct LogBuffer {
    config: AccessLogConfig,
    timestamp: LogTimestamp,
    /// The connection whose turn it is.
    connection: ConnectionId,
    turn_started_micros: u64,
    /// The beginnings of lines, one after another.
    begun: Vec<u8>,
    open: Vec<OpenLine>,
    /// Complete lines.
    lines: Vec<u8>,
}

/// The data that complete a line that is begun.
#[derive(Debug, Clone, Copy)]
struct OpenLine {
    /// Where the beginning ends, and where the number of bytes is inserted; offsets in the buffer that holds
    /// the beginning.
    end: usize,
    bytes_at: usize,
    body_bytes: u64,
    started_micros: u64,
    close: Option<CloseReason>,
    /// The format of the beginning. A reload may change the format before the line ends.
    format: AccessLogFormat,
}

/// A line whose response does not end in this turn.
#[derive(Debug)]
pub struct UnfinishedLine {
    begun: Vec<u8>,
    open: OpenLine,
}

impl LogBuffer {
    /// A log buffer in the format of `config`.
    #[must_use]
    pub fn new(config: &AccessLogConfig) -> LogBuffer {
        LogBuffer {
            config: config.clone(),
            timestamp: LogTimestamp::new(config.format),
            connection: ConnectionId::default(),
            turn_started_micros: 0,
            begun: Vec::new(),
            open: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// Whether the lines contain the duration of a response; if so, the caller must time turns.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        let is_timed = |open: &OpenLine| line::has_duration(open.format);
        line::has_duration(self.config.format) || self.open.iter().any(is_timed)
    }

    /// Begins a turn of `connection` at `now_micros` (`Clock::micros`). The time may be any number if
    /// [`is_timed`](LogBuffer::is_timed) is false.
    pub fn begin_turn(&mut self, connection: ConnectionId, now_micros: u64) {
        self.connection = connection;
        self.turn_started_micros = now_micros;
    }

    /// Whether [`end_turn`](LogBuffer::end_turn) has lines to complete.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        !self.open.is_empty()
    }

    /// Ends the turn at `now_micros`, and completes the lines that are begun.
    pub fn end_turn(&mut self, now_micros: u64) {
        let mut start = 0;
        for open in self.open.drain(..) {
            let ending = LineEnd {
                body_bytes: open.body_bytes,
                duration_micros: now_micros.saturating_sub(open.started_micros),
                close: open.close,
            };
            let begun = LineStart {
                text: &self.begun[start..open.end],
                bytes_at: open.bytes_at - start,
            };
            line::complete(&begun, &ending, open.format, &mut self.lines);
            start = open.end;
        }
        self.begun.clear();
    }

    /// The complete lines. The caller that writes them removes them.
    pub fn lines(&mut self) -> &mut Vec<u8> {
        &mut self.lines
    }

    /// The connection whose turn it is.
    pub(in crate::connection) fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// The parts of a log line that come from `client` and from this head.
    pub(in crate::connection) fn logged_request<'h>(
        &self,
        client: Peer,
        head: &RequestHead<'h, '_>,
    ) -> LoggedRequest<'h> {
        let has_fields = self.config.format != AccessLogFormat::Common;
        let field = |name| has_fields.then(|| head.fields.first(name)).flatten();
        LoggedRequest {
            client,
            request_line: head.request_line,
            host: head.host,
            referer: field("referer"),
            user_agent: field("user-agent"),
        }
    }

    /// Begins the line of a response with `body_bytes` to send, in the second of `dated`. `close` is the
    /// reason if the connection ends with this response.
    pub(in crate::connection) fn begin(
        &mut self,
        line: &LogLine<'_>,
        body_bytes: u64,
        close: Option<CloseReason>,
        dated: &SharedLines,
    ) {
        let time = self.timestamp.at(dated.unix_secs(), dated.date());
        let bytes_at = line::begin(line, time, &self.config, &mut self.begun);
        let turn_started = self.turn_started_micros;
        let started_micros = line
            .arrival
            .since
            .map_or(turn_started, |since| since.0 * 1000);
        self.open.push(OpenLine {
            end: self.begun.len(),
            bytes_at,
            body_bytes,
            started_micros,
            close,
            format: self.config.format,
        });
    }

    /// Removes the line that was begun last from this turn, because its response has not ended.
    pub(in crate::connection) fn take_unfinished(&mut self) -> Option<UnfinishedLine> {
        let mut open = self.open.pop()?;
        let start = self.open.last().map_or(0, |before| before.end);
        let begun = self.begun.split_off(start);
        open.end -= start;
        open.bytes_at -= start;
        Some(UnfinishedLine { begun, open })
    }

    /// Puts a line back into this turn, in which its response ends with `unsent_bytes` of the body not sent.
    /// `close` is the reason if the connection ends too.
    pub(in crate::connection) fn resume(
        &mut self,
        unfinished: UnfinishedLine,
        unsent_bytes: u64,
        close: Option<CloseReason>,
    ) {
        let UnfinishedLine { begun, mut open } = unfinished;
        let start = self.begun.len();
        self.begun.extend_from_slice(&begun);
        open.end += start;
        open.bytes_at += start;
        open.body_bytes -= unsent_bytes;
        open.close = close.or(open.close);
        self.open.push(open);
    }

    /// Notes that the connection ends with the response whose line was begun last.
    pub(in crate::connection) fn note_close(&mut self, close: CloseReason) {
        if let Some(last) = self.open.last_mut() {
            last.close = Some(close);
        }
    }

    /// Discards the incomplete text that a turn that panicked has left.
    pub(in crate::connection) fn clear_half_written(&mut self) {
        let end = self.open.last().map_or(0, |last| last.end);
        self.begun.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Millis;
    use crate::connection::access_log::line::Arrival;
    use crate::http::status::Status;

    fn log_buffer() -> LogBuffer {
        LogBuffer::new(&AccessLogConfig {
            format: AccessLogFormat::Extended,
            ..AccessLogConfig::default()
        })
    }

    fn begin(log_buffer: &mut LogBuffer, number: u32, since: Option<u64>, body_bytes: u64) {
        let line = LogLine {
            request: LoggedRequest::first_line(Peer::Unix, b"GET / HTTP/1.1"),
            connection: log_buffer.connection(),
            number,
            arrival: Arrival {
                since: since.map(Millis),
                idle_millis: 0,
            },
            status: Status::OK,
        };
        let mut shared_lines = SharedLines::new(0);
        log_buffer.begin(&line, body_bytes, None, shared_lines.at(0));
    }

    fn lines(log_buffer: &mut LogBuffer) -> Vec<String> {
        let text = String::from_utf8(std::mem::take(log_buffer.lines())).expect("ASCII");
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_turn_completes_the_lines_of_its_answers() {
        let mut log_buffer = log_buffer();
        log_buffer.begin_turn(ConnectionId::default(), 5_000);
        begin(&mut log_buffer, 1, None, 10);
        begin(&mut log_buffer, 2, Some(4), 0);
        assert!(log_buffer.has_begun());
        log_buffer.end_turn(5_250);
        assert!(!log_buffer.has_begun());
        let lines = lines(&mut log_buffer);
        assert!(lines[0].contains(" 200 10 \"-\"") && lines[0].contains(" number=1 "));
        assert!(
            lines[0].ends_with(" duration_us=250 close=-"),
            "{}",
            lines[0]
        );
        assert!(lines[1].contains(" 200 - \"-\"") && lines[1].contains(" number=2 "));
        assert!(
            lines[1].ends_with(" duration_us=1250 close=-"),
            "{}",
            lines[1]
        );
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn a_line_waits_for_the_end_of_its_answer() {
        let mut log_buffer = log_buffer();
        begin(&mut log_buffer, 1, None, 10);
        begin(&mut log_buffer, 2, Some(7), 1_000);
        let unfinished = log_buffer.take_unfinished().expect("a line");
        log_buffer.end_turn(7_000);
        assert_eq!(lines(&mut log_buffer).len(), 1);
        // Another connection's turn comes in between and shares the buffer.
        begin(&mut log_buffer, 3, Some(1), 30);
        log_buffer.resume(unfinished, 400, Some(CloseReason::Reset));
        log_buffer.end_turn(9_000);
        let lines = lines(&mut log_buffer);
        assert!(lines[0].contains(" 200 30 ") && lines[0].ends_with("duration_us=8000 close=-"));
        assert!(lines[1].contains(" 200 600 ") && lines[1].contains(" number=2 "));
        assert!(
            lines[1].ends_with(" duration_us=2000 close=reset"),
            "{}",
            lines[1]
        );
    }

    #[test]
    fn text_that_a_panic_leaves_is_no_part_of_the_next_line() {
        let mut log_buffer = log_buffer();
        begin(&mut log_buffer, 1, None, 10);
        log_buffer.begun.extend_from_slice(b"half a li");
        log_buffer.clear_half_written();
        begin(&mut log_buffer, 2, None, 20);
        log_buffer.end_turn(0);
        let lines = lines(&mut log_buffer);
        assert_eq!(lines.len(), 2);
        assert!(lines[1].starts_with("unix: - - ["), "{}", lines[1]);
    }
}
