//! The error of all settings that are parsed from a text.

use std::fmt;

/// A parse error: one sentence that quotes the text and says what is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidText {
    sentence: String,
}

impl InvalidText {
    /// `reason` follows the quoted text.
    pub(super) fn new(text: &str, reason: impl fmt::Display) -> InvalidText {
        InvalidText {
            sentence: format!("{text:?} {reason}"),
        }
    }
}

impl fmt::Display for InvalidText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for InvalidText {}
