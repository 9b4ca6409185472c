//! Bounds on what the Keep-Alive field says.

/// The largest number of seconds or requests that the server advertises: 2^31-1.
///
/// Clients read `timeout` and `max` of the Keep-Alive field into signed 32-bit integers.
pub const ADVERTISED_MAX: u32 = 0x7fff_ffff;

/// Default of `keep_alive.grace`, in seconds. The longest timeout leaves room for it.
pub(super) const GRACE_DEFAULT_SECS: u32 = 10;

/// The longest T, in seconds.
pub(super) const TIMEOUT_MAX_SECS: u64 = ADVERTISED_MAX as u64 - GRACE_DEFAULT_SECS as u64;
