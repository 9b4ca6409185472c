//! A scripted peer: the transport of all tests and benches that need no socket.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use abide::clock::Millis;
use abide::connection::counters::HandshakeOutcome;
use abide::connection::tls::TlsContext;
use abide::connection::transport::{Computing, HandshakeStep, Transport};
use abide::http::scheme::Scheme;

/// A peer and the socket that leads to it. Readiness is edge-triggered, as in the kernel: each change is
/// reported once, and a test passes it on with the session's next turn.
#[derive(Debug)]
pub struct ScriptedPeer {
    /// Bytes that have arrived at the server and are not read yet.
    pub arrived: VecDeque<u8>,
    /// How many further bytes have arrived. Their values do not matter, and they are too many to store.
    pub flood: u64,
    /// Whether the peer's FIN has arrived.
    pub has_closed: bool,
    /// Whether the server has read the peer's FIN.
    pub fin_was_read: bool,
    /// The bytes that the server has sent, as far as they are kept.
    pub sent: Vec<u8>,
    /// Whether sent bytes are kept. A bench needs only the first answer.
    pub keeps: bool,
    /// Room in the socket: how many bytes may be unacknowledged.
    pub room: u64,
    /// How many bytes the sends up to the next turn may still take; `None`: any number.
    pub room_in_turn: Option<usize>,
    /// How many bytes the sends take, in a cycle; 0 is a full socket. Empty: as many as there is room for.
    pub shares: Vec<usize>,
    /// The place in `shares` of the next send.
    pub next_share: usize,
    /// Whether everything that is sent is acknowledged at once.
    pub acknowledges: bool,
    /// How many sent bytes are not acknowledged.
    pub unacknowledged: u64,
    /// How often the server has asked for `unacknowledged`.
    pub looks: u32,
    /// Whether the socket was full when the server last sent.
    pub is_full: bool,
    /// Whether the peer closes its side when the server has closed its own.
    pub closes_back: bool,
    /// When the server has sent its FIN.
    pub fin_at: Option<Millis>,
    /// Whether the server has reset the connection.
    pub is_aborted: bool,
    /// The bytes of the TLS handshake that the server still has to read; `None` without TLS. The bytes that
    /// follow are not encrypted.
    pub handshake: Option<usize>,
    /// When the server last sent something.
    pub sent_at: Millis,
    /// How often bytes have arrived.
    pub arrivals: usize,
    /// The current time, set whenever the socket is used.
    pub now: Millis,
    /// Whether the socket was used since the simulation last looked.
    pub is_touched: bool,
}

impl ScriptedPeer {
    /// A peer that takes everything, acknowledges it at once and closes when the server does.
    #[must_use]
    pub fn new() -> ScriptedPeer {
        ScriptedPeer {
            arrived: VecDeque::new(),
            flood: 0,
            has_closed: false,
            fin_was_read: false,
            sent: Vec::new(),
            keeps: true,
            room: u64::MAX,
            room_in_turn: None,
            shares: Vec::new(),
            next_share: 0,
            acknowledges: true,
            unacknowledged: 0,
            looks: 0,
            is_full: false,
            closes_back: true,
            fin_at: None,
            is_aborted: false,
            handshake: None,
            sent_at: Millis(0),
            arrivals: 0,
            now: Millis(0),
            is_touched: false,
        }
    }

    /// Bytes of the peer arrive.
    pub fn arrive(&mut self, bytes: &[u8]) {
        assert!(!self.has_closed, "nothing comes after a FIN");
        self.arrivals += 1;
        self.arrived.extend(bytes);
    }

    /// The peer's FIN arrives.
    pub fn close(&mut self) {
        self.has_closed = true;
    }

    /// Whether bytes have arrived that the server has not read.
    #[must_use]
    pub fn has_arrivals(&self) -> bool {
        !self.arrived.is_empty()
    }

    /// The peer acknowledges up to `count` bytes more.
    pub fn acknowledge(&mut self, count: u64) {
        self.unacknowledged = self.unacknowledged.saturating_sub(count);
    }

    /// Whether the server has read everything, the FIN included.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.arrived.is_empty() && self.flood == 0 && self.fin_was_read == self.has_closed
    }

    /// How many of `wanted` bytes the socket takes now.
    fn take(&mut self, wanted: usize) -> io::Result<usize> {
        assert!(self.fin_at.is_none(), "nothing is sent after our FIN");
        assert!(wanted > 0, "an empty send is a wasted call");
        let share = match self.shares.as_slice() {
            [] => usize::MAX,
            shares => shares[self.next_share % shares.len()],
        };
        self.next_share += 1;
        let room = self.room - self.unacknowledged;
        let count = wanted
            .min(share)
            .min(self.room_in_turn.unwrap_or(usize::MAX))
            .min(usize::try_from(room).unwrap_or(usize::MAX));
        if let Some(room) = &mut self.room_in_turn {
            *room -= count;
        }
        if count == 0 {
            self.is_full = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.is_full = false;
        self.sent_at = self.now;
        if !self.acknowledges {
            self.unacknowledged += count as u64;
        }
        Ok(count)
    }
}

impl Default for ScriptedPeer {
    fn default() -> ScriptedPeer {
        ScriptedPeer::new()
    }
}

impl Transport for ScriptedPeer {
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        assert!(
            !buffer.is_empty(),
            "a receive without room looks like a FIN"
        );
        assert!(!self.fin_was_read, "nothing is read after the FIN");
        if !self.arrived.is_empty() {
            return read_all_that_fits(&mut self.arrived, buffer);
        }
        if self.flood > 0 {
            let count = self.flood.min(buffer.len() as u64);
            self.flood -= count;
            return Ok(count as usize);
        }
        if self.has_closed {
            self.fin_was_read = true;
            return Ok(0);
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn send(&mut self, first: &[u8], second: &[u8], _: bool) -> io::Result<usize> {
        let count = self.take(first.len() + second.len())?;
        if self.keeps {
            let of_first = count.min(first.len());
            self.sent.extend_from_slice(&first[..of_first]);
            self.sent.extend_from_slice(&second[..count - of_first]);
        }
        Ok(count)
    }

    fn send_file(&mut self, file: &File, offset: u64, count: usize) -> io::Result<usize> {
        let size = file.metadata()?.len();
        let wanted = count.min(usize::try_from(size.saturating_sub(offset)).unwrap_or(count));
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.take(wanted)?;
        if !self.keeps {
            return Ok(count);
        }
        let start = self.sent.len();
        self.sent.resize(start + count, 0);
        file.read_exact_at(&mut self.sent[start..], offset)?;
        Ok(count)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        assert!(self.fin_at.is_none(), "there is one FIN");
        self.fin_at = Some(self.now);
        Ok(())
    }

    fn unacknowledged(&mut self) -> io::Result<u64> {
        self.looks += 1;
        Ok(self.unacknowledged)
    }

    fn abort(&mut self) {
        self.is_aborted = true;
    }

    fn scheme(&self) -> Scheme {
        match self.handshake {
            None => Scheme::Http,
            Some(_) => Scheme::Https,
        }
    }

    fn continue_handshake(
        &mut self,
        _: Option<&TlsContext>,
        computing: Computing,
    ) -> io::Result<HandshakeStep> {
        let missing = self.handshake.unwrap_or_default();
        if self.arrived.is_empty() && self.has_closed {
            self.fin_was_read = true;
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if !self.arrived.is_empty() && computing != Computing::All {
            return Ok(HandshakeStep::NeedsComputing { is_rest: false });
        }
        let count = missing.min(self.arrived.len());
        self.arrived.drain(..count);
        self.handshake = Some(missing - count);
        Ok(match missing - count {
            0 => HandshakeStep::Complete(HandshakeOutcome::Full),
            _ => HandshakeStep::Waiting,
        })
    }
}

/// Reads twice, because a ring buffer that wraps around is in two pieces.
fn read_all_that_fits(arrived: &mut VecDeque<u8>, buffer: &mut [u8]) -> io::Result<usize> {
    let first = arrived.read(buffer)?;
    Ok(first + arrived.read(&mut buffer[first..])?)
}
