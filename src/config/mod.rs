//! The settings of the program, and how they are read.
//!
//! The files of this folder define the validated settings: types that the layers above use, with their
//! defaults. Nothing below the program layer sees an unvalidated value. The folder `reading` builds the
//! settings from a TOML file and the command line, reports each error with its place, and prints the
//! settings. `reading` depends on the settings; no setting depends on `reading`.
//!
//! - `settings`: [`Config`], which holds all others.
//! - `keep_alive`, `tcp_keep_alive`, `timeouts`, `limits`, `cache`, `shutdown`, `access_log`, `admin`: the
//!   sections; `advertised`: the bounds of the Keep-Alive field.
//! - `account`, `group_database`: the user and groups that the server changes to; `sandbox_mode`: whether it
//!   restricts itself.
//! - `listen`: addresses to listen on; `unix_socket`: who may connect to a unix socket; `network`: addresses
//!   of proxies; `host_name`; `cors_origin`.
//! - `proxy`: the proxies that may be in front, with their idle limits.
//! - `site`: the settings of one site; `rules`, `statuses`, `media_range`, `pattern`, `pattern_expression`,
//!   `pattern_list`, `prefix_index`, `target_template`: its rules; `single_page_apps`: its `spa`;
//!   `clean_urls`: the addresses of its pages; `hidden_names`: the paths of its `hidden`; `redirect_graph`:
//!   where its redirects lead.

mod access_log;
mod account;
mod admin;
mod advertised;
mod cache;
mod clean_urls;
mod cors_origin;
mod group_database;
mod hidden_names;
mod host_name;
mod invalid_text;
mod keep_alive;
mod limits;
mod listen;
mod media_range;
mod network;
mod pattern;
mod pattern_expression;
mod pattern_list;
mod prefix_index;
mod proxy;
mod reading;
mod redirect_graph;
mod rules;
mod sandbox_mode;
mod settings;
mod shutdown;
mod single_page_apps;
mod site;
mod statuses;
mod target_template;
mod tcp_keep_alive;
mod timeouts;
mod unix_socket;

pub use access_log::{AccessLogConfig, AccessLogFormat, AccessLogTarget};
pub use account::{Account, UnknownAccount};
pub use admin::{Admin, is_reachable};
pub use advertised::ADVERTISED_MAX;
pub use cache::Cache;
pub use clean_urls::{PAGE_SUFFIX, clean_form};
pub use cors_origin::CorsOrigin;
pub use hidden_names::has_hidden_segment;
pub use host_name::{HOST_NAME_MAX, HostName};
pub use invalid_text::InvalidText;
pub use keep_alive::{IdleClose, KeepAlive};
pub use limits::Limits;
pub use listen::{Endpoint, ListenAddress, ListenAddressError};
pub use media_range::MediaRange;
pub use network::Network;
pub use pattern::{Captures, Pattern, STARS_MAX};
pub use pattern_list::PatternList;
pub use prefix_index::PrefixIndex;
pub use proxy::Proxy;
pub use reading::{ConfigError, Flags, KeySources, ReachablePaths, Reloaded, Running};
pub use redirect_graph::RedirectGraph;
pub use rules::{FieldName, FieldValue, HeaderRule, Redirect, Rewrite};
pub use sandbox_mode::SandboxMode;
pub use settings::Config;
pub use shutdown::Shutdown;
pub use single_page_apps::SinglePageApp;
pub use site::{EtagSource, FileCoding, HostConfig, Precompressed, SiteConfig, SymlinkPolicy};
pub use statuses::{StatusRange, Statuses};
pub use target_template::{PathTemplate, TemplatePart, UriTemplate};
pub use tcp_keep_alive::TcpKeepAlive;
pub use timeouts::Timeouts;
pub use unix_socket::{SocketGroup, SocketMode};
