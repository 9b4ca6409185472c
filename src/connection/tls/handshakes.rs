//! A bound on the handshakes that are under way.
//!
//! A handshake that has begun holds some 5 KB until the client completes it. If a client begins one more than
//! the bound allows, the handshake that began first is given up: its memory is freed, and its connection ends with
//! the client's next byte, or when the handshake is late. So clients that begin handshakes and do not complete
//! them keep out no others.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// A handshake under way, until it is complete or given up.
pub(super) struct Pending<C> {
    state: Mutex<Option<C>>,
    /// Whether `under_way` counts it.
    is_counted: AtomicBool,
    under_way: Arc<AtomicUsize>,
}

impl<C> Pending<C> {
    /// The state of the handshake; `None` if it was given up.
    pub(super) fn lock(&self) -> MutexGuard<'_, Option<C>> {
        // A turn that panics poisons the lock, and its connection is dropped.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        if self.is_counted.swap(false, Ordering::Relaxed) {
            self.under_way.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl<C> Drop for Pending<C> {
    fn drop(&mut self) {
        self.end();
    }
}

/// The handshakes under way.
pub(super) struct Handshakes<C> {
    /// In the order in which they began. Those that have ended may still be among them.
    begun: Mutex<VecDeque<Weak<Pending<C>>>>,
    /// Those that have not ended.
    under_way: Arc<AtomicUsize>,
}

impl<C> Default for Handshakes<C> {
    fn default() -> Handshakes<C> {
        Handshakes {
            begun: Mutex::default(),
            under_way: Arc::default(),
        }
    }
}

impl<C> fmt::Debug for Handshakes<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshakes").finish_non_exhaustive()
    }
}

impl<C> Handshakes<C> {
    /// Begins a handshake. Gives up the first ones if there are more than `most` then.
    pub(super) fn begin(&self, state: C, most: usize) -> Arc<Pending<C>> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let pending = Arc::new(Pending {
            state: Mutex::new(Some(state)),
            is_counted: AtomicBool::new(true),
            under_way: Arc::clone(&self.under_way),
        });
        // A thread that computes holds the lock of its handshake, and others need not wait for it in the queue's.
        for first in self.enqueue(&pending, most) {
            *first.lock() = None;
        }
        pending
    }

    /// Adds `pending` to the queue. Returns the handshakes that are to be given up.
    fn enqueue(&self, pending: &Arc<Pending<C>>, most: usize) -> Vec<Arc<Pending<C>>> {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.push_back(Arc::downgrade(pending));
        let mut given_up = Vec::new();
        while self.under_way.load(Ordering::Relaxed) > most
            && let Some(first) = begun.pop_front()
        {
            if let Some(first) = first.upgrade() {
                first.end();
                given_up.push(first);
            }
        }
        // At least half of the queue has ended, so this costs little for each of them.
        if begun.len() > 2 * self.under_way.load(Ordering::Relaxed).max(64) {
            begun.retain(|other| other.strong_count() > 0);
        }
        given_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_than_the_bound_ends_the_first() {
        let handshakes = Handshakes::default();
        let all: Vec<_> = (0..5).map(|number| handshakes.begin(number, 3)).collect();
        let states: Vec<Option<i32>> = all.iter().map(|pending| *pending.lock()).collect();
        assert_eq!(states, [None, None, Some(2), Some(3), Some(4)]);
    }

    #[test]
    fn one_that_was_given_up_counts_no_more_though_its_connection_stays() {
        let handshakes = Handshakes::default();
        let all: Vec<_> = (0..5).map(|number| handshakes.begin(number, 3)).collect();
        drop(all);
        let next: Vec<_> = (5..8).map(|number| handshakes.begin(number, 3)).collect();
        assert!(next.iter().all(|pending| pending.lock().is_some()));
        drop(next);
        assert_eq!(handshakes.under_way.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn handshakes_that_have_ended_do_not_count() {
        let handshakes = Handshakes::default();
        let first = handshakes.begin(0, 3);
        for number in 1..1_000 {
            drop(handshakes.begin(number, 3));
        }
        assert_eq!(*first.lock(), Some(0));
        assert!(handshakes.begun.lock().unwrap().len() <= 129);
    }
}
