//! The tables of a site: `[error_pages]`, `[types]`, `[encodings]`, `[[header]]`, `[[redirect]]`,
//! `[[rewrite]]`, `[[spa]]`.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::kinds::Given;
use super::media_type::check_media_type;
use super::mistakes::{ConfigError, Origin};
use super::nearest::nearest_of;
use super::page::page;
use super::site_draft::{SPA, SiteDraft};
use super::source::{Entry, Source, entries};
use crate::config::rules::{
    FieldName, FieldValue, HeaderRule, REDIRECT_STATUS_DEFAULT, REDIRECT_STATUSES, Redirect,
    Rewrite, WITHDRAWN_STATUSES,
};
use crate::config::target_template::{PathTemplate, UriTemplate};

/// Their names.
pub(super) const TABLES: [&str; 7] = [
    "error_pages",
    "types",
    "encodings",
    "header",
    "redirect",
    "rewrite",
    SPA,
];

/// Whether `entry` of a site is one of [`TABLES`]. `spa` is one only if it is written as tables.
pub(super) fn is_table(entry: &Entry<'_>) -> bool {
    TABLES.contains(&entry.leaf) && (entry.leaf != SPA || has_tables(entry.value.get_ref()))
}

/// Whether `value` is a list of tables, in part at least.
pub(super) fn has_tables(value: &DeValue<'_>) -> bool {
    matches!(value, DeValue::Array(array)
        if array.iter().any(|item| matches!(item.get_ref(), DeValue::Table(_))))
}

impl SiteDraft {
    /// Takes in one of [`TABLES`].
    pub fn read_table(
        &mut self,
        source: &Source<'_>,
        entry: &Entry<'_>,
    ) -> Result<(), ConfigError> {
        let label = self.label(entry.leaf);
        let origin = source.origin(entry.offset);
        match (entry.leaf, entry.value.get_ref()) {
            ("error_pages", DeValue::Table(table)) => self.read_error_pages(source, table),
            ("types", DeValue::Table(table)) => self.read_types(source, table),
            ("encodings", DeValue::Table(table)) => self.read_encodings(source, table),
            (name @ ("error_pages" | "types" | "encodings"), _) => {
                let described = source.described(entry.value);
                let complaint = format!(
                    "{described} was given, it is a section: write [{}{name}] and its keys on lines \
                     below",
                    self.prefix
                );
                Err(origin.blame(&label, &complaint))
            }
            (name, _) => {
                for table in rule_tables(source, &label, entry)? {
                    match name {
                        "header" => self.read_header(&table)?,
                        "redirect" => self.read_redirect(&table)?,
                        SPA => self.read_application(&table)?,
                        _ => self.read_rewrite(&table)?,
                    }
                }
                Ok(())
            }
        }
    }

    fn read_error_pages(
        &mut self,
        source: &Source<'_>,
        table: &DeTable<'_>,
    ) -> Result<(), ConfigError> {
        for entry in entries(table) {
            let label = self.label(&format!("error_pages.{}", entry.leaf.escape_debug()));
            let value = source.value(entry.value, source.origin(entry.offset));
            let status = entry.leaf.parse::<u16>().ok();
            let Some(status) = status.filter(|status| (400..=599).contains(status)) else {
                let complaint = "there is no such error status, it must be 400 to 599";
                return Err(value.origin.blame(&label, complaint));
            };
            let Given::Text(path) = value.given else {
                let complaint = format!(
                    "{} was given, it must be the path of a page, as in \"/404.html\", or \"\" for \
                     the server's own",
                    value.described
                );
                return Err(value.origin.blame(&label, &complaint));
            };
            let page = page(path).map_err(|complaint| value.origin.blame(&label, &complaint))?;
            match page {
                Some(path) => self.settings.error_pages.insert(status, path),
                None => self.settings.error_pages.remove(&status),
            };
        }
        Ok(())
    }

    fn read_types(&mut self, source: &Source<'_>, table: &DeTable<'_>) -> Result<(), ConfigError> {
        let mut seen = Vec::new();
        for entry in entries(table) {
            let label = self.label(&format!("types.{}", entry.leaf.escape_debug()));
            let value = source.value(entry.value, source.origin(entry.offset));
            let blame = |complaint: &str| Err(value.origin.blame(&label, complaint));
            let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte);
            if entry.leaf.is_empty() || !entry.leaf.bytes().all(is_letter) {
                return blame(
                    "it must be what follows the last dot of a file name, without the dot",
                );
            }
            let Given::Text(media_type) = value.given else {
                let complaint = format!(
                    "{} was given, it must be a media type, as in \"text/plain; charset=utf-8\"",
                    value.described
                );
                return blame(&complaint);
            };
            if let Err(complaint) = check_media_type(media_type) {
                return blame(&complaint);
            }
            let extension = entry.leaf.to_ascii_lowercase();
            if seen.contains(&extension) {
                return blame("it is given twice, upper and lower case make no difference");
            }
            let types = &mut self.settings.types;
            types.insert(extension.clone(), media_type.to_owned());
            seen.push(extension);
        }
        Ok(())
    }

    fn read_header(&mut self, table: &RuleTable<'_>) -> Result<(), ConfigError> {
        table.check_keys(&["path", "set", "unset", "status", "type"])?;
        let path = table.required("path", "the pattern of the paths it is for")?;
        let rule = HeaderRule {
            path: table.parsed("path", &path, str::parse)?,
            status: table.statuses()?,
            types: table.media_ranges()?,
            set: table.fields_to_set()?,
            unset: table.fields_to_unset()?,
        };
        if rule.set.is_empty() && rule.unset.is_empty() {
            let complaint =
                "it changes nothing: add set = { Name = \"value\" } or unset = [\"Name\"]";
            return Err(table.origin.blame(&table.label, complaint));
        }
        if let Some((name, _)) = rule.set.iter().find(|(name, _)| rule.unset.contains(name)) {
            let complaint = format!("{name} cannot be both set and left out");
            return Err(table.origin.blame(&table.label, &complaint));
        }
        self.settings.headers.push(rule);
        self.header_origins.push(table.origin.clone());
        Ok(())
    }

    fn read_redirect(&mut self, table: &RuleTable<'_>) -> Result<(), ConfigError> {
        table.check_keys(&["from", "to", "status"])?;
        let from = table.required("from", "the pattern of the paths it is for")?;
        let from: crate::config::Pattern = table.parsed("from", &from, str::parse)?;
        let status = table.redirect_status()?;
        let to = table.redirect_target(status, from.stars())?;
        self.settings.redirects.push(Redirect { from, to, status });
        self.redirect_origins.push(table.origin.clone());
        Ok(())
    }

    fn read_rewrite(&mut self, table: &RuleTable<'_>) -> Result<(), ConfigError> {
        table.check_keys(&["from", "to"])?;
        let from = table.required("from", "the pattern of the paths it is for")?;
        let to = table.required("to", "the path that is served in their place")?;
        let from: crate::config::Pattern = table.parsed("from", &from, str::parse)?;
        let stars = from.stars();
        self.settings.rewrites.push(Rewrite {
            to: table.parsed("to", &to, |text| PathTemplate::parse(text, stars))?,
            from,
        });
        Ok(())
    }
}

/// The table of one rule.
pub(super) struct RuleTable<'a> {
    pub(super) source: &'a Source<'a>,
    table: &'a DeTable<'a>,
    /// The name of the table in errors.
    label: String,
    /// Where the table begins.
    origin: Origin,
}

/// A text of a rule, and where it stands.
pub(super) struct Written<'a> {
    pub text: &'a str,
    pub origin: Origin,
}

/// The tables of `[[header]]` and the like.
fn rule_tables<'a>(
    source: &'a Source<'a>,
    label: &str,
    entry: &'a Entry<'a>,
) -> Result<Vec<RuleTable<'a>>, ConfigError> {
    let expectation = format!("it must be a table for each: write [[{label}]] before its keys");
    let DeValue::Array(array) = entry.value.get_ref() else {
        let complaint = format!("{} was given, {expectation}", source.described(entry.value));
        return Err(source.origin(entry.offset).blame(label, &complaint));
    };
    let mut tables = Vec::with_capacity(array.len());
    for item in array {
        let origin = source.origin(item.span().start);
        let DeValue::Table(table) = item.get_ref() else {
            let complaint = format!("{} was given, {expectation}", source.described(item));
            return Err(origin.blame(label, &complaint));
        };
        tables.push(RuleTable {
            source,
            table,
            label: label.to_owned(),
            origin,
        });
    }
    Ok(tables)
}

impl<'a> RuleTable<'a> {
    /// Refuses a key that is none of `known`.
    pub fn check_keys(&self, known: &[&str]) -> Result<(), ConfigError> {
        for entry in entries(self.table) {
            if !known.contains(&entry.leaf) {
                let hint = match nearest_of(known, entry.leaf) {
                    Some(name) => format!("did you mean {}.{name}?", self.label),
                    None => format!("the keys of [[{}]] are {}", self.label, known.join(", ")),
                };
                let label = self.key(&entry.leaf.escape_debug().to_string());
                let complaint = format!("there is no such key, {hint}");
                return Err(self.source.origin(entry.offset).blame(&label, &complaint));
            }
        }
        Ok(())
    }

    pub fn key(&self, leaf: &str) -> String {
        format!("{}.{leaf}", self.label)
    }

    /// Where the key `leaf` stands, and its value.
    pub fn find(&self, leaf: &str) -> Option<(Origin, &'a Spanned<DeValue<'a>>)> {
        let (key, value) = self.table.get_key_value(leaf)?;
        Some((self.source.origin(key.span().start), value))
    }

    pub fn required(&self, leaf: &str, meaning: &str) -> Result<Written<'a>, ConfigError> {
        let Some((origin, value)) = self.find(leaf) else {
            let complaint = format!("it is missing, it must be {meaning}");
            return Err(self.origin.blame(&self.key(leaf), &complaint));
        };
        let described = self.source.described(value);
        match value.get_ref() {
            DeValue::String(text) => Ok(Written { text, origin }),
            _ => {
                let complaint = format!("{described} was given, it must be {meaning}");
                Err(origin.blame(&self.key(leaf), &complaint))
            }
        }
    }

    pub fn parsed<T>(
        &self,
        leaf: &str,
        written: &Written<'_>,
        parse: impl Fn(&str) -> Result<T, crate::config::invalid_text::InvalidText>,
    ) -> Result<T, ConfigError> {
        parse(written.text)
            .map_err(|error| written.origin.blame(&self.key(leaf), &error.to_string()))
    }

    fn redirect_status(&self) -> Result<u16, ConfigError> {
        let Some((origin, value)) = self.find("status") else {
            return Ok(REDIRECT_STATUS_DEFAULT);
        };
        let value = self.source.value(value, origin);
        let status = match value.given {
            Given::Integer(Some(number)) => u16::try_from(number).ok(),
            _ => None,
        };
        status
            .filter(|status| {
                REDIRECT_STATUSES.contains(status) || WITHDRAWN_STATUSES.contains(status)
            })
            .ok_or_else(|| {
                let complaint = format!(
                    "{} was given, it must be 301, 302, 303, 307 or 308, or without a target 403, \
                     404, 410 or 451",
                    value.described
                );
                value.origin.blame(&self.key("status"), &complaint)
            })
    }

    /// Where a redirect with this `status` leads, if it leads anywhere.
    fn redirect_target(
        &self,
        status: u16,
        stars: usize,
    ) -> Result<Option<UriTemplate>, ConfigError> {
        if !WITHDRAWN_STATUSES.contains(&status) {
            let meaning =
                "where they are now; for a path that is gone write status = 410 and no target";
            let to = self.required("to", meaning)?;
            return self
                .parsed("to", &to, |text| UriTemplate::parse(text, stars))
                .map(Some);
        }
        let Some((origin, _)) = self.find("to") else {
            return Ok(None);
        };
        let complaint = format!(
            "an answer with status {status} leads nowhere: leave the target out, or make the status \
             301, 302, 303, 307 or 308"
        );
        Err(origin.blame(&self.key("to"), &complaint))
    }

    fn fields_to_set(&self) -> Result<Vec<(FieldName, FieldValue)>, ConfigError> {
        let label = self.key("set");
        let Some((origin, value)) = self.find("set") else {
            return Ok(Vec::new());
        };
        let DeValue::Table(table) = value.get_ref() else {
            let described = self.source.described(value);
            let complaint = format!(
                "{described} was given, it must be a table, as in {{ Cache-Control = \"no-cache\" }}"
            );
            return Err(origin.blame(&label, &complaint));
        };
        let mut fields: Vec<(FieldName, FieldValue)> = Vec::with_capacity(table.len());
        for entry in entries(table) {
            let origin = self.source.origin(entry.offset);
            let blame = |complaint: String| origin.blame(&label, &complaint);
            let name = FieldName::to_set(entry.leaf).map_err(|error| blame(error.to_string()))?;
            let DeValue::String(text) = entry.value.get_ref() else {
                let described = self.source.described(entry.value);
                return Err(blame(format!(
                    "{described} was given for {name}, it must be a value in quotes"
                )));
            };
            let value = FieldValue::parse(text).map_err(|error| blame(error.to_string()))?;
            if fields.iter().any(|(other, _)| *other == name) {
                return Err(blame(format!(
                    "{name} is given twice, upper and lower case make no difference"
                )));
            }
            fields.push((name, value));
        }
        Ok(fields)
    }

    fn fields_to_unset(&self) -> Result<Vec<FieldName>, ConfigError> {
        let meaning = "a list of field names, as in [\"ETag\"]";
        self.list("unset", meaning, FieldName::to_unset)
    }

    /// The texts of a list that may be missing, each read by `parse`.
    pub fn list<T>(
        &self,
        leaf: &str,
        meaning: &str,
        parse: impl Fn(&str) -> Result<T, crate::config::invalid_text::InvalidText>,
    ) -> Result<Vec<T>, ConfigError> {
        let Some((origin, value)) = self.find(leaf) else {
            return Ok(Vec::new());
        };
        let label = self.key(leaf);
        let value = self.source.value(value, origin);
        let expectation = format!("it must be {meaning}");
        let Given::List(items) = value.given else {
            let complaint = format!("{} was given, {expectation}", value.described);
            return Err(value.origin.blame(&label, &complaint));
        };
        let mut parsed = Vec::with_capacity(items.len());
        for item in items {
            let text = item.text.map_err(|described| {
                let complaint = format!("{described} was given, {expectation}");
                item.origin.blame(&label, &complaint)
            })?;
            let one = parse(text);
            parsed.push(one.map_err(|error| item.origin.blame(&label, &error.to_string()))?);
        }
        Ok(parsed)
    }
}
