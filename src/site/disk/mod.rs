//! Files below a root: opening them without leaving the root, reading them while other processes may
//! write, and detecting changes.

mod content_tag;
mod deferred_close;
mod descriptors;
mod identity;
mod memfd_body;
mod name;
mod path_probe;
mod reading;
mod resolve;
mod root;
mod search_root;

pub use content_tag::ContentHasher;
#[cfg(test)]
pub(super) use content_tag::of_bytes;
pub use descriptors::{DescriptorBudget, MAX_CACHED_FILES, OpenFile};
pub use identity::{Identity, IdentitySnapshot};
#[cfg(test)]
pub(super) use memfd_body::MIN_MEMFD_BYTES;
pub use memfd_body::{HUGE_PAGES_SETTING, MemfdBody};
pub use name::Name;
pub use path_probe::{PathProbe, ProbeScope};
pub use reading::{ConsistentReader, ReadFile, ReadLimits};
pub use resolve::{LinkPolicy, OpenError, Resolver};
pub use root::{AccessTimes, CachedAccessKind, RESOLVE_EVERY_MILLIS, Root, RootDirectory};
pub use search_root::{OpenedFile, SearchRoot};
