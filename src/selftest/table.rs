//! The clients that are played, and what arithmetic says of each. How long a client keeps an idle
//! connection, and whether it tries again, was measured or read in its source.

use crate::config::{IdleClose, KeepAlive};

/// How long a client keeps an idle connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// As long as the `timeout` of the Keep-Alive field says, less some seconds. What leaves nothing
    /// is never reused.
    Hint {
        /// Seconds less than T.
        less_secs: u32,
    },
    /// For a time of its own, in seconds, whatever it is told.
    Own {
        /// Seconds.
        secs: u32,
    },
    /// Until the server closes.
    Forever,
}

/// How a client reads the Keep-Alive field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// `timeout` wherever it stands. `max` is not looked at.
    Timeout,
    /// `timeout` if it is the first parameter.
    TimeoutIfFirst,
    /// `timeout`, and `max` as a signed 32-bit integer: a `max` that does not fit leaves no hint.
    TimeoutAndMax,
    /// Nothing.
    Nothing,
}

/// A client or a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// As it is known.
    pub name: &'static str,
    /// How long it keeps an idle connection.
    pub keeps: Keeps,
    /// What it reads of the hint.
    pub reads: Reads,
    /// Whether a GET that is lost to an idle close is sent again.
    pub retries: bool,
}

/// How times of clients that do not look at T are scaled along with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// The configured T in seconds.
    pub configured: u32,
    /// The T that is played, in seconds.
    pub played: u32,
}

const fn hinted(name: &'static str, less_secs: u32, reads: Reads, retries: bool) -> Client {
    Client {
        name,
        keeps: Keeps::Hint { less_secs },
        reads,
        retries,
    }
}

const fn own(name: &'static str, secs: u32, retries: bool) -> Client {
    Client {
        name,
        keeps: Keeps::Own { secs },
        reads: Reads::Nothing,
        retries,
    }
}

const fn forever(name: &'static str, retries: bool) -> Client {
    Client {
        name,
        keeps: Keeps::Forever,
        reads: Reads::Nothing,
        retries,
    }
}

/// All of them: those that honour the hint first, proxies last. Where it is not known whether a
/// client tries again, it does not.
pub const CLIENTS: &[Client] = &[
    hinted("undici, Node's fetch", 2, Reads::Timeout, false),
    hinted("Node http.Agent", 1, Reads::TimeoutIfFirst, false),
    hinted(".NET HttpClient", 1, Reads::Timeout, false),
    hinted("Java HttpURLConnection", 0, Reads::TimeoutAndMax, true),
    hinted("Apache HttpClient 5", 0, Reads::Timeout, false),
    hinted("Firefox", 0, Reads::TimeoutAndMax, false),
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

impl Keeps {
    /// Whether the client keeps to what it is told.
    #[must_use]
    pub fn honours_hint(self) -> bool {
        matches!(self, Keeps::Hint { .. })
    }

    /// Seconds for which an idle connection is kept when `timeout_secs` is advertised; 0 means that
    /// it is not reused at all, `None` that there is no limit.
    #[must_use]
    pub fn idle_secs(self, timeout_secs: u32) -> Option<u32> {
        match self {
            Keeps::Hint { less_secs } => Some(timeout_secs.saturating_sub(less_secs)),
            Keeps::Own { secs } => Some(secs),
            Keeps::Forever => None,
        }
    }

    /// The same in milliseconds of the self-test, in which `timeout_secs` is the T that was read.
    #[must_use]
    pub fn played_millis(self, timeout_secs: u32, scale: Scale) -> Option<u64> {
        let millis = u64::from(self.idle_secs(timeout_secs)?) * 1000;
        Some(match self {
            Keeps::Hint { .. } | Keeps::Forever => millis,
            Keeps::Own { .. } => {
                millis * u64::from(scale.played) / u64::from(scale.configured.max(1))
            }
        })
    }
}

/// The least time, in seconds, that a last request must have to arrive.
const LINE_SECS: u64 = 1;

/// What can happen to a client's requests, from the numbers alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// Its connections are never closed under its hands.
    Safe,
    /// Safe, because it uses no connection twice.
    NeverReuses,
    /// A request can be lost and is sent again.
    Retries,
    /// A request can be lost: it keeps connections until the server closes them.
    NoLimit,
    /// A request can be lost: it keeps connections for longer than the server.
    KeepsTooLong {
        /// For how many seconds.
        secs: u32,
    },
}

impl Client {
    /// Whether it is promised that nothing is lost: it keeps to T, knowingly or not, or idle
    /// connections are not closed for their age.
    #[must_use]
    pub fn is_promised(&self, keep_alive: &KeepAlive) -> bool {
        let kept = self.keeps.idle_secs(keep_alive.timeout_secs);
        keep_alive.close == IdleClose::Pressure
            || kept.is_some_and(|secs| secs <= keep_alive.timeout_secs)
    }

    /// What `keep_alive`, as configured, means for it.
    #[must_use]
    pub fn judge(&self, keep_alive: &KeepAlive) -> Verification {
        let kept = self.keeps.idle_secs(keep_alive.timeout_secs);
        if kept == Some(0) || keep_alive.max_requests.get() == 1 {
            return Verification::NeverReuses;
        }
        let reaped_after = u64::from(keep_alive.reaped_after_secs());
        let in_time = |secs: u32| u64::from(secs) + LINE_SECS <= reaped_after;
        match kept {
            _ if keep_alive.close == IdleClose::Pressure => Verification::Safe,
            Some(secs) if in_time(secs) => Verification::Safe,
            _ if self.retries => Verification::Retries,
            Some(secs) => Verification::KeepsTooLong { secs },
            None => Verification::NoLimit,
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

    fn judge(name: &str, timeout_secs: u32, grace_secs: u32) -> Verification {
        named(name).judge(&keep_alive(timeout_secs, grace_secs))
    }

    fn named(name: &str) -> Client {
        let client = CLIENTS.iter().find(|client| client.name == name);
        *client.unwrap()
    }

    #[test]
    fn whoever_honours_the_hint_is_safe_with_any_grace_that_can_be_configured() {
        for client in CLIENTS.iter().filter(|client| client.keeps.honours_hint()) {
            for timeout_secs in [1, 2, 3, 120, 86_400] {
                let judgement = judge(client.name, timeout_secs, 1);
                let is_safe = matches!(judgement, Verification::Safe | Verification::NeverReuses);
                assert!(is_safe, "{} at {timeout_secs}: {judgement:?}", client.name);
                assert!(client.is_promised(&keep_alive(timeout_secs, 1)));
            }
        }
    }

    #[test]
    fn no_grace_leaves_a_last_request_no_time() {
        let firefox = Verification::KeepsTooLong { secs: 120 };
        assert_eq!(judge("Firefox", 120, 0), firefox);
        assert_eq!(
            judge("Java HttpURLConnection", 120, 0),
            Verification::Retries
        );
        assert_eq!(judge("Node http.Agent", 120, 0), Verification::Safe);
    }

    #[test]
    fn a_limit_of_its_own_must_end_before_ours() {
        assert_eq!(judge("AWS ALB", 120, 10), Verification::Safe);
        let too_long = Verification::KeepsTooLong { secs: 60 };
        assert_eq!(judge("AWS ALB", 50, 10), too_long);
        assert_eq!(judge("AWS ALB", 50, 11), Verification::Safe);
        assert!(!named("AWS ALB").is_promised(&keep_alive(50, 10)));
        assert_eq!(judge("Chromium", 120, 10), Verification::Retries);
        assert_eq!(judge("Python requests", 120, 10), Verification::NoLimit);
    }

    #[test]
    fn what_is_never_reused_is_never_lost() {
        assert_eq!(
            judge("undici, Node's fetch", 2, 1),
            Verification::NeverReuses
        );
        assert_eq!(judge("Node http.Agent", 1, 1), Verification::NeverReuses);
        let keep_alive = KeepAlive {
            max_requests: std::num::NonZeroU32::MIN,
            ..Config::default().keep_alive
        };
        let requests = named("Python requests");
        assert_eq!(requests.judge(&keep_alive), Verification::NeverReuses);
    }

    #[test]
    fn closing_under_pressure_alone_is_safe_for_everybody() {
        let keep_alive = KeepAlive {
            close: IdleClose::Pressure,
            ..Config::default().keep_alive
        };
        for client in CLIENTS {
            let name = client.name;
            assert_eq!(client.judge(&keep_alive), Verification::Safe, "{name}");
            assert!(client.is_promised(&keep_alive), "{name}");
        }
    }

    #[test]
    fn own_limits_are_scaled_with_t_and_subtractions_are_not() {
        let scale = Scale {
            configured: 120,
            played: 4,
        };
        let millis = |name, timeout_secs| named(name).keeps.played_millis(timeout_secs, scale);
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
