//! A comparison with the disk that has been ordered and is not over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::errand::Errand;
use crate::clock::Millis;

/// A comparison with the disk that is left to the [checker](crate::site::memory), while it is not over.
#[derive(Debug, Default)]
pub struct Outstanding {
    order: Mutex<Option<(Millis, Arc<Errand>)>>,
}

/// An order for a comparison.
#[derive(Debug)]
pub struct Ordered {
    /// The checker's way.
    pub errand: Arc<Errand>,
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
        let (at, errand) = order.get_or_insert_with(|| (now, Errand::new()));
        Ordered {
            errand: Arc::clone(errand),
            at: *at,
            is_ours,
        }
    }

    /// It has been carried out, whatever came of it.
    pub fn end(&self) {
        let order = self.lock().take();
        if let Some((_, errand)) = order {
            errand.end();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Millis, Arc<Errand>)>> {
        // Nothing in here panics.
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
