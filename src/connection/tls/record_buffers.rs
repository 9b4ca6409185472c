//! The buffers for records of one thread.
//!
//! A thread lends them to a connection for a turn, so an idle connection holds none.

/// The most content bytes of a record (RFC 8446 section 5.1).
pub(super) const MAX_CONTENT: usize = 16 * 1024;

/// Room for received records: the largest one, which may have 2 KiB more than its content in TLS 1.2 (RFC 5246
/// section 6.2.3), and others with it. A message of the handshake may span records, and must fit as a whole.
const INCOMING_BYTES: usize = 32 * 1024;

/// Room for a record to be sent, with the tickets of a new session before it.
const OUTGOING_BYTES: usize = MAX_CONTENT + 2 * 1024;

/// One thread's buffers for records.
#[derive(Debug)]
pub struct RecordBuffers {
    /// Received bytes of records. Those from `start` to `end` are not consumed yet.
    pub(super) incoming: Box<[u8]>,
    pub(super) start: usize,
    pub(super) end: usize,
    /// Content that is put together for a record.
    pub(super) content: Vec<u8>,
    /// Records to be sent: the first `outgoing_len` bytes.
    pub(super) outgoing: Vec<u8>,
    pub(super) outgoing_len: usize,
    /// A box without bytes, for the next connection.
    pub(super) unused: Option<Box<WaitingBytes>>,
}

/// The bytes of one connection that wait for its next turn, or for the socket.
#[derive(Debug, Default)]
pub(super) struct WaitingBytes {
    /// Received bytes of records that are not consumed.
    pub(super) incoming: Vec<u8>,
    /// Content for which the receiver had no room.
    pub(super) content: Vec<u8>,
    /// Bytes of records that the socket has not taken.
    pub(super) outgoing: Vec<u8>,
    /// The length of the record whose end is in `outgoing`, and that of its content; 0 if no record of content is
    /// there. The sender learns that the content is sent when the whole record is.
    pub(super) unfinished: (usize, usize),
}

impl WaitingBytes {
    pub(super) fn is_empty(&self) -> bool {
        self.incoming.is_empty() && self.content.is_empty() && self.outgoing.is_empty()
    }
}

impl RecordBuffers {
    /// Empty buffers.
    #[must_use]
    pub fn new() -> RecordBuffers {
        RecordBuffers {
            incoming: vec![0; INCOMING_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            content: vec![0; MAX_CONTENT],
            outgoing: vec![0; OUTGOING_BYTES],
            outgoing_len: 0,
            unused: None,
        }
    }

    /// The received bytes that are not consumed yet.
    pub(super) fn unread(&mut self) -> &mut [u8] {
        &mut self.incoming[self.start..self.end]
    }

    /// Starts a turn with the bytes that the connection kept from its last one.
    pub(super) fn load(&mut self, kept: &[u8]) {
        // A turn never keeps more than the buffer holds.
        self.incoming[..kept.len()].copy_from_slice(kept);
        (self.start, self.end) = (0, kept.len());
        self.outgoing_len = 0;
    }

    /// The space for the next receive; empty if the unread bytes fill the buffer.
    pub(super) fn space(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.incoming.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.incoming[self.end..]
    }

    /// The records to be sent, which are removed.
    pub(super) fn take_outgoing(&mut self) -> &[u8] {
        &self.outgoing[..std::mem::take(&mut self.outgoing_len)]
    }

    /// Appends bytes to the records to be sent.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.outgoing_space(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.outgoing_len += bytes.len();
    }

    /// The space behind the records to be sent, with room for `count` bytes at least.
    pub(super) fn outgoing_space(&mut self, count: usize) -> &mut [u8] {
        let needed = self.outgoing_len + count;
        if self.outgoing.len() < needed {
            self.outgoing.resize(needed, 0);
        }
        &mut self.outgoing[self.outgoing_len..]
    }
}

impl Default for RecordBuffers {
    fn default() -> RecordBuffers {
        RecordBuffers::new()
    }
}
