//! From a request to a response: which file a target names, and what is said about it.
//!
//! Nothing here knows about sockets or connections, and nothing keeps state between requests but
//! the [`cache`].

pub mod cache;
pub mod media_types;
pub mod pages;
pub mod partial;
pub mod representation;
pub mod resolve;
pub mod respond;
pub mod root;

pub use respond::Site;

/// How far a thread may go for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Memory only: nothing that may wait for a disk.
    Memory,
    /// Wherever the files are.
    Disk,
}

/// The answer is not to be had from memory alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeedsDisk;
