//! Which of a directory's listings a client gets.

use super::order::SortOrder;

/// A form of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// For people.
    Html,
    /// For programs.
    Json,
}

/// Which of a directory's listings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Variant {
    /// The order of the entries.
    pub order: SortOrder,
    /// The form of the page.
    pub form: Format,
}
