//! The TLS of one connection: turns bytes of records into content, and content into records.
//!
//! rustls reads and writes in buffers that the caller passes in (its unbuffered API). So they can be the
//! thread's, and a connection keeps between turns only a record that is incomplete: one that has not arrived as a
//! whole, or the rest of one that the socket has not taken.
//!
//! After a response no byte leaves us until the close, because clients that look at an idle socket take an unread
//! byte for its end. So the tickets of a TLS 1.3 session wait for the first response, and rustls keeps the answer
//! to a key update for the next one.
//!
//! This file has the state, and receives; `sending` sends and closes, and `handshake` comes before both.

mod handshake;
mod sending;

use std::fmt;
use std::io;

use rustls::Error;
use rustls::server::UnbufferedServerConnection;

use super::context::PendingHandshake;
use super::record_buffers::{RecordBuffers, WaitingBytes};
use super::records::{Sink, read_records, take_alert};
use crate::connection::transport::Transport;

/// The most bytes of records without content in a row. Records may be empty, or may only have padding (RFC 8446
/// section 5.4); a peer that sends nothing else makes us work for nothing.
const MAX_FRUITLESS: u32 = 64 * 1024;

/// The state of the TLS of one connection.
#[derive(Debug)]
pub struct TlsStream {
    stage: Stage,
    /// The bytes that wait, if there are any; always present during a turn.
    waiting: Option<Box<WaitingBytes>>,
    /// Whether the bytes to be sent wait for the next response: these are the tickets of a new session.
    holds_output: bool,
    /// Whether the peer has sent its close_notify or its FIN.
    has_ended: bool,
    /// Whether we have written our close_notify, or an alert that ends the connection.
    has_sent_alert: bool,
    /// Whether the FIN is sent once all waiting bytes are.
    owes_fin: bool,
    /// Bytes of records since the last one with content.
    fruitless: u32,
    /// The thread's buffers, during a turn.
    lent: Option<Box<RecordBuffers>>,
}

/// How far the connection has come.
enum Stage {
    /// No byte has come.
    AwaitsHello,
    /// The handshake is under way.
    Handshaking {
        pending: PendingHandshake,
        /// Whether the server has answered the ClientHello.
        is_answered: bool,
    },
    /// The handshake is complete.
    Open(Box<UnbufferedServerConnection>),
    /// The peer has broken the rules, or its handshake was given up. No record can be read or written.
    Failed,
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::AwaitsHello => "AwaitsHello",
            Stage::Handshaking { .. } => "Handshaking",
            Stage::Open(_) => "Open",
            Stage::Failed => "Failed",
        })
    }
}

// The entries are not inlined, so that the code for connections without TLS stays small.
impl TlsStream {
    /// The state of a connection that was just accepted.
    #[must_use]
    pub fn new() -> TlsStream {
        TlsStream {
            stage: Stage::AwaitsHello,
            waiting: None,
            holds_output: false,
            has_ended: false,
            has_sent_alert: false,
            owes_fin: false,
            fruitless: 0,
            lent: None,
        }
    }

    /// [`Transport::lend`].
    #[inline(never)]
    pub fn lend(&mut self, buffers: &mut Option<Box<RecordBuffers>>) {
        let mut lent = buffers.take().unwrap_or_default();
        let waiting = self
            .waiting
            .get_or_insert_with(|| lent.unused.take().unwrap_or_default());
        lent.load(&std::mem::take(&mut waiting.incoming));
        self.lent = Some(lent);
    }

    /// [`Transport::give_back`].
    #[inline(never)]
    pub fn give_back(&mut self, buffers: &mut Option<Box<RecordBuffers>>) {
        if let Some(lent) = &mut self.lent {
            let waiting = self.waiting.get_or_insert_default();
            waiting.incoming = lent.unread().to_vec();
            if waiting.is_empty() {
                lent.unused = self.waiting.take();
            }
        }
        *buffers = self.lent.take();
    }

    fn waiting(&mut self) -> &mut WaitingBytes {
        self.waiting.get_or_insert_default()
    }

    /// [`Transport::has_ended`].
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// [`Transport::has_incomplete_record`].
    #[must_use]
    pub fn has_incomplete_record(&self) -> bool {
        let has_unread = self.lent.as_ref().is_some_and(|lent| lent.start < lent.end);
        has_unread && matches!(self.stage, Stage::Open(_)) && !self.has_ended
    }

    /// [`Transport::recv`].
    #[inline(never)]
    pub fn recv<S: Transport>(&mut self, socket: &mut S, buffer: &mut [u8]) -> io::Result<usize> {
        self.send_owed(socket)?;
        let mut lent = self.lent.take().unwrap_or_default();
        let received = self.recv_into(socket, &mut lent, buffer);
        self.lent = Some(lent);
        received
    }

    fn recv_into<S: Transport>(
        &mut self,
        socket: &mut S,
        buffers: &mut RecordBuffers,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        let mut received = self.take_content(buffer);
        let (mut is_drained, mut would_block) = (false, false);
        loop {
            let before = received;
            let unread = buffers.unread().len();
            match &mut self.stage {
                _ if unread == 0 => {}
                // Nothing counts behind a close_notify (RFC 8446 section 6.1).
                _ if self.has_ended => buffers.start = buffers.end,
                Stage::Open(connection) => {
                    let mut sink = Sink {
                        buffer: &mut buffer[received..],
                        overflow: &mut self.waiting.get_or_insert_default().content,
                        written: 0,
                        has_ended: &mut self.has_ended,
                    };
                    let read = read_records(connection, buffers, &mut sink);
                    received += sink.written;
                    read.map_err(|error| self.fail(&error, socket, buffers))?;
                }
                // The bytes mean nothing, but the caller counts them.
                _ => {
                    buffers.start = buffers.end;
                    let count = unread.min(buffer.len() - received);
                    buffer[received..received + count].fill(0);
                    received += count;
                }
            }
            self.keep_output(buffers);
            self.send_owed(socket)?;
            self.count_fruitless(received > before, unread - buffers.unread().len())?;
            if received == buffer.len() || (is_drained || self.has_ended) && received > 0 {
                return Ok(received);
            }
            if self.has_ended {
                return Ok(0);
            }
            if would_block {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            // Even if the last receive emptied the socket: it brought no content, and no further event would tell of
            // a FIN that came with it.
            match receive(socket, buffers) {
                Ok(Received::End) => self.has_ended = true,
                Ok(Received::Bytes {
                    is_drained: drained,
                }) => is_drained = drained,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    (is_drained, would_block) = (true, true);
                }
                Err(error) if received == 0 => return Err(error),
                // The next call finds the end.
                Err(_) => self.has_ended = true,
            }
        }
    }

    /// Moves content that waits into `buffer`. Returns how much fits.
    fn take_content(&mut self, buffer: &mut [u8]) -> usize {
        let content = &mut self.waiting().content;
        let count = content.len().min(buffer.len());
        if count > 0 {
            buffer[..count].copy_from_slice(&content[..count]);
            content.drain(..count);
            if content.is_empty() {
                *content = Vec::new();
            }
        }
        count
    }

    /// Counts the `consumed` bytes of records; an error if too many had no content. Then an alert waits to be sent.
    fn count_fruitless(&mut self, has_content: bool, consumed: usize) -> io::Result<()> {
        if has_content {
            self.fruitless = 0;
        } else {
            // At most what one buffer holds.
            self.fruitless += consumed as u32;
        }
        if self.fruitless > MAX_FRUITLESS {
            log::debug!("a TLS connection sends too many records without content");
            self.write_close_notify();
            self.stage = Stage::Failed;
            self.fruitless = 0;
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(())
    }

    /// Ends TLS after `error`, and sends the alert that says why.
    #[cold]
    fn fail<S: Transport>(
        &mut self,
        error: &Error,
        socket: &mut S,
        buffers: &mut RecordBuffers,
    ) -> io::Error {
        log::debug!("TLS: {error}");
        if let Stage::Open(connection) = &mut self.stage {
            take_alert(connection, buffers);
        }
        self.stage = Stage::Failed;
        self.has_sent_alert = true;
        self.holds_output = false;
        self.keep_output(buffers);
        // The connection ends; the alert is for people who look for the reason.
        let _ = self.send_owed(socket);
        io::ErrorKind::InvalidData.into()
    }
}

impl Default for TlsStream {
    fn default() -> TlsStream {
        TlsStream::new()
    }
}

/// The result of a receive.
enum Received {
    /// The peer's FIN.
    End,
    /// Bytes; `is_drained` if the socket had no more.
    Bytes { is_drained: bool },
}

/// Receives once, behind the unread bytes.
fn receive<S: Transport>(socket: &mut S, buffers: &mut RecordBuffers) -> io::Result<Received> {
    let space = buffers.space();
    let room = space.len();
    if room == 0 {
        // A message of the handshake that is larger than any client's.
        return Err(io::ErrorKind::InvalidData.into());
    }
    let count = socket.recv(space)?;
    buffers.end += count;
    Ok(match count {
        0 => Received::End,
        _ => Received::Bytes {
            is_drained: count < room,
        },
    })
}
