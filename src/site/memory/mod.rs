//! The files that memory keeps, in all their forms, and the paths that have none.
//!
//! Each is used until it is due to be compared with the disk ([`Freshness`]). Threads of their own do what
//! no request waits for: the checkers compare ([`Checks`]), the compressor makes forms of large files, and
//! the judge compares forms that lie beside a file with it.

mod absences;
mod all_sites;
mod cache;
mod checkers;
mod checks;
mod compressor;
mod forms;
mod freshness;
mod judge;
mod logged_names;
mod weighted_cache;

pub use absences::{Absence, Nothing};
pub use all_sites::{FileStore, Found, Memory};
pub use cache::{FileEntry, KeptSitePath, Original, SitePath, has_dot_name};
pub use checkers::{Area, Checkers};
pub use checks::{Asked, CheckOrder, Checks, DueCheck, Post, Subject};
#[cfg(test)]
pub(super) use checks::{LATE_MILLIS, STALE_MILLIS};
pub use compressor::CompressionOrder;
pub use forms::{FormState, Forms};
pub use freshness::{Freshness, Trust};
pub use judge::JudgementOrder;
pub use logged_names::LoggedNames;
pub use weighted_cache::{CacheSize, Weighs, WeightedCache};
