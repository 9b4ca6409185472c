//! Files below a root: opening them so that nothing outside the root is reached, reading them while others
//! may write, and telling whether they are still the ones that they were.

mod content_tag;
mod descriptors;
mod identity;
mod look;
mod memfd_body;
mod reading;
mod resolve;
mod root;

pub use content_tag::ContentHasher;
#[cfg(test)]
pub(super) use content_tag::of_bytes;
pub use descriptors::{DescriptorBudget, MAX_CACHED_FILES, OpenFile};
pub use identity::{Identity, Sighting};
pub use look::{Look, Range};
#[cfg(test)]
pub(super) use memfd_body::MIN_RESIDENT_BYTES;
pub use memfd_body::MemfdBody;
pub use reading::{ReadFile, ReadLimits, Reader};
pub use resolve::{LinkPolicy, OpenError, Resolver, SearchRoot};
pub use root::{RESOLVE_EVERY_MILLIS, Root, RootDirectory};
