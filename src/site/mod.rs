//! From a request to a response: which file a target names, and what is said about it.
//!
//! Nothing here knows about sockets or connections, and nothing keeps state between requests but
//! [`memory`], the [`listing`]s that are kept, and fields that [`rules`] have edited.
//!
//! # Parts
//!
//! A part uses only those below it, and of these only what their `mod.rs` names; `tests/tidy` and
//! the compiler hold that.
//!
//! ```text
//!   answer    a request to a response: which site, and the steps there
//!   lookup    a path to the file that it names, or to why there is none
//!   listing   a directory to its listing
//!   rules     redirects, rewrites, fields, CORS, applications of one page
//!   memory    files that were found, and paths without one, until they are compared with the disk
//!   content   media types, content codings, a file as it is sent
//!   disk      the root, and files below it
//!   waiting   how far an answer may go, and waiting for what another thread gets from the disk
//!   pages     pages that the server writes itself
//! ```

pub mod answer;
pub mod content;
pub mod disk;
pub mod listing;
pub mod lookup;
pub mod memory;
pub mod pages;
pub mod rules;
pub mod waiting;

pub use answer::{Site, Sites};
pub use waiting::{MayBlock, WouldBlock, WouldBlockOnDisk};
