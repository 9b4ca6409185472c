//! Validated settings. Nothing below the program layer sees an unvalidated value.
//!
//! A configuration is put together from three sources, each winning over the one before: the
//! built-in defaults ([`Config::default`]), a TOML file, and the command line ([`Flags`]).
//! The tables in `keys` and `site_keys` name every key once, with its range and unit. Reading a
//! file, checking a flag, suggesting a key for a misspelt one and printing the result all go through
//! those tables, so a new key is a new line there, a field here and an entry in `config.example`.
//!
//! - `keys`: the table of the keys that there are once; `site_keys`: of those that each site has.
//! - `kinds`: the kinds of value, and how one becomes a setting.
//! - `draft`: a configuration in the making; `site_draft`: one site of it; `origin`: where a value
//!   came from.
//! - `file`: the TOML file; `source`: the line of everything that is wrong in it; `tables`: its
//!   tables of rules.
//! - `print`: the way back.
//!
//! What is read from a text has a type of its own, which is what the upper layers see:
//!
//! - `listen`: addresses to listen on; `network`: addresses of others; `host_name`; `cors_origin`.
//! - `proxy`: what is known of proxies that may be in front.
//! - `site`: the settings of one site; `rules`, `pattern`, `first_match`, `target_template`: its rules;
//!   `applications`: its `spa`; `clean_urls`: the addresses of its pages; `trail`: where redirects lead.

mod applications;
mod clean_urls;
mod cors_origin;
mod draft;
mod encodings;
mod file;
mod first_match;
mod host_name;
mod keys;
mod kinds;
mod listen;
mod malformed;
mod media_range;
mod media_type;
mod network;
mod origin;
mod pattern;
mod print;
mod proxy;
mod rules;
mod site;
mod site_draft;
mod site_keys;
mod source;
mod statuses;
mod tables;
mod target_template;
mod trail;

use std::fmt;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

pub use applications::Application;
pub use clean_urls::{PAGE_SUFFIX, clean_form};
pub use cors_origin::CorsOrigin;
pub use draft::Flags;
pub use first_match::FirstMatch;
pub use host_name::{HOST_NAME_MAX, HostName};
pub use listen::{ListenAddress, ListenAddressError};
pub use malformed::Malformed;
pub use media_range::MediaRange;
pub use network::Network;
pub use pattern::{Captures, Pattern, STARS_MAX};
pub use proxy::Proxy;
pub use rules::{FieldName, FieldValue, HeaderRule, Redirect, Rewrite};
pub use site::{EtagSource, FileCoding, HostConfig, Precompressed, SiteConfig, SymlinkPolicy};
pub use statuses::{StatusRange, Statuses};
pub use target_template::{PathTemplate, Piece, UriTemplate};
pub use trail::Trail;

use draft::Draft;

/// The largest number of seconds or requests that is ever advertised: 2^31-1.
///
/// Clients read `timeout` and `max` of the Keep-Alive field into signed 32-bit integers.
pub const ADVERTISED_MAX: u32 = 0x7fff_ffff;

/// Every setting, validated.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The default site: it answers for every name that none of `hosts` has.
    pub site: SiteConfig,
    /// The virtual hosts. No name is in two of them. Default: none.
    pub hosts: Vec<HostConfig>,
    /// Whether a request for a name that none of `hosts` has, or for no name (HTTP/1.0), is refused with
    /// 421. Only with `hosts`. Default false.
    pub strict_hosts: bool,
    /// The proxies whose X-Forwarded-For is believed. Default: none.
    pub trusted_proxies: Vec<Network>,
    /// Where to accept; never empty. Default: `127.0.0.1:8080`.
    pub listen: Vec<ListenAddress>,
    /// Worker threads; 1 to 1024. Default: the number of CPUs.
    pub workers: usize,
    /// Event loops, 1 to 256; the workers are divided among them.
    pub event_loops: usize,
    /// `[keep_alive]`: how long an idle connection is promised to stay open.
    pub keep_alive: KeepAlive,
    /// `[tcp_keep_alive]`: the probes that find peers that are gone.
    pub tcp_keep_alive: TcpKeepAlive,
    /// `[timeouts]`: how long a peer may take over its part of an exchange.
    pub timeouts: Timeouts,
    /// `[limits]`: bounds on what a peer may send and on how many peers there are.
    pub limits: Limits,
    /// `[cache]`: file bodies kept in memory.
    pub cache: Cache,
    /// `[shutdown]`: how an orderly stop goes.
    pub shutdown: Shutdown,
    /// `[access_log]`: a line for each answer.
    pub access_log: AccessLogConfig,
}

/// `[access_log]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccessLogConfig {
    /// Where it goes; `--access-log` wins. Default: none.
    pub target: Option<AccessLogTarget>,
    /// What a line looks like. Default [`AccessLogFormat::Common`].
    pub format: AccessLogFormat,
    /// Whether each line begins with the host that was asked for, or has it as a member. Default
    /// false.
    pub host: bool,
}

/// `access_log.format`: what a line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessLogFormat {
    /// The common log format. Written `"common"`.
    #[default]
    Common,
    /// The same with Referer and User-Agent. Written `"combined"`.
    Combined,
    /// The same with what is known of the connection. Written `"extended"`.
    Extended,
    /// A JSON object. Written `"json"`.
    Json,
}

impl AccessLogFormat {
    const NAMED: [(&'static str, AccessLogFormat); 4] = [
        ("common", AccessLogFormat::Common),
        ("combined", AccessLogFormat::Combined),
        ("extended", AccessLogFormat::Extended),
        ("json", AccessLogFormat::Json),
    ];

    /// The format of that name in the configuration.
    #[must_use]
    pub fn named(name: &str) -> Option<AccessLogFormat> {
        let mut all = AccessLogFormat::NAMED.into_iter();
        all.find_map(|(known, format)| (known == name).then_some(format))
    }

    /// The name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        let mut all = AccessLogFormat::NAMED.into_iter();
        all.find_map(|(name, format)| (format == self).then_some(name))
            .unwrap_or_default()
    }
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// Standard output, written `-`.
    Stdout,
    /// A file that is appended to, and reopened on SIGUSR1.
    File(PathBuf),
}

/// `[keep_alive]`
#[derive(Debug, Clone, PartialEq)]
pub struct KeepAlive {
    /// T: seconds of idling that are promised; 1 to 2^31-1 less the default grace, and
    /// `timeout_secs + grace_secs` is at most 2^31-1. Default 120.
    pub timeout_secs: u32,
    /// Seconds beyond T before an idle connection is reaped; 1 to 2^31-2. Default 10.
    pub grace_secs: u32,
    /// Requests per connection; 1 to 2^31-1. Default 1000.
    pub max_requests: NonZeroU32,
    /// Seconds after which a connection ends with its next answer, or with that to the last complete
    /// request that it has received by then; 0 to 2^31-1, where 0 means that it may grow as old as it
    /// likes. Default 3600.
    pub max_age_secs: u32,
    /// When an idle connection is closed. Default [`IdleClose::Timeout`].
    pub close: IdleClose,
    /// The proxy in front, whose idle limit T must exceed. Default [`Proxy::None`].
    pub behind: Proxy,
    /// Whether HTTP/1.0 clients that ask may persist. Default true.
    pub http10: bool,
}

/// `keep_alive.close`: when an idle connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdleClose {
    /// At T + grace. Written `"idle"`.
    Timeout,
    /// Not before the room is needed: from 90 % of a limit on the connections, and then not before T.
    /// Peers that are gone are found by the TCP probes. Written `"pressure"`.
    Pressure,
}

/// `[tcp_keep_alive]`
#[derive(Debug, Clone, PartialEq)]
pub struct TcpKeepAlive {
    /// Seconds of silence before the first probe; 1 to 32767. Default 60.
    pub idle_secs: u32,
    /// Seconds between probes; 1 to 32767. Default 10.
    pub interval_secs: u32,
    /// Unanswered probes before the peer counts as dead; 1 to 127. Default 6.
    pub count: u32,
}

/// `[timeouts]`
#[derive(Debug, Clone, PartialEq)]
pub struct Timeouts {
    /// Seconds from the first byte of a request to the end of its head; 1 to 86400. Default 20.
    pub head_secs: u32,
    /// Seconds without progress while a request body is read; 1 to 86400. Default 20.
    pub body_secs: u32,
    /// Seconds without progress while an answer is sent; 1 to 86400. Default 30.
    pub write_secs: u32,
    /// Seconds a closed connection is drained so that its last answer survives; 1 to 60. Default 5.
    pub linger_secs: u32,
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Open connections; 0 to 16777216, where 0 means as many as the descriptor limit allows less
    /// a reserve. Default 0.
    pub connections: usize,
    /// Open connections from one IP address; 0 to 16777216, where 0 means no limit. Default 0.
    pub connections_per_ip: usize,
    /// Bits of an IPv6 address that tell one client from another for `connections_per_ip`; 1 to 128.
    /// Default 64.
    pub ipv6_prefix: u8,
    /// Bytes of the request target; 64 to `head_bytes`. Default 8192.
    pub target_bytes: usize,
    /// Bytes of the whole request head; 1024 to 1048576. Default 32768.
    pub head_bytes: usize,
    /// Field lines in a request head; 1 to 1000. Default 100.
    pub headers: usize,
    /// Bytes of a request body that are read and thrown away; 0 to 2^40. Default 1048576.
    pub body_bytes: u64,
    /// Bytes per second that a peer must move, averaged over a minute; 0 to 2^30, where 0 turns the
    /// floor off. Default 1024.
    pub min_rate: u32,
}

/// `[cache]`
#[derive(Debug, Clone, PartialEq)]
pub struct Cache {
    /// Bytes of file bodies kept in memory; 0 to 2^40, where 0 turns the cache off.
    /// Default 268435456.
    pub bytes: u64,
    /// The largest file, in bytes, that is kept in memory; 0 to `bytes` unless that is 0.
    /// Default 262144.
    pub file_bytes: u64,
    /// The largest file, in bytes, that is hashed for `etag = "content"`; 0 to 2^40. Default 1073741824.
    pub hash_bytes: u64,
    /// Seconds that a cached file is served before the file system is asked again; 0 to 3600, where
    /// 0 means that every request asks. Default 1.
    pub revalidate_secs: u32,
}

/// `[shutdown]`
#[derive(Debug, Clone, PartialEq)]
pub struct Shutdown {
    /// Seconds after SIGTERM for which new connections are still accepted; 0 to 2^31-1. Default 0.
    pub accept_for_secs: u32,
    /// Seconds after that for which TCP handshakes that have begun may complete; 0 to 60, where 0 closes
    /// the listeners at once. Default 1.
    pub handshakes_secs: u32,
    /// The path that says whether the server is to get new work: 200, or 503 from the beginning of the
    /// drain; decoded and normalised. Default: none.
    pub health: Option<String>,
    /// Seconds after `accept_for_secs` at which connections that are still open are closed; 0 to 2^31-1.
    /// Default: timeout + grace, 130 unless those are set.
    pub drain_secs: u32,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            site: SiteConfig::default(),
            hosts: Vec::new(),
            strict_hosts: false,
            trusted_proxies: Vec::new(),
            listen: vec![ListenAddress::Tcp(([127, 0, 0, 1], 8080).into())],
            workers: num_cpus::get().clamp(1, keys::WORKERS_MAX),
            event_loops: 1,
            keep_alive: KeepAlive {
                timeout_secs: 120,
                grace_secs: keys::GRACE_DEFAULT_SECS,
                max_requests: const { NonZeroU32::new(1000).unwrap() },
                max_age_secs: 3600,
                close: IdleClose::Timeout,
                behind: Proxy::None,
                http10: true,
            },
            tcp_keep_alive: TcpKeepAlive {
                idle_secs: 60,
                interval_secs: 10,
                count: 6,
            },
            timeouts: Timeouts {
                head_secs: 20,
                body_secs: 20,
                write_secs: 30,
                linger_secs: 5,
            },
            limits: Limits {
                connections: 0,
                connections_per_ip: 0,
                ipv6_prefix: 64,
                target_bytes: 8192,
                head_bytes: 32_768,
                headers: 100,
                body_bytes: 1_048_576,
                min_rate: 1024,
            },
            cache: Cache {
                bytes: 268_435_456,
                file_bytes: 262_144,
                hash_bytes: 1_073_741_824,
                revalidate_secs: 1,
            },
            shutdown: Shutdown {
                accept_for_secs: 0,
                handshakes_secs: 1,
                health: None,
                drain_secs: 130,
            },
            access_log: AccessLogConfig::default(),
        }
    }
}

impl Config {
    /// Reads a TOML file over the defaults.
    ///
    /// Looks at no other file: whether `root` exists is not checked here.
    ///
    /// # Errors
    ///
    /// The first thing in the file that is wrong, with file, line and key.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let mut draft = Draft::new();
        draft.read_file(path)?;
        draft.finish()
    }

    /// What the program runs with: defaults, then `file` if there is one, then `flags`.
    ///
    /// The roots are checked as well, so that an error can name the line or flag it came from.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, naming the file, line and key or the flag it came from; a
    /// root that is not a readable directory included.
    pub fn resolve(file: Option<&Path>, flags: &Flags) -> Result<Config, ConfigError> {
        let mut draft = Draft::new();
        if let Some(path) = file {
            draft.read_file(path)?;
        }
        draft.apply_flags(flags)?;
        draft.check_roots()?;
        draft.check_machine()?;
        draft.finish()
    }

    /// Sentences about settings that are allowed but keep a promise from being kept, or name a page
    /// that is not there at the moment.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let drain = self.shutdown.drain_secs;
        let promised = self.keep_alive.reaped_after_secs();
        if drain < promised {
            warnings.push(format!(
                "shutdown.drain: {drain} seconds is less than keep_alive.timeout + \
                 keep_alive.grace = {promised} seconds, so a client that keeps to the advertised \
                 timeout can lose a request when the server stops"
            ));
        }
        for site in self.sites() {
            site.warn_of_missing_pages(&mut warnings);
        }
        warnings
    }

    /// The configuration as a TOML file that loads back equal.
    ///
    /// What a TOML file cannot hold is lost: paths that are not UTF-8 are printed with replacement
    /// characters.
    #[must_use]
    pub fn to_toml(&self) -> String {
        print::to_toml(self)
    }

    /// The names of all keys, sections dotted, in the order of the tables: `keep_alive.timeout`.
    /// Those of the default site come first.
    pub fn key_names() -> impl Iterator<Item = &'static str> {
        keys::names()
    }

    /// The default site, then the hosts' in order.
    pub fn sites(&self) -> impl Iterator<Item = &SiteConfig> {
        std::iter::once(&self.site).chain(self.hosts.iter().map(|host| &host.site))
    }
}

impl KeepAlive {
    /// T + grace: seconds after which an idle connection is reaped; at most 2^31-1.
    #[must_use]
    pub fn reaped_after_secs(&self) -> u32 {
        self.timeout_secs.saturating_add(self.grace_secs)
    }

    /// Milliseconds after an answer at which its acknowledgement is looked at first: half of grace.
    /// Whoever acknowledged just before a later look would find nothing left of grace in the end.
    #[must_use]
    pub fn first_look_millis(&self) -> u64 {
        u64::from(self.grace_secs) * 500
    }
}

/// Why there is no configuration: one sentence that names the file, line and key, or the flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    sentence: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for ConfigError {}
