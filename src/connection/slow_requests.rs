//! The slowest requests of a thread since an observer last took them, for the status page.
//!
//! A thread touches the table only for a request that is slower than all others in it and than
//! [`MIN_MICROS`]. The observer empties it every second, and holds the lock only for a swap.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, TryLockError};

use super::peer::Peer;
use crate::http::status::Status;

/// The most requests that a table holds.
pub const TABLE_LEN: usize = 8;

/// Faster requests are not noted.
pub const MIN_MICROS: u64 = 1_000;

/// The most bytes of a target that are noted.
pub const TARGET_BYTES: usize = 160;

/// A request and how long its response took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowRequest {
    /// The request line's method and target, the target shortened to [`TARGET_BYTES`] bytes.
    pub request: SlowTarget,
    /// Microseconds from the first byte of the head to the last byte that the kernel took.
    pub micros: u64,
    /// When it ended, in microseconds of the monotonic clock.
    pub ended_at_micros: u64,
}

/// The part of a request that the list of slow requests shows. It is noted before it is known whether the
/// request is slow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowTarget {
    /// The method as it was sent, one space, and the beginning of the target.
    pub line: Vec<u8>,
    /// The status of the response.
    pub status: Status,
    /// The client: the peer, or the client behind trusted proxies.
    pub client: Peer,
}

/// The slowest requests of one thread.
#[derive(Debug)]
pub struct SlowRequests {
    /// A request must be slower than this to be noted, in microseconds.
    floor_micros: AtomicU64,
    table: Mutex<Vec<SlowRequest>>,
}

impl Default for SlowRequests {
    fn default() -> SlowRequests {
        SlowRequests {
            floor_micros: AtomicU64::new(MIN_MICROS),
            table: Mutex::default(),
        }
    }
}

impl SlowRequests {
    /// Notes a request that took `micros`, if it is among the slowest. If the observer holds the table at
    /// this moment the request is not noted, because serving threads wait for nobody.
    pub fn note(&self, micros: u64, ended_at_micros: u64, request: &SlowTarget) {
        if micros <= self.floor_micros.load(Ordering::Relaxed) {
            return;
        }
        let mut table = match self.table.try_lock() {
            Ok(table) => table,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let place = table.partition_point(|other| other.micros >= micros);
        table.truncate(TABLE_LEN - 1);
        let slow = SlowRequest {
            request: request.clone(),
            micros,
            ended_at_micros,
        };
        table.insert(place, slow);
        if table.len() == TABLE_LEN {
            let floor = table.last().map_or(MIN_MICROS, |last| last.micros);
            self.floor_micros.store(floor, Ordering::Relaxed);
        }
    }

    /// Empties the table. The slowest request comes first.
    #[must_use]
    pub fn take(&self) -> Vec<SlowRequest> {
        let taken = match self.table.try_lock() {
            Ok(mut table) => std::mem::take(&mut *table),
            Err(TryLockError::Poisoned(poisoned)) => std::mem::take(&mut *poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => return Vec::new(),
        };
        self.floor_micros.store(MIN_MICROS, Ordering::Relaxed);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(all: &[u64]) -> Vec<u64> {
        let slow_requests = SlowRequests::default();
        let request = SlowTarget {
            line: b"GET /".to_vec(),
            status: Status::OK,
            client: Peer::Unix,
        };
        for micros in all {
            slow_requests.note(*micros, 0, &request);
        }
        let taken = slow_requests.take();
        assert!(slow_requests.take().is_empty());
        taken.iter().map(|slow| slow.micros).collect()
    }

    #[test]
    fn the_slowest_are_kept_in_order() {
        assert_eq!(
            noted(&[5_000, 900, 1_000, 7_000, 1_001]),
            [7_000, 5_000, 1_001]
        );
        let rising: Vec<u64> = (1..=20).map(|n| n * 2_000).collect();
        let slowest: Vec<u64> = (13..=20).rev().map(|n| n * 2_000).collect();
        assert_eq!(noted(&rising), slowest);
        let falling: Vec<u64> = rising.into_iter().rev().collect();
        assert_eq!(noted(&falling), slowest);
    }
}
