//! Which connections are evicted near a limit. The event loop decides that for its own slots.
//!
//! Under pressure (90 % of a limit on the connections) as many connections as necessary are closed before
//! their deadline ([`Pressure::evict`]). First come silent ones, which have not sent a request for a second
//! or longer: they were promised nothing. Then come those that have been idle for longer than T, so each
//! promise is kept. In both groups those that have waited longest come first. Once a second all slots are
//! checked for that, which takes some 13 ms for a million. Selecting the longest idle among a million takes
//! another 10 ms, and ten times that with `limits.connections_per_ip`, where all must be sorted. Without
//! pressure this costs nothing.
//!
//! At a limit a new connection does not wait for that check ([`Pressure::evict_for_new`]). It takes the
//! place of the longest silent connection: after a second of silence, or after a quarter of a second if the
//! new connection's request is there already. So however many peers connect and say nothing, a client that
//! sends a request gets a place within a quarter of a second. The first row that applies decides:
//!
//! | at the limit                                                        | the new connection          |
//! |---------------------------------------------------------------------|-----------------------------|
//! | a connection has been silent for a second                           | takes its place             |
//! | one has been silent for 250 ms, and the new one has sent a request  | takes its place             |
//! | fewer than 64 are being refused                                     | is answered 503             |
//! | the limit is that of its address                                    | is closed without a response |
//! | one has been silent for 250 ms                                      | is closed without a response |
//! | otherwise                                                           | waits in the kernel's queue |
//!
//! Over TLS the refused connection is closed without a response, which would need a handshake.
//!
//! Behind the PROXY protocol the limit of a client's address is reached later, when a turn has read the header.
//! The connection has its place already, and is answered 503.

use std::sync::Arc;

use super::acceptor::Acceptor;
use super::shared::Shared;
use super::silent::{ReachedLimit, SilentConnections};
use super::slots::QueuedSlot;
use crate::clock::Millis;
use crate::connection::deadline::Deadline;
use crate::connection::limits::client_network::ClientNetwork;
use crate::connection::ownership::{NotIdle, OwnershipState};
use crate::connection::server_context::ServerContext;
use crate::connection::session::{
    SILENT_AT_LIMIT_MILLIS, SILENT_MILLIS, evictable_at, silent_since,
};

/// Milliseconds between two evictions under pressure. The connections evicted before are closed by then,
/// if their clients have reacted.
const EVICTION_INTERVAL_MILLIS: u64 = 1000;

/// The most silent connections that are claimed for one new connection. The first one is enough, unless its
/// request comes at this moment or another event loop uses the place first.
pub const MAX_EVICTION_ATTEMPTS: usize = 8;

/// The candidates for eviction of an event loop.
#[derive(Debug)]
pub struct Pressure {
    /// The settings in force.
    context: Arc<ServerContext>,
    /// The connections that have never sent a request.
    silent: SilentConnections,
    /// When connections are next evicted, if there is pressure.
    next_eviction: Millis,
}

impl Pressure {
    /// No candidates yet, under the settings of `context`.
    #[must_use]
    pub fn new(context: Arc<ServerContext>) -> Pressure {
        Pressure {
            context,
            silent: SilentConnections::default(),
            next_eviction: Millis(0),
        }
    }

    /// Takes over the settings of `context` after a reload.
    pub fn follow_reload(&mut self, context: Arc<ServerContext>) {
        self.context = context;
    }

    /// When connections are next evicted, if there is pressure.
    #[must_use]
    pub fn next_eviction(&self) -> Millis {
        self.next_eviction
    }

    /// Notes the connection that was accepted last, in slot `index`, if it still has this `generation` and
    /// sent no request in its first turn. `client` is given if its connections are counted.
    pub fn note_accepted<T>(
        &mut self,
        (index, generation): (u32, u32),
        client: Option<ClientNetwork>,
        shared: &Shared<T>,
    ) {
        let slot = shared.slots.at(index);
        // As far as this thread can see, no request has come.
        if slot.deadline().is_silent() && slot.generation() == generation {
            self.silent.push(index, generation, client, &shared.slots);
        }
    }

    /// Claims connections whose places are needed, once a second. Their turns receive once more before
    /// they close anything. The `acceptors` of the server divide the work.
    pub fn evict<T>(
        &mut self,
        now: Millis,
        acceptor: &mut Acceptor,
        acceptors: usize,
        shared: &Shared<T>,
    ) -> Vec<QueuedSlot> {
        if !acceptor.is_under_pressure() || now < self.next_eviction {
            return Vec::new();
        }
        acceptor.learn_clients(&shared.slots);
        let mut excess = acceptor.eviction_quota(acceptors);
        self.next_eviction = Millis(now.0 + EVICTION_INTERVAL_MILLIS);
        // Whether a request has come, since when it is silent or else its deadline, and the slot.
        let mut candidates: Vec<(bool, Millis, u32)> = Vec::new();
        for index in 0..acceptor.used() {
            let slot = shared.slots.at(index);
            if slot.state() != OwnershipState::Idle {
                continue;
            }
            match slot.deadline() {
                // The limits do not count a refused connection, so closing it makes no room.
                Deadline::Linger(_) if !acceptor.is_refusing(index) => {
                    excess.note_closing(index);
                }
                deadline => {
                    let silent_since = silent_since(&self.context, deadline);
                    let has_sent_request = silent_since.is_none();
                    if evictable_at(&self.context, deadline).is_some_and(|at| now >= at) {
                        let order = silent_since.unwrap_or(deadline.at());
                        candidates.push((has_sent_request, order, index));
                    } else if !has_sent_request {
                        // It sends a request or closes within a second, so no other one is evicted instead.
                        excess.note_closing(index);
                    }
                }
            }
        }
        if let Some(most) = excess.upper_bound()
            && most < candidates.len()
        {
            candidates.select_nth_unstable(most);
            candidates.truncate(most);
        }
        candidates.sort_unstable();
        candidates.retain(|(.., index)| excess.must_close(*index));
        let claim = |(.., index): (bool, Millis, u32)| shared.slots.at(index).claim_idle().ok();
        candidates.into_iter().filter_map(claim).collect()
    }

    /// Whether a connection has been silent for so long that a new one may take its place.
    pub fn can_evict<T>(&mut self, now: Millis, shared: &Shared<T>) -> bool {
        self.longest_silent(ReachedLimit::Server, now, shared)
            .is_some_and(|(_, millis)| millis >= SILENT_AT_LIMIT_MILLIS)
    }

    /// Claims the longest silent connection under `limit`, whose place a new connection takes. `has_request`
    /// tells whether the request of the new connection has arrived. `None` if all connections stay.
    ///
    /// The turn of the claimed connection receives once more, and closes it if nothing has come.
    ///
    /// # Errors
    /// If another thread owns that connection.
    pub fn evict_for_new<T>(
        &mut self,
        limit: ReachedLimit,
        has_request: impl FnOnce() -> bool,
        now: Millis,
        shared: &Shared<T>,
    ) -> Option<Result<QueuedSlot, NotIdle>> {
        let (index, millis) = self.longest_silent(limit, now, shared)?;
        let is_evicted =
            millis >= SILENT_MILLIS || millis >= SILENT_AT_LIMIT_MILLIS && has_request();
        if !is_evicted {
            return None;
        }
        self.silent.postpone_longest(limit, index);
        Some(shared.slots.at(index).claim_idle())
    }

    /// The slot of the longest silent connection, and for how many milliseconds it has been silent.
    fn longest_silent<T>(
        &mut self,
        limit: ReachedLimit,
        now: Millis,
        shared: &Shared<T>,
    ) -> Option<(u32, u64)> {
        let silent_since = |deadline| silent_since(&self.context, deadline);
        let (index, since) = self.silent.longest(limit, &shared.slots, silent_since)?;
        Some((index, now.since(since)))
    }
}
