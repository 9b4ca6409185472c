//! What a thread lends to a connection for the length of a turn: buffers that are reused from turn
//! to turn, so that an idle connection holds none and a request allocates nothing.

use std::sync::Arc;

use super::counters::Counters;
use super::guests::Guest;
use super::journal::Journal;
use crate::config::Config;
use crate::http::fields::FieldSpan;
use crate::http::shared_lines::SharedLines;
use crate::site::errand::Errand;

/// Room for received bytes beyond the largest head.
const RECEIVE_BYTES: usize = 16 * 1024;

/// Room for the empty lines that may come before a head: 8 times CRLF (RFC 9112 section 2.2).
const EMPTY_LINES_BYTES: usize = 16;

/// One thread's buffers and tools.
#[derive(Debug)]
pub struct Desk {
    pub(super) input: Input,
    /// Encoded heads and small bodies, collected until the next flush.
    pub(super) output: Vec<u8>,
    pub(super) spans: Vec<FieldSpan>,
    pub(super) path: Vec<u8>,
    pub(super) shared_lines: SharedLines,
    /// Whose requests are being answered in this turn, if that is limited.
    pub(super) guests: Vec<Guest>,
    /// What the request at hand waits for, after a turn that ended for that.
    pub awaited: Option<Arc<Errand>>,
    /// Lines of the access log; `None` if there is no log. The thread writes them out.
    pub log: Option<Journal>,
    /// The thread's counters.
    pub counters: Arc<Counters>,
}

impl Desk {
    /// A desk for connections under the limits of `config`, with a journal if it has an access log.
    #[must_use]
    pub fn new(config: &Config, counters: Arc<Counters>) -> Desk {
        let (limits, access_log) = (&config.limits, &config.access_log);
        Desk {
            input: Input::new(limits.head_bytes + EMPTY_LINES_BYTES + RECEIVE_BYTES),
            output: Vec::new(),
            spans: Vec::with_capacity(limits.headers),
            path: Vec::new(),
            shared_lines: SharedLines::new(config.keep_alive.timeout_secs),
            guests: Vec::new(),
            awaited: None,
            log: access_log
                .target
                .is_some()
                .then(|| Journal::new(access_log)),
            counters,
        }
    }

    /// Forgets what a turn that panicked left behind.
    pub fn clear(&mut self) {
        self.input.start = 0;
        self.input.end = 0;
        self.output.clear();
        self.guests.clear();
        self.awaited = None;
        if let Some(log) = &mut self.log {
            log.clear_half_written();
        }
    }
}

/// Received bytes that are not consumed yet.
#[derive(Debug)]
pub(super) struct Input {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Input {
    fn new(capacity: usize) -> Input {
        Input {
            bytes: vec![0; capacity].into_boxed_slice(),
            start: 0,
            end: 0,
        }
    }

    /// Starts a turn with what the connection kept from the last one.
    pub(super) fn load(&mut self, kept: &[u8]) {
        debug_assert!(
            self.unread().is_empty(),
            "the last turn has stored what it left"
        );
        self.bytes[..kept.len()].copy_from_slice(kept);
        (self.start, self.end) = (0, kept.len());
    }

    pub(super) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    pub(super) fn consume(&mut self, count: usize) {
        debug_assert!(count <= self.end - self.start);
        self.start += count;
    }

    /// Removes `count` bytes that begin `at` bytes into the unread ones.
    pub(super) fn remove(&mut self, at: usize, count: usize) {
        let from = self.start + at + count;
        self.bytes.copy_within(from..self.end, self.start + at);
        self.end -= count;
    }

    /// Where to receive next; never empty as long as a head may still be incomplete.
    pub(super) fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.bytes[self.end..]
    }

    pub(super) fn received(&mut self, count: usize) {
        self.end += count;
        debug_assert!(self.end <= self.bytes.len());
    }

    /// Ends a turn: hands over what is unread and leaves the buffer empty.
    pub(super) fn take(&mut self) -> Option<Box<[u8]>> {
        let unread = self.unread();
        let kept = (!unread.is_empty()).then(|| Box::from(unread));
        (self.start, self.end) = (0, 0);
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_received_consumed_removed_and_kept() {
        let mut input = Input::new(8);
        input.load(b"ab");
        input.space()[..4].copy_from_slice(b"cdef");
        input.received(4);
        input.consume(1);
        input.remove(1, 2);
        assert_eq!(input.unread(), b"bef");
        assert_eq!(input.space().len(), 5, "what is unread moves to the front");
        assert_eq!(input.take().as_deref(), Some(&b"bef"[..]));
        assert_eq!(input.take(), None);
    }
}
