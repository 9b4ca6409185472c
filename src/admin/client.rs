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

/// The most bytes that a client may send after its request. Closing while a client still sends resets the
/// connection, so the rest of a small request that was refused is read.
const EXCESS_BYTES: usize = 64 * 1024;

/// The most receives of such bytes. Each of them can be a wake-up of the thread.
const EXCESS_READS: usize = 64;

/// The connection has ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended;

/// A connection.
#[derive(Debug)]
pub struct AdminClient {
    socket: Socket,
    since: Millis,
    received: Vec<u8>,
    /// The response, once the request is complete.
    response: Option<OutgoingResponse>,
    /// Bytes received after the request, and the receives that they took.
    excess_bytes: usize,
    excess_reads: usize,
    peer_has_closed: bool,
}

/// A response and how far it is sent.
#[derive(Debug)]
struct OutgoingResponse {
    bytes: Vec<u8>,
    sent: usize,
}

impl AdminClient {
    /// A client that was accepted at `now`.
    #[must_use]
    pub fn accepted(socket: Socket, now: Millis) -> AdminClient {
        AdminClient {
            socket,
            since: now,
            received: Vec::new(),
            response: None,
            excess_bytes: 0,
            excess_reads: 0,
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

    /// Whether the connection can end without loss: the request is incomplete, or the kernel has the whole
    /// response.
    #[must_use]
    pub fn is_expendable(&self) -> bool {
        self.response.is_none() || self.is_answered()
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
            if self.response.is_none() {
                self.received.extend_from_slice(&buffer[..count]);
                self.response =
                    answer(&self.received).map(|bytes| OutgoingResponse { bytes, sent: 0 });
            } else {
                self.excess_bytes += count;
                self.excess_reads += 1;
                if self.excess_bytes > EXCESS_BYTES || self.excess_reads > EXCESS_READS {
                    return Err(Ended);
                }
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
        let whole = |response: &OutgoingResponse| response.sent == response.bytes.len();
        self.response.as_ref().is_some_and(whole)
    }
}
