//! Work for the threads that serve, as it lies in the queues of the [`handoff`](super::handoff).

use std::sync::Arc;

use super::slots::QueuedSlot;
use crate::site::waiting::Flight;

/// SingleFlight whose fruit a connection holds at most. A request needs a file, a form of it, and perhaps a
/// page in its place.
const MAX_FINISHED: usize = 4;

/// A task for a worker.
#[derive(Debug, PartialEq, Eq)]
pub enum Work {
    /// Give this connection a turn.
    Turn(QueuedSlot),
    /// Give a connection a turn that has waited for flights. Their results are kept until it has asked
    /// for it.
    Resume(QueuedSlot, FinishedFlights),
    /// Go on with this flight's job for a slice.
    Slice(Arc<Flight>),
    /// Give memory back to the system: many connections have gone.
    GiveBackMemory,
}

/// The flights that a connection has waited for since its last answer, the last one first. One request
/// may need several; what one has brought must not be gone when the next is back.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FinishedFlights(Vec<Arc<Flight>>);

impl FinishedFlights {
    /// With `flight`, which is over.
    pub(super) fn with(mut self, flight: &Arc<Flight>) -> FinishedFlights {
        self.0.insert(0, Arc::clone(flight));
        self.0.truncate(MAX_FINISHED);
        self
    }

    /// Whether the last one was given up.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.0.first().is_some_and(|flight| flight.is_given_up())
    }
}
