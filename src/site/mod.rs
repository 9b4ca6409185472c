//! From a request to a response: the file that a target names, and the response that is made of it.
//!
//! This layer knows no sockets and no connections. Between requests it keeps only [`memory`], cached
//! [`listing`]s, and fields that [`rules`] have edited.
//!
//! # Parts
//!
//! A part uses only the parts below it, and of these only the items that their `mod.rs` exports.
//! `tests/tidy` and the compiler check this.
//!
//! ```text
//!   answer    from a request to a response: the choice of the site, and the steps there
//!   lookup    from a path to the file that it names, or to the reason why there is none
//!   listing   from a directory to its listing
//!   rules     redirects, rewrites, fields, CORS, single-page applications
//!   memory    cached files, and cached paths without a file, revalidated against the disk
//!   content   media types, content codings, a file as it is sent
//!   disk      the root directory, and files below it
//!   waiting   whether a thread may block, and waiting for a load by another thread
//!   pages     pages that the server generates
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

pub use answer::{HostMatch, OpenSiteError, Site, Sites, VirtualHosts};
pub use waiting::{MayBlock, WouldBlock, WouldBlockOnDisk};
