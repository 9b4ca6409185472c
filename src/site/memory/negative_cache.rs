//! The cache of paths without a file, so that a repeated request for one needs no disk either.
//!
//! Clients can invent any number of names. So this cache has its own bound, and takes no room from
//! files. A new name enters at the end of the eviction order: a scan of a million names evicts other
//! names of the scan, and not those that are requested repeatedly.

use std::ops::Deref;
use std::sync::Arc;

use super::freshness::Freshness;
use super::site_path::{KeptSitePath, SitePath};
use super::weighted_cache::{CacheSize, HasWeight, WeightedCache};
use crate::http::response::{Body, Response};
use crate::site::disk::OpenError;
use crate::site::pages;

/// The memory of all entries together, in bytes.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The approximate memory of an entry besides its name and its page, in bytes. So there are at most 16,384.
const ENTRY_BYTES: u64 = 256;

/// The longest path that is cached, in bytes. No person types a longer one.
const MAX_PATH_BYTES: usize = 512;

/// The memory of a shard of the cache, in bytes.
const SHARD_BYTES: u64 = 512 * 1024;

/// Why a path has no representation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// The path names a directory and lacks the trailing slash. With the slash it shows an index, a
    /// listing or an error other than 404.
    IsDirectory,
    /// The file is not a regular one. It is never read, as that might block or have effects.
    IsSpecial,
    /// The file is being written, and changed during each reading.
    IsChanging,
    /// The file could not be opened.
    Open(OpenError),
}

impl Absence {
    /// Whether it is a fact about the site. A failure of the machine may be over at the next request.
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
    /// The reason.
    pub absence: Absence,
    /// For a directory without its slash: the redirect, for a request without a query.
    pub redirect: Option<Response>,
    /// The names of the sidecars that could answer the path, each followed by a NUL.
    variants: Box<[u8]>,
    /// When the absence was found.
    pub freshness: Freshness,
}

impl NegativeEntry {
    /// An entry for `path`, which has no file because of `absence`.
    #[must_use]
    pub fn new(path: &[u8], absence: Absence, freshness: Freshness) -> NegativeEntry {
        let redirect =
            (absence == Absence::IsDirectory).then(|| pages::redirect_to_slash(path, None));
        NegativeEntry {
            absence,
            redirect,
            variants: Box::default(),
            freshness,
        }
    }

    /// Adds the names of the [sidecars](NegativeEntry::variants()), below the root, that may appear.
    #[must_use]
    pub fn with_variants(
        mut self,
        names: impl Iterator<Item: Deref<Target = [u8]>>,
    ) -> NegativeEntry {
        let mut variants = Vec::new();
        for name in names {
            variants.extend_from_slice(&name);
            variants.push(0);
        }
        self.variants = variants.into();
        self
    }

    /// The names of the sidecars that would answer the path if they appeared. They are stored, so that a
    /// comparison allocates nothing.
    pub fn variants(&self) -> impl Iterator<Item = &[u8]> {
        let names = self.variants.split_inclusive(|byte| *byte == 0);
        names.map(|name| &name[..name.len() - 1])
    }

    fn bytes(&self) -> u64 {
        self.variants.len() as u64 + self.page_bytes()
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

/// The negative entries of all sites, by path.
#[derive(Debug)]
pub struct NegativeCache {
    known: WeightedCache<KeptSitePath, Arc<NegativeEntry>>,
}

impl NegativeCache {
    /// An empty cache.
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

    /// Returns the entry for `path`, if there is one.
    #[must_use]
    pub fn find(&self, path: SitePath<'_>) -> Option<Arc<NegativeEntry>> {
        self.known.get(&path)
    }

    /// Caches `negative` for `path`, if the absence is lasting and the path is not too long.
    pub fn remember(&self, path: SitePath<'_>, negative: &Arc<NegativeEntry>) {
        if negative.absence.is_lasting() && path.path.len() <= MAX_PATH_BYTES {
            self.known.insert(path.keep(), Arc::clone(negative));
        }
    }

    /// Drops `negative`, unless another entry has replaced it already.
    pub fn forget(&self, path: SitePath<'_>, negative: &Arc<NegativeEntry>) {
        self.known
            .remove_if(&path, |known| Arc::ptr_eq(known, negative));
    }
}

impl Default for NegativeCache {
    fn default() -> NegativeCache {
        NegativeCache::new()
    }
}

impl HasWeight<KeptSitePath> for Arc<NegativeEntry> {
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

    fn negative_entry(path: &[u8], absence: Absence) -> Arc<NegativeEntry> {
        Arc::new(NegativeEntry::new(
            path,
            absence,
            Freshness::new(0, Millis(0)),
        ))
    }

    fn remember(negative_cache: &NegativeCache, path: &str, absence: Absence) {
        let path = path.as_bytes();
        negative_cache.remember(at(path), &negative_entry(path, absence));
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
            assert!(found.is_none_or(|negative| negative.absence == absence));
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
    fn the_names_of_variants_are_kept_and_weighed() {
        let plain = NegativeEntry::new(b"/a.js", NOT_FOUND, Freshness::new(0, Millis(0)));
        assert_eq!((plain.variants().count(), plain.bytes()), (0, 0));
        let names = ["a.js.br", "a.js.gz"];
        let negative = plain.with_variants(names.iter().map(|name| name.as_bytes().to_vec()));
        assert!(
            negative
                .variants()
                .eq(names.iter().map(|name| name.as_bytes()))
        );
        assert_eq!(negative.bytes(), 16);
    }

    #[test]
    fn only_the_given_entry_is_forgotten() {
        let negative_cache = NegativeCache::new();
        let (old, new) = (
            negative_entry(b"/a", NOT_FOUND),
            negative_entry(b"/a", NOT_FOUND),
        );
        negative_cache.remember(at(b"/a"), &old);
        negative_cache.remember(at(b"/a"), &new);
        negative_cache.forget(at(b"/a"), &old);
        assert!(negative_cache.find(at(b"/a")).is_some());
        negative_cache.forget(at(b"/a"), &new);
        assert!(negative_cache.find(at(b"/a")).is_none());
    }

    #[test]
    fn invented_names_are_bounded_and_do_not_evict_names_in_use() {
        let negative_cache = NegativeCache::new();
        let in_use: Vec<_> = (0..100).map(|i| format!("/favicon-{i}.ico")).collect();
        let mut missed = 0;
        for scan in 0..200_000 {
            remember(&negative_cache, &format!("/wp-admin/{scan}.php"), NOT_FOUND);
            // Each of these names is requested once per thousand scanned names.
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
