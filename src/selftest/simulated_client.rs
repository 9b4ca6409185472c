//! A simulated client: a pool of one connection, which is used up to its last moment.
//!
//! The client idles between two requests. Then it decides whether to reuse the connection: its idle
//! limit has not passed, `max` is not used up, and the server has not closed. The request arrives
//! [`LATENESS_MILLIS`] after that decision, because of work in the client and the network's delay. If
//! the server closes within this time the client does not notice, and the request is lost.

use std::io;

use super::table::{Client, IdleLimit, TimeScale};
use super::wire::{ClientConnection, Endpoint, ReadSpeed, ReceivedResponse, get};
use crate::clock::{Clock, Millis, SystemClock};

/// Milliseconds from a client's decision to the arrival of its request. They are less than half of the
/// shortest grace that can be configured, 1 s.
pub const LATENESS_MILLIS: u64 = 400;

/// Milliseconds by which a request may exceed its lateness. A request that is even later proves nothing,
/// because this machine was busy and grace does not cover that.
const MAX_DELAY_MILLIS: u64 = 50;

/// Assumptions of the simulation, in addition to the properties of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assumptions {
    /// The scale of idle limits that do not depend on T.
    pub scale: TimeScale,
    /// T in seconds for a client that honours the hint and gets none.
    pub assumed_timeout_secs: u32,
    /// Milliseconds between the decision to reuse a connection and the request.
    pub lateness_millis: u64,
    /// Whether the client checks that the server has not closed before it reuses a connection.
    pub checks_for_close: bool,
}

/// The results of a client's requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// Requests that the application made.
    pub requests: u32,
    /// Requests sent on a connection that had been used before.
    pub reused: u32,
    /// Requests among those that were sent again, on a new connection.
    pub retried: u32,
    /// Requests that never got a response.
    pub lost: u32,
}

impl RequestCounts {
    /// Adds the counts of `other`.
    pub fn add(&mut self, other: &RequestCounts) {
        self.requests += other.requests;
        self.reused += other.reused;
        self.retried += other.retried;
        self.lost += other.lost;
    }
}

/// An open connection that waits for its next use.
#[derive(Debug)]
struct IdleConnection {
    connection: ClientConnection,
    since: Millis,
    /// Milliseconds that the client keeps the connection; `None` means without limit.
    kept_millis: Option<u64>,
}

/// A client with at most one connection.
#[derive(Debug)]
pub struct SimulatedClient<'a> {
    client: &'a Client,
    server: Endpoint<'a>,
    clock: &'a SystemClock,
    assumptions: Assumptions,
    idle: Option<IdleConnection>,
    counts: RequestCounts,
}

impl<'a> SimulatedClient<'a> {
    /// A client of the server that has not connected yet.
    #[must_use]
    pub fn new(
        client: &'a Client,
        server: Endpoint<'a>,
        clock: &'a SystemClock,
        assumptions: Assumptions,
    ) -> SimulatedClient<'a> {
        SimulatedClient {
            client,
            server,
            clock,
            assumptions,
            idle: None,
            counts: RequestCounts::default(),
        }
    }

    /// The counts so far.
    #[must_use]
    pub fn counts(&self) -> RequestCounts {
        self.counts
    }

    /// Whether the client holds a connection that it may reuse.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.idle.is_some()
    }

    /// Sleeps for `millis` milliseconds.
    pub fn wait(&self, millis: u64) {
        self.clock.sleep(millis);
    }

    /// The idle time in milliseconds after which a request is most likely to be lost, if the server
    /// closes after `idle_close_millis`.
    #[must_use]
    pub fn riskiest_idle_millis(&self, idle_close_millis: u64) -> u64 {
        let kept = self.idle.as_ref().map_or(Some(0), |idle| idle.kept_millis);
        match (self.client.idle_limit, kept) {
            (IdleLimit::Hint { .. }, Some(kept)) => kept,
            // The server closes such a connection first, so the moment before is the riskiest.
            (_, kept) => kept.map_or(idle_close_millis, |kept| kept.min(idle_close_millis)),
        }
    }

    /// Sends a request at once.
    pub fn ask(&mut self, path: &str, speed: ReadSpeed) {
        self.counts.requests += 1;
        let idle = self.idle.take();
        let idle =
            idle.filter(|idle| !self.assumptions.checks_for_close || !idle.connection.has_ended());
        self.exchange(idle, path, speed);
    }

    /// Sends a request when the connection has been idle for `gap_millis`.
    pub fn ask_after(&mut self, gap_millis: u64, path: &str, speed: ReadSpeed) {
        self.counts.requests += 1;
        let idle = self.idle.take();
        let idle = idle.and_then(|idle| self.reuse_after(idle, gap_millis));
        self.exchange(idle, path, speed);
    }

    /// Waits for `gap_millis`, and returns the connection if the client reuses it.
    fn reuse_after(&self, idle: IdleConnection, gap_millis: u64) -> Option<IdleConnection> {
        let due = Millis(idle.since.0.saturating_add(gap_millis));
        self.clock.sleep_until(due);
        let age_millis = self.clock.now().monotonic.since(idle.since);
        let is_over = idle.kept_millis.is_some_and(|kept| age_millis > kept);
        if is_over || self.assumptions.checks_for_close && idle.connection.has_ended() {
            return None;
        }
        let arrives = Millis(due.0.saturating_add(self.assumptions.lateness_millis));
        self.clock.sleep_until(arrives);
        let is_late = self.clock.now().monotonic.since(arrives) > MAX_DELAY_MILLIS;
        (!is_late).then_some(idle)
    }

    /// Sends one request and reads its response, on `idle` or else on a new connection.
    fn exchange(&mut self, idle: Option<IdleConnection>, path: &str, speed: ReadSpeed) {
        if let Some(idle) = idle {
            self.counts.reused += 1;
            if self.exchange_on(idle.connection, path, speed).is_ok() {
                return;
            }
            if !self.client.retries {
                self.counts.lost += 1;
                return;
            }
            self.counts.retried += 1;
        }
        let connection = ClientConnection::open(self.server, speed);
        if connection
            .and_then(|connection| self.exchange_on(connection, path, speed))
            .is_err()
        {
            self.counts.lost += 1;
        }
    }

    fn exchange_on(
        &mut self,
        connection: ClientConnection,
        path: &str,
        speed: ReadSpeed,
    ) -> io::Result<()> {
        let mut connection = connection;
        connection.send(&get(path))?;
        let answer = connection.read(self.client.hint_support, speed, self.clock)?;
        self.keep(connection, answer);
        Ok(())
    }

    /// Keeps the connection for the next request, if it may be reused.
    fn keep(&mut self, connection: ClientConnection, answer: ReceivedResponse) {
        let timeout_secs = answer
            .timeout_secs
            .unwrap_or(self.assumptions.assumed_timeout_secs);
        let idle_limit = self.client.idle_limit;
        let kept_millis = idle_limit.scaled_millis(timeout_secs, self.assumptions.scale);
        if answer.persists && answer.max != Some(0) && kept_millis != Some(0) {
            self.idle = Some(IdleConnection {
                connection,
                since: self.clock.now().monotonic,
                kept_millis,
            });
        }
    }
}
