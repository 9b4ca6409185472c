//! The handshake.

use std::io;
use std::sync::Arc;

use rustls::{HandshakeKind, ProtocolVersion};

use super::super::context::TlsContext;
use super::super::record_buffers::RecordBuffers;
use super::super::records::{Sink, read_records, take_alert};
use super::{Received, Stage, TlsStream, receive};
use crate::connection::counters::HandshakeOutcome;
use crate::connection::transport::{Computing, HandshakeStep, Transport};

impl TlsStream {
    /// [`Transport::continue_handshake`].
    #[inline(never)]
    pub fn continue_handshake<S: Transport>(
        &mut self,
        socket: &mut S,
        tls: &TlsContext,
        computing: Computing,
    ) -> io::Result<HandshakeStep> {
        match self.send_rest(socket, false) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Ok(HandshakeStep::Waiting);
            }
            Err(error) => return Err(error),
        }
        let mut lent = self.lent.take().unwrap_or_default();
        let step = self.advance_handshake(socket, &mut lent, tls, computing);
        self.lent = Some(lent);
        step
    }

    fn advance_handshake<S: Transport>(
        &mut self,
        socket: &mut S,
        buffers: &mut RecordBuffers,
        tls: &TlsContext,
        computing: Computing,
    ) -> io::Result<HandshakeStep> {
        loop {
            let unread = buffers.unread();
            if let (Stage::AwaitsHello, Some(b'A'..=b'Z')) = (&self.stage, unread.first()) {
                return Ok(HandshakeStep::PlainHttp(unread.to_vec()));
            }
            if !unread.is_empty() {
                let is_rest = match self.stage {
                    Stage::Handshaking { is_answered, .. } => is_answered,
                    _ => false,
                };
                let may_compute = match computing {
                    Computing::Nothing => false,
                    Computing::Rest => is_rest,
                    Computing::All => true,
                };
                // A part of a record of the rest is no reason to wake a worker.
                let is_waited_for = !is_rest || has_whole_record(unread);
                if !may_compute && is_waited_for {
                    return Ok(HandshakeStep::NeedsComputing { is_rest });
                }
                if may_compute && let Some(step) = self.compute(socket, buffers, tls)? {
                    return Ok(step);
                }
            }
            // Until the socket has no more: a FIN may have come with the last bytes, and no further event tells of it.
            match receive(socket, buffers) {
                Ok(Received::End) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(Received::Bytes { .. }) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(HandshakeStep::Waiting);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Goes on with the handshake with the bytes in `buffers`. `None` if it needs more.
    fn compute<S: Transport>(
        &mut self,
        socket: &mut S,
        buffers: &mut RecordBuffers,
        tls: &TlsContext,
    ) -> io::Result<Option<HandshakeStep>> {
        if let Stage::AwaitsHello = self.stage {
            self.stage = Stage::Handshaking {
                pending: tls.begin_handshake().map_err(io::Error::other)?,
                is_answered: false,
            };
        }
        let Stage::Handshaking { pending, .. } = &self.stage else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let pending = Arc::clone(pending);
        let mut connection = pending.lock();
        let Some(open) = connection.as_mut() else {
            log::debug!("a TLS handshake was given up for a later one");
            return Err(io::ErrorKind::ConnectionAborted.into());
        };
        let mut sink = Sink {
            buffer: &mut [],
            overflow: &mut self.waiting.get_or_insert_default().content,
            written: 0,
            has_ended: &mut self.has_ended,
        };
        if let Err(error) = read_records(open, buffers, &mut sink) {
            take_alert(open, buffers);
            drop(connection);
            return Err(self.fail(&error, socket, buffers));
        }
        let is_complete = !open.is_handshaking();
        // The tickets of TLS 1.3 are all that the server writes after the client's last message.
        self.holds_output =
            is_complete && open.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        let kind = match open.handshake_kind() {
            Some(HandshakeKind::Resumed) => HandshakeOutcome::Resumed,
            _ => HandshakeOutcome::Full,
        };
        if is_complete && let Some(open) = connection.take() {
            self.stage = Stage::Open(open);
        }
        self.keep_output(buffers);
        if let Stage::Handshaking { is_answered, .. } = &mut self.stage {
            let has_answer = self
                .waiting
                .as_ref()
                .is_some_and(|it| !it.outgoing.is_empty());
            *is_answered |= has_answer;
        }
        self.send_owed(socket)?;
        Ok(match is_complete {
            true => Some(HandshakeStep::Complete(kind)),
            false if !self.waiting().outgoing.is_empty() => Some(HandshakeStep::Waiting),
            false => None,
        })
    }
}

/// Whether `bytes` begin with a whole record: a header of five bytes, the last two of which are the length of what
/// follows (RFC 8446 section 5.1).
fn has_whole_record(bytes: &[u8]) -> bool {
    match bytes {
        [_, _, _, high, low, rest @ ..] => {
            rest.len() >= usize::from(u16::from_be_bytes([*high, *low]))
        }
        _ => false,
    }
}
