//! Settings in the making. Each value remembers where it came from, so that one that turns out to be
//! wrong, alone or together with another, is blamed on the right line or flag.

use std::collections::BTreeMap;

use super::kinds::Key;
use super::validation_errors::{ValidationErrors, ValueSource};
use super::value::Value;

/// Settings of the type `T`, and the errors in them. A value that is wrong leaves the earlier one.
pub(super) struct Builder<T: 'static> {
    pub settings: T,
    pub errors: ValidationErrors,
    /// Precedes the names of keys in errors: empty, or `host.`.
    prefix: &'static str,
    /// By the name of the key. A key that is missing has its default or is inherited.
    sources: BTreeMap<&'static str, ValueSource>,
}

impl<T> Builder<T> {
    pub fn new(settings: T, prefix: &'static str) -> Builder<T> {
        Builder {
            settings,
            errors: ValidationErrors::default(),
            prefix,
            sources: BTreeMap::new(),
        }
    }

    /// A builder that begins with `settings`, and with the sources of this one but for that of `own`.
    pub fn inherit(&self, settings: T, prefix: &'static str, own: &str) -> Builder<T> {
        let mut sources = self.sources.clone();
        sources.remove(own);
        Builder {
            sources,
            ..Builder::new(settings, prefix)
        }
    }

    /// Sets one key.
    pub fn set(&mut self, key: &'static Key<T>, value: &Value<'_>) {
        let label = self.label(key.name);
        let result = key.set(&mut self.settings, &label, value);
        self.errors.note(result);
        self.remember(key.name, value.source.clone());
    }

    /// Notes where the value of the key `name` came from.
    pub fn remember(&mut self, name: &'static str, source: ValueSource) {
        self.sources.insert(name, source);
    }

    /// The name of a key in errors.
    pub fn label(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Whether the key has been set, or inherited. Its value may be wrong.
    pub fn has(&self, name: &str) -> bool {
        self.sources.contains_key(name)
    }

    /// Whether the value of the key is wrong.
    pub fn is_wrong(&self, name: &str) -> bool {
        self.errors.concern(&self.label(name))
    }

    pub fn source(&self, name: &str) -> &ValueSource {
        self.sources.get(name).unwrap_or(&ValueSource::Default)
    }

    /// Blames the value of the key `name`.
    pub fn report(&mut self, name: &str, message: impl Into<String>) {
        let error = self.source(name).error(self.label(name), message);
        self.errors.push(error);
    }

    /// Blames two keys that do not go together on the one that was set later, unless one of them is
    /// wrong by itself.
    pub fn report_conflict(&mut self, names: [&str; 2], message: String) {
        let [first, second] = names;
        if !self.is_wrong(first) && !self.is_wrong(second) {
            let is_first = self.source(first) > self.source(second);
            self.report(if is_first { first } else { second }, message);
        }
    }
}
