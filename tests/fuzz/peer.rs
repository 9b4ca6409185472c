//! A scripted peer whose bytes arrive piece by piece, and whose socket buffer follows a script.

use std::collections::VecDeque;

use support::scripted::ScriptedPeer;

/// The most bytes that one call takes, so that large answers are sent in several calls.
const MAX_TAKEN: usize = 4_096;

/// The future events of a connection. Everything happens between turns, and only what epoll reports is an
/// event: an arrival, the peer's FIN, and room after a send that found none.
pub struct Course<'b> {
    pub peer: ScriptedPeer,
    to_arrive: VecDeque<&'b [u8]>,
    is_silent: bool,
    /// The bytes that the socket takes in the coming turns. When the list is used up, it takes everything.
    room_by_turn: VecDeque<usize>,
    max_turns: usize,
}

impl<'b> Course<'b> {
    /// A peer that sends `pieces`, then closes or, if it is silent, does nothing more.
    pub fn new(pieces: Vec<&'b [u8]>, room_by_turn: Vec<usize>, is_silent: bool) -> Course<'b> {
        let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
        let max_turns = 64 + bytes + pieces.len() + 2 * room_by_turn.len();
        let mut peer = ScriptedPeer::new();
        peer.shares = vec![MAX_TAKEN];
        let mut course = Course {
            peer,
            to_arrive: pieces.into(),
            is_silent,
            room_by_turn: room_by_turn.into(),
            max_turns,
        };
        course.next_event();
        course
    }

    /// A bound that no session reaches.
    pub fn max_turns(&self) -> usize {
        self.max_turns
    }

    /// Sets the room in the socket for this turn.
    pub fn begin_turn(&mut self) {
        self.peer.room_in_turn = self.room_by_turn.pop_front();
        self.peer.is_full = false;
    }

    /// Whether a waiting session will be woken for everything that it has left undone: an edge announces
    /// new bytes, not old ones.
    pub fn owes_an_event(&self) -> bool {
        self.peer.is_full || self.peer.is_drained()
    }

    /// Makes the next event happen. Returns false if only time can pass.
    pub fn next_event(&mut self) -> bool {
        while let Some(piece) = self.to_arrive.pop_front() {
            if !piece.is_empty() {
                self.peer.arrive(piece);
                return true;
            }
        }
        if !self.is_silent && !self.peer.has_closed {
            self.peer.close();
            return true;
        }
        self.peer.is_full
    }
}
