//! The comparison of cached facts with the disk, by the calling thread or by the revalidator.
//!
//! The calling thread compares what the kernel has in memory. The rest needs the disk.

use std::sync::Arc;

use super::opening::Lookup;
use crate::clock::Millis;
use crate::site::disk::{ProbeScope, RESOLVE_EVERY_MILLIS, SearchRoot};
use crate::site::memory::{
    DueRevalidation, FailureDomain, FileEntry, Freshness, NegativeEntry, OriginalState,
    Revalidation, RevalidationSubject, Revalidator, SitePath, StaleAction,
};
use crate::site::waiting::{MayBlock, PendingRevalidation, WouldBlock};

/// A guard that ends an order when dropped, even by a panic, so that nobody waits for ever.
struct EndOnDrop<'o>(&'o PendingRevalidation);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// A cached fact that must be compared with the disk.
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
    /// Not compared: the names lead beyond a mount point.
    MetMount,
}

impl<'d> StaleEntry<'d> {
    fn freshness(self) -> &'d Freshness {
        match self {
            StaleEntry::File(entry) => &entry.freshness,
            StaleEntry::NegativeEntry(_, negative) => &negative.freshness,
        }
    }

    /// The device that the file was on, if that is known.
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
    /// The generation of the root directory, when its path must be resolved again.
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

    /// Whether a stale entry may be used.
    pub(super) fn is_file_current(
        &self,
        entry: &Arc<FileEntry>,
        may_block: MayBlock,
        now: Millis,
    ) -> Result<bool, WouldBlock> {
        self.is_current(StaleEntry::File(entry), may_block, now)
    }

    /// Whether a stale negative entry for `key` may be used.
    pub(super) fn is_still_absent(
        &self,
        key: SitePath<'_>,
        negative: &Arc<NegativeEntry>,
        may_block: MayBlock,
        now: Millis,
    ) -> Result<bool, WouldBlock> {
        self.is_current(StaleEntry::NegativeEntry(key, negative), may_block, now)
    }

    /// The revalidator of the root's file system, if it runs.
    fn revalidator(&self) -> Option<&Revalidator> {
        self.revalidator
            .as_deref()
            .filter(|revalidator| revalidator.is_running())
    }

    /// The failure domain of a stale entry, if it is not known to be the file system on which the root
    /// was opened.
    fn other_domain(&self, stale: StaleEntry<'_>) -> Option<FailureDomain> {
        if stale.freshness().is_beyond_mount() {
            return Some(FailureDomain::BeyondMounts(self.device));
        }
        let device = stale.device().filter(|device| *device != self.device);
        device.map(FailureDomain::Device)
    }

    fn revalidator_of(&self, domain: Option<FailureDomain>) -> Option<Arc<Revalidator>> {
        let revalidator = match (domain, &self.memory) {
            (None, _) => self.revalidator.clone(),
            (Some(domain), Some(memory)) => Some(memory.revalidators.of(domain, self.device)),
            (Some(_), None) => None,
        };
        revalidator.filter(|revalidator| revalidator.is_running())
    }

    /// Whether a stale entry may be used: a comparison has confirmed it, by this or another thread, or
    /// the revalidator's comparison is pending.
    fn is_current(
        &self,
        stale: StaleEntry<'_>,
        may_block: MayBlock,
        now: Millis,
    ) -> Result<bool, WouldBlock> {
        let freshness = stale.freshness();
        let domain = self.other_domain(stale);
        if domain.is_none()
            && let Some(is_same) = self.compare_cached(stale, now)
        {
            if is_same {
                freshness.confirm(now);
            }
            return Ok(is_same);
        }
        let revalidator = self.revalidator_of(domain);
        let Some(revalidator) = revalidator.filter(|_| self.revalidate_millis > 0) else {
            may_block.disk()?;
            let scope = match may_block {
                MayBlock::OnRoots if domain.is_some() => return Err(WouldBlock::OnDisk),
                MayBlock::OnRoots => ProbeScope::WithinMount,
                MayBlock::Never | MayBlock::Anywhere => ProbeScope::Anywhere,
            };
            // Another thread is comparing it, or has just done so.
            if !freshness.claim_check(now, self.revalidate_millis) {
                return Ok(true);
            }
            let compared = self.compare(stale, scope, now);
            if compared == ComparisonResult::MetMount {
                freshness.mark_beyond_mount();
                // Return the claim, as nothing was compared.
                let compared_at = now.0.saturating_sub(self.revalidate_millis);
                freshness.confirm(Millis(compared_at));
                return Err(WouldBlock::OnDisk);
            }
            return Ok(compared == ComparisonResult::Same);
        };
        // Another file system may hang, and would block a worker for each of its files. So only its own
        // revalidator compares files there.
        let may_block_here = domain.map_or(may_block, |_| MayBlock::Never);
        let due = DueRevalidation {
            pending: &freshness.pending,
            age_millis: freshness.age_millis(now),
            interval_millis: self.revalidate_millis,
        };
        let order = || self.order_for(stale.subject(), now);
        if revalidator.ask(due, may_block_here, now, order)? == StaleAction::Use {
            return Ok(true);
        }
        let ends = EndOnDrop(&freshness.pending);
        match self.compare(stale, ProbeScope::WithinMount, now) {
            ComparisonResult::Same => freshness.confirm(now),
            ComparisonResult::Changed => return Ok(false),
            ComparisonResult::MetMount => {
                freshness.mark_beyond_mount();
                drop(ends);
                return self.is_current(stale, may_block, now);
            }
        }
        Ok(true)
    }

    fn order_for(&self, subject: RevalidationSubject, at: Millis) -> Revalidation {
        let site = self.number;
        Revalidation { at, site, subject }
    }

    /// Carries out `order` in the revalidator's thread, and calls the requests that wait for it. `end`
    /// returns the time when the disk has answered: the answer is true of that moment or an earlier one.
    /// An entry that turns out to lie beyond a mount point is left to another revalidator.
    pub fn carry_out(&self, order: &Revalidation, end: impl FnOnce() -> Millis) {
        let Some(memory) = &self.memory else { return };
        let stale = match &order.subject {
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
        let freshness = stale.freshness();
        let ends = EndOnDrop(&freshness.pending);
        let scope = match self.other_domain(stale) {
            Some(_) => ProbeScope::Anywhere,
            None => ProbeScope::WithinMount,
        };
        match self.compare(stale, scope, order.at) {
            ComparisonResult::Same => freshness.confirm(end()),
            ComparisonResult::Changed => match stale {
                StaleEntry::File(entry) => memory.files.drop_stale(entry.key.site_path(), entry),
                StaleEntry::NegativeEntry(key, negative) => {
                    memory.negative_cache.forget(key, negative)
                }
            },
            ComparisonResult::MetMount => {
                freshness.mark_beyond_mount();
                // Without another revalidator the waiters ask again, and a worker compares.
                if let Some(revalidator) = self.revalidator_of(self.other_domain(stale)) {
                    std::mem::forget(ends);
                    revalidator.place(order.clone());
                }
            }
        }
    }

    fn compare(&self, stale: StaleEntry<'_>, scope: ProbeScope, now: Millis) -> ComparisonResult {
        let directory = self.root.directory();
        let search_root = SearchRoot::new(&directory, &self.resolver, scope);
        match self.is_same(stale, &search_root, now) {
            _ if search_root.probe().met_mount() => ComparisonResult::MetMount,
            true => ComparisonResult::Same,
            false => ComparisonResult::Changed,
        }
    }

    /// Compares a stale entry with what the kernel has in memory. `None` if that needs the disk.
    fn compare_cached(&self, stale: StaleEntry<'_>, now: Millis) -> Option<bool> {
        let directory = self.root.directory();
        let search_root = self.cached_search_root(&directory, now)?;
        let is_same = self.is_same(stale, &search_root, now);
        search_root.is_answer_certain().then_some(is_same)
    }

    fn is_same(&self, stale: StaleEntry<'_>, search_root: &SearchRoot<'_>, now: Millis) -> bool {
        match stale {
            StaleEntry::File(entry) => self.is_same_file(entry, search_root, now),
            StaleEntry::NegativeEntry(key, negative) => {
                self.is_same_absence(key.path, negative, search_root)
            }
        }
    }

    /// Compares a file and its sidecars with the disk.
    fn is_same_file(&self, entry: &FileEntry, search_root: &SearchRoot<'_>, now: Millis) -> bool {
        let probe = search_root.probe();
        if entry.original != OriginalState::Present {
            return self.is_same_sidecar_only(entry, probe);
        }
        // Links are followed even out of the root. That is harmless: only the very file that the
        // resolver has opened compares equal.
        //
        // By now a file may exist whose name comes before that of the entry.
        let names = self.names(entry.key.site_path().path);
        let mut earlier = names.take_while(|name| **name != *entry.path);
        let sidecars = entry.sidecars.as_ref();
        probe
            .identity(&entry.path)
            .is_some_and(|identity| entry.representation.is_current(&identity))
            && sidecars.is_none_or(|seen| {
                let has_none = seen.is_empty()
                    && self.knows_sidecars(search_root, &entry.path, true, now) == Some(false);
                has_none || seen.are_current(&entry.path, probe)
            })
            && !earlier.any(|name| probe.is_file(&name))
    }

    /// Checks that the path still has no file, for the same reason.
    fn is_same_absence(
        &self,
        path: &[u8],
        negative: &NegativeEntry,
        search_root: &SearchRoot<'_>,
    ) -> bool {
        // The names are probed first, because opening a file does not stop at mount points.
        let probe = search_root.probe();
        let has_variant = self.probe_load(path, negative.variants(), probe);
        if !search_root.is_answer_certain() {
            return false;
        }
        let Err(absence) = self.open_file(search_root, path) else {
            return false;
        };
        absence == negative.absence
            && !(has_variant && self.has_only_sidecars(search_root, path, absence))
    }
}
