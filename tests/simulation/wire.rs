//! The system under simulation: an accept queue, and sockets that lead to scripted peers.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use abide::clock::Millis;
use abide::connection::counters::{CloseReason, Counters, Totals};
use abide::connection::peer::Peer as Address;
use abide::connection::tls::TlsContext;
use abide::connection::transport::{Computing, HandshakeStep, Transport};
use abide::http::scheme::Scheme;
use abide::server::system::System;
use mio::Token;

use support::machinery::HandClock;
use support::scripted::ScriptedPeer;

/// The state that all wires share.
pub struct Hub {
    pub clock: Arc<HandClock>,
    pub counters: Vec<Arc<Counters>>,
    /// The peers whose sockets were used since the simulation last looked.
    pub touched: Mutex<Vec<usize>>,
    /// Whether the kernel has no memory to watch another socket.
    pub is_out_of_memory: AtomicBool,
    /// The totals when the last connection closed.
    totals: Mutex<Totals>,
}

impl Hub {
    pub fn new(clock: Arc<HandClock>, counters: Vec<Arc<Counters>>) -> Hub {
        Hub {
            clock,
            counters,
            touched: Mutex::default(),
            is_out_of_memory: AtomicBool::new(false),
            totals: Mutex::default(),
        }
    }

    pub fn totals(&self) -> Totals {
        Totals::sum(self.counters.iter().map(AsRef::as_ref))
    }

    /// The reason of the connection that closes now, which its session has just counted.
    fn reason(&self) -> Option<CloseReason> {
        let totals = self.totals();
        let mut last = self.totals.lock().unwrap();
        let is_more = |reason: &CloseReason| totals.closes(*reason) > last.closes(*reason);
        let reasons = CloseReason::ALL.map(|(reason, _)| reason);
        let reason = reasons.into_iter().find(is_more);
        *last = totals;
        reason
    }
}

/// A connection as the simulation sees it.
pub struct Line {
    pub peer: Mutex<ScriptedPeer>,
    /// The token of its socket in the poll, once it is watched.
    pub token: OnceLock<Token>,
    /// Why and when the connection ended.
    pub closed: OnceLock<(CloseReason, Millis)>,
}

/// The server's end of a connection.
pub struct Wire {
    pub line: Arc<Line>,
    pub number: usize,
    pub address: Address,
    pub hub: Arc<Hub>,
}

impl Wire {
    /// Returns the peer, after setting its time.
    fn touch(&self) -> MutexGuard<'_, ScriptedPeer> {
        let mut peer = self.line.peer.lock().unwrap();
        peer.now = self.hub.clock.reading();
        if !std::mem::replace(&mut peer.is_touched, true) {
            self.hub.touched.lock().unwrap().push(self.number);
        }
        peer
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(reason) = self.hub.reason() {
            let closed = (reason, self.hub.clock.reading());
            self.line.closed.set(closed).expect("it closes once");
        }
    }
}

impl Transport for Wire {
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.touch().recv(buffer)
    }

    fn send(&mut self, first: &[u8], second: &[u8], more: bool) -> io::Result<usize> {
        self.touch().send(first, second, more)
    }

    fn send_file(&mut self, file: &File, offset: u64, count: usize) -> io::Result<usize> {
        self.touch().send_file(file, offset, count)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.touch().shutdown_write()
    }

    fn unacknowledged(&mut self) -> io::Result<u64> {
        self.touch().unacknowledged()
    }

    fn abort(&mut self) {
        self.touch().abort();
    }

    fn scheme(&self) -> Scheme {
        self.line.peer.lock().unwrap().scheme()
    }

    fn continue_handshake(
        &mut self,
        tls: Option<&TlsContext>,
        computing: Computing,
    ) -> io::Result<HandshakeStep> {
        self.touch().continue_handshake(tls, computing)
    }
}

/// An accept queue.
#[derive(Default)]
pub struct Queue(pub Arc<Mutex<VecDeque<Wire>>>);

/// A system whose calls do not fail, unless its kernel has no memory for another watch.
pub struct SimulatedSystem;

impl System for SimulatedSystem {
    type AcceptedSocket = Wire;
    type AcceptQueue = Queue;

    fn accept(&self, queue: &Queue) -> io::Result<(Wire, Address)> {
        let wire = queue.0.lock().unwrap().pop_front();
        let wire = wire.ok_or(io::ErrorKind::WouldBlock)?;
        let address = wire.address;
        Ok((wire, address))
    }

    fn has_input(&self, wire: &Wire) -> bool {
        wire.line.peer.lock().unwrap().has_arrivals()
    }

    fn watch(&self, wire: &Wire, token: Token) -> io::Result<()> {
        if wire.hub.is_out_of_memory.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        wire.line.token.set(token).expect("it is watched once");
        Ok(())
    }

    fn watch_listener(&self, _: &Queue, _: Token) -> io::Result<()> {
        Ok(())
    }

    fn unwatch_listener(&self, _: &Queue) -> io::Result<()> {
        Ok(())
    }

    fn is_shared(&self, _: &Queue) -> bool {
        false
    }

    fn refuse_new_handshakes(&self, _: &Queue) -> bool {
        true
    }
}
