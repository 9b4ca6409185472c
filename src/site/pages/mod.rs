//! The pages that the server writes itself: small ones that say what went wrong, and the frame of HTML that
//! these have in common with listings.

pub(super) mod document;
mod status_pages;

pub use status_pages::{
    ALLOW_LINE, error, moved, only_encoded, redirect_to, redirect_to_slash, rejected,
    required_fields, varying_by_coding,
};
