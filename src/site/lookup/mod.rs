//! From a path to the file that it names, and to the form of it that a client gets, or to why there is none.
//!
//! [`Lookup::find`] asks memory first, and the disk if that is in may_block.

mod alone;
mod bounded;
mod checked;
mod encoded;
mod files;
mod find;
mod listed;
mod loading;
mod names;
mod opening;
mod ranged;
#[cfg(test)]
mod tests;

pub use find::LedTo;
pub use opening::Lookup;
