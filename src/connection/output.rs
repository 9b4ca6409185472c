//! What the socket has not taken yet, and how it is offered again.

use std::fs::File;
use std::io;

use super::access_log::log_buffer::Postponed;
use super::limits::requests_per_client::CountedRequest;
use super::stall_detector::StallDetector;
use super::transport::{Transport, UNSENT_BYTES};
use crate::http::response::Body;
use crate::site::MayBlock;

/// The most that one sendfile is asked for. A larger one on a fast peer would hold the thread.
const SEND_FILE_BYTES: u64 = 1024 * 1024;

/// Bytes after which a connection has had its turn, if there is more to send. A thread that others
/// wait for gives less: they wait for a tenth of a millisecond, not for one or two.
pub(super) fn bytes_per_turn(may_block: MayBlock) -> u64 {
    match may_block {
        MayBlock::Never => 256 * 1024,
        MayBlock::OnRoots | MayBlock::Anywhere => 4 * 1024 * 1024,
    }
}

/// Bytes and one body that are to follow them.
#[derive(Debug)]
pub struct Unsent {
    /// Heads and small bodies; `sent` of them are gone.
    pub bytes: Vec<u8>,
    /// How many of `bytes` the socket has taken.
    pub sent: usize,
    /// What follows; what has been sent of it is cut off.
    pub body: Body,
    /// The line of the access log for `body`.
    pub log: Option<Postponed>,
    /// Whose requests are being answered, if that is limited. They go when this goes.
    pub counted_requests: Vec<CountedRequest>,
    /// Whether the peer takes it fast enough.
    pub stall_detector: StallDetector,
    /// How many bytes of it the kernel may keep unsent.
    pub allowance: Allowance,
}

impl Unsent {
    /// Whether a thread that goes as far as `may_block` may send it.
    #[must_use]
    pub fn is_within(&self, may_block: MayBlock) -> bool {
        match may_block {
            MayBlock::Never => !self.body.is_on_disk(),
            MayBlock::OnRoots => !self.body.is_beyond_mount(),
            MayBlock::Anywhere => true,
        }
    }
}

/// How much the kernel may keep unsent of one answer. It begins with little, and grows with what the peer
/// takes: one that reads nothing holds little memory, and one that reads gets its answer in few turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    bytes: u32,
    taken: u64,
}

impl Allowance {
    /// The factor by which it grows, once the peer has taken this many times the present allowance.
    const FACTOR: u32 = 4;

    /// The most, in bytes: a peer may stop reading at any time, and holds this much then. More than this
    /// saves large answers no turns worth mentioning.
    const MOST: u32 = 2 * 1024 * 1024;

    /// The allowance of an answer that has just filled the socket for the first time.
    #[must_use]
    pub fn first() -> Allowance {
        Allowance {
            bytes: UNSENT_BYTES,
            taken: 0,
        }
    }

    /// Whether it has grown: the next answer on the connection begins with the first one again.
    #[must_use]
    pub fn has_grown(&self) -> bool {
        self.bytes > UNSENT_BYTES
    }

    /// The socket has taken `count` more bytes. Returns the allowance in bytes if it has grown.
    pub fn note(&mut self, count: u64) -> Option<u32> {
        self.taken += count;
        let is_earned = self.taken >= u64::from(self.bytes) * u64::from(Allowance::FACTOR);
        if !is_earned || self.bytes >= Allowance::MOST {
            return None;
        }
        self.bytes = (self.bytes * Allowance::FACTOR).min(Allowance::MOST);
        Some(self.bytes)
    }
}

/// Why a turn ends though there is more to do on its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// Nothing more can be done until the socket is ready, or the next deadline passes.
    Wait,
    /// The turn's share is used up, or more can be done by another thread only.
    Again,
}

/// How an attempt to send ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    /// All of it is gone.
    Done,
    /// The socket is full, and readiness will tell; or it would take more, and the share is used up.
    Paused(Pause),
}

/// Bytes and a body offered to the socket. The part that the socket takes is cut off.
#[derive(Debug)]
pub struct Offer<'a> {
    /// Goes first.
    pub bytes: &'a [u8],
    /// Follows.
    pub body: &'a mut Body,
}

/// Offers `offer` until all is gone, the socket is full, or `share` bytes are gone; no one call is given
/// more than that of a body. Returns how it ended, and the number of bytes that went whatever the end.
///
/// A body of `share` bytes goes whole, with its head: it is the calls that take time, and a second one
/// for the last few bytes would take another turn.
///
/// The errors are those of send(2) and sendfile(2), and [`io::ErrorKind::UnexpectedEof`] if the file
/// ends before its range.
pub fn send<T: Transport>(
    io: &mut T,
    offer: &mut Offer<'_>,
    share: u64,
) -> (io::Result<Sending>, u64) {
    let Offer { bytes, body } = offer;
    let mut total = 0;
    while !bytes.is_empty() || !body.is_empty() {
        if total >= share {
            return (Ok(Sending::Paused(Pause::Again)), total);
        }
        let count = match send_once(io, bytes, body, share) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return (Ok(Sending::Paused(Pause::Wait)), total);
            }
            Err(error) => return (Err(error), total),
        };
        total += count as u64;
        let of_bytes = count.min(bytes.len());
        *bytes = &bytes[of_bytes..];
        body.advance((count - of_bytes) as u64);
    }
    (Ok(Sending::Done), total)
}

fn send_once<T: Transport>(io: &mut T, bytes: &[u8], body: &Body, share: u64) -> io::Result<usize> {
    match body {
        Body::Empty => io.send(bytes, b"", false),
        Body::Memory(content) => {
            // What is cut off by a share that exceeds usize is nothing.
            let share = usize::try_from(share).unwrap_or(usize::MAX);
            let content = &content[..content.len().min(share)];
            if bytes.is_empty() {
                io.send(content, b"", false)
            } else {
                io.send(bytes, content, false)
            }
        }
        // The head waits for the first bytes of the body, so that both share a segment.
        Body::MemfdBody { .. } | Body::File { .. } if !bytes.is_empty() => {
            io.send(bytes, b"", !body.is_empty())
        }
        Body::MemfdBody { content, range } => {
            let (file, offset) = content.at(range.start);
            send_range(io, file, offset, (range.end - range.start).min(share))
        }
        Body::File { file, range } => {
            let (file, offset) = file.at(range.start);
            send_range(io, file, offset, (range.end - range.start).min(share))
        }
        Body::Parts(parts) => match parts.front() {
            Some(part) => send_once(io, bytes, part, share),
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
    use bytes::Bytes;
    use std::fs::File;

    /// Takes `room` bytes, then blocks.
    struct Narrow {
        room: usize,
        taken: Vec<u8>,
    }

    impl Transport for Narrow {
        fn recv(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
        fn send(&mut self, first: &[u8], second: &[u8], _: bool) -> io::Result<usize> {
            let before = self.taken.len();
            self.taken
                .extend(first.iter().chain(second).take(self.room));
            let count = self.taken.len() - before;
            self.room -= count;
            if count == 0 {
                Err(io::ErrorKind::WouldBlock.into())
            } else {
                Ok(count)
            }
        }
        fn send_file(&mut self, _: &File, _: u64, _: usize) -> io::Result<usize> {
            Ok(0)
        }
        fn shutdown_write(&mut self) -> io::Result<()> {
            Ok(())
        }
        fn unacknowledged(&mut self) -> io::Result<u64> {
            Ok(0)
        }
        fn abort(&mut self) {}
    }

    #[test]
    fn a_short_write_goes_on_where_it_stopped() {
        for room in 0..=8 {
            let mut io = Narrow {
                room,
                taken: Vec::new(),
            };
            let mut offer = Offer {
                bytes: b"head",
                body: &mut Body::Memory(Bytes::from_static(b"body")),
            };
            let (first, count) = send(&mut io, &mut offer, u64::MAX);
            let expected = if room == 8 {
                Sending::Done
            } else {
                Sending::Paused(Pause::Wait)
            };
            assert_eq!((first.expect("no error"), count), (expected, room as u64));
            io.room = 100;
            let (second, _) = send(&mut io, &mut offer, u64::MAX);
            second.expect("no error");
            assert_eq!(io.taken, b"headbody", "room {room}");
        }
    }

    #[test]
    fn a_body_of_the_share_goes_whole_and_a_longer_one_in_several_turns() {
        for (len, turns) in [(1, 1), (10, 1), (11, 2), (20, 2), (30, 3)] {
            let mut io = Narrow {
                room: 100,
                taken: Vec::new(),
            };
            let mut offer = Offer {
                bytes: b"head",
                body: &mut Body::Memory(Bytes::from(vec![b'b'; len])),
            };
            for turn in 1..=turns {
                let (result, _) = send(&mut io, &mut offer, 10);
                let expected = if turn == turns {
                    Sending::Done
                } else {
                    Sending::Paused(Pause::Again)
                };
                assert_eq!(result.expect("no error"), expected, "{len} bytes");
                assert_eq!(io.taken.len(), 4 + len.min(10 * turn), "{len} bytes");
            }
        }
    }

    #[test]
    fn a_file_that_ends_early_is_an_error() {
        let file = std::sync::Arc::new(tempfile::tempfile().expect("temporary file"));
        let mut body = Body::File { file, range: 0..10 };
        let mut io = Narrow {
            room: 100,
            taken: Vec::new(),
        };
        let mut offer = Offer {
            bytes: b"head",
            body: &mut body,
        };
        let (result, _) = send(&mut io, &mut offer, u64::MAX);
        let error = result.expect_err("truncated");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn the_allowance_grows_with_what_is_taken_and_has_an_end() {
        let mut allowance = Allowance::first();
        let mut grown = Vec::new();
        for _ in 0..100 {
            grown.extend(allowance.note(256 * 1024));
        }
        assert_eq!(grown, [2 * 1024 * 1024]);
        assert_eq!(Allowance::first().note(2 * 1024 * 1024 - 1), None);
    }
}
