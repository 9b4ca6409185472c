//! From a path to the file that it names, or to the reason why there is none.
//!
//! A cached result is used while it is fresh. Other lookups need what the kernel knows: a new name, a stale
//! entry, a root path that is due to be resolved. If the kernel has it in memory, the calling thread uses it
//! (`cached`). Otherwise the disk is needed, and the lookup is left to a thread that may block.
//!
//! If several requests need the same file at the same time, one thread loads it. The others get
//! [`WouldBlock::InFlight`], wait without a thread, and ask again ([`waiting`](crate::site::waiting)).
//! Without a cache each request loads the file itself.

use std::sync::Arc;

use super::loading::FileLoadJob;
use super::opening::Lookup;
use crate::clock::Now;
use crate::http::accept_encoding::Coding;
use crate::http::status::Status;
use crate::site::disk::OpenError;
use crate::site::memory::{
    Absence, FileEntry, Freshness, FreshnessState, LookupKind, LookupResult, Memory, NegativeEntry,
    SitePath,
};
use crate::site::rules::{CodingPolicy, CodingRules};
use crate::site::waiting::{FirstSlice, MayBlock, UnboundedSlice, WouldBlock};

/// No permit is left for a load that takes long.
const TOO_MANY_JOBS: Absence = Absence::Open(OpenError::Exhausted);

/// A request path, and the path to which a rewrite or `spa` has led it.
#[derive(Debug, Clone, Copy)]
pub struct RewrittenPath<'p> {
    /// The request path, to which the header rules apply.
    pub asked: &'p [u8],
    /// The path that is served.
    pub path: &'p [u8],
    /// Whether `spa` has led there.
    pub is_fallback: bool,
}

impl Lookup {
    /// Finds the file that `path`, decoded and normalised, names, or the reason why there is none.
    ///
    /// # Errors
    /// [`WouldBlock`] if the result needs a disk that `may_block` excludes, or if another thread is
    /// loading it.
    pub fn find(
        &self,
        path: &[u8],
        may_block: MayBlock,
        now: Now,
    ) -> Result<LookupResult, WouldBlock> {
        self.find_at(self.key(path), may_block, now)
    }

    /// As [`find`](Lookup::find), for a rewritten request.
    ///
    /// # Errors
    /// As [`find`](Lookup::find).
    pub fn find_for(
        &self,
        rewritten: RewrittenPath<'_>,
        may_block: MayBlock,
        now: Now,
    ) -> Result<LookupResult, WouldBlock> {
        let policy = |rules: &CodingRules, own_type: &str| {
            rules.policy(rewritten.asked, own_type, rewritten.is_fallback)
        };
        self.find_with(policy, rewritten.path, may_block, now)
    }

    /// As [`find`](Lookup::find), for the page `path` that answers a request for `asked` with this error
    /// status.
    ///
    /// # Errors
    /// As [`find`](Lookup::find).
    pub fn find_for_error(
        &self,
        (asked, status): (&[u8], Status),
        path: &[u8],
        may_block: MayBlock,
        now: Now,
    ) -> Result<LookupResult, WouldBlock> {
        let policy =
            |rules: &CodingRules, own_type: &str| rules.policy_for_error(asked, own_type, status);
        self.find_with(policy, path, may_block, now)
    }

    /// As [`find`](Lookup::find), with the policy that `policy` returns for a media type.
    fn find_with(
        &self,
        policy: impl FnOnce(&CodingRules, &str) -> CodingPolicy,
        path: &[u8],
        may_block: MayBlock,
        now: Now,
    ) -> Result<LookupResult, WouldBlock> {
        let mut key = self.key(path);
        let found = self.find_at(key, may_block, now)?;
        let (Some(rules), LookupResult::File(entry)) = (&self.coding_rules, &found) else {
            return Ok(found);
        };
        let own_type = entry.representation.content_type();
        let policy = policy(rules, &own_type);
        if policy == rules.policy(path, &own_type, false) {
            return Ok(found);
        }
        key.site = self.first_key.saturating_add(policy.number());
        self.find_at(key, may_block, now)
    }

    #[inline]
    fn find_at(
        &self,
        key: SitePath<'_>,
        may_block: MayBlock,
        now: Now,
    ) -> Result<LookupResult, WouldBlock> {
        let Some(memory) = &self.memory else {
            may_block.disk()?;
            self.root.generation(may_block, now.monotonic)?;
            self.check_path_scope(key.path, may_block)?;
            return Ok(match self.load(key, now) {
                Ok(entry) => LookupResult::File(Arc::new(entry)),
                Err(negative) => LookupResult::NegativeEntry(negative),
            });
        };
        let generation = match self.root.known_generation(now.monotonic) {
            Some(generation) => generation,
            None => self.resolve_root(may_block, now.monotonic)?,
        };
        let state_of = |freshness: &Freshness| {
            freshness.state(generation, now.monotonic, self.revalidate_millis)
        };
        if let Some(entry) = memory.files.find(key) {
            match state_of(&entry.freshness) {
                FreshnessState::Fresh => {
                    memory.lookups.hit(LookupKind::File);
                    return Ok(LookupResult::File(entry));
                }
                FreshnessState::Stale => {
                    if self.is_file_current(&entry, may_block, now.monotonic)? {
                        memory.lookups.hit(LookupKind::File);
                        return Ok(LookupResult::File(entry));
                    }
                }
                FreshnessState::Invalid => {}
            }
            memory.files.drop_stale(key, &entry);
        } else if let Some(negative) = memory.negative_cache.find(key) {
            match state_of(&negative.freshness) {
                FreshnessState::Fresh => {
                    memory.lookups.hit(LookupKind::Absence);
                    return Ok(LookupResult::NegativeEntry(negative));
                }
                FreshnessState::Stale => {
                    if self.is_still_absent(key, &negative, may_block, now.monotonic)? {
                        memory.lookups.hit(LookupKind::Absence);
                        return Ok(LookupResult::NegativeEntry(negative));
                    }
                }
                FreshnessState::Invalid => {}
            }
            memory.negative_cache.forget(key, &negative);
        }
        if let Some(found) = self.load_cached(memory, key, now) {
            return Ok(found);
        }
        may_block.disk()?;
        self.check_path_scope(key.path, may_block)?;
        self.load_and_keep(memory, key, generation, now)
    }

    /// Loads a file, unless another thread is loading it.
    fn load_and_keep(
        &self,
        memory: &Arc<Memory>,
        key: SitePath<'_>,
        generation: u64,
        now: Now,
    ) -> Result<LookupResult, WouldBlock> {
        let is_invalid = |found: &LookupResult| {
            found.freshness().state(generation, now.monotonic, 0) == FreshnessState::Invalid
        };
        let flight_key = (key.keep(), Coding::Identity);
        let is_usable = |found: &LookupResult| !is_invalid(found);
        let leader = match memory.flights.begin(flight_key, is_usable) {
            Ok(leader) => leader,
            Err(flight) => {
                return match flight.result().filter(|found| is_usable(found)) {
                    Some(found) => {
                        memory.lookups.hit(found.kind());
                        Ok(found.clone())
                    }
                    None => Err(WouldBlock::InFlight(flight)),
                };
            }
        };
        // Another thread may have finished a load between the lookup in the cache and `begin`.
        if let Some(found) = memory.recall(key).filter(|found| !is_invalid(found)) {
            memory.lookups.hit(found.kind());
            return Ok(found);
        }
        let directory = self.root.directory();
        let loaded = match self.begin(&self.search_root(&directory), key, now) {
            Err(absence) => Err(absence),
            Ok(mut load) => match load.go_on(&FirstSlice::new(now.monotonic)) {
                Some(loaded) => loaded,
                None => match memory.permits.take() {
                    None => Err(TOO_MANY_JOBS),
                    Some(permit) => {
                        let job = FileLoadJob {
                            load,
                            memory: Arc::clone(memory),
                            log: Arc::clone(&self.absence_log),
                        };
                        return Err(WouldBlock::InFlight(leader.leave(job, permit)));
                    }
                },
            },
        };
        self.absence_log.note(key.path, &loaded);
        let loaded = loaded
            .map_err(|absence| self.negative_entry(key.path, absence, directory.generation, now));
        let found = memory.keep(key, loaded);
        // With an interval of 0 no result is shared: each request that has waited loads the file itself.
        if self.revalidate_millis > 0 {
            leader.finish(found.clone(), memory.recall(key).is_some());
        }
        Ok(found)
    }

    fn load(&self, key: SitePath<'_>, now: Now) -> Result<FileEntry, Arc<NegativeEntry>> {
        let directory = self.root.directory();
        let begun = self.begin(&self.search_root(&directory), key, now);
        // Without a cache no load takes long: see `open`.
        let unbounded = UnboundedSlice(now.monotonic);
        let loaded =
            begun.and_then(|mut load| load.go_on(&unbounded).unwrap_or(Err(TOO_MANY_JOBS)));
        self.absence_log.note(key.path, &loaded);
        loaded.map_err(|absence| self.negative_entry(key.path, absence, directory.generation, now))
    }

    pub(super) fn negative_entry(
        &self,
        path: &[u8],
        absence: Absence,
        generation: u64,
        now: Now,
    ) -> Arc<NegativeEntry> {
        let freshness = Freshness::new(generation, now.monotonic);
        let negative = NegativeEntry::new(path, absence, freshness);
        Arc::new(negative.with_variants(self.sidecar_only_names(path, absence)))
    }
}
