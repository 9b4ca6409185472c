//! The mistakes of a configuration: where each one is, and the error that tells all of them.

use std::fmt;
use std::path::Path;
use std::rc::Rc;

/// Most mistakes that an error tells one by one.
const TOLD_MAX: usize = 20;

/// Where a value came from. The order is that of precedence, and of places within the file: the
/// greater of two origins is the one to blame for a conflict.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    Default,
    /// Line and column count from 1, the column in characters.
    File {
        line: usize,
        column: usize,
        path: Rc<Path>,
    },
    Flag(&'static str),
}

impl Origin {
    /// The mistake that something is wrong with the value of `subject` from here.
    pub fn blame(&self, subject: impl Into<String>, complaint: impl Into<String>) -> Mistake {
        Mistake {
            origin: self.clone(),
            subject: subject.into(),
            complaint: complaint.into(),
        }
    }
}

/// One mistake.
#[derive(Debug)]
pub(super) struct Mistake {
    origin: Origin,
    /// The key, dotted, or the file if it cannot be read.
    subject: String,
    /// A sentence without its end.
    complaint: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mistake {
            origin,
            subject,
            complaint,
        } = self;
        match origin {
            Origin::Default => write!(f, "{subject}: {complaint}"),
            Origin::File { line, column, path } => {
                let path = path.display();
                write!(f, "{path}:{line}: {subject}: {complaint} (column {column})")
            }
            Origin::Flag(flag) => write!(f, "{flag}: {complaint}"),
        }
    }
}

/// The mistakes found so far, in any order.
#[derive(Debug, Default)]
pub(super) struct Mistakes(Vec<Mistake>);

impl Mistakes {
    pub fn push(&mut self, mistake: Mistake) {
        self.0.push(mistake);
    }

    pub fn append(&mut self, mut others: Mistakes) {
        self.0.append(&mut others.0);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of `result`; without one its mistakes are added.
    pub fn note<T>(&mut self, result: Result<T, impl Into<Mistakes>>) -> Option<T> {
        result.map_err(|mistakes| self.append(mistakes.into())).ok()
    }

    /// Whether the value of the key `name` is wrong, and the settings hold an earlier one.
    pub fn concern(&self, name: &str) -> bool {
        self.0.iter().any(|mistake| mistake.subject == name)
    }

    /// The error that tells them; none if there are no mistakes. A general rule that is wrong for several
    /// hosts is told once.
    pub fn into_result<T>(mut self, value: T) -> Result<T, ConfigError> {
        if self.is_empty() {
            return Ok(value);
        }
        self.0.sort_by(|one, other| one.origin.cmp(&other.origin));
        self.0.dedup_by(|one, other| {
            (&one.origin, &one.complaint) == (&other.origin, &other.complaint)
        });
        let rest = self.0.len().saturating_sub(TOLD_MAX);
        // Paths and quoted values can hold line breaks.
        let line = |mistake: &Mistake| mistake.to_string().replace(['\r', '\n'], " ");
        let mut lines: Vec<String> = self.0.iter().take(TOLD_MAX).map(line).collect();
        if rest > 0 {
            lines.push(format!("and {rest} more"));
        }
        Err(ConfigError { lines })
    }
}

impl From<Mistake> for Mistakes {
    fn from(mistake: Mistake) -> Mistakes {
        Mistakes(vec![mistake])
    }
}

impl FromIterator<Mistake> for Mistakes {
    fn from_iter<I: IntoIterator<Item = Mistake>>(mistakes: I) -> Mistakes {
        Mistakes(mistakes.into_iter().collect())
    }
}

/// Why there is no configuration: a line for each mistake, in the order of the file, flags last.
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
