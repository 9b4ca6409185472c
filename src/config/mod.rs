//! The settings of the program, and how they are read.
//!
//! The files of this folder hold validated settings: each is a type that the layers above use, with
//! its defaults. Nothing below the program layer sees an unvalidated value. The folder `reading`
//! makes them from a TOML file and the command line, says which of the two is wrong and where, and
//! prints them. `reading` depends on the settings; no setting depends on `reading`.
//!
//! - `settings`: [`Config`], which holds all others.
//! - `keep_alive`, `tcp_keep_alive`, `timeouts`, `limits`, `cache`, `shutdown`, `access_log`: the
//!   sections; `advertised`: the bounds of the Keep-Alive field.
//! - `listen`: addresses to listen on; `network`: addresses of others; `host_name`; `cors_origin`.
//! - `proxy`: the proxies that may be in front, with their idle limits.
//! - `site`: the settings of one site; `rules`, `statuses`, `type_range`, `pattern`, `first_match`,
//!   `target_template`: its rules; `applications`: its `spa`; `clean_urls`: the addresses of its
//!   pages; `trail`: where redirects lead.

mod access_log;
mod advertised;
mod applications;
mod cache;
mod clean_urls;
mod cors_origin;
mod first_match;
mod host_name;
mod invalid_text;
mod keep_alive;
mod limits;
mod listen;
mod network;
mod pattern;
mod proxy;
mod reading;
mod rules;
mod settings;
mod shutdown;
mod site;
mod statuses;
mod target_template;
mod tcp_keep_alive;
mod timeouts;
mod trail;
mod type_range;

pub use access_log::{AccessLogConfig, AccessLogFormat, AccessLogTarget};
pub use advertised::ADVERTISED_MAX;
pub use applications::Application;
pub use cache::Cache;
pub use clean_urls::{PAGE_SUFFIX, clean_form};
pub use cors_origin::CorsOrigin;
pub use first_match::FirstMatch;
pub use host_name::{HOST_NAME_MAX, HostName};
pub use invalid_text::InvalidText;
pub use keep_alive::{IdleClose, KeepAlive};
pub use limits::Limits;
pub use listen::{ListenAddress, ListenAddressError};
pub use network::Network;
pub use pattern::{Captures, Pattern, STARS_MAX};
pub use proxy::Proxy;
pub use reading::{ConfigError, Flags};
pub use rules::{FieldName, FieldValue, HeaderRule, Redirect, Rewrite};
pub use settings::Config;
pub use shutdown::Shutdown;
pub use site::{EtagSource, FileCoding, HostConfig, Precompressed, SiteConfig, SymlinkPolicy};
pub use statuses::{StatusRange, Statuses};
pub use target_template::{PathTemplate, Piece, UriTemplate};
pub use tcp_keep_alive::TcpKeepAlive;
pub use timeouts::Timeouts;
pub use trail::Trail;
pub use type_range::TypeRange;
