//! Where a value came from, so that a value that turns out to be wrong, alone or together with
//! another, is blamed on the right line or flag.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from. The order is that of precedence, and of lines within the file: the
/// greater of two origins is the one to blame for a conflict.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    Default,
    File { line: usize, path: PathBuf },
    Flag(&'static str),
}

impl Origin {
    /// The error that says what is wrong with the value of `key` from here.
    pub fn blame(&self, key: &str, complaint: &str) -> ConfigError {
        let sentence = match self {
            Origin::Default => format!("{key}: {complaint}"),
            Origin::File { line, path } => {
                format!("{}:{line}: {key}: {complaint}", path.display())
            }
            Origin::Flag(flag) => format!("{flag}: {complaint}"),
        };
        ConfigError { sentence }
    }
}

/// Why there is no configuration: one sentence that names the file, line and key, or the flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    pub(super) sentence: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for ConfigError {}
