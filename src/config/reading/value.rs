//! Values as they were written, before a key has looked at them.

use std::borrow::Cow;

use super::validation_errors::{ValidationErrors, ValueSource};

/// Most letters of a value that an error quotes.
const QUOTED_MAX: usize = 40;

/// A value in the file, or of a flag.
#[derive(Debug)]
pub(super) struct Value<'t> {
    pub data: ValueData<'t>,
    /// As it stands there.
    pub raw: &'t str,
    /// Where it begins. For a table with a heading that is its name there.
    pub source: ValueSource,
}

/// The type of a value as it was written.
#[derive(Debug)]
pub(super) enum ValueData<'t> {
    /// `None`: too large for an `i128`.
    Integer(Option<i128>),
    Boolean(bool),
    Text(Cow<'t, str>),
    List(Vec<Value<'t>>),
    /// In the order of the file.
    Table(Vec<KeyValue<'t>>),
    /// Something that no key takes, by its name.
    Other(&'static str),
}

/// A key and its value as they stand in the file.
#[derive(Debug)]
pub(super) struct KeyValue<'t> {
    /// The last part of the name, without quotes.
    pub key: Cow<'t, str>,
    /// Where the key begins.
    pub source: ValueSource,
    pub value: Value<'t>,
}

impl<'t> Value<'t> {
    pub fn text(&self) -> Option<&str> {
        match &self.data {
            ValueData::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value as it stands in the file; the start of it if it is long.
    pub fn quoted(&self) -> String {
        match self.raw.char_indices().nth(QUOTED_MAX) {
            None => self.raw.to_owned(),
            Some((end, _)) => format!("{}...", &self.raw[..end]),
        }
    }

    /// The message about a value of the wrong kind. `expectation` says what it must be.
    pub fn must_be(&self, expectation: &str) -> String {
        format!("{} was given, it must be {expectation}", self.described())
    }

    /// Kind and text of the value, to precede "was given".
    pub fn described(&self) -> String {
        let kind = match &self.data {
            ValueData::Text(_) => "string",
            ValueData::Integer(_) => "number",
            ValueData::Boolean(_) => "boolean",
            ValueData::Other(kind) => kind,
            // These can be of many lines.
            ValueData::List(_) => return "a list".to_owned(),
            ValueData::Table(_) => return "a table".to_owned(),
        };
        format!("the {kind} {}", self.quoted())
    }

    /// The values of a list, or this value alone.
    pub fn one_or_list(&self) -> &[Value<'t>] {
        match &self.data {
            ValueData::List(items) => items,
            _ => std::slice::from_ref(self),
        }
    }

    /// Whether it is a list of tables, in part at least.
    pub fn has_tables(&self) -> bool {
        let is_table = |item: &Value<'_>| matches!(item.data, ValueData::Table(_));
        matches!(&self.data, ValueData::List(items) if items.iter().any(is_table))
    }

    /// The tables of a list of them, as `[[header]]`, and the place of each; `label` is the name of the
    /// list. All other items are errors.
    pub fn tables(
        &self,
        label: &str,
        errors: &mut ValidationErrors,
    ) -> Vec<(&[KeyValue<'t>], &ValueSource)> {
        let mut tables = Vec::new();
        let is_alone = !matches!(self.data, ValueData::List(_));
        for item in self.one_or_list() {
            match &item.data {
                ValueData::Table(pairs) if !is_alone => {
                    tables.push((pairs.as_slice(), &item.source))
                }
                _ => {
                    let expectation =
                        format!("a table for each: write [[{label}]] before its keys");
                    let message = item.must_be(&expectation);
                    errors.push(item.source.error(label, message));
                }
            }
        }
        tables
    }
}
