//! Errors for unknown keys and sections, with a suggestion.

use super::config_builder::HOST;
use super::keys::{is_section, names, sections};
use super::nearest::{nearest, no_such_key};
use super::page::SPA;
use super::site_keys::SITE_KEYS;
use super::tables::TABLES;
use super::validation_errors::ValidationError;
use super::value::{KeyValue, ValueData};

/// The name of the only key that a host has and a site does not.
pub(super) const NAME: &str = "name";

/// The error for an unknown key or section outside of the hosts. `section` is empty outside of a section.
pub(super) fn key(section: &str, pair: &KeyValue<'_>) -> ValidationError {
    // A quoted key can contain any characters, including line breaks.
    let leaf = &pair.key.escape_debug().to_string();
    let name = match section {
        "" => leaf.clone(),
        section => format!("{section}.{leaf}"),
    };
    let is_section_like = section.is_empty()
        && (pair.value.has_tables() || matches!(pair.value.data, ValueData::Table(_)));
    let message = if section.is_empty() && is_section(leaf) {
        format!("it is a section: write [{name}] and its keys on lines below")
    } else if is_section_like {
        let known: Vec<&str> = sections().chain(TABLES).chain([HOST]).collect();
        let hint = match nearest(known.iter().copied(), "", leaf) {
            Some(section) => format!("did you mean {}?", heading(section)),
            None => {
                let headings: Vec<String> = known.into_iter().map(heading).collect();
                format!("the sections are {}", headings.join(", "))
            }
        };
        format!("there is no such section, {hint}")
    } else {
        let hint = match nearest(names(), section, leaf) {
            Some(key) => format!("did you mean {key}?"),
            None => {
                let split = |name: &'static str| name.split_once('.').unwrap_or(("", name));
                let known = names().map(split).filter(|(its, _)| *its == section);
                let leaves: Vec<&str> = known.map(|(_, leaf)| leaf).collect();
                match section {
                    "" => format!("the keys outside of a section are {}", leaves.join(", ")),
                    section => format!("the keys of [{section}] are {}", leaves.join(", ")),
                }
            }
        };
        format!("there is no such key, {hint}")
    };
    pair.source.error(name, message)
}

/// The error for a key that a host cannot have.
pub(super) fn key_of_host(pair: &KeyValue<'_>) -> ValidationError {
    let leaf = pair.key.as_ref();
    let message = if names().any(|name| name == leaf) || is_section(leaf) {
        "it is the same for all hosts, so it stands outside of [[host]]".to_owned()
    } else {
        let site = SITE_KEYS.iter().map(|key| key.name);
        let tables = TABLES.into_iter().filter(|table| *table != SPA);
        let known: Vec<&str> = [NAME].into_iter().chain(site).chain(tables).collect();
        no_such_key(HOST, leaf, &known)
    };
    let name = format!("{HOST}.{}", leaf.escape_debug());
    pair.source.error(name, message)
}

/// The heading of a section.
fn heading(section: &str) -> String {
    match section {
        "header" | "redirect" | "rewrite" | SPA | HOST => format!("[[{section}]]"),
        _ => format!("[{section}]"),
    }
}
