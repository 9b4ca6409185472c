//! The table of one rule, which reads each key on demand.

use std::fmt::Display;

use super::nearest::no_such_key;
use super::validation_errors::{ValidationErrors, ValueSource};
use super::value::{KeyValue, Value, ValueData};

/// A table such as `[[header]]`, and the errors found in it.
pub(super) struct RuleTable<'v> {
    pairs: &'v [KeyValue<'v>],
    /// The name of the table in errors.
    label: &'v str,
    /// The place where the table begins.
    source: &'v ValueSource,
    /// Whether no unknown key has been found.
    knows_all_keys: bool,
    pub errors: ValidationErrors,
}

impl<'v> RuleTable<'v> {
    pub fn new(
        label: &'v str,
        (pairs, source): (&'v [KeyValue<'v>], &'v ValueSource),
    ) -> RuleTable<'v> {
        RuleTable {
            pairs,
            label,
            source,
            knows_all_keys: true,
            errors: ValidationErrors::default(),
        }
    }

    /// Records an error for each key that is not in `known`.
    pub fn check_keys(&mut self, known: &[&str]) {
        for pair in self.pairs {
            if !known.contains(&&*pair.key) {
                let message = no_such_key(self.label, &pair.key, known);
                self.report_key(&pair.key.escape_debug().to_string(), &pair.source, message);
                self.knows_all_keys = false;
            }
        }
    }

    /// Records an error in the table as a whole.
    pub fn report(&mut self, message: impl Into<String>) {
        self.errors.push(self.source.error(self.label, message));
    }

    /// Records an error in the key `leaf` at `source`.
    pub fn report_key(&mut self, leaf: &str, source: &ValueSource, message: impl Into<String>) {
        let name = format!("{}.{leaf}", self.label);
        self.errors.push(source.error(name, message));
    }

    pub fn find(&self, leaf: &str) -> Option<&'v Value<'v>> {
        let pair = self.pairs.iter().find(|pair| pair.key == leaf)?;
        Some(&pair.value)
    }

    /// The required text of the key `leaf`, parsed by `parse`; `None` after recording an error.
    pub fn required<T, E: Display>(
        &mut self,
        leaf: &str,
        meaning: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let Some(value) = self.find(leaf) else {
            // An unknown key may be a misspelling of this one.
            if self.knows_all_keys {
                let message = format!("it is missing, it must be {meaning}");
                self.report_key(leaf, self.source, message);
            }
            return None;
        };
        let parsed = match value.text() {
            Some(text) => parse(text).map_err(|error| error.to_string()),
            None => Err(value.must_be(meaning)),
        };
        parsed
            .map_err(|message| self.report_key(leaf, &value.source, message))
            .ok()
    }

    /// The items of the optional list `leaf`, each parsed by `parse`.
    pub fn list<T, E: Display>(
        &mut self,
        leaf: &str,
        meaning: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        match self.find(leaf) {
            Some(value) if matches!(value.data, ValueData::List(_)) => {
                self.items(leaf, value, |item| match item.text() {
                    Some(text) => parse(text).map_err(|error| error.to_string()),
                    None => Err(item.must_be(meaning)),
                })
            }
            Some(value) => {
                self.report_key(leaf, &value.source, value.must_be(meaning));
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// The items of the list `value`, or `value` as the only item, each parsed by `parse`.
    pub fn items<T>(
        &mut self,
        leaf: &str,
        value: &Value<'_>,
        mut parse: impl FnMut(&Value<'_>) -> Result<T, String>,
    ) -> Vec<T> {
        let mut parsed = Vec::new();
        for item in value.one_or_list() {
            match parse(item) {
                Ok(item) => parsed.push(item),
                Err(message) => self.report_key(leaf, &item.source, message),
            }
        }
        parsed
    }
}
