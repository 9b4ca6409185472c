//! Targets of redirects and rewrites: text in which `$1` to `$9` stand for the parts that the stars match.

use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::invalid_text::InvalidText;
use super::pattern::{Captures, flaw_of_path, has_dot_segment};

/// A part of a target template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplatePart {
    /// Literal text.
    Literal(String),
    /// The part that the star at this index matches, counted from 0.
    Star(usize),
}

/// The target of a rewrite: a path, decoded, without a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate {
    text: String,
    parts: Vec<TemplatePart>,
}

/// The target of a redirect: a path of this site or a URI of another site. All literal text is
/// percent-encoded. Stars cannot occur in the scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UriTemplate {
    text: String,
    /// The scheme and authority of an absolute URI, as in `https://example.org`.
    pub site: Option<String>,
    /// The path, which begins with a slash.
    pub path: Vec<TemplatePart>,
    /// The query: the text after the `?`, if there is one.
    pub query: Option<Vec<TemplatePart>>,
    /// The fragment: the text after the `#`, if there is one.
    pub fragment: Option<Vec<TemplatePart>>,
    /// Whether the path has a percent-encoded slash or backslash, which no request path may have.
    has_escaped_slash: bool,
}

/// Characters that a URI must not contain (RFC 3986 section 2), except the percent sign.
const NOT_IN_A_URI: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}')
    .add(b'[')
    .add(b']')
    .add(b'#');

impl PathTemplate {
    /// Reads the target of a rewrite whose pattern has `stars` stars.
    ///
    /// # Errors
    /// The text is not a path, or refers to a star that the pattern does not have.
    pub fn parse(text: &str, stars: usize) -> Result<PathTemplate, InvalidText> {
        let refuse = |reason: &str| InvalidText::new(text, format!("is no target, {reason}"));
        if let Some(flaw) = flaw_of_path(text) {
            return Err(refuse(flaw));
        }
        Ok(PathTemplate {
            text: text.to_owned(),
            parts: parts(text, stars).map_err(|reason| refuse(&reason))?,
        })
    }

    /// The path with `captures` filled in, normalised; `None` if it has a segment `.` or `..`.
    #[must_use]
    pub fn expand(&self, captures: &Captures<'_>) -> Option<Vec<u8>> {
        let mut path = Vec::with_capacity(self.text.len() + 32);
        for part in &self.parts {
            path.extend_from_slice(match part {
                TemplatePart::Literal(text) => text.as_bytes(),
                TemplatePart::Star(index) => captures.part(*index),
            });
        }
        path.dedup_by(|next, previous| *next == b'/' && *previous == b'/');
        (!has_dot_segment(&path)).then_some(path)
    }
}

impl UriTemplate {
    /// Reads the target of a redirect whose pattern has `stars` stars.
    ///
    /// # Errors
    /// The text is neither a path nor an http or https URI, or refers to a star that the pattern does not have.
    pub fn parse(text: &str, stars: usize) -> Result<UriTemplate, InvalidText> {
        let refuse = |reason: &str| InvalidText::new(text, format!("is no target, {reason}"));
        if text.contains(char::is_control) {
            return Err(refuse("a URI contains no control character"));
        }
        let (site, rest) = split_site(text).map_err(refuse)?;
        let (rest, fragment) = split(rest, '#');
        let (path, query) = split(rest, '?');
        let path = if path.is_empty() { "/" } else { path };
        if path.contains("//") && site.is_none() {
            return Err(refuse("two slashes in a row would be read as a host"));
        }
        if has_dot_segment(&percent_decode_str(path).collect::<Vec<u8>>()) {
            return Err(refuse("write the path without the segments . and .."));
        }
        let encoded = |part: &str| -> Result<Vec<TemplatePart>, InvalidText> {
            if !has_whole_escapes(part) {
                return Err(refuse(
                    "two hexadecimal digits must follow a percent sign, write %25 for the sign itself",
                ));
            }
            let text = utf8_percent_encode(part, NOT_IN_A_URI).to_string();
            parts(&text, stars).map_err(|reason| refuse(&reason))
        };
        let path = encoded(path)?;
        Ok(UriTemplate {
            has_escaped_slash: path.iter().any(has_escaped_slash),
            site: site.map(str::to_owned),
            path,
            query: query.map(encoded).transpose()?,
            fragment: fragment.map(encoded).transpose()?,
            text: text.to_owned(),
        })
    }

    /// The path of this site that the target names, decoded; `None` if it names another site, or if the
    /// server refuses the path.
    pub(super) fn local_path(&self, captures: &Captures<'_>) -> Option<Vec<u8>> {
        if self.site.is_some() || self.has_escaped_slash {
            return None;
        }
        let mut path = Vec::new();
        for part in &self.path {
            match part {
                TemplatePart::Literal(text) => path.extend(percent_decode_str(text)),
                TemplatePart::Star(index) => path.extend_from_slice(captures.part(*index)),
            }
        }
        path.dedup_by(|next, previous| *next == b'/' && *previous == b'/');
        Some(path)
    }
}

fn has_escaped_slash(part: &TemplatePart) -> bool {
    let TemplatePart::Literal(text) = part else {
        return false;
    };
    let text = text.to_ascii_lowercase();
    text.contains("%2f") || text.contains("%5c")
}

/// Writes the form that [`PathTemplate::parse`] reads.
impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Writes the form that [`UriTemplate::parse`] reads.
impl fmt::Display for UriTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Splits `text` after the scheme and authority, if there are any.
fn split_site(text: &str) -> Result<(Option<&str>, &str), &'static str> {
    if text.starts_with('/') {
        return if text.starts_with("//") {
            Err("it begins with two slashes: write / for this site, https:// for another")
        } else {
            Ok((None, text))
        };
    }
    let lower = text.to_ascii_lowercase();
    let scheme_len = ["https://", "http://"]
        .iter()
        .find(|scheme| lower.starts_with(**scheme))
        .map(|scheme| scheme.len())
        .ok_or("it must begin with /, http:// or https://")?;
    let rest = &text[scheme_len..];
    let authority_len = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = &rest[..authority_len];
    if authority.contains('$') {
        return Err("the requested path must not choose the host: write the host out");
    }
    let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte);
    if authority.is_empty() || !authority.bytes().all(is_host_byte) {
        return Err("it does not name a host");
    }
    let (site, rest) = text.split_at(scheme_len + authority_len);
    Ok((Some(site), rest))
}

/// Splits `text` at the first `mark`.
fn split(text: &str, mark: char) -> (&str, Option<&str>) {
    text.split_once(mark)
        .map_or((text, None), |(before, after)| (before, Some(after)))
}

fn has_whole_escapes(text: &str) -> bool {
    text.match_indices('%').all(|(at, _)| {
        let digits = text.as_bytes().get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Splits `text` at its dollar signs.
fn parts(text: &str, stars: usize) -> Result<Vec<TemplatePart>, String> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '$' {
            literal.push(letter);
            continue;
        }
        match letters.next() {
            Some('$') => literal.push('$'),
            Some(digit @ '1'..='9') => {
                let number = digit as usize - '0' as usize;
                if number > stars {
                    return Err(format!(
                        "{}: ${number} stands for nothing",
                        match stars {
                            0 => "the pattern has no star".to_owned(),
                            1 => "the pattern has one star".to_owned(),
                            _ => format!("the pattern has {stars} stars"),
                        }
                    ));
                }
                if !literal.is_empty() {
                    parts.push(TemplatePart::Literal(std::mem::take(&mut literal)));
                }
                parts.push(TemplatePart::Star(number - 1));
            }
            _ => {
                return Err(
                    "1 to 9 must follow a dollar sign, write $$ for the sign itself".to_owned(),
                );
            }
        }
    }
    if !literal.is_empty() {
        parts.push(TemplatePart::Literal(literal));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::super::Pattern;
    use super::*;

    fn expand(from: &str, to: &str, path: &str) -> Option<String> {
        let pattern: Pattern = from.parse().unwrap();
        let to = PathTemplate::parse(to, pattern.stars()).unwrap();
        let expanded = to.expand(&pattern.captures(path.as_bytes()).unwrap())?;
        Some(String::from_utf8(expanded).unwrap())
    }

    #[test]
    fn stars_are_put_in_their_places() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(expand("/a/*/*", "/$2/$1", "/a/x/y"), some("/y/x"));
        assert_eq!(expand("/a/*", "/$1$1$$1", "/a/x"), some("/xx$1"));
        assert_eq!(expand("/a", "/caf\u{e9} b", "/a"), some("/caf\u{e9} b"));
        assert_eq!(expand("/a**", "/$1", "/a/b"), some("/b"));
        assert_eq!(expand("/a/**", "/b/$1/c", "/a/"), some("/b/c"));
    }

    #[test]
    fn a_rewrite_cannot_be_made_to_climb() {
        assert_eq!(expand("/*-*", "/a/$1$2", "/.-."), None);
        assert_eq!(expand("/*-*", "/a/$1/$2", "/.-b"), None);
    }

    #[test]
    fn the_parts_of_a_uri_are_told_apart_and_encoded() {
        let to = UriTemplate::parse("https://a.example:8/p \u{e9}/$1?q=$2&r#f%20", 2).unwrap();
        assert_eq!(to.site.as_deref(), Some("https://a.example:8"));
        let literal = |text: &str| TemplatePart::Literal(text.to_owned());
        assert_eq!(to.path, [literal("/p%20%C3%A9/"), TemplatePart::Star(0)]);
        let query = [literal("q="), TemplatePart::Star(1), literal("&r")];
        assert_eq!(to.query.as_deref(), Some(&query[..]));
        assert_eq!(to.fragment.as_deref(), Some(&[literal("f%20")][..]));
        let bare = UriTemplate::parse("HTTP://a.example?q", 0).unwrap();
        assert_eq!(
            (bare.path, bare.query),
            (vec![literal("/")], Some(vec![literal("q")]))
        );
    }

    #[test]
    fn a_target_that_the_server_refuses_is_no_path_of_this_site() {
        let pattern: Pattern = "/*".parse().unwrap();
        let captures = pattern.captures(b"/x").unwrap();
        for (to, local_path) in [
            ("/a%20b/$1", Some(&b"/a b/x"[..])),
            ("/a?%2F#%2F", Some(b"/a")),
            ("/a%2f$1", None),
            ("/$1%5C", None),
            ("/a\\b", None),
            ("https://a.example/", None),
        ] {
            let to = UriTemplate::parse(to, 1).unwrap();
            assert_eq!(to.local_path(&captures).as_deref(), local_path, "{to}");
        }
    }

    #[test]
    fn bad_targets_are_refused_with_their_reason() {
        for (text, reason) in [
            ("//evil.example/", "two slashes"),
            ("/a//b", "two slashes"),
            ("new", "must begin with /"),
            ("", "must begin with /"),
            ("javascript:alert(1)", "must begin with /"),
            ("https://$1.example/", "must not choose the host"),
            ("https:///a", "does not name a host"),
            ("https://user@a.example/", "does not name a host"),
            ("/a/../b", "without the segments"),
            ("/a/%2e%2E/b", "without the segments"),
            ("/a\r\nSet-Cookie: b", "control character"),
            ("/100%", "write %25"),
            ("/$2", "the pattern has one star: $2 stands for nothing"),
            ("/?a=$0", "1 to 9"),
            ("/a$", "write $$"),
        ] {
            let error = UriTemplate::parse(text, 1).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        for (text, reason) in [
            ("b", "begin with a slash"),
            ("https://a.example/", "begin with a slash"),
            ("/a?b", "without a query"),
            ("/a/../b", "resolved"),
            ("/$1", "the pattern has no star"),
        ] {
            let error = PathTemplate::parse(text, 0).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
