//! Rules for fields, applied to encoded field lines.
//!
//! The result depends on the path alone, so it is made once for each cached representation and costs
//! a request nothing.

use bytes::Bytes;

use super::cors::Cors;
use crate::config::{HeaderRule, Pattern};

/// What `security = true` adds to every answer. Each of these fields takes something away that a
/// static site seldom needs; `config.example` says what, line by line. X-Content-Type-Options is sent
/// anyway. Strict-Transport-Security is not among them: over plain HTTP it must not be sent (RFC 6797
/// section 7.2), and who adds TLS in front knows best for how long it is to be promised.
pub const SECURITY_FIELDS: [(&str, &str); 5] = [
    (
        "Content-Security-Policy",
        "base-uri 'self'; frame-ancestors 'self'; object-src 'self'",
    ),
    ("Cross-Origin-Opener-Policy", "same-origin-allow-popups"),
    (
        "Permissions-Policy",
        "camera=(), geolocation=(), microphone=()",
    ),
    ("Referrer-Policy", "strict-origin-when-cross-origin"),
    ("X-Frame-Options", "SAMEORIGIN"),
];

/// The rules of a site, ready to be applied.
#[derive(Debug, Default)]
pub struct HeaderRules {
    /// For every path, before the others.
    preset: Vec<Edit>,
    rules: Vec<(Pattern, Vec<Edit>)>,
    /// Lines that are added to every answer behind all rules.
    added: Bytes,
}

/// One change.
#[derive(Debug)]
enum Edit {
    /// The line, CRLF included, takes the place of all of its name.
    Set { name: Box<str>, line: Box<[u8]> },
    /// All lines of that name go.
    Unset(Box<str>),
}

impl HeaderRules {
    /// The preset, if it is wanted, then `rules` in their order, then the lines of `cors`.
    #[must_use]
    pub fn new(security: bool, rules: &[HeaderRule], cors: Option<&Cors>) -> HeaderRules {
        let preset = SECURITY_FIELDS.iter().filter(|_| security);
        HeaderRules {
            preset: preset.map(|(name, value)| set(name, value)).collect(),
            rules: rules
                .iter()
                .map(|rule| {
                    let unset = rule
                        .unset
                        .iter()
                        .map(|name| Edit::Unset(name.as_str().into()));
                    let fields = rule.set.iter();
                    let set = fields.map(|(name, value)| set(name.as_str(), value.as_str()));
                    (rule.path.clone(), unset.chain(set).collect())
                })
                .collect(),
            added: cors.map_or_else(Bytes::new, |cors| cors.always().clone()),
        }
    }

    /// Whether no field line is ever changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.preset.is_empty() && self.rules.is_empty() && self.added.is_empty()
    }

    /// The encoded field lines `fields` of an answer for the decoded `path`, as the rules want them:
    /// the same bytes if no rule matches.
    #[must_use]
    pub fn edit(&self, path: &[u8], fields: &Bytes) -> Bytes {
        let matching = self
            .rules
            .iter()
            .filter(|(pattern, _)| pattern.is_match(path));
        let edits = matching.flat_map(|(_, edits)| edits);
        let mut edits = self.preset.iter().chain(edits).peekable();
        if edits.peek().is_none() && self.added.is_empty() {
            return fields.clone();
        }
        let mut lines: Vec<&[u8]> = fields.split_inclusive(|byte| *byte == b'\n').collect();
        for edit in edits {
            match edit {
                // What an answer varies by adds up: the server's own must stay, or caches mix
                // answers up (RFC 9110 section 12.5.5).
                Edit::Set { name, line } if name.eq_ignore_ascii_case("vary") => {
                    if !lines.contains(&&**line) {
                        lines.push(line);
                    }
                }
                Edit::Set { name, line } => {
                    lines.retain(|other| !is_called(other, name));
                    lines.push(line);
                }
                Edit::Unset(name) => lines.retain(|other| !is_called(other, name)),
            }
        }
        lines.push(&self.added);
        Bytes::from(lines.concat())
    }
}

fn set(name: &str, value: &str) -> Edit {
    Edit::Set {
        name: name.into(),
        line: format!("{name}: {value}\r\n").into_bytes().into(),
    }
}

fn is_called(line: &[u8], name: &str) -> bool {
    line.split_at_checked(name.len())
        .is_some_and(|(start, rest)| {
            start.eq_ignore_ascii_case(name.as_bytes()) && rest.first() == Some(&b':')
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FieldName, FieldValue};

    const OWN: &[u8] = b"ETag: \"1\"\r\nContent-Type: text/html\r\n\
        X-Content-Type-Options: nosniff\r\nVary: Accept-Encoding\r\n";

    fn rule(path: &str, set: &[(&str, &str)], unset: &[&str]) -> HeaderRule {
        let unset = unset.iter().map(|name| FieldName::to_unset(name).unwrap());
        let set = set.iter().map(|(name, value)| {
            let value = FieldValue::parse(value).unwrap();
            (FieldName::to_set(name).unwrap(), value)
        });
        HeaderRule {
            path: path.parse().unwrap(),
            set: set.collect(),
            unset: unset.collect(),
        }
    }

    fn edited(rules: &HeaderRules, path: &str) -> Vec<String> {
        let edited = rules.edit(path.as_bytes(), &Bytes::from_static(OWN));
        let text = String::from_utf8(edited.to_vec()).unwrap();
        assert!(text.is_empty() || text.ends_with("\r\n"));
        let lines = text.split_terminator("\r\n").map(str::to_owned);
        lines.collect()
    }

    #[test]
    fn without_a_matching_rule_the_bytes_are_the_same() {
        let rules = HeaderRules::new(false, &[rule("/a", &[("X", "1")], &[])], None);
        let own = Bytes::from_static(OWN);
        assert_eq!(rules.edit(b"/b", &own).as_ptr(), own.as_ptr());
        assert!(!rules.is_empty());
        assert!(HeaderRules::new(false, &[], None).is_empty());
    }

    #[test]
    fn all_rules_that_match_apply_and_a_later_one_wins_per_name() {
        let rules = [
            rule("/**", &[("Cache-Control", "no-cache"), ("X-A", "1")], &[]),
            rule(
                "/assets/**",
                &[("cache-control", "max-age=9")],
                &["x-content-type-options"],
            ),
            rule("/other", &[("X-A", "2")], &[]),
        ];
        let rules = HeaderRules::new(false, &rules, None);
        assert_eq!(
            edited(&rules, "/assets/a.css"),
            [
                "ETag: \"1\"",
                "Content-Type: text/html",
                "Vary: Accept-Encoding",
                "X-A: 1",
                "cache-control: max-age=9"
            ]
        );
        assert_eq!(
            edited(&rules, "/other")[4..],
            ["Cache-Control: no-cache", "X-A: 2"]
        );
    }

    #[test]
    fn a_name_is_not_taken_for_a_longer_or_shorter_one() {
        let rules = HeaderRules::new(false, &[rule("/", &[], &["X-Content-Type", "E"])], None);
        assert_eq!(edited(&rules, "/").len(), 4);
    }

    #[test]
    fn what_an_answer_varies_by_adds_up() {
        let vary = [
            rule("/", &[("vary", "Cookie")], &[]),
            rule("/", &[("vary", "Cookie")], &[]),
        ];
        let cors = Cors::new(&["https://a.example".parse().unwrap()]);
        let lines = edited(&HeaderRules::new(false, &vary, cors.as_ref()), "/");
        assert_eq!(
            lines[3..],
            ["Vary: Accept-Encoding", "vary: Cookie", "Vary: Origin"]
        );
    }

    #[test]
    fn the_preset_comes_before_the_rules() {
        let rules = [rule(
            "/embed/**",
            &[],
            &["X-Frame-Options", "Content-Security-Policy"],
        )];
        let rules = HeaderRules::new(true, &rules, None);
        assert_eq!(edited(&rules, "/").len(), 4 + SECURITY_FIELDS.len());
        assert_eq!(
            edited(&rules, "/embed/x").len(),
            4 + SECURITY_FIELDS.len() - 2
        );
    }

    #[test]
    fn the_preset_could_be_written_as_a_rule() {
        for (name, value) in SECURITY_FIELDS {
            assert!(FieldName::to_set(name).is_ok() && FieldValue::parse(value).is_ok());
        }
    }
}
