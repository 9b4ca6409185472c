//! Waiting for a disk without a thread.
//!
//! [`Reach`] says how far an answer may go. If another thread is getting the same from the disk, or if
//! that takes long, the answer is [`NeedsDisk::UnderWay`] with the [`Errand`] to wait for. Long work is a
//! [`Job`], done in slices.

mod errand;
mod job;
mod outstanding;
mod reach;

pub use errand::{Errand, Errands, Waiter};
#[cfg(test)]
pub(super) use job::{FIRST_SLICE_ASKS, MAX_JOBS};
pub use job::{FirstSlice, Job, JobPermits, Slice, WholeSlice};
pub use outstanding::Outstanding;
pub use reach::{NeedsDisk, OutOfReach, Reach};
