//! A whole configuration under construction: from its sources to the settings, or to their errors.

use std::collections::HashSet;

use rustix::process::{Resource, getrlimit};

use super::builder::Builder;
use super::site_builder::SiteBuilder;
use super::validation_errors::ConfigError;
use crate::config::{
    ADVERTISED_MAX, Account, Config, HostConfig, HostName, ListenAddress, SocketGroup,
};

/// The name of the tables of virtual hosts.
pub(super) const HOST: &str = "host";

/// A configuration whose values have been checked one by one. [`ConfigBuilder::finish`] checks the rules
/// between them.
pub(super) struct ConfigBuilder {
    /// The global settings.
    pub general: Builder<Config>,
    /// The default site.
    pub site: SiteBuilder,
    pub hosts: Vec<HostBuilder>,
    /// The names of all of them.
    pub host_names: HashSet<HostName>,
    /// Whether the file, if there is one, was read and parsed.
    pub was_parsed: bool,
}

/// A `[[host]]` under construction.
pub(super) struct HostBuilder {
    pub names: Builder<Vec<HostName>>,
    pub site: SiteBuilder,
}

impl ConfigBuilder {
    /// A configuration of defaults.
    pub fn new() -> ConfigBuilder {
        ConfigBuilder {
            general: Builder::new(Config::default(), ""),
            site: SiteBuilder::new(),
            hosts: Vec::new(),
            host_names: HashSet::new(),
            was_parsed: true,
        }
    }

    /// Checks that this machine has the user and groups, and what [`check_paths`](ConfigBuilder::check_paths) checks.
    pub fn check_machine(&mut self) {
        if let Err(unknown) = Account::of(&self.general.settings) {
            self.general.report(unknown.key, unknown.message);
        }
        self.check_paths();
    }

    /// Checks that this machine has the directories and certificates of the sites, the group of unix sockets,
    /// and enough descriptors.
    pub fn check_paths(&mut self) {
        // An invalid key may be a misspelling of `root`, so the default root is not checked then.
        let is_right = self.general.errors.is_empty() && self.site.builder.errors.is_empty();
        if is_right || self.site.builder.has("root") {
            self.site.check_root();
        }
        let sites = self.hosts.iter_mut().map(|host| &mut host.site);
        for site in sites.filter(|site| site.builder.has("root")) {
            site.check_root();
        }
        self.site.check_certificate_files();
        for host in &mut self.hosts {
            host.site.check_certificate_files();
        }
        let group = self.general.settings.socket_group.as_mut();
        if let Some(Err(error)) = group.map(SocketGroup::look_up) {
            self.general.report("socket_group", error.to_string());
        }
        let descriptors = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        let connections = self.general.settings.limits.connections;
        if connections as u64 >= descriptors {
            let message = format!(
                "{connections} is out of range, each connection needs a file descriptor and the \
                 hard limit on them is {descriptors}"
            );
            self.general.report("limits.connections", message);
        }
    }

    /// Fills in the defaults that depend on other keys and applies the rules between keys.
    ///
    /// # Errors
    /// All errors that have been found.
    pub fn finish(mut self) -> Result<Config, ConfigError> {
        self.apply_proxy();
        self.inherit_certificates();
        self.check_combinations();
        self.check_proxy_protocol();
        self.check_admin();
        self.check_tls();
        let has_host = !self.hosts.is_empty() || self.general.errors.has_error_in(HOST);
        if self.general.settings.strict_hosts && !has_host {
            let message = "without a [[host]] no request at all would be answered";
            self.general.report("strict_hosts", message);
        }
        let (mut config, mut errors) = (self.general.settings, self.general.errors);
        config.site = self.site.finish(&mut errors);
        for host in self.hosts {
            errors.append(host.names.errors);
            config.hosts.push(HostConfig {
                names: host.names.settings,
                site: host.site.finish(&mut errors),
            });
        }
        errors.into_result(config)
    }

    /// Refuses combinations of values that are each in range.
    fn check_combinations(&mut self) {
        let Config {
            keep_alive,
            limits,
            cache,
            ..
        } = &self.general.settings;
        let idle_close_after =
            u64::from(keep_alive.timeout_secs) + u64::from(keep_alive.grace_secs);
        let (target_bytes, head_bytes) = (limits.target_bytes, limits.head_bytes);
        let (bytes, file_bytes) = (cache.bytes, cache.file_bytes);
        if idle_close_after > u64::from(ADVERTISED_MAX) {
            let message = format!(
                "keep_alive.timeout + keep_alive.grace = {idle_close_after} is out of range, it must \
                 be at most {ADVERTISED_MAX} seconds"
            );
            let names = ["keep_alive.timeout", "keep_alive.grace"];
            self.general.report_conflict(names, message);
        }
        if target_bytes > head_bytes {
            let message = format!(
                "limits.target_bytes = {target_bytes} is more than limits.head_bytes = \
                 {head_bytes}, but the target is a part of the head"
            );
            let names = ["limits.target_bytes", "limits.head_bytes"];
            self.general.report_conflict(names, message);
        }
        if bytes != 0 && file_bytes > bytes {
            let message = format!(
                "cache.file_bytes = {file_bytes} is more than cache.bytes = {bytes}, but one file \
                 must fit"
            );
            let names = ["cache.file_bytes", "cache.bytes"];
            self.general.report_conflict(names, message);
        }
    }

    /// Refuses a TCP address with the PROXY protocol if no proxy is trusted. A peer on a unix socket is
    /// trusted in any case.
    fn check_proxy_protocol(&mut self) {
        let config = &self.general.settings;
        let mut of_tcp = config
            .listen
            .iter()
            .filter(|address| address.tcp_address().is_some());
        if let Some(address) = of_tcp.find(|address| address.proxy_protocol)
            && config.trusted_proxies.is_empty()
        {
            let message = format!(
                "{address} accepts connections from trusted_proxies alone, and that list is empty, so \
                 every connection would be closed"
            );
            let names = ["listen", "trusted_proxies"];
            self.general.report_conflict(names, message);
        }
    }

    /// Refuses an admin address that other machines can reach, or on which clients are served.
    fn check_admin(&mut self) {
        let Config { admin, listen, .. } = &self.general.settings;
        let Some(address) = &admin.listen else {
            return;
        };
        let is_same = |other: &ListenAddress| other.endpoint == address.endpoint;
        if admin.is_reachable() && !admin.public {
            let message = format!(
                "{address} can be reached from other machines, and whoever reaches it can read how \
                 the server is used: write a loopback address such as 127.0.0.1:9080 or a unix \
                 socket, or set admin.public = true"
            );
            let names = ["admin.listen", "admin.public"];
            self.general.report_conflict(names, message);
        } else if address.proxy_protocol {
            let message = format!("{address} expects the PROXY protocol, which only listen does");
            self.general.report("admin.listen", message);
        } else if address.tls {
            let message = format!(
                "{address} begins with https://, but the pages of admin are sent without TLS"
            );
            self.general.report("admin.listen", message);
        } else if address.endpoint.is_exclusive() && listen.iter().any(is_same) {
            let message =
                format!("{address} is also in listen, so no client would be served there");
            self.general
                .report_conflict(["admin.listen", "listen"], message);
        }
    }

    /// Raises T above the idle limit of the proxy in front, unless T is set. The default of the drain
    /// follows T. Refuses a T that is set and is not above the limit.
    fn apply_proxy(&mut self) {
        let is_timeout_set = self.general.has("keep_alive.timeout");
        let keep_alive = &mut self.general.settings.keep_alive;
        let proxy = keep_alive.behind;
        let suitable = proxy.suitable_timeout_secs().unwrap_or_default();
        if !is_timeout_set {
            keep_alive.timeout_secs = keep_alive.timeout_secs.max(suitable);
        }
        let timeout = keep_alive.timeout_secs;
        let idle_close_after = keep_alive.idle_close_after_secs();
        if !self.general.has("shutdown.drain") {
            self.general.settings.shutdown.drain_secs = idle_close_after;
        }
        if let Some(limit) = proxy.idle_limit_secs().filter(|limit| timeout <= *limit) {
            let message = format!(
                "keep_alive.timeout = {timeout} is not above the {limit} seconds for which the \
                 proxy ({}) keeps an idle connection, so it would sometimes send a request on a \
                 connection that is just being closed, and answer 502; {suitable} is suitable",
                proxy.name().unwrap_or("keep_alive.behind"),
            );
            let names = ["keep_alive.timeout", "keep_alive.behind"];
            self.general.report_conflict(names, message);
        }
    }
}
