//! A configuration in the making. It remembers where each value came from, so that a value that
//! turns out to be wrong, alone or together with another, is blamed on the right line or flag.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

use super::keys;
use super::kinds::{Given, Item, Key, Value};
use super::mistakes::{ConfigError, Origin};
use super::site_draft::SiteDraft;
use crate::config::{ADVERTISED_MAX, AccessLogTarget, Config, HostConfig, HostName};

/// What the command line says, as it was written: the values are checked with the file's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// The positional ROOT.
    pub root: Option<PathBuf>,
    /// `--listen`, each of them. If there are any, they replace the file's list.
    pub listen: Vec<String>,
    /// `--workers`
    pub workers: Option<String>,
    /// `--keep-alive-timeout`, in seconds.
    pub keep_alive_timeout: Option<String>,
    /// `--max-requests`
    pub max_requests: Option<String>,
    /// `--access-log`: a path, or `-` for standard output.
    pub access_log: Option<PathBuf>,
}

/// A configuration whose single values are in range; [`Draft::finish`] looks at them together.
pub(super) struct Draft {
    /// What no site has for itself.
    config: Config,
    /// By the name of the key. What is missing has its default.
    origins: BTreeMap<&'static str, Origin>,
    /// The default site.
    pub site: SiteDraft,
    pub hosts: Vec<HostDraft>,
}

/// A `[[host]]`.
pub(super) struct HostDraft {
    pub names: Vec<HostName>,
    pub site: SiteDraft,
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
}

impl Draft {
    /// The defaults.
    pub fn new() -> Draft {
        Draft {
            config: Config::default(),
            origins: BTreeMap::new(),
            site: SiteDraft::new(),
            hosts: Vec::new(),
        }
    }

    /// Lets the command line win over what is there.
    pub fn apply_flags(&mut self, flags: &Flags) -> Result<(), ConfigError> {
        for (flag, name, text) in [
            ("--workers", "workers", &flags.workers),
            (
                "--keep-alive-timeout",
                "keep_alive.timeout",
                &flags.keep_alive_timeout,
            ),
            (
                "--max-requests",
                "keep_alive.max_requests",
                &flags.max_requests,
            ),
        ] {
            if let (Some(text), Some(key)) = (text, keys::named(name)) {
                self.set_integer_text(key, text, Origin::Flag(flag))?;
            }
        }
        if let Some(path) = &flags.root {
            let origin = Origin::Flag("ROOT");
            if path.as_os_str().is_empty() {
                return Err(origin.blame("root", "the path is empty, it must name a directory"));
            }
            // Not through the table: it need not be UTF-8.
            self.site.settings.root = path.clone();
            self.site.remember("root", origin);
        }
        if let (false, Some(key)) = (flags.listen.is_empty(), keys::named("listen")) {
            let origin = Origin::Flag("--listen");
            let item = |text| Item::text(text, origin.clone());
            let items = flags.listen.iter().map(|text| item(text.as_str()));
            let value = Value {
                given: Given::List(items.collect()),
                written: flags.listen.join(" "),
                described: "a list".to_owned(),
                origin: origin.clone(),
            };
            self.set(key, &value)?;
        }
        if let Some(path) = &flags.access_log {
            if path.as_os_str().is_empty() {
                let complaint = "the path is empty, it must be a file or - for standard output";
                return Err(Origin::Flag("--access-log").blame("", complaint));
            }
            self.config.access_log.target = Some(match path.to_str() {
                Some("-") => AccessLogTarget::Stdout,
                _ => AccessLogTarget::File(path.clone()),
            });
        }
        Ok(())
    }

    /// Sets a whole number that was written in decimal on the command line.
    fn set_integer_text(
        &mut self,
        key: &'static Key<Config>,
        text: &str,
        origin: Origin,
    ) -> Result<(), ConfigError> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let complaint = format!("{text:?} is not a number, it must be {}", key.expectation());
            return Err(origin.blame(key.name, &complaint));
        }
        let value = Value {
            given: Given::Integer(text.parse().ok()),
            written: text.to_owned(),
            described: format!("the number {text}"),
            origin,
        };
        self.set(key, &value)
    }

    /// Sets one key that no site has for itself.
    pub fn set(&mut self, key: &'static Key<Config>, value: &Value<'_>) -> Result<(), ConfigError> {
        key.set(&mut self.config, key.name, value)?;
        self.origins.insert(key.name, value.origin.clone());
        Ok(())
    }

    /// Looks whether each root is a directory that can be read.
    pub fn check_roots(&self) -> Result<(), ConfigError> {
        self.site.check_root()?;
        self.hosts
            .iter()
            .try_for_each(|host| host.site.check_root())
    }

    /// Fills in the defaults that depend on other keys and applies the rules between keys.
    pub fn finish(mut self) -> Result<Config, ConfigError> {
        self.heed_proxy()?;
        self.finish_sites()?;
        let keep_alive = &self.config.keep_alive;
        let reaped_after = u64::from(keep_alive.timeout_secs) + u64::from(keep_alive.grace_secs);
        if reaped_after > u64::from(ADVERTISED_MAX) {
            let complaint = format!(
                "keep_alive.timeout + keep_alive.grace = {reaped_after} is out of range, it must \
                 be at most {ADVERTISED_MAX} seconds"
            );
            return Err(self.conflict(["keep_alive.timeout", "keep_alive.grace"], &complaint));
        }
        let limits = &self.config.limits;
        if limits.target_bytes > limits.head_bytes {
            let complaint = format!(
                "limits.target_bytes = {} is more than limits.head_bytes = {}, but the target is \
                 a part of the head",
                limits.target_bytes, limits.head_bytes
            );
            return Err(self.conflict(["limits.target_bytes", "limits.head_bytes"], &complaint));
        }
        let cache = &self.config.cache;
        if cache.bytes != 0 && cache.file_bytes > cache.bytes {
            let complaint = format!(
                "cache.file_bytes = {} is more than cache.bytes = {}, but one file must fit",
                cache.file_bytes, cache.bytes
            );
            return Err(self.conflict(["cache.file_bytes", "cache.bytes"], &complaint));
        }
        if !self.origins.contains_key("shutdown.drain") {
            self.config.shutdown.drain_secs = self.config.keep_alive.reaped_after_secs();
        }
        Ok(self.config)
    }

    fn finish_sites(&mut self) -> Result<(), ConfigError> {
        self.config.site = self.site.finish()?;
        for host in &self.hosts {
            self.config.hosts.push(HostConfig {
                names: host.names.clone(),
                site: host.site.finish()?,
            });
        }
        if self.config.strict_hosts && self.config.hosts.is_empty() {
            let name = "strict_hosts";
            let complaint = "without a [[host]] no request at all would be answered";
            return Err(self.origin(name).blame(name, complaint));
        }
        Ok(())
    }

    /// Raises T above the idle limit of the proxy in front; refuses one that was set below it.
    fn heed_proxy(&mut self) -> Result<(), ConfigError> {
        let keep_alive = &mut self.config.keep_alive;
        let proxy = keep_alive.behind;
        let (Some(limit), Some(suitable)) =
            (proxy.idle_limit_secs(), proxy.suitable_timeout_secs())
        else {
            return Ok(());
        };
        if !self.origins.contains_key("keep_alive.timeout") {
            keep_alive.timeout_secs = keep_alive.timeout_secs.max(suitable);
            return Ok(());
        }
        let timeout = keep_alive.timeout_secs;
        if timeout > limit {
            return Ok(());
        }
        let complaint = format!(
            "keep_alive.timeout = {timeout} is not above the {limit} seconds for which the proxy \
             ({}) keeps an idle connection, so it would now and then send a request on a connection \
             that is just being closed, and answer 502; {suitable} is suitable",
            proxy.name().unwrap_or("keep_alive.behind"),
        );
        Err(self.conflict(["keep_alive.timeout", "keep_alive.behind"], &complaint))
    }

    /// Looks at what this machine allows, which no range in a table can know.
    pub fn check_machine(&self) -> Result<(), ConfigError> {
        let descriptors = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        if self.config.limits.connections as u64 >= descriptors {
            let complaint = format!(
                "{} is out of range, each connection needs a file descriptor and the hard limit on \
                 them is {descriptors}",
                self.config.limits.connections
            );
            let name = "limits.connections";
            return Err(self.origin(name).blame(name, &complaint));
        }
        Ok(())
    }

    /// Blames two keys that do not go together on the one that was set later.
    fn conflict(&self, names: [&str; 2], complaint: &str) -> ConfigError {
        let [first, second] = names.map(|name| (self.origin(name), name));
        let (origin, name) = first.max(second);
        origin.blame(name, complaint)
    }

    fn origin(&self, name: &str) -> &Origin {
        self.origins.get(name).unwrap_or(&Origin::Default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    /// A directory with a configuration file in it.
    struct Site {
        directory: TempDir,
    }

    impl Site {
        fn new(text: &str) -> Site {
            let directory = TempDir::new().unwrap();
            fs::write(directory.path().join("abide.toml"), text).unwrap();
            Site { directory }
        }

        fn file(&self) -> PathBuf {
            self.directory.path().join("abide.toml")
        }

        /// Flags that name a root that exists.
        fn flags(&self) -> Flags {
            Flags {
                root: Some(self.directory.path().to_owned()),
                ..Flags::default()
            }
        }

        fn refusal(&self, flags: &Flags) -> String {
            Config::resolve(Some(&self.file()), flags)
                .unwrap_err()
                .to_string()
        }
    }

    #[test]
    fn flags_win_over_the_file() {
        let site = Site::new(
            "root = 'no/such'\nlisten = ['[::1]:1', '[::1]:2']\nworkers = 2\n\
             keep_alive = { timeout = 30, max_requests = 9, grace = 3 }",
        );
        let flags = Flags {
            listen: vec!["127.0.0.1:0".to_owned()],
            workers: Some("5".to_owned()),
            keep_alive_timeout: Some("60".to_owned()),
            max_requests: Some("20".to_owned()),
            access_log: Some("access.log".into()),
            ..site.flags()
        };
        let config = Config::resolve(Some(&site.file()), &flags).unwrap();
        assert_eq!(config.site.root, site.directory.path());
        assert_eq!(config.listen, ["127.0.0.1:0".parse().unwrap()]);
        assert_eq!(config.workers, 5);
        assert_eq!(config.keep_alive.timeout_secs, 60);
        assert_eq!(config.keep_alive.grace_secs, 3);
        assert_eq!(config.keep_alive.max_requests.get(), 20);
        assert_eq!(
            config.access_log.target,
            Some(AccessLogTarget::File("access.log".into()))
        );
    }

    #[test]
    fn the_drain_follows_the_timeout_flag_unless_the_file_sets_it() {
        for (text, drain_secs) in [("keep_alive.grace = 3", 63), ("shutdown.drain = 7", 7)] {
            let site = Site::new(text);
            let flags = Flags {
                keep_alive_timeout: Some("60".to_owned()),
                ..site.flags()
            };
            let config = Config::resolve(Some(&site.file()), &flags).unwrap();
            assert_eq!(config.shutdown.drain_secs, drain_secs, "{text}");
        }
    }

    #[test]
    fn a_flag_that_conflicts_with_the_file_is_named() {
        let site = Site::new("keep_alive.grace = 11");
        let flags = Flags {
            keep_alive_timeout: Some("2147483637".to_owned()),
            ..site.flags()
        };
        let error = site.refusal(&flags);
        assert!(
            error.starts_with("--keep-alive-timeout: keep_alive.timeout + "),
            "{error}"
        );
    }

    #[test]
    fn an_access_log_needs_a_path() {
        let flags = Flags {
            access_log: Some("".into()),
            ..Site::new("").flags()
        };
        assert_eq!(
            Config::resolve(None, &flags).unwrap_err().to_string(),
            "--access-log: the path is empty, it must be a file or - for standard output"
        );
    }

    #[test]
    fn a_root_that_is_no_directory_is_refused_where_it_was_named() {
        let site = Site::new("\nroot = 'no/such/directory'");
        let error = site.refusal(&Flags::default());
        assert!(
            error.contains("abide.toml:2: root: no/such/directory cannot be served: "),
            "{error}"
        );
        let flags = Flags {
            root: Some(site.file()),
            ..Flags::default()
        };
        let error = Config::resolve(None, &flags).unwrap_err().to_string();
        assert!(
            error.starts_with("ROOT: ") && error.contains("Not a directory"),
            "{error}"
        );
    }
}
