//! Long work, done in slices: reading and hashing a large file, listing a large directory.
//!
//! Each call does some milliseconds of work, and then reports whether work is left. So a single thread
//! can serve any number of jobs, and other requests between two slices.
//!
//! ```text
//!   worker A   Lookup::find         begins the job and gives it the first slice, which mostly suffices
//!              FlightLeader::leave  leaves the rest to the requests that wait
//!              Flight::claim_job    the first request that waits puts the job into the job queue
//!   worker B   Flight::work         runs one slice; the job goes back to the end of that queue
//!              ...
//!   worker A   Flight::work         runs the last slice and calls the waiters
//! ```
//!
//! If no request waits any longer, the job ends between two slices.
//!
//! # Bounds
//!
//! Each [`JobPermits`] admits at most [`MAX_JOBS`] jobs at a time. Further jobs are refused before they
//! begin.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::clock::Millis;

/// The largest number of jobs beyond their first slice. Each has up to two descriptors open.
pub const MAX_JOBS: usize = 128;

/// The number of calls of [`Slice::is_over`] in a first slice: about two milliseconds of work.
pub const FIRST_SLICE_ASKS: u32 = 16;

/// The time that a call of [`Job::step`] may take. The layer that has a clock implements it.
pub trait Slice {
    /// Whether the slice is over. A job asks after about a tenth of a millisecond of work.
    fn is_over(&self) -> bool;

    /// The current time.
    fn now(&self) -> Millis;
}

/// A task that is done in slices.
pub trait Job: Send {
    /// The result of the job.
    type Output: Send + Sync;

    /// Works until `slice` is over, which gives `None`, or until the job is done, which gives its
    /// output. After the output `step` must not be called again.
    fn step(&mut self, slice: &dyn Slice) -> Option<Self::Output>;
}

/// The first slice of a job, in the turn of the request that begins the job. This layer has no clock, so
/// the slice counts units of work.
#[derive(Debug)]
pub struct FirstSlice {
    asks_left: Cell<u32>,
    now: Millis,
}

impl FirstSlice {
    /// A first slice that begins at `now`.
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

/// A slice that never ends, for work that has another bound.
#[derive(Debug)]
pub struct UnboundedSlice(pub Millis);

impl Slice for UnboundedSlice {
    fn is_over(&self) -> bool {
        false
    }

    fn now(&self) -> Millis {
        self.0
    }
}

/// A fixed number of permits for jobs.
#[derive(Debug, Default, Clone)]
pub struct JobPermits(Arc<AtomicUsize>);

/// The permit of one job. Dropping it gives the permit back.
#[derive(Debug)]
pub struct JobPermit(JobPermits);

impl JobPermits {
    /// Takes a permit; `None` if all are taken.
    #[must_use]
    pub fn take(&self) -> Option<JobPermit> {
        // Created before the check: if the count is too high, dropping the permit corrects it.
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
