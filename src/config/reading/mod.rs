//! Reading settings from a TOML file and the command line, and printing them.
//!
//! A configuration has three sources. In order of increasing precedence they are the built-in defaults
//! ([`Config::default`](super::Config::default)), a TOML file, and the command line ([`Flags`]). The
//! tables in `keys` and `site_keys` define every key once, with its range and unit. Reading a file,
//! checking a flag, suggesting a key for a misspelt one and printing the result all use those tables. So
//! a new key needs a line in a table, a field of a setting and an entry in `config.example`.
//!
//! An invalid value does not stop the reading. The error is recorded with its place, the setting keeps
//! its earlier value, and all errors are reported at the end. Rules between several keys are checked only
//! if each of these keys is valid.
//!
//! - `load`: from the sources to the settings.
//! - `value`: values as they are written; `document`: the values of a TOML file.
//! - `validation_errors`: places, errors, and the report of all errors.
//! - `kinds`: the kinds of value that keys accept, and how a value becomes a setting; `keys`: the table
//!   of the global keys; `site_keys`: the table of the keys of each site; `nearest`: suggestions for
//!   unknown keys.
//! - `builder`: settings under construction; `site_builder`: those of one site; `config_builder`: all.
//!   `key_sources`: the places of values, for errors that are found later.
//! - `file`: the keys of a file; `unknown`: errors for unknown keys; `tables`: the tables of a site, of
//!   which each one of its `rules` is a `rule_table`; `encodings`, `media_type`, `page`: values in them.
//! - `tls`: the rules between the settings of TLS.
//! - `flags`: the command line. `print`: settings as TOML.

mod builder;
mod config_builder;
mod document;
mod encodings;
mod file;
mod flags;
mod key_sources;
mod keys;
mod kinds;
mod load;
mod media_type;
mod nearest;
mod page;
mod print;
mod reload;
mod rule_table;
mod rules;
mod site_builder;
mod site_keys;
mod tables;
mod tls;
mod unknown;
mod validation_errors;
mod value;

pub use flags::Flags;
pub use key_sources::KeySources;
pub use reload::{ReachablePaths, Reloaded, Running};
pub use validation_errors::ConfigError;
