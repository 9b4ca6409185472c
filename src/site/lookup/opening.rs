//! The files below the root of one site: opening the root, and what every lookup needs.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::config;
use crate::config::{EtagSource, Precompressed, SiteConfig, SymlinkPolicy};
use crate::site::content::{EncodedNames, Evidence, MediaTypes};
use crate::site::disk::{DescriptorBudget, LinkPolicy, ReadLimits, Resolver, Root};
use crate::site::memory::{FileStore, LoggedNames, Memory, Revalidator, SitePath};
use crate::site::rules::{CodingPolicy, CodingRules};

/// A file is compressed only if the cache could keep this many of its size: with all its forms, each
/// smaller than itself, it must leave room for others.
const MIN_KEPT: u64 = 8;

/// Without a cache, the largest file that is read before it is sent, in bytes: that takes a millisecond.
const UNCACHED_BYTES: u64 = 1024 * 1024;

/// The largest content that is decoded, as a part of the cache: a thirty-second.
const DECODED_PART: u64 = 32;

/// The largest content that is decoded without a cache, in bytes: for each request, in a millisecond.
const UNCACHED_DECODED_BYTES: u64 = 256 * 1024;

/// The files below the root of one site.
#[derive(Debug)]
pub struct Lookup {
    pub(super) root: Root,
    pub(super) resolver: Arc<Resolver>,
    /// The site's in what all remember together.
    pub(super) number: u32,
    /// The first of the numbers that tell its paths from those of other sites there: one for each
    /// [`CodingPolicy`], and before them one for the policy of the path itself.
    pub(super) first_key: u32,
    pub(super) memory: Option<Arc<Memory>>,
    /// The budget of descriptors: a large file takes one for as long as it is open.
    pub(super) descriptors: Arc<DescriptorBudget>,
    /// Where comparisons on the root's own file system are ordered; `None` without a memory.
    pub(super) revalidator: Option<Arc<Revalidator>>,
    pub(super) index: Vec<String>,
    pub(super) has_clean_urls: bool,
    /// Whether a directory without an index is listed.
    pub(super) lists: bool,
    /// Whether there are applications of one page, which may have routes with the names of directories.
    pub(super) has_applications: bool,
    pub(super) shows_hidden: bool,
    pub(super) types: MediaTypes,
    /// The names that carry a coding.
    pub(super) encoded_names: EncodedNames,
    pub(super) limits: ReadLimits,
    pub(super) revalidate_millis: u64,
    pub(super) has_logged_outside_link: AtomicBool,
    pub(super) has_logged_large_file: AtomicBool,
    pub(super) etag: EtagSource,
    /// The evidence that a form beside a file needs; `None` if forms are not looked for there.
    pub(super) evidence: Option<Evidence>,
    /// EncodedVariants beside files that are not sent.
    pub(super) unused_forms: Arc<LoggedNames>,
    /// The largest file that forms are made of, in bytes; 0 if none are.
    pub(super) compressible_bytes: u64,
    pub(super) coding_rules: Option<CodingRules>,
    /// The largest content that is decoded of a file that is there in an encoded form only, in bytes.
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
        } = store;
        // Without a cache every request would compress.
        let compressible_bytes = if site.compress {
            cache.file_bytes.min(cache.bytes / MIN_KEPT)
        } else {
            0
        };
        // Nor does anybody read for others: what takes long is not read.
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
        descriptors.note_root(root.device());
        Ok(Lookup {
            revalidator: memory
                .as_ref()
                .map(|memory| memory.revalidators.of_root(root.device())),
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
            has_logged_outside_link: AtomicBool::new(false),
            has_logged_large_file: AtomicBool::new(false),
            etag: site.etag,
            evidence: evidence(site, cache),
            unused_forms: Arc::default(),
            compressible_bytes,
            coding_rules: CodingRules::new(&site.headers),
            decoded_bytes: most_decoded(cache.bytes),
        })
    }

    /// The policy for the file of the type `own_type` that is to be kept at `key`.
    pub(super) fn coding_policy(&self, key: SitePath<'_>, own_type: &str) -> CodingPolicy {
        let Some(rules) = &self.coding_rules else {
            return CodingPolicy::default();
        };
        let number = key.site.saturating_sub(self.first_key);
        CodingPolicy::numbered(number).unwrap_or_else(|| rules.policy(key.path, own_type, false))
    }

    /// Where `path` is kept in memory.
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

/// The evidence that a form beside a file of `site` needs; `None` if forms are not looked for there.
fn evidence(site: &SiteConfig, cache: &config::Cache) -> Option<Evidence> {
    match (site.precompressed, site.etag) {
        (Precompressed::Never, _) => None,
        (Precompressed::Always, _) => Some(Evidence::Nothing),
        // Nobody would remember a verdict.
        (Precompressed::Current, _) if cache.bytes == 0 => Some(Evidence::WholeSeconds),
        (Precompressed::Current, EtagSource::Modified) => Some(Evidence::Content),
        (Precompressed::Current, EtagSource::Content) => Some(Evidence::ContentOfAll),
    }
}
