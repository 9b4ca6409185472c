//! Counts open connections against a limit, for the whole server or for one address.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::site::disk::DescriptorBudget;

/// The number of open connections under a limit. Event loops count connections that open, the thread that
/// closes one takes it out, and any thread may read the number.
#[derive(Debug)]
pub struct ConnectionGauge {
    open: AtomicUsize,
    /// A reload changes it.
    limit: AtomicUsize,
    /// The descriptors that connections share with open files; each connection uses one.
    descriptors: Option<Arc<DescriptorBudget>>,
}

impl ConnectionGauge {
    /// A gauge at 0 for at most `limit` connections.
    #[must_use]
    pub fn new(limit: usize) -> ConnectionGauge {
        ConnectionGauge {
            open: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            descriptors: None,
        }
    }

    /// A gauge at 0 for at most `limit` connections, which share `descriptors` with open files.
    #[must_use]
    pub fn within(limit: usize, descriptors: Arc<DescriptorBudget>) -> ConnectionGauge {
        ConnectionGauge {
            descriptors: Some(descriptors),
            ..ConnectionGauge::new(limit)
        }
    }

    /// Counts a connection and returns true, if there is room for it.
    #[must_use]
    pub fn enter(&self) -> bool {
        // Relaxed, here and below: a number that is a moment old breaks no promise.
        if self.descriptors.as_ref().is_some_and(|all| !all.take()) {
            return false;
        }
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let has_room = before < self.limit();
        if !has_room {
            self.leave();
        }
        has_room
    }

    /// Takes a connection out of the count.
    pub fn leave(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(descriptors) = &self.descriptors {
            descriptors.give_back();
        }
    }

    /// The most connections.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Changes the limit. Connections beyond a lower one stay open; new ones are refused.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// The number of open connections.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether the limit is reached.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let descriptors = self.descriptors.as_ref();
        self.open() >= self.limit() || descriptors.is_some_and(|all| all.is_spent())
    }

    /// Whether the limit is under pressure: 90 % of it or more are open.
    #[must_use]
    pub fn is_under_pressure(&self) -> bool {
        self.excess() > 0
    }

    /// The number of connections that must close to end the pressure.
    #[must_use]
    pub fn excess(&self) -> usize {
        self.excess_over(self.limit())
    }

    /// As [`excess`](ConnectionGauge::excess), with another `limit`.
    #[must_use]
    pub fn excess_over(&self, limit: usize) -> usize {
        // 90 %, rounded up: the fourth of 4, the ninth of 10.
        let first_too_many = limit - limit / 10;
        let excess = (self.open() + 1).saturating_sub(first_too_many.max(1));
        let descriptors = self.descriptors.as_ref();
        excess.max(descriptors.map_or(0, |all| all.excess()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_begins_at_nine_tenths() {
        for (limit, first_under_pressure) in [(1, 1), (2, 2), (9, 9), (10, 9), (11, 10), (20, 18)] {
            let gauge = ConnectionGauge::new(limit);
            for open in 1..=limit {
                assert!(!gauge.is_full());
                assert!(gauge.enter());
                assert_eq!(gauge.is_under_pressure(), open >= first_under_pressure);
            }
            assert!(gauge.is_full() && !gauge.enter());
            assert_eq!(gauge.excess(), limit + 1 - first_under_pressure);
            for _ in 0..gauge.excess() {
                gauge.leave();
            }
            assert!(!gauge.is_under_pressure());
            assert_eq!(gauge.open(), first_under_pressure - 1);
        }
    }

    #[test]
    fn without_a_limit_there_is_no_pressure() {
        let gauge = ConnectionGauge::new(usize::MAX);
        assert!(gauge.enter());
        assert!(!gauge.is_under_pressure() && !gauge.is_full());
    }
}
