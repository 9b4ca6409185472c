//! How many connections the descriptors of the process allow.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::shared::share_of;
use super::slots::REFUSAL_RESERVE;
use super::spares::most_spares;
use crate::config::Config;
use crate::site::disk::{DescriptorBudget, MAX_CACHED_FILES};

/// Descriptors reserved for the standard streams, logs, signals and libraries.
const RESERVED_DESCRIPTORS: u64 = 64;

/// Descriptors that a thread has open for a short time: the file that it reads, and one more.
const DESCRIPTORS_PER_THREAD: u64 = 2;

/// Descriptors of the admin listener: its poll, its waker, the listener, its clients, one that it has just
/// accepted, and two files of `/proc`.
pub(super) const ADMIN_DESCRIPTORS: u64 = 22;

/// The most connections, whatever the descriptor limit is. Tokens have no room for more.
const MAX_CONNECTIONS: u64 = 1 << 24;

/// The most workers that there can be in all, spare ones included.
fn most_workers(config: &Config) -> usize {
    let of_loop = |number| {
        let workers = share_of(config.workers, number, config.event_loops);
        workers + most_spares(workers)
    };
    (0..config.event_loops).map(of_loop).sum()
}

/// The limits on connections at the start.
pub(super) struct ConnectionLimit {
    /// The limit that is configured, or else as many as possible.
    pub(super) limit: usize,
    /// The most that a reload may configure.
    pub(super) most: usize,
    /// The descriptors that connections and large files share.
    pub(super) descriptors: DescriptorBudget,
}

/// The limits on connections. Raises the soft limit of descriptors to the hard one.
pub(super) fn connection_limit(config: &Config) -> Result<ConnectionLimit, String> {
    let limits = getrlimit(Resource::Nofile);
    let hard = limits.maximum;
    let raised = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: hard,
            maximum: hard,
        },
    );
    let descriptors = match raised {
        Ok(()) => hard,
        Err(_) => limits.current,
    };
    // `None` is "unlimited".
    let descriptors = descriptors.unwrap_or(u64::MAX);
    // Each event loop has a poll, a waker, its listeners, the connections that it refuses, and one socket
    // that it has just accepted.
    let per_event_loop = (config.listen.len() + 2 + REFUSAL_RESERVE + 1) as u64;
    let event_loops = config.event_loops as u64;
    let threads = DESCRIPTORS_PER_THREAD * (most_workers(config) as u64 + 2);
    // The sites share the cache, but each has a root.
    let roots = 1 + config.hosts.len() as u64;
    let admin = match config.admin.is_on() {
        true => ADMIN_DESCRIPTORS,
        false => 0,
    };
    let cached_files = MAX_CACHED_FILES.min(descriptors / 4);
    let reserve = RESERVED_DESCRIPTORS
        + admin
        + threads
        + roots
        + event_loops * per_event_loop
        + cached_files;
    // With a limit of some hundreds the reserve leaves nothing. A server with few connections is better
    // than none.
    let possible = descriptors.saturating_sub(reserve).max(descriptors / 4);
    let places = usize::try_from(possible).unwrap_or(usize::MAX);
    let budget = DescriptorBudget::new(places, cached_files);
    let possible = possible.min(MAX_CONNECTIONS);
    let wanted = config.limits.connections as u64;
    if wanted > possible {
        return Err(format!(
            "limits.connections: {wanted} connections need {} file descriptors, the hard limit is {descriptors}",
            wanted + reserve
        ));
    }
    let limit = if wanted == 0 { possible } else { wanted };
    Ok(ConnectionLimit {
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
        most: usize::try_from(possible).unwrap_or(usize::MAX),
        descriptors: budget,
    })
}
