//! From a path to the file that it names and the variant that the client gets, or to the reason why
//! there is none.
//!
//! [`Lookup::find`] asks memory first. It uses the disk if the calling thread may block.

mod absence_log;
mod cached;
mod directories;
mod files;
mod find;
mod listed;
mod loading;
mod mount_scope;
mod names;
mod negotiation;
mod opening;
mod ranges;
mod revalidation;
mod sidecar_only;
#[cfg(test)]
mod tests;

pub use find::RewrittenPath;
pub use opening::Lookup;
