//! The text of a configuration file: on which line what stands, and how it was written.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::kinds::{Given, Item, Value};
use super::mistakes::{ConfigError, Origin};
use super::site_draft::SPA;

/// The file, for finding lines and quoting what was written.
pub(super) struct Source<'a> {
    pub path: &'a Path,
    pub text: &'a str,
}

/// A key and its value as they stand in the file.
pub(super) struct Entry<'a> {
    pub leaf: &'a str,
    /// Where the key begins, in bytes from the start of the file.
    pub offset: usize,
    pub value: &'a Spanned<DeValue<'a>>,
}

/// The keys of a table, in the order of the file.
pub(super) fn entries<'a>(table: &'a DeTable<'a>) -> Vec<Entry<'a>> {
    let mut entries: Vec<_> = table
        .iter()
        .map(|(leaf, value)| Entry {
            leaf: leaf.get_ref(),
            offset: leaf.span().start,
            value,
        })
        .collect();
    entries.sort_by_key(|entry| entry.offset);
    entries
}

impl Source<'_> {
    /// The origin of what stands at `offset`.
    pub fn origin(&self, offset: usize) -> Origin {
        Origin::File {
            line: self.line(offset),
            path: self.path.to_owned(),
        }
    }

    /// The value of a key from `origin`.
    pub fn value<'v>(&self, value: &'v Spanned<DeValue<'v>>, origin: Origin) -> Value<'v> {
        let given = match value.get_ref() {
            DeValue::Integer(integer) => {
                Given::Integer(i128::from_str_radix(integer.as_str(), integer.radix()).ok())
            }
            DeValue::Boolean(flag) => Given::Boolean(*flag),
            DeValue::String(text) => Given::Text(text.as_ref()),
            DeValue::Array(array) => {
                Given::List(array.iter().map(|item| self.item(item)).collect())
            }
            _ => Given::Other,
        };
        Value {
            given,
            written: self.written(value),
            described: self.described(value),
            origin,
        }
    }

    fn item<'v>(&self, item: &'v Spanned<DeValue<'v>>) -> Item<'v> {
        Item {
            text: match item.get_ref() {
                DeValue::String(text) => Ok(text.as_ref()),
                _ => Err(self.described(item)),
            },
            origin: self.origin(item.span().start),
        }
    }

    /// The line, from 1, that the byte at `offset` is on.
    pub fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().iter().take(offset);
        1 + before.filter(|byte| **byte == b'\n').count()
    }

    /// A value as it stands in the file; the start of it if it is long.
    fn written(&self, value: &Spanned<DeValue<'_>>) -> String {
        const LONGEST: usize = 40;
        let text = self.text.get(value.span()).unwrap_or_default();
        let mut letters = text.chars();
        let start: String = letters.by_ref().take(LONGEST).collect();
        match letters.next() {
            None => start,
            Some(_) => format!("{start}..."),
        }
    }

    /// What a value of the wrong kind is, to precede "was given".
    pub fn described(&self, value: &Spanned<DeValue<'_>>) -> String {
        let kind = match value.get_ref() {
            DeValue::String(_) => "string",
            DeValue::Integer(_) => "number",
            DeValue::Float(_) => "decimal number",
            DeValue::Boolean(_) => "boolean",
            DeValue::Datetime(_) => "date or time",
            // These can be of many lines.
            DeValue::Array(_) => return "a list".to_owned(),
            DeValue::Table(_) => return "a table".to_owned(),
        };
        format!(
            "the {kind} {}",
            self.written(value).replace(['\r', '\n'], " ")
        )
    }

    /// What is not TOML at all, or has a key twice.
    pub fn syntax_error(&self, error: &toml::de::Error) -> ConfigError {
        let span = error.span().unwrap_or(0..0);
        if error.message() == "duplicate key" {
            let leaf = self.text.get(span.clone()).unwrap_or_default().trim();
            let name = self.enclosing_name(leaf, span.start);
            let complaint = match leaf.trim_matches(['[', ']', ' ']) {
                SPA => {
                    "it is given twice: write either one page, as in spa = \"/index.html\", or a \
                     table for each application, with [[spa]] before its keys"
                }
                _ => "it is given twice",
            };
            return self.origin(span.start).blame(&name, complaint);
        }
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        ConfigError {
            sentence: format!(
                "{}:{}: this is not TOML: {message}",
                self.path.display(),
                self.line(span.start),
            ),
        }
    }

    /// The dotted name of a key that repeats an earlier one. All before its line is valid, so the
    /// section that begins last up there is the one it is in.
    fn enclosing_name(&self, leaf: &str, offset: usize) -> String {
        let before = self.text.get(..offset).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let Ok(document) = DeTable::parse(&before[..line_start]) else {
            return leaf.to_owned();
        };
        let last = document
            .get_ref()
            .iter()
            .max_by_key(|(name, _)| name.span().start);
        let Some((section, value)) = last else {
            return leaf.to_owned();
        };
        let table = match value.get_ref() {
            DeValue::Array(array) => array.iter().last().map(Spanned::get_ref),
            value => Some(value),
        };
        match table {
            Some(DeValue::Table(table)) if table.contains_key(leaf) => {
                format!("{}.{leaf}", section.get_ref())
            }
            _ => leaf.to_owned(),
        }
    }
}
