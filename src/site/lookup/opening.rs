//! The lookup of files below the root of one site: opening the root, and the settings of each lookup.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::absence_log::AbsenceLog;
use crate::config::{self, EtagSource, Precompressed, SiteConfig, SymlinkPolicy};
use crate::site::content::{EncodedNames, MediaTypes, SidecarVerification};
use crate::site::disk::{DescriptorBudget, LinkPolicy, ReadLimits, Resolver, Root};
use crate::site::memory::{FileStore, LoggedNames, Memory, Revalidator, SitePath};
use crate::site::rules::{CodingPolicy, CodingRules};

/// A file is compressed only if the cache has room for this many files of its size. With all its
/// variants, each smaller than the file, it must leave room for others.
const MIN_KEPT: u64 = 8;

/// The largest file that is read before it is sent if there is no cache, in bytes. That takes a millisecond.
const UNCACHED_BYTES: u64 = 1024 * 1024;

/// The largest content that is decoded is one thirty-second of the cache.
const DECODED_PART: u64 = 32;

/// The largest content that is decoded if there is no cache, in bytes. Each request spends a millisecond
/// on it.
const UNCACHED_DECODED_BYTES: u64 = 256 * 1024;

/// The files below the root of one site.
#[derive(Debug)]
pub struct Lookup {
    pub(super) root: Root,
    pub(super) resolver: Arc<Resolver>,
    /// The number of the site in the memory that all sites share.
    pub(super) number: u32,
    /// The first of the numbers that tell the paths of this site from those of others. The first is for
    /// the coding policy of the path itself; the next are for one [`CodingPolicy`] each.
    pub(super) first_key: u32,
    pub(super) memory: Option<Arc<Memory>>,
    /// The budget of descriptors: a large file takes one for as long as it is open.
    pub(super) descriptors: Arc<DescriptorBudget>,
    /// The device of the root when it was opened, on which `revalidator` compares. A link may lead to a
    /// root on another device later; that one has a revalidator like any other device.
    pub(super) device: u64,
    /// The revalidator of that device; `None` without a cache.
    pub(super) revalidator: Option<Arc<Revalidator>>,
    pub(super) index: Vec<String>,
    pub(super) has_clean_urls: bool,
    /// Whether a directory without an index is listed.
    pub(super) lists: bool,
    /// Whether the site has single-page applications, whose routes may be named like directories.
    pub(super) has_applications: bool,
    pub(super) shows_hidden: bool,
    pub(super) types: MediaTypes,
    /// The file names that stand for a coding.
    pub(super) encoded_names: EncodedNames,
    pub(super) limits: ReadLimits,
    pub(super) revalidate_millis: u64,
    pub(super) absence_log: Arc<AbsenceLog>,
    pub(super) has_logged_large_file: AtomicBool,
    pub(super) etag: EtagSource,
    /// The verification that sidecars need; `None` if the site uses no sidecars.
    pub(super) sidecar_verification: Option<SidecarVerification>,
    /// The sidecars for which the log says that they are not sent.
    pub(super) unused_sidecars: Arc<LoggedNames>,
    /// The largest file that is compressed, in bytes; 0 if none are.
    pub(super) compressible_bytes: u64,
    pub(super) coding_rules: Option<CodingRules>,
    /// The largest content that is decoded of a file of which only sidecars exist, in bytes.
    pub(super) decoded_bytes: u64,
}

impl Lookup {
    /// Opens the root of `site`, which has this `number` in `store`.
    ///
    /// # Errors
    /// If the root is not a directory that can be read.
    pub fn open(site: &SiteConfig, number: u32, store: &FileStore) -> io::Result<Lookup> {
        let FileStore {
            cache,
            memory,
            descriptors,
            ..
        } = store;
        // Without a cache each request would compress.
        let compressible_bytes = if site.compress {
            cache.file_bytes.min(cache.bytes / MIN_KEPT)
        } else {
            0
        };
        // Without a cache a load serves one request only, so a large file is not read before it is sent.
        let most = if cache.bytes > 0 {
            u64::MAX
        } else {
            UNCACHED_BYTES
        };
        let limits = ReadLimits {
            memory_bytes: cache.file_bytes.min(most),
            hash_bytes: cache.hash_bytes.min(most),
        };
        let root = Root::open(&site.root)?;
        let device = root.directory().device;
        descriptors.note_root(device);
        Ok(Lookup {
            device,
            revalidator: memory
                .as_ref()
                .map(|memory| memory.revalidators.of_root(device)),
            root,
            resolver: Arc::new(
                Resolver::with_policy(match site.symlinks {
                    SymlinkPolicy::Inside => LinkPolicy::Inside,
                    SymlinkPolicy::Never => LinkPolicy::Never,
                    SymlinkPolicy::Anywhere => LinkPolicy::Anywhere,
                })
                .of_root(&site.root),
            ),
            number,
            first_key: number.saturating_mul(CodingPolicy::NUMBERS),
            memory: memory.clone(),
            descriptors: Arc::clone(descriptors),
            index: site.index.clone(),
            has_clean_urls: site.clean_urls,
            lists: site.listing,
            has_applications: !site.spa.is_empty(),
            shows_hidden: site.hidden,
            types: MediaTypes::new(&site.types, &site.default_type),
            encoded_names: EncodedNames::new(&site.encodings),
            limits,
            revalidate_millis: u64::from(cache.revalidate_secs) * 1_000,
            absence_log: Arc::default(),
            has_logged_large_file: AtomicBool::new(false),
            etag: site.etag,
            sidecar_verification: sidecar_verification(site, cache),
            unused_sidecars: Arc::default(),
            compressible_bytes,
            coding_rules: CodingRules::new(&site.headers),
            decoded_bytes: most_decoded(cache.bytes),
        })
    }

    /// The coding policy for a file of the type `own_type` that is cached under `key`.
    pub(super) fn coding_policy(&self, key: SitePath<'_>, own_type: &str) -> CodingPolicy {
        let Some(rules) = &self.coding_rules else {
            return CodingPolicy::default();
        };
        let number = key.site.saturating_sub(self.first_key);
        CodingPolicy::numbered(number).unwrap_or_else(|| rules.policy(key.path, own_type, false))
    }

    /// The key under which `path` is cached.
    pub(super) fn key<'p>(&self, path: &'p [u8]) -> SitePath<'p> {
        SitePath {
            site: self.first_key,
            path,
        }
    }
}

/// The largest content that is decoded, in bytes, with a cache of `cache_bytes`.
fn most_decoded(cache_bytes: u64) -> u64 {
    match cache_bytes {
        0 => UNCACHED_DECODED_BYTES,
        _ => cache_bytes / DECODED_PART,
    }
}

/// The verification that sidecars of `site` need; `None` if the site uses no sidecars.
fn sidecar_verification(site: &SiteConfig, cache: &config::Cache) -> Option<SidecarVerification> {
    match (site.precompressed, site.etag) {
        (Precompressed::Never, _) => None,
        (Precompressed::Always, _) => Some(SidecarVerification::NotNeeded),
        // Without a cache no verdict would be kept.
        (Precompressed::Current, _) if cache.bytes == 0 => Some(SidecarVerification::BySeconds),
        (Precompressed::Current, EtagSource::Modified) => Some(SidecarVerification::ByContent),
        (Precompressed::Current, EtagSource::Content) => Some(SidecarVerification::AlwaysByContent),
    }
}
