//! Reading settings from a TOML file and the command line, and printing them.
//!
//! A configuration is put together from three sources, each winning over the one before: the
//! built-in defaults ([`Config::default`](super::Config::default)), a TOML file, and the command line
//! ([`Flags`]). The tables in `keys` and `site_keys` name every key once, with its range and unit.
//! Reading a file, checking a flag, suggesting a key for a misspelt one and printing the result all go
//! through those tables, so a new key is a new line there, a field of a setting and an entry in
//! `config.example`.
//!
//! A error ends nothing: it is noted with its place, the earlier value stays, and all are told in
//! the end. Keys are compared with each other only where none of them is wrong by itself.
//!
//! - `load`: from the sources to the settings.
//! - `value`: values as they were written; `document`: those of a TOML file.
//! - `errors`: places and messages, and the error that tells them.
//! - `kinds`: the kinds of value that keys take, and how one becomes a setting; `keys`: the table of the
//!   keys that there are once; `site_keys`: of those that each site has; `nearest`: the one that was
//!   meant.
//! - `builder`: settings in the making; `site_builder`: one site of them; `config_builder`: all.
//! - `file`: the keys of a file, `unknown` or not; `tables`: the tables of a site, of which those of
//!   its `rules` are each a `rule_table`; `encodings`, `media_type`, `page`: values in them.
//! - `flags`: the command line. `print`: the way back.

mod builder;
mod config_builder;
mod document;
mod encodings;
mod file;
mod flags;
mod keys;
mod kinds;
mod load;
mod media_type;
mod nearest;
mod page;
mod print;
mod rule_table;
mod rules;
mod site_builder;
mod site_keys;
mod tables;
mod unknown;
mod validation_errors;
mod value;

pub use flags::Flags;
pub use validation_errors::ConfigError;
