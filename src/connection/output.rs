//! Sending responses, and the bytes of them that the socket has not taken yet.

use std::fs::File;
use std::io;

use super::access_log::log_buffer::UnfinishedLine;
use super::limits::requests_per_client::CountedRequest;
use super::response_timer::UnsentResponses;
use super::stall_detector::StallDetector;
use super::transport::{Transport, UNSENT_BYTES};
use crate::http::response::Body;
use crate::site::MayBlock;

/// The most bytes for one sendfile. A larger call on a fast peer would hold the thread too long.
const SEND_FILE_BYTES: u64 = 1024 * 1024;

/// Bytes after which a turn ends if there is more to send. The event loop sends less, so that
/// other connections wait for a tenth of a millisecond, not for one or two.
pub(super) fn bytes_per_turn(may_block: MayBlock) -> u64 {
    match may_block {
        MayBlock::Never => 256 * 1024,
        MayBlock::OnRoots | MayBlock::Anywhere => 4 * 1024 * 1024,
    }
}

/// The part of the collected responses that the socket has not taken, and one body after it.
#[derive(Debug)]
pub struct Unsent {
    /// Encoded heads and small bodies.
    pub bytes: Vec<u8>,
    /// How many of `bytes` the socket has taken.
    pub sent: usize,
    /// The body after `bytes`, without the part that has been sent.
    pub body: Body,
    /// The line of the access log for `body`.
    pub log: Option<UnfinishedLine>,
    /// The clients whose requests are being answered; empty without a limit per client. Dropped with the
    /// response.
    pub counted_requests: Vec<CountedRequest>,
    /// The responses, whose durations are measured.
    pub responses: UnsentResponses,
    /// Detects that the peer takes the bytes too slowly.
    pub stall_detector: StallDetector,
    /// How many bytes of the response the kernel may keep unsent.
    pub unsent_limit: UnsentLimit,
}

impl Unsent {
    /// Whether a thread with this [`MayBlock`] may send it.
    #[must_use]
    pub fn is_within(&self, may_block: MayBlock) -> bool {
        match may_block {
            MayBlock::Never => !self.body.is_on_disk(),
            MayBlock::OnRoots => !self.body.is_beyond_mount(),
            MayBlock::Anywhere => true,
        }
    }
}

/// How much of one response the kernel may keep unsent. The limit is low at first: a peer that reads nothing
/// holds little memory. Once the peer has read some of a large response, the limit is gone for this connection,
/// and only the socket's send buffer bounds what it holds (tcp_wmem in tcp(7), 4 MiB by default). With the low
/// limit a fast peer empties the socket again and again, and each time the kernel wakes first the peer and then
/// this server: 10 MB over 32 connections cost 2.9 ms of CPU instead of 1.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnsentLimit {
    has_grown: bool,
    taken: u64,
}

impl UnsentLimit {
    /// The limit grows once the peer has taken so many bytes of a response.
    const EARNED_BY_BYTES: u64 = 4 * UNSENT_BYTES as u64;

    /// The high limit, in bytes. No send buffer is larger by default.
    const HIGH: u32 = 8 * 1024 * 1024;

    /// The limit for a response that has just filled the socket for the first time.
    #[must_use]
    pub fn first() -> UnsentLimit {
        UnsentLimit {
            has_grown: false,
            taken: 0,
        }
    }

    /// Notes that the socket has taken `count` more bytes. Returns the limit in bytes if it has grown.
    pub fn note(&mut self, count: u64) -> Option<u32> {
        self.taken += count;
        if self.has_grown || self.taken < UnsentLimit::EARNED_BY_BYTES {
            return None;
        }
        self.has_grown = true;
        Some(UnsentLimit::HIGH)
    }
}

/// The reason why a turn ends although there is more to do on its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// The connection waits for the socket or its next deadline.
    Wait,
    /// The turn has used up its quota, or only another thread can do more.
    Again,
}

/// The result of an attempt to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendProgress {
    /// All bytes are sent.
    Done,
    /// The socket is full, the quota is used up, or only another thread can do more.
    Paused(Pause),
}

/// Bytes and a body to send. The part that the socket takes is removed.
#[derive(Debug)]
pub struct OutgoingData<'a> {
    /// The bytes that go first.
    pub bytes: &'a [u8],
    /// The body that follows.
    pub body: &'a mut Body,
}

/// Sends `data` until all of it is sent, the socket is full, or `quota` bytes are sent. One call sends at
/// most `quota` bytes of a body. Returns the result and the number of bytes sent, also after an error.
///
/// A body of exactly `quota` bytes goes whole, with its head: the calls take the time, and the last few
/// bytes would cost another turn.
///
/// The errors are those of send(2) and sendfile(2), and [`io::ErrorKind::UnexpectedEof`] if the file ends
/// before its range.
pub fn send<T: Transport>(
    io: &mut T,
    data: &mut OutgoingData<'_>,
    quota: u64,
) -> (io::Result<SendProgress>, u64) {
    let OutgoingData { bytes, body } = data;
    let mut total = 0;
    while !bytes.is_empty() || !body.is_empty() {
        if total >= quota {
            return (Ok(SendProgress::Paused(Pause::Again)), total);
        }
        let count = match send_once(io, bytes, body, quota) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return (Ok(SendProgress::Paused(Pause::Wait)), total);
            }
            Err(error) => return (Err(error), total),
        };
        total += count as u64;
        let of_bytes = count.min(bytes.len());
        *bytes = &bytes[of_bytes..];
        body.advance((count - of_bytes) as u64);
    }
    (Ok(SendProgress::Done), total)
}

fn send_once<T: Transport>(io: &mut T, bytes: &[u8], body: &Body, quota: u64) -> io::Result<usize> {
    match body {
        Body::Empty => io.send(bytes, b"", false),
        Body::Memory(content) => {
            // A quota above usize cuts nothing off.
            let quota = usize::try_from(quota).unwrap_or(usize::MAX);
            let content = &content[..content.len().min(quota)];
            if bytes.is_empty() {
                io.send(content, b"", false)
            } else {
                io.send(bytes, content, false)
            }
        }
        // The head waits for the first bytes of the body, so that both go into one segment.
        Body::MemfdBody { .. } | Body::File { .. } if !bytes.is_empty() => {
            io.send(bytes, b"", !body.is_empty())
        }
        Body::MemfdBody { content, range } => {
            let (file, offset) = content.at(range.start);
            send_range(io, file, offset, (range.end - range.start).min(quota))
        }
        Body::File { file, range } => {
            let (file, offset) = file.at(range.start);
            send_range(io, file, offset, (range.end - range.start).min(quota))
        }
        Body::Parts(parts) => match parts.front() {
            Some(part) => send_once(io, bytes, part, quota),
            None => io.send(bytes, b"", false),
        },
    }
}

/// Sends some of the `count` bytes of `file` from `offset` on.
fn send_range<T: Transport>(io: &mut T, file: &File, offset: u64, count: u64) -> io::Result<usize> {
    // At most SEND_FILE_BYTES, which fits any usize.
    match io.send_file(file, offset, count.min(SEND_FILE_BYTES) as usize)? {
        // The file was truncated: its promised length can no longer be met.
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => Ok(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::scripted::ScriptedPeer;
    use bytes::Bytes;

    /// A transport that takes `room` bytes, then blocks.
    fn limited(room: usize) -> ScriptedPeer {
        ScriptedPeer {
            room_in_turn: Some(room),
            ..ScriptedPeer::new()
        }
    }

    #[test]
    fn a_short_write_goes_on_where_it_stopped() {
        for room in 0..=8 {
            let mut io = limited(room);
            let mut data = OutgoingData {
                bytes: b"head",
                body: &mut Body::Memory(Bytes::from_static(b"body")),
            };
            let (first, count) = send(&mut io, &mut data, u64::MAX);
            let expected = if room == 8 {
                SendProgress::Done
            } else {
                SendProgress::Paused(Pause::Wait)
            };
            assert_eq!((first.expect("no error"), count), (expected, room as u64));
            io.room_in_turn = Some(100);
            let (second, _) = send(&mut io, &mut data, u64::MAX);
            second.expect("no error");
            assert_eq!(io.sent, b"headbody", "room {room}");
        }
    }

    #[test]
    fn a_body_of_the_quota_goes_whole_and_a_longer_one_in_several_turns() {
        for (len, turns) in [(1, 1), (10, 1), (11, 2), (20, 2), (30, 3)] {
            let mut io = limited(100);
            let mut data = OutgoingData {
                bytes: b"head",
                body: &mut Body::Memory(Bytes::from(vec![b'b'; len])),
            };
            for turn in 1..=turns {
                let (result, _) = send(&mut io, &mut data, 10);
                let expected = if turn == turns {
                    SendProgress::Done
                } else {
                    SendProgress::Paused(Pause::Again)
                };
                assert_eq!(result.expect("no error"), expected, "{len} bytes");
                assert_eq!(io.sent.len(), 4 + len.min(10 * turn), "{len} bytes");
            }
        }
    }

    #[test]
    fn a_file_that_ends_early_is_an_error() {
        let file = std::sync::Arc::new(tempfile::tempfile().expect("temporary file"));
        let mut body = Body::File { file, range: 0..10 };
        let mut io = limited(100);
        let mut data = OutgoingData {
            bytes: b"head",
            body: &mut body,
        };
        let (result, _) = send(&mut io, &mut data, u64::MAX);
        let error = result.expect_err("truncated");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn the_unsent_limit_grows_once_enough_is_taken() {
        let mut unsent_limit = UnsentLimit::first();
        let mut grown = Vec::new();
        for _ in 0..100 {
            grown.extend(unsent_limit.note(256 * 1024));
        }
        assert_eq!(grown, [8 * 1024 * 1024]);
        assert_eq!(UnsentLimit::first().note(2 * 1024 * 1024 - 1), None);
    }
}
