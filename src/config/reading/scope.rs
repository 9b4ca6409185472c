//! The keys of `[[header]]` that say which answers a rule is for: `status` and `type`.

use std::fmt::Display;
use std::str::FromStr;

use toml::Spanned;
use toml::de::DeValue;

use super::kinds::Given;
use super::mistakes::{ConfigError, Origin};
use super::tables::RuleTable;
use crate::config::{Statuses, TypeRange};

impl RuleTable<'_> {
    /// The statuses that the rule is for: one, a list of them, or `"any"`.
    pub(super) fn statuses(&self) -> Result<Statuses, ConfigError> {
        let Some((_, value)) = self.find("status") else {
            return Ok(Statuses::Unsaid);
        };
        if matches!(value.get_ref(), DeValue::String(text) if text == Statuses::ANY) {
            return Ok(Statuses::Any);
        }
        let expectation =
            "it must be a status, a list of them, as in [\"404\", \"5xx\"], or \"any\"";
        self.one_or_list("status", expectation)
            .map(Statuses::Listed)
    }

    /// The media types that the rule is for: none, one or a list of them.
    pub(super) fn media_ranges(&self) -> Result<Vec<TypeRange>, ConfigError> {
        if self.find("type").is_none() {
            return Ok(Vec::new());
        }
        let expectation =
            "it must be a media type or a list of them, as in \"text/html\" or [\"image/*\"]";
        self.one_or_list("type", expectation)
    }

    /// The value of `leaf`, which is one item or a list of some; a whole number is read as its digits.
    fn one_or_list<I>(&self, leaf: &str, expectation: &str) -> Result<Vec<I>, ConfigError>
    where
        I: FromStr + PartialEq + Display,
        I::Err: Display,
    {
        let Some((origin, value)) = self.find(leaf) else {
            return Ok(Vec::new());
        };
        let label = self.key(leaf);
        let written: Vec<(Origin, &Spanned<DeValue<'_>>)> = match value.get_ref() {
            DeValue::Array(array) => array
                .iter()
                .map(|item| (self.source.origin(item.span().start), item))
                .collect(),
            _ => vec![(origin.clone(), value)],
        };
        if written.is_empty() {
            let complaint = format!("the list is empty, {expectation}");
            return Err(origin.blame(&label, &complaint));
        }
        let mut items: Vec<I> = Vec::with_capacity(written.len());
        for (origin, value) in written {
            let text = match self.source.value(value, origin.clone()).given {
                Given::Text(text) => text.to_owned(),
                Given::Integer(Some(number)) => number.to_string(),
                _ => {
                    let described = self.source.described(value);
                    let complaint = format!("{described} was given, {expectation}");
                    return Err(origin.blame(&label, &complaint));
                }
            };
            let item: I = text
                .parse()
                .map_err(|error: I::Err| origin.blame(&label, &error.to_string()))?;
            if items.contains(&item) {
                return Err(origin.blame(&label, &format!("{item} is listed twice")));
            }
            items.push(item);
        }
        Ok(items)
    }
}
