//! From a path to the file that it names, or to why there is none.
//!
//! A result that was found before is used as long as it is fresh; that part needs no disk. The rest (a name
//! that is new, a comparison that is due, a root that may have been swapped) does, and is left to a
//! caller that may wait.
//!
//! Of those who ask at the same time for what is not there yet, one looks at the disk. The others are
//! told so ([`WouldBlock::InFlight`]), wait without a thread, and ask again
//! ([`waiting`](crate::site::waiting)). Without a cache each looks for itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::loading::LoadJob;
use super::opening::Lookup;
use crate::clock::Now;
use crate::http::accept_encoding::Coding;
use crate::http::status::Status;
use crate::site::disk::OpenError;
use crate::site::memory::{
    Absence, FileEntry, Found, Freshness, FreshnessState, Memory, NegativeEntry, SitePath,
};
use crate::site::rules::{CodingPolicy, CodingRules};
use crate::site::waiting::{FirstSlice, MayBlock, WholeSlice, WouldBlock};

/// More is being loaded than there are places for.
const TOO_MUCH: Absence = Absence::Open(OpenError::Exhausted);

/// The path that a rewrite or `spa` has led a request to.
#[derive(Debug, Clone, Copy)]
pub struct LedTo<'p> {
    /// The path as it was asked, which the header rules are about.
    pub asked: &'p [u8],
    /// The path that is served.
    pub path: &'p [u8],
    /// Whether it was `spa`.
    pub is_fallback: bool,
}

impl Lookup {
    /// Finds the file that `path`, decoded and normalised, names, or why there is none.
    ///
    /// # Errors
    /// [`WouldBlock`] if memory does not tell and is all that is in `may_block`, or if another thread is
    /// loading it.
    pub fn find(&self, path: &[u8], may_block: MayBlock, now: Now) -> Result<Found, WouldBlock> {
        self.find_at(self.key(path), may_block, now)
    }

    /// As [`find`](Lookup::find), for a request that was led to another path.
    ///
    /// # Errors
    /// As [`find`](Lookup::find).
    pub fn find_for(
        &self,
        led: LedTo<'_>,
        may_block: MayBlock,
        now: Now,
    ) -> Result<Found, WouldBlock> {
        let policy = |rules: &CodingRules, own_type: &str| {
            rules.policy(led.asked, own_type, led.is_fallback)
        };
        self.find_with(policy, led.path, may_block, now)
    }

    /// As [`find`](Lookup::find), for the page `path` of an error with this status, which a request for
    /// `asked` gets.
    ///
    /// # Errors
    /// As [`find`](Lookup::find).
    pub fn find_for_error(
        &self,
        (asked, status): (&[u8], Status),
        path: &[u8],
        may_block: MayBlock,
        now: Now,
    ) -> Result<Found, WouldBlock> {
        let policy =
            |rules: &CodingRules, own_type: &str| rules.policy_for_error(asked, own_type, status);
        self.find_with(policy, path, may_block, now)
    }

    /// As [`find`](Lookup::find), if `policy` tells the policy for a file of a type.
    fn find_with(
        &self,
        policy: impl FnOnce(&CodingRules, &str) -> CodingPolicy,
        path: &[u8],
        may_block: MayBlock,
        now: Now,
    ) -> Result<Found, WouldBlock> {
        let mut key = self.key(path);
        let found = self.find_at(key, may_block, now)?;
        let (Some(rules), Found::File(entry)) = (&self.coding_rules, &found) else {
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
    ) -> Result<Found, WouldBlock> {
        let Some(memory) = &self.memory else {
            may_block.disk()?;
            self.root.generation(may_block, now.monotonic)?;
            self.expect_path_in_reach(key.path, may_block)?;
            return Ok(match self.load(key, now) {
                Ok(entry) => Found::File(Arc::new(entry)),
                Err(nothing) => Found::NegativeEntry(nothing),
            });
        };
        let generation = match self.root.known_generation(now.monotonic) {
            Some(generation) => generation,
            None => self.resolve_root(may_block, now.monotonic)?,
        };
        let trust =
            |learnt: &Freshness| learnt.state(generation, now.monotonic, self.revalidate_millis);
        if let Some(entry) = memory.files.find(key) {
            match trust(&entry.freshness) {
                FreshnessState::Fresh => return Ok(Found::File(entry)),
                FreshnessState::Stale => {
                    if self.is_file_current(&entry, may_block, now.monotonic)? {
                        return Ok(Found::File(entry));
                    }
                }
                FreshnessState::Invalid => may_block.disk()?,
            }
            memory.files.drop_stale(key, &entry);
        } else if let Some(nothing) = memory.negative_cache.find(key) {
            match trust(&nothing.freshness) {
                FreshnessState::Fresh => return Ok(Found::NegativeEntry(nothing)),
                FreshnessState::Stale => {
                    if self.is_still_nothing(key, &nothing, may_block, now.monotonic)? {
                        return Ok(Found::NegativeEntry(nothing));
                    }
                }
                FreshnessState::Invalid => may_block.disk()?,
            }
            memory.negative_cache.forget(key, &nothing);
        }
        may_block.disk()?;
        self.expect_path_in_reach(key.path, may_block)?;
        self.load_and_keep(memory, key, generation, now)
    }

    /// Looks at the disk, unless another thread is at it for the same path.
    fn load_and_keep(
        &self,
        memory: &Arc<Memory>,
        key: SitePath<'_>,
        generation: u64,
        now: Now,
    ) -> Result<Found, WouldBlock> {
        let is_void = |found: &Found| {
            found.freshness().state(generation, now.monotonic, 0) == FreshnessState::Invalid
        };
        let flight_key = (key.keep(), Coding::Identity);
        let is_usable = |found: &Found| !is_void(found);
        let leader = match memory.flights.begin(flight_key, is_usable) {
            Ok(leader) => leader,
            Err(flight) => {
                return match flight.brought().filter(|found| is_usable(found)) {
                    Some(found) => Ok(found.clone()),
                    None => Err(WouldBlock::InFlight(flight)),
                };
            }
        };
        // Another may have come back after we had looked and before we set out.
        if let Some(found) = memory.recall(key).filter(|found| !is_void(found)) {
            return Ok(found);
        }
        let directory = self.root.directory();
        let loaded = match self.begin(&directory, key, now) {
            Err(absence) => Err(absence),
            Ok(mut load) => match load.go_on(&FirstSlice::new(now.monotonic)) {
                Some(loaded) => loaded,
                None => match memory.permits.take() {
                    None => Err(TOO_MUCH),
                    Some(permit) => {
                        let memory = Arc::clone(memory);
                        let job = LoadJob { load, memory };
                        return Err(WouldBlock::InFlight(leader.leave(job, permit)));
                    }
                },
            },
        };
        let loaded =
            loaded.map_err(|absence| self.nothing(key.path, absence, directory.generation, now));
        let found = memory.keep(key, loaded);
        // Without an interval nobody takes another's word: who waited looks for itself.
        if self.revalidate_millis > 0 {
            leader.bring(found.clone(), memory.recall(key).is_some());
        }
        Ok(found)
    }

    fn load(&self, key: SitePath<'_>, now: Now) -> Result<FileEntry, Arc<NegativeEntry>> {
        let directory = self.root.directory();
        let begun = self.begin(&directory, key, now);
        // Nothing takes long without a cache: see `open`.
        let whole = WholeSlice(now.monotonic);
        let loaded = begun.and_then(|mut load| load.go_on(&whole).unwrap_or(Err(TOO_MUCH)));
        loaded.map_err(|absence| self.nothing(key.path, absence, directory.generation, now))
    }

    fn nothing(
        &self,
        path: &[u8],
        absence: Absence,
        generation: u64,
        now: Now,
    ) -> Arc<NegativeEntry> {
        self.log(absence, path);
        let freshness = Freshness::new(generation, now.monotonic);
        let nothing = NegativeEntry::new(path, absence, freshness);
        Arc::new(nothing.with_forms(self.forms_alone(path, absence)))
    }

    fn log(&self, absence: Absence, path: &[u8]) {
        let path = path.escape_ascii();
        match absence {
            Absence::Open(OpenError::Outside)
                if !self.has_logged_outside_link.swap(true, Ordering::Relaxed) =>
            {
                log::warn!("{path}: a link that leads out of the root is refused (logged once)");
            }
            Absence::Open(OpenError::Failed) => log::error!("{path}: the file cannot be read"),
            _ => {}
        }
    }
}
