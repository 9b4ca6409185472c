//! Reading settings and printing them.

mod applications;
mod draft;
mod encodings;
mod file;
mod keys;
mod kinds;
mod media_type;
mod mistakes;
mod nearest;
mod page;
mod print;
mod scope;
mod site_draft;
mod site_keys;
mod source;
mod tables;

pub use draft::Flags;
pub use mistakes::ConfigError;
