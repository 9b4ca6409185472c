//! The command line. [`abide::config`] checks its values with the code that also checks the configuration
//! file, so both accept the same values.

use std::path::PathBuf;

use abide::config::{Config, ConfigError, Flags, ReachablePaths, Reloaded, Running};
use clap::Parser;

/// Serve a directory of static files over HTTP/1.1, with persistent connections that keep their
/// promises.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(name = "abide", version, after_help = AFTER_HELP)]
pub struct Cli {
    /// Read settings from a TOML file; flags override it
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Accept connections here: 127.0.0.1:8080, [::1]:8080, [fe80::1%eth0]:8080,
    /// https://127.0.0.1:8443 or unix:/run/abide.sock, or for the PROXY protocol proxy+http://127.0.0.1:8080 or
    /// proxy+unix:/run/abide.sock; port 0 picks a free one; repeatable [default: 127.0.0.1:8080]
    #[arg(short, long, value_name = "ADDR")]
    pub listen: Vec<String>,

    /// Number of worker threads, 1 to 1024 [default: the number of CPUs]
    #[arg(short, long, value_name = "N", allow_negative_numbers = true)]
    pub workers: Option<String>,

    /// Seconds an idle connection is promised to stay open, advertised in the Keep-Alive field
    /// [default: 120]
    #[arg(long, value_name = "SECS", allow_negative_numbers = true)]
    pub keep_alive_timeout: Option<String>,

    /// Requests that one connection may carry [default: 1000]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub max_requests: Option<String>,

    /// Write an access log in the common format; - is standard output [default: none]
    #[arg(long, value_name = "PATH|-")]
    pub access_log: Option<PathBuf>,

    /// The PEM file with the certificate chain for https:// addresses
    #[arg(long, value_name = "FILE")]
    pub certificate: Option<PathBuf>,

    /// The PEM file with the private key of the certificate
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,

    /// Make a certificate for localhost in memory, to try TLS; without other addresses listen on
    /// https://127.0.0.1:8443
    #[arg(long)]
    pub self_signed: bool,

    /// Read the configuration, print its errors or its resolved values, and exit
    #[arg(long)]
    pub check: bool,

    /// Run simulated clients against this configuration on a loopback port, with a short
    /// timeout, print what each of them loses, and exit
    #[arg(long, conflicts_with = "check")]
    pub selftest: bool,

    /// The directory to serve [default: www]
    #[arg(value_name = "ROOT")]
    pub root: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Signals: SIGTERM drains and exits; repeated, it changes nothing. SIGINT finishes the answers under way
and exits within two seconds; a second one, half a second or more after the first, exits at once.
SIGHUP reloads the configuration, SIGUSR1 reopens the access log, SIGUSR2 prints the counters.
Exit status: 0 after an orderly stop, 1 if it was cut short, 2 if the server could not start.
--selftest exits with 1 if a client that honours the hint could lose a request.
RUST_LOG sets the diagnostics on standard error [default: warn].";

/// Reads the command line of this process.
///
/// Prints and exits on `--help` and `--version` (status 0) and on wrong usage (status 2).
#[must_use]
pub fn parse() -> Cli {
    Cli::parse()
}

impl Cli {
    /// Resolves the configuration: defaults, then the file, then the flags. The root was a readable directory
    /// when this returns.
    ///
    /// # Errors
    ///
    /// One line for each error, with the flag, or with the file, line, key and column. The status is 2.
    pub fn resolve(&self) -> Result<Config, ConfigError> {
        Config::resolve(self.config.as_deref(), &self.flags())
    }

    /// Resolves the configuration again, for a server that is `running` and can reach `paths`.
    ///
    /// # Errors
    ///
    /// As for [`resolve`](Cli::resolve). A change that needs a restart is an error too.
    pub fn resolve_again(
        &self,
        running: Running<'_>,
        paths: &dyn ReachablePaths,
    ) -> Result<Reloaded, ConfigError> {
        Config::resolve_again(running, paths, self.config.as_deref(), &self.flags())
    }

    /// The values of the command line, as the configuration takes them.
    fn flags(&self) -> Flags {
        Flags {
            root: self.root.clone(),
            listen: self.listen.clone(),
            workers: self.workers.clone(),
            keep_alive_timeout: self.keep_alive_timeout.clone(),
            max_requests: self.max_requests.clone(),
            access_log: self.access_log.clone(),
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            self_signed: self.self_signed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use abide::config::AccessLogTarget;
    use clap::CommandFactory;

    fn resolve(arguments: &[&str]) -> Result<Config, ConfigError> {
        let root = tempfile::tempdir().unwrap();
        let mut all = vec!["abide", root.path().to_str().unwrap()];
        all.extend(arguments);
        Cli::try_parse_from(all).unwrap().resolve()
    }

    fn refusal(arguments: &[&str]) -> String {
        resolve(arguments).unwrap_err().to_string()
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_arguments_mean_the_defaults() {
        let cli = Cli::try_parse_from(["abide"]).unwrap();
        assert!(!cli.check);
        assert_eq!(cli.root, None);
        let mut config = resolve(&[]).unwrap();
        config.site.root = Config::default().site.root;
        assert_eq!(config, Config::default());
    }

    #[test]
    fn every_option_reaches_its_setting() {
        let config = resolve(&[
            "-l",
            "[::1]:0",
            "--listen",
            "unix:/run/abide.sock",
            "-w",
            "3",
            "--keep-alive-timeout",
            "60",
            "--max-requests",
            "20",
            "--access-log",
            "-",
        ])
        .unwrap();
        let listen: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
        assert_eq!(listen, ["[::1]:0", "unix:/run/abide.sock"]);
        assert_eq!(config.workers, 3);
        assert_eq!(config.keep_alive.timeout_secs, 60);
        assert_eq!(config.shutdown.drain_secs, 70);
        assert_eq!(config.keep_alive.max_requests.get(), 20);
        assert_eq!(config.access_log.target, Some(AccessLogTarget::Stdout));
        let config = resolve(&["--access-log", "/var/log/abide"]).unwrap();
        assert_eq!(
            config.access_log.target,
            Some(AccessLogTarget::File("/var/log/abide".into()))
        );
    }

    #[test]
    fn the_options_of_tls_reach_their_settings() {
        // Any two readable files: only a start looks into them.
        let config = resolve(&["--certificate", "Cargo.toml", "--key", "Cargo.lock"]).unwrap();
        assert_eq!(config.site.certificate, Some("Cargo.toml".into()));
        assert_eq!(config.site.key, Some("Cargo.lock".into()));
        assert!(!config.self_signed);
        assert!(refusal(&["--key", "Cargo.lock"]).starts_with("--key: it is of no use without"));
    }

    #[test]
    #[cfg(feature = "tls")]
    fn self_signed_listens_on_https() {
        for arguments in [
            &["--self-signed"][..],
            &["--self-signed", "-l", "https://127.0.0.1:8443"],
        ] {
            let config = resolve(arguments).unwrap();
            assert!(config.self_signed);
            let printed = config.to_toml();
            assert!(printed.starts_with("# Needs the option --self-signed, "));
            assert_eq!(config.listen, ["https://127.0.0.1:8443".parse().unwrap()]);
        }
    }

    #[test]
    #[cfg(not(feature = "tls"))]
    fn self_signed_needs_tls() {
        let said = refusal(&["--self-signed"]);
        assert!(
            said.starts_with("--self-signed: https://127.0.0.1:8443 needs TLS"),
            "{said}"
        );
    }

    #[test]
    fn a_flag_out_of_range_is_named() {
        assert_eq!(
            refusal(&["--keep-alive-timeout", "0"]),
            "--keep-alive-timeout: 0 is out of range, it must be 1 to 2147483637 seconds"
        );
        assert_eq!(
            refusal(&["-w", "-1"]),
            "--workers: -1 is out of range, it must be 1 to 1024 threads"
        );
        assert!(refusal(&["--max-requests", "2147483648"]).starts_with("--max-requests: "));
        assert!(refusal(&["-w", "many"]).starts_with("--workers: \"many\" is not a number"));
        assert!(refusal(&["-w", "1.5"]).starts_with("--workers: \"1.5\" is not a number"));
        assert!(refusal(&["-l", "8080"]).starts_with("--listen: \"8080\" cannot be"));
    }

    #[test]
    fn a_missing_root_is_refused() {
        let cli = Cli::try_parse_from(["abide", "no/such/directory"]).unwrap();
        let error = cli.resolve().unwrap_err().to_string();
        assert!(
            error.starts_with("ROOT: no/such/directory cannot be served: "),
            "{error}"
        );
    }

    #[test]
    fn usage_that_makes_no_sense_exits_with_2() {
        for arguments in [
            &["abide", "--no-such"][..],
            &["abide", "a", "b"],
            &["abide", "-w"],
            &["abide", "--check", "--selftest"],
        ] {
            assert_eq!(Cli::try_parse_from(arguments).unwrap_err().exit_code(), 2);
        }
    }
}
