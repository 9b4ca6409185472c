//! Keys, the values that they accept, and how a value becomes a setting.
//!
//! A key belongs to settings of the type `T`: the whole [`crate::config::Config`], or those of one site.

use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::validation_errors::ValidationErrors;
use super::value::{Value, ValueData};

/// A configuration key.
pub(super) struct Key<T: 'static> {
    /// The dotted name, `keep_alive.timeout`. A key outside of a section has no dot.
    pub name: &'static str,
    pub accepted: AcceptedValues,
    /// Formats the setting as TOML.
    pub read: fn(&T) -> String,
    /// Sets the setting to a value, or refuses the value.
    pub write: for<'v> fn(&mut T, &'v Value<'v>) -> Result<(), Refusals<'v>>,
}

/// The values that a key accepts.
pub(super) enum AcceptedValues {
    /// Whole numbers of a unit. The range fits into the field, so the cast is lossless.
    Range(RangeInclusive<u64>, &'static str),
    /// A description, to follow "it must be".
    Other(&'static str),
}

/// The values that a key refuses: one, or some items of a list.
pub(super) type Refusals<'v> = Vec<(&'v Value<'v>, Reason)>;

/// The reason why a key refuses a value.
pub(super) enum Reason {
    WrongType,
    /// The value has an accepted type, but is not one of the choices.
    UnknownChoice,
    OutOfRange,
    Message(String),
}

/// A key for a whole number, with the type of its field for the cast. These macros are invoked with
/// braces, because rustfmt then leaves the tables of keys as they are.
macro_rules! int {
    ($name:literal, $range:expr, $unit:literal, $($field:ident).+ as $type:ty) => {
        Key {
            name: $name,
            accepted: AcceptedValues::Range($range, $unit),
            read: |settings| settings.$($field).+.to_string(),
            write: |settings, value| {
                settings.$($field).+ = value.integer($range)? as $type;
                Ok(())
            },
        }
    };
}
pub(super) use int;

/// A key for a boolean.
macro_rules! boolean {
    ($name:literal, $($field:ident).+) => {
        Key {
            name: $name,
            accepted: AcceptedValues::Other("true or false"),
            read: |settings| settings.$($field).+.to_string(),
            write: |settings, value| {
                let ValueData::Boolean(flag) = value.data else {
                    return Err(value.refused(Reason::WrongType));
                };
                settings.$($field).+ = flag;
                Ok(())
            },
        }
    };
}
pub(super) use boolean;

/// A key for one of a few words.
macro_rules! words {
    ($name:literal, $($field:ident).+, $accepted:literal, $($word:literal => $value:path),+) => {
        Key {
            name: $name,
            accepted: AcceptedValues::Other($accepted),
            read: |settings| match settings.$($field).+ {
                $($value => toml_string($word),)+
            },
            write: |settings, value| {
                settings.$($field).+ = value.choice(match value.text() {
                    $(Some($word) => Some($value),)+
                    _ => None,
                })?;
                Ok(())
            },
        }
    };
}
pub(super) use words;

impl<T> Key<T> {
    /// The section of the key; empty outside of a section.
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
        match &self.accepted {
            AcceptedValues::Range(..) => format!("a whole number, {}", self.accepted),
            AcceptedValues::Other(words) => (*words).to_owned(),
        }
    }

    /// Sets the key to `value`. `label` is the name of the key in errors.
    pub fn set(
        &self,
        settings: &mut T,
        label: &str,
        value: &Value<'_>,
    ) -> Result<(), ValidationErrors> {
        let expectation = self.expectation();
        (self.write)(settings, value).map_err(|refusals| {
            let error = |(value, reason): (&Value<'_>, Reason)| {
                let message = match reason {
                    Reason::WrongType => value.must_be(&expectation),
                    Reason::UnknownChoice => {
                        format!("{} was given, it must be {expectation}", value.quoted())
                    }
                    Reason::OutOfRange => {
                        let range = &self.accepted;
                        format!("{} is out of range, it must be {range}", value.quoted())
                    }
                    Reason::Message(message) => message,
                };
                value.source.error(label, message)
            };
            refusals.into_iter().map(error).collect()
        })
    }
}

impl Display for AcceptedValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AcceptedValues::Range(range, unit) => {
                write!(f, "{} to {} {unit}", range.start(), range.end())
            }
            AcceptedValues::Other(words) => f.write_str(words),
        }
    }
}

/// Conversions of a value for a key.
impl<'v> Value<'v> {
    /// The refusal of the value for `reason`.
    pub fn refused(&'v self, reason: Reason) -> Refusals<'v> {
        vec![(self, reason)]
    }

    /// The refusal of the value with `message`.
    pub fn refused_because(&'v self, message: impl Display) -> Refusals<'v> {
        self.refused(Reason::Message(message.to_string()))
    }

    /// The value as a whole number in `range`.
    pub fn integer(&'v self, range: RangeInclusive<u64>) -> Result<u64, Refusals<'v>> {
        let ValueData::Integer(number) = self.data else {
            return Err(self.refused(Reason::WrongType));
        };
        let number = number.and_then(|number| u64::try_from(number).ok());
        let within = number.filter(|number| range.contains(number));
        within.ok_or_else(|| self.refused(Reason::OutOfRange))
    }

    /// The choice that the value names; refuses the value if that is `None`.
    pub fn choice<C>(&'v self, choice: Option<C>) -> Result<C, Refusals<'v>> {
        let reason = match self.data {
            ValueData::Text(_) | ValueData::Integer(_) => Reason::UnknownChoice,
            _ => Reason::WrongType,
        };
        choice.ok_or_else(|| self.refused(reason))
    }

    /// The value as a text, parsed by `parse`.
    pub fn parsed<I, E: Display>(
        &'v self,
        parse: impl FnOnce(&str) -> Result<I, E>,
    ) -> Result<I, Refusals<'v>> {
        let text = self.text().ok_or_else(|| self.refused(Reason::WrongType))?;
        parse(text).map_err(|error| self.refused_because(error))
    }

    /// The value as a list of texts. Refuses an item that `is_exclusive` and repeats an earlier one.
    pub fn list<I>(&'v self, is_exclusive: fn(&I) -> bool) -> Result<Vec<I>, Refusals<'v>>
    where
        I: FromStr<Err: Display> + PartialEq + Display,
    {
        match self.data {
            ValueData::List(_) => self.list_or_one(is_exclusive),
            _ => Err(self.refused(Reason::WrongType)),
        }
    }

    /// As [`Value::list`], but accepts one text as a list of one item.
    pub fn list_or_one<I>(&'v self, is_exclusive: fn(&I) -> bool) -> Result<Vec<I>, Refusals<'v>>
    where
        I: FromStr<Err: Display> + PartialEq + Display,
    {
        let mut items: Vec<I> = Vec::new();
        let mut refusals = Vec::new();
        for item in self.one_or_list() {
            match item.parsed(str::parse::<I>) {
                Ok(parsed) if is_exclusive(&parsed) && items.contains(&parsed) => {
                    refusals.extend(item.refused_because(format!("{parsed} is listed twice")));
                }
                Ok(parsed) => items.push(parsed),
                Err(refused) => refusals.extend(refused),
            }
        }
        if refusals.is_empty() {
            Ok(items)
        } else {
            Err(refusals)
        }
    }
}

/// `text` as a TOML string.
pub(super) fn toml_string(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// `items` as a TOML list of strings.
pub(super) fn toml_list(items: &[impl Display]) -> String {
    let quoted = items.iter().map(|item| toml_string(&item.to_string()));
    format!("[{}]", quoted.collect::<Vec<_>>().join(", "))
}
