//! Which of a directory's listings a client gets.

use super::order::SortOrder;
use crate::http::accept_encoding::Coding;

/// A form of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListingFormat {
    /// For people.
    Html,
    /// For programs.
    Json,
}

/// Which of a directory's listings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListingVariant {
    /// The order of the entries.
    pub order: SortOrder,
    /// The form of the page.
    pub format: ListingFormat,
}

/// The listing that a client is to get.
#[derive(Debug, Clone, Copy)]
pub struct WantedListing<'p> {
    /// The path of the directory.
    pub path: &'p [u8],
    /// Which of its listings.
    pub variant: ListingVariant,
    /// The coding that the client likes best.
    pub coding: Coding,
}
