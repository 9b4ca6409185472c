//! Whether a connection persists after an answer, and the fields that say so
//! (RFC 9112 section 9.3; the `Keep-Alive` field is RFC 2068 section 19.7.1.1).

use std::num::NonZeroU32;

use super::request::ConnectionOptions;
use super::response::decimal;
use super::version::Version;

/// The largest `max` we advertise: some clients read it into a signed 32-bit integer.
const MAX_ADVERTISED: u32 = i32::MAX as u32;

/// What the server wants, apart from what the request says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Whether HTTP/1.0 clients that ask for it may persist.
    pub http10: bool,
    /// The connection is to end with this answer: draining, pressure or age.
    pub closing: bool,
}

/// What becomes of the connection after this answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It stays open.
    Persist {
        /// How many requests may still follow; 1 to 2^31-1.
        remaining: u32,
    },
    /// It closes.
    Close,
}

/// Decides the connection's fate.
///
/// `answered_before` counts the answers already given on this connection. With `max_requests` = 20
/// the first answer (0 before it) leaves 19, the nineteenth leaves 1, the twentieth closes.
///
/// An HTTP/1.0 request that came through a proxy (`via`, `proxy_connection`) closes: an old proxy
/// forwards `Connection: keep-alive` without understanding it, and would wait for a close that
/// never comes (RFC 9112 section 9.3, RFC 2068 section 19.7.1).
#[must_use]
pub fn decide(
    version: Version,
    connection: &ConnectionOptions,
    via: bool,
    proxy_connection: bool,
    answered_before: u32,
    max_requests: NonZeroU32,
    policy: Policy,
) -> Fate {
    let wanted = match version {
        Version::Http11 => true,
        Version::Http10 => policy.http10 && connection.keep_alive && !via && !proxy_connection,
    };
    let remaining = max_requests
        .get()
        .saturating_sub(answered_before.saturating_add(1))
        .min(MAX_ADVERTISED);
    if !wanted || connection.close || policy.closing || remaining == 0 {
        return Fate::Close;
    }
    Fate::Persist { remaining }
}

/// Appends the lines for a connection that persists, up to the number of requests that may follow:
/// that differs from answer to answer, the rest does not. `timeout_secs` is T, the seconds of idling
/// that we promise.
///
/// `timeout` comes before `max`: Node's agent reads only the first parameter.
pub fn encode_until_max(timeout_secs: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Connection: keep-alive\r\nKeep-Alive: timeout=");
    decimal(u64::from(timeout_secs), out);
    out.extend_from_slice(b", max=");
}

/// The line for a connection that does not (RFC 9112 section 9.6).
pub const CLOSE_LINE: &str = "Connection: close\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING_SAID: ConnectionOptions = ConnectionOptions {
        close: false,
        keep_alive: false,
    };
    const KEEP_ALIVE: ConnectionOptions = ConnectionOptions {
        close: false,
        keep_alive: true,
    };
    const CLOSE: ConnectionOptions = ConnectionOptions {
        close: true,
        keep_alive: false,
    };
    const BOTH: ConnectionOptions = ConnectionOptions {
        close: true,
        keep_alive: true,
    };
    const WILLING: Policy = Policy {
        http10: true,
        closing: false,
    };
    const TWENTY: NonZeroU32 = NonZeroU32::new(20).unwrap();

    fn first_answer(version: Version, connection: ConnectionOptions, policy: Policy) -> Fate {
        decide(version, &connection, false, false, 0, TWENTY, policy)
    }

    fn nth(answered_before: u32, max: NonZeroU32) -> Fate {
        let version = Version::Http11;
        decide(
            version,
            &NOTHING_SAID,
            false,
            false,
            answered_before,
            max,
            WILLING,
        )
    }

    #[test]
    fn http11_persists_by_default_rfc9112_9_3() {
        let fate = first_answer(Version::Http11, NOTHING_SAID, WILLING);
        assert_eq!(fate, Fate::Persist { remaining: 19 });
    }

    #[test]
    fn http10_persists_only_when_asked_to_and_allowed() {
        let version = Version::Http10;
        assert_eq!(first_answer(version, NOTHING_SAID, WILLING), Fate::Close);
        let asked = first_answer(version, KEEP_ALIVE, WILLING);
        assert_eq!(asked, Fate::Persist { remaining: 19 });
        let unwilling = Policy {
            http10: false,
            ..WILLING
        };
        assert_eq!(first_answer(version, KEEP_ALIVE, unwilling), Fate::Close);
        let fate = first_answer(Version::Http11, NOTHING_SAID, unwilling);
        assert_eq!(fate, Fate::Persist { remaining: 19 });
    }

    #[test]
    fn close_from_the_client_wins_over_keep_alive() {
        for version in [Version::Http10, Version::Http11] {
            assert_eq!(first_answer(version, CLOSE, WILLING), Fate::Close);
            assert_eq!(first_answer(version, BOTH, WILLING), Fate::Close);
        }
    }

    #[test]
    fn draining_closes() {
        let closing = Policy {
            closing: true,
            ..WILLING
        };
        let fate = first_answer(Version::Http11, KEEP_ALIVE, closing);
        assert_eq!(fate, Fate::Close);
    }

    #[test]
    fn http10_through_a_proxy_closes_and_http11_does_not_mind() {
        for (via, proxy_connection) in [(true, false), (false, true), (true, true)] {
            let fate = |version| {
                decide(
                    version,
                    &KEEP_ALIVE,
                    via,
                    proxy_connection,
                    0,
                    TWENTY,
                    WILLING,
                )
            };
            assert_eq!(fate(Version::Http10), Fate::Close);
            assert_eq!(fate(Version::Http11), Fate::Persist { remaining: 19 });
        }
    }

    #[test]
    fn max_counts_down_to_one_and_the_last_answer_closes() {
        assert_eq!(nth(0, TWENTY), Fate::Persist { remaining: 19 });
        assert_eq!(nth(18, TWENTY), Fate::Persist { remaining: 1 });
        assert_eq!(nth(19, TWENTY), Fate::Close);
        assert_eq!(nth(u32::MAX, TWENTY), Fate::Close);
        assert_eq!(nth(0, NonZeroU32::MIN), Fate::Close);
    }

    #[test]
    fn max_fits_a_signed_integer() {
        let fate = nth(0, NonZeroU32::MAX);
        assert_eq!(
            fate,
            Fate::Persist {
                remaining: 2_147_483_647
            }
        );
    }

    #[test]
    fn the_timeout_comes_before_the_max() {
        let mut out = Vec::new();
        encode_until_max(120, &mut out);
        let expected = "Connection: keep-alive\r\nKeep-Alive: timeout=120, max=";
        assert_eq!(out, expected.as_bytes());
    }
}
