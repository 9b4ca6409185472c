//! Values as they are written, before a key checks them.

use std::borrow::Cow;

use super::validation_errors::{ValidationErrors, ValueSource};

/// The most characters of a value that an error quotes.
const QUOTED_MAX: usize = 40;

/// A value of the file or of a flag.
#[derive(Debug)]
pub(super) struct Value<'t> {
    pub data: ValueData<'t>,
    /// The text of the value.
    pub raw: &'t str,
    /// The place where the value begins. For a table with a heading, this is the place of its name.
    pub source: ValueSource,
}

/// The type and content of a value.
#[derive(Debug)]
pub(super) enum ValueData<'t> {
    /// `None` if the number does not fit into an `i128`.
    Integer(Option<i128>),
    Boolean(bool),
    Text(Cow<'t, str>),
    List(Vec<Value<'t>>),
    /// The pairs in the order of the file.
    Table(Vec<KeyValue<'t>>),
    /// A type that no key accepts; the text names it.
    Other(&'static str),
}

/// A key and its value in the file.
#[derive(Debug)]
pub(super) struct KeyValue<'t> {
    /// The last part of the dotted name, without quotes.
    pub key: Cow<'t, str>,
    /// The place where the key begins.
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

    /// The text of the value, shortened to [`QUOTED_MAX`] characters.
    pub fn quoted(&self) -> String {
        match self.raw.char_indices().nth(QUOTED_MAX) {
            None => self.raw.to_owned(),
            Some((end, _)) => format!("{}...", &self.raw[..end]),
        }
    }

    /// The message for a value of the wrong type. `expectation` says what it must be.
    pub fn must_be(&self, expectation: &str) -> String {
        format!("{} was given, it must be {expectation}", self.described())
    }

    /// The type and text of the value, to be followed by "was given".
    pub fn described(&self) -> String {
        let kind = match &self.data {
            ValueData::Text(_) => "string",
            ValueData::Integer(_) => "number",
            ValueData::Boolean(_) => "boolean",
            ValueData::Other(kind) => kind,
            // Lists and tables can have many lines.
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

    /// Whether the value is a list that contains a table.
    pub fn has_tables(&self) -> bool {
        let is_table = |item: &Value<'_>| matches!(item.data, ValueData::Table(_));
        matches!(&self.data, ValueData::List(items) if items.iter().any(is_table))
    }

    /// The tables of a list such as `[[header]]`, each with its place. `label` is the name of the list. Any
    /// other item is an error.
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
