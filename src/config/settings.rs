//! Every setting of the program, in one value.

use std::sync::OnceLock;

use super::access_log::AccessLogConfig;
use super::admin::Admin;
use super::cache::Cache;
use super::keep_alive::KeepAlive;
use super::limits::Limits;
use super::listen::ListenAddress;
use super::network::Network;
use super::sandbox_mode::SandboxMode;
use super::shutdown::Shutdown;
use super::site::{HostConfig, SiteConfig};
use super::tcp_keep_alive::TcpKeepAlive;
use super::timeouts::Timeouts;
use super::unix_socket::{SocketGroup, SocketMode};

/// The most worker threads.
pub(super) const WORKERS_MAX: usize = 1024;

/// Every setting, validated.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The default site, which answers for every name that none of `hosts` has.
    pub site: SiteConfig,
    /// The virtual hosts. No name is in two of them. Default: none.
    pub hosts: Vec<HostConfig>,
    /// Whether a request for a name that none of `hosts` has, or without a name (HTTP/1.0), is refused with
    /// 421. True only if there are `hosts`. Default false.
    pub strict_hosts: bool,
    /// The proxies whose X-Forwarded-For and whose PROXY protocol are trusted. Not empty if `listen` has a
    /// TCP address with the PROXY protocol. Default: none.
    pub trusted_proxies: Vec<Network>,
    /// Where to accept; never empty. Default: `127.0.0.1:8080`.
    pub listen: Vec<ListenAddress>,
    /// Whether a site without a certificate gets one that is made in memory at the start, for localhost,
    /// 127.0.0.1 and ::1. The option `--self-signed`; no key of the file. Default false.
    pub self_signed: bool,
    /// The permissions of unix sockets. Default 0660.
    pub socket_mode: SocketMode,
    /// The group of unix sockets. Default: the group of the process.
    pub socket_group: Option<SocketGroup>,
    /// Worker threads; 1 to 1024. Default: the number of CPUs.
    pub workers: usize,
    /// Event loops, 1 to 256; the workers are divided among them.
    pub event_loops: usize,
    /// The user that the program changes to once it listens: a name, or a number. [`Account`](super::Account)
    /// looks it up. Default: none.
    pub user: Option<String>,
    /// The group that the program changes to, by name or number. Default: none, which means that of `user`.
    pub group: Option<String>,
    /// Whether the program restricts itself to its files. Default [`SandboxMode::Auto`].
    pub sandbox: SandboxMode,
    /// `[keep_alive]`: how long an idle connection is promised to stay open.
    pub keep_alive: KeepAlive,
    /// `[tcp_keep_alive]`: the probes that find peers that are gone.
    pub tcp_keep_alive: TcpKeepAlive,
    /// `[timeouts]`: time limits for sending and receiving of a peer.
    pub timeouts: Timeouts,
    /// `[limits]`: bounds on what a peer may send and on how many peers there are.
    pub limits: Limits,
    /// `[cache]`: file bodies kept in memory.
    pub cache: Cache,
    /// `[shutdown]`: the orderly stop of the server.
    pub shutdown: Shutdown,
    /// `[access_log]`: a line for each response.
    pub access_log: AccessLogConfig,
    /// `[admin]`: the listener for metrics, health checks and the status page.
    pub admin: Admin,
}

/// The number of CPUs at the first call. Later the process may be moved to other CPUs, and an unchanged file must still
/// mean the same.
fn default_workers() -> usize {
    static CPUS: OnceLock<usize> = OnceLock::new();
    *CPUS.get_or_init(|| num_cpus::get().clamp(1, WORKERS_MAX))
}

impl Default for Config {
    fn default() -> Config {
        Config {
            site: SiteConfig::default(),
            hosts: Vec::new(),
            strict_hosts: false,
            trusted_proxies: Vec::new(),
            listen: vec![ListenAddress::tcp(([127, 0, 0, 1], 8080).into())],
            self_signed: false,
            socket_mode: SocketMode::default(),
            socket_group: None,
            workers: default_workers(),
            event_loops: 1,
            user: None,
            group: None,
            sandbox: SandboxMode::default(),
            keep_alive: KeepAlive::default(),
            tcp_keep_alive: TcpKeepAlive::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            cache: Cache::default(),
            shutdown: Shutdown::default(),
            access_log: AccessLogConfig::default(),
            admin: Admin::default(),
        }
    }
}

impl Config {
    /// Warnings about settings that are valid, but break a promise to clients or name a page that does not
    /// exist at the moment.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let drain = self.shutdown.drain_secs;
        let promised = self.keep_alive.idle_close_after_secs();
        if drain < promised {
            warnings.push(format!(
                "shutdown.drain: {drain} seconds is less than keep_alive.timeout + \
                 keep_alive.grace = {promised} seconds, so a client that keeps to the advertised \
                 timeout can lose a request when the server stops"
            ));
        }
        let has_tls = self.listen.iter().any(|address| address.tls);
        if !has_tls && self.sites().any(|site| site.hsts_secs > 0) {
            warnings.push(
                "hsts: no address in listen begins with https://, so the field is never sent: it is sent over TLS \
                 only"
                    .to_owned(),
            );
        }
        for site in self.sites() {
            site.warn_of_missing_pages(&mut warnings);
        }
        warnings
    }

    /// The default site, then the sites of the hosts in order.
    pub fn sites(&self) -> impl Iterator<Item = &SiteConfig> {
        std::iter::once(&self.site).chain(self.hosts.iter().map(|host| &host.site))
    }
}
