//! The caches: files with their variants, and paths without a file.
//!
//! An entry is used until it is stale and must be compared with the disk ([`Freshness`]). Background threads
//! do the work that no request waits for: the revalidators compare entries with the disk ([`Revalidator`]),
//! the compressor compresses large files, and the sidecar verifier compares sidecars with their files.

mod all_sites;
mod cache;
mod compressor;
mod directories;
mod encoded_variants;
mod freshness;
mod logged_names;
mod lookup_counts;
mod negative_cache;
mod newcomers;
mod revalidator;
mod revalidators;
mod sidecar_verifier;
mod site_path;
mod weighted_cache;

pub use all_sites::{FileStore, LookupResult, Memory};
pub use cache::{FileEntry, OriginalState};
pub use compressor::CompressionOrder;
pub use directories::{DirectoryCache, DirectoryEntry};
pub use encoded_variants::{EncodedVariants, VariantState};
pub use freshness::{Freshness, FreshnessState};
pub use logged_names::LoggedNames;
pub use lookup_counts::{LookupCounts, LookupKind, LookupTotals};
pub use negative_cache::{Absence, NegativeEntry};
pub use revalidator::{
    DueRevalidation, Revalidation, RevalidationSubject, Revalidator, RevalidatorRole, StaleAction,
};
#[cfg(test)]
pub(super) use revalidator::{STALE_IF_ERROR_MILLIS, STALE_WHILE_REVALIDATE_MILLIS};
pub use revalidators::{FailureDomain, Revalidators};
pub use sidecar_verifier::VerificationOrder;
pub use site_path::{KeptSitePath, SitePath};
pub use weighted_cache::{CacheSize, HasWeight, WeightedCache};
