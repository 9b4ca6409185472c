//! The socket of a client, with or without TLS.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

#[cfg(feature = "tls")]
use super::tls::{RecordBuffers, TlsContext, TlsStream};
#[cfg(feature = "tls")]
use super::transport::{Computing, HandshakeStep};
use super::transport::{Socket, Transport};
#[cfg(feature = "tls")]
use crate::http::scheme::Scheme;

/// The socket of a client, and its TLS if it has any.
#[derive(Debug)]
pub struct ClientSocket<S = Socket> {
    socket: S,
    #[cfg(feature = "tls")]
    tls: Option<Box<TlsStream>>,
}

impl<S> ClientSocket<S> {
    /// A socket without TLS.
    #[must_use]
    pub fn plain(socket: S) -> ClientSocket<S> {
        ClientSocket {
            socket,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// A socket whose peer begins with a TLS handshake.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(socket: S) -> ClientSocket<S> {
        ClientSocket {
            socket,
            tls: Some(Box::new(TlsStream::new())),
        }
    }

    /// The socket itself.
    pub fn socket_mut(&mut self) -> &mut S {
        &mut self.socket
    }
}

impl ClientSocket {
    /// Whether there are bytes to receive.
    #[must_use]
    pub fn has_input(&self) -> bool {
        self.socket.has_input()
    }
}

impl AsFd for ClientSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(not(feature = "tls"))]
impl<S: Transport> Transport for ClientSocket<S> {
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.recv(buffer)
    }

    fn send(&mut self, first: &[u8], second: &[u8], more: bool) -> io::Result<usize> {
        self.socket.send(first, second, more)
    }

    fn send_file(&mut self, file: &File, offset: u64, count: usize) -> io::Result<usize> {
        self.socket.send_file(file, offset, count)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.socket.shutdown_write()
    }

    fn unacknowledged(&mut self) -> io::Result<u64> {
        self.socket.unacknowledged()
    }

    fn keep_unsent(&mut self, bytes: u32) {
        self.socket.keep_unsent(bytes);
    }

    fn acknowledge(&mut self) {
        self.socket.acknowledge();
    }

    fn abort(&mut self) {
        self.socket.abort();
    }
}

#[cfg(feature = "tls")]
impl<S: Transport> Transport for ClientSocket<S> {
    #[inline]
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.recv(buffer),
            Some(tls) => tls.recv(&mut self.socket, buffer),
        }
    }

    #[inline]
    fn send(&mut self, first: &[u8], second: &[u8], more: bool) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.send(first, second, more),
            Some(tls) => tls.send(&mut self.socket, first, second, more),
        }
    }

    fn send_file(&mut self, file: &File, offset: u64, count: usize) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.send_file(file, offset, count),
            Some(tls) => tls.send_file(&mut self.socket, file, offset, count),
        }
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        match &mut self.tls {
            None => self.socket.shutdown_write(),
            Some(tls) => tls.shutdown_write(&mut self.socket),
        }
    }

    fn unacknowledged(&mut self) -> io::Result<u64> {
        let of_socket = self.socket.unacknowledged()?;
        Ok(match &self.tls {
            None => of_socket,
            Some(tls) => tls.unacknowledged(of_socket),
        })
    }

    fn keep_unsent(&mut self, bytes: u32) {
        self.socket.keep_unsent(bytes);
    }

    fn acknowledge(&mut self) {
        self.socket.acknowledge();
    }

    fn abort(&mut self) {
        self.socket.abort();
    }

    #[inline]
    fn scheme(&self) -> Scheme {
        match self.tls {
            None => Scheme::Http,
            Some(_) => Scheme::Https,
        }
    }

    #[inline]
    fn has_ended(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.has_ended())
    }

    #[inline]
    fn has_incomplete_record(&self) -> bool {
        self.tls
            .as_ref()
            .is_some_and(|tls| tls.has_incomplete_record())
    }

    #[inline]
    fn lend(&mut self, buffers: &mut Option<Box<RecordBuffers>>) {
        if let Some(tls) = &mut self.tls {
            tls.lend(buffers);
        }
    }

    #[inline]
    fn give_back(&mut self, buffers: &mut Option<Box<RecordBuffers>>) {
        if let Some(tls) = &mut self.tls {
            tls.give_back(buffers);
        }
    }

    fn continue_handshake(
        &mut self,
        context: Option<&TlsContext>,
        computing: Computing,
    ) -> io::Result<HandshakeStep> {
        let (Some(tls), Some(context)) = (&mut self.tls, context) else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        tls.continue_handshake(&mut self.socket, context, computing)
    }

    fn drop_tls(&mut self, buffers: &mut Option<Box<RecordBuffers>>) {
        self.give_back(buffers);
        self.tls = None;
    }

    fn send_close_notify(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify(&mut self.socket);
        }
    }
}
