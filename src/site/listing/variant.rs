//! The variants of a listing, and the selection of one by a request.

use super::order::SortOrder;
use crate::http::accept_encoding::Coding;

/// The format of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListingFormat {
    /// For people.
    Html,
    /// For programs.
    Json,
}

/// A variant of the listing of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListingVariant {
    /// The order of the entries.
    pub order: SortOrder,
    /// The format of the page.
    pub format: ListingFormat,
}

/// The listing that a request selects.
#[derive(Debug, Clone, Copy)]
pub struct WantedListing<'p> {
    /// The path of the directory.
    pub path: &'p [u8],
    /// The order and the format.
    pub variant: ListingVariant,
    /// The coding that the client prefers.
    pub coding: Coding,
}
