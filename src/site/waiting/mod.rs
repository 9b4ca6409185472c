//! Waiting for a disk without a thread.
//!
//! [`MayBlock`] says how far an answer may go. If another thread is getting the same from the disk, or if
//! that takes long, the answer is [`WouldBlock::InFlight`] with the [`Flight`] to wait for. Long work is a
//! [`Job`], done in slices.

mod job;
mod may_block;
mod outstanding;
mod single_flight;

#[cfg(test)]
pub(super) use job::{FIRST_SLICE_ASKS, MAX_JOBS};
pub use job::{FirstSlice, Job, JobPermits, Slice, WholeSlice};
pub use may_block::{MayBlock, WouldBlock, WouldBlockOnDisk};
pub use outstanding::Outstanding;
pub use single_flight::{Flight, SingleFlight, Waiter};
