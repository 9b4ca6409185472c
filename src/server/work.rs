//! Work items in the queues of the [`handoff`](super::handoff).

use std::sync::Arc;

use super::slots::QueuedSlot;
use crate::site::waiting::Flight;

/// The most finished flights that a connection keeps. A request needs a file, an encoded variant of it,
/// and perhaps an error page.
const MAX_FINISHED: usize = 4;

/// A task for a worker.
#[derive(Debug, PartialEq, Eq)]
pub enum Work {
    /// Give this connection a turn.
    Turn(QueuedSlot),
    /// Give a turn to this connection, which has waited for flights. Their results are kept until the
    /// turn is over.
    Resume(QueuedSlot, FinishedFlights),
    /// Run the job of this flight for a slice.
    Slice(Arc<Flight>),
    /// Return free memory to the system: many connections have closed.
    GiveBackMemory,
}

/// The flights that a connection has waited for since its last response, newest first. A request may need
/// several, and the result of an earlier one must still be there when a later one finishes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FinishedFlights(Vec<Arc<Flight>>);

impl FinishedFlights {
    /// Adds `flight`, which has finished.
    pub(super) fn with(mut self, flight: &Arc<Flight>) -> FinishedFlights {
        self.0.insert(0, Arc::clone(flight));
        self.0.truncate(MAX_FINISHED);
        self
    }

    /// Whether the newest flight was given up.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.0.first().is_some_and(|flight| flight.is_given_up())
    }
}
