//! Loads a configuration from its sources, or reports all errors in it.

use std::path::Path;

use super::config_builder::ConfigBuilder;
use super::flags::Flags;
use super::validation_errors::ConfigError;
use crate::config::Config;

impl Config {
    /// Reads a TOML file over the defaults.
    ///
    /// No other file is accessed; in particular, `root` need not exist.
    ///
    /// # Errors
    ///
    /// All errors in the file, each with file, line, key and column.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let mut builder = ConfigBuilder::new();
        builder.read_file(path);
        builder.finish()
    }

    /// The configuration of the program: the defaults, then `file` if there is one, then `flags`.
    ///
    /// The roots are checked as well, so that an error can name the line or flag.
    ///
    /// # Errors
    ///
    /// All errors, each with the file, line, key and column, or with the flag. A root that is not a readable
    /// directory is one of them.
    pub fn resolve(file: Option<&Path>, flags: &Flags) -> Result<Config, ConfigError> {
        let mut builder = ConfigBuilder::read(file, flags);
        builder.check_machine();
        builder.finish()
    }
}

impl ConfigBuilder {
    /// Reads the defaults, then `file` if there is one, then `flags`.
    pub(super) fn read(file: Option<&Path>, flags: &Flags) -> ConfigBuilder {
        let mut builder = ConfigBuilder::new();
        if let Some(path) = file {
            builder.read_file(path);
        }
        builder.apply_flags(flags);
        builder
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AccessLogTarget;
    use std::fs;
    use std::path::PathBuf;
    use tempfile::TempDir;

    /// A directory that contains a configuration file.
    struct ConfigDirectory {
        directory: TempDir,
    }

    impl ConfigDirectory {
        fn new(text: &str) -> ConfigDirectory {
            let directory = TempDir::new().unwrap();
            fs::write(directory.path().join("abide.toml"), text).unwrap();
            ConfigDirectory { directory }
        }

        fn file(&self) -> PathBuf {
            self.directory.path().join("abide.toml")
        }

        /// Flags with a root that exists.
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
        let site = ConfigDirectory::new(
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
            let site = ConfigDirectory::new(text);
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
        let site = ConfigDirectory::new("keep_alive.grace = 11");
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
        let site = ConfigDirectory::new("");
        let flags = Flags {
            access_log: Some("".into()),
            ..site.flags()
        };
        assert_eq!(
            Config::resolve(None, &flags).unwrap_err().to_string(),
            "--access-log: the path is empty, it must be a file or - for standard output"
        );
    }

    #[test]
    fn a_root_that_is_no_directory_is_refused_where_it_was_named() {
        let site = ConfigDirectory::new("\nroot = 'no/such/directory'");
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
