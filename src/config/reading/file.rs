//! Passes each key of the TOML file to the builder, with its place.

use std::fs;
use std::io::Read;
use std::path::Path;

use super::builder::Builder;
use super::config_builder::{ConfigBuilder, HOST, HostBuilder};
use super::kinds::{AcceptedValues, Key, toml_list};
use super::site_builder::SiteBuilder;
use super::tables::is_table;
use super::validation_errors::{ValidationError, ValueSource};
use super::value::{KeyValue, ValueData};
use super::{document, keys, site_keys, unknown};
use crate::config::HostName;

/// The most bytes of a file. A device may have no end.
const MAX_BYTES: u64 = 4 << 20;

/// The only key that a host has and a site does not.
static NAME: Key<Vec<HostName>> = Key {
    name: unknown::NAME,
    accepted: AcceptedValues::Other(
        "a list of host names, as in [\"example.org\", \"*.example.org\"]",
    ),
    read: |names| toml_list(names),
    write: |names, value| {
        *names = value.list_or_one(|_| true)?;
        Ok(())
    },
};

fn read_text(path: &Path) -> Result<String, ValidationError> {
    let failed = |reason| ValueSource::Default.error(path.display().to_string(), reason);
    let mut bytes = Vec::new();
    let read =
        fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| failed(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(failed(format!("it has more than {MAX_BYTES} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| failed("it is not UTF-8 text".to_owned()))
}

impl ConfigBuilder {
    /// Applies the keys of a TOML file over the present settings.
    pub fn read_file(&mut self, path: &Path) {
        let text = self.general.errors.record(read_text(path));
        let parsed = text.as_deref().map(|text| document::parse(text, path));
        let pairs = parsed.and_then(|parsed| self.general.errors.record(parsed));
        self.was_parsed = pairs.is_some();
        let (hosts, others): (Vec<_>, Vec<_>) = pairs
            .unwrap_or_default()
            .into_iter()
            .partition(|pair| pair.key == HOST);
        for pair in &others {
            match &pair.value.data {
                ValueData::Table(pairs) if keys::is_section(&pair.key) => {
                    pairs.iter().for_each(|inner| self.apply(&pair.key, inner));
                }
                _ => self.apply("", pair),
            }
        }
        // Hosts inherit the keys outside of them, wherever those stand, so the hosts come last.
        for pair in &hosts {
            let errors = &mut self.general.errors;
            for (pairs, source) in pair.value.tables(HOST, errors) {
                self.apply_host(pairs, source);
            }
        }
    }

    /// Applies one key or table outside of the hosts. `section` is empty outside of a section.
    fn apply(&mut self, section: &str, pair: &KeyValue<'_>) {
        if section.is_empty() && is_table(pair) {
            return self.site.read_table(pair);
        }
        let name = match section {
            "" => pair.key.to_string(),
            section => format!("{section}.{}", pair.key),
        };
        if let Some(key) = site_keys::named(&name) {
            self.site.set(key, &pair.value);
        } else if let Some(key) = keys::named(&name) {
            self.general.set(key, &pair.value);
        } else {
            self.general.errors.push(unknown::key(section, pair));
        }
    }

    fn apply_host(&mut self, pairs: &[KeyValue<'_>], source: &ValueSource) {
        let mut names = Builder::new(Vec::new(), "host.");
        let mut site = SiteBuilder::inheriting(&self.site);
        let mut unknown_keys = 0;
        for pair in pairs {
            if pair.key == NAME.name {
                names.set(&NAME, &pair.value);
            } else if is_table(pair) {
                site.read_table(pair);
            } else if let Some(key) = site_keys::named(&pair.key) {
                site.set(key, &pair.value);
            } else {
                unknown_keys += 1;
                names.errors.push(unknown::key_of_host(pair));
            }
        }
        self.check_names(&mut names);
        // An unknown key may be a misspelling of the missing one.
        if unknown_keys == 0 && names.settings.is_empty() && !names.is_invalid(NAME.name) {
            let message = "it is missing, it must be the names of the host";
            names.errors.push(source.error("host.name", message));
        }
        if unknown_keys == 0 && !site.builder.has("root") {
            let message = "it is missing, it must be the directory that the host serves";
            names.errors.push(source.error("host.root", message));
        }
        site.append_inherited(&self.site);
        self.hosts.push(HostBuilder { names, site });
    }

    /// Refuses names that an earlier host has.
    fn check_names(&mut self, names: &mut Builder<Vec<HostName>>) {
        let repeated = names
            .settings
            .iter()
            .filter(|name| self.host_names.contains(name));
        let repeated: Vec<HostName> = repeated.cloned().collect();
        for name in repeated {
            let message = format!("{name} is the name of an earlier [[host]] too");
            names.report(NAME.name, message);
        }
        self.host_names.extend(names.settings.iter().cloned());
    }
}
