//! The state that all connections share. Only the mode changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::limits::connection_gauge::ConnectionGauge;
use super::limits::per_ip::ConnectionsPerClient;
use super::limits::requests_per_client::RequestsPerClient;
use super::peer::Peer;
use super::stall_detector::StallLimits;
use crate::config::Config;
use crate::http::fields::Fields;
use crate::http::forwarded;
use crate::http::request::HeadLimits;
use crate::site::Sites;

/// How far the server has come towards its end. The mode only moves down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// The server accepts connections and keeps them open.
    Serving,
    /// SIGTERM has come. Each connection ends with a response that says `close`: the next one, or the one
    /// to the last request that has already arrived. Idle connections stay open for the time promised.
    Draining,
    /// SIGINT has come, or the drain has ended. Responses in progress are finished; all other connections
    /// close.
    Stopping,
}

/// The configuration, the sites and the mode.
#[derive(Debug)]
pub struct ServerContext {
    /// The validated settings.
    pub config: Config,
    /// The sites that answer.
    pub sites: Sites,
    /// The number of open connections and its limit.
    pub gauge: Arc<ConnectionGauge>,
    /// The connections of each client in the whole server, if their number is limited.
    pub connections_per_client: Option<Arc<ConnectionsPerClient>>,
    /// The requests of clients behind trusted proxies; `None` without such proxies or without a limit per
    /// address.
    pub(super) requests_per_client: Option<Arc<RequestsPerClient>>,
    /// The limits of a request head, from `config`.
    pub(super) head_limits: HeadLimits,
    mode: AtomicU8,
}

impl ServerContext {
    /// A context in [`Mode::Serving`] without connections. `limits.connections` = 0 means no limit here;
    /// the server replaces 0 by what the machine allows.
    #[must_use]
    pub fn new(config: Config, sites: Sites) -> ServerContext {
        let limit = match config.limits.connections {
            0 => usize::MAX,
            limit => limit,
        };
        let (per_ip, ipv6_prefix) = (config.limits.connections_per_ip, config.limits.ipv6_prefix);
        let counts_requests = per_ip > 0 && !config.trusted_proxies.is_empty();
        let gauge = Arc::new(ConnectionGauge::within(
            limit,
            Arc::clone(sites.descriptors()),
        ));
        let head_limits = HeadLimits {
            target_bytes: config.limits.target_bytes,
            head_bytes: config.limits.head_bytes,
            headers: config.limits.headers,
        };
        ServerContext {
            config,
            sites,
            gauge,
            connections_per_client: (per_ip > 0)
                .then(|| Arc::new(ConnectionsPerClient::new(per_ip, ipv6_prefix))),
            requests_per_client: counts_requests
                .then(|| Arc::new(RequestsPerClient::new(per_ip, ipv6_prefix))),
            head_limits,
            mode: AtomicU8::new(Mode::Serving as u8),
        }
    }

    /// The mode in force.
    #[must_use]
    pub fn mode(&self) -> Mode {
        // Relaxed: a thread may see the change one response late. When the server stops, the event loop
        // gives every connection a turn afterwards.
        match self.mode.load(Ordering::Relaxed) {
            0 => Mode::Serving,
            1 => Mode::Draining,
            _ => Mode::Stopping,
        }
    }

    /// Moves to `mode`. An earlier mode than the present one changes nothing.
    pub fn enter(&self, mode: Mode) {
        if mode > Mode::Serving {
            self.sites.leave();
        }
        self.mode.fetch_max(mode as u8, Ordering::Relaxed);
    }

    /// The client that sent a request with these fields over a connection from `peer`. If there are
    /// trusted proxies, a peer on a unix socket is trusted as well, because it is on this machine.
    pub(super) fn client(&self, peer: Peer, fields: &Fields<'_, '_>) -> Peer {
        let trusted = &self.config.trusted_proxies;
        if trusted.is_empty() {
            return peer;
        }
        let lines = fields.all("x-forwarded-for");
        match peer {
            Peer::Ip(address) => Peer::Ip(forwarded::client_address(address, lines, trusted)),
            Peer::Unix => forwarded::client_behind(lines, trusted).map_or(peer, Peer::Ip),
        }
    }

    pub(super) fn write_stall_limits(&self) -> StallLimits {
        let (timeout_secs, min_rate) =
            (self.config.timeouts.write_secs, self.config.limits.min_rate);
        StallLimits {
            timeout_secs,
            min_rate,
        }
    }

    pub(super) fn body_stall_limits(&self) -> StallLimits {
        let (timeout_secs, min_rate) =
            (self.config.timeouts.body_secs, self.config.limits.min_rate);
        StallLimits {
            timeout_secs,
            min_rate,
        }
    }
}
