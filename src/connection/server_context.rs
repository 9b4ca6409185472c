//! The state that all connections share. A reload replaces it, except the mode and the gauge.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::earlier_settings::{EarlierSettings, LifetimeSettings};
use super::limits::connection_gauge::ConnectionGauge;
use super::limits::per_ip::ConnectionsPerClient;
use super::limits::requests_per_client::RequestsPerClient;
use super::peer::Peer;
use super::stall_detector::StallLimits;
use super::tls::TlsContext;
use crate::clock::Millis;
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
    /// The certificates and the ticket keys for TLS handshakes; `None` if no listener has TLS.
    pub tls: Option<Arc<TlsContext>>,
    /// Those of before a reload, for connections that such a listener accepted before it was removed.
    earlier_tls: Option<Arc<TlsContext>>,
    /// The number of open connections and its limit.
    pub gauge: Arc<ConnectionGauge>,
    /// The connections of each client in the whole server.
    pub connections_per_client: Arc<ConnectionsPerClient>,
    /// The requests of clients behind trusted proxies; `None` without such proxies or without a limit per
    /// address.
    pub(super) requests_per_client: Option<Arc<RequestsPerClient>>,
    /// The limits of a request head, from `config`.
    pub(super) head_limits: HeadLimits,
    /// The lifetime settings of new connections.
    lifetime: LifetimeSettings,
    /// The settings of connections from before a reload, if those settings were larger.
    earlier: Option<EarlierSettings>,
    mode: Arc<AtomicU8>,
}

impl ServerContext {
    /// A context in [`Mode::Serving`] without connections. `limits.connections` = 0 means no limit here;
    /// the server replaces 0 by what the machine allows.
    #[must_use]
    pub fn new(config: Config, sites: Sites) -> ServerContext {
        let limit = connection_limit(&config);
        let descriptors = Arc::clone(sites.descriptors());
        let gauge = Arc::new(ConnectionGauge::within(limit, descriptors));
        let (per_ip, ipv6_prefix) = (config.limits.connections_per_ip, config.limits.ipv6_prefix);
        let per_client = Arc::new(ConnectionsPerClient::new(per_ip, ipv6_prefix));
        ServerContext::with(config, sites, (gauge, per_client), Arc::default())
    }

    /// The context after a reload at `now`, with the mode and the open connections of this one. The old limits on
    /// connections hold until [`enforce_limits`](ServerContext::enforce_limits) is called.
    #[must_use]
    pub fn after_reload(&self, config: Config, sites: Sites, now: Millis) -> ServerContext {
        let open = (
            Arc::clone(&self.gauge),
            Arc::clone(&self.connections_per_client),
        );
        let mut context = ServerContext::with(config, sites, open, Arc::clone(&self.mode));
        context.earlier_tls = self.tls_for_handshakes().cloned();
        context.earlier =
            EarlierSettings::after_reload(self.earlier, self.lifetime, context.lifetime, now);
        let limits = |context: &ServerContext| {
            let limits = &context.config.limits;
            (limits.connections_per_ip, limits.ipv6_prefix)
        };
        if context.requests_per_client.is_some() && limits(&context) == limits(self) {
            // The requests that are being answered go on counting.
            let counted = self.requests_per_client.clone();
            context.requests_per_client = counted.or(context.requests_per_client);
        }
        context
    }

    /// Adds the certificates and the ticket keys.
    #[must_use]
    pub fn with_tls(mut self, tls: Option<Arc<TlsContext>>) -> ServerContext {
        if tls.is_some() {
            self.earlier_tls = None;
        }
        self.tls = tls;
        self
    }

    /// The certificates and the ticket keys for the handshakes under way.
    #[must_use]
    pub fn tls_for_handshakes(&self) -> Option<&Arc<TlsContext>> {
        self.tls.as_ref().or(self.earlier_tls.as_ref())
    }

    /// Makes new connections keep to the limits of this context.
    pub fn enforce_limits(&self) {
        let limits = &self.config.limits;
        self.gauge.set_limit(self.lifetime.connections);
        self.connections_per_client
            .set_limit(limits.connections_per_ip, limits.ipv6_prefix);
    }

    fn with(
        config: Config,
        sites: Sites,
        (gauge, connections_per_client): (Arc<ConnectionGauge>, Arc<ConnectionsPerClient>),
        mode: Arc<AtomicU8>,
    ) -> ServerContext {
        let (per_ip, ipv6_prefix) = (config.limits.connections_per_ip, config.limits.ipv6_prefix);
        let counts_requests = per_ip > 0 && !config.trusted_proxies.is_empty();
        let head_limits = HeadLimits {
            target_bytes: config.limits.target_bytes,
            head_bytes: config.limits.head_bytes,
            headers: config.limits.headers,
        };
        let lifetime = LifetimeSettings::new(&config, connection_limit(&config));
        ServerContext {
            config,
            sites,
            tls: None,
            earlier_tls: None,
            gauge,
            connections_per_client,
            requests_per_client: counts_requests
                .then(|| Arc::new(RequestsPerClient::new(per_ip, ipv6_prefix))),
            head_limits,
            lifetime,
            earlier: None,
            mode,
        }
    }

    /// The grace of a connection that has been idle since `since`, in seconds.
    pub(super) fn grace_secs(&self, since: Millis) -> u32 {
        self.lifetime_of(since).grace_secs
    }

    /// The lifetime settings of a connection that was accepted at the time `since`.
    pub(super) fn lifetime_of(&self, since: Millis) -> &LifetimeSettings {
        let earlier = self.earlier.as_ref();
        let kept = earlier.and_then(|earlier| earlier.at(since));
        kept.unwrap_or(&self.lifetime)
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

/// `limits.connections`, where 0 means no limit.
fn connection_limit(config: &Config) -> usize {
    match config.limits.connections {
        0 => usize::MAX,
        limit => limit,
    }
}
