//! One client as it is modelled: a pool of one connection, used up to its last moment.
//!
//! Between two requests it idles. At the end of that it decides whether the connection may still be
//! used: within its own limit, `max` not used up, no end seen. Then its request is late: the client
//! has things to do and the line is long ([`LATENESS_MILLIS`]). What it does not learn in that time,
//! it cannot take into account, and there the request is lost if the server has closed.

use std::io;
use std::net::SocketAddr;

use super::table::{Client, Keeps, Scale};
use super::wire::{Answer, ClientConnection, Reading, get};
use crate::clock::{Clock, Millis, SystemClock};

/// Milliseconds from a client's decision to the arrival of its request: less than half of the least
/// grace that can be configured, 1 s.
pub const LATENESS_MILLIS: u64 = 400;

/// How much later than that a request may be before it is no evidence: this machine was held up, and
/// grace is not meant for more.
const HELD_UP_MILLIS: u64 = 50;

/// What the model assumes beside the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How limits of the client's own are scaled.
    pub scale: Scale,
    /// The T, in seconds, of a client that wants a hint and gets none.
    pub assumed_timeout_secs: u32,
    /// Milliseconds between its decision to reuse a connection and the request.
    pub lateness_millis: u64,
    /// Whether it looks for the server's end of a connection before it uses it again.
    pub looks: bool,
}

/// What came of a client's requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that the application made.
    pub requests: u32,
    /// How many of them went over a connection that had been used before.
    pub reused: u32,
    /// How many of those were sent again, on a new connection.
    pub retried: u32,
    /// Requests that the application got no answer to.
    pub lost: u32,
}

impl Tally {
    /// Adds another one.
    pub fn add(&mut self, other: &Tally) {
        self.requests += other.requests;
        self.reused += other.reused;
        self.retried += other.retried;
        self.lost += other.lost;
    }
}

/// An open connection that waits for its next use.
#[derive(Debug)]
struct Idle {
    connection: ClientConnection,
    since: Millis,
    /// How long it is kept, in milliseconds; `None` is for ever.
    kept_millis: Option<u64>,
}

/// One client.
#[derive(Debug)]
pub struct Player<'a> {
    client: &'a Client,
    address: SocketAddr,
    clock: &'a SystemClock,
    terms: Terms,
    idle: Option<Idle>,
    tally: Tally,
}

impl<'a> Player<'a> {
    /// A client of the server at `address` that has not connected yet.
    #[must_use]
    pub fn new(
        client: &'a Client,
        address: SocketAddr,
        clock: &'a SystemClock,
        terms: Terms,
    ) -> Player<'a> {
        Player {
            client,
            address,
            clock,
            terms,
            idle: None,
            tally: Tally::default(),
        }
    }

    /// What has come of its requests so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Whether it has a connection to use again.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.idle.is_some()
    }

    /// Does nothing for some milliseconds.
    pub fn wait(&self, millis: u64) {
        self.clock.sleep(millis);
    }

    /// The idle time, in milliseconds, at whose end this client's next request is in the greatest
    /// danger, with a server that closes after `reaped_millis`.
    #[must_use]
    pub fn edge_millis(&self, reaped_millis: u64) -> u64 {
        let kept = self.idle.as_ref().map_or(Some(0), |idle| idle.kept_millis);
        match (self.client.keeps, kept) {
            (Keeps::Hint { .. }, Some(kept)) => kept,
            // It is the server that ends such a connection: just before.
            (_, kept) => kept.map_or(reaped_millis, |kept| kept.min(reaped_millis)),
        }
    }

    /// Makes a request at once.
    pub fn ask(&mut self, path: &str, reading: Reading) {
        self.tally.requests += 1;
        let idle = self.idle.take();
        let idle = idle.filter(|idle| !self.terms.looks || !idle.connection.has_ended());
        self.exchange(idle, path, reading);
    }

    /// Makes a request when the connection has been idle for `gap_millis`.
    pub fn ask_after(&mut self, gap_millis: u64, path: &str, reading: Reading) {
        self.tally.requests += 1;
        let idle = self.idle.take();
        let idle = idle.and_then(|idle| self.come_back(idle, gap_millis));
        self.exchange(idle, path, reading);
    }

    /// Lets the connection idle, and says whether it is used again.
    fn come_back(&self, idle: Idle, gap_millis: u64) -> Option<Idle> {
        let due = Millis(idle.since.0.saturating_add(gap_millis));
        self.clock.sleep_until(due);
        let age_millis = self.clock.now().monotonic.since(idle.since);
        let is_over = idle.kept_millis.is_some_and(|kept| age_millis > kept);
        if is_over || self.terms.looks && idle.connection.has_ended() {
            return None;
        }
        let arrives = Millis(due.0.saturating_add(self.terms.lateness_millis));
        self.clock.sleep_until(arrives);
        let is_late = self.clock.now().monotonic.since(arrives) > HELD_UP_MILLIS;
        (!is_late).then_some(idle)
    }

    /// One request and its answer, on `idle` if there is such a connection.
    fn exchange(&mut self, idle: Option<Idle>, path: &str, reading: Reading) {
        if let Some(idle) = idle {
            self.tally.reused += 1;
            if self.try_on(idle.connection, path, reading).is_ok() {
                return;
            }
            if !self.client.retries {
                self.tally.lost += 1;
                return;
            }
            self.tally.retried += 1;
        }
        let connection = ClientConnection::open(self.address, reading);
        if connection
            .and_then(|connection| self.try_on(connection, path, reading))
            .is_err()
        {
            self.tally.lost += 1;
        }
    }

    fn try_on(
        &mut self,
        connection: ClientConnection,
        path: &str,
        reading: Reading,
    ) -> io::Result<()> {
        let mut connection = connection;
        connection.send(&get(path))?;
        let answer = connection.read(self.client.reads, reading, self.clock)?;
        self.keep(connection, answer);
        Ok(())
    }

    /// Keeps the connection for the next request, if it may be used again.
    fn keep(&mut self, connection: ClientConnection, answer: Answer) {
        let timeout_secs = answer
            .timeout_secs
            .unwrap_or(self.terms.assumed_timeout_secs);
        let keeps = self.client.keeps;
        let kept_millis = keeps.played_millis(timeout_secs, self.terms.scale);
        if answer.persists && answer.max != Some(0) && kept_millis != Some(0) {
            self.idle = Some(Idle {
                connection,
                since: self.clock.now().monotonic,
                kept_millis,
            });
        }
    }
}
