//! Parses a configuration file into values, each with its place and its text.

use std::path::Path;
use std::rc::Rc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::page::SPA;
use super::validation_errors::{ValidationError, ValueSource};
use super::value::{KeyValue, Value, ValueData};

/// Reads `text` as TOML.
///
/// # Errors
/// The text is not TOML, or has a key twice.
pub(super) fn parse<'t>(text: &'t str, path: &Path) -> Result<Vec<KeyValue<'t>>, ValidationError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let document = Document {
        text,
        line_starts: std::iter::once(0)
            .chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|newline| newline + 1))
            .collect(),
        path: path.into(),
    };
    match DeTable::parse(text) {
        Ok(table) => Ok(document.table(table.into_inner())),
        Err(error) => Err(document.syntax_error(&error)),
    }
}

/// The text of the file, for finding places and quoting values.
struct Document<'t> {
    text: &'t str,
    /// The offset of each line in bytes.
    line_starts: Vec<usize>,
    path: Rc<Path>,
}

impl<'t> Document<'t> {
    /// The place of the byte at `offset`.
    fn source(&self, offset: usize) -> ValueSource {
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = self.line_starts.get(line - 1).copied().unwrap_or_default();
        let before = self.text.get(start..offset).unwrap_or_default();
        ValueSource::File {
            line,
            column: before.chars().count() + 1,
            path: Rc::clone(&self.path),
        }
    }

    fn table(&self, table: DeTable<'t>) -> Vec<KeyValue<'t>> {
        let pairs = table.into_iter().map(|(key, value)| {
            let (key_at, value_at) = (key.span().start, value.span().start);
            let between = self.text.get(key_at..value_at);
            // The span of a table with a heading begins before its name, or on a line below.
            let follows = between.is_some_and(|between| !between.contains('\n'));
            KeyValue {
                key: key.into_inner(),
                source: self.source(key_at),
                value: self.value(value, if follows { value_at } else { key_at }),
            }
        });
        let mut pairs: Vec<_> = pairs.collect();
        pairs.sort_by(|one, other| one.source.cmp(&other.source));
        pairs
    }

    fn value(&self, value: Spanned<DeValue<'t>>, offset: usize) -> Value<'t> {
        Value {
            raw: self.text.get(value.span()).unwrap_or_default(),
            source: self.source(offset),
            data: match value.into_inner() {
                DeValue::Integer(integer) => {
                    ValueData::Integer(i128::from_str_radix(integer.as_str(), integer.radix()).ok())
                }
                DeValue::Boolean(flag) => ValueData::Boolean(flag),
                DeValue::String(text) => ValueData::Text(text),
                DeValue::Array(array) => {
                    let items = array.into_iter().map(|item| {
                        let offset = item.span().start;
                        self.value(item, offset)
                    });
                    ValueData::List(items.collect())
                }
                DeValue::Table(table) => ValueData::Table(self.table(table)),
                DeValue::Float(_) => ValueData::Other("decimal number"),
                DeValue::Datetime(_) => ValueData::Other("date or time"),
            },
        }
    }

    /// The error for a text that is not TOML, or has a key twice.
    fn syntax_error(&self, error: &toml::de::Error) -> ValidationError {
        let span = error.span().unwrap_or(0..0);
        let source = self.source(span.start);
        if error.message() != "duplicate key" {
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            return source.error("this is not TOML", message);
        }
        let leaf = self.text.get(span.clone()).unwrap_or_default().trim();
        let message = match leaf.trim_matches(['[', ']', ' ']) {
            SPA => {
                "it is given twice: write either one page, as in spa = \"/index.html\", or a table \
                 for each application, with [[spa]] before its keys"
            }
            _ => "it is given twice",
        };
        source.error(self.enclosing_name(leaf, span.start), message)
    }

    /// The dotted name of a key that repeats an earlier one. The text before its line is valid, so the key
    /// belongs to the last section of that text.
    fn enclosing_name(&self, leaf: &str, offset: usize) -> String {
        let before = self.text.get(..offset).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let above = DeTable::parse(&before[..line_start]);
        let tables = above.iter().flat_map(|document| document.get_ref());
        let last = tables.max_by_key(|(name, _)| name.span().start);
        let table = last.and_then(|(section, value)| match value.get_ref() {
            DeValue::Array(array) => Some((section, array.iter().last()?.get_ref())),
            value => Some((section, value)),
        });
        match table {
            Some((section, DeValue::Table(table))) if table.contains_key(leaf) => {
                format!("{}.{leaf}", section.get_ref())
            }
            _ => leaf.to_owned(),
        }
    }
}
