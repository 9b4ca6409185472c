//! The memory of all sites: cached files, and cached paths without a file.

use std::sync::Arc;

use super::cache::{FileCache, FileEntry};
use super::compressor::Compressor;
use super::directories::DirectoryCache;
use super::freshness::Freshness;
use super::lookup_counts::{LookupCounts, LookupKind};
use super::negative_cache::{NegativeCache, NegativeEntry};
use super::revalidators::Revalidators;
use super::sidecar_verifier::SidecarVerifier;
use super::site_path::{KeptSitePath, SitePath};
use crate::config;
use crate::http::accept_encoding::Coding;
use crate::site::content::{Representation, VerdictCache};
use crate::site::disk::DescriptorBudget;
use crate::site::waiting::{CachedAccess, JobPermits, SingleFlight};

/// The stores that all sites of a server share.
#[derive(Debug, Clone)]
pub struct FileStore {
    /// The configured sizes.
    pub cache: config::Cache,
    /// `None` if caching is off.
    pub memory: Option<Arc<Memory>>,
    /// The budget of file descriptors. A large file takes one for as long as it is open.
    pub descriptors: Arc<DescriptorBudget>,
    /// How often memory had the result of a lookup.
    pub lookups: Arc<LookupCounts>,
}

/// The result of a lookup.
#[derive(Debug, Clone)]
pub enum LookupResult {
    /// A regular file.
    File(Arc<FileEntry>),
    /// The path has no file that may be served.
    NegativeEntry(Arc<NegativeEntry>),
}

/// The cached files and negative entries of all sites. A path is in one of the two caches, or in neither.
#[derive(Debug)]
pub struct Memory {
    pub(in crate::site) files: Arc<FileCache>,
    pub(in crate::site) negative_cache: NegativeCache,
    pub(in crate::site) directories: DirectoryCache,
    pub(in crate::site) compressor: Compressor,
    pub(in crate::site) sidecar_verifier: SidecarVerifier,
    pub(in crate::site) verdicts: Arc<VerdictCache>,
    /// The loads in flight, of files and of sidecars. The result for a sidecar is the entry of its file,
    /// which by then has the variant if there is one.
    pub(in crate::site) flights: SingleFlight<(KeptSitePath, Coding), LookupResult>,
    /// The permits for loads that take longer than a slice.
    pub(in crate::site) permits: JobPermits,
    pub(in crate::site) revalidators: Revalidators,
    pub(in crate::site) lookups: Arc<LookupCounts>,
    pub(in crate::site) cached_access: CachedAccess,
}

impl LookupResult {
    /// The kind of the result, for counting.
    pub(in crate::site) fn kind(&self) -> LookupKind {
        match self {
            LookupResult::File(_) => LookupKind::File,
            LookupResult::NegativeEntry(_) => LookupKind::Absence,
        }
    }

    /// When the result was obtained.
    #[must_use]
    pub fn freshness(&self) -> &Freshness {
        match self {
            LookupResult::File(entry) => &entry.freshness,
            LookupResult::NegativeEntry(negative) => &negative.freshness,
        }
    }
}

impl FileStore {
    /// An empty store of the sizes in `cache`, which counts in `lookups`.
    #[must_use]
    pub fn new(
        cache: &config::Cache,
        descriptors: Arc<DescriptorBudget>,
        lookups: Arc<LookupCounts>,
    ) -> FileStore {
        FileStore {
            cache: cache.clone(),
            memory: Memory::new(cache, &descriptors, &lookups).map(Arc::new),
            descriptors,
            lookups,
        }
    }
}

impl Memory {
    /// An empty memory of the configured sizes; `None` if caching is off.
    fn new(
        cache: &config::Cache,
        descriptors: &DescriptorBudget,
        lookups: &Arc<LookupCounts>,
    ) -> Option<Memory> {
        (cache.bytes > 0).then(|| Memory {
            files: Arc::new(FileCache::new(
                cache.bytes,
                cache.file_bytes,
                descriptors.cached_files(),
            )),
            negative_cache: NegativeCache::new(),
            directories: DirectoryCache::new(),
            compressor: Compressor::new(),
            sidecar_verifier: SidecarVerifier::default(),
            verdicts: Arc::default(),
            flights: SingleFlight::default(),
            permits: JobPermits::default(),
            revalidators: Revalidators::default(),
            lookups: Arc::clone(lookups),
            cached_access: CachedAccess::default(),
        })
    }

    /// The loads from the disk under way.
    #[must_use]
    pub fn loads(&self) -> usize {
        self.flights.under_way()
    }

    /// The threads that revalidate.
    #[must_use]
    pub fn revalidators(&self) -> &Revalidators {
        &self.revalidators
    }

    /// Returns the cached result for a path, however old it is.
    pub(in crate::site) fn recall(&self, key: SitePath<'_>) -> Option<LookupResult> {
        let file = self.files.find(key).map(LookupResult::File);
        file.or_else(|| {
            self.negative_cache
                .find(key)
                .map(LookupResult::NegativeEntry)
        })
    }

    /// Keeps the result of a load for `key`, and counts it as a miss.
    pub(in crate::site) fn keep(
        &self,
        key: SitePath<'_>,
        loaded: Result<FileEntry, Arc<NegativeEntry>>,
    ) -> LookupResult {
        match loaded {
            Ok(entry) => {
                self.lookups.miss(LookupKind::File);
                let entry = Arc::new(entry);
                if !entry.representation.is_torn {
                    self.files.keep(Arc::clone(&entry));
                }
                LookupResult::File(entry)
            }
            Err(negative) => {
                self.lookups.miss(LookupKind::Absence);
                self.negative_cache.remember(key, &negative);
                LookupResult::NegativeEntry(negative)
            }
        }
    }

    /// Fills in a variant that was read from a sidecar. If the sidecar is gone, changed or unreadable,
    /// the entry is dropped, and the next request loads the file anew.
    pub(in crate::site) fn keep_variant<'e>(
        &self,
        entry: &'e Arc<FileEntry>,
        coding: Coding,
        variant: Option<Representation>,
    ) -> Option<&'e Representation> {
        if variant.is_none() {
            self.files.drop_stale(entry.key.site_path(), entry);
        }
        self.files.fill(entry, coding, || variant)
    }
}
