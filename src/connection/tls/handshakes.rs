//! A bound on the handshakes that are under way.
//!
//! A handshake that has begun holds some 5 KB until the client completes it. If a client begins one more than
//! the bound allows, the handshake that began first is given up. So clients that begin handshakes and do not
//! complete them keep out no others.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// A handshake under way, until it is complete or given up.
pub(super) struct Pending<C>(Mutex<Option<C>>);

impl<C> Pending<C> {
    /// The state of the handshake; `None` if it was given up.
    pub(super) fn lock(&self) -> MutexGuard<'_, Option<C>> {
        // A turn that panics poisons the lock, and its connection is dropped.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The handshakes under way, the first one first. Those that have ended may still be among them.
pub(super) struct Handshakes<C> {
    begun: Mutex<VecDeque<Weak<Pending<C>>>>,
}

impl<C> Default for Handshakes<C> {
    fn default() -> Handshakes<C> {
        Handshakes {
            begun: Mutex::default(),
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
        let pending = Arc::new(Pending(Mutex::new(Some(state))));
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.push_back(Arc::downgrade(&pending));
        if begun.len() > most {
            begun.retain(|other| other.strong_count() > 0);
        }
        let mut given_up = Vec::new();
        while begun.len() > most {
            given_up.extend(begun.pop_front().and_then(|first| first.upgrade()));
        }
        // A thread that computes holds the lock of its handshake, and others need not wait for it here.
        drop(begun);
        for first in given_up {
            *first.lock() = None;
        }
        pending
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
    fn handshakes_that_have_ended_do_not_count() {
        let handshakes = Handshakes::default();
        let first = handshakes.begin(0, 3);
        for number in 1..100 {
            drop(handshakes.begin(number, 3));
        }
        assert_eq!(*first.lock(), Some(0));
        assert!(handshakes.begun.lock().unwrap().len() <= 4);
    }
}
