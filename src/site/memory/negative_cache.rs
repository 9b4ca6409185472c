//! Paths without a file, and why: remembered like the files themselves, so that what is asked for in
//! vain costs no look at the disk either.
//!
//! Anybody can make up names, so this memory has a bound of its own, and no name in it takes room
//! from a file. A new name comes in at the back: a scan of a million names pushes out its own, not
//! those that are asked for again and again.

use std::sync::Arc;

use super::cache::{KeptSitePath, SitePath};
use super::freshness::Freshness;
use super::weighted_cache::{CacheSize, Weighs, WeightedCache};
use crate::http::response::{Body, Response};
use crate::site::disk::OpenError;
use crate::site::pages;

/// Memory for all of them together, in bytes.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// What one takes besides its name and its page, in bytes, roughly. So there are at most 16,384.
const ENTRY_BYTES: u64 = 256;

/// The longest path that is remembered, in bytes; what is longer was not written by a person.
const MAX_PATH_BYTES: usize = 512;

/// Bytes that a part with a lock of its own may hold.
const SHARD_BYTES: u64 = 512 * 1024;

/// Why a path has no representation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// The path names a directory and lacks the slash. The slash form shows an index, a listing or an
    /// error other than 404.
    IsDirectory,
    /// Not a regular file: never read, it might block or have effects.
    IsSpecial,
    /// It is being written, and did not hold still for one reading.
    IsChanging,
    /// It could not be opened.
    Open(OpenError),
}

impl Absence {
    /// Whether it is a fact about the site. A failure of the machine may be over at the next try.
    #[must_use]
    pub fn is_lasting(self) -> bool {
        !matches!(
            self,
            Absence::IsChanging | Absence::Open(OpenError::Exhausted | OpenError::Failed)
        )
    }
}

/// A path without a file.
#[derive(Debug)]
pub struct NegativeEntry {
    /// Why there is none.
    pub absence: Absence,
    /// For a directory without its slash: the way to it, for a request without a query.
    pub redirect: Option<Response>,
    /// The names of the forms that the path could be answered from, each with a NUL at its end.
    forms: Box<[u8]>,
    /// When it was learnt.
    pub freshness: Freshness,
}

impl NegativeEntry {
    /// That `path` has no file because of `absence`.
    #[must_use]
    pub fn new(path: &[u8], absence: Absence, freshness: Freshness) -> NegativeEntry {
        let redirect =
            (absence == Absence::IsDirectory).then(|| pages::redirect_to_slash(path, None));
        NegativeEntry {
            absence,
            redirect,
            forms: Box::default(),
            freshness,
        }
    }

    /// With the names, below the root, of the [variants](NegativeEntry::forms()) that may come.
    #[must_use]
    pub fn with_forms(mut self, names: impl Iterator<Item = Vec<u8>>) -> NegativeEntry {
        self.forms = names.flat_map(|name| name.into_iter().chain([0])).collect();
        self
    }

    /// The names of the encoded forms that the path would be answered from if they came. They are kept
    /// so that a look for them allocates nothing.
    pub fn forms(&self) -> impl Iterator<Item = &[u8]> {
        let names = self.forms.split_inclusive(|byte| *byte == 0);
        names.map(|name| &name[..name.len() - 1])
    }

    fn bytes(&self) -> u64 {
        self.forms.len() as u64 + self.page_bytes()
    }

    fn page_bytes(&self) -> u64 {
        self.redirect.as_ref().map_or(0, |redirect| {
            let body = match &redirect.body {
                Body::Memory(content) => content.len(),
                _ => 0,
            };
            (redirect.fields.len() + body) as u64
        })
    }
}

/// The paths of all sites that have no file.
#[derive(Debug)]
pub struct NegativeCache {
    known: WeightedCache<KeptSitePath, Arc<NegativeEntry>>,
}

impl NegativeCache {
    /// None known yet.
    #[must_use]
    pub fn new() -> NegativeCache {
        let size = CacheSize {
            bytes: MAX_BYTES,
            typical_bytes: ENTRY_BYTES,
            shard_bytes: SHARD_BYTES,
        };
        NegativeCache {
            known: size.build(),
        }
    }

    /// What is known of `path`.
    #[must_use]
    pub fn find(&self, path: SitePath<'_>) -> Option<Arc<NegativeEntry>> {
        self.known.get(&path)
    }

    /// Remembers `nothing` of `path`, if it lasts and the path is not too long.
    pub fn remember(&self, path: SitePath<'_>, nothing: &Arc<NegativeEntry>) {
        if nothing.absence.is_lasting() && path.path.len() <= MAX_PATH_BYTES {
            self.known.insert(path.keep(), Arc::clone(nothing));
        }
    }

    /// Forgets `nothing`, unless another has taken its place already.
    pub fn forget(&self, path: SitePath<'_>, nothing: &Arc<NegativeEntry>) {
        self.known
            .remove_if(&path, |known| Arc::ptr_eq(known, nothing));
    }
}

impl Default for NegativeCache {
    fn default() -> NegativeCache {
        NegativeCache::new()
    }
}

impl Weighs<KeptSitePath> for Arc<NegativeEntry> {
    fn weight(&self, path: &KeptSitePath) -> u64 {
        ENTRY_BYTES + path.path_bytes() + self.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Millis;

    fn at(path: &[u8]) -> SitePath<'_> {
        SitePath { site: 0, path }
    }

    fn nothing(path: &[u8], absence: Absence) -> Arc<NegativeEntry> {
        Arc::new(NegativeEntry::new(
            path,
            absence,
            Freshness::new(0, Millis(0)),
        ))
    }

    fn remember(negative_cache: &NegativeCache, path: &str, absence: Absence) {
        let path = path.as_bytes();
        negative_cache.remember(at(path), &nothing(path, absence));
    }

    const NOT_FOUND: Absence = Absence::Open(OpenError::NotFound);

    #[test]
    fn a_fact_is_remembered_and_a_failure_of_the_machine_is_not() {
        let negative_cache = NegativeCache::new();
        for (absence, is_kept) in [
            (NOT_FOUND, true),
            (Absence::Open(OpenError::Forbidden), true),
            (Absence::Open(OpenError::Outside), true),
            (Absence::IsSpecial, true),
            (Absence::IsDirectory, true),
            (Absence::IsChanging, false),
            (Absence::Open(OpenError::Exhausted), false),
            (Absence::Open(OpenError::Failed), false),
        ] {
            let path = format!("/{absence:?}");
            remember(&negative_cache, &path, absence);
            let found = negative_cache.find(at(path.as_bytes()));
            assert_eq!(found.is_some(), is_kept, "{path}");
            assert!(found.is_none_or(|nothing| nothing.absence == absence));
        }
    }

    #[test]
    fn a_long_path_is_not_remembered() {
        let negative_cache = NegativeCache::new();
        for (bytes, is_kept) in [(MAX_PATH_BYTES, true), (MAX_PATH_BYTES + 1, false)] {
            let path = "x".repeat(bytes);
            remember(&negative_cache, &path, NOT_FOUND);
            assert_eq!(
                negative_cache.find(at(path.as_bytes())).is_some(),
                is_kept,
                "{bytes}"
            );
        }
    }

    #[test]
    fn the_names_of_forms_are_kept_and_weighed() {
        let plain = NegativeEntry::new(b"/a.js", NOT_FOUND, Freshness::new(0, Millis(0)));
        assert_eq!((plain.forms().count(), plain.bytes()), (0, 0));
        let names = ["a.js.br", "a.js.gz"];
        let nothing = plain.with_forms(names.iter().map(|name| name.as_bytes().to_vec()));
        assert!(nothing.forms().eq(names.iter().map(|name| name.as_bytes())));
        assert_eq!(nothing.bytes(), 16);
    }

    #[test]
    fn only_what_is_out_of_date_is_forgotten() {
        let negative_cache = NegativeCache::new();
        let (old, new) = (nothing(b"/a", NOT_FOUND), nothing(b"/a", NOT_FOUND));
        negative_cache.remember(at(b"/a"), &old);
        negative_cache.remember(at(b"/a"), &new);
        negative_cache.forget(at(b"/a"), &old);
        assert!(negative_cache.find(at(b"/a")).is_some());
        negative_cache.forget(at(b"/a"), &new);
        assert!(negative_cache.find(at(b"/a")).is_none());
    }

    #[test]
    fn made_up_names_stay_in_bounds_and_leave_those_in_use_alone() {
        let negative_cache = NegativeCache::new();
        let in_use: Vec<_> = (0..100).map(|i| format!("/favicon-{i}.ico")).collect();
        let mut missed = 0;
        for scan in 0..200_000 {
            remember(&negative_cache, &format!("/wp-admin/{scan}.php"), NOT_FOUND);
            // Each is asked for once in a thousand names.
            if scan % 10 == 0 {
                let path = &in_use[scan / 10 % in_use.len()];
                if negative_cache.find(at(path.as_bytes())).is_none() {
                    missed += 1;
                    remember(&negative_cache, path, NOT_FOUND);
                }
            }
        }
        let (bytes, number) = (
            negative_cache.known.weight(),
            negative_cache.known.len() as u64,
        );
        assert!(bytes <= MAX_BYTES && number <= MAX_BYTES / ENTRY_BYTES);
        assert!(number > 10_000, "the room is used: {number}");
        assert!(missed <= 2 * in_use.len(), "{missed} of 20,000 missed");
        let memory = negative_cache.known.memory_used().total() as u64;
        assert!(memory <= MAX_BYTES, "{memory} bytes of administration");
    }
}
