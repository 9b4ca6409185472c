//! The proxy in front of the server, and for how long it keeps an idle connection to us.

use super::advertised::TIMEOUT_MAX_SECS;

/// Seconds by which T exceeds the proxy's limit. They exceed any difference between the two clocks.
const MARGIN_SECS: u32 = 20;

/// `keep_alive.behind`: the proxy that connects to the server.
///
/// A proxy reuses a connection to the server until the proxy's own idle limit. If the server closes first,
/// the proxy sometimes sends a request on a connection that is just being closed, and its client gets a
/// 502. So the proxy's limit must be the shorter one. A name stands for the default limit of a product;
/// a number of seconds sets any other limit.
///
/// | name         | seconds | the setting of the product, and where its default is documented (November 2026) |
/// |--------------|---------|----------------------------------------------------------------------------------|
/// | `nginx`      | 60      | `keepalive_timeout` in `upstream`: manual of ngx_http_upstream_module            |
/// | `haproxy`    | 60      | `pool-purge-delay` of 5 s, which closes half of the connections in excess: configuration manual 5.2. Measured: after 60 s none of four thousand is left |
/// | `alb`        | 60      | `idle_timeout.timeout_seconds`: AWS, Application Load Balancer attributes         |
/// | `gcp`        | 600     | fixed: Google Cloud, external Application Load Balancer, "Timeouts and retries"   |
/// | `cloudfront` | 5       | `OriginKeepaliveTimeout`: AWS, CustomOriginConfig                                 |
/// | `envoy`      | 3600    | `idle_timeout` in `common_http_protocol_options` of the cluster: FAQ "How do I configure timeouts?" |
/// | `traefik`    | 90      | `forwardingTimeouts.idleConnTimeout` of the servers transport: `ForwardingTimeouts.SetDefaults` in its source |
/// | `caddy`      | 120     | `keepalive` of `reverse_proxy`: `HTTPTransport.NewTransport` in its source        |
/// | `apache`     | 60      | `ttl` of `ProxyPass`, which must be set to 60 there: without it there is no limit (manual of mod_proxy) |
/// | `cloudflared`| 90      | `originRequest.keepAliveTimeout`: `defaultKeepAliveTimeout` in its source         |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxy {
    /// No proxy, or an unknown one.
    None,
    /// nginx.
    Nginx,
    /// HAProxy.
    Haproxy,
    /// AWS Application Load Balancer.
    Alb,
    /// Google Cloud's Application Load Balancer.
    Gcp,
    /// Amazon CloudFront.
    Cloudfront,
    /// Envoy, and what is built on it.
    Envoy,
    /// Traefik.
    Traefik,
    /// Caddy.
    Caddy,
    /// Apache's mod_proxy, with `ttl=60`.
    Apache,
    /// The daemon of Cloudflare Tunnel.
    Cloudflared,
    /// Another proxy, with its idle limit in seconds; 1 to 2^31-31.
    Seconds(u32),
}

impl Proxy {
    /// The largest idle limit in seconds: the longest T less the margin.
    pub(super) const LIMIT_MAX_SECS: u64 = TIMEOUT_MAX_SECS - MARGIN_SECS as u64;

    const NAMED: [(&'static str, Proxy); 11] = [
        ("none", Proxy::None),
        ("nginx", Proxy::Nginx),
        ("haproxy", Proxy::Haproxy),
        ("alb", Proxy::Alb),
        ("gcp", Proxy::Gcp),
        ("cloudfront", Proxy::Cloudfront),
        ("envoy", Proxy::Envoy),
        ("traefik", Proxy::Traefik),
        ("caddy", Proxy::Caddy),
        ("apache", Proxy::Apache),
        ("cloudflared", Proxy::Cloudflared),
    ];

    /// The proxy with this name in the configuration.
    #[must_use]
    pub fn named(name: &str) -> Option<Proxy> {
        let mut all = Proxy::NAMED.into_iter();
        all.find_map(|(known, proxy)| (known == name).then_some(proxy))
    }

    /// The name in the configuration; `None` for [`Proxy::Seconds`].
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        let mut all = Proxy::NAMED.into_iter();
        all.find_map(|(name, proxy)| (proxy == self).then_some(name))
    }

    /// Seconds for which the proxy keeps an idle connection to us; `None` if there is no proxy.
    #[must_use]
    pub fn idle_limit_secs(self) -> Option<u32> {
        match self {
            Proxy::None => None,
            Proxy::Nginx | Proxy::Haproxy | Proxy::Alb | Proxy::Apache => Some(60),
            Proxy::Gcp => Some(600),
            Proxy::Cloudfront => Some(5),
            Proxy::Envoy => Some(3600),
            Proxy::Traefik | Proxy::Cloudflared => Some(90),
            Proxy::Caddy => Some(120),
            Proxy::Seconds(secs) => Some(secs),
        }
    }

    /// The shortest T, in seconds, that is safe behind the proxy; `None` if there is no proxy.
    pub(super) fn suitable_timeout_secs(self) -> Option<u32> {
        self.idle_limit_secs()
            .map(|limit| limit.saturating_add(MARGIN_SECS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for (name, proxy) in Proxy::NAMED {
            assert_eq!(Proxy::named(name), Some(proxy));
            assert_eq!(proxy.name(), Some(name));
        }
        assert_eq!(Proxy::named("Nginx"), None);
        assert_eq!(Proxy::Seconds(60).name(), None);
    }

    #[test]
    fn the_table_of_the_documentation_has_each_limit() {
        for (name, proxy) in Proxy::NAMED.into_iter().skip(1) {
            let mut rows = include_str!("proxy.rs").lines().filter_map(|line| {
                let mut cells = line.strip_prefix("/// |")?.split('|').map(str::trim);
                (cells.next() == Some(&format!("`{name}`"))).then(|| cells.next())?
            });
            let limit = proxy.idle_limit_secs().map(|secs| secs.to_string());
            assert_eq!(rows.next(), limit.as_deref(), "{name}");
        }
    }

    #[test]
    fn t_lies_above_the_limit() {
        assert_eq!(Proxy::None.suitable_timeout_secs(), None);
        assert_eq!(Proxy::Gcp.suitable_timeout_secs(), Some(620));
        assert_eq!(Proxy::Seconds(60).suitable_timeout_secs(), Some(80));
    }
}
