//! How full a place with a limit is: the whole server, or one address's share of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::site::disk::DescriptorBudget;

/// Open connections under a limit. The event loops count those that come, whoever closes one those that
/// go, and everybody looks.
#[derive(Debug)]
pub struct ConnectionGauge {
    open: AtomicUsize,
    limit: usize,
    /// The descriptors that connections share with open files; each connection takes one.
    descriptors: Option<Arc<DescriptorBudget>>,
}

impl ConnectionGauge {
    /// Nothing open yet, of `limit` connections.
    #[must_use]
    pub fn new(limit: usize) -> ConnectionGauge {
        ConnectionGauge {
            open: AtomicUsize::new(0),
            limit,
            descriptors: None,
        }
    }

    /// Nothing open yet, of `limit` connections that share `descriptors` with open files.
    #[must_use]
    pub fn within(limit: usize, descriptors: Arc<DescriptorBudget>) -> ConnectionGauge {
        ConnectionGauge {
            descriptors: Some(descriptors),
            ..ConnectionGauge::new(limit)
        }
    }

    /// Counts a connection, if there is room for it.
    #[must_use]
    pub fn enter(&self) -> bool {
        // Relaxed, here and below: a thread that sees a number of a moment ago breaks no promise.
        if self.descriptors.as_ref().is_some_and(|all| !all.take()) {
            return false;
        }
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let has_room = before < self.limit;
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

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether the limit is reached.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let descriptors = self.descriptors.as_ref();
        self.open() >= self.limit || descriptors.is_some_and(|all| all.is_spent())
    }

    /// Whether connections should go: 90 % of the limit are open.
    #[must_use]
    pub fn is_pressing(&self) -> bool {
        self.excess() > 0
    }

    /// How many connections have to close for the pressure to end.
    #[must_use]
    pub fn excess(&self) -> usize {
        // From 90 % on, rounded up: of 4 all 4, of 10 the ninth.
        let first_too_many = self.limit - self.limit / 10;
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
                assert_eq!(gauge.is_pressing(), open >= first_under_pressure);
            }
            assert!(gauge.is_full() && !gauge.enter());
            assert_eq!(gauge.excess(), limit + 1 - first_under_pressure);
            for _ in 0..gauge.excess() {
                gauge.leave();
            }
            assert!(!gauge.is_pressing());
            assert_eq!(gauge.open(), first_under_pressure - 1);
        }
    }

    #[test]
    fn without_a_limit_there_is_no_pressure() {
        let gauge = ConnectionGauge::new(usize::MAX);
        assert!(gauge.enter());
        assert!(!gauge.is_pressing() && !gauge.is_full());
    }
}
