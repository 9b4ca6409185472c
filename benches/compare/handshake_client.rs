//! A client for which each request takes a new TLS connection: handshake, request, answer, close.
//!
//! wrk could make the connections, but it decides itself whether a handshake resumes a session.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind, NamedGroup};
use support::tls;

use super::cells::Cell;
use super::load::LoadResult;

/// A client of one server.
pub struct HandshakeClient<'a> {
    server: SocketAddr,
    cell: &'a Cell,
    config: Arc<ClientConfig>,
    expected: HandshakeKind,
}

/// The tickets that servers give, each for one session to come.
///
/// Some servers give none when a session is resumed. So the client collects tickets first, in full handshakes.
#[derive(Debug)]
pub struct Tickets {
    /// rustls uses a ticket only with the verifier of certificates that it was received with.
    config: ClientConfig,
    unused: Mutex<Vec<Tls13ClientSessionValue>>,
}

/// The tickets as rustls uses them.
#[derive(Debug)]
struct TicketStore {
    tickets: Arc<Tickets>,
    /// Whether sessions are resumed, rather than tickets collected.
    resumes: bool,
}

impl HandshakeClient<'_> {
    /// A client that makes full handshakes.
    pub fn full(cell: &Cell, server: SocketAddr, config: ClientConfig) -> HandshakeClient<'_> {
        HandshakeClient {
            server,
            cell,
            config: Arc::new(config),
            expected: HandshakeKind::Full,
        }
    }

    /// A client that makes full handshakes, and collects tickets in place of all earlier ones.
    pub fn collecting<'a>(
        tickets: &Arc<Tickets>,
        cell: &'a Cell,
        server: SocketAddr,
    ) -> HandshakeClient<'a> {
        tickets.unused().clear();
        HandshakeClient::full(cell, server, tickets.config(false))
    }

    /// A client that resumes the sessions of the tickets.
    pub fn resuming<'a>(
        tickets: &Arc<Tickets>,
        cell: &'a Cell,
        server: SocketAddr,
    ) -> HandshakeClient<'a> {
        HandshakeClient {
            expected: HandshakeKind::Resumed,
            ..HandshakeClient::full(cell, server, tickets.config(true))
        }
    }

    /// Makes connections for `time`, as many at once as the cell says.
    pub fn run(&self, time: Duration) -> LoadResult {
        let (cell, server) = (self.cell, self.server);
        let path = cell.path;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
        let start = Instant::now();
        let end = start + time;
        let results: Vec<(Vec<u32>, u64)> = thread::scope(|scope| {
            let run = || self.run_thread(request.as_bytes(), end);
            let threads: Vec<_> = (0..cell.connections).map(|_| scope.spawn(run)).collect();
            let join = |thread: thread::ScopedJoinHandle<'_, _>| thread.join().expect("a client");
            threads.into_iter().map(join).collect()
        });
        let secs = start.elapsed().as_secs_f64();
        let (micros, wrong): (Vec<_>, Vec<_>) = results.into_iter().unzip();
        LoadResult::of(micros.concat(), secs, wrong.iter().sum())
    }

    /// Makes one connection after the other until `end`. Returns the time of each in microseconds, and the number
    /// of those that failed or had another kind of handshake than expected.
    fn run_thread(&self, request: &[u8], end: Instant) -> (Vec<u32>, u64) {
        let mut micros = Vec::new();
        let mut wrong = 0;
        while Instant::now() < end {
            let start = Instant::now();
            match self.exchange(request) {
                Ok(kind) if kind == self.expected => {
                    micros.push(start.elapsed().as_micros() as u32)
                }
                _ => wrong += 1,
            }
        }
        (micros, wrong)
    }

    /// Makes a handshake, sends the request and reads the answer up to the close.
    fn exchange(&self, request: &[u8]) -> io::Result<HandshakeKind> {
        let mut stream = tls::connect(self.server, &self.config)?;
        stream.write_all(request)?;
        let mut answer = Vec::new();
        // A server may end the connection without the alert, once the answer is complete.
        if let Err(error) = stream.read_to_end(&mut answer)
            && error.kind() != ErrorKind::UnexpectedEof
        {
            return Err(error);
        }
        if !answer.starts_with(b"HTTP/1.1 200 ") {
            return Err(ErrorKind::InvalidData.into());
        }
        let kind = stream.conn.handshake_kind();
        kind.ok_or_else(|| ErrorKind::InvalidData.into())
    }
}

impl Tickets {
    /// No tickets yet. Clients with this configuration collect and use them.
    pub fn new(config: ClientConfig) -> Tickets {
        Tickets {
            config,
            unused: Mutex::default(),
        }
    }

    fn unused(&self) -> MutexGuard<'_, Vec<Tls13ClientSessionValue>> {
        self.unused.lock().expect("no client panics")
    }

    fn config(self: &Arc<Tickets>, resumes: bool) -> ClientConfig {
        let tickets = Arc::clone(self);
        let mut config = self.config.clone();
        config.resumption = Resumption::store(Arc::new(TicketStore { tickets, resumes }));
        config
    }
}

impl ClientSessionStore for TicketStore {
    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.tickets.unused().push(ticket);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        if self.resumes {
            self.tickets.unused().pop()
        } else {
            None
        }
    }

    // The clients speak TLS 1.3 alone, and offer the groups of their configuration.

    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}
}
