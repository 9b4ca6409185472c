//! The *revalidator*: a thread that only compares cached facts with the disk.
//!
//! A popular file is compared once a second. If workers did this, the comparison would wait behind slow
//! reads, and requests for cached files would wait too. So requests order the comparison here, and workers
//! that are stuck do not delay it. Orders are only for comparisons that need the disk: what the kernel has in
//! memory is compared by the thread that has the request. Each file system that holds a root or files of a site has a revalidator of
//! its own ([`revalidators`](super::revalidators)), so one that hangs delays no other.
//!
//! # What is served meanwhile
//!
//! - The first request that meets a stale entry orders the comparison and waits for it, without a thread
//!   ([`Flight`](crate::site::waiting::Flight)). So as long as the disk answers, it gets no entry that was
//!   not compared within `cache.revalidate`, even after an hour without requests.
//! - While the comparison is pending, other requests get the entry, if it has been stale for less than
//!   [`STALE_WHILE_REVALIDATE_MILLIS`] (stale-while-revalidate, RFC 5861 section 3). Otherwise they wait too.
//! - If the comparison is not made within [`STALE_WHILE_REVALIDATE_MILLIS`] of its order, the disk counts as
//!   hanging. Then no request waits for an entry that is not too old, and the next request for the entry
//!   releases those that wait. A page that is half a minute old is better for a client than none.
//! - An entry that was not compared for `cache.revalidate` and [`STALE_IF_ERROR_MILLIS`] is too old
//!   (stale-if-error, RFC 5861 section 4). Requests for it wait until the disk answers, as for a file that is
//!   not cached. So every change is visible after that time.
//!
//! The root path is resolved again in the same way. A worker that may block anywhere makes the comparison
//! itself, and other requests wait for it as for the revalidator: a request that was sent away instead could
//! find the entry stale again on each of its turns. Workers also compare if `cache.revalidate` is 0, without
//! a cache, and where no revalidator runs (the tests of this layer).
//!
//! # Mounts below a root
//!
//! A file system that is mounted below a root, or linked to, may hang while that of the root answers. So the
//! revalidator of a root, and workers, compare nothing beyond a mount point
//! ([`PathProbe`](crate::site::disk::PathProbe)). A file that was loaded from another device is compared by
//! the revalidator of that device. Other entries that turn out to lie beyond a mount point (an absence, a
//! file that a mount hides by now) have one more revalidator per root. Both are started when first needed.
//!
//! # Bounds
//!
//! Each entry and each root has one pending order at most. So the orders are bounded by the entries that are
//! cached, or were evicted since the revalidator last took their order.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::cache::FileEntry;
use super::negative_cache::NegativeEntry;
use super::site_path::KeptSitePath;
use crate::clock::Millis;
use crate::site::waiting::{MayBlock, PendingRevalidation, WouldBlock};

/// How long past its interval an entry is served if the disk does not answer, in milliseconds.
pub const STALE_IF_ERROR_MILLIS: u64 = 30_000;

/// How long an entry is served while its revalidation is pending, and after what time a comparison that
/// is not over counts as hanging, in milliseconds.
pub const STALE_WHILE_REVALIDATE_MILLIS: u64 = 1_000;

/// The cached fact that is to be compared.
#[derive(Debug, Clone)]
pub enum RevalidationSubject {
    /// The directory that the root path names.
    Root,
    /// A cached file.
    File(Arc<FileEntry>),
    /// A path that had no file.
    NegativeEntry(KeptSitePath, Arc<NegativeEntry>),
}

impl fmt::Display for RevalidationSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = match self {
            RevalidationSubject::Root => return f.write_str("the root"),
            RevalidationSubject::File(entry) => entry.key.site_path().path,
            RevalidationSubject::NegativeEntry(key, _) => key.site_path().path,
        };
        write!(f, "{}", path.escape_ascii())
    }
}

/// An order for a comparison.
#[derive(Debug, Clone)]
pub struct Revalidation {
    /// When it was placed.
    pub at: Millis,
    /// The number of the site.
    pub site: u32,
    /// The fact that is to be compared.
    pub subject: RevalidationSubject,
}

/// A cached fact that is due to be compared.
#[derive(Debug, Clone, Copy)]
pub struct DueRevalidation<'d> {
    /// Its pending order, if there is one.
    pub pending: &'d PendingRevalidation,
    /// Milliseconds since the last comparison, at least the interval.
    pub age_millis: u64,
    /// How long a comparison holds, in milliseconds.
    pub interval_millis: u64,
}

/// The action of a request that meets a stale entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaleAction {
    /// Use the entry as it is.
    Use,
    /// Compare the entry in the calling thread, and end the order.
    Revalidate,
}

/// The queue of one revalidator.
#[derive(Debug)]
pub struct Revalidator {
    /// `None` ends the revalidator.
    sender: Sender<Option<Revalidation>>,
    receiver: Receiver<Option<Revalidation>>,
    is_running: AtomicBool,
    /// When the order was placed whose comparison is running; `Millis::NEVER` if none is.
    comparing_since: AtomicU64,
}

/// The role of the revalidator's thread. The revalidator runs while a thread holds it.
#[derive(Debug)]
pub struct RevalidatorRole(Arc<Revalidator>);

impl Revalidator {
    /// A queue that no thread serves yet.
    #[must_use]
    pub fn new() -> Revalidator {
        let (sender, receiver) = unbounded();
        Revalidator {
            sender,
            receiver,
            is_running: AtomicBool::new(false),
            comparing_since: AtomicU64::new(Millis::NEVER.0),
        }
    }

    /// Makes the caller the thread of this revalidator. There must be one at most.
    #[must_use]
    pub fn take_role(self: &Arc<Revalidator>) -> RevalidatorRole {
        self.is_running.store(true, Ordering::Relaxed);
        RevalidatorRole(Arc::clone(self))
    }

    /// Whether a thread serves the queue.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.is_running.load(Ordering::Relaxed)
    }

    /// Ends the revalidator, after the orders placed so far.
    pub fn close(&self) {
        self.is_running.store(false, Ordering::Relaxed);
        // Cannot fail, here and below: the receiver is in the same struct.
        let _ = self.sender.send(None);
    }

    /// Decides what a request does that meets the stale entry `due`. `order` makes the order for a
    /// comparison.
    ///
    /// # Errors
    /// [`WouldBlock::InFlight`] if the request must wait for the comparison.
    pub fn ask(
        &self,
        due: DueRevalidation<'_>,
        may_block: MayBlock,
        now: Millis,
        order: impl FnOnce() -> Revalidation,
    ) -> Result<StaleAction, WouldBlock> {
        let ordered = due.pending.order(now);
        if ordered.is_ours {
            if may_block == MayBlock::Anywhere {
                return Ok(StaleAction::Revalidate);
            }
            self.place(order());
        }
        let is_late = now.since(ordered.at) >= STALE_WHILE_REVALIDATE_MILLIS;
        let hangs = is_late || self.hangs(now);
        let is_long_due = due.age_millis >= due.interval_millis + STALE_WHILE_REVALIDATE_MILLIS;
        let is_too_old = due.age_millis >= due.interval_millis + STALE_IF_ERROR_MILLIS;
        if is_too_old || !hangs && (ordered.is_ours || is_long_due) {
            return Err(WouldBlock::InFlight(ordered.flight));
        }
        if is_late {
            ordered.flight.release();
        }
        Ok(StaleAction::Use)
    }

    /// Queues an order that is pending already.
    pub fn place(&self, order: Revalidation) {
        let _ = self.sender.send(Some(order));
    }

    fn hangs(&self, now: Millis) -> bool {
        now.since(Millis(self.comparing_since.load(Ordering::Relaxed)))
            >= STALE_WHILE_REVALIDATE_MILLIS
    }
}

impl Default for Revalidator {
    fn default() -> Revalidator {
        Revalidator::new()
    }
}

impl RevalidatorRole {
    /// Waits for the next order; `None` at the end.
    #[must_use]
    pub fn take(&self) -> Option<Revalidation> {
        self.0.receiver.recv().ok().flatten()
    }

    /// Notes that a comparison begins which was ordered `at` this time.
    pub fn begin(&self, at: Millis) {
        self.0.comparing_since.store(at.0, Ordering::Relaxed);
    }

    /// Notes that the comparison is over.
    pub fn end(&self) {
        self.begin(Millis::NEVER);
    }
}

impl Drop for RevalidatorRole {
    fn drop(&mut self) {
        self.0.is_running.store(false, Ordering::Relaxed);
    }
}
