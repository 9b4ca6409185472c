//! Files on the disk: the root that they are below, opening them so that nothing outside it is reached,
//! whether they are still the ones that they were, and reading them.

pub mod content_tag;
pub mod descriptors;
pub mod identity;
pub mod look;
pub mod reading;
pub mod resident;
pub mod resolve;
pub mod root;
