//! A comparison with the disk that has been ordered and is not over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::single_flight::Flight;
use crate::clock::Millis;

/// A comparison with the disk that is left to the [revalidator](crate::site::memory), while it is not over.
#[derive(Debug, Default)]
pub struct Outstanding {
    order: Mutex<Option<(Millis, Arc<Flight>)>>,
}

/// An order for a comparison.
#[derive(Debug)]
pub struct Ordered {
    /// The revalidator's way.
    pub flight: Arc<Flight>,
    /// When it was ordered.
    pub at: Millis,
    /// Whether the caller is the one who has to place it.
    pub is_ours: bool,
}

impl Outstanding {
    /// The order that is outstanding; a new one of `now` if there is none.
    #[must_use]
    pub fn order(&self, now: Millis) -> Ordered {
        let mut order = self.lock();
        let is_ours = order.is_none();
        let (at, flight) = order.get_or_insert_with(|| (now, Flight::new()));
        Ordered {
            flight: Arc::clone(flight),
            at: *at,
            is_ours,
        }
    }

    /// It has been carried out, whatever came of it.
    pub fn end(&self) {
        let order = self.lock().take();
        if let Some((_, flight)) = order {
            flight.end();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Millis, Arc<Flight>)>> {
        // Nothing in here panics.
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
