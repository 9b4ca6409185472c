//! `[keep_alive]`: how long an idle connection is promised to stay open.

use std::num::NonZeroU32;

use super::advertised::GRACE_DEFAULT_SECS;
use super::proxy::Proxy;

/// The section `[keep_alive]`.
#[derive(Debug, Clone, PartialEq)]
pub struct KeepAlive {
    /// T: seconds that an idle connection is promised to stay open; 1 to 2^31-1 less the default grace,
    /// and `timeout_secs + grace_secs` is at most 2^31-1. Default 120.
    pub timeout_secs: u32,
    /// Seconds beyond T before an idle connection is closed; 1 to 2^31-2. Default 10.
    pub grace_secs: u32,
    /// Requests per connection; 1 to 2^31-1. Default 1000.
    pub max_requests: NonZeroU32,
    /// Seconds after which a connection ends with its next response, or with the response to the last
    /// complete request that it has received by then; 0 to 2^31-1, where 0 means no maximum age.
    /// Default 3600.
    pub max_age_secs: u32,
    /// When an idle connection is closed. Default [`IdleClose::Timeout`].
    pub close: IdleClose,
    /// The proxy in front, whose idle limit T must exceed. Default [`Proxy::None`].
    pub behind: Proxy,
    /// Whether HTTP/1.0 clients get a persistent connection if they ask for it. Default true.
    pub http10: bool,
}

/// `keep_alive.close`: when an idle connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdleClose {
    /// At T + grace. Written `"idle"`.
    Timeout,
    /// Under pressure only: when the connections reach 90 % of a limit, and then not before T. The TCP
    /// probes find peers that are gone. Written `"pressure"`.
    Pressure,
}

impl Default for KeepAlive {
    fn default() -> KeepAlive {
        KeepAlive {
            timeout_secs: 120,
            grace_secs: GRACE_DEFAULT_SECS,
            max_requests: const { NonZeroU32::new(1000).unwrap() },
            max_age_secs: 3600,
            close: IdleClose::Timeout,
            behind: Proxy::None,
            http10: true,
        }
    }
}

impl KeepAlive {
    /// T + grace: seconds after which an idle connection is closed; at most 2^31-1.
    #[must_use]
    pub fn idle_close_after_secs(&self) -> u32 {
        self.timeout_secs.saturating_add(self.grace_secs)
    }

    /// Milliseconds from a response to the first check whether it is acknowledged: half of grace. With a
    /// later check, a client whose acknowledgement comes just before it would have no grace left.
    #[must_use]
    pub fn first_ack_check_millis(&self) -> u64 {
        KeepAlive::ack_check_millis(self.grace_secs)
    }

    /// As [`first_ack_check_millis`](KeepAlive::first_ack_check_millis), for a grace of `grace_secs` seconds.
    #[must_use]
    pub fn ack_check_millis(grace_secs: u32) -> u64 {
        u64::from(grace_secs) * 500
    }
}
