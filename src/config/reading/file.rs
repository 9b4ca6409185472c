//! The TOML file: each key in it goes to the draft, with its place.

use std::fs;
use std::path::Path;

use super::config_draft::{ConfigDraft, HOST, HostDraft};
use super::document;
use super::draft::Draft;
use super::kinds::{AcceptedValues, Key, toml_list};
use super::mistakes::{Mistake, Origin};
use super::site_draft::SiteDraft;
use super::tables::is_table;
use super::value::{Given, KeyValue};
use super::{keys, site_keys, unknown};
use crate::config::HostName;

/// The key of a host that no site has.
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

fn read_text(path: &Path) -> Result<String, Mistake> {
    let failed = |reason| Origin::Default.blame(path.display().to_string(), reason);
    let bytes = fs::read(path).map_err(|error| failed(format!("cannot be read: {error}")))?;
    String::from_utf8(bytes).map_err(|_| failed("it is not UTF-8 text".to_owned()))
}

impl ConfigDraft {
    /// Lets a TOML file win over what is there.
    pub fn read_file(&mut self, path: &Path) {
        let text = self.general.mistakes.note(read_text(path));
        let parsed = text.as_deref().map(|text| document::parse(text, path));
        let pairs = parsed.and_then(|parsed| self.general.mistakes.note(parsed));
        let (hosts, others): (Vec<_>, Vec<_>) = pairs
            .unwrap_or_default()
            .into_iter()
            .partition(|pair| pair.key == HOST);
        for pair in &others {
            match &pair.value.given {
                Given::Table(pairs) if keys::is_section(&pair.key) => {
                    pairs.iter().for_each(|inner| self.take(&pair.key, inner));
                }
                _ => self.take("", pair),
            }
        }
        // Hosts inherit what stands outside of them, wherever it stands: they come last.
        for pair in &hosts {
            let mistakes = &mut self.general.mistakes;
            for (pairs, origin) in pair.value.tables(HOST, mistakes) {
                self.take_host(pairs, origin);
            }
        }
    }

    /// Takes in one key or table from outside of the hosts; `section` is empty outside of a section.
    fn take(&mut self, section: &str, pair: &KeyValue<'_>) {
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
            self.general.mistakes.push(unknown::key(section, pair));
        }
    }

    fn take_host(&mut self, pairs: &[KeyValue<'_>], origin: &Origin) {
        let mut names = Draft::new(Vec::new(), "host.");
        let mut site = SiteDraft::inheriting(&self.site);
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
                names.mistakes.push(unknown::key_of_host(pair));
            }
        }
        self.check_names(&mut names);
        // A key that is unknown may have been meant to be the one that is missing.
        if unknown_keys == 0 && names.settings.is_empty() && !names.is_wrong(NAME.name) {
            let complaint = "it is missing, it must be the names that the host is asked for by";
            names.mistakes.push(origin.blame("host.name", complaint));
        }
        if unknown_keys == 0 && !site.draft.has("root") {
            let complaint = "it is missing, it must be the directory that the host serves";
            names.mistakes.push(origin.blame("host.root", complaint));
        }
        site.follow_with(&self.site);
        self.hosts.push(HostDraft { names, site });
    }

    /// Refuses the names that an earlier host has.
    fn check_names(&self, names: &mut Draft<Vec<HostName>>) {
        let earlier = self.hosts.iter().flat_map(|host| &host.names.settings);
        for name in earlier.filter(|name| names.settings.contains(name)) {
            let complaint = format!("{name} is the name of an earlier [[host]] too");
            let mistake = names.origin(NAME.name).blame("host.name", complaint);
            names.mistakes.push(mistake);
        }
    }
}
