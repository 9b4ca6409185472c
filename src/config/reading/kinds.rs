//! The kinds of value that keys take, and how a value that was written becomes a setting.
//!
//! A key belongs to a table of settings `T`: to the whole [`crate::config::Config`] or to one site's.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::mistakes::{ConfigError, Origin};

/// One key.
pub(super) struct Key<T: 'static> {
    /// Section and name, dotted: `keep_alive.timeout`. A key of no section has no dot.
    pub name: &'static str,
    /// What kind of value it takes, and how to reach that value in a `T`.
    pub kind: Kind<T>,
}

/// The kinds of value.
pub(super) enum Kind<T> {
    /// A whole number of `unit`, `min` to `max` inclusive. `write` is called with a number in that
    /// range only, and the range fits the field, so its cast loses nothing.
    Integer {
        min: u64,
        max: u64,
        unit: &'static str,
        read: fn(&T) -> u64,
        write: fn(&mut T, u64),
    },
    /// `true` or `false`.
    Boolean {
        read: fn(&T) -> bool,
        write: fn(&mut T, bool),
    },
    /// One of a few words, or a number or a boolean where the key takes one too. `write` says whether it knows
    /// the value; `read` gives it as TOML writes it.
    Choice {
        expectation: &'static str,
        read: fn(&T) -> String,
        write: fn(&mut T, Chosen<'_>) -> bool,
    },
    /// A path, not empty.
    Path {
        read: fn(&T) -> &Path,
        write: fn(&mut T, PathBuf),
    },
    /// A text, which `write` may refuse with a reason.
    Text {
        expectation: &'static str,
        read: fn(&T) -> String,
        write: fn(&mut T, &str) -> Result<(), String>,
    },
    /// A list of texts, which `write` may refuse, whole or because of one of them.
    List {
        expectation: &'static str,
        /// Whether a text that is no list is a list of one.
        or_one: bool,
        read: fn(&T) -> Vec<String>,
        write: fn(&mut T, &[&str]) -> Result<(), BadItem>,
    },
}

/// A value for a key that takes a choice.
#[derive(Debug, Clone, Copy)]
pub(super) enum Chosen<'a> {
    Word(&'a str),
    /// `true` or `false`.
    Flag(bool),
    /// A whole number; what is out of an `i128`'s range is 0, which no such key takes.
    Number(i128),
}

/// What is wrong with a list.
pub(super) struct BadItem {
    /// The index of the text that is wrong; `None`: it is the list as a whole.
    pub at: Option<usize>,
    pub complaint: String,
}

/// A value as it was written, before its key has looked at it.
pub(super) struct Value<'a> {
    pub given: Given<'a>,
    /// As it stands there; the start of it if it is long.
    pub written: String,
    /// What it is, to precede "was given".
    pub described: String,
    pub origin: Origin,
}

/// The type of a value as it was written.
pub(super) enum Given<'a> {
    /// `None`: too large for an `i128`.
    Integer(Option<i128>),
    Boolean(bool),
    Text(&'a str),
    List(Vec<Item<'a>>),
    /// Something that no key takes.
    Other,
}

/// A member of a list. Each has its own origin: a list can run over many lines.
pub(super) struct Item<'a> {
    /// The text, or what it is instead.
    pub text: Result<&'a str, String>,
    pub origin: Origin,
}

impl<'a> Item<'a> {
    /// A text.
    pub fn text(text: &'a str, origin: Origin) -> Item<'a> {
        Item {
            text: Ok(text),
            origin,
        }
    }
}

impl<T> Key<T> {
    /// The section the key is in; empty for a key of none.
    pub fn section(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(section, _)| section)
    }

    /// The name within the section.
    pub fn leaf(&self) -> &'static str {
        self.name
            .split_once('.')
            .map_or(self.name, |(_, leaf)| leaf)
    }

    /// What a value must be, to follow "it must be".
    pub fn expectation(&self) -> String {
        match &self.kind {
            Kind::Integer { min, max, unit, .. } => {
                format!("a whole number, {min} to {max} {unit}")
            }
            Kind::Boolean { .. } => "true or false".to_owned(),
            Kind::Path { .. } => "a path in quotes".to_owned(),
            Kind::Choice { expectation, .. }
            | Kind::Text { expectation, .. }
            | Kind::List { expectation, .. } => (*expectation).to_owned(),
        }
    }

    /// The key's value in `settings`, as TOML writes it.
    pub fn toml_value(&self, settings: &T) -> String {
        match &self.kind {
            Kind::Integer { read, .. } => read(settings).to_string(),
            Kind::Boolean { read, .. } => read(settings).to_string(),
            Kind::Choice { read, .. } => read(settings),
            Kind::Path { read, .. } => toml_string(&read(settings).to_string_lossy()),
            Kind::Text { read, .. } => toml_string(&read(settings)),
            Kind::List { read, .. } => toml_list(read(settings)),
        }
    }

    /// Sets the key to `value`. `label` is its name for the error.
    pub fn set(&self, settings: &mut T, label: &str, value: &Value<'_>) -> Result<(), ConfigError> {
        match (&self.kind, &value.given) {
            (
                Kind::Integer {
                    min,
                    max,
                    unit,
                    write,
                    ..
                },
                Given::Integer(number),
            ) => {
                let number = number.and_then(|number| u64::try_from(number).ok());
                let Some(number) = number.filter(|number| (min..=max).contains(&number)) else {
                    let written = &value.written;
                    let complaint =
                        format!("{written} is out of range, it must be {min} to {max} {unit}");
                    return Err(value.origin.blame(label, &complaint));
                };
                write(settings, number);
                Ok(())
            }
            (Kind::Boolean { write, .. }, Given::Boolean(flag)) => {
                write(settings, *flag);
                Ok(())
            }
            (Kind::Choice { write, .. }, Given::Text(word)) => {
                let is_known = write(settings, Chosen::Word(word));
                self.known(is_known, label, value)
            }
            (Kind::Choice { write, .. }, Given::Integer(number)) => {
                let is_known = write(settings, Chosen::Number(number.unwrap_or_default()));
                self.known(is_known, label, value)
            }
            (Kind::Choice { write, .. }, Given::Boolean(flag))
                if write(settings, Chosen::Flag(*flag)) =>
            {
                Ok(())
            }
            (Kind::Path { write, .. }, Given::Text(path)) => {
                if path.is_empty() {
                    let complaint = "the path is empty, it must name a directory";
                    return Err(value.origin.blame(label, complaint));
                }
                write(settings, PathBuf::from(path));
                Ok(())
            }
            (Kind::Text { write, .. }, Given::Text(text)) => {
                write(settings, text).map_err(|complaint| value.origin.blame(label, &complaint))
            }
            (Kind::List { .. }, Given::List(items)) => self.set_list(settings, label, value, items),
            (Kind::List { or_one: true, .. }, Given::Text(text)) => {
                let items = [Item::text(text, value.origin.clone())];
                self.set_list(settings, label, value, &items)
            }
            _ => Err(self.wrong_kind(label, &value.described, &value.origin)),
        }
    }

    fn known(&self, is_known: bool, label: &str, value: &Value<'_>) -> Result<(), ConfigError> {
        if is_known {
            return Ok(());
        }
        Err(self.wrong_kind(label, &value.written, &value.origin))
    }

    fn set_list(
        &self,
        settings: &mut T,
        label: &str,
        value: &Value<'_>,
        items: &[Item<'_>],
    ) -> Result<(), ConfigError> {
        let Kind::List { write, .. } = &self.kind else {
            return Err(self.wrong_kind(label, &value.described, &value.origin));
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match &item.text {
                Ok(text) => texts.push(*text),
                Err(described) => return Err(self.wrong_kind(label, described, &item.origin)),
            }
        }
        write(settings, &texts).map_err(|bad| {
            let item = bad.at.and_then(|at| items.get(at));
            let origin = item.map_or(&value.origin, |item| &item.origin);
            origin.blame(label, &bad.complaint)
        })
    }

    /// The error for a value of a kind that the key does not take.
    fn wrong_kind(&self, label: &str, described: &str, origin: &Origin) -> ConfigError {
        let complaint = format!("{described} was given, it must be {}", self.expectation());
        origin.blame(label, &complaint)
    }
}

impl BadItem {
    /// A complaint about the list as a whole.
    pub fn whole(complaint: &str) -> BadItem {
        BadItem {
            at: None,
            complaint: complaint.to_owned(),
        }
    }

    /// A complaint about the text at the index `at`.
    pub fn at(at: usize, complaint: impl fmt::Display) -> BadItem {
        BadItem {
            at: Some(at),
            complaint: complaint.to_string(),
        }
    }
}

/// Reads each of `texts`; refuses one that repeats an earlier one and `is_exclusive`.
pub(super) fn parse_each<I>(texts: &[&str], is_exclusive: fn(&I) -> bool) -> Result<Vec<I>, BadItem>
where
    I: FromStr + PartialEq + fmt::Display,
    I::Err: fmt::Display,
{
    let mut items: Vec<I> = Vec::with_capacity(texts.len());
    for (at, text) in texts.iter().enumerate() {
        let item: I = text.parse().map_err(|error| BadItem::at(at, error))?;
        if is_exclusive(&item) && items.contains(&item) {
            return Err(BadItem::at(at, format!("{item} is listed twice")));
        }
        items.push(item);
    }
    Ok(items)
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
