//! The error of everything here that is read from a text.

use std::fmt;

/// Why a text is not what it should be: one sentence that quotes it and says what is accepted.
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
