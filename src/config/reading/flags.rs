//! The command line, which is applied after the file.

use std::path::PathBuf;

use super::config_builder::ConfigBuilder;
use super::keys;
use super::site_keys::EMPTY_ROOT;
use super::validation_errors::ValueSource;
use super::value::{Value, ValueData};
use crate::config::{AccessLogTarget, ListenAddress};

/// The values of the command line as they are written. They are checked as those of the file are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// The positional argument ROOT.
    pub root: Option<PathBuf>,
    /// The values of `--listen`. If there are any, they replace the list of the file.
    pub listen: Vec<String>,
    /// `--workers`
    pub workers: Option<String>,
    /// `--keep-alive-timeout`, in seconds.
    pub keep_alive_timeout: Option<String>,
    /// `--max-requests`
    pub max_requests: Option<String>,
    /// `--access-log`: a path, or `-` for standard output.
    pub access_log: Option<PathBuf>,
    /// `--certificate`: the certificate chain of the default site.
    pub certificate: Option<PathBuf>,
    /// `--key`: the private key of the default site.
    pub key: Option<PathBuf>,
    /// `--self-signed`
    pub self_signed: bool,
}

/// The option that makes a certificate in memory.
pub(super) const SELF_SIGNED: &str = "--self-signed";

/// The address of a server with [`SELF_SIGNED`] and no other address.
const SELF_SIGNED_ADDRESS: ([u8; 4], u16) = ([127, 0, 0, 1], 8443);

/// The message for an empty path of a certificate or key.
const EMPTY_FILE: &str = "the path is empty, it must be a PEM file";

impl Flags {
    /// The flags for whole numbers, each with its key and value.
    fn numbers(&self) -> [(&'static str, &'static str, Option<&str>); 3] {
        let timeout = self.keep_alive_timeout.as_deref();
        let max_requests = self.max_requests.as_deref();
        [
            ("--workers", "workers", self.workers.as_deref()),
            ("--keep-alive-timeout", "keep_alive.timeout", timeout),
            ("--max-requests", "keep_alive.max_requests", max_requests),
        ]
    }
}

impl ConfigBuilder {
    /// Applies the command line over the present settings.
    pub fn apply_flags(&mut self, flags: &Flags) {
        for (flag, name, text) in flags.numbers() {
            if let Some(text) = text {
                self.set_integer(name, text, ValueSource::Flag(flag));
            }
        }
        if let (false, Some(key)) = (flags.listen.is_empty(), keys::named("listen")) {
            let value = |data| Value {
                data,
                raw: "",
                source: ValueSource::Flag("--listen"),
            };
            let texts = flags.listen.iter();
            let items = texts.map(|text| value(ValueData::Text(text.into())));
            self.general
                .set(key, &value(ValueData::List(items.collect())));
        }
        // The paths need not be UTF-8, so they do not pass through the tables of keys.
        if let Some(path) = &flags.root {
            self.site.builder.settings.root = path.clone();
            self.site
                .builder
                .remember("root", ValueSource::Flag("ROOT"));
            if path.as_os_str().is_empty() {
                self.site.builder.report("root", EMPTY_ROOT);
            }
        }
        if let Some(path) = &flags.access_log {
            let name = "access_log.path";
            self.general.settings.access_log.target = Some(match path.to_str() {
                Some("-") => AccessLogTarget::Stdout,
                _ => AccessLogTarget::File(path.clone()),
            });
            self.general
                .remember(name, ValueSource::Flag("--access-log"));
            if path.as_os_str().is_empty() {
                let message = "the path is empty, it must be a file or - for standard output";
                self.general.report(name, message);
            }
        }
        self.apply_tls_flags(flags);
    }

    fn apply_tls_flags(&mut self, flags: &Flags) {
        let site = &mut self.site.builder;
        if let Some(path) = &flags.certificate {
            site.settings.certificate = Some(path.clone());
            site.remember("certificate", ValueSource::Flag("--certificate"));
            if path.as_os_str().is_empty() {
                site.report("certificate", EMPTY_FILE);
            }
        }
        if let Some(path) = &flags.key {
            site.settings.key = Some(path.clone());
            site.remember("key", ValueSource::Flag("--key"));
            if path.as_os_str().is_empty() {
                site.report("key", EMPTY_FILE);
            }
        }
        self.general.settings.self_signed = flags.self_signed;
        if flags.self_signed && !self.general.has("listen") {
            let address = ListenAddress {
                tls: true,
                ..ListenAddress::tcp(SELF_SIGNED_ADDRESS.into())
            };
            self.general.settings.listen = vec![address];
            self.general
                .remember("listen", ValueSource::Flag(SELF_SIGNED));
        }
    }

    /// Sets a key to a decimal number.
    fn set_integer(&mut self, name: &str, text: &str, source: ValueSource) {
        let Some(key) = keys::named(name) else {
            return;
        };
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let message = format!("{text:?} is not a number, it must be {}", key.expectation());
            return self.general.errors.push(source.error(name, message));
        }
        let value = Value {
            data: ValueData::Integer(text.parse().ok()),
            raw: text,
            source,
        };
        self.general.set(key, &value);
    }
}
