//! Comparing what is in memory with the disk, by a thread that does nothing else: the *revalidator*.
//!
//! What is asked for often is compared once a second. Were that left to whoever may read files, it would
//! wait behind them, and so would those who want what is in memory. So the comparison is ordered here,
//! and readers, however many are stuck, do not delay it. There is one revalidator for each file system that
//! has a root on it or files of a site ([`revalidators`](super::revalidators)): one that hangs keeps no other from
//! being looked at.
//!
//! # What is served meanwhile
//!
//! - Who finds something due orders the comparison and waits for it, without a thread
//!   ([`Flight`](crate::site::waiting::Flight)). So nothing is served that has not been compared within
//!   `cache.revalidate`, as long as the disk answers: a file that nobody has asked for in an hour is
//!   compared first.
//! - Others who ask while the comparison is outstanding get what is known, if it was due only
//!   [`STALE_WHILE_REVALIDATE_MILLIS`] ago; else they wait too.
//! - Once a comparison has not been made [`STALE_WHILE_REVALIDATE_MILLIS`] after its order, by a look that does not end or
//!   for the orders before it, the disk counts as hanging, and nobody waits any more for what is not too
//!   old; who waited before is released by the next one who asks for the same. A visitor is better served
//!   by what was true half a minute ago than by nothing.
//! - What has not been compared for `cache.revalidate` and [`STALE_IF_ERROR_MILLIS`] is too old: who asks for it
//!   waits until the disk answers, as for a file that is not in memory. So a change is visible within
//!   that time in any case.
//!
//! The root path is resolved again in the same way. Whoever may go to the disk anyway compares by itself,
//! and others wait for it as for the revalidator: were it sent away, it might find the same thing due again
//! each time that its turn comes. So it is with `cache.revalidate` = 0, without a cache, and where there
//! is no revalidator (the tests of this layer).
//!
//! # Mounts below a root
//!
//! A file system that is mounted below a root, or linked to, may hang while that of the root answers. The
//! revalidator of a root, and workers, look at nothing beyond a mount point
//! ([`Look`](crate::site::disk::Look)). A file that was on another device when it was loaded is left to the revalidator of that device. What else turns
//! out to lie beyond a mount point (an absence, a file that a mount hides by now) is left to one more
//! revalidator of that root. Both are started when they are wanted first.
//!
//! # Bounds
//!
//! Each entry, each absence and each root has one order at a time, so the orders are bounded by what is
//! in memory, and has been pushed out of it since the revalidator was last through.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::cache::FileEntry;
use super::cache::KeptSitePath;
use super::negative_cache::NegativeEntry;
use crate::clock::Millis;
use crate::site::waiting::{MayBlock, Outstanding, WouldBlock};

/// How much longer than its interval something is served if the disk does not answer, in milliseconds.
pub const STALE_IF_ERROR_MILLIS: u64 = 30_000;

/// After how many milliseconds a look that is not over counts as one that hangs.
pub const STALE_WHILE_REVALIDATE_MILLIS: u64 = 1_000;

/// What is to be compared.
#[derive(Debug, Clone)]
pub enum Subject {
    /// The root path with the directory that is served.
    Root,
    /// A file with its entry.
    File(Arc<FileEntry>),
    /// A path with the knowledge that it has no file.
    NegativeEntry(KeptSitePath, Arc<NegativeEntry>),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = match self {
            Subject::Root => return f.write_str("the root"),
            Subject::File(entry) => entry.key.site_path().path,
            Subject::NegativeEntry(key, _) => key.site_path().path,
        };
        write!(f, "{}", path.escape_ascii())
    }
}

/// A comparison to be made.
#[derive(Debug, Clone)]
pub struct Revalidation {
    /// When it was ordered.
    pub at: Millis,
    /// The number of the site.
    pub site: u32,
    /// What in it.
    pub subject: Subject,
}

/// Knowledge that is due to be compared.
#[derive(Debug, Clone, Copy)]
pub struct DueRevalidation<'d> {
    /// The order for that, if there is one.
    pub outstanding: &'d Outstanding,
    /// How long ago it was compared, in milliseconds: longer than its interval.
    pub age_millis: u64,
    /// How long a comparison holds, in milliseconds.
    pub interval_millis: u64,
}

/// What becomes of whoever asks for something that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaleAction {
    /// It may be used all the same.
    Use,
    /// It is for the caller to compare it, and to end the order.
    Revalidate,
}

/// The way to one revalidator.
#[derive(Debug)]
pub struct Revalidator {
    /// `None` ends the revalidator.
    sender: Sender<Option<Revalidation>>,
    receiver: Receiver<Option<Revalidation>>,
    is_running: AtomicBool,
    /// When the look was ordered that the revalidator is at; `Millis::NEVER` if it is at none.
    looks_since: AtomicU64,
}

/// The place of the revalidator. While somebody has it, there is one.
#[derive(Debug)]
pub struct RevalidatorRole(Arc<Revalidator>);

impl Revalidator {
    /// Without a revalidator.
    #[must_use]
    pub fn new() -> Revalidator {
        let (sender, receiver) = unbounded();
        Revalidator {
            sender,
            receiver,
            is_running: AtomicBool::new(false),
            looks_since: AtomicU64::new(Millis::NEVER.0),
        }
    }

    /// Makes the caller the revalidator. There must be one at most.
    #[must_use]
    pub fn take_role(self: &Arc<Revalidator>) -> RevalidatorRole {
        self.is_running.store(true, Ordering::Relaxed);
        RevalidatorRole(Arc::clone(self))
    }

    /// Whether there is a revalidator to place orders with.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.is_running.load(Ordering::Relaxed)
    }

    /// Has the revalidator end, after what has been ordered so far.
    pub fn close(&self) {
        self.is_running.store(false, Ordering::Relaxed);
        // Cannot fail: the receiver is in the same struct. The same below.
        let _ = self.sender.send(None);
    }

    /// Somebody asks for what is `due`. `order` says what to compare.
    ///
    /// # Errors
    /// [`WouldBlock::InFlight`]: it has to be waited for.
    pub fn ask(
        &self,
        due: DueRevalidation<'_>,
        may_block: MayBlock,
        now: Millis,
        order: impl FnOnce() -> Revalidation,
    ) -> Result<StaleAction, WouldBlock> {
        let ordered = due.outstanding.order(now);
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

    /// Places an order that is outstanding already.
    pub fn place(&self, order: Revalidation) {
        let _ = self.sender.send(Some(order));
    }

    fn hangs(&self, now: Millis) -> bool {
        now.since(Millis(self.looks_since.load(Ordering::Relaxed))) >= STALE_WHILE_REVALIDATE_MILLIS
    }
}

impl Default for Revalidator {
    fn default() -> Revalidator {
        Revalidator::new()
    }
}

impl RevalidatorRole {
    /// The next order; waits for it. `None` at the end.
    #[must_use]
    pub fn take(&self) -> Option<Revalidation> {
        self.0.receiver.recv().ok().flatten()
    }

    /// The revalidator begins a look that was ordered `at` this time.
    pub fn begin(&self, at: Millis) {
        self.0.looks_since.store(at.0, Ordering::Relaxed);
    }

    /// The look is over.
    pub fn end(&self) {
        self.begin(Millis::NEVER);
    }
}

impl Drop for RevalidatorRole {
    fn drop(&mut self) {
        self.0.is_running.store(false, Ordering::Relaxed);
    }
}
