//! Waiting for a disk without holding a thread.
//!
//! [`MayBlock`] says where a thread may block. If another thread is already loading the response, or if
//! the load takes long, a request gets [`WouldBlock::InFlight`] with the [`Flight`] to wait for. Long
//! work is a [`Job`], done in slices.

mod cached_access;
mod job;
mod may_block;
mod pending_revalidation;
mod single_flight;

pub use cached_access::{CachedAccess, RoundWatch};
#[cfg(test)]
pub(super) use job::{FIRST_SLICE_ASKS, MAX_JOBS};
pub use job::{FirstSlice, Job, JobPermits, Slice, UnboundedSlice};
pub use may_block::{MayBlock, WouldBlock, WouldBlockOnDisk};
pub use pending_revalidation::PendingRevalidation;
pub use single_flight::{Flight, SingleFlight, Waiter};
