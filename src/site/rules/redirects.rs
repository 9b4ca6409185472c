//! Redirects, which tell the client another location, and rewrites, which the client does not see.

use crate::config::{
    Captures, PathTemplate, PatternList, Redirect, Rewrite, TemplatePart, UriTemplate,
};
use crate::http::response::Response;
use crate::http::status::Status;
use crate::http::target::{encode_query, encode_query_part, encode_segments};
use crate::site::pages;

/// The result of a redirect rule: the document is not at its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedirectAnswer {
    /// The document is at another location.
    Moved {
        /// 301, 302, 303, 307 or 308.
        status: Status,
        /// The value of Location (RFC 9110 section 10.2.2): ASCII, percent-encoded. A path of this site
        /// begins with exactly one slash.
        location: String,
    },
    /// The document is gone or not available to the client: 403, 404, 410 or 451.
    Withdrawn(Status),
}

/// The redirects of a site. The first rule that matches applies.
#[derive(Debug, Default)]
pub struct Redirects {
    patterns: PatternList,
    targets: Vec<RedirectTarget>,
}

/// The target of a redirect.
#[derive(Debug)]
enum RedirectTarget {
    Location(UriTemplate, Status),
    Withdrawn(Status),
}

/// The rewrites of a site. The first rule that matches applies, and its result is not rewritten again, so
/// loops are impossible.
#[derive(Debug, Default)]
pub struct Rewrites {
    patterns: PatternList,
    targets: Vec<PathTemplate>,
}

impl Redirects {
    /// Keeps `redirects` in their order.
    #[must_use]
    pub fn new(redirects: &[Redirect]) -> Redirects {
        let targets = redirects.iter().map(|rule| match &rule.to {
            Some(to) => RedirectTarget::Location(to.clone(), moved_status(rule.status)),
            None => RedirectTarget::Withdrawn(withdrawn_status(rule.status)),
        });
        Redirects {
            patterns: PatternList::new(redirects.iter().map(|rule| &rule.from)),
            targets: targets.collect(),
        }
    }

    /// Whether there are no redirects.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The redirect for the decoded `path` and the `query` as sent; `None` if no rule matches. The query is
    /// kept, unless the target has its own.
    #[must_use]
    pub fn find(&self, path: &[u8], query: Option<&[u8]>) -> Option<RedirectAnswer> {
        let (index, captures) = self.patterns.find(path)?;
        Some(match self.targets.get(index)? {
            RedirectTarget::Location(to, status) => RedirectAnswer::Moved {
                status: *status,
                location: location(to, &captures, query),
            },
            RedirectTarget::Withdrawn(status) => RedirectAnswer::Withdrawn(*status),
        })
    }
}

impl RedirectAnswer {
    /// The response, with a built-in page.
    #[must_use]
    pub fn answer(&self) -> Response {
        let (status, sentence) = match self {
            RedirectAnswer::Moved { status, location } => return pages::moved(*status, location),
            RedirectAnswer::Withdrawn(status) => (*status, withdrawn_sentence(*status)),
        };
        pages::error(status, sentence)
    }
}

impl Rewrites {
    /// Keeps `rewrites` in their order.
    #[must_use]
    pub fn new(rewrites: &[Rewrite]) -> Rewrites {
        Rewrites {
            patterns: PatternList::new(rewrites.iter().map(|rule| &rule.from)),
            targets: rewrites.iter().map(|rule| rule.to.clone()).collect(),
        }
    }

    /// Whether there are no rewrites.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The path to serve instead of `path`, decoded and normalised; `None` if no rule applies. The result
    /// may name a hidden file, so the caller must check it like a requested path.
    #[must_use]
    pub fn find(&self, path: &[u8]) -> Option<Vec<u8>> {
        let (index, captures) = self.patterns.find(path)?;
        self.targets.get(index)?.expand(&captures)
    }
}

/// The configuration allows no other status with a target.
fn moved_status(code: u16) -> Status {
    match code {
        301 => Status::MOVED_PERMANENTLY,
        303 => Status::SEE_OTHER,
        307 => Status::TEMPORARY_REDIRECT,
        308 => Status::PERMANENT_REDIRECT,
        _ => Status::FOUND,
    }
}

/// The configuration allows no other status without a target.
fn withdrawn_status(code: u16) -> Status {
    match code {
        403 => Status::FORBIDDEN,
        404 => Status::NOT_FOUND,
        451 => Status::UNAVAILABLE_FOR_LEGAL_REASONS,
        _ => Status::GONE,
    }
}

fn withdrawn_sentence(status: Status) -> &'static str {
    match status {
        Status::FORBIDDEN => "This document is not for everybody.",
        Status::UNAVAILABLE_FOR_LEGAL_REASONS => "This document is withheld for legal reasons.",
        Status::GONE => "This document is gone and will not come back.",
        _ => "Nothing is here.",
    }
}

/// The URI reference with the captures of the stars filled in. The captures come decoded from the client,
/// so each is encoded for its part of the URI: none can start another part, a field or a host.
fn location(to: &UriTemplate, captures: &Captures<'_>, query: Option<&[u8]>) -> String {
    let mut path = Vec::with_capacity(128);
    for part in &to.path {
        // Where a capture begins or ends, one slash is enough, even if the capture is empty. Clients would
        // read two at the beginning as a host. Literals stay as they are: another host may need two slashes.
        let follows_slash = path.ends_with(b"/");
        match part {
            TemplatePart::Literal(text) => {
                let text = text.as_bytes();
                let rest = text.strip_prefix(b"/").filter(|_| follows_slash);
                path.extend_from_slice(rest.unwrap_or(text));
            }
            TemplatePart::Star(index) => {
                let mut capture = captures.part(*index);
                while follows_slash && let Some(rest) = capture.strip_prefix(b"/") {
                    capture = rest;
                }
                encode_segments(capture, &mut path);
            }
        }
    }
    let mut out = Vec::with_capacity(path.len() + 64);
    out.extend_from_slice(to.site.as_deref().unwrap_or_default().as_bytes());
    out.append(&mut path);
    match (&to.query, query) {
        (Some(parts), _) => {
            out.push(b'?');
            push_parts(parts, captures, &mut out);
        }
        (None, Some(query)) => {
            out.push(b'?');
            encode_query(query, &mut out);
        }
        (None, None) => {}
    }
    if let Some(parts) = &to.fragment {
        out.push(b'#');
        push_parts(parts, captures, &mut out);
    }
    // All parts are ASCII, so this loses nothing.
    String::from_utf8_lossy(&out).into_owned()
}

fn push_parts(parts: &[TemplatePart], captures: &Captures<'_>, out: &mut Vec<u8>) {
    for part in parts {
        match part {
            TemplatePart::Literal(text) => out.extend_from_slice(text.as_bytes()),
            TemplatePart::Star(index) => encode_query_part(captures.part(*index), out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Pattern;
    use proptest::prelude::*;

    fn redirects(rules: &[(&str, &str)]) -> Redirects {
        let rules: Vec<Redirect> = rules
            .iter()
            .map(|(from, to)| {
                let from: Pattern = from.parse().unwrap();
                Redirect {
                    to: Some(UriTemplate::parse(to, from.stars()).unwrap()),
                    from,
                    status: 308,
                }
            })
            .collect();
        Redirects::new(&rules)
    }

    fn location_of(from: &str, to: &str, path: &[u8], query: Option<&[u8]>) -> String {
        location_found(&redirects(&[(from, to)]), path, query).unwrap()
    }

    fn location_found(redirects: &Redirects, path: &[u8], query: Option<&[u8]>) -> Option<String> {
        match redirects.find(path, query)? {
            RedirectAnswer::Moved { status, location } => {
                assert_eq!(status, Status::PERMANENT_REDIRECT);
                Some(location)
            }
            withdrawn @ RedirectAnswer::Withdrawn(_) => panic!("{withdrawn:?}"),
        }
    }

    #[test]
    fn the_query_is_kept_unless_the_target_has_one() {
        let of = |to, query: Option<&[u8]>| location_of("/old/**", to, b"/old/a", query);
        assert_eq!(of("/new/$1", None), "/new/a");
        assert_eq!(of("/new/$1", Some(b"x=1")), "/new/a?x=1");
        assert_eq!(of("/new/$1", Some(b"")), "/new/a?");
        assert_eq!(of("/new?from=$1", Some(b"x=1")), "/new?from=a");
        assert_eq!(of("/new?", Some(b"x=1")), "/new?");
        assert_eq!(of("/new#part-$1", Some(b"x=1")), "/new?x=1#part-a");
        assert_eq!(of("https://a.example", Some(b"x")), "https://a.example/?x");
    }

    #[test]
    fn slashes_are_merged_where_a_capture_begins_or_ends_and_nowhere_else() {
        for (from, to, path, expected) in [
            ("/docs**", "https://b.example/$1", "/docs/a", "/a"),
            ("/docs**", "https://b.example/$1", "/docs", "/"),
            ("/old/**", "https://b.example/new/$1/", "/old/", "/new/"),
            ("/old/**", "https://b.example/new/$1/", "/old/a", "/new/a/"),
            ("/a/**/b*", "https://b.example/$1/$2", "/a/b1", "/1"),
            ("/a/**/b*", "https://b.example/$1/$2", "/a/x/b1", "/x/1"),
            ("/a**b**", "https://b.example/$1$2", "/a/b/c", "/c"),
            (
                "/a**",
                "https://b.example/web/https://c.example/$1",
                "/a/x",
                "/web/https://c.example/x",
            ),
            ("/a**", "https://b.example/p//q$1//r", "/a/", "/p//q//r"),
        ] {
            let location = location_of(from, to, path.as_bytes(), None);
            assert_eq!(location.strip_prefix("https://b.example"), Some(expected));
            // This site has no empty segments.
            let to = to.trim_start_matches("https://b.example");
            if !to.contains("//") {
                assert_eq!(location_of(from, to, path.as_bytes(), None), expected);
            }
        }
    }

    #[test]
    fn captures_are_encoded_for_their_part_of_the_uri() {
        let evil = b"/x/a b&c=d?e#f%\xff\r\n/g";
        let of = |to| location_of("/x/**", to, evil, None);
        assert_eq!(of("/$1"), "/a%20b&c=d%3Fe%23f%25%FF%0D%0A/g");
        assert_eq!(of("/?q=$1"), "/?q=a%20b%26c%3Dd%3Fe%23f%25%FF%0D%0A%2Fg");
        assert_eq!(of("/#$1"), "/#a%20b%26c%3Dd%3Fe%23f%25%FF%0D%0A%2Fg");
    }

    #[test]
    fn a_location_never_names_a_host_that_was_not_configured() {
        assert_eq!(
            location_of("/a**", "/$1", b"/a/evil.example", None),
            "/evil.example"
        );
        let to = "https://a.example/$1";
        let path = b"/@evil.example";
        assert_eq!(
            location_of("/**", to, path, None),
            "https://a.example/@evil.example"
        );
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        let redirects = redirects(&[
            ("/a/*", "/1"),
            ("/a/b", "/2"),
            ("/c", "/3"),
            ("/c", "/4"),
            ("/**", "/5/"),
        ]);
        for (path, expected) in [
            ("/a/b", Some("/1")),
            ("/c", Some("/3")),
            ("/d/e", Some("/5/")),
        ] {
            let location = location_found(&redirects, path.as_bytes(), None);
            assert_eq!(location.as_deref(), expected);
        }
        assert!(Redirects::default().is_empty());
        assert_eq!(Redirects::default().find(b"/", None), None);
    }

    #[test]
    fn a_rule_without_a_target_says_that_the_document_is_withdrawn() {
        let rules = [410, 404, 403, 451].map(|status| Redirect {
            from: format!("/{status}/**").parse().unwrap(),
            to: None,
            status,
        });
        let redirects = Redirects::new(&rules);
        assert!(!redirects.is_empty());
        for (path, status) in [
            ("/410/a", Status::GONE),
            ("/404/a", Status::NOT_FOUND),
            ("/403/a", Status::FORBIDDEN),
            ("/451/a", Status::UNAVAILABLE_FOR_LEGAL_REASONS),
        ] {
            let found = redirects.find(path.as_bytes(), Some(b"x=1")).unwrap();
            assert_eq!(found, RedirectAnswer::Withdrawn(status));
            let answer = found.answer();
            assert_eq!(answer.status, status);
            assert!(!String::from_utf8_lossy(&answer.fields).contains("Location"));
        }
        assert_eq!(redirects.find(b"/411/a", None), None);
    }

    #[test]
    fn a_rewrite_is_made_once() {
        let rules: Vec<Rewrite> = [("/a/*", "/b/$1"), ("/b/*", "/a/$1"), ("/*-*", "/x/$1$2")]
            .iter()
            .map(|(from, to)| {
                let from: Pattern = from.parse().unwrap();
                Rewrite {
                    to: PathTemplate::parse(to, from.stars()).unwrap(),
                    from,
                }
            })
            .collect();
        let rewrites = Rewrites::new(&rules);
        assert_eq!(rewrites.find(b"/a/x"), Some(b"/b/x".to_vec()));
        assert_eq!(rewrites.find(b"/b/x"), Some(b"/a/x".to_vec()));
        assert_eq!(rewrites.find(b"/c"), None);
        assert_eq!(rewrites.find(b"/.-."), None, "nothing climbs");
    }

    proptest! {
        #[test]
        fn a_location_is_a_uri_for_every_path(
            path in prop::collection::vec(any::<u8>(), 0..40),
            query in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
            to in prop::sample::select(vec!["/$1", "/a$1/b?$1#$1", "https://a.example/$1", "/$1$1"]),
        ) {
            let path = [b"/", path.as_slice()].concat();
            let plain = location_of("/**", "/$1", &path, query.as_deref());
            prop_assert!(!plain.starts_with("//"));
            let location = location_of("/**", to, &path, query.as_deref());
            let is_allowed = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}[]".contains(&byte);
            prop_assert!(location.bytes().all(is_allowed), "{location}");
            prop_assert!(location.matches('#').count() <= 1, "{location}");
            let start = if to.starts_with('/') { "/" } else { "https://a.example/" };
            prop_assert!(location.starts_with(start), "{location}");
            prop_assert!(!location.starts_with("//"), "{location}");
        }
    }
}
