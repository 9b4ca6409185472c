//! What all connections share, read-only but for the mode.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::limits::connection_gauge::ConnectionGauge;
use super::limits::requests_per_client::RequestsPerClient;
use super::peer::Peer;
use super::stall_detector::StallLimits;
use crate::config::Config;
use crate::http::fields::Fields;
use crate::http::forwarded;
use crate::http::request::HeadLimits;
use crate::site::Sites;

/// Whether the server goes on. It only ever moves down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Business as usual.
    Serving,
    /// SIGTERM: the next answer on each connection says `close`, or that to the last request it has
    /// received already; idle connections keep their promise.
    Draining,
    /// SIGINT, or the end of the drain: answers under way are finished, the rest is closed.
    Stopping,
}

/// The configuration, the sites and the mode.
#[derive(Debug)]
pub struct ServerContext {
    /// The validated settings.
    pub config: Config,
    /// The sites that answer.
    pub sites: Sites,
    /// The open connections, and how many there may be.
    pub gauge: Arc<ConnectionGauge>,
    /// The clients behind trusted proxies, if there are such proxies and a limit per address.
    pub(super) requests_per_client: Option<Arc<RequestsPerClient>>,
    mode: AtomicU8,
}

impl ServerContext {
    /// A context in [`Mode::Serving`] without connections. `limits.connections` = 0 is no limit here:
    /// the server puts there what the machine allows.
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
        ServerContext {
            config,
            sites,
            gauge,
            requests_per_client: counts_requests
                .then(|| Arc::new(RequestsPerClient::new(per_ip, ipv6_prefix))),
            mode: AtomicU8::new(Mode::Serving as u8),
        }
    }

    /// The mode in force.
    #[must_use]
    pub fn mode(&self) -> Mode {
        // Relaxed: a thread that sees the change one answer later breaks nothing, and to stop the event
        // loop gives every connection a turn after it.
        match self.mode.load(Ordering::Relaxed) {
            0 => Mode::Serving,
            1 => Mode::Draining,
            _ => Mode::Stopping,
        }
    }

    /// Moves to `mode`; never back.
    pub fn enter(&self, mode: Mode) {
        if mode > Mode::Serving {
            self.sites.leave();
        }
        self.mode.fetch_max(mode as u8, Ordering::Relaxed);
    }

    /// The client that a request with these fields comes from, whose connection is `peer`'s. Whoever may
    /// connect to a unix socket is on this machine: it is trusted as the listed proxies are, if there
    /// are any.
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

    pub(super) fn head_limits(&self) -> HeadLimits {
        let limits = &self.config.limits;
        HeadLimits {
            target_bytes: limits.target_bytes,
            head_bytes: limits.head_bytes,
            headers: limits.headers,
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
