//! Decides whether a connection persists after a response (RFC 9112 section 9.3).

use std::num::NonZeroU32;

use super::method::Method;
use super::request::RequestHead;
use super::status::Status;
use super::version::Version;

/// The largest `max` in a Keep-Alive field: some clients read it into a signed 32-bit integer.
const MAX_ADVERTISED: u32 = i32::MAX as u32;

/// The conditions of the server, apart from the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepAlivePolicy {
    /// Whether connections of HTTP/1.0 clients may persist on request.
    pub http10: bool,
    /// The most requests that one connection may have answered.
    pub max_requests: NonZeroU32,
    /// Whether the connection ends with this response: draining, pressure or age.
    pub closing: bool,
}

/// Whether the connection persists after this response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// The connection stays open.
    Persist {
        /// How many requests may still follow; 1 to 2^31-1.
        remaining: u32,
    },
    /// The connection closes.
    Close,
}

/// Decides whether the connection persists after the response to a request with this head.
///
/// `answered_before` counts the earlier responses on this connection. With `max_requests` = 20 the first
/// response (0 before it) leaves 19, the nineteenth leaves 1, the twentieth closes.
///
/// The connection of an HTTP/1.0 request through a proxy (`via`, `proxy_connection`) closes. An old proxy
/// forwards `Connection: keep-alive` without understanding it, and would wait for a close that never comes
/// (RFC 9112 section 9.3, RFC 2068 section 19.7.1).
#[must_use]
pub fn decide(
    head: &RequestHead<'_, '_>,
    answered_before: u32,
    policy: &KeepAlivePolicy,
) -> Persistence {
    let is_wanted = match head.version {
        Version::Http11 => true,
        Version::Http10 => {
            policy.http10 && head.connection.keep_alive && !head.via && !head.proxy_connection
        }
    };
    let remaining = policy
        .max_requests
        .get()
        .saturating_sub(answered_before.saturating_add(1))
        .min(MAX_ADVERTISED);
    if !is_wanted || head.connection.close || policy.closing || remaining == 0 {
        return Persistence::Close;
    }
    Persistence::Persist { remaining }
}

/// Whether a response with this status, to a request with this method, ends the connection. Behind a proxy
/// other clients may share the connection, so one client's failure alone is no reason to close.
///
/// | status                                      | connection | because                                             |
/// |---------------------------------------------|------------|-----------------------------------------------------|
/// | 200, 204, 206, 301, 302, 303, 304, 307, 308 | persists   |                                                     |
/// | 403, 404, 405, 410, 412, 416, 451           | persists   | the request was understood and is read to its end   |
/// | 503                                         | persists   | the request is read to its end, and may be repeated |
/// | 400, 413, 414, 431, 505                     | ends       | where the next request begins may be in doubt       |
/// | 421                                         | ends       | the client has connected to the wrong server        |
/// | 408                                         | ends       | the request is incomplete (RFC 9110 section 15.5.9) |
/// | 417                                         | ends       | a body may or may not follow                        |
/// | 500, 501                                    | ends       | the server's state or the request is not understood |
/// | 503 to a connection over the limit          | ends       | the limit is reached                                |
/// | any, to CONNECT                             | ends       | what follows may be meant for a tunnel              |
/// | any, in place of 100 (Continue)             | ends       | a body may follow or not                            |
///
/// A test compares the rows of plain statuses with the function, for every [`Status`].
#[must_use]
pub fn ends_connection(method: Method, status: Status) -> bool {
    method == Method::Connect
        || !matches!(
            status.code(),
            200 | 204 | 206 | 301..=304 | 307 | 308 | 403 | 404 | 405 | 410 | 412 | 416 | 451 | 503
        )
}

#[cfg(test)]
mod tests {
    use super::super::request::sample::parsed;
    use super::*;

    const TWENTY: NonZeroU32 = NonZeroU32::new(20).unwrap();
    const WILLING: KeepAlivePolicy = KeepAlivePolicy {
        http10: true,
        max_requests: TWENTY,
        closing: false,
    };
    const HTTP10: &str = "GET / HTTP/1.0\r\n";
    const HTTP11: &str = "GET / HTTP/1.1\r\nHost: a\r\n";
    const NOTHING_SAID: &str = "";
    const KEEP_ALIVE: &str = "Connection: keep-alive\r\n";
    const CLOSE: &str = "Connection: close\r\n";
    const BOTH: &str = "Connection: close, keep-alive\r\n";

    fn after_first(request_line: &str, fields: &str, policy: &KeepAlivePolicy) -> Persistence {
        let text = format!("{request_line}{fields}\r\n");
        parsed(text.as_bytes(), |head| decide(head, 0, policy))
    }

    fn nth(answered_before: u32, max_requests: NonZeroU32) -> Persistence {
        let policy = KeepAlivePolicy {
            max_requests,
            ..WILLING
        };
        let text = format!("{HTTP11}\r\n");
        parsed(text.as_bytes(), |head| {
            decide(head, answered_before, &policy)
        })
    }

    #[test]
    fn http11_persists_by_default_rfc9112_9_3() {
        let persistence = after_first(HTTP11, NOTHING_SAID, &WILLING);
        assert_eq!(persistence, Persistence::Persist { remaining: 19 });
    }

    #[test]
    fn http10_persists_only_when_asked_to_and_allowed() {
        assert_eq!(
            after_first(HTTP10, NOTHING_SAID, &WILLING),
            Persistence::Close
        );
        let asked = after_first(HTTP10, KEEP_ALIVE, &WILLING);
        assert_eq!(asked, Persistence::Persist { remaining: 19 });
        let unwilling = KeepAlivePolicy {
            http10: false,
            ..WILLING
        };
        assert_eq!(
            after_first(HTTP10, KEEP_ALIVE, &unwilling),
            Persistence::Close
        );
        let persistence = after_first(HTTP11, NOTHING_SAID, &unwilling);
        assert_eq!(persistence, Persistence::Persist { remaining: 19 });
    }

    #[test]
    fn close_from_the_client_wins_over_keep_alive() {
        for version in [HTTP10, HTTP11] {
            assert_eq!(after_first(version, CLOSE, &WILLING), Persistence::Close);
            assert_eq!(after_first(version, BOTH, &WILLING), Persistence::Close);
        }
    }

    #[test]
    fn draining_closes() {
        let closing = KeepAlivePolicy {
            closing: true,
            ..WILLING
        };
        assert_eq!(
            after_first(HTTP11, KEEP_ALIVE, &closing),
            Persistence::Close
        );
    }

    #[test]
    fn http10_through_a_proxy_closes_and_http11_persists() {
        let via = "Via: 1.0 old\r\n";
        let blind = "Proxy-Connection: keep-alive\r\n";
        for proxy in [via.to_owned(), blind.to_owned(), format!("{via}{blind}")] {
            let fields = format!("{KEEP_ALIVE}{proxy}");
            assert_eq!(after_first(HTTP10, &fields, &WILLING), Persistence::Close);
            let persistence = after_first(HTTP11, &fields, &WILLING);
            assert_eq!(persistence, Persistence::Persist { remaining: 19 });
        }
    }

    #[test]
    fn max_counts_down_to_one_and_the_last_answer_closes() {
        assert_eq!(nth(0, TWENTY), Persistence::Persist { remaining: 19 });
        assert_eq!(nth(18, TWENTY), Persistence::Persist { remaining: 1 });
        assert_eq!(nth(19, TWENTY), Persistence::Close);
        assert_eq!(nth(u32::MAX, TWENTY), Persistence::Close);
        assert_eq!(nth(0, NonZeroU32::MIN), Persistence::Close);
    }

    #[test]
    fn max_fits_a_signed_integer() {
        let persistence = nth(0, NonZeroU32::MAX);
        assert_eq!(
            persistence,
            Persistence::Persist {
                remaining: 2_147_483_647
            }
        );
    }

    /// The statuses with a row in the table above [`ends_connection`], and the result in that row.
    fn documented() -> Vec<(u16, bool)> {
        let rows = include_str!("keep_alive.rs").lines();
        let rows = rows.filter_map(|line| line.strip_prefix("/// |"));
        let mut table = Vec::new();
        for row in rows {
            let mut cells = row.split('|').map(str::trim);
            let (codes, connection) = (cells.next().unwrap_or(""), cells.next().unwrap_or(""));
            // Rows in words depend on more than the status.
            let codes = codes.split(", ").filter_map(|code| code.parse().ok());
            table.extend(codes.map(|code| (code, connection == "ends")));
        }
        table
    }

    #[test]
    fn the_table_names_every_status_and_agrees_with_the_code() {
        let mut documented = documented();
        documented.sort_unstable();
        let done = |status: &Status| (status.code(), ends_connection(Method::Get, *status));
        let done: Vec<_> = Status::ALL.iter().map(done).collect();
        assert_eq!(documented, done);
        let is_ended = |status: &Status| ends_connection(Method::Connect, *status);
        assert!(Status::ALL.iter().all(is_ended));
    }
}
