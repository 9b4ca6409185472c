//! From a request to a response: which file a target names, and what is said about it.
//!
//! Nothing here knows about sockets or connections, and nothing keeps state between requests but
//! what [`lookup`] has found: the [`cache`] of files and the [`absences`].

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
pub use waiting::reach::{NeedsDisk, OutOfReach, Reach};
