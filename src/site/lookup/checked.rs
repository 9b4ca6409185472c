//! Comparing what was found before with the disk, here or by the revalidator.

use std::os::fd::AsFd;
use std::sync::Arc;

use super::names::{is_itself, slash_form};
use super::opening::Lookup;
use crate::clock::Millis;
use crate::site::disk::{PathProbe, ProbeScope, RESOLVE_EVERY_MILLIS};
use crate::site::memory::{
    DueRevalidation, FailureDomain, FileEntry, Freshness, NegativeEntry, OriginalState,
    Revalidation, RevalidationSubject, Revalidator, SitePath, StaleAction,
};
use crate::site::waiting::{MayBlock, PendingRevalidation, WouldBlock};

/// EndOnDrop an order when it has been carried out, even by a panic: those who wait for it must not wait for
/// ever.
struct EndOnDrop<'o>(&'o PendingRevalidation);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Knowledge from before that has to be compared with the disk.
#[derive(Debug, Clone, Copy)]
enum StaleEntry<'d> {
    File(&'d Arc<FileEntry>),
    NegativeEntry(SitePath<'d>, &'d Arc<NegativeEntry>),
}

/// The result of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ComparisonResult {
    Same,
    Changed,
    /// Nothing: it would lead beyond a mount point.
    MetMount,
}

impl<'d> StaleEntry<'d> {
    fn freshness(self) -> &'d Freshness {
        match self {
            StaleEntry::File(entry) => &entry.freshness,
            StaleEntry::NegativeEntry(_, negative) => &negative.freshness,
        }
    }

    /// Where it was, if that is known.
    fn device(self) -> Option<u64> {
        match self {
            StaleEntry::File(entry) => Some(entry.representation.identity().device()),
            StaleEntry::NegativeEntry(..) => None,
        }
    }

    fn subject(self) -> RevalidationSubject {
        match self {
            StaleEntry::File(entry) => RevalidationSubject::File(Arc::clone(entry)),
            StaleEntry::NegativeEntry(key, negative) => {
                RevalidationSubject::NegativeEntry(key.keep(), Arc::clone(negative))
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
        let pending = &self.root.pending;
        let due = DueRevalidation {
            pending,
            age_millis: self.root.age_millis(now),
            interval_millis: RESOLVE_EVERY_MILLIS,
        };
        let order = || self.order_for(RevalidationSubject::Root, now);
        if revalidator.ask(due, may_block, now, order)? == StaleAction::Revalidate {
            let _ends = EndOnDrop(pending);
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
        self.is_current(StaleEntry::File(entry), may_block, now)
    }

    /// The same for an absence at `key`.
    pub(super) fn is_still_absent(
        &self,
        key: SitePath<'_>,
        negative: &Arc<NegativeEntry>,
        may_block: MayBlock,
        now: Millis,
    ) -> Result<bool, WouldBlock> {
        self.is_current(StaleEntry::NegativeEntry(key, negative), may_block, now)
    }

    /// The revalidator of the file system that the root is on, if there is one.
    fn revalidator(&self) -> Option<&Revalidator> {
        self.revalidator
            .as_deref()
            .filter(|revalidator| revalidator.is_running())
    }

    /// The part of the disk that has to answer, if it is not known to be the root's own file system.
    fn other_domain(&self, due: StaleEntry<'_>) -> Option<FailureDomain> {
        if due.freshness().is_beyond_mount() {
            return Some(FailureDomain::BeyondMounts(self.root.device()));
        }
        let device = due.device();
        device
            .filter(|device| *device != self.root.device())
            .map(FailureDomain::Device)
    }

    fn revalidator_of(&self, domain: Option<FailureDomain>) -> Option<Arc<Revalidator>> {
        let revalidator = match (domain, &self.memory) {
            (None, _) => self.revalidator.clone(),
            (Some(domain), Some(memory)) => {
                Some(memory.revalidators.of(domain, self.root.device()))
            }
            (Some(_), None) => None,
        };
        revalidator.filter(|revalidator| revalidator.is_running())
    }

    /// Whether what is due may be used: because it has been compared, here or just now by another thread,
    /// or while the revalidator is at it.
    fn is_current(
        &self,
        due: StaleEntry<'_>,
        may_block: MayBlock,
        now: Millis,
    ) -> Result<bool, WouldBlock> {
        let freshness = due.freshness();
        let domain = self.other_domain(due);
        let revalidator = self.revalidator_of(domain);
        let Some(revalidator) = revalidator.filter(|_| self.revalidate_millis > 0) else {
            may_block.disk()?;
            let scope = match may_block {
                MayBlock::OnRoots if domain.is_some() => return Err(WouldBlock::OnDisk),
                MayBlock::OnRoots => ProbeScope::WithinMount,
                MayBlock::Never | MayBlock::Anywhere => ProbeScope::Anywhere,
            };
            // Unless another thread is at it or was just now.
            if !freshness.claim_check(now, self.revalidate_millis) {
                return Ok(true);
            }
            let compared = self.compare(due, scope);
            if compared == ComparisonResult::MetMount {
                freshness.mark_beyond_mount();
                // The claim is given back: nothing has been compared.
                let due_at = now.0.saturating_sub(self.revalidate_millis);
                freshness.confirm(Millis(due_at));
                return Err(WouldBlock::OnDisk);
            }
            return Ok(compared == ComparisonResult::Same);
        };
        // Another file system than the root's is for its revalidator: it may hang, and take one worker after
        // the other, as many as it has files.
        let may_block_here = domain.map_or(may_block, |_| MayBlock::Never);
        let due_revalidation = DueRevalidation {
            pending: &freshness.pending,
            age_millis: freshness.age_millis(now),
            interval_millis: self.revalidate_millis,
        };
        let order = || self.order_for(due.subject(), now);
        if revalidator.ask(due_revalidation, may_block_here, now, order)? == StaleAction::Use {
            return Ok(true);
        }
        let ends = EndOnDrop(&freshness.pending);
        match self.compare(due, ProbeScope::WithinMount) {
            ComparisonResult::Same => freshness.confirm(now),
            ComparisonResult::Changed => return Ok(false),
            ComparisonResult::MetMount => {
                freshness.mark_beyond_mount();
                drop(ends);
                return self.is_current(due, may_block, now);
            }
        }
        Ok(true)
    }

    fn order_for(&self, subject: RevalidationSubject, at: Millis) -> Revalidation {
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
            RevalidationSubject::Root => {
                let _ends = EndOnDrop(&self.root.pending);
                self.root.resolve_again();
                return self.root.confirm(end());
            }
            RevalidationSubject::File(entry) => StaleEntry::File(entry),
            RevalidationSubject::NegativeEntry(key, negative) => {
                StaleEntry::NegativeEntry(key.site_path(), negative)
            }
        };
        let freshness = due.freshness();
        let ends = EndOnDrop(&freshness.pending);
        let scope = match self.other_domain(due) {
            Some(_) => ProbeScope::Anywhere,
            None => ProbeScope::WithinMount,
        };
        match self.compare(due, scope) {
            ComparisonResult::Same => freshness.confirm(end()),
            ComparisonResult::Changed => match due {
                StaleEntry::File(entry) => memory.files.drop_stale(entry.key.site_path(), entry),
                StaleEntry::NegativeEntry(key, negative) => {
                    memory.negative_cache.forget(key, negative)
                }
            },
            ComparisonResult::MetMount => {
                freshness.mark_beyond_mount();
                // Without another revalidator those who wait ask again, and a worker looks.
                if let Some(revalidator) = self.revalidator_of(self.other_domain(due)) {
                    std::mem::forget(ends);
                    revalidator.place(order.clone());
                }
            }
        }
    }

    fn compare(&self, due: StaleEntry<'_>, scope: ProbeScope) -> ComparisonResult {
        let directory = self.root.directory();
        let probe = PathProbe::new(directory.fd.as_fd(), scope);
        let is_same = match due {
            StaleEntry::File(entry) => self.is_same_file(entry, &probe),
            StaleEntry::NegativeEntry(key, negative) => {
                self.is_same_absence(key.path, negative, &probe)
            }
        };
        match is_same {
            _ if probe.met_mount() => ComparisonResult::MetMount,
            true => ComparisonResult::Same,
            false => ComparisonResult::Changed,
        }
    }

    /// Compares a file and what lies beside it with the disk.
    fn is_same_file(&self, entry: &FileEntry, probe: &PathProbe<'_>) -> bool {
        if entry.original != OriginalState::Present {
            return self.is_same_sidecar_only(entry, probe);
        }
        // Following a link out of the root does no harm here: only a file that is the very one that
        // was loaded through the resolver compares equal.
        //
        // A file that comes before it may be there by now.
        let names = self.names(entry.key.site_path().path);
        let mut better = names.take_while(|name| **name != *entry.path);
        let sidecars = entry.sidecars.as_ref();
        probe
            .identity(&entry.path)
            .is_some_and(|identity| entry.representation.is_current(&identity))
            && sidecars.is_none_or(|seen| seen.are_current(probe))
            && !better.any(|name| probe.is_file(&name))
    }

    /// Looks again for what was not there.
    fn is_same_absence(
        &self,
        path: &[u8],
        negative: &NegativeEntry,
        probe: &PathProbe<'_>,
    ) -> bool {
        // Opening stops at no mount point, so the names are looked at first.
        let mut is_directory = false;
        for name in self.names(path) {
            is_directory |= probe.is_directory(&name) && is_itself(&name, path);
        }
        if is_directory && self.looks_into_directories() {
            // The directory has been opened for its index too.
            for name in self.names(&slash_form(path)) {
                let _ = probe.identity(&name);
            }
        }
        let has_variant = negative
            .variants()
            .any(|variant| probe.identity(variant).is_some());
        if probe.met_mount() {
            return false;
        }
        let directory = &self.root.directory();
        let Err(absence) = self.open_file(directory, path) else {
            return false;
        };
        absence == negative.absence
            && !(has_variant && self.has_only_sidecars(directory, path, absence))
    }
}
