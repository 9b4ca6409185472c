//! The TOML file: what is in it goes to the draft key by key, with the line it stands on.

use std::fs;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::ConfigError;
use super::draft::{Draft, Origin};
use super::keys::{self, Chosen, Kind};

impl Draft {
    /// Lets a TOML file win over what is there.
    pub fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let failed = |reason: &str| ConfigError {
            sentence: format!("{}: {reason}", path.display()),
        };
        let bytes = fs::read(path).map_err(|error| failed(&format!("cannot be read: {error}")))?;
        let text = String::from_utf8(bytes).map_err(|_| failed("it is not UTF-8 text"))?;
        let source = Source { path, text: &text };
        let document = DeTable::parse(&text).map_err(|error| source.syntax_error(&error))?;
        for entry in entries(document.get_ref()) {
            source.apply(&entry, self)?;
        }
        Ok(())
    }
}

/// A key and its value as they stand in the file.
struct Entry<'a> {
    /// Empty outside of a section.
    section: &'a str,
    leaf: &'a str,
    /// Where the key begins, in bytes from the start of the file.
    offset: usize,
    value: &'a Spanned<DeValue<'a>>,
}

/// All keys, in the order of the file, so that the first mistake is the one that is reported. What
/// is no known section is not opened: it is an entry itself.
fn entries<'a>(document: &'a DeTable<'a>) -> Vec<Entry<'a>> {
    let mut entries = Vec::new();
    for (name, value) in document {
        match value.get_ref() {
            DeValue::Table(table) if is_section(name.get_ref()) => {
                entries.extend(table.iter().map(|(leaf, value)| Entry {
                    section: name.get_ref(),
                    leaf: leaf.get_ref(),
                    offset: leaf.span().start,
                    value,
                }));
            }
            _ => entries.push(Entry {
                section: "",
                leaf: name.get_ref(),
                offset: name.span().start,
                value,
            }),
        }
    }
    entries.sort_by_key(|entry| entry.offset);
    entries
}

fn is_section(name: &str) -> bool {
    keys::sections().any(|section| section == name)
}

/// The file, for finding lines and quoting what was written.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    /// Hands one entry to the draft.
    fn apply(&self, entry: &Entry<'_>, draft: &mut Draft) -> Result<(), ConfigError> {
        let origin = self.origin(entry.offset);
        let name = dotted(entry.section, entry.leaf);
        let Some(key) = keys::named(&name) else {
            return Err(unknown(entry, &name, &origin));
        };
        match (&key.kind, entry.value.get_ref()) {
            (Kind::Integer { .. }, DeValue::Integer(integer)) => {
                let value = i128::from_str_radix(integer.as_str(), integer.radix()).ok();
                draft.set_integer(key, value, &self.written(entry.value), origin)
            }
            (Kind::Boolean { .. }, DeValue::Boolean(value)) => {
                draft.set_boolean(key, *value, origin)
            }
            (Kind::Choice { .. }, DeValue::String(word)) => {
                let word = Chosen::Word(word.as_ref());
                draft.set_choice(key, word, &self.written(entry.value), origin)
            }
            (Kind::Choice { .. }, DeValue::Integer(integer)) => {
                let value = i128::from_str_radix(integer.as_str(), integer.radix());
                let number = Chosen::Number(value.unwrap_or_default());
                draft.set_choice(key, number, &self.written(entry.value), origin)
            }
            (Kind::Path { .. }, DeValue::String(path)) => {
                draft.set_path(key, path.as_ref().into(), origin)
            }
            (Kind::Addresses { .. }, DeValue::Array(array)) => {
                let mut written = Vec::with_capacity(array.len());
                for item in array {
                    let origin = self.origin(item.span().start);
                    let DeValue::String(text) = item.get_ref() else {
                        return Err(draft.wrong_kind(key, &self.described(item), &origin));
                    };
                    written.push((text.as_ref(), origin));
                }
                draft.set_addresses(key, written, origin)
            }
            _ => Err(draft.wrong_kind(key, &self.described(entry.value), &origin)),
        }
    }

    fn origin(&self, offset: usize) -> Origin {
        Origin::File {
            line: self.line(offset),
            path: self.path.to_owned(),
        }
    }

    /// The line, from 1, that the byte at `offset` is on.
    fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().iter().take(offset);
        1 + before.filter(|byte| **byte == b'\n').count()
    }

    /// A value as it stands in the file; the start of it if it is long.
    fn written(&self, value: &Spanned<DeValue<'_>>) -> String {
        const LONGEST: usize = 40;
        let text = self.text.get(value.span()).unwrap_or_default();
        let mut letters = text.chars();
        let start: String = letters.by_ref().take(LONGEST).collect();
        match letters.next() {
            None => start,
            Some(_) => format!("{start}..."),
        }
    }

    /// What a value of the wrong kind is, to precede "was given".
    fn described(&self, value: &Spanned<DeValue<'_>>) -> String {
        let kind = match value.get_ref() {
            DeValue::String(_) => "string",
            DeValue::Integer(_) => "number",
            DeValue::Float(_) => "decimal number",
            DeValue::Boolean(_) => "boolean",
            DeValue::Datetime(_) => "date or time",
            // These can be of many lines.
            DeValue::Array(_) => return "a list".to_owned(),
            DeValue::Table(_) => return "a table".to_owned(),
        };
        format!(
            "the {kind} {}",
            self.written(value).replace(['\r', '\n'], " ")
        )
    }

    /// What is not TOML at all, or has a key twice.
    fn syntax_error(&self, error: &toml::de::Error) -> ConfigError {
        let span = error.span().unwrap_or(0..0);
        if error.message() == "duplicate key" {
            let leaf = self.text.get(span.clone()).unwrap_or_default().trim();
            let name = self.enclosing_name(leaf, span.start);
            return self.origin(span.start).blame(&name, "it is given twice");
        }
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        ConfigError {
            sentence: format!(
                "{}:{}: this is not TOML: {message}",
                self.path.display(),
                self.line(span.start),
            ),
        }
    }

    /// The dotted name of a key that repeats an earlier one. All before its line is valid, so the
    /// section that begins last up there is the one it is in.
    fn enclosing_name(&self, leaf: &str, offset: usize) -> String {
        let before = self.text.get(..offset).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let Ok(document) = DeTable::parse(&before[..line_start]) else {
            return leaf.to_owned();
        };
        let last = document
            .get_ref()
            .iter()
            .max_by_key(|(name, _)| name.span().start);
        match last {
            Some((section, value)) => match value.get_ref() {
                DeValue::Table(table) if table.contains_key(leaf) => {
                    dotted(section.get_ref(), leaf)
                }
                _ => leaf.to_owned(),
            },
            None => leaf.to_owned(),
        }
    }
}

fn dotted(section: &str, leaf: &str) -> String {
    if section.is_empty() {
        leaf.to_owned()
    } else {
        format!("{section}.{leaf}")
    }
}

/// The error for a key or section that there is not, with the one that was probably meant.
fn unknown(entry: &Entry<'_>, name: &str, origin: &Origin) -> ConfigError {
    // A key in quotes can hold anything, line breaks too.
    let name = &name.escape_debug().to_string();
    if entry.section.is_empty() && is_section(entry.leaf) {
        let complaint = format!("it is a section: write [{name}] and its keys on lines below");
        return origin.blame(name, &complaint);
    }
    let is_table = matches!(entry.value.get_ref(), DeValue::Table(_));
    if entry.section.is_empty() && is_table {
        let hint = match keys::nearest_section(entry.leaf) {
            Some(section) => format!("did you mean [{section}]?"),
            None => {
                let sections: Vec<&str> = keys::sections().collect();
                format!("the sections are {}", sections.join(", "))
            }
        };
        return origin.blame(name, &format!("there is no such section, {hint}"));
    }
    let hint = match keys::nearest(entry.section, entry.leaf) {
        Some(key) => format!("did you mean {}?", key.name),
        None => {
            let known = keys::KEYS
                .iter()
                .filter(|key| key.section() == entry.section);
            let known: Vec<&str> = known.map(|key| key.leaf()).collect();
            match entry.section {
                "" => format!("the keys outside of a section are {}", known.join(", ")),
                section => format!("the keys of [{section}] are {}", known.join(", ")),
            }
        }
    };
    origin.blame(name, &format!("there is no such key, {hint}"))
}
