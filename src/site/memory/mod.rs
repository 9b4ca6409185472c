//! The files that memory keeps, in all their forms, and the paths that have none.
//!
//! Each is used until it is due to be compared with the disk ([`Freshness`]). Threads of their own do what
//! no request waits for: the revalidators compare ([`Revalidator`]), the compressor makes forms of large files, and
//! the judge compares forms that lie beside a file with it.

mod all_sites;
mod cache;
mod compressor;
mod encoded_variants;
mod freshness;
mod logged_names;
mod negative_cache;
mod revalidator;
mod revalidators;
mod sidecar_verifier;
mod weighted_cache;

pub use all_sites::{FileStore, Found, Memory};
pub use cache::{FileEntry, KeptSitePath, Original, SitePath, has_dot_name};
pub use compressor::CompressionOrder;
pub use encoded_variants::{EncodedVariants, VariantState};
pub use freshness::{Freshness, FreshnessState};
pub use logged_names::LoggedNames;
pub use negative_cache::{Absence, NegativeEntry};
pub use revalidator::{
    DueRevalidation, Revalidation, Revalidator, RevalidatorRole, StaleAction, Subject,
};
#[cfg(test)]
pub(super) use revalidator::{STALE_IF_ERROR_MILLIS, STALE_WHILE_REVALIDATE_MILLIS};
pub use revalidators::{Area, Revalidators};
pub use sidecar_verifier::VerificationOrder;
pub use weighted_cache::{CacheSize, Weighs, WeightedCache};
