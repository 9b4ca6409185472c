//! Sends content as records, and closes.
//!
//! A record that the socket does not take as a whole is kept, and its content counts as sent when its last byte is.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::super::record_buffers::{MAX_CONTENT, RecordBuffers};
use super::super::records::{RecordToWrite, Sink, write_record};
use super::{Stage, TlsStream};
use crate::connection::transport::Transport;

// The entries are not inlined, as in the parent module.
impl TlsStream {
    /// [`Transport::send`].
    #[inline(never)]
    pub fn send<S: Transport>(
        &mut self,
        socket: &mut S,
        first: &[u8],
        second: &[u8],
        more: bool,
    ) -> io::Result<usize> {
        if self.waiting().unfinished.1 > 0 {
            return self.finish_record(socket);
        }
        let mut lent = self.lent.take().unwrap_or_default();
        let total = first.len() + second.len();
        let count = total.min(MAX_CONTENT);
        let sealed = if first.len() >= count {
            self.seal(&mut lent, &first[..count])
        } else {
            let mut content = std::mem::take(&mut lent.content);
            content[..first.len()].copy_from_slice(first);
            content[first.len()..count].copy_from_slice(&second[..count - first.len()]);
            let sealed = self.seal(&mut lent, &content[..count]);
            lent.content = content;
            sealed
        };
        let sent =
            sealed.and_then(|()| self.transmit(socket, &mut lent, count, more || total > count));
        self.lent = Some(lent);
        sent
    }

    /// [`Transport::send_file`].
    #[inline(never)]
    pub fn send_file<S: Transport>(
        &mut self,
        socket: &mut S,
        file: &File,
        offset: u64,
        count: usize,
    ) -> io::Result<usize> {
        if self.waiting().unfinished.1 > 0 {
            return self.finish_record(socket);
        }
        let mut lent = self.lent.take().unwrap_or_default();
        let mut content = std::mem::take(&mut lent.content);
        let wanted = count.min(MAX_CONTENT);
        let read = loop {
            match file.read_at(&mut content[..wanted], offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let sent = match read {
            Ok(0) => Ok(0),
            Ok(read) => {
                let sealed = self.seal(&mut lent, &content[..read]);
                sealed.and_then(|()| self.transmit(socket, &mut lent, read, count > read))
            }
            Err(error) => Err(error),
        };
        lent.content = content;
        self.lent = Some(lent);
        sent
    }

    /// Writes `content` as a record behind what waits to be sent.
    fn seal(&mut self, buffers: &mut RecordBuffers, content: &[u8]) -> io::Result<()> {
        buffers.outgoing_len = 0;
        buffers.append(&std::mem::take(&mut self.waiting().outgoing));
        self.holds_output = false;
        let Stage::Open(connection) = &mut self.stage else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let mut sink = Sink {
            buffer: &mut [],
            overflow: &mut self.waiting.get_or_insert_default().content,
            written: 0,
            has_ended: &mut self.has_ended,
        };
        write_record(
            connection,
            buffers,
            &mut sink,
            RecordToWrite::Content(content),
        )
        .map_err(|error| {
            log::debug!("a TLS connection cannot be written to: {error}");
            self.stage = Stage::Failed;
            io::ErrorKind::InvalidData.into()
        })
    }

    /// Sends the records in `buffers`, the last of which has `content` bytes of content, and keeps what the socket
    /// does not take.
    fn transmit<S: Transport>(
        &mut self,
        socket: &mut S,
        buffers: &mut RecordBuffers,
        content: usize,
        more: bool,
    ) -> io::Result<usize> {
        let records = buffers.take_outgoing();
        let sent = match socket.send(records, b"", more) {
            Ok(sent) if sent == records.len() => return Ok(content),
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        let waiting = self.waiting();
        waiting.outgoing = records[sent..].to_vec();
        waiting.unfinished = (records.len(), content);
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Sends the rest of a record. Returns the length of its content once it is sent.
    fn finish_record<S: Transport>(&mut self, socket: &mut S) -> io::Result<usize> {
        self.send_rest(socket, false)?;
        let (_, content) = std::mem::take(&mut self.waiting().unfinished);
        Ok(content)
    }

    /// Sends the bytes that the socket has not taken, an error if it does not take all of them.
    pub(super) fn send_rest<S: Transport>(&mut self, socket: &mut S, more: bool) -> io::Result<()> {
        let outgoing = &mut self.waiting().outgoing;
        while !outgoing.is_empty() {
            let sent = socket.send(outgoing, b"", more)?;
            outgoing.drain(..sent);
        }
        *outgoing = Vec::new();
        Ok(())
    }

    /// Sends what need not wait for a response, as far as the socket takes it: alerts, and the FIN.
    pub(super) fn send_owed<S: Transport>(&mut self, socket: &mut S) -> io::Result<()> {
        let holds_output = self.holds_output;
        let waiting = self.waiting();
        let owes = !waiting.outgoing.is_empty() && !holds_output && waiting.unfinished.1 == 0;
        if !owes && !self.owes_fin {
            return Ok(());
        }
        match self.send_rest(socket, self.owes_fin) {
            Ok(()) if std::mem::take(&mut self.owes_fin) => socket.shutdown_write(),
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Takes the records that rustls has written without being asked for them.
    pub(super) fn keep_output(&mut self, buffers: &mut RecordBuffers) {
        let outgoing = &mut self.waiting().outgoing;
        outgoing.extend_from_slice(buffers.take_outgoing());
    }

    /// [`Transport::shutdown_write`].
    #[inline(never)]
    pub fn shutdown_write<S: Transport>(&mut self, socket: &mut S) -> io::Result<()> {
        self.write_close_notify();
        self.owes_fin = true;
        self.send_owed(socket)
    }

    /// [`Transport::send_close_notify`].
    #[inline(never)]
    pub fn send_close_notify<S: Transport>(&mut self, socket: &mut S) {
        if !self.has_sent_alert && self.waiting().unfinished.1 == 0 {
            self.write_close_notify();
            // The socket closes next, whatever the result.
            let _ = self.send_rest(socket, false);
        }
    }

    /// Adds the close_notify alert to the bytes to be sent, once (RFC 8446 section 6.1).
    pub(super) fn write_close_notify(&mut self) {
        if std::mem::replace(&mut self.has_sent_alert, true) {
            return;
        }
        self.holds_output = false;
        let Stage::Open(connection) = &mut self.stage else {
            return;
        };
        let mut lent = self.lent.take().unwrap_or_default();
        lent.outgoing_len = 0;
        let mut sink = Sink {
            buffer: &mut [],
            overflow: &mut self.waiting.get_or_insert_default().content,
            written: 0,
            has_ended: &mut self.has_ended,
        };
        let written = write_record(connection, &mut lent, &mut sink, RecordToWrite::CloseNotify);
        if let Err(error) = written {
            log::debug!("a TLS connection ends without an alert: {error}");
        }
        self.keep_output(&mut lent);
        self.lent = Some(lent);
    }

    /// The part of the `unacknowledged` bytes of the socket that belongs to sent records, and what waits to be
    /// sent. A record of content that is not sent as a whole does not count, because its sender does not count it
    /// yet.
    #[must_use]
    #[inline(never)]
    pub fn unacknowledged(&self, unacknowledged: u64) -> u64 {
        let Some(waiting) = &self.waiting else {
            return unacknowledged;
        };
        let unsent = waiting.outgoing.len() as u64;
        match waiting.unfinished {
            (_, 0) if self.holds_output => unacknowledged,
            (_, 0) => unacknowledged + unsent,
            (records, _) => unacknowledged.saturating_sub(records as u64 - unsent),
        }
    }
}
