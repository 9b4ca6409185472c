//! The table of one rule: its keys, each read when the rule asks for it.

use std::fmt::Display;

use super::mistakes::{Mistakes, Origin};
use super::nearest::no_such_key;
use super::value::{Given, KeyValue, Value};

/// A table of `[[header]]` or the like, and the mistakes that were found in it.
pub(super) struct RuleTable<'v> {
    pairs: &'v [KeyValue<'v>],
    /// The name of the table in errors.
    label: &'v str,
    /// Where the table begins.
    origin: &'v Origin,
    /// Whether none of the keys is unknown, as far as they were checked.
    knows_all_keys: bool,
    pub mistakes: Mistakes,
}

impl<'v> RuleTable<'v> {
    pub fn new(label: &'v str, (pairs, origin): (&'v [KeyValue<'v>], &'v Origin)) -> RuleTable<'v> {
        RuleTable {
            pairs,
            label,
            origin,
            knows_all_keys: true,
            mistakes: Mistakes::default(),
        }
    }

    /// Blames the keys that are none of `known`.
    pub fn check_keys(&mut self, known: &[&str]) {
        for pair in self.pairs {
            if !known.contains(&&*pair.key) {
                let complaint = no_such_key(self.label, &pair.key, known);
                self.blame_key(
                    &pair.key.escape_debug().to_string(),
                    &pair.origin,
                    complaint,
                );
                self.knows_all_keys = false;
            }
        }
    }

    /// Blames the table as a whole.
    pub fn blame(&mut self, complaint: impl Into<String>) {
        self.mistakes.push(self.origin.blame(self.label, complaint));
    }

    /// Blames the key `leaf`, which is at `origin`.
    pub fn blame_key(&mut self, leaf: &str, origin: &Origin, complaint: impl Into<String>) {
        let name = format!("{}.{leaf}", self.label);
        self.mistakes.push(origin.blame(name, complaint));
    }

    pub fn find(&self, leaf: &str) -> Option<&'v Value<'v>> {
        let pair = self.pairs.iter().find(|pair| pair.key == leaf)?;
        Some(&pair.value)
    }

    /// A text that must be there, read by `parse`; `None` is a mistake.
    pub fn required<T, E: Display>(
        &mut self,
        leaf: &str,
        meaning: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let Some(value) = self.find(leaf) else {
            // A key that is unknown may have been meant to be this one.
            if self.knows_all_keys {
                let complaint = format!("it is missing, it must be {meaning}");
                self.blame_key(leaf, self.origin, complaint);
            }
            return None;
        };
        let parsed = match value.text() {
            Some(text) => parse(text).map_err(|error| error.to_string()),
            None => Err(value.must_be(meaning)),
        };
        parsed
            .map_err(|complaint| self.blame_key(leaf, &value.origin, complaint))
            .ok()
    }

    /// The items of a list that may be missing, each read by `parse` from its text.
    pub fn list<T, E: Display>(
        &mut self,
        leaf: &str,
        meaning: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        match self.find(leaf) {
            Some(value) if matches!(value.given, Given::List(_)) => {
                self.items(leaf, value, |item| match item.text() {
                    Some(text) => parse(text).map_err(|error| error.to_string()),
                    None => Err(item.must_be(meaning)),
                })
            }
            Some(value) => {
                self.blame_key(leaf, &value.origin, value.must_be(meaning));
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// The items of the list `value`, or `value` alone, read by `parse`.
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
                Err(complaint) => self.blame_key(leaf, &item.origin, complaint),
            }
        }
        parsed
    }
}
