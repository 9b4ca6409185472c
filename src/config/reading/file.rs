//! The TOML file: what is in it goes to the draft key by key, with the line it stands on.

use std::fs;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::draft::{Draft, HostDraft};
use super::keys;
use super::kinds::{Key, Kind, parse_each};
use super::mistakes::{ConfigError, Origin};
use super::nearest::nearest_of;
use super::site_draft::{SPA, SiteDraft};
use super::site_keys::{self, SITE_KEYS};
use super::source::{Entry, Source, entries};
use super::tables::{TABLES, has_tables, is_table};
use crate::config::HostName;

/// The table of virtual hosts.
const HOST: &str = "host";

/// The key of a host that no site has.
static NAME: Key<Vec<HostName>> = Key {
    name: "name",
    kind: Kind::List {
        expectation: "a list of host names, as in [\"example.org\", \"*.example.org\"]",
        or_one: true,
        read: |names| names.iter().map(ToString::to_string).collect(),
        write: |names, texts| {
            *names = parse_each(texts, |_| true)?;
            Ok(())
        },
    },
};

impl Draft {
    /// Lets a TOML file win over what is there.
    pub fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let failed = |reason: &str| ConfigError {
            sentence: format!("{}: {reason}", path.display()),
        };
        let bytes = fs::read(path).map_err(|error| failed(&format!("cannot be read: {error}")))?;
        let text = String::from_utf8(bytes).map_err(|_| failed("it is not UTF-8 text"))?;
        let source = Source { path, text: &text };
        let document = DeTable::parse(&text).map_err(|error| source.syntax_error(&error))?;
        // Hosts inherit what stands outside of them, wherever it stands: they come last.
        let (hosts, others): (Vec<_>, Vec<_>) = places(document.get_ref())
            .into_iter()
            .partition(|place| place.section.is_empty() && place.entry.leaf == HOST);
        for place in &others {
            self.take(&source, place)?;
        }
        for place in &hosts {
            self.take_hosts(&source, &place.entry)?;
        }
        Ok(())
    }

    /// Takes in one key or table from outside of the hosts.
    fn take(&mut self, source: &Source<'_>, place: &Place<'_>) -> Result<(), ConfigError> {
        let entry = &place.entry;
        if place.section.is_empty() && is_table(entry) {
            return self.site.read_table(source, entry);
        }
        let value = source.value(entry.value, source.origin(entry.offset));
        let name = dotted(place.section, entry.leaf);
        if let Some(key) = site_keys::named(&name) {
            self.site.set(key, &value)
        } else if let Some(key) = keys::named(&name) {
            self.set(key, &value)
        } else {
            Err(unknown(place, &name, &value.origin))
        }
    }

    fn take_hosts(&mut self, source: &Source<'_>, entry: &Entry<'_>) -> Result<(), ConfigError> {
        const EXPECTATION: &str = "it must be a table for each: write [[host]] before its keys";
        let refuse = |value: &Spanned<DeValue<'_>>, offset| {
            let complaint = format!("{} was given, {EXPECTATION}", source.described(value));
            Err(source.origin(offset).blame(HOST, &complaint))
        };
        let DeValue::Array(array) = entry.value.get_ref() else {
            return refuse(entry.value, entry.offset);
        };
        for item in array {
            let DeValue::Table(table) = item.get_ref() else {
                return refuse(item, item.span().start);
            };
            let host = self.read_host(source, table, source.origin(item.span().start))?;
            self.hosts.push(host);
        }
        Ok(())
    }

    fn read_host(
        &self,
        source: &Source<'_>,
        table: &DeTable<'_>,
        origin: Origin,
    ) -> Result<HostDraft, ConfigError> {
        let mut names = Vec::new();
        let mut site = SiteDraft::inheriting(&self.site);
        for entry in entries(table) {
            let value = source.value(entry.value, source.origin(entry.offset));
            if entry.leaf == NAME.name {
                NAME.set(&mut names, "host.name", &value)?;
                self.check_names(&names, &value.origin)?;
            } else if is_table(&entry) {
                site.read_table(source, &entry)?;
            } else if let Some(key) = site_keys::named(entry.leaf) {
                site.set(key, &value)?;
            } else {
                return Err(unknown_in_host(entry.leaf, &value.origin));
            }
        }
        if names.is_empty() {
            let complaint = "it is missing, it must be the names that the host is asked for by";
            return Err(origin.blame("host.name", complaint));
        }
        if !site.has("root") {
            let complaint = "it is missing, it must be the directory that the host serves";
            return Err(origin.blame("host.root", complaint));
        }
        site.follow_with(&self.site);
        Ok(HostDraft { names, site })
    }

    /// Refuses a name that an earlier host has.
    fn check_names(&self, names: &[HostName], origin: &Origin) -> Result<(), ConfigError> {
        let taken = |name: &&HostName| self.hosts.iter().any(|host| host.names.contains(name));
        match names.iter().find(taken) {
            Some(name) => {
                let complaint = format!("{name} is the name of an earlier [[host]] too");
                Err(origin.blame("host.name", &complaint))
            }
            None => Ok(()),
        }
    }
}

/// An entry outside of the hosts, and the section it is in.
struct Place<'a> {
    /// Empty outside of a section.
    section: &'a str,
    entry: Entry<'a>,
}

/// All keys, in the order of the file, so that the first mistake is the one that is reported. What
/// is no known section is not opened: it is an entry itself.
fn places<'a>(document: &'a DeTable<'a>) -> Vec<Place<'a>> {
    let mut places = Vec::new();
    for entry in entries(document) {
        match entry.value.get_ref() {
            DeValue::Table(table) if is_section(entry.leaf) => {
                places.extend(entries(table).into_iter().map(|inner| Place {
                    section: entry.leaf,
                    entry: inner,
                }));
            }
            _ => places.push(Place { section: "", entry }),
        }
    }
    places.sort_by_key(|place| place.entry.offset);
    places
}

fn is_section(name: &str) -> bool {
    keys::sections().any(|section| section == name)
}

fn dotted(section: &str, leaf: &str) -> String {
    if section.is_empty() {
        leaf.to_owned()
    } else {
        format!("{section}.{leaf}")
    }
}

/// The error for a key or section that there is not, with the one that was probably meant.
fn unknown(place: &Place<'_>, name: &str, origin: &Origin) -> ConfigError {
    // A key in quotes can hold anything, line breaks too.
    let name = &name.escape_debug().to_string();
    let (section, leaf) = (place.section, place.entry.leaf);
    if section.is_empty() && is_section(leaf) {
        let complaint = format!("it is a section: write [{name}] and its keys on lines below");
        return origin.blame(name, &complaint);
    }
    let value = place.entry.value.get_ref();
    let is_table = matches!(value, DeValue::Table(_));
    if section.is_empty() && (is_table || has_tables(value)) {
        let sections: Vec<&str> = keys::sections().chain(TABLES).chain([HOST]).collect();
        let hint = match nearest_of(&sections, leaf) {
            Some(section) => format!("did you mean {}?", heading(section)),
            None => {
                let headings: Vec<String> = sections.into_iter().map(heading).collect();
                format!("the sections are {}", headings.join(", "))
            }
        };
        return origin.blame(name, &format!("there is no such section, {hint}"));
    }
    let hint = match keys::nearest(section, leaf) {
        Some(key) => format!("did you mean {key}?"),
        None => {
            let known: Vec<&str> = keys::names()
                .filter_map(|key| match key.split_once('.') {
                    None => section.is_empty().then_some(key),
                    Some((its_section, leaf)) => (its_section == section).then_some(leaf),
                })
                .collect();
            match section {
                "" => format!("the keys outside of a section are {}", known.join(", ")),
                section => format!("the keys of [{section}] are {}", known.join(", ")),
            }
        }
    };
    origin.blame(name, &format!("there is no such key, {hint}"))
}

/// The line that begins a section.
fn heading(section: &str) -> String {
    match section {
        "header" | "redirect" | "rewrite" | SPA | HOST => format!("[[{section}]]"),
        _ => format!("[{section}]"),
    }
}

/// The error for a key that no host has.
fn unknown_in_host(leaf: &str, origin: &Origin) -> ConfigError {
    let label = format!("host.{}", leaf.escape_debug());
    let site = SITE_KEYS.iter().map(|key| key.name);
    let tables = TABLES.into_iter().filter(|table| *table != SPA);
    let known: Vec<&str> = [NAME.name].into_iter().chain(site).chain(tables).collect();
    if keys::names().any(|name| name == leaf) || is_section(leaf) {
        let complaint = "it is the same for all hosts, so it stands outside of [[host]]";
        return origin.blame(&label, complaint);
    }
    let hint = match nearest_of(&known, leaf) {
        Some(name) => format!("did you mean host.{name}?"),
        None => format!("the keys of [[host]] are {}", known.join(", ")),
    };
    origin.blame(&label, &format!("there is no such key, {hint}"))
}
