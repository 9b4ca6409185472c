//! The pending order for a comparison with the disk, from when it is placed until it is carried out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::single_flight::Flight;
use crate::clock::Millis;

/// The pending order of one item, if there is one. A [revalidator](crate::site::memory) carries it out.
#[derive(Debug, Default)]
pub struct PendingRevalidation {
    order: Mutex<Option<(Millis, Arc<Flight>)>>,
}

/// A pending order, as a request sees it.
#[derive(Debug)]
pub struct PendingOrder {
    /// Ends when the revalidator has carried out the order.
    pub flight: Arc<Flight>,
    /// When the order was placed.
    pub at: Millis,
    /// Whether this call has created the order, so that the caller must place it.
    pub is_ours: bool,
}

impl PendingRevalidation {
    /// Returns the pending order. If there is none, it creates one at `now`.
    #[must_use]
    pub fn order(&self, now: Millis) -> PendingOrder {
        let mut order = self.lock();
        let is_ours = order.is_none();
        let (at, flight) = order.get_or_insert_with(|| (now, Flight::new()));
        PendingOrder {
            flight: Arc::clone(flight),
            at: *at,
            is_ours,
        }
    }

    /// Ends the order, whatever the comparison found, and calls the waiters.
    pub fn end(&self) {
        let order = self.lock().take();
        if let Some((_, flight)) = order {
            flight.end();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Millis, Arc<Flight>)>> {
        // No code panics while it holds this lock.
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
