//! The name of a connection in logs.

use std::fmt;

/// Names a connection. No two connections have the same name while the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectionId {
    /// The number of the event loop that accepted it, from 0.
    pub event_loop: usize,
    /// Its slot among those of the event loop.
    pub slot: u32,
    /// The number of connections that the slot has had before.
    pub generation: u32,
}

/// Writes three numbers and two dots, as in `0.12.3`.
impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.event_loop, self.slot, self.generation)
    }
}
