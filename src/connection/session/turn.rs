//! The buffers and settings that a thread lends a session for one visit, and the outcome of the visit.

use crate::clock::Now;
use crate::connection::counters::CloseReason;
use crate::connection::desk::Desk;
use crate::connection::output::Pause;
use crate::connection::service::Service;
use crate::site::Reach;

/// The tools of one turn: the socket, the buffers, the settings and the time.
pub struct Turn<'a, T> {
    /// The connection's socket.
    pub io: &'a mut T,
    /// The thread's buffers.
    pub desk: &'a mut Desk,
    /// The configuration, the site and the mode.
    pub service: &'a Service,
    /// The time at the start of the turn.
    pub now: Now,
    /// How far the thread may go for an answer: memory, the file systems of the roots, or any.
    pub reach: Reach,
    /// Whether the kernel has announced the peer's FIN: a short read is then no proof that nothing
    /// is left to read, as data and FIN share one edge.
    pub read_closed: bool,
    /// Whether what the first request waits for is not waited for any longer: it takes too long to go on
    /// with for a peer that has ended its side, and most likely left.
    pub gives_up: bool,
    /// Whether the turn is to end because it has taken long and others wait. Asked only by a thread
    /// that may wait for the disk, between two requests of a pipeline.
    pub is_over: &'a dyn Fn() -> bool,
}

/// How the connection goes on after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to do until the socket is ready or [`Session::rest`]'s deadline passes.
    ///
    /// [`Session::rest`]: super::Session::rest
    Wait,
    /// There is more to do at once, but not in this turn: others come first, or it takes a thread with
    /// a longer [`Reach`], or what another thread is getting ([`Desk::awaited`]).
    Again,
    /// Over: drop the socket.
    Close(CloseReason),
}

impl From<Result<Pause, CloseReason>> for Outcome {
    fn from(end: Result<Pause, CloseReason>) -> Outcome {
        match end {
            Ok(Pause::Wait) => Outcome::Wait,
            Ok(Pause::Again) => Outcome::Again,
            Err(reason) => Outcome::Close(reason),
        }
    }
}
