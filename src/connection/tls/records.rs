//! The calls of rustls that read and write records.
//!
//! rustls names the next step after each call, and may have messages of its own to write: alerts, tickets and the
//! parts of the handshake. These go behind the records to be sent.

use rustls::Error;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus,
};

use super::record_buffers::RecordBuffers;

/// Where content goes.
pub(super) struct Sink<'a> {
    pub(super) buffer: &'a mut [u8],
    /// For content that does not fit into `buffer`.
    pub(super) overflow: &'a mut Vec<u8>,
    /// How many bytes of `buffer` are filled.
    pub(super) written: usize,
    /// Set when the peer has sent its close_notify.
    pub(super) has_ended: &'a mut bool,
}

impl Sink<'_> {
    fn take(&mut self, content: &[u8]) {
        let count = content.len().min(self.buffer.len() - self.written);
        self.buffer[self.written..self.written + count].copy_from_slice(&content[..count]);
        self.written += count;
        self.overflow.extend_from_slice(&content[count..]);
    }

    fn is_full(&self) -> bool {
        !self.overflow.is_empty()
    }
}

/// A record to write.
pub(super) enum RecordToWrite<'a> {
    Content(&'a [u8]),
    CloseNotify,
}

/// Reads the unread records, until they are consumed or `sink` is full.
pub(super) fn read_records(
    connection: &mut UnbufferedServerConnection,
    buffers: &mut RecordBuffers,
    sink: &mut Sink<'_>,
) -> Result<(), Error> {
    loop {
        let RecordBuffers {
            incoming,
            start,
            end,
            ..
        } = buffers;
        let UnbufferedStatus { discard, state } =
            connection.process_tls_records(&mut incoming[*start..*end]);
        let handled = match state {
            Ok(ConnectionState::EncodeTlsData(data)) => encode(data, buffers),
            state => state.and_then(|state| handle(state, sink)),
        };
        buffers.start += discard;
        if !handled? || sink.is_full() {
            return Ok(());
        }
    }
}

/// Handles a state in which nothing is written. Returns whether rustls may have more to say.
fn handle(
    state: ConnectionState<'_, '_, ServerConnectionData>,
    sink: &mut Sink<'_>,
) -> Result<bool, Error> {
    match state {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                sink.take(record?.payload);
            }
        }
        ConnectionState::TransmitTlsData(data) => data.done(),
        ConnectionState::PeerClosed => *sink.has_ended = true,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Copies a message of rustls behind the records to be sent.
fn encode(
    mut data: EncodeTlsData<'_, ServerConnectionData>,
    buffers: &mut RecordBuffers,
) -> Result<bool, Error> {
    let mut wanted = 0;
    loop {
        let space = buffers.outgoing_space(wanted);
        match data.encode(space) {
            Ok(count) => {
                buffers.outgoing_len += count;
                return Ok(true);
            }
            Err(EncodeError::InsufficientSize(size)) if size.required_size > wanted => {
                wanted = size.required_size;
            }
            Err(error) => return Err(Error::General(error.to_string())),
        }
    }
}

/// Writes a record behind those to be sent. Records that have arrived are read before, because rustls asks for
/// that.
pub(super) fn write_record(
    connection: &mut UnbufferedServerConnection,
    buffers: &mut RecordBuffers,
    sink: &mut Sink<'_>,
    write: RecordToWrite<'_>,
) -> Result<(), Error> {
    let mut wanted = 0;
    loop {
        let RecordBuffers {
            incoming,
            start,
            end,
            ..
        } = buffers;
        let UnbufferedStatus { discard, state } =
            connection.process_tls_records(&mut incoming[*start..*end]);
        let has_more = match state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                let space = buffers.outgoing_space(wanted);
                let written = match &write {
                    RecordToWrite::Content(content) => traffic.encrypt(content, space),
                    RecordToWrite::CloseNotify => traffic.queue_close_notify(space),
                };
                match written {
                    Ok(count) => {
                        buffers.outgoing_len += count;
                        buffers.start += discard;
                        return Ok(());
                    }
                    Err(EncryptError::InsufficientSize(size)) if size.required_size > wanted => {
                        wanted = size.required_size;
                        true
                    }
                    Err(error) => return Err(Error::General(error.to_string())),
                }
            }
            Ok(ConnectionState::EncodeTlsData(data)) => encode(data, buffers)?,
            state => handle(state?, sink)?,
        };
        buffers.start += discard;
        if !has_more {
            return Err(Error::General("nothing can be written now".to_owned()));
        }
    }
}

/// Copies the alert after an error behind the records to be sent.
pub(super) fn take_alert(connection: &mut UnbufferedServerConnection, buffers: &mut RecordBuffers) {
    while connection.wants_write() {
        let RecordBuffers {
            incoming,
            start,
            end,
            ..
        } = buffers;
        let status = connection.process_tls_records(&mut incoming[*start..*end]);
        let Ok(ConnectionState::EncodeTlsData(data)) = status.state else {
            return;
        };
        if encode(data, buffers).is_err() {
            return;
        }
    }
}
