//! The tables of a site: `[error_pages]`, `[types]`, `[encodings]`, and the tables of its rules.

use super::media_type::check_media_type;
use super::page::{SPA, page};
use super::rule_table::RuleTable;
use super::site_builder::SiteBuilder;
use super::value::{KeyValue, Value, ValueData};
use super::{encodings, rules};
use crate::config::SiteConfig;

/// The names of the tables.
pub(super) const TABLES: [&str; 7] = [
    "error_pages",
    "types",
    "encodings",
    "header",
    "redirect",
    "rewrite",
    SPA,
];

/// Whether `pair` is one of [`TABLES`]. The key `spa` is one only if it is written as tables.
pub(super) fn is_table(pair: &KeyValue<'_>) -> bool {
    TABLES.contains(&&*pair.key) && (pair.key != SPA || pair.value.has_tables())
}

/// Reads one key of a table and its value; the error is a message.
type ReadEntry = fn(&mut SiteConfig, &str, &Value<'_>) -> Result<(), String>;

impl SiteBuilder {
    /// Reads one of [`TABLES`].
    pub fn read_table(&mut self, pair: &KeyValue<'_>) {
        match &*pair.key {
            "error_pages" => self.read_entries(pair, read_error_page),
            "types" => self.read_entries(pair, read_type),
            "encodings" => self.read_entries(pair, encodings::read),
            _ => self.read_rules(pair),
        }
    }

    /// Reads a table whose keys the site chooses, such as `[types]`.
    fn read_entries(&mut self, table: &KeyValue<'_>, read: ReadEntry) {
        let name = self.builder.label(&table.key);
        let ValueData::Table(pairs) = &table.value.data else {
            let described = table.value.described();
            let message = format!(
                "{described} was given, it is a section: write [{name}] and its keys on lines below"
            );
            let error = table.value.source.error(name, message);
            return self.builder.errors.push(error);
        };
        let mut seen = Vec::new();
        for pair in pairs {
            let key = pair.key.to_ascii_lowercase();
            let result = if seen.contains(&key) {
                Err("it is given twice, upper and lower case make no difference".to_owned())
            } else {
                read(&mut self.builder.settings, &key, &pair.value)
            };
            let label = format!("{name}.{}", pair.key.escape_debug());
            let result = result.map_err(|message| pair.value.source.error(label, message));
            self.builder.errors.record(result);
            seen.push(key);
        }
    }

    fn read_rules(&mut self, list: &KeyValue<'_>) {
        let label = self.builder.label(&list.key);
        for table in list.value.tables(&label, &mut self.builder.errors) {
            let source = table.1;
            let mut table = RuleTable::new(&label, table);
            let settings = &mut self.builder.settings;
            match &*list.key {
                "header" => {
                    let rule = rules::header(&mut table);
                    self.headers.extend(rule.map(|rule| (rule, source.clone())));
                }
                "redirect" => {
                    let rule = rules::redirect(&mut table);
                    self.has_invalid_redirect |= rule.is_none();
                    self.redirects
                        .extend(rule.map(|rule| (rule, source.clone())));
                }
                "rewrite" => settings.rewrites.extend(rules::rewrite(&mut table)),
                _ => settings.spa.extend(rules::application(&mut table)),
            }
            self.builder.errors.append(table.errors);
        }
    }
}

/// Reads the page of an error status.
fn read_error_page(site: &mut SiteConfig, key: &str, value: &Value<'_>) -> Result<(), String> {
    let status = key.parse::<u16>().ok();
    let status = status
        .filter(|status| (400..=599).contains(status))
        .ok_or("there is no such error status, it must be 400 to 599")?;
    let Some(path) = value.text() else {
        let meaning = "the path of a page, as in \"/404.html\", or \"\" for the server's own";
        return Err(value.must_be(meaning));
    };
    match page(path)? {
        Some(path) => site.error_pages.insert(status, path),
        None => site.error_pages.remove(&status),
    };
    Ok(())
}

/// Reads the media type of an extension, which is in lower case.
fn read_type(site: &mut SiteConfig, extension: &str, value: &Value<'_>) -> Result<(), String> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte);
    if extension.is_empty() || !extension.bytes().all(is_letter) {
        let reason = "it must be what follows the last dot of a file name, without the dot";
        return Err(reason.to_owned());
    }
    let Some(media_type) = value.text() else {
        let meaning = "a media type, as in \"text/plain; charset=utf-8\"";
        return Err(value.must_be(meaning));
    };
    check_media_type(media_type)?;
    site.types
        .insert(extension.to_owned(), media_type.to_owned());
    Ok(())
}
