//! The places of values, for errors that are found after the configuration has been read.

use std::collections::BTreeMap;

use super::builder::Builder;
use super::config_builder::{ConfigBuilder, HOST};
use super::site_builder::CERTIFICATE_KEYS;
use super::validation_errors::{ConfigError, ValueSource};
use crate::config::SiteConfig;

/// The places of the values of a configuration: lines of the file, and flags.
#[derive(Debug, Clone)]
pub struct KeySources {
    general: BTreeMap<&'static str, ValueSource>,
    /// The places of certificates and keys, in the order of [`CERTIFICATE_KEYS`]: of the default site, and of each host.
    certificates: [Option<ValueSource>; 2],
    of_hosts: Vec<[Option<ValueSource>; 2]>,
}

impl KeySources {
    /// An error in the value of the global key `name`, at its place.
    #[must_use]
    pub fn error(&self, name: &str, message: impl Into<String>) -> ConfigError {
        let source = self.general.get(name).unwrap_or(&ValueSource::Default);
        ConfigError::of(&source.error(name, message))
    }

    /// An error in the value of `name`, `certificate` or `key`, at its place in the host with the index `host`, or
    /// outside of the hosts.
    #[must_use]
    pub fn certificate_error(
        &self,
        name: &str,
        host: Option<usize>,
        message: impl Into<String>,
    ) -> ConfigError {
        let of_host = host.and_then(|index| self.of_hosts.get(index));
        let mut found = std::iter::zip(CERTIFICATE_KEYS, of_host.unwrap_or(&self.certificates));
        let source = found.find_map(|(key, source)| source.as_ref().filter(|_| key == name));
        let label = match host {
            Some(_) => format!("{HOST}.{name}"),
            None => name.to_owned(),
        };
        let source = source.unwrap_or(&ValueSource::Default);
        ConfigError::of(&source.error(label, message))
    }
}

impl ConfigBuilder {
    /// The places of the values, for errors that are found later.
    pub fn sources(&self) -> KeySources {
        let hosts = self.hosts.iter().map(|host| &host.site.builder);
        KeySources {
            general: self.general.sources().clone(),
            certificates: of_certificate(&self.site.builder),
            of_hosts: hosts.map(of_certificate).collect(),
        }
    }
}

/// The places of the certificate and the key of a site.
fn of_certificate(site: &Builder<SiteConfig>) -> [Option<ValueSource>; 2] {
    CERTIFICATE_KEYS.map(|key| site.sources().get(key).cloned())
}
