//! Settings under construction, with the source of each value. So an error, also one that several keys
//! cause together, names the right line or flag.

use std::collections::BTreeMap;

use super::kinds::Key;
use super::validation_errors::{ValidationErrors, ValueSource};
use super::value::Value;

/// Settings of the type `T`, and the errors in them. An invalid value leaves the setting as it is.
pub(super) struct Builder<T: 'static> {
    pub settings: T,
    pub errors: ValidationErrors,
    /// The prefix of key names in errors: empty, or `host.`.
    prefix: &'static str,
    /// The source of each key that has been set, here or in the inherited settings.
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

    /// A builder that begins with `settings` and the sources of this one, except the sources of `own`.
    pub fn inherit(&self, settings: T, prefix: &'static str, own: &[&str]) -> Builder<T> {
        let mut sources = self.sources.clone();
        sources.retain(|name, _| !own.contains(name));
        Builder {
            sources,
            ..Builder::new(settings, prefix)
        }
    }

    /// Sets one key.
    pub fn set(&mut self, key: &'static Key<T>, value: &Value<'_>) {
        let label = self.label(key.name);
        let result = key.set(&mut self.settings, &label, value);
        self.errors.record(result);
        self.remember(key.name, value.source.clone());
    }

    /// Records the source of the value of the key `name`.
    pub fn remember(&mut self, name: &'static str, source: ValueSource) {
        self.sources.insert(name, source);
    }

    /// The source of each key that has been set.
    pub fn sources(&self) -> &BTreeMap<&'static str, ValueSource> {
        &self.sources
    }

    /// The name of a key in errors.
    pub fn label(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Whether the key has been set or inherited. The value may be invalid.
    pub fn has(&self, name: &str) -> bool {
        self.sources.contains_key(name)
    }

    /// Whether the key has an invalid value.
    pub fn is_invalid(&self, name: &str) -> bool {
        self.errors.has_error_in(&self.label(name))
    }

    pub fn source(&self, name: &str) -> &ValueSource {
        self.sources.get(name).unwrap_or(&ValueSource::Default)
    }

    /// Records an error in the value of the key `name`.
    pub fn report(&mut self, name: &str, message: impl Into<String>) {
        let error = self.source(name).error(self.label(name), message);
        self.errors.push(error);
    }

    /// Records an error in two keys that conflict, at the one that was set later. If one of them is invalid
    /// by itself, nothing is recorded.
    pub fn report_conflict(&mut self, names: [&str; 2], message: String) {
        let [first, second] = names;
        if !self.is_invalid(first) && !self.is_invalid(second) {
            let is_first = self.source(first) > self.source(second);
            self.report(if is_first { first } else { second }, message);
        }
    }
}
