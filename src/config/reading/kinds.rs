//! The kinds of value that keys take, and how one becomes a setting.
//!
//! A key belongs to a table of settings `T`: to the whole [`crate::config::Config`] or to one site's.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::mistakes::Mistakes;
use super::value::{Given, Value};

/// One key.
pub(super) struct Key<T: 'static> {
    /// Section and name, dotted: `keep_alive.timeout`. A key of no section has no dot.
    pub name: &'static str,
    /// What kind of value it takes, and how to reach that value in a `T`.
    pub kind: KeyKind<T>,
}

/// The kinds of value.
pub(super) enum KeyKind<T> {
    /// A whole number of `unit` in `range`. `write` is called with a number in that range only, and
    /// the range fits the field, so its cast loses nothing.
    Integer {
        range: RangeInclusive<u64>,
        unit: &'static str,
        read: fn(&T) -> u64,
        write: fn(&mut T, u64),
    },
    /// `true` or `false`.
    Boolean {
        read: fn(&T) -> bool,
        write: fn(&mut T, bool),
    },
    /// One of a few words, or a number or a boolean where the key takes one too. `write` says whether
    /// it knows the value; `read` gives it as TOML writes it.
    Choice {
        expectation: &'static str,
        read: fn(&T) -> String,
        write: fn(&mut T, &Value<'_>) -> bool,
    },
    /// A text, which `write` may refuse with a reason.
    Text {
        expectation: &'static str,
        read: fn(&T) -> String,
        write: fn(&mut T, &str) -> Result<(), String>,
    },
    /// A list of texts, which `write` may refuse, whole or because of some of them.
    List {
        expectation: &'static str,
        /// Whether a text that is no list is a list of one.
        or_one: bool,
        read: fn(&T) -> Vec<String>,
        write: fn(&mut T, &[&str]) -> Result<(), Vec<BadItem>>,
    },
}

/// A complaint about a list.
pub(super) struct BadItem {
    /// The index of the text that is wrong; `None`: it is the list as a whole.
    pub at: Option<usize>,
    pub complaint: String,
}

/// A key for a whole number, with the type of its field for the cast. These macros are invoked with
/// braces, which rustfmt leaves alone, so that a table of keys stays a table.
macro_rules! int {
    ($name:literal, $range:expr, $unit:literal, $($field:ident).+ as $type:ty) => {
        Key {
            name: $name,
            kind: KeyKind::Integer {
                range: $range,
                unit: $unit,
                read: |settings| settings.$($field).+ as u64,
                write: |settings, value| settings.$($field).+ = value as $type,
            },
        }
    };
}
pub(super) use int;

/// A key that is true or false.
macro_rules! boolean {
    ($name:literal, $($field:ident).+) => {
        Key {
            name: $name,
            kind: KeyKind::Boolean {
                read: |settings| settings.$($field).+,
                write: |settings, value| settings.$($field).+ = value,
            },
        }
    };
}
pub(super) use boolean;

/// A key that is one of a few words.
macro_rules! words {
    ($name:literal, $($field:ident).+, $expectation:literal, $($word:literal => $value:path),+) => {
        Key {
            name: $name,
            kind: KeyKind::Choice {
                expectation: $expectation,
                read: |settings| match settings.$($field).+ {
                    $($value => toml_string($word),)+
                },
                write: |settings, value| {
                    settings.$($field).+ = match value.text() {
                        $(Some($word) => $value,)+
                        _ => return false,
                    };
                    true
                },
            },
        }
    };
}
pub(super) use words;

impl<T> Key<T> {
    /// The section the key is in; empty for a key of none.
    pub fn section(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(section, _)| section)
    }

    /// The name within the section.
    pub fn leaf(&self) -> &'static str {
        let parts = self.name.split_once('.');
        parts.map_or(self.name, |(_, leaf)| leaf)
    }

    /// The accepted values, to follow "it must be".
    pub fn expectation(&self) -> String {
        match &self.kind {
            KeyKind::Integer { range, unit, .. } => {
                format!(
                    "a whole number, {} to {} {unit}",
                    range.start(),
                    range.end()
                )
            }
            KeyKind::Boolean { .. } => "true or false".to_owned(),
            KeyKind::Choice { expectation, .. }
            | KeyKind::Text { expectation, .. }
            | KeyKind::List { expectation, .. } => (*expectation).to_owned(),
        }
    }

    /// The key's value in `settings`, as TOML writes it.
    pub fn toml_value(&self, settings: &T) -> String {
        match &self.kind {
            KeyKind::Integer { read, .. } => read(settings).to_string(),
            KeyKind::Boolean { read, .. } => read(settings).to_string(),
            KeyKind::Choice { read, .. } => read(settings),
            KeyKind::Text { read, .. } => toml_string(&read(settings)),
            KeyKind::List { read, .. } => toml_list(read(settings)),
        }
    }

    /// Sets the key to `value`. `label` is its name for the error.
    pub fn set(&self, settings: &mut T, label: &str, value: &Value<'_>) -> Result<(), Mistakes> {
        let complaint = match (&self.kind, &value.given) {
            (KeyKind::List { or_one, write, .. }, given)
                if matches!(given, Given::List(_)) || (*or_one && value.text().is_some()) =>
            {
                return self.set_list(label, value, |texts| write(settings, texts));
            }
            (KeyKind::Boolean { write, .. }, Given::Boolean(flag)) => {
                write(settings, *flag);
                return Ok(());
            }
            (KeyKind::Text { write, .. }, Given::Text(text)) => match write(settings, text) {
                Ok(()) => return Ok(()),
                Err(complaint) => complaint,
            },
            (KeyKind::Choice { write, .. }, _) if write(settings, value) => return Ok(()),
            (KeyKind::Choice { .. }, Given::Text(_) | Given::Integer(_)) => {
                format!(
                    "{} was given, it must be {}",
                    value.quoted(),
                    self.expectation()
                )
            }
            (
                KeyKind::Integer {
                    range, unit, write, ..
                },
                Given::Integer(number),
            ) => match number.and_then(|number| u64::try_from(number).ok()) {
                Some(number) if range.contains(&number) => {
                    write(settings, number);
                    return Ok(());
                }
                _ => format!(
                    "{} is out of range, it must be {} to {} {unit}",
                    value.quoted(),
                    range.start(),
                    range.end()
                ),
            },
            _ => value.must_be(&self.expectation()),
        };
        Err(value.origin.blame(label, complaint).into())
    }

    /// Has `write` take the texts of a list.
    fn set_list(
        &self,
        label: &str,
        value: &Value<'_>,
        write: impl FnOnce(&[&str]) -> Result<(), Vec<BadItem>>,
    ) -> Result<(), Mistakes> {
        let items = value.one_or_list();
        let texts: Vec<&str> = items.iter().filter_map(Value::text).collect();
        if texts.len() < items.len() {
            let others = items.iter().filter(|item| item.text().is_none());
            let blame = |item: &Value<'_>| {
                let complaint = item.must_be(&self.expectation());
                item.origin.blame(label, complaint)
            };
            return Err(others.map(blame).collect());
        }
        write(&texts).map_err(|bad| {
            let blame = |bad: BadItem| {
                let item = bad.at.and_then(|at| items.get(at)).unwrap_or(value);
                item.origin.blame(label, bad.complaint)
            };
            bad.into_iter().map(blame).collect()
        })
    }
}

impl BadItem {
    /// A complaint about the list as a whole.
    pub fn whole(complaint: &str) -> Vec<BadItem> {
        vec![BadItem {
            at: None,
            complaint: complaint.to_owned(),
        }]
    }
}

/// Reads each of `texts`; refuses one that repeats an earlier one and `is_exclusive`.
pub(super) fn parse_each<I>(
    texts: &[&str],
    is_exclusive: fn(&I) -> bool,
) -> Result<Vec<I>, Vec<BadItem>>
where
    I: FromStr + PartialEq + fmt::Display,
    I::Err: fmt::Display,
{
    let mut items: Vec<I> = Vec::with_capacity(texts.len());
    let mut bad = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        let complaint = match text.parse::<I>() {
            Ok(item) if is_exclusive(&item) && items.contains(&item) => {
                format!("{item} is listed twice")
            }
            Ok(item) => {
                items.push(item);
                continue;
            }
            Err(error) => error.to_string(),
        };
        let at = Some(at);
        bad.push(BadItem { at, complaint });
    }
    if bad.is_empty() { Ok(items) } else { Err(bad) }
}

/// Each of `items` as it is written.
pub(super) fn written<I: fmt::Display>(items: &[I]) -> Vec<String> {
    items.iter().map(I::to_string).collect()
}

/// `text` as TOML writes it.
pub(super) fn toml_string(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A list of texts as TOML writes it.
pub(super) fn toml_list(texts: impl IntoIterator<Item = String>) -> String {
    let quoted: Vec<String> = texts.into_iter().map(|text| toml_string(&text)).collect();
    format!("[{}]", quoted.join(", "))
}
