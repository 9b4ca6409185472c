//! Patterns of paths: `/old/*.html`, `/assets/**`.
//!
//! `*` matches any run of bytes within one segment, `**` any run at all; both may be empty. `/**/`
//! matches any number of directories, including none: `/**/*.css` is every style sheet of the site. All
//! other characters are literal. If a path matches in several ways, the stars on the left are greedy.
//!
//! A pattern is compared with the decoded and normalised path, so each name has one spelling. Matching
//! takes time linear in the path. A pattern with one star compares a prefix and a suffix; the `regex-automata`
//! crate matches those with more stars. It builds no automaton for them, which would take a fifth of a
//! millisecond for each of thousands.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use regex_automata::meta::Regex;

use super::invalid_text::InvalidText;
use super::pattern_expression::compile;

/// The most stars in a pattern: as many as `$1` to `$9` can name.
pub const STARS_MAX: usize = 9;

/// A pattern of paths. Two patterns are equal if their texts are.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    kind: PatternKind,
}

#[derive(Clone)]
enum PatternKind {
    /// No star.
    Exact,
    /// One star between two literals. `start` and `end` are its offsets in the text.
    SingleStar {
        start: usize,
        end: usize,
        /// Whether the star matches slashes.
        is_wide: bool,
    },
    /// Several stars. `start` and `end` are the offsets of the first and behind the last one.
    MultipleStars {
        start: usize,
        end: usize,
        /// Shared, because a clone of it has buffers of its own.
        regex: Arc<Regex>,
        stars: usize,
    },
}

/// The parts of a path that the stars of a pattern match, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Captures<'p> {
    parts: [&'p [u8]; STARS_MAX],
}

impl<'p> Captures<'p> {
    const NONE: Captures<'static> = Captures {
        parts: [&[]; STARS_MAX],
    };

    /// The part that the star at `index` matches, counted from 0; empty if there is no such star.
    #[must_use]
    pub fn part(&self, index: usize) -> &'p [u8] {
        self.parts.get(index).copied().unwrap_or_default()
    }
}

impl Pattern {
    /// The pattern `/**`, which matches every path.
    #[must_use]
    pub fn everything() -> Pattern {
        Pattern {
            text: "/**".to_owned(),
            kind: PatternKind::SingleStar {
                start: 1,
                end: 3,
                is_wide: true,
            },
        }
    }

    /// The number of stars; 0 to [`STARS_MAX`].
    #[must_use]
    pub fn stars(&self) -> usize {
        match &self.kind {
            PatternKind::Exact => 0,
            PatternKind::SingleStar { .. } => 1,
            PatternKind::MultipleStars { stars, .. } => *stars,
        }
    }

    /// The one path that a pattern without a star matches; `None` if there are stars.
    #[must_use]
    pub fn exact(&self) -> Option<&str> {
        matches!(self.kind, PatternKind::Exact).then_some(&self.text)
    }

    /// The text before the first star, with which every path begins that matches; without a star, the whole text.
    #[must_use]
    pub fn literal_prefix(&self) -> &str {
        let end = match &self.kind {
            PatternKind::Exact => self.text.len(),
            PatternKind::SingleStar { start, .. } | PatternKind::MultipleStars { start, .. } => {
                *start
            }
        };
        self.text.get(..end).unwrap_or_default()
    }

    /// Whether the pattern matches the whole of `path`, which is decoded and normalised.
    #[must_use]
    pub fn is_match(&self, path: &[u8]) -> bool {
        match &self.kind {
            PatternKind::Exact => path == self.text.as_bytes(),
            PatternKind::SingleStar { .. } => self.captures(path).is_some(),
            PatternKind::MultipleStars { end, regex, .. } => {
                self.has_ends(*end, path) && regex.is_match(path)
            }
        }
    }

    /// The parts that the stars match, if the pattern matches the whole of `path`, decoded and normalised.
    #[must_use]
    pub fn captures<'p>(&self, path: &'p [u8]) -> Option<Captures<'p>> {
        match &self.kind {
            PatternKind::Exact => (path == self.text.as_bytes()).then_some(Captures::NONE),
            PatternKind::SingleStar {
                start,
                end,
                is_wide,
            } => {
                let text = self.text.as_bytes();
                let middle = path.strip_prefix(&text[..*start])?;
                let middle = middle.strip_suffix(&text[*end..])?;
                let fits = *is_wide || memchr::memchr(b'/', middle).is_none();
                let mut captures = Captures::NONE;
                captures.parts[0] = middle;
                fits.then_some(captures)
            }
            PatternKind::MultipleStars { end, regex, .. } => {
                if !self.has_ends(*end, path) {
                    return None;
                }
                let mut found = regex.create_captures();
                regex.captures(path, &mut found);
                if !found.is_match() {
                    return None;
                }
                let mut captures = Captures::NONE;
                for (part, group) in captures.parts.iter_mut().zip(found.iter().skip(1)) {
                    *part = group
                        .and_then(|span| path.get(span.range()))
                        .unwrap_or_default();
                }
                Some(captures)
            }
        }
    }

    /// Whether `path` begins with the text before the first star, and ends with that from the offset `end` on, behind the
    /// last one. That rules out most paths, and costs little.
    fn has_ends(&self, end: usize, path: &[u8]) -> bool {
        let last = self.text.get(end..).unwrap_or_default();
        path.starts_with(self.literal_prefix().as_bytes()) && path.ends_with(last.as_bytes())
    }
}

impl FromStr for Pattern {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Pattern, InvalidText> {
        let refuse = |reason: &str| Err(InvalidText::new(text, format!("is no pattern, {reason}")));
        if let Some(flaw) = flaw_of_path(text) {
            return refuse(flaw);
        }
        if text.contains("***") {
            return refuse("three stars in a row: write * for one segment, ** for any number");
        }
        let stars = text.replace("**", "*").matches('*').count();
        let kind = match (stars, text.find('*')) {
            (_, None) => PatternKind::Exact,
            _ if stars > STARS_MAX => {
                return refuse("it has more than nine stars, and $9 is the last that can be used");
            }
            (1, Some(start)) if !text.contains("/**/") => {
                let is_wide = text[start..].starts_with("**");
                let end = start + if is_wide { 2 } else { 1 };
                PatternKind::SingleStar {
                    start,
                    end,
                    is_wide,
                }
            }
            (_, Some(start)) => match compile(text) {
                Ok(regex) => PatternKind::MultipleStars {
                    start,
                    end: text.rfind('*').map_or(start, |last| last + 1),
                    regex: Arc::new(regex),
                    stars,
                },
                Err(_) => return refuse("it is too long"),
            },
        };
        Ok(Pattern {
            text: text.to_owned(),
            kind,
        })
    }
}

/// The reason why `text` cannot be a decoded and normalised path, or is most likely a mistake; `None` if
/// there is none.
pub(super) fn flaw_of_path(text: &str) -> Option<&'static str> {
    if !text.starts_with('/') {
        return Some("it must begin with a slash, as every path does");
    }
    if text.contains(char::is_control) || text.contains('\\') {
        return Some("no path holds a control character or a backslash");
    }
    if text.contains(['?', '#']) {
        return Some("it must be a path alone, without a query or fragment");
    }
    let is_escape = |(at, _)| {
        let digits = text.as_bytes().get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if text.match_indices('%').any(is_escape) {
        return Some(
            "paths are compared decoded: write the character itself in place of its escape",
        );
    }
    if text.contains("//") {
        return Some("no path holds an empty segment, because the server merges slashes");
    }
    if has_dot_segment(text.as_bytes()) {
        return Some("no path holds the segments . or .., because they are resolved");
    }
    None
}

/// Whether a segment of `path` is `.` or `..`.
pub(super) fn has_dot_segment(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/')
        .any(|segment| matches!(segment, b"." | b".."))
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    /// The captured parts as text; `None` if the path does not match.
    fn parts(text: &str, path: &str) -> Option<Vec<String>> {
        let pattern = pattern(text);
        let captures = pattern.captures(path.as_bytes());
        assert_eq!(pattern.is_match(path.as_bytes()), captures.is_some());
        captures.map(|captures| {
            (0..pattern.stars())
                .map(|index| String::from_utf8_lossy(captures.part(index)).into_owned())
                .collect()
        })
    }

    fn some(parts: &[&str]) -> Option<Vec<String>> {
        Some(parts.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn without_a_star_only_the_path_itself_matches() {
        assert_eq!(parts("/a", "/a"), some(&[]));
        for path in ["/a/", "/", "/ab", "/A", ""] {
            assert_eq!(parts("/a", path), None, "{path}");
        }
    }

    #[test]
    fn one_star_stays_in_its_segment_and_two_do_not() {
        assert_eq!(parts("/blog/*", "/blog/one"), some(&["one"]));
        assert_eq!(parts("/blog/*", "/blog/"), some(&[""]));
        assert_eq!(parts("/blog/*", "/blog/one/two"), None);
        assert_eq!(parts("/blog/*", "/blog"), None);
        assert_eq!(parts("/blog/**", "/blog/one/two"), some(&["one/two"]));
        assert_eq!(parts("/blog/**", "/blog/"), some(&[""]));
        assert_eq!(parts("/blog/**", "/blog"), None);
        assert_eq!(parts("/blog**", "/blog"), some(&[""]));
        assert_eq!(parts("/**.css", "/a/b.css"), some(&["a/b"]));
        assert_eq!(parts("/ab*ba", "/aba"), None);
    }

    #[test]
    fn several_stars_are_captured_in_order_and_the_left_ones_are_greedy() {
        assert_eq!(parts("/*/x/*", "/a/x/b"), some(&["a", "b"]));
        assert_eq!(parts("/*/x/*", "/a/x/b/c"), None);
        assert_eq!(parts("/**/x/**", "/a/x/x/b"), some(&["a/x", "b"]));
        assert_eq!(parts("/*-*", "/a-b-c"), some(&["a-b", "c"]));
        assert_eq!(parts("/*.*.*", "/a.b.c"), some(&["a", "b", "c"]));
        assert_eq!(
            parts("/(a|b)+*[x]*", "/(a|b)+1[x]2"),
            some(&["1", "2"]),
            "all else is literal"
        );
    }

    #[test]
    fn two_stars_between_slashes_stand_for_any_number_of_directories() {
        assert_eq!(parts("/**/*.css", "/a.css"), some(&["", "a"]));
        assert_eq!(parts("/**/*.css", "/x/y/a.css"), some(&["x/y", "a"]));
        assert_eq!(parts("/a/**/b", "/a/b"), some(&[""]));
        assert_eq!(parts("/a/**/b", "/a/x/y/b"), some(&["x/y"]));
        assert_eq!(parts("/a/**/b", "/a/xb"), None);
        assert_eq!(parts("/a/**/**/b", "/a/b"), some(&["", ""]));
        assert_eq!(parts("/a/**/**/b", "/a/x/b"), some(&["x", ""]));
        assert_eq!(parts("/**/**/**/b", "/x/b"), some(&["x", "", ""]));
    }

    #[test]
    fn everything_equals_the_pattern_that_it_is_displayed_as() {
        let everything = Pattern::everything();
        assert_eq!(everything, pattern(&everything.to_string()));
        for path in ["/", "/a", "/a/b/"] {
            assert_eq!(
                everything.captures(path.as_bytes()),
                pattern("/**").captures(path.as_bytes())
            );
            assert!(everything.is_match(path.as_bytes()));
        }
    }

    #[test]
    fn names_are_bytes() {
        let found = pattern("/caf\u{e9}/*/*").captures(b"/caf\xc3\xa9/\xff\n/\x80");
        assert_eq!(found.map(|found| found.part(0)), Some(&b"\xff\n"[..]));
        assert!(!pattern("/\u{e9}*x*").is_match(b"/\xe9x"));
    }

    #[test]
    fn bad_patterns_are_refused_with_their_reason() {
        for (text, reason) in [
            ("assets/**", "begin with a slash"),
            ("", "begin with a slash"),
            ("**", "begin with a slash"),
            ("/a/***", "three stars in a row"),
            ("/a****b", "three stars in a row"),
            ("/a*b*c*d*e*f*g*h*i*j*", "more than nine stars"),
            ("/a?b", "without a query"),
            ("/a#b", "without a query"),
            ("/a%20b", "decoded"),
            ("/a//b", "empty segment"),
            ("/a/../b", "resolved"),
            ("/.", "resolved"),
            ("/a\\b", "backslash"),
            ("/a\nb", "control character"),
        ] {
            let error = text.parse::<Pattern>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
            assert!(error.starts_with(&format!("{text:?} is no ")), "{error}");
        }
        for text in ["/a*b*c*d*e*f*g*h*i*", "/100%", "/%zz", "/..a/.b", "/*.*"] {
            assert!(text.parse::<Pattern>().is_ok(), "{text}");
        }
        let long = format!("/*{}*", "ab".repeat(500_000));
        assert!(long.parse::<Pattern>().is_err());
    }

    /// A search that backtracks would take for ever.
    #[test]
    fn many_stars_take_no_more_than_linear_time() {
        let path = format!("/{}", "a".repeat(10_000));
        let evil = pattern("/**a**a**a**a**a**a**a**a**b");
        assert!(!evil.is_match(path.as_bytes()));
        assert!(evil.captures(path.as_bytes()).is_none());
        let evil = pattern("/*a*a*a*a*a*a*a*a*b");
        assert!(evil.captures(path.as_bytes()).is_none());
        let whole = format!("{path}b");
        assert!(evil.captures(whole.as_bytes()).is_some());
    }

    /// The definition of matching, by exhaustive search.
    fn matches_by_trial(pattern: &[u8], path: &[u8], after_slash: bool) -> bool {
        let runs = |rest: &[u8], wide: bool| {
            (0..=path.len())
                .filter(|len| wide || !path[..*len].contains(&b'/'))
                .any(|len| matches_by_trial(rest, &path[len..], false))
        };
        match pattern {
            [] => path.is_empty(),
            [b'*', b'*', b'/', rest @ ..] if after_slash => {
                matches_by_trial(rest, path, true)
                    || (0..path.len())
                        .filter(|at| path[*at] == b'/')
                        .any(|at| matches_by_trial(rest, &path[at + 1..], true))
            }
            [b'*', b'*', rest @ ..] => runs(rest, true),
            [b'*', rest @ ..] => runs(rest, false),
            [byte, rest @ ..] => {
                path.first() == Some(byte) && matches_by_trial(rest, &path[1..], *byte == b'/')
            }
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_what_its_definition_says(
            text in "(/(\\*{0,2}[ab]{0,2}){0,3}){1,4}",
            path in "(/[ab]{0,3}){1,5}",
        ) {
            let Ok(pattern) = text.parse::<Pattern>() else { return Ok(()) };
            let expected = matches_by_trial(text.as_bytes(), path.as_bytes(), false);
            prop_assert_eq!(pattern.is_match(path.as_bytes()), expected);
            prop_assert_eq!(pattern.captures(path.as_bytes()).is_some(), expected);
        }
    }
}
