//! The errors of a configuration, each with its place, and the report of all of them.

use std::fmt;
use std::path::Path;
use std::rc::Rc;

/// The most errors that the report lists one by one.
const REPORTED_MAX: usize = 20;

/// The source of a value. The order is that of precedence, and of places within the file. A conflict
/// between two values is reported at the greater source.
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
    /// An error in the value of `subject` at this place.
    pub fn error(&self, subject: impl Into<String>, message: impl Into<String>) -> ValidationError {
        ValidationError {
            source: self.clone(),
            subject: subject.into(),
            message: message.into(),
        }
    }
}

/// An error in one value.
#[derive(Debug)]
pub(super) struct ValidationError {
    source: ValueSource,
    /// The dotted name of the key, or the file if it cannot be read.
    subject: String,
    /// A sentence without a full stop.
    message: String,
}

impl ValidationError {
    /// The error in one line.
    fn line(&self) -> String {
        // Paths and quoted values can contain line breaks.
        self.to_string().replace(['\r', '\n'], " ")
    }
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

    /// The value of `result`; if there is none, its errors are added.
    pub fn record<T>(&mut self, result: Result<T, impl Into<ValidationErrors>>) -> Option<T> {
        result.map_err(|errors| self.append(errors.into())).ok()
    }

    /// Whether there is an error in the key `name`.
    pub fn has_error_in(&self, name: &str) -> bool {
        self.0.iter().any(|error| error.subject == name)
    }

    /// `value`, or the report of the errors if there are any. An error in an inherited rule is reported
    /// once, not for each host.
    pub fn into_result<T>(mut self, value: T) -> Result<T, ConfigError> {
        if self.is_empty() {
            return Ok(value);
        }
        self.0.sort_by(|one, other| one.source.cmp(&other.source));
        self.0
            .dedup_by(|one, other| (&one.source, &one.message) == (&other.source, &other.message));
        let rest = self.0.len().saturating_sub(REPORTED_MAX);
        let reported = self.0.iter().take(REPORTED_MAX);
        let mut lines: Vec<String> = reported.map(ValidationError::line).collect();
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

/// The errors of a configuration: a line for each, in the order of the file, flags last.
///
/// Each line names the file, line, key and column, or the flag. After 20 lines, a last one says how many
/// errors are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    lines: Vec<String>,
}

impl ConfigError {
    /// The report of a single error.
    pub(super) fn of(error: &ValidationError) -> ConfigError {
        ConfigError {
            lines: vec![error.line()],
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

impl std::error::Error for ConfigError {}
