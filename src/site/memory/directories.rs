//! The directories that have no sidecars, so that a load need not look for those of each file.
//!
//! Three names are looked up for each file that may have sidecars, and mostly none exists. A directory without
//! any such name answers for all its files. The names of a directory change only with its mtime, so one look
//! at the directory confirms that.

use std::sync::Arc;

use super::freshness::Freshness;
use super::newcomers::Newcomers;
use super::site_path::{KeptSitePath, SitePath};
use super::weighted_cache::{CacheSize, HasWeight, WeightedCache};
use crate::clock::Millis;
use crate::site::content::allocation;
use crate::site::disk::IdentitySnapshot;

/// The memory of all entries together, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// The memory of an entry besides its path, in bytes. So at most 4,000 directories are known.
const ENTRY_BYTES: u64 = 256;

/// The memory of a shard of the cache, in bytes.
const SHARD_BYTES: u64 = 128 * 1024;

/// The result of reading the names of a directory.
#[derive(Debug)]
pub struct DirectoryEntry {
    /// The directory when its names were read.
    pub snapshot: IdentitySnapshot,
    /// Whether a name in it may be that of a sidecar. Also true if the names were not all read.
    pub may_have_sidecars: bool,
    /// When the names were read or the directory was compared.
    pub freshness: Freshness,
}

/// The entries of all sites, by the path of the directory below its root.
#[derive(Debug)]
pub struct DirectoryCache {
    known: WeightedCache<KeptSitePath, Arc<DirectoryEntry>>,
    newcomers: Newcomers,
}

impl DirectoryCache {
    /// An empty cache.
    #[must_use]
    pub fn new() -> DirectoryCache {
        let size = CacheSize {
            bytes: MAX_BYTES,
            typical_bytes: ENTRY_BYTES,
            shard_bytes: SHARD_BYTES,
        };
        DirectoryCache {
            known: size.build(),
            newcomers: Newcomers::new(MAX_BYTES),
        }
    }

    /// The entry for the directory at `path`, if there is one.
    #[must_use]
    pub fn find(&self, path: SitePath<'_>) -> Option<Arc<DirectoryEntry>> {
        self.known.get(&path)
    }

    /// Whether it is worth reading the names of the directory at `path`, because a load in it was noted
    /// lately.
    #[must_use]
    pub fn is_worth_reading(&self, path: SitePath<'_>, now: Millis) -> bool {
        self.newcomers.knows(&path, now)
    }

    /// Notes a load in the directory at `path`, which is not known.
    pub fn note_load(&self, path: SitePath<'_>, now: Millis) {
        let _ = self.newcomers.admit(&path, now);
    }

    /// Keeps the entry for the directory at `path`.
    pub fn keep(&self, path: SitePath<'_>, entry: DirectoryEntry) {
        self.known.insert(path.keep(), Arc::new(entry));
    }

    /// Drops the entry for the directory at `path`.
    pub fn forget(&self, path: SitePath<'_>) {
        self.known.remove(&path);
    }
}

impl Default for DirectoryCache {
    fn default() -> DirectoryCache {
        DirectoryCache::new()
    }
}

impl HasWeight<KeptSitePath> for Arc<DirectoryEntry> {
    fn weight(&self, path: &KeptSitePath) -> u64 {
        ENTRY_BYTES + allocation(path.site_path().path.len())
    }
}
