//! From a request to a response: which file a target names, and what is said about it.
//!
//! Nothing here knows about sockets or connections, and nothing keeps state between requests but
//! the [`cache`].

pub mod cache;
pub mod content_coding;
pub mod content_tag;
mod document;
pub mod listing;
pub mod media_types;
pub mod pages;
pub mod partial;
pub mod representation;
pub mod resolve;
pub mod respond;
pub mod root;

pub use respond::Site;
