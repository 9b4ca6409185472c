//! The buffers that a thread lends to a connection for one turn. They are reused from turn to turn, so an
//! idle connection holds none and a request allocates nothing.

use std::sync::Arc;

use super::access_log::log_buffer::LogBuffer;
use super::counters::Counters;
use super::limits::requests_per_client::CountedRequest;
use super::response_timer::ResponseTimer;
use super::tls::RecordBuffers;
use crate::config::Config;
use crate::http::fields::FieldSpan;
use crate::http::request::{HeadLimits, HeadProgress, Parsed, Reject, parse_head, resume_head};
use crate::http::response::SharedLines;
use crate::site::WouldBlock;
use crate::site::waiting::Flight;

/// Room for received bytes beyond the largest head.
const RECEIVE_BYTES: usize = 16 * 1024;

/// Room for the empty lines that may come before a head: 8 times CRLF (RFC 9112 section 2.2).
const EMPTY_LINES_BYTES: usize = 16;

/// One thread's buffers, counters and log.
#[derive(Debug)]
pub struct ThreadBuffers {
    pub(super) input: Input,
    /// Encoded heads and small bodies, collected until the next flush.
    pub(super) output: Vec<u8>,
    pub(super) spans: Vec<FieldSpan>,
    pub(super) path: Vec<u8>,
    pub(super) shared_lines: SharedLines,
    /// The clients whose requests are being answered in this turn; empty without a limit per client.
    pub(super) counted_requests: Vec<CountedRequest>,
    /// The load that the current request waits for, if the turn ended because of it.
    pub awaited: Option<Arc<Flight>>,
    /// Set when a turn ends because the thread must not wait for the disk that is needed. The thread
    /// clears it after each turn.
    pub would_block_on_disk: bool,
    /// Set when a turn ends because a TLS handshake needs cryptography, which is a worker's work. The thread
    /// clears it after each turn.
    pub needs_computing: bool,
    /// The buffers for records; `None` before the first connection with TLS.
    pub(super) records: Option<Box<RecordBuffers>>,
    /// Lines of the access log; `None` without a log. The thread writes the lines out.
    pub log: Option<LogBuffer>,
    /// Measures how long responses take.
    pub timer: ResponseTimer,
    /// The thread's counters.
    pub counters: Arc<Counters>,
}

impl ThreadBuffers {
    /// Buffers for connections under the limits of `config`, with a log buffer if there is an access log.
    #[must_use]
    pub fn new(config: &Config, counters: Arc<Counters>) -> ThreadBuffers {
        let (limits, access_log) = (&config.limits, &config.access_log);
        ThreadBuffers {
            input: Input::new(limits.head_bytes + EMPTY_LINES_BYTES + RECEIVE_BYTES),
            output: Vec::new(),
            spans: Vec::with_capacity(limits.headers),
            path: Vec::new(),
            shared_lines: SharedLines::new(config.keep_alive.timeout_secs),
            counted_requests: Vec::new(),
            awaited: None,
            would_block_on_disk: false,
            needs_computing: false,
            records: None,
            log: access_log
                .target
                .is_some()
                .then(|| LogBuffer::new(access_log)),
            timer: ResponseTimer::new(config.admin.is_on()),
            counters,
        }
    }

    /// Takes over the settings of another `config`, between two turns. The caller flushes the log lines and counts the
    /// responses before.
    pub fn reconfigure(&mut self, config: &Config) {
        let next = ThreadBuffers::new(config, Arc::clone(&self.counters));
        // Connections may have kept heads that the old limits allowed.
        let input = match next.input.capacity() > self.input.capacity() {
            true => next.input,
            false => std::mem::replace(&mut self.input, Input::new(0)),
        };
        let mut timer = next.timer;
        timer.continue_from(&self.timer);
        *self = ThreadBuffers {
            input,
            timer,
            ..next
        };
    }

    /// Counts the responses since the last reading of the clock, which now shows `micros`.
    pub fn count_responses(&mut self, micros: u64) {
        self.timer.end(micros, &self.counters);
    }

    /// Notes the reason why the current request cannot be answered yet.
    pub(super) fn note_would_block(&mut self, needs: WouldBlock) {
        self.awaited = match needs {
            WouldBlock::OnDisk => {
                self.would_block_on_disk = true;
                None
            }
            WouldBlock::InFlight(flight) => Some(flight),
        };
    }

    /// Discards the data that a turn that panicked left.
    pub fn clear(&mut self) {
        self.input.clear();
        self.output.clear();
        self.counted_requests.clear();
        self.timer.sent();
        self.awaited = None;
        self.needs_computing = false;
        if let Some(log) = &mut self.log {
            log.clear_half_written();
        }
    }
}

/// Received bytes that a connection keeps between its turns.
#[derive(Debug)]
pub(super) struct KeptInput {
    bytes: Vec<u8>,
    /// How far the head at the front of `bytes` has been parsed.
    progress: Option<HeadProgress>,
}

impl KeptInput {
    #[cold]
    fn append(&mut self, received: &[u8]) {
        let bytes = &mut self.bytes;
        if bytes.capacity() - bytes.len() < received.len() {
            // Grows by a quarter, so that each byte is moved four times at most, whatever the size of the
            // pieces.
            bytes.reserve_exact(received.len().max(bytes.len() / 4));
        }
        bytes.extend_from_slice(received);
    }
}

/// Received bytes that are not consumed yet.
///
/// A connection that has kept no bytes receives into the thread's buffer. A connection that has kept some
/// lends its own buffer for the turn, and received bytes are appended there. So kept bytes are not copied
/// again for each piece that follows them.
#[derive(Debug)]
pub(super) struct Input {
    /// The thread's buffer.
    bytes: Box<[u8]>,
    /// The connection's buffer. If there is one, it holds the unread bytes.
    kept: Option<Box<KeptInput>>,
    start: usize,
    end: usize,
    /// How far the head at the start of the unread bytes has been parsed.
    progress: Option<HeadProgress>,
}

impl Input {
    fn new(capacity: usize) -> Input {
        Input {
            bytes: vec![0; capacity].into_boxed_slice(),
            kept: None,
            start: 0,
            end: 0,
            progress: None,
        }
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// Starts a turn with the bytes that the connection kept from the last one.
    pub(super) fn load(&mut self, mut kept: Box<KeptInput>) {
        debug_assert!(
            self.unread().is_empty(),
            "the last turn has stored its unread bytes"
        );
        (self.start, self.end) = (0, kept.bytes.len());
        self.progress = kept.progress.take();
        self.kept = Some(kept);
    }

    pub(super) fn unread(&self) -> &[u8] {
        match &self.kept {
            None => &self.bytes[self.start..self.end],
            Some(kept) => &kept.bytes[self.start..self.end],
        }
    }

    pub(super) fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.end - self.start);
        self.start += count;
        self.progress = None;
    }

    /// How far the head at the start of the unread bytes has been parsed; `None` if its parsing has not
    /// begun.
    pub(super) fn progress(&self) -> Option<&HeadProgress> {
        self.progress.as_ref()
    }

    /// Parses the head at the start of the unread bytes, from where the last attempt ended.
    ///
    /// # Errors
    /// As [`parse_head`].
    #[inline]
    pub(super) fn parse_head<'b, 's>(
        &'b self,
        limits: &HeadLimits,
        spans: &'s mut Vec<FieldSpan>,
    ) -> Result<Parsed<'b, 's>, Reject> {
        match &self.progress {
            None => parse_head(self.unread(), limits, spans),
            Some(progress) => resume_head(self.unread(), limits, spans, progress),
        }
    }

    /// Notes how far the head at the start of the unread bytes has been parsed.
    pub(super) fn note_progress(&mut self, progress: HeadProgress) {
        self.progress = Some(progress);
    }

    /// Removes `count` bytes that begin `at` bytes into the unread ones. Moves the bytes before them or
    /// the bytes after them, whichever are fewer.
    pub(super) fn remove(&mut self, at: usize, count: usize) {
        let bytes = match &mut self.kept {
            None => &mut self.bytes[..],
            Some(kept) => &mut kept.bytes[..],
        };
        let (start, behind) = (self.start, self.start + at + count);
        if self.end - behind <= at {
            bytes.copy_within(behind..self.end, start + at);
            self.end -= count;
        } else {
            bytes.copy_within(start..start + at, start + count);
            self.start += count;
        }
        if let Some(kept) = &mut self.kept {
            kept.bytes.truncate(self.end);
        }
    }

    /// The space for the next receive; never empty while a head may still be incomplete.
    #[inline]
    pub(super) fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.kept = None;
            (self.start, self.end) = (0, 0);
            &mut self.bytes
        } else {
            self.space_behind_unread()
        }
    }

    #[cold]
    fn space_behind_unread(&mut self) -> &mut [u8] {
        if self.kept.is_some() {
            // `received` appends the new bytes to the kept ones; together they have the room of one
            // buffer.
            let room = self.bytes.len().saturating_sub(self.end - self.start);
            return &mut self.bytes[..room];
        }
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.bytes[self.end..]
    }

    /// Notes that `count` bytes were written to the front of [`Input::space`].
    #[inline]
    pub(super) fn received(&mut self, count: usize) {
        self.end += count;
        if let Some(kept) = &mut self.kept {
            kept.append(&self.bytes[..count]);
        }
    }

    /// Ends a turn: returns the unread bytes and leaves the buffer empty.
    #[inline]
    pub(super) fn take(&mut self) -> Option<Box<KeptInput>> {
        let is_empty = self.start == self.end;
        let kept = if is_empty { None } else { Some(self.keep()) };
        self.clear();
        kept
    }

    /// Moves the unread bytes into a new buffer, or to the front of the connection's buffer.
    #[cold]
    fn keep(&mut self) -> Box<KeptInput> {
        let progress = self.progress.take();
        let Some(mut kept) = self.kept.take() else {
            let bytes = self.unread().to_vec();
            return Box::new(KeptInput { bytes, progress });
        };
        kept.progress = progress;
        kept.bytes.drain(..self.start);
        // A body, or requests answered by now, may have made the buffer much larger than the rest needs.
        if kept.bytes.capacity() / 2 > kept.bytes.len() {
            kept.bytes.shrink_to_fit();
        }
        kept
    }

    /// Discards all bytes, so that no connection sees those of another.
    #[inline]
    fn clear(&mut self) {
        self.kept = None;
        (self.start, self.end) = (0, 0);
        self.progress = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(input: &mut Input, bytes: &[u8]) {
        input.space()[..bytes.len()].copy_from_slice(bytes);
        input.received(bytes.len());
    }

    /// Ends a turn and begins the next one.
    fn next_turn(input: &mut Input) {
        let kept = input.take().expect("something is unread");
        assert!(input.unread().is_empty());
        input.load(kept);
    }

    #[test]
    fn bytes_are_received_consumed_removed_and_kept() {
        let mut input = Input::new(8);
        receive(&mut input, b"ab");
        next_turn(&mut input);
        receive(&mut input, b"cdef");
        input.consume(1);
        input.remove(1, 2);
        assert_eq!(input.unread(), b"bef");
        assert_eq!(input.space().len(), 5, "what was consumed makes room");
        next_turn(&mut input);
        assert_eq!(input.unread(), b"bef");
        input.consume(3);
        assert!(input.take().is_none());
    }

    #[test]
    fn bytes_are_moved_to_the_front_of_the_thread_s_buffer() {
        let mut input = Input::new(8);
        receive(&mut input, b"abcdef");
        input.consume(2);
        assert_eq!(input.space().len(), 4);
        assert_eq!(input.unread(), b"cdef");
    }

    #[test]
    fn bytes_are_removed_whichever_side_is_moved() {
        for is_kept in [false, true] {
            for (at, count) in [(1, 2), (5, 2), (0, 3), (6, 2), (4, 0), (0, 8)] {
                let mut input = Input::new(8);
                receive(&mut input, b"abcdefgh");
                if is_kept {
                    next_turn(&mut input);
                }
                input.remove(at, count);
                let expected = [&b"abcdefgh"[..at], &b"abcdefgh"[at + count..]].concat();
                assert_eq!(input.unread(), expected, "{at}, {count}");
                assert_eq!(input.space().len(), count);
            }
        }
    }

    /// Kept bytes are copied only when their buffer grows.
    #[test]
    fn one_byte_pieces_do_not_copy_kept_bytes() {
        let mut input = Input::new(1 << 16);
        receive(&mut input, b"x");
        let (mut moves, mut last) = (0, std::ptr::null());
        for len in 2..=60_000 {
            next_turn(&mut input);
            receive(&mut input, b"x");
            assert_eq!(input.unread().len(), len);
            let capacity = input.kept.as_ref().map_or(0, |kept| kept.bytes.capacity());
            assert!(capacity <= len + len / 4 + 1, "{capacity} for {len}");
            if last != input.unread().as_ptr() {
                (moves, last) = (moves + 1, input.unread().as_ptr());
            }
        }
        assert!(moves < 60, "{moves} moves for 60,000 bytes");
    }

    #[test]
    fn memory_that_a_body_took_is_freed() {
        let mut input = Input::new(1 << 16);
        receive(&mut input, b"head");
        next_turn(&mut input);
        receive(&mut input, &[b'x'; 50_000]);
        input.remove(4, 50_000);
        let kept = input.take().expect("the head");
        assert_eq!(kept.bytes, b"head");
        assert!(kept.bytes.capacity() < 100);
    }
}
