//! The socket of one connection, behind a trait that a test can script.
//!
//! [`Session`](super::session::Session) sees only [`Transport`], so a test can split the bytes anywhere,
//! write short and refuse at every point. [`Socket`] is the real one.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::IoSlice;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown};

use super::c_calls;
use super::counters::HandshakeOutcome;
use super::tls::{RecordBuffers, TlsContext};
use crate::http::scheme::Scheme;

/// A non-blocking byte stream. An operation that would wait returns [`io::ErrorKind::WouldBlock`]
/// instead.
pub trait Transport {
    /// Receives into `buffer`; 0 means that the peer has sent its last byte (FIN). If `buffer` is not full
    /// then, the socket had no more bytes.
    ///
    /// # Errors
    /// As recv(2); interruptions are retried. [`io::ErrorKind::InvalidData`] if the bytes are no valid
    /// records of TLS: the connection can only be closed then.
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Sends the bytes of `first`, then those of `second`, in one call. `more` says that further
    /// bytes follow at once, so that the kernel need not send a short segment.
    ///
    /// After [`io::ErrorKind::WouldBlock`] the next call must begin with the same bytes: a transport that
    /// encrypts may have sent a part of their record. The same holds for `send_file`.
    ///
    /// # Errors
    /// As sendmsg(2); interruptions are retried; a broken pipe is an error, never a signal.
    fn send(&mut self, first: &[u8], second: &[u8], more: bool) -> io::Result<usize>;

    /// Sends at most `count` bytes of `file` from `offset`; 0 means that the file ends there.
    ///
    /// # Errors
    /// As sendfile(2); interruptions are retried.
    fn send_file(&mut self, file: &File, offset: u64, count: usize) -> io::Result<usize>;

    /// Sends a FIN after what has been sent; receiving goes on. Over TLS the close_notify alert goes before
    /// the FIN. If the socket is full, `recv` sends both later.
    ///
    /// # Errors
    /// As shutdown(2).
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// The number of bytes sent that the peer has not acknowledged. Over TLS these are the bytes of records,
    /// a few more than those of the content.
    ///
    /// # Errors
    /// As ioctl(2) with TIOCOUTQ.
    fn unacknowledged(&mut self) -> io::Result<u64>;

    /// Sets how many unsent bytes the kernel may keep, approximately; at first [`UNSENT_BYTES`]. More
    /// saves turns, and costs memory while the peer does not read. A transport without a send buffer
    /// ignores the call.
    fn keep_unsent(&mut self, _bytes: u32) {}

    /// Acknowledges the received bytes now. The kernel may wait for bytes to send with the acknowledgement, 40 ms
    /// or longer (RFC 9293 section 3.8.6.3), and a peer with Nagle's algorithm (section 3.7.4) sends nothing
    /// meanwhile. A transport without acknowledgements ignores the call.
    fn acknowledge(&mut self) {}

    /// Makes the following close a reset, so that the kernel drops the bytes that a stalled peer did not
    /// take.
    fn abort(&mut self);

    /// Whether the peer has said that it sends no more, though `recv` may not have returned 0 yet. A FIN is
    /// reported by the kernel instead.
    fn has_ended(&self) -> bool {
        false
    }

    /// Whether a part of a TLS record has been received, the rest of which is still to come. It may belong to a
    /// request.
    fn has_incomplete_record(&self) -> bool {
        false
    }

    /// The scheme of the requests that it carries.
    fn scheme(&self) -> Scheme {
        Scheme::Http
    }

    /// Takes the thread's buffers for records for one turn. A transport without TLS ignores the call.
    fn lend(&mut self, _buffers: &mut Option<Box<RecordBuffers>>) {}

    /// Gives the buffers back at the end of the turn.
    fn give_back(&mut self, _buffers: &mut Option<Box<RecordBuffers>>) {}

    /// Goes on with the TLS handshake as far as possible without waiting, and without cryptography that
    /// `computing` does not allow.
    ///
    /// # Errors
    /// As `recv`. [`io::ErrorKind::InvalidData`] if the handshake has failed; the alert that says why has
    /// been sent.
    fn continue_handshake(
        &mut self,
        _tls: Option<&TlsContext>,
        _computing: Computing,
    ) -> io::Result<HandshakeStep> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Goes on without TLS, and gives the thread's `buffers` back.
    fn drop_tls(&mut self, _buffers: &mut Option<Box<RecordBuffers>>) {}

    /// Tells the peer that the connection ends, if it was not told yet, just before the socket is dropped. Over
    /// TLS this is the close_notify alert (RFC 8446 section 6.1).
    fn send_close_notify(&mut self) {}
}

/// The cryptography that a thread may do for a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Computing {
    /// None: the thread only receives.
    Nothing,
    /// The rest of a handshake whose ClientHello the server has answered: with TLS 1.3 a small part of the whole.
    Rest,
    /// All of it.
    All,
}

/// How far a TLS handshake has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandshakeStep {
    /// The connection can carry requests.
    Complete(HandshakeOutcome),
    /// The handshake waits for the socket.
    Waiting,
    /// Bytes have come that need cryptography. `is_rest` tells that the server has answered the ClientHello.
    NeedsComputing {
        /// As [`Computing::Rest`].
        is_rest: bool,
    },
    /// The peer speaks HTTP without TLS. These are its first bytes. [`Transport::drop_tls`] is to be called.
    PlainHttp(Vec<u8>),
}

/// The unsent bytes of a response that the kernel keeps for a peer that has not yet shown that it reads:
/// TCP_NOTSENT_LOWAT (tcp(7)), set on listeners and inherited by accepted sockets. Without a bound, a
/// peer that asks for 20 MB and reads nothing holds 2.7 MB, with overhead 3.8 MB of kernel memory; with
/// this bound, 0.7 MB. A quarter of the bound costs responses of 1 MB a seventh more CPU time. This bound
/// costs nothing, or up to a fifth more in other runs, which is noise (2026-11-30, Linux 6.18, loopback).
pub const UNSENT_BYTES: u32 = 512 * 1024;

/// A connected TCP or unix stream socket. Dropping it closes it.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl Socket {
    /// Takes over a connected, non-blocking socket.
    #[must_use]
    pub fn new(fd: OwnedFd) -> Socket {
        Socket(fd)
    }

    /// Whether there are bytes to receive.
    #[must_use]
    pub fn has_input(&self) -> bool {
        rustix::io::ioctl_fionread(&self.0).is_ok_and(|count| count > 0)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Transport for Socket {
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (received, _) =
            retried(|| rustix::net::recv(&self.0, &mut *buffer, RecvFlags::empty()))?;
        Ok(received)
    }

    fn send(&mut self, first: &[u8], second: &[u8], more: bool) -> io::Result<usize> {
        let mut flags = SendFlags::NOSIGNAL;
        flags.set(SendFlags::MORE, more);
        if second.is_empty() {
            return retried(|| rustix::net::send(&self.0, first, flags));
        }
        let parts = [IoSlice::new(first), IoSlice::new(second)];
        retried(|| {
            rustix::net::sendmsg(&self.0, &parts, &mut SendAncillaryBuffer::default(), flags)
        })
    }

    fn send_file(&mut self, file: &File, offset: u64, count: usize) -> io::Result<usize> {
        retried(|| {
            let mut position = offset;
            rustix::fs::sendfile(&self.0, file, Some(&mut position), count)
        })
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(rustix::net::shutdown(&self.0, Shutdown::Write)?)
    }

    fn unacknowledged(&mut self) -> io::Result<u64> {
        c_calls::unacknowledged(self.0.as_fd())
    }

    fn keep_unsent(&mut self, bytes: u32) {
        // After a failure the kernel keeps less than it may. Unix sockets have no such bound.
        let _ = socket2::SockRef::from(&self.0).set_tcp_notsent_lowat(bytes);
    }

    fn acknowledge(&mut self) {
        // After a failure the peer waits. Unix sockets have no such option.
        let _ = rustix::net::sockopt::set_tcp_quickack(&self.0, true);
    }

    fn abort(&mut self) {
        // After a failure the close is an ordinary one, as it would be without this call.
        let immediately = Some(std::time::Duration::ZERO);
        let _ = rustix::net::sockopt::set_socket_linger(&self.0, immediately);
    }
}

/// Repeats `call` after EINTR, which no caller needs to see.
fn retried<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    fn connected() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let peer = TcpStream::connect(listener.local_addr().expect("bound")).expect("connect");
        let (accepted, _) = listener.accept().expect("accept");
        accepted.set_nonblocking(true).expect("nonblocking");
        (Socket::new(accepted.into()), peer)
    }

    #[test]
    fn an_empty_socket_would_block_and_a_closed_one_ends() {
        let (mut socket, peer) = connected();
        let mut buffer = [0; 8];
        let error = socket.recv(&mut buffer).expect_err("nothing was sent");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(peer);
        while let Err(error) = socket.recv(&mut buffer) {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        }
        assert_eq!(socket.recv(&mut buffer).expect("FIN"), 0);
    }

    #[test]
    fn both_parts_and_the_file_arrive_in_order_and_count_as_acknowledged() {
        let (mut socket, mut peer) = connected();
        let mut file = tempfile::tempfile().expect("temporary file");
        file.write_all(b"0123456789").expect("write");
        assert_eq!(socket.send(b"head ", b"body ", true).expect("send"), 10);
        assert_eq!(socket.send_file(&file, 3, 4).expect("sendfile"), 4);
        assert_eq!(
            socket.send_file(&file, 10, 4).expect("sendfile at the end"),
            0
        );
        socket.shutdown_write().expect("shutdown");
        let mut received = String::new();
        peer.read_to_string(&mut received).expect("read");
        assert_eq!(received, "head body 3456");
        // The peer's kernel may delay the last ACK by some milliseconds.
        let all_arrives = || socket.unacknowledged().expect("TIOCOUTQ") == 0;
        assert!(
            std::iter::repeat_with(all_arrives)
                .take(10_000_000)
                .any(|all| all)
        );
    }

    #[test]
    fn what_the_peer_has_not_taken_is_unacknowledged() {
        let (mut socket, peer) = connected();
        let block = vec![0; 1 << 20];
        while socket.send(&block, b"", false).is_ok() {}
        assert!(socket.unacknowledged().expect("TIOCOUTQ") > 0);
        drop(peer);
    }
}
