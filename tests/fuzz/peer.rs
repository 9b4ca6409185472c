//! The other side of a scripted connection: bytes that arrive piece by piece, and a socket buffer
//! that takes what a script says.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use abide::connection::transport::Transport;

/// The most that one call takes, so that large answers are sent in several calls.
const MAX_TAKEN: usize = 4_096;

/// A transport in which everything happens between turns, and only what epoll would report is an
/// event: an arrival, the peer's FIN, and room after a send that found none.
pub struct Peer<'b> {
    to_arrive: VecDeque<&'b [u8]>,
    arrived: Vec<u8>,
    is_silent: bool,
    has_closed: bool,
    has_read_end: bool,
    /// What the socket takes in the coming turns; everything once this is used up.
    room_by_turn: VecDeque<usize>,
    room: Option<usize>,
    is_blocked: bool,
    has_shut_down: bool,
    taken: Vec<u8>,
    max_turns: usize,
}

impl<'b> Peer<'b> {
    /// A peer that sends `pieces`, then closes or, if it is silent, does nothing any more.
    pub fn new(pieces: Vec<&'b [u8]>, room_by_turn: Vec<usize>, is_silent: bool) -> Peer<'b> {
        let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
        let max_turns = 64 + bytes + pieces.len() + 2 * room_by_turn.len();
        let mut peer = Peer {
            to_arrive: pieces.into(),
            arrived: Vec::new(),
            is_silent,
            has_closed: false,
            has_read_end: false,
            room_by_turn: room_by_turn.into(),
            room: None,
            is_blocked: false,
            has_shut_down: false,
            taken: Vec::new(),
            max_turns,
        };
        peer.next_event();
        peer
    }

    /// A bound that no session needs.
    pub fn max_turns(&self) -> usize {
        self.max_turns
    }

    /// Makes the room of this turn.
    pub fn begin_turn(&mut self) {
        self.room = self.room_by_turn.pop_front();
        self.is_blocked = false;
    }

    /// Whether the kernel has announced the peer's FIN.
    pub fn has_closed(&self) -> bool {
        self.has_closed
    }

    /// Whether a session that waits now is woken for everything it has left undone: edges come for
    /// what is new, not for what was there.
    pub fn owes_an_event(&self) -> bool {
        let has_read_all = self.arrived.is_empty() && (!self.has_closed || self.has_read_end);
        self.is_blocked || has_read_all
    }

    /// Lets the next thing happen; false if nothing will, but for time.
    pub fn next_event(&mut self) -> bool {
        while let Some(piece) = self.to_arrive.pop_front() {
            self.arrived.extend_from_slice(piece);
            if !piece.is_empty() {
                return true;
            }
        }
        if !self.is_silent && !self.has_closed {
            self.has_closed = true;
            return true;
        }
        self.is_blocked
    }

    /// What the socket has taken.
    pub fn taken(&self) -> &[u8] {
        &self.taken
    }

    /// What the socket has taken.
    pub fn into_taken(self) -> Vec<u8> {
        self.taken
    }

    /// Takes as much of `count` bytes as there is room for.
    fn take_room(&mut self, count: usize) -> io::Result<usize> {
        assert!(!self.has_shut_down, "nothing is sent after our FIN");
        assert!(count > 0, "a send has something to send");
        let taken = count.min(self.room.unwrap_or(usize::MAX)).min(MAX_TAKEN);
        if let Some(room) = &mut self.room {
            *room -= taken;
        }
        if taken == 0 {
            self.is_blocked = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(taken)
    }
}

impl Transport for Peer<'_> {
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        assert!(!buffer.is_empty(), "an empty buffer would look like a FIN");
        assert!(!self.has_read_end, "nothing is read after the FIN");
        if self.arrived.is_empty() && !self.has_closed {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = buffer.len().min(self.arrived.len());
        buffer[..count].copy_from_slice(&self.arrived[..count]);
        self.arrived.drain(..count);
        self.has_read_end = count == 0;
        Ok(count)
    }

    fn send(&mut self, first: &[u8], second: &[u8], _more: bool) -> io::Result<usize> {
        let count = self.take_room(first.len() + second.len())?;
        self.taken.extend(first.iter().chain(second).take(count));
        Ok(count)
    }

    fn send_file(&mut self, file: &File, offset: u64, count: usize) -> io::Result<usize> {
        let count = self.take_room(count)?;
        let start = self.taken.len();
        self.taken.resize(start + count, 0);
        let read = file.read_at(&mut self.taken[start..], offset)?;
        self.taken.truncate(start + read);
        Ok(read)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        assert!(!self.has_shut_down, "one FIN is enough");
        self.has_shut_down = true;
        Ok(())
    }

    fn unacknowledged(&mut self) -> io::Result<u64> {
        Ok(0)
    }

    fn abort(&mut self) {
        panic!("this peer takes everything in time");
    }
}
