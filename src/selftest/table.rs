//! The simulated clients, and the prediction for each from its idle limit. The idle limits and retries
//! were measured, or read in the sources of the clients.

use crate::config::{IdleClose, KeepAlive};

/// How long a client keeps an idle connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdleLimit {
    /// The `timeout` of the Keep-Alive field, less some seconds. If nothing is left the client reuses no
    /// connection.
    Hint {
        /// Seconds that the client subtracts from T.
        less_secs: u32,
    },
    /// A limit of the client's own, whatever the server advertises.
    Fixed {
        /// Seconds.
        secs: u32,
    },
    /// No limit: the connection is kept until the server closes it.
    Unlimited,
}

/// The parameters of the Keep-Alive field that a client honours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HintSupport {
    /// `timeout` in any position; `max` is ignored.
    Timeout,
    /// `timeout` only if it is the first parameter.
    TimeoutIfFirst,
    /// `timeout`, and `max` as a signed 32-bit integer. If `max` does not fit, both are ignored.
    TimeoutAndMax,
    /// Neither of the two.
    Ignored,
}

/// A kind of client or proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The name in the report.
    pub name: &'static str,
    /// How long it keeps an idle connection.
    pub idle_limit: IdleLimit,
    /// The parameters of the hint that the client honours.
    pub hint_support: HintSupport,
    /// Whether the client sends a GET again that was lost because the server closed an idle connection.
    pub retries: bool,
}

/// The ratio by which T and fixed idle limits are shortened in the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeScale {
    /// The configured T in seconds.
    pub configured: u32,
    /// The T under test, in seconds.
    pub tested: u32,
}

const fn hinted(
    name: &'static str,
    less_secs: u32,
    hint_support: HintSupport,
    retries: bool,
) -> Client {
    Client {
        name,
        idle_limit: IdleLimit::Hint { less_secs },
        hint_support,
        retries,
    }
}

const fn own(name: &'static str, secs: u32, retries: bool) -> Client {
    Client {
        name,
        idle_limit: IdleLimit::Fixed { secs },
        hint_support: HintSupport::Ignored,
        retries,
    }
}

const fn forever(name: &'static str, retries: bool) -> Client {
    Client {
        name,
        idle_limit: IdleLimit::Unlimited,
        hint_support: HintSupport::Ignored,
        retries,
    }
}

/// All clients. Those that honour the hint come first, proxies last. If it is unknown whether a client
/// retries, the table says that it does not.
pub const CLIENTS: &[Client] = &[
    hinted("undici, Node's fetch", 2, HintSupport::Timeout, false),
    hinted("Node http.Agent", 1, HintSupport::TimeoutIfFirst, false),
    hinted(".NET HttpClient", 1, HintSupport::Timeout, false),
    hinted(
        "Java HttpURLConnection",
        0,
        HintSupport::TimeoutAndMax,
        true,
    ),
    hinted("Apache HttpClient 5", 0, HintSupport::Timeout, false),
    hinted("Firefox", 0, HintSupport::TimeoutAndMax, false),
    own("httpx", 5, false),
    own("aiohttp", 15, true),
    own("Java HttpClient", 30, true),
    own("Go net/http", 90, true),
    own("hyper, reqwest", 90, false),
    own("curl", 118, true),
    own("Chromium", 300, true),
    forever("Python urllib3", true),
    forever("Python requests", false),
    own("nginx as a proxy", 60, true),
    own("AWS ALB", 60, false),
    own("Google Cloud ALB", 600, false),
];

impl IdleLimit {
    /// Whether the limit follows what the server advertises.
    #[must_use]
    pub fn honours_hint(self) -> bool {
        matches!(self, IdleLimit::Hint { .. })
    }

    /// Seconds that the client keeps an idle connection if `timeout_secs` is advertised. With 0 it reuses
    /// no connection; `None` means that there is no limit.
    #[must_use]
    pub fn idle_secs(self, timeout_secs: u32) -> Option<u32> {
        match self {
            IdleLimit::Hint { less_secs } => Some(timeout_secs.saturating_sub(less_secs)),
            IdleLimit::Fixed { secs } => Some(secs),
            IdleLimit::Unlimited => None,
        }
    }

    /// The limit in milliseconds of the test, in which the client has read the scaled T `timeout_secs`.
    #[must_use]
    pub fn scaled_millis(self, timeout_secs: u32, scale: TimeScale) -> Option<u64> {
        let millis = u64::from(self.idle_secs(timeout_secs)?) * 1000;
        Some(match self {
            IdleLimit::Hint { .. } | IdleLimit::Unlimited => millis,
            IdleLimit::Fixed { .. } => {
                millis * u64::from(scale.tested) / u64::from(scale.configured.max(1))
            }
        })
    }
}

/// Seconds that a request, sent at the last moment of an idle limit, needs to arrive.
const MIN_ARRIVAL_SECS: u64 = 1;

/// The possible fate of a client's requests, derived from the limits of the client and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prediction {
    /// The server never closes a connection that the client may still use.
    Safe,
    /// Safe, because the client uses no connection twice.
    NeverReuses,
    /// A request can be lost, and then the client sends it again.
    Retries,
    /// A request can be lost, because the client keeps connections until the server closes them.
    NoLimit,
    /// A request can be lost, because the client keeps connections for too long.
    KeepsTooLong {
        /// Seconds that it keeps them.
        secs: u32,
    },
}

impl Client {
    /// Whether the server promises this client that no request is lost. It does if the client's limit is
    /// at most T, or if idle connections are closed under pressure only.
    #[must_use]
    pub fn is_promised(&self, keep_alive: &KeepAlive) -> bool {
        let kept = self.idle_limit.idle_secs(keep_alive.timeout_secs);
        keep_alive.close == IdleClose::Pressure
            || kept.is_some_and(|secs| secs <= keep_alive.timeout_secs)
    }

    /// The prediction for this client and the configuration `keep_alive`.
    #[must_use]
    pub fn predict(&self, keep_alive: &KeepAlive) -> Prediction {
        let kept = self.idle_limit.idle_secs(keep_alive.timeout_secs);
        if kept == Some(0) || keep_alive.max_requests.get() == 1 {
            return Prediction::NeverReuses;
        }
        let idle_close_after = u64::from(keep_alive.idle_close_after_secs());
        let in_time = |secs: u32| u64::from(secs) + MIN_ARRIVAL_SECS <= idle_close_after;
        match kept {
            _ if keep_alive.close == IdleClose::Pressure => Prediction::Safe,
            Some(secs) if in_time(secs) => Prediction::Safe,
            _ if self.retries => Prediction::Retries,
            Some(secs) => Prediction::KeepsTooLong { secs },
            None => Prediction::NoLimit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn keep_alive(timeout_secs: u32, grace_secs: u32) -> KeepAlive {
        KeepAlive {
            timeout_secs,
            grace_secs,
            ..Config::default().keep_alive
        }
    }

    fn predict(name: &str, timeout_secs: u32, grace_secs: u32) -> Prediction {
        named(name).predict(&keep_alive(timeout_secs, grace_secs))
    }

    fn named(name: &str) -> Client {
        let client = CLIENTS.iter().find(|client| client.name == name);
        *client.unwrap()
    }

    #[test]
    fn a_client_that_honours_the_hint_is_safe_with_any_grace() {
        for client in CLIENTS
            .iter()
            .filter(|client| client.idle_limit.honours_hint())
        {
            for timeout_secs in [1, 2, 3, 120, 86_400] {
                let prediction = predict(client.name, timeout_secs, 1);
                let is_safe = matches!(prediction, Prediction::Safe | Prediction::NeverReuses);
                assert!(is_safe, "{} at {timeout_secs}: {prediction:?}", client.name);
                assert!(client.is_promised(&keep_alive(timeout_secs, 1)));
            }
        }
    }

    #[test]
    fn no_grace_leaves_a_last_request_no_time() {
        let firefox = Prediction::KeepsTooLong { secs: 120 };
        assert_eq!(predict("Firefox", 120, 0), firefox);
        assert_eq!(
            predict("Java HttpURLConnection", 120, 0),
            Prediction::Retries
        );
        assert_eq!(predict("Node http.Agent", 120, 0), Prediction::Safe);
    }

    #[test]
    fn a_clients_own_limit_must_end_before_ours() {
        assert_eq!(predict("AWS ALB", 120, 10), Prediction::Safe);
        let too_long = Prediction::KeepsTooLong { secs: 60 };
        assert_eq!(predict("AWS ALB", 50, 10), too_long);
        assert_eq!(predict("AWS ALB", 50, 11), Prediction::Safe);
        assert!(!named("AWS ALB").is_promised(&keep_alive(50, 10)));
        assert_eq!(predict("Chromium", 120, 10), Prediction::Retries);
        assert_eq!(predict("Python requests", 120, 10), Prediction::NoLimit);
    }

    #[test]
    fn a_client_that_never_reuses_a_connection_loses_nothing() {
        assert_eq!(
            predict("undici, Node's fetch", 2, 1),
            Prediction::NeverReuses
        );
        assert_eq!(predict("Node http.Agent", 1, 1), Prediction::NeverReuses);
        let keep_alive = KeepAlive {
            max_requests: std::num::NonZeroU32::MIN,
            ..Config::default().keep_alive
        };
        let requests = named("Python requests");
        assert_eq!(requests.predict(&keep_alive), Prediction::NeverReuses);
    }

    #[test]
    fn closing_under_pressure_only_is_safe_for_every_client() {
        let keep_alive = KeepAlive {
            close: IdleClose::Pressure,
            ..Config::default().keep_alive
        };
        for client in CLIENTS {
            let name = client.name;
            assert_eq!(client.predict(&keep_alive), Prediction::Safe, "{name}");
            assert!(client.is_promised(&keep_alive), "{name}");
        }
    }

    #[test]
    fn own_limits_are_scaled_with_t_and_subtractions_are_not() {
        let scale = TimeScale {
            configured: 120,
            tested: 4,
        };
        let millis = |name, timeout_secs| named(name).idle_limit.scaled_millis(timeout_secs, scale);
        assert_eq!(millis("undici, Node's fetch", 4), Some(2_000));
        assert_eq!(millis("Node http.Agent", 4), Some(3_000));
        assert_eq!(millis("Firefox", 4), Some(4_000));
        assert_eq!(millis("Go net/http", 4), Some(3_000));
        assert_eq!(millis("Chromium", 4), Some(10_000));
        assert_eq!(millis("Python requests", 4), None);
    }

    #[test]
    fn names_are_unique() {
        for (index, client) in CLIENTS.iter().enumerate() {
            let before = &CLIENTS[..index];
            assert!(before.iter().all(|other| other.name != client.name));
        }
    }
}
