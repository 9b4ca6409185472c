//! Settings in the making. Each value remembers where it came from, so that one that turns out to be
//! wrong, alone or together with another, is blamed on the right line or flag.

use std::collections::BTreeMap;

use super::kinds::Key;
use super::mistakes::{Mistakes, Origin};
use super::value::Value;

/// Settings of the type `T`, and the mistakes in them. A value that is wrong leaves the earlier one.
pub(super) struct Draft<T: 'static> {
    pub settings: T,
    pub mistakes: Mistakes,
    /// Precedes the names of keys in errors: empty, or `host.`.
    prefix: &'static str,
    /// By the name of the key. A key that is missing has its default or is inherited.
    origins: BTreeMap<&'static str, Origin>,
}

impl<T> Draft<T> {
    pub fn new(settings: T, prefix: &'static str) -> Draft<T> {
        Draft {
            settings,
            mistakes: Mistakes::default(),
            prefix,
            origins: BTreeMap::new(),
        }
    }

    /// A draft that begins with `settings`, and with the origins of this one but for that of `own`.
    pub fn heir(&self, settings: T, prefix: &'static str, own: &str) -> Draft<T> {
        let mut origins = self.origins.clone();
        origins.remove(own);
        Draft {
            origins,
            ..Draft::new(settings, prefix)
        }
    }

    /// Sets one key.
    pub fn set(&mut self, key: &'static Key<T>, value: &Value<'_>) {
        let label = self.label(key.name);
        let result = key.set(&mut self.settings, &label, value);
        self.mistakes.note(result);
        self.remember(key.name, value.origin.clone());
    }

    /// Notes where the value of the key `name` came from.
    pub fn remember(&mut self, name: &'static str, origin: Origin) {
        self.origins.insert(name, origin);
    }

    /// The name of a key in errors.
    pub fn label(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Whether the key has been set, or inherited. Its value may be wrong.
    pub fn has(&self, name: &str) -> bool {
        self.origins.contains_key(name)
    }

    /// Whether the value of the key is wrong.
    pub fn is_wrong(&self, name: &str) -> bool {
        self.mistakes.concern(&self.label(name))
    }

    pub fn origin(&self, name: &str) -> &Origin {
        self.origins.get(name).unwrap_or(&Origin::Default)
    }

    /// Blames the value of the key `name`.
    pub fn blame(&mut self, name: &str, complaint: impl Into<String>) {
        let mistake = self.origin(name).blame(self.label(name), complaint);
        self.mistakes.push(mistake);
    }

    /// Blames two keys that do not go together on the one that was set later, unless one of them is
    /// wrong by itself.
    pub fn blame_later(&mut self, names: [&str; 2], complaint: String) {
        let [first, second] = names;
        if !self.is_wrong(first) && !self.is_wrong(second) {
            let is_first = self.origin(first) > self.origin(second);
            self.blame(if is_first { first } else { second }, complaint);
        }
    }
}
