//! The promise of the last response that kept the connection open. A reload changes the settings, but not the
//! promise: the connection keeps its T, and gets as many requests as `max` said.

use std::num::NonZeroU32;

use crate::clock::Millis;
use crate::config::KeepAlive;
use crate::connection::server_context::ServerContext;

/// Allowed travel time, even under pressure, of a request that the client sends in the last moment of T.
/// Equals the least grace that can be configured.
const LEAST_GRACE_SECS: u32 = 1;

/// The promise that a client was told in a Keep-Alive field.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct KeepAlivePromise {
    /// T in seconds.
    timeout_secs: u32,
    /// The requests of the whole connection, answered ones included; 0 if nothing was promised yet.
    requests: u32,
}

impl KeepAlivePromise {
    /// The promise of the next response that keeps the connection open: the T of `keep_alive`, or the T that was told
    /// before, if that is longer, and `requests` in all. T never becomes shorter during a connection.
    pub(super) fn renewed(self, keep_alive: &KeepAlive, requests: NonZeroU32) -> KeepAlivePromise {
        KeepAlivePromise {
            timeout_secs: self.timeout_secs.max(keep_alive.timeout_secs),
            requests: requests.get(),
        }
    }

    /// The T of this promise, if it is another one than the `usual`.
    pub(super) fn other_timeout_secs(self, usual: u32) -> Option<u32> {
        (self.timeout_secs != usual).then_some(self.timeout_secs)
    }

    /// The most requests of the connection: as many as `configured`, or as promised before, if that is more.
    pub(super) fn requests(self, configured: NonZeroU32) -> NonZeroU32 {
        NonZeroU32::new(self.requests).map_or(configured, |promised| promised.max(configured))
    }

    /// Whether the client was told that further requests may follow the first `answered` ones.
    pub(super) fn allows_more_than(self, answered: u32) -> bool {
        self.requests > answered
    }

    /// The T that the client was told last, in seconds; `None` before the first response that kept the connection
    /// open.
    pub(super) fn told_timeout_secs(self) -> Option<u32> {
        (self.requests > 0).then_some(self.timeout_secs)
    }

    /// The end of the promised T, for a connection that is idle since `since`.
    pub(super) fn timeout_at(self, since: Millis) -> Millis {
        since.plus_secs(self.timeout_secs)
    }

    /// T + grace: the time when a connection that is idle since `since` closes.
    pub(super) fn idle_close_at(self, since: Millis, context: &ServerContext) -> Millis {
        self.timeout_at(since).plus_secs(context.grace_secs(since))
    }
}

/// The time from which an idle connection may be closed under pressure, if T + grace ends at `close_at`.
pub(super) fn evictable_from(close_at: Millis, grace_secs: u32) -> Millis {
    // The acknowledgement may be as recent as the first check for it.
    let early_millis =
        KeepAlive::ack_check_millis(grace_secs).saturating_sub(u64::from(LEAST_GRACE_SECS) * 1000);
    Millis(close_at.0.saturating_sub(early_millis))
}
