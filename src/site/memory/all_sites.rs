//! The files and negative_cache that were found before, in all sites.

use std::sync::Arc;

use super::cache::{FileCache, FileEntry};
use super::cache::{KeptSitePath, SitePath};
use super::compressor::Compressor;
use super::freshness::Freshness;
use super::negative_cache::{NegativeCache, NegativeEntry};
use super::revalidators::Revalidators;
use super::sidecar_verifier::SidecarVerifier;
use crate::config;
use crate::http::accept_encoding::Coding;
use crate::site::content::{Representation, Verdicts};
use crate::site::disk::DescriptorBudget;
use crate::site::waiting::{JobPermits, SingleFlight};

/// All that the sites of a server keep files in.
#[derive(Debug, Clone)]
pub struct FileStore {
    /// The sizes that are configured.
    pub cache: config::Cache,
    /// `None` if nothing is to be remembered.
    pub memory: Option<Arc<Memory>>,
    /// The budget of descriptors: a large file takes one for as long as it is open.
    pub descriptors: Arc<DescriptorBudget>,
}

/// The result of a lookup.
#[derive(Debug, Clone)]
pub enum Found {
    /// A regular file.
    File(Arc<FileEntry>),
    /// No file that is served.
    NegativeEntry(Arc<NegativeEntry>),
}

/// The files and negative_cache that were found before, in all sites. A path is in one of them, or in neither.
#[derive(Debug)]
pub struct Memory {
    pub(in crate::site) files: Arc<FileCache>,
    pub(in crate::site) negative_cache: NegativeCache,
    pub(in crate::site) compressor: Compressor,
    pub(in crate::site) sidecar_verifier: SidecarVerifier,
    pub(in crate::site) verdicts: Arc<Verdicts>,
    /// The loads under way: files, and forms of files. With a form comes the file, which has the form now if
    /// there is one.
    pub(in crate::site) flights: SingleFlight<(KeptSitePath, Coding), Found>,
    /// For what takes long to load.
    pub(in crate::site) permits: JobPermits,
    pub(in crate::site) revalidators: Revalidators,
}

impl Found {
    /// When it was learnt.
    #[must_use]
    pub fn freshness(&self) -> &Freshness {
        match self {
            Found::File(entry) => &entry.freshness,
            Found::NegativeEntry(nothing) => &nothing.freshness,
        }
    }
}

impl FileStore {
    /// An empty one of the sizes in `cache`.
    #[must_use]
    pub fn new(cache: &config::Cache, descriptors: DescriptorBudget) -> FileStore {
        FileStore {
            cache: cache.clone(),
            memory: Memory::new(cache, &descriptors).map(Arc::new),
            descriptors: Arc::new(descriptors),
        }
    }
}

impl Memory {
    /// Of the size that is configured; `None` if nothing is to be remembered.
    fn new(cache: &config::Cache, descriptors: &DescriptorBudget) -> Option<Memory> {
        (cache.bytes > 0).then(|| Memory {
            files: Arc::new(FileCache::new(
                cache.bytes,
                cache.file_bytes,
                descriptors.cached_files(),
            )),
            negative_cache: NegativeCache::new(),
            compressor: Compressor::new(),
            sidecar_verifier: SidecarVerifier::default(),
            verdicts: Arc::default(),
            flights: SingleFlight::default(),
            permits: JobPermits::default(),
            revalidators: Revalidators::default(),
        })
    }

    /// Those who carry out the comparisons.
    #[must_use]
    pub fn revalidators(&self) -> &Revalidators {
        &self.revalidators
    }

    /// Returns the knowledge of a path, whatever its age.
    pub(in crate::site) fn recall(&self, key: SitePath<'_>) -> Option<Found> {
        let file = self.files.find(key).map(Found::File);
        file.or_else(|| self.negative_cache.find(key).map(Found::NegativeEntry))
    }

    /// Keeps what was loaded for `key`.
    pub(in crate::site) fn keep(
        &self,
        key: SitePath<'_>,
        loaded: Result<FileEntry, Arc<NegativeEntry>>,
    ) -> Found {
        match loaded {
            Ok(entry) => {
                let entry = Arc::new(entry);
                if !entry.representation.is_torn {
                    self.files.keep(Arc::clone(&entry));
                }
                Found::File(entry)
            }
            Err(nothing) => {
                self.negative_cache.remember(key, &nothing);
                Found::NegativeEntry(nothing)
            }
        }
    }

    /// Fills in a form that was read beside its file. If it has gone or changed, or cannot be read just
    /// now, the entry is not kept: the next request looks at all of it again.
    pub(in crate::site) fn keep_form<'e>(
        &self,
        entry: &'e Arc<FileEntry>,
        coding: Coding,
        form: Option<Representation>,
    ) -> Option<&'e Representation> {
        if form.is_none() {
            self.files.drop_stale(entry.key.site_path(), entry);
        }
        self.files.fill(entry, coding, || form)
    }
}
