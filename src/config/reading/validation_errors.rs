//! The errors of a configuration: where each one is, and the error that tells all of them.

use std::fmt;
use std::path::Path;
use std::rc::Rc;

/// Most errors that an error tells one by one.
const TOLD_MAX: usize = 20;

/// Where a value came from. The order is that of precedence, and of places within the file: the
/// greater of two sources is the one to blame for a conflict.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ValueSource {
    Default,
    /// Line and column count from 1, the column in characters.
    File {
        line: usize,
        column: usize,
        path: Rc<Path>,
    },
    Flag(&'static str),
}

impl ValueSource {
    /// The error that something is wrong with the value of `subject` from here.
    pub fn error(&self, subject: impl Into<String>, message: impl Into<String>) -> ValidationError {
        ValidationError {
            source: self.clone(),
            subject: subject.into(),
            message: message.into(),
        }
    }
}

/// One error.
#[derive(Debug)]
pub(super) struct ValidationError {
    source: ValueSource,
    /// The key, dotted, or the file if it cannot be read.
    subject: String,
    /// A sentence without its end.
    message: String,
}

impl fmt::Display for ValidationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ValidationError {
            source,
            subject,
            message,
        } = self;
        match source {
            ValueSource::Default => write!(f, "{subject}: {message}"),
            ValueSource::File { line, column, path } => {
                let path = path.display();
                write!(f, "{path}:{line}: {subject}: {message} (column {column})")
            }
            ValueSource::Flag(flag) => write!(f, "{flag}: {message}"),
        }
    }
}

/// The errors found so far, in any order.
#[derive(Debug, Default)]
pub(super) struct ValidationErrors(Vec<ValidationError>);

impl ValidationErrors {
    pub fn push(&mut self, error: ValidationError) {
        self.0.push(error);
    }

    pub fn append(&mut self, mut others: ValidationErrors) {
        self.0.append(&mut others.0);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of `result`; without one its errors are added.
    pub fn note<T>(&mut self, result: Result<T, impl Into<ValidationErrors>>) -> Option<T> {
        result.map_err(|errors| self.append(errors.into())).ok()
    }

    /// Whether the value of the key `name` is wrong, and the settings hold an earlier one.
    pub fn concern(&self, name: &str) -> bool {
        self.0.iter().any(|error| error.subject == name)
    }

    /// The error that tells them; none if there are no errors. A general rule that is wrong for several
    /// hosts is told once.
    pub fn into_result<T>(mut self, value: T) -> Result<T, ConfigError> {
        if self.is_empty() {
            return Ok(value);
        }
        self.0.sort_by(|one, other| one.source.cmp(&other.source));
        self.0
            .dedup_by(|one, other| (&one.source, &one.message) == (&other.source, &other.message));
        let rest = self.0.len().saturating_sub(TOLD_MAX);
        // Paths and quoted values can hold line breaks.
        let line = |error: &ValidationError| error.to_string().replace(['\r', '\n'], " ");
        let mut lines: Vec<String> = self.0.iter().take(TOLD_MAX).map(line).collect();
        if rest > 0 {
            lines.push(format!("and {rest} more"));
        }
        Err(ConfigError { lines })
    }
}

impl From<ValidationError> for ValidationErrors {
    fn from(error: ValidationError) -> ValidationErrors {
        ValidationErrors(vec![error])
    }
}

impl FromIterator<ValidationError> for ValidationErrors {
    fn from_iter<I: IntoIterator<Item = ValidationError>>(errors: I) -> ValidationErrors {
        ValidationErrors(errors.into_iter().collect())
    }
}

/// Why there is no configuration: a line for each error, in the order of the file, flags last.
///
/// Each line names the file, line, key and column, or the flag. After 20 of them a last line tells the
/// number of the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    lines: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

impl std::error::Error for ConfigError {}
