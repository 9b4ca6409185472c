//! Comparing what was found before with the disk, here or by the checker.

use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType};

use super::{Lookup, Memory};
use crate::clock::Millis;
use crate::site::absences::Nothing;
use crate::site::cache::Entry;
use crate::site::checks::{Asked, Checks, Order, Subject};
use crate::site::freshness::{Freshness, Outstanding};
use crate::site::identity::Identity;
use crate::site::reach::{NeedsDisk, Reach};
use crate::site::root::RESOLVE_EVERY_MILLIS;
use crate::site::site_path::SitePath;

/// Ends an order when it has been carried out, even by a panic: those who wait for it must not wait for
/// ever.
struct Ends<'o>(&'o Outstanding);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Lookup {
    /// The number of the root directory, when it is time to resolve its path again.
    pub(super) fn resolve_root(&self, reach: Reach, now: Millis) -> Result<u64, NeedsDisk> {
        let Some(checks) = self.checker() else {
            return Ok(self.root.generation(reach, now)?);
        };
        let age = (self.root.age_millis(now), RESOLVE_EVERY_MILLIS);
        let outstanding = &self.root.outstanding;
        let order = || self.order_for(Subject::Root, now);
        if checks.ask(outstanding, age, reach, now, order)? == Asked::ToCompare {
            let _ends = Ends(outstanding);
            self.root.resolve_again();
            self.root.confirm(now);
        }
        Ok(self.root.last_generation())
    }

    /// Whether an entry that is due may be used.
    pub(super) fn is_file_current(
        &self,
        entry: &Arc<Entry>,
        reach: Reach,
        now: Millis,
    ) -> Result<bool, NeedsDisk> {
        let subject = || Subject::File(Arc::clone(entry));
        self.is_current(&entry.freshness, reach, now, subject, || {
            self.compare_file(entry)
        })
    }

    /// The same for an absence at `key`.
    pub(super) fn is_still_nothing(
        &self,
        key: SitePath<'_>,
        nothing: &Arc<Nothing>,
        reach: Reach,
        now: Millis,
    ) -> Result<bool, NeedsDisk> {
        let subject = || Subject::Nothing(key.keep(), Arc::clone(nothing));
        self.is_current(&nothing.freshness, reach, now, subject, || {
            self.compare_nothing(key.path, nothing)
        })
    }

    /// The checker of the file system that the root is on, if there is one.
    fn checker(&self) -> Option<&Checks> {
        self.checks.as_deref().filter(|checks| checks.is_manned())
    }

    /// Whether what is due may be used: because it has been compared, here or just now by another thread,
    /// or while the checker is at it.
    fn is_current(
        &self,
        freshness: &Freshness,
        reach: Reach,
        now: Millis,
        subject: impl FnOnce() -> Subject,
        compare: impl FnOnce() -> bool,
    ) -> Result<bool, NeedsDisk> {
        let Some(checks) = self.checker().filter(|_| self.revalidate_millis > 0) else {
            reach.disk()?;
            // Unless another thread is at it or was just now.
            let is_ours = freshness.claim_check(now, self.revalidate_millis);
            return Ok(!is_ours || compare());
        };
        let age = (freshness.age_millis(now), self.revalidate_millis);
        let outstanding = &freshness.outstanding;
        let order = || self.order_for(subject(), now);
        Ok(match checks.ask(outstanding, age, reach, now, order)? {
            Asked::ToUse => true,
            Asked::ToCompare => {
                let _ends = Ends(outstanding);
                let is_current = compare();
                if is_current {
                    freshness.confirm(now);
                }
                is_current
            }
        })
    }

    fn order_for(&self, subject: Subject, at: Millis) -> Order {
        let site = self.number;
        Order { at, site, subject }
    }

    /// Compares `subject` with the disk, as the checker, and tells those who wait for it. `end` tells the
    /// time when the disk has answered. What the disk says then is true of a moment before that; if it
    /// answers at once, of the same moment.
    pub fn carry_out(&self, subject: &Subject, end: impl FnOnce() -> Millis) {
        let Some(memory) = &self.memory else { return };
        let _ends = Ends(match subject {
            Subject::Root => &self.root.outstanding,
            Subject::File(entry) => &entry.freshness.outstanding,
            Subject::Nothing(_, nothing) => &nothing.freshness.outstanding,
        });
        self.compare(memory, subject, end);
    }

    fn compare(&self, memory: &Memory, subject: &Subject, end: impl FnOnce() -> Millis) {
        match subject {
            Subject::Root => {
                self.root.resolve_again();
                self.root.confirm(end());
            }
            Subject::File(entry) if self.compare_file(entry) => entry.freshness.confirm(end()),
            Subject::File(entry) => memory.files.drop_stale(entry.key.site_path(), entry),
            Subject::Nothing(key, nothing) => {
                let key = key.site_path();
                if self.compare_nothing(key.path, nothing) {
                    nothing.freshness.confirm(end());
                } else {
                    memory.absences.forget(key, nothing);
                }
            }
        }
    }

    /// Compares a file and what lies beside it with the disk.
    fn compare_file(&self, entry: &Entry) -> bool {
        // Following a link out of the root does no harm here: only a file that is the very one that
        // was loaded through the resolver compares equal.
        let directory = self.root.directory();
        let stat = |name: &[u8]| rustix::fs::statat(&directory.fd, name, AtFlags::empty());
        let is_file = |name: &[u8]| {
            stat(name).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file())
        };
        // A file that comes before it may be there by now.
        let names = self.names(entry.key.site_path().path);
        let mut better = names.take_while(|name| **name != *entry.path);
        let siblings = entry.siblings.as_ref();
        stat(&entry.path)
            .is_ok_and(|stat| entry.representation.is_current(&Identity::of_stat(&stat)))
            && siblings.is_none_or(|seen| seen.are_current(directory.fd.as_fd()))
            && !better.any(|name| is_file(&name))
    }

    /// Looks again for what was not there.
    fn compare_nothing(&self, path: &[u8], nothing: &Nothing) -> bool {
        let directory = self.root.directory();
        let found = self.open_file(&directory, path);
        found.is_err_and(|absence| absence == nothing.absence)
    }
}
