//! A path's file, or the knowledge that it has none.

use std::sync::Arc;

use super::absences::Nothing;
use super::cache::FileEntry;
use super::freshness::Freshness;

/// What a path names.
#[derive(Debug, Clone)]
pub enum Found {
    /// A regular file.
    File(Arc<FileEntry>),
    /// No file that is served.
    Nothing(Arc<Nothing>),
}

impl Found {
    /// When it was learnt.
    #[must_use]
    pub fn freshness(&self) -> &Freshness {
        match self {
            Found::File(entry) => &entry.freshness,
            Found::Nothing(nothing) => &nothing.freshness,
        }
    }
}
