//! The pages that the server generates: status pages, and the HTML frame that they share with listings.

pub(super) mod document;
mod status_pages;

pub use document::escape;
pub use status_pages::{
    ALLOW_LINE, error, moved, only_encoded, redirect_to, redirect_to_slash, rejected,
    required_fields, varying_by_coding,
};
