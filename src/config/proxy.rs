//! The proxy in front of the server, and for how long it keeps an idle connection to us.

use super::advertised::TIMEOUT_MAX_SECS;

/// Seconds by which T exceeds the proxy's limit: what the two clocks may differ, with room to spare.
const MARGIN_SECS: u32 = 20;

/// `keep_alive.behind`: who holds the other end of our connections.
///
/// A proxy reuses a connection to us until its own idle limit. If we give up first, it will now and
/// then send a request on a connection that we are just closing, and its client gets a 502. So its
/// limit must be the shorter one. The names stand for a product's default; where that was changed,
/// the number of seconds says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxy {
    /// None, or it is not known: clients keep to what they are told.
    None,
    /// `keepalive_timeout` of an upstream, 60 s.
    Nginx,
    /// Every `pool-purge-delay` of 5 s half of the idle connections that it does not need are closed:
    /// after 60 s none of four thousand is left.
    Haproxy,
    /// AWS Application Load Balancer, 60 s.
    Alb,
    /// Google Cloud's Application Load Balancer, 600 s, fixed.
    Gcp,
    /// Amazon CloudFront, 5 s.
    Cloudfront,
    /// Another one, with its idle limit in seconds; 1 to 2^31-31.
    Seconds(u32),
}

impl Proxy {
    /// The largest limit for which there is a T: the longest T less the margin.
    pub(super) const LIMIT_MAX_SECS: u64 = TIMEOUT_MAX_SECS - MARGIN_SECS as u64;

    const NAMED: [(&'static str, Proxy); 6] = [
        ("none", Proxy::None),
        ("nginx", Proxy::Nginx),
        ("haproxy", Proxy::Haproxy),
        ("alb", Proxy::Alb),
        ("gcp", Proxy::Gcp),
        ("cloudfront", Proxy::Cloudfront),
    ];

    /// The proxy of that name in the configuration.
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
            Proxy::Nginx | Proxy::Haproxy | Proxy::Alb => Some(60),
            Proxy::Gcp => Some(600),
            Proxy::Cloudfront => Some(5),
            Proxy::Seconds(secs) => Some(secs),
        }
    }

    /// The least T, in seconds, that suits the proxy.
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
    fn t_lies_above_the_limit() {
        assert_eq!(Proxy::None.suitable_timeout_secs(), None);
        assert_eq!(Proxy::Gcp.suitable_timeout_secs(), Some(620));
        assert_eq!(Proxy::Seconds(60).suitable_timeout_secs(), Some(80));
    }
}
