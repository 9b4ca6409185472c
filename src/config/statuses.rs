//! The statuses that a header rule is for.

use std::fmt;
use std::str::FromStr;

use super::invalid_text::InvalidText;

/// Which statuses a header rule is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Statuses {
    /// The rule has no statuses. All responses get its fields, except that its Cache-Control and Expires go
    /// only on 2xx and 3xx responses about the file at the path.
    #[default]
    Unspecified,
    /// `"any"`: all statuses, for all fields.
    Any,
    /// The statuses in these ranges, of which there is at least one.
    Listed(Vec<StatusRange>),
}

/// One status or a class of them (RFC 9110 section 15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusRange {
    /// `"404"`; 200 to 599.
    Code(u16),
    /// `"5xx"`: the first digit, 2 to 5.
    Class(u16),
}

impl Statuses {
    /// The text that stands for all statuses.
    pub(super) const ANY: &str = "any";

    /// Whether the rule applies to the status `code`.
    #[must_use]
    pub fn include(&self, code: u16) -> bool {
        match self {
            Statuses::Unspecified | Statuses::Any => true,
            Statuses::Listed(ranges) => ranges.iter().any(|range| range.contains(code)),
        }
    }
}

impl StatusRange {
    /// Whether the status `code` is in the range.
    #[must_use]
    pub fn contains(self, code: u16) -> bool {
        match self {
            StatusRange::Code(one) => one == code,
            StatusRange::Class(digit) => code / 100 == digit,
        }
    }
}

impl FromStr for StatusRange {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<StatusRange, InvalidText> {
        let is_digit = |byte: &u8| byte.is_ascii_digit();
        let range = match text.as_bytes() {
            [class @ b'2'..=b'5', b'x' | b'X', b'x' | b'X'] => {
                Some(StatusRange::Class(u16::from(class - b'0')))
            }
            [b'2'..=b'5', rest @ ..] if rest.len() == 2 && rest.iter().all(is_digit) => {
                text.parse().ok().map(StatusRange::Code)
            }
            _ => None,
        };
        range.ok_or_else(|| {
            let reason = "is no final status, write \"404\", or \"4xx\" for all of its class, or \
                          status = \"any\" for all";
            InvalidText::new(text, reason)
        })
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StatusRange::Code(code) => write!(f, "{code}"),
            StatusRange::Class(digit) => write!(f, "{digit}xx"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_a_status_or_its_class() {
        for (text, within, outside) in [
            ("404", &[404][..], &[403, 405, 400][..]),
            ("200", &[200], &[206, 304]),
            ("5xx", &[500, 503, 599], &[499, 404]),
            ("2XX", &[200, 206], &[304]),
        ] {
            let range: StatusRange = text.parse().unwrap();
            assert!(within.iter().all(|code| range.contains(*code)), "{text}");
            assert!(!outside.iter().any(|code| range.contains(*code)), "{text}");
            assert_eq!(range.to_string(), text.to_ascii_lowercase());
        }
    }

    #[test]
    fn no_other_text_is_a_range() {
        for text in [
            "", "4", "40", "4x4", "xxx", "4040", "1xx", "100", "6xx", "600", "+404", " 404", "any",
            "404,5xx", "40x",
        ] {
            let error = text.parse::<StatusRange>().unwrap_err().to_string();
            assert!(error.contains("is no final status"), "{error}");
        }
    }

    #[test]
    fn a_rule_without_statuses_includes_all() {
        let listed = Statuses::Listed(vec![StatusRange::Code(404), StatusRange::Class(5)]);
        for code in [200, 304, 404, 500] {
            assert!(Statuses::default().include(code) && Statuses::Any.include(code));
            assert_eq!(listed.include(code), code >= 400);
        }
    }
}
