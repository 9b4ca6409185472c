//! Which of a directory's listings a client gets.

use super::order::Order;

/// A form of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// For people.
    Html,
    /// For programs.
    Json,
}

/// Which of a directory's listings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Variant {
    /// The order of the entries.
    pub order: Order,
    /// The form of the page.
    pub form: Form,
}
