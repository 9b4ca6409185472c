//! Media ranges: the media types that a header rule applies to.

use std::fmt;
use std::str::FromStr;

use super::invalid_text::InvalidText;

/// A media range without parameters (RFC 9110 section 12.5.1): a media type as `text/html`, or all types
/// with the same top-level type, as `image/*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaRange {
    /// In lower case.
    top_level: String,
    /// In lower case; `None` means any.
    subtype: Option<String>,
}

impl MediaRange {
    /// Whether `content_type`, a value of Content-Type, is in the range. Parameters and case are ignored
    /// (RFC 9110 section 8.3.1).
    #[must_use]
    pub fn contains(&self, content_type: &[u8]) -> bool {
        let mut parts = content_type.split(|byte| *byte == b';');
        let essence = parts.next().unwrap_or_default();
        let mut halves = essence.splitn(2, |byte| *byte == b'/');
        let is_half = |half: Option<&[u8]>, expected: &str| {
            half.is_some_and(|half| half.trim_ascii().eq_ignore_ascii_case(expected.as_bytes()))
        };
        is_half(halves.next(), &self.top_level)
            && match (&self.subtype, halves.next()) {
                (None, half) => half.is_some(),
                (Some(subtype), half) => is_half(half, subtype),
            }
    }
}

impl FromStr for MediaRange {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<MediaRange, InvalidText> {
        if text.contains(';') {
            let reason = "has a parameter, write the media type alone, as in \"text/html\"";
            return Err(InvalidText::new(text, reason));
        }
        // Tokens may contain a star (RFC 9110 section 5.6.2), but no registered type does.
        let is_letter =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&byte);
        let is_token = |half: &str| !half.is_empty() && half.bytes().all(is_letter);
        let half = |half: &str| half.to_ascii_lowercase();
        match text.split_once('/') {
            Some((top_level, "*")) if is_token(top_level) => Ok(MediaRange {
                top_level: half(top_level),
                subtype: None,
            }),
            Some((top_level, subtype)) if is_token(top_level) && is_token(subtype) => {
                Ok(MediaRange {
                    top_level: half(top_level),
                    subtype: Some(half(subtype)),
                })
            }
            _ => {
                let reason = "is no media type, write it as in \"text/html\" or \"image/*\"";
                Err(InvalidText::new(text, reason))
            }
        }
    }
}

impl fmt::Display for MediaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subtype = self.subtype.as_deref().unwrap_or("*");
        write!(f, "{}/{subtype}", self.top_level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_case_make_no_difference() {
        for (range, within, outside) in [
            (
                "text/html",
                &["text/html", "Text/HTML; charset=utf-8", "text/html ;a=b"][..],
                &["text/htm", "text/html5", "text", "", "atext/html", "text/"][..],
            ),
            (
                "Image/*",
                &["image/png", "image/svg+xml"],
                &["image", "images/png", "text/html; a=image/png"],
            ),
        ] {
            let parsed: MediaRange = range.parse().unwrap();
            for text in within {
                assert!(parsed.contains(text.as_bytes()), "{range} {text}");
            }
            for text in outside {
                assert!(!parsed.contains(text.as_bytes()), "{range} {text}");
            }
            assert_eq!(parsed.to_string(), range.to_ascii_lowercase());
        }
    }

    #[test]
    fn no_other_text_is_a_range() {
        for text in [
            "",
            "text",
            "text/",
            "/html",
            "*/*",
            "*",
            "*/html",
            "text/h*",
            "a b/c",
            "a/b/c",
            "text/html; charset=utf-8",
        ] {
            assert!(text.parse::<MediaRange>().is_err(), "{text}");
        }
    }
}
