//! From a request to a response: which file a target names, and what is said about it.
//!
//! Nothing here knows about sockets or connections, and nothing keeps state between requests but
//! what [`lookup`] has found: the [`cache`] of files and the [`absences`].

pub mod absences;
pub mod applications;
pub mod cache;
pub mod checkers;
pub mod checks;
pub mod coding_policy;
pub mod comparison;
pub mod compressor;
pub mod content_coding;
pub mod content_tag;
pub mod cors;
pub mod decoding;
pub mod descriptors;
mod document;
pub mod edited_fields;
pub mod encoded_names;
pub mod encoder;
pub mod errand;
pub mod field_editor;
pub mod forms;
pub mod freshness;
pub mod header_rules;
pub mod health;
pub mod hosts;
pub mod identity;
pub mod job;
pub mod judge;
pub mod listing;
pub mod logged_names;
pub mod look;
pub mod lookup;
pub mod media_types;
mod methods;
pub mod pages;
pub mod partial;
pub mod reach;
pub mod reading;
pub mod redirects;
pub mod remarks;
pub mod representation;
pub mod resident;
pub mod resolve;
pub mod respond;
pub mod root;
pub mod rules;
pub mod siblings;
pub mod site_path;
pub mod sites;
pub mod verdicts;

pub use reach::{NeedsDisk, OutOfReach, Reach};
pub use respond::Site;
pub use sites::Sites;
