//! The system as an event loop uses it: sockets to accept, and a poll that tells of them. The
//! machine's own is a [`Registry`]; simulations bring others.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::event::epoll::{self, EventData, EventFlags};

use super::handshakes;
use super::listener::Listener;
use crate::connection::peer::Peer;
use crate::connection::transport::{Socket, Transport};

/// The system as an event loop sees it.
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

    /// Has the poll tell with `token` when `socket` becomes readable or writable; at once, if it is.
    ///
    /// # Errors
    /// If the kernel has no memory for another watch (epoll_ctl(2): ENOMEM, ENOSPC).
    fn watch(&self, socket: &Self::AcceptedSocket, token: Token) -> io::Result<()>;

    /// Has the poll tell with `token` when `listener` has connections to accept.
    ///
    /// # Errors
    /// As [`watch`](System::watch).
    fn watch_listener(&self, listener: &Self::AcceptQueue, token: Token) -> io::Result<()>;

    /// Ends what [`watch_listener`](System::watch_listener) began.
    ///
    /// # Errors
    /// If it is not watched.
    fn unwatch_listener(&self, listener: &Self::AcceptQueue) -> io::Result<()>;

    /// Whether other event loops accept from the same queue.
    fn is_shared(&self, listener: &Self::AcceptQueue) -> bool;

    /// Keeps new handshakes from beginning, if the listener can do that. Whether it can.
    fn refuse_new_handshakes(&self, listener: &Self::AcceptQueue) -> bool;
}

impl System for Registry {
    type AcceptedSocket = Socket;
    type AcceptQueue = Listener;

    fn accept(&self, listener: &Listener) -> io::Result<(Socket, Peer)> {
        listener.accept()
    }

    fn has_input(&self, socket: &Socket) -> bool {
        socket.has_input()
    }

    fn watch(&self, socket: &Socket, token: Token) -> io::Result<()> {
        let interests = Interest::READABLE | Interest::WRITABLE;
        self.register(&mut SourceFd(&socket.as_fd().as_raw_fd()), token, interests)
    }

    fn watch_listener(&self, listener: &Listener, token: Token) -> io::Result<()> {
        if listener.is_shared {
            // mio has no word for it.
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
            log::warn!("{url} closes at once, handshakes that are under way are lost: {error}");
        }
        refused.is_ok()
    }
}
