//! One client of the admin listener: it sends one request, gets one response, and the connection ends.

use std::io;

use crate::clock::Millis;
use crate::connection::transport::{Socket, Transport};

/// Milliseconds for all of it, from the accept to the client's FIN. A client that sends or reads nothing
/// holds a place no longer than this.
pub const CLIENT_MILLIS: u64 = 5_000;

/// The most bytes of a request: the head limit of [`pages`](super::pages), and a little that follows the head.
const RECEIVE_BYTES: usize = 10 * 1024;

/// Receives per turn, so that a client that sends without end does not hold the thread.
const READS_PER_TURN: usize = 16;

/// The connection has ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended;

/// A connection.
#[derive(Debug)]
pub struct Client {
    socket: Socket,
    since: Millis,
    received: Vec<u8>,
    /// The response, once the request is complete.
    response: Option<Response>,
    peer_has_closed: bool,
}

/// A response and how far it is sent.
#[derive(Debug)]
struct Response {
    bytes: Vec<u8>,
    sent: usize,
}

impl Client {
    /// A client that was accepted at `now`.
    #[must_use]
    pub fn accepted(socket: Socket, now: Millis) -> Client {
        Client {
            socket,
            since: now,
            received: Vec::new(),
            response: None,
            peer_has_closed: false,
        }
    }

    /// When the client was accepted.
    #[must_use]
    pub fn since(&self) -> Millis {
        self.since
    }

    /// When the connection is closed in any case.
    #[must_use]
    pub fn deadline(&self) -> Millis {
        Millis(self.since.0 + CLIENT_MILLIS)
    }

    /// Does all that is possible without waiting. `answer` makes the response to the bytes received so far, or
    /// `None` if the request is incomplete.
    ///
    /// # Errors
    /// [`Ended`] if the connection is over.
    pub fn advance(&mut self, answer: impl FnMut(&[u8]) -> Option<Vec<u8>>) -> Result<(), Ended> {
        self.receive(answer)?;
        self.send()?;
        // A client may close its side after the request and still read.
        let is_waited_for = self.response.is_some() && !self.is_answered();
        if self.peer_has_closed && !is_waited_for {
            return Err(Ended);
        }
        Ok(())
    }

    fn receive(&mut self, mut answer: impl FnMut(&[u8]) -> Option<Vec<u8>>) -> Result<(), Ended> {
        let mut buffer = [0; RECEIVE_BYTES];
        for _ in 0..READS_PER_TURN {
            let count = match self.socket.recv(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Err(Ended),
                Ok(0) => {
                    self.peer_has_closed = true;
                    return Ok(());
                }
                Ok(count) => count,
            };
            // What follows the request is read, so that closing sends no reset, and is dropped.
            if self.response.is_none() {
                self.received.extend_from_slice(&buffer[..count]);
                self.response = answer(&self.received).map(|bytes| Response { bytes, sent: 0 });
            }
        }
        // Nobody sends so much to this listener in good faith.
        Err(Ended)
    }

    fn send(&mut self) -> Result<(), Ended> {
        let Some(response) = &mut self.response else {
            return Ok(());
        };
        while response.sent < response.bytes.len() {
            match self
                .socket
                .send(&response.bytes[response.sent..], b"", false)
            {
                Ok(count) => response.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Err(Ended),
            }
            if response.sent == response.bytes.len() {
                // The client's FIN ends the connection, or the deadline.
                self.socket.shutdown_write().map_err(|_| Ended)?;
            }
        }
        Ok(())
    }

    /// Whether the kernel has the whole response.
    fn is_answered(&self) -> bool {
        let whole = |response: &Response| response.sent == response.bytes.len();
        self.response.as_ref().is_some_and(whole)
    }
}
