//! Work that takes long, done in slices: reading and hashing a large file, listing a large directory.
//!
//! A job does some milliseconds of work for each call and then says that there is more. So one thread
//! is enough for any number of them, and for all else that wants a thread.
//!
//! ```text
//!   worker A   Lookup::find       begins the job, gives it its first slice: mostly that is all
//!              FlightLeader::leave      the rest is left to whoever waits
//!              Flight::claim_job  the first who waits puts it into the queue for long work
//!   worker B   Flight::work       one slice; back to the end of that queue
//!              ...
//!   worker A   Flight::work       the last one: those who wait are called
//! ```
//!
//! A job whose last waiter has gone ends between two slices.
//!
//! # Bounds
//!
//! There are at most [`MAX_JOBS`] at a time for each [`JobPermits`]; more are refused before they begin.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::clock::Millis;

/// Jobs at a time that were not done in their first slice. Each has up to two descriptors open.
pub const MAX_JOBS: usize = 128;

/// How often a job asks in its first slice before that is over: about two milliseconds.
pub const FIRST_SLICE_ASKS: u32 = 16;

/// The time that a call to [`Job::step`] may take. The layer that has a clock makes it.
pub trait Slice {
    /// Whether it is over. A job asks after about a tenth of a millisecond of work.
    fn is_over(&self) -> bool;

    /// The time now.
    fn now(&self) -> Millis;
}

/// Work that takes long.
pub trait Job: Send {
    /// The result of the job.
    type Output: Send + Sync;

    /// Goes on until `slice` is over: `None` if that comes first, then the output. After that there must
    /// be no other step.
    fn step(&mut self, slice: &dyn Slice) -> Option<Self::Output>;
}

/// The first slice of a job, in the turn of the request that has begun it. It is measured by work, as
/// there is no clock at hand.
#[derive(Debug)]
pub struct FirstSlice {
    asks_left: Cell<u32>,
    now: Millis,
}

impl FirstSlice {
    /// One that begins at `now`.
    #[must_use]
    pub fn new(now: Millis) -> FirstSlice {
        FirstSlice {
            asks_left: Cell::new(FIRST_SLICE_ASKS),
            now,
        }
    }
}

impl Slice for FirstSlice {
    fn is_over(&self) -> bool {
        let left = self.asks_left.get().saturating_sub(1);
        self.asks_left.set(left);
        left == 0
    }

    fn now(&self) -> Millis {
        self.now
    }
}

/// A slice that is never over, for work that is bounded otherwise.
#[derive(Debug)]
pub struct WholeSlice(pub Millis);

impl Slice for WholeSlice {
    fn is_over(&self) -> bool {
        false
    }

    fn now(&self) -> Millis {
        self.0
    }
}

/// Permits for jobs, of which there is a fixed number.
#[derive(Debug, Default, Clone)]
pub struct JobPermits(Arc<AtomicUsize>);

/// Lets one job be, until it is dropped.
#[derive(Debug)]
pub struct JobPermit(JobPermits);

impl JobPermits {
    /// A permit; `None` if all are taken.
    #[must_use]
    pub fn take(&self) -> Option<JobPermit> {
        // Made first: dropping it gives back what was one too many.
        let permit = JobPermit(self.clone());
        (self.0.fetch_add(1, Ordering::Relaxed) < MAX_JOBS).then_some(permit)
    }
}

impl Drop for JobPermit {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_bounded_and_come_back() {
        let permits = JobPermits::default();
        let mut taken: Vec<_> = (0..MAX_JOBS).map(|_| permits.take()).collect();
        assert!(taken.iter().all(Option::is_some));
        assert!(permits.take().is_none());
        taken.pop();
        assert!(permits.take().is_some());
    }
}
