//! The operating system as an event loop uses it: sockets to accept, and a poll that reports events. The real
//! system is a [`Registry`]; simulations implement their own.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::event::epoll::{self, EventData, EventFlags};

use super::handshakes;
use super::listener::Listener;
use crate::config::Config;
use crate::connection::client_socket::ClientSocket;
use crate::connection::peer::Peer;
use crate::connection::transport::Transport;

/// The operating system as an event loop uses it.
pub trait System {
    /// A connected socket.
    type AcceptedSocket: Transport + Send + 'static;
    /// A socket that accepts connections.
    type AcceptQueue;

    /// Takes one connection from the accept queue of `listener`.
    ///
    /// # Errors
    /// As accept(2).
    fn accept(&self, listener: &Self::AcceptQueue) -> io::Result<(Self::AcceptedSocket, Peer)>;

    /// Whether there are bytes to receive.
    fn has_input(&self, socket: &Self::AcceptedSocket) -> bool;

    /// Makes the poll report `token` when `socket` becomes readable or writable, or is so already.
    ///
    /// # Errors
    /// If the kernel has no memory for another watch (epoll_ctl(2): ENOMEM, ENOSPC).
    fn watch(&self, socket: &Self::AcceptedSocket, token: Token) -> io::Result<()>;

    /// Makes the poll report `token` when `listener` has connections to accept.
    ///
    /// # Errors
    /// As [`watch`](System::watch).
    fn watch_listener(&self, listener: &Self::AcceptQueue, token: Token) -> io::Result<()>;

    /// Ends the watch that [`watch_listener`](System::watch_listener) began.
    ///
    /// # Errors
    /// If the listener is not watched.
    fn unwatch_listener(&self, listener: &Self::AcceptQueue) -> io::Result<()>;

    /// Whether the connections of `listener` begin with a header of the PROXY protocol.
    fn expects_proxy_header(&self, _listener: &Self::AcceptQueue) -> bool {
        false
    }

    /// Whether other event loops accept from the same queue.
    fn is_shared(&self, listener: &Self::AcceptQueue) -> bool;

    /// Drops new handshakes on `listener`. Returns whether the listener can do so.
    fn refuse_new_handshakes(&self, listener: &Self::AcceptQueue) -> bool;

    /// Removes the file of a unix socket, so that no client finds `listener` any more. Connections in its queue
    /// stay there.
    fn unlink(&self, _listener: &mut Self::AcceptQueue) {}

    /// Makes `listener` follow `config` after a reload.
    fn configure(&self, _listener: &Self::AcceptQueue, _config: &Config) {}
}

impl System for Registry {
    type AcceptedSocket = ClientSocket;
    type AcceptQueue = Listener;

    fn accept(&self, listener: &Listener) -> io::Result<(ClientSocket, Peer)> {
        let (socket, peer) = listener.accept()?;
        #[cfg(feature = "tls")]
        if listener.address.tls {
            return Ok((ClientSocket::tls(socket), peer));
        }
        Ok((ClientSocket::plain(socket), peer))
    }

    fn has_input(&self, socket: &ClientSocket) -> bool {
        socket.has_input()
    }

    fn watch(&self, socket: &ClientSocket, token: Token) -> io::Result<()> {
        let interests = Interest::READABLE | Interest::WRITABLE;
        self.register(&mut SourceFd(&socket.as_fd().as_raw_fd()), token, interests)
    }

    fn watch_listener(&self, listener: &Listener, token: Token) -> io::Result<()> {
        if listener.is_shared {
            // mio has no constant for EPOLLEXCLUSIVE.
            let flags = EventFlags::IN | EventFlags::ET | EventFlags::EXCLUSIVE;
            let data = EventData::new_u64(token.0 as u64);
            return Ok(epoll::add(self, listener, data, flags)?);
        }
        let mut source = SourceFd(&listener.as_raw_fd());
        self.register(&mut source, token, Interest::READABLE)
    }

    fn unwatch_listener(&self, listener: &Listener) -> io::Result<()> {
        self.deregister(&mut SourceFd(&listener.as_raw_fd()))
    }

    fn expects_proxy_header(&self, listener: &Listener) -> bool {
        listener.address.proxy_protocol
    }

    fn is_shared(&self, listener: &Listener) -> bool {
        listener.is_shared
    }

    fn refuse_new_handshakes(&self, listener: &Listener) -> bool {
        if !listener.takes_filter {
            return false;
        }
        let refused = handshakes::refuse_new(listener);
        if let Err(error) = &refused {
            let url = listener.address.url();
            log::warn!("{url} closes at once, and handshakes that have begun are lost: {error}");
        }
        refused.is_ok()
    }

    fn unlink(&self, listener: &mut Listener) {
        listener.unlink();
    }

    fn configure(&self, listener: &Listener, config: &Config) {
        if let Err(error) = listener.configure(config) {
            let url = listener.address.url();
            log::error!("{url} keeps its old socket options: {error}");
        }
    }
}
