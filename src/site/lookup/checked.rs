//! Comparing what was found before with the disk, here or by the revalidator.

use std::os::fd::AsFd;
use std::sync::Arc;

use super::names::{is_itself, slash_form};
use super::opening::Lookup;
use crate::clock::Millis;
use crate::site::disk::{Look, RESOLVE_EVERY_MILLIS, Range};
use crate::site::memory::{
    Area, DueRevalidation, FileEntry, Freshness, NegativeEntry, Original, Revalidation,
    Revalidator, SitePath, StaleAction, Subject,
};
use crate::site::waiting::{MayBlock, Outstanding, WouldBlock};

/// Ends an order when it has been carried out, even by a panic: those who wait for it must not wait for
/// ever.
struct Ends<'o>(&'o Outstanding);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Knowledge from before that has to be compared with the disk.
#[derive(Debug, Clone, Copy)]
enum Due<'d> {
    File(&'d Arc<FileEntry>),
    NegativeEntry(SitePath<'d>, &'d Arc<NegativeEntry>),
}

/// The result of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compared {
    Same,
    Changed,
    /// Nothing: it would lead beyond a mount point.
    MetMount,
}

impl<'d> Due<'d> {
    fn freshness(self) -> &'d Freshness {
        match self {
            Due::File(entry) => &entry.freshness,
            Due::NegativeEntry(_, nothing) => &nothing.freshness,
        }
    }

    /// Where it was, if that is known.
    fn device(self) -> Option<u64> {
        match self {
            Due::File(entry) => Some(entry.representation.identity().device()),
            Due::NegativeEntry(..) => None,
        }
    }

    fn subject(self) -> Subject {
        match self {
            Due::File(entry) => Subject::File(Arc::clone(entry)),
            Due::NegativeEntry(key, nothing) => {
                Subject::NegativeEntry(key.keep(), Arc::clone(nothing))
            }
        }
    }
}

impl Lookup {
    /// The number of the root directory, when it is time to resolve its path again.
    pub(super) fn resolve_root(&self, may_block: MayBlock, now: Millis) -> Result<u64, WouldBlock> {
        let Some(revalidator) = self.revalidator() else {
            return Ok(self.root.generation(may_block, now)?);
        };
        let outstanding = &self.root.outstanding;
        let due = DueRevalidation {
            outstanding,
            age_millis: self.root.age_millis(now),
            interval_millis: RESOLVE_EVERY_MILLIS,
        };
        let order = || self.order_for(Subject::Root, now);
        if revalidator.ask(due, may_block, now, order)? == StaleAction::Revalidate {
            let _ends = Ends(outstanding);
            self.root.resolve_again();
            self.root.confirm(now);
        }
        Ok(self.root.last_generation())
    }

    /// Whether an entry that is due may be used.
    pub(super) fn is_file_current(
        &self,
        entry: &Arc<FileEntry>,
        may_block: MayBlock,
        now: Millis,
    ) -> Result<bool, WouldBlock> {
        self.is_current(Due::File(entry), may_block, now)
    }

    /// The same for an absence at `key`.
    pub(super) fn is_still_nothing(
        &self,
        key: SitePath<'_>,
        nothing: &Arc<NegativeEntry>,
        may_block: MayBlock,
        now: Millis,
    ) -> Result<bool, WouldBlock> {
        self.is_current(Due::NegativeEntry(key, nothing), may_block, now)
    }

    /// The revalidator of the file system that the root is on, if there is one.
    fn revalidator(&self) -> Option<&Revalidator> {
        self.revalidator
            .as_deref()
            .filter(|revalidator| revalidator.is_running())
    }

    /// The part of the disk that has to answer, if it is not known to be the root's own file system.
    fn other_area(&self, due: Due<'_>) -> Option<Area> {
        if due.freshness().is_beyond_mount() {
            return Some(Area::BeyondMounts(self.root.device()));
        }
        let device = due.device();
        device
            .filter(|device| *device != self.root.device())
            .map(Area::Device)
    }

    fn checks_in(&self, area: Option<Area>) -> Option<Arc<Revalidator>> {
        let revalidator = match (area, &self.memory) {
            (None, _) => self.revalidator.clone(),
            (Some(area), Some(memory)) => Some(memory.revalidators.of(area, self.root.device())),
            (Some(_), None) => None,
        };
        revalidator.filter(|revalidator| revalidator.is_running())
    }

    /// Whether what is due may be used: because it has been compared, here or just now by another thread,
    /// or while the revalidator is at it.
    fn is_current(
        &self,
        due: Due<'_>,
        may_block: MayBlock,
        now: Millis,
    ) -> Result<bool, WouldBlock> {
        let freshness = due.freshness();
        let area = self.other_area(due);
        let revalidator = self.checks_in(area);
        let Some(revalidator) = revalidator.filter(|_| self.revalidate_millis > 0) else {
            may_block.disk()?;
            let range = match may_block {
                MayBlock::OnRoots if area.is_some() => return Err(WouldBlock::OnDisk),
                MayBlock::OnRoots => Range::WithinMount,
                MayBlock::Never | MayBlock::Anywhere => Range::Anywhere,
            };
            // Unless another thread is at it or was just now.
            if !freshness.claim_check(now, self.revalidate_millis) {
                return Ok(true);
            }
            let compared = self.compare(due, range);
            if compared == Compared::MetMount {
                freshness.mark_beyond_mount();
                // The claim is given back: nothing has been compared.
                let due_at = now.0.saturating_sub(self.revalidate_millis);
                freshness.confirm(Millis(due_at));
                return Err(WouldBlock::OnDisk);
            }
            return Ok(compared == Compared::Same);
        };
        // Another file system than the root's is for its revalidator: it may hang, and take one worker after
        // the other, as many as it has files.
        let reach_here = area.map_or(may_block, |_| MayBlock::Never);
        let due_check = DueRevalidation {
            outstanding: &freshness.outstanding,
            age_millis: freshness.age_millis(now),
            interval_millis: self.revalidate_millis,
        };
        let order = || self.order_for(due.subject(), now);
        if revalidator.ask(due_check, reach_here, now, order)? == StaleAction::Use {
            return Ok(true);
        }
        let ends = Ends(&freshness.outstanding);
        match self.compare(due, Range::WithinMount) {
            Compared::Same => freshness.confirm(now),
            Compared::Changed => return Ok(false),
            Compared::MetMount => {
                freshness.mark_beyond_mount();
                drop(ends);
                return self.is_current(due, may_block, now);
            }
        }
        Ok(true)
    }

    fn order_for(&self, subject: Subject, at: Millis) -> Revalidation {
        let site = self.number;
        Revalidation { at, site, subject }
    }

    /// Compares with the disk what `order` says, as the revalidator, and tells those who wait for it. `end`
    /// tells the time when the disk has answered. What the disk says then is true of a moment before that;
    /// if it answers at once, of the same moment. What turns out to lie beyond a mount point is left to
    /// another revalidator.
    pub fn carry_out(&self, order: &Revalidation, end: impl FnOnce() -> Millis) {
        let Some(memory) = &self.memory else { return };
        let due = match &order.subject {
            Subject::Root => {
                let _ends = Ends(&self.root.outstanding);
                self.root.resolve_again();
                return self.root.confirm(end());
            }
            Subject::File(entry) => Due::File(entry),
            Subject::NegativeEntry(key, nothing) => Due::NegativeEntry(key.site_path(), nothing),
        };
        let freshness = due.freshness();
        let ends = Ends(&freshness.outstanding);
        let range = match self.other_area(due) {
            Some(_) => Range::Anywhere,
            None => Range::WithinMount,
        };
        match self.compare(due, range) {
            Compared::Same => freshness.confirm(end()),
            Compared::Changed => match due {
                Due::File(entry) => memory.files.drop_stale(entry.key.site_path(), entry),
                Due::NegativeEntry(key, nothing) => memory.negative_cache.forget(key, nothing),
            },
            Compared::MetMount => {
                freshness.mark_beyond_mount();
                // Without another revalidator those who wait ask again, and a worker looks.
                if let Some(revalidator) = self.checks_in(self.other_area(due)) {
                    std::mem::forget(ends);
                    revalidator.place(order.clone());
                }
            }
        }
    }

    fn compare(&self, due: Due<'_>, range: Range) -> Compared {
        let directory = self.root.directory();
        let look = Look::new(directory.fd.as_fd(), range);
        let is_same = match due {
            Due::File(entry) => self.is_same_file(entry, &look),
            Due::NegativeEntry(key, nothing) => self.is_same_nothing(key.path, nothing, &look),
        };
        match is_same {
            _ if look.met_mount() => Compared::MetMount,
            true => Compared::Same,
            false => Compared::Changed,
        }
    }

    /// Compares a file and what lies beside it with the disk.
    fn is_same_file(&self, entry: &FileEntry, look: &Look<'_>) -> bool {
        if entry.original != Original::There {
            return self.is_same_alone(entry, look);
        }
        // Following a link out of the root does no harm here: only a file that is the very one that
        // was loaded through the resolver compares equal.
        //
        // A file that comes before it may be there by now.
        let names = self.names(entry.key.site_path().path);
        let mut better = names.take_while(|name| **name != *entry.path);
        let sidecars = entry.sidecars.as_ref();
        look.identity(&entry.path)
            .is_some_and(|identity| entry.representation.is_current(&identity))
            && sidecars.is_none_or(|seen| seen.are_current(look))
            && !better.any(|name| look.is_file(&name))
    }

    /// Looks again for what was not there.
    fn is_same_nothing(&self, path: &[u8], nothing: &NegativeEntry, look: &Look<'_>) -> bool {
        // Opening stops at no mount point, so the names are looked at first.
        let mut is_directory = false;
        for name in self.names(path) {
            is_directory |= look.is_directory(&name) && is_itself(&name, path);
        }
        if is_directory && self.looks_into_directories() {
            // The directory has been opened for its index too.
            for name in self.names(&slash_form(path)) {
                let _ = look.identity(&name);
            }
        }
        let has_form = nothing.forms().any(|form| look.identity(form).is_some());
        if look.met_mount() {
            return false;
        }
        let directory = &self.root.directory();
        let Err(absence) = self.open_file(directory, path) else {
            return false;
        };
        absence == nothing.absence && !(has_form && self.is_alone(directory, path, absence))
    }
}
