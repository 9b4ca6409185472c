//! Reading the configuration again while the server runs.

use std::fs;
use std::path::{Path, PathBuf};

use super::config_builder::ConfigBuilder;
use super::flags::Flags;
use super::key_sources::KeySources;
use super::keys;
use super::site_builder::{CERTIFICATE, KEY, SiteBuilder};
use super::validation_errors::{ConfigError, ValueSource};
use crate::config::{AccessLogTarget, Config, Endpoint, SymlinkPolicy};

/// The keys whose changes take effect by a restart only.
const RESTART_KEYS: [&str; 7] = [
    "workers",
    "event_loops",
    "user",
    "group",
    "sandbox",
    "admin.listen",
    "admin.public",
];

/// The server that a new configuration has to fit.
#[derive(Debug, Clone, Copy)]
pub struct Running<'a> {
    /// The configuration in force.
    pub config: &'a Config,
    /// The most connections that the server can have without a restart.
    pub most_connections: usize,
}

/// The paths that a running server can reach. A sandbox never widens.
pub trait ReachablePaths {
    /// Whether the directory `root` can be served.
    fn allows_root(&self, root: &Path) -> bool;

    /// Whether the file at `path` can be read.
    fn allows_file(&self, path: &Path) -> bool;

    /// Whether the access log at `path` can be written.
    fn allows_log(&self, path: &Path) -> bool;

    /// Whether a unix socket at `path` can be made and removed.
    fn allows_socket(&self, path: &Path) -> bool;
}

/// A configuration, and the place of each of its values.
#[derive(Debug)]
pub struct Reloaded {
    /// The settings.
    pub config: Config,
    /// The places of the values, for later errors.
    pub sources: KeySources,
}

/// Refuses a file that may block its reader, or have no end.
fn check_regular(file: &Path) -> Result<(), ConfigError> {
    // A file that is missing is refused when it is opened.
    let is_regular = fs::metadata(file).map_or(true, |found| found.is_file());
    let name = file.display().to_string();
    let error = ValueSource::Default.error(name, "it is no regular file");
    is_regular
        .then_some(())
        .ok_or_else(|| ConfigError::of(&error))
}

impl Config {
    /// As [`resolve`](Config::resolve), for a server that is `running` and can reach `paths`.
    ///
    /// # Errors
    /// As for [`resolve`](Config::resolve). A changed value that needs a restart is an error too.
    pub fn resolve_again(
        running: Running<'_>,
        paths: &dyn ReachablePaths,
        file: Option<&Path>,
        flags: &Flags,
    ) -> Result<Reloaded, ConfigError> {
        if let Some(file) = file {
            check_regular(file)?;
        }
        let mut builder = ConfigBuilder::read(file, flags);
        builder.check_restart_keys(running);
        builder.check_reachable(paths);
        builder.keep_socket_group(running.config);
        // The account cannot change, and its databases may be out of reach.
        builder.check_paths();
        let sources = builder.sources();
        let config = builder.finish()?;
        Ok(Reloaded { config, sources })
    }
}

impl Config {
    /// The first change from this configuration to `new` that needs a restart: its key, and a sentence. The running
    /// server can have at most `most_connections`.
    #[must_use]
    pub fn restart_reason(
        &self,
        new: &Config,
        most_connections: usize,
    ) -> Option<(&'static str, String)> {
        self.restart_reasons(new, most_connections)
            .into_iter()
            .next()
    }

    fn restart_reasons(
        &self,
        new: &Config,
        most_connections: usize,
    ) -> Vec<(&'static str, String)> {
        let mut reasons = Vec::new();
        for key in RESTART_KEYS.into_iter().filter_map(keys::named) {
            let (before, after) = ((key.read)(self), (key.read)(new));
            if before != after {
                let message = format!("a change from {before} to {after} needs a restart");
                reasons.push((key.name, message));
            }
        }
        let wanted = new.limits.connections;
        if wanted > most_connections {
            let message = format!(
                "{wanted} connections need a restart with a higher limit on file descriptors, which now \
                 allows {most_connections}"
            );
            reasons.push(("limits.connections", message));
        }
        reasons
    }
}

impl ConfigBuilder {
    /// Refuses paths that the server can only reach after a restart.
    fn check_reachable(&mut self, paths: &dyn ReachablePaths) {
        const OUTSIDE: &str = "is outside of the sandbox, which a restart makes anew";
        let hosts = self.hosts.iter_mut().map(|host| &mut host.site);
        for SiteBuilder { builder, .. } in std::iter::once(&mut self.site).chain(hosts) {
            let settings = &builder.settings;
            let mut outside = Vec::new();
            if !paths.allows_root(&settings.root) {
                outside.push(("root", settings.root.clone()));
            }
            for (key, file) in [(CERTIFICATE, &settings.certificate), (KEY, &settings.key)] {
                let is_outside = |file: &&PathBuf| !paths.allows_file(file);
                outside.extend(
                    file.as_ref()
                        .filter(is_outside)
                        .map(|file| (key, file.clone())),
                );
            }
            // One that does not exist is refused as such.
            for (key, path) in outside.into_iter().filter(|(_, path)| path.exists()) {
                builder.report(key, format!("{} {OUTSIDE}", path.display()));
            }
        }
        self.check_reachable_links(paths);
        if let Some(AccessLogTarget::File(path)) = &self.general.settings.access_log.target
            && !paths.allows_log(path)
        {
            let message = format!("{} {OUTSIDE}", path.display());
            self.general.report("access_log.path", message);
        }
        for address in self.general.settings.listen.clone() {
            if let Endpoint::Unix(path) = &address.endpoint
                && !paths.allows_socket(path)
            {
                let message = format!("{address} {OUTSIDE}");
                self.general.report("listen", message);
            }
        }
    }

    /// Refuses links to all files, unless the server can reach these.
    fn check_reachable_links(&mut self, paths: &dyn ReachablePaths) {
        const KEY: &str = "symlinks";
        if paths.allows_root(Path::new("/")) {
            return;
        }
        let inherited = self.site.builder.source(KEY).clone();
        let is_own = |host: &&mut SiteBuilder| *host.builder.source(KEY) != inherited;
        let hosts = self.hosts.iter_mut().map(|host| &mut host.site);
        for site in std::iter::once(&mut self.site).chain(hosts.filter(is_own)) {
            if site.builder.settings.symlinks == SymlinkPolicy::Anywhere {
                let message =
                    "links to any file lead outside of the sandbox, which a restart makes anew";
                site.builder.report(KEY, message);
            }
        }
    }

    /// Keeps the number of the group of unix sockets if its name stays: the names may be out of reach.
    fn keep_socket_group(&mut self, running: &Config) {
        let group = &mut self.general.settings.socket_group;
        if *group == running.socket_group {
            group.clone_from(&running.socket_group);
        }
    }

    /// Refuses changes that need a restart. If the text of the file cannot be parsed, what it says is not known.
    fn check_restart_keys(&mut self, running: Running<'_>) {
        if !self.was_parsed {
            return;
        }
        let settings = &self.general.settings;
        let reasons = running
            .config
            .restart_reasons(settings, running.most_connections);
        for (name, message) in reasons {
            if !self.general.is_invalid(name) {
                self.general.report(name, message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Paths below one directory.
    struct Below<'a>(&'a Path);

    impl ReachablePaths for Below<'_> {
        fn allows_root(&self, root: &Path) -> bool {
            root.starts_with(self.0)
        }

        fn allows_file(&self, path: &Path) -> bool {
            path.starts_with(self.0)
        }

        fn allows_log(&self, path: &Path) -> bool {
            path.starts_with(self.0)
        }

        fn allows_socket(&self, path: &Path) -> bool {
            path.starts_with(self.0)
        }
    }

    /// Settings of a server with two workers that need a restart, each with the beginning of its error.
    const REFUSED: [(&str, &str); 8] = [
        (
            "workers = 2\n[[host]]\nname = ['a']\nroot = '/'",
            "abide.toml:4: host.root: / is outside",
        ),
        (
            "workers = 2\naccess_log.path = '/log'",
            "abide.toml:2: access_log.path: /log is outside",
        ),
        (
            "workers = 2\ncertificate = '/etc/hosts'\nkey = 'key.pem'",
            "abide.toml:2: certificate: /etc/hosts is outside",
        ),
        (
            "workers = 2\n[[host]]\nname = ['a']\nkey = '/etc/hosts'",
            "abide.toml:4: host.key: /etc/hosts is outside",
        ),
        (
            "workers = 2\nlisten = ['unix:/a.sock']",
            "abide.toml:2: listen: unix:/a.sock is outside",
        ),
        (
            "workers = 2\nsymlinks = 'anywhere'",
            "abide.toml:2: symlinks: links to any file lead outside",
        ),
        (
            "workers = 2\n[[host]]\nname = ['a']\nsymlinks = 'anywhere'",
            "abide.toml:4: host.symlinks: links to any file lead outside",
        ),
        (
            "workers = 2\nuser = 'a'",
            "abide.toml:2: user: a change from",
        ),
    ];

    #[test]
    fn a_change_that_needs_a_restart_is_refused_at_its_line() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("abide.toml");
        let flags = Flags {
            root: Some(directory.path().to_owned()),
            ..Flags::default()
        };
        let running = Config {
            workers: 2,
            ..Config::default()
        };
        let paths = Below(directory.path());
        let again = |text: &str| {
            std::fs::write(&file, text).unwrap();
            let running = Running {
                config: &running,
                most_connections: 100,
            };
            let reloaded = Config::resolve_again(running, &paths, Some(&file), &flags);
            reloaded.map_err(|error| error.to_string())
        };
        let text = "keep_alive.timeout = 5\nworkers = 3\nlimits.connections = 101";
        let error = again(text).unwrap_err();
        assert!(error.contains("abide.toml:2: workers: a change from 2 to 3 needs a restart"));
        assert!(error.contains("abide.toml:3: limits.connections: 101 connections need a restart"));
        for (text, refused) in REFUSED {
            let error = again(text).unwrap_err();
            assert!(error.contains(refused), "{error}");
        }
        // A host that has the policy from the site adds no error of its own.
        let inherited = "workers = 2\nsymlinks = 'anywhere'\n[[host]]\nname = ['a']\nroot = 'a'";
        assert!(!again(inherited).unwrap_err().contains("host.symlinks"));
        let text = "workers = 2\nlimits.connections = 100\nlisten = ['127.0.0.1:0']";
        let reloaded = again(text).unwrap();
        assert_eq!(reloaded.config.limits.connections, 100);
        let refused = reloaded.sources.error("listen", "in use").to_string();
        assert!(
            refused.contains("abide.toml:3: listen: in use"),
            "{refused}"
        );
    }
}
