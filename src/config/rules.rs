//! The rules of a site: additional response fields, redirects and rewrites.

use std::fmt;

use super::invalid_text::InvalidText;
use super::media_range::MediaRange;
use super::pattern::Pattern;
use super::statuses::Statuses;
use super::target_template::{PathTemplate, UriTemplate};

/// `[[header]]`: fields of the responses for some paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderRule {
    /// The paths that the rule applies to.
    pub path: Pattern,
    /// The statuses that the rule applies to.
    pub status: Statuses,
    /// The media types that the rule applies to; an empty list means all.
    pub types: Vec<MediaRange>,
    /// Fields that replace those with the same name; no name occurs twice.
    pub set: Vec<(FieldName, FieldValue)>,
    /// Fields that are removed; none of them is in `set`.
    pub unset: Vec<FieldName>,
}

/// `[[redirect]]`: paths that are redirected, or withdrawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// The paths that the rule applies to.
    pub from: Pattern,
    /// The new location; `None` if the paths are withdrawn.
    pub to: Option<UriTemplate>,
    /// 301, 302, 303, 307 or 308 with a target; 403, 404, 410 or 451 without one.
    pub status: u16,
}

/// `[[rewrite]]`: paths that are answered as if another path had been requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// The paths that the rule applies to.
    pub from: Pattern,
    /// The path that replaces the requested one.
    pub to: PathTemplate,
}

/// The statuses of a [`Redirect`] that has a target.
pub(super) const REDIRECT_STATUSES: [u16; 5] = [301, 302, 303, 307, 308];

/// The statuses of a [`Redirect`] without a target. The file, if there is one, is not sent
/// (RFC 9110 section 15.5; 451 is RFC 7725).
pub(super) const WITHDRAWN_STATUSES: [u16; 4] = [403, 404, 410, 451];

/// The status of a [`Redirect`] that does not set one. Browsers do not cache it, so a mistake can be
/// corrected.
pub(super) const REDIRECT_STATUS_DEFAULT: u16 = 302;

/// A field name that a rule may set or remove (RFC 9110 section 5.1). It keeps its spelling.
#[derive(Debug, Clone)]
pub struct FieldName(String);

/// A field value (RFC 9110 section 5.5): visible ASCII, spaces and tabs, none at either end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldValue(String);

/// Fields that frame the message, or belong to the connection (RFC 9110 section 7.6.1).
const MESSAGE_FIELDS: [&str; 10] = [
    "Connection",
    "Content-Length",
    "Date",
    "Keep-Alive",
    "Proxy-Connection",
    "Server",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
];

/// Fields whose value depends on the file, the request or the status.
const CONTENT_FIELDS: [&str; 6] = [
    "Allow",
    "Content-Encoding",
    "Content-Range",
    "ETag",
    "Last-Modified",
    "Location",
];

impl FieldName {
    /// The name as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads the name of a field that a rule sets.
    ///
    /// # Errors
    /// The name is no token, or no rule may change the field.
    pub fn to_set(text: &str) -> Result<FieldName, InvalidText> {
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if text.is_empty() || !text.bytes().all(is_token) {
            let reason = "is no field name, which has letters, digits and hyphens";
            return Err(InvalidText::new(text, reason));
        }
        let is_among = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(text));
        if is_among(&MESSAGE_FIELDS) {
            let reason = "cannot be changed by a rule, because clients learn from such fields \
                          where an answer ends and how long the connection lasts";
            return Err(InvalidText::new(text, reason));
        }
        if is_among(&CONTENT_FIELDS) {
            let reason = "cannot be changed by a rule, it follows from the file and the request";
            return Err(InvalidText::new(text, reason));
        }
        Ok(FieldName(text.to_owned()))
    }

    /// Reads the name of a field that a rule removes.
    ///
    /// # Errors
    /// As [`FieldName::to_set`]; also for Vary, without which caches would mix up the variants.
    pub fn to_unset(text: &str) -> Result<FieldName, InvalidText> {
        let name = FieldName::to_set(text)?;
        if text.eq_ignore_ascii_case("Vary") {
            let reason = "cannot be left out, caches would send an answer to the wrong client";
            return Err(InvalidText::new(text, reason));
        }
        Ok(name)
    }
}

/// Field names are compared without case (RFC 9110 section 5.1).
impl PartialEq for FieldName {
    fn eq(&self, other: &FieldName) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for FieldName {}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FieldValue {
    /// The value, which may be empty.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads a value.
    ///
    /// # Errors
    /// The text contains a line break, another control character or a character outside of ASCII, or
    /// begins or ends with a space.
    pub fn parse(text: &str) -> Result<FieldValue, InvalidText> {
        if !text.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
            let reason = "is no field value, which is one line of ASCII";
            return Err(InvalidText::new(text, reason));
        }
        if text.trim() != text {
            let reason = "is no field value, which has no space at its ends";
            return Err(InvalidText::new(text, reason));
        }
        Ok(FieldValue(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_message_and_of_the_content_are_not_for_rules() {
        for name in ["Content-Length", "connection", "TE", "Date", "Server"] {
            let error = FieldName::to_set(name).unwrap_err().to_string();
            assert!(error.contains("where an answer ends"), "{error}");
        }
        for name in ["etag", "Content-Encoding", "Location"] {
            let error = FieldName::to_unset(name).unwrap_err().to_string();
            assert!(error.contains("follows from the file"), "{error}");
        }
        assert!(FieldName::to_set("Vary").is_ok());
        assert!(FieldName::to_unset("vary").is_err());
        for name in ["", "a b", "a:", "a\r\n", "\u{e9}"] {
            assert!(FieldName::to_set(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_value_is_one_line_of_ascii() {
        for value in ["", "a, b", "a\tb", "\"~\""] {
            assert!(FieldValue::parse(value).is_ok(), "{value:?}");
        }
        for value in ["a\r\nb", "a\nb", "\0", "\u{7f}", "caf\u{e9}", " a", "a\t"] {
            assert!(FieldValue::parse(value).is_err(), "{value:?}");
        }
    }
}
