//! Header rules, applied to encoded field lines.
//!
//! The result depends only on the path and on the [`ResponseProperties`], so
//! [`edited_fields`](super::edited_fields) caches it for lines that are shared.

use bytes::Bytes;

use super::cors::Cors;
use crate::config::{HeaderRule, MediaRange, Pattern, PrefixIndex, StatusRange, Statuses};
use crate::http::scheme::Scheme;
use crate::http::status::Status;

/// The field by which browsers use only https for a host (RFC 6797 section 6.1).
const HSTS: &str = "Strict-Transport-Security";

/// The fields that `security = true` adds to every response. Each forbids something that static sites
/// seldom need; `config.example` explains them one by one. X-Content-Type-Options is always sent.
/// Strict-Transport-Security is missing, because it must not be sent over plain HTTP (RFC 6797 section
/// 7.2). The key `hsts` sets it for connections over TLS. A TLS proxy in front adds it otherwise.
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

/// The header rules of a site, ready to be applied.
#[derive(Debug, Default)]
pub struct HeaderRules {
    /// For every response over TLS, before the other rules.
    hsts: Option<FieldEdit>,
    /// For every path, before the other rules.
    preset: Vec<FieldEdit>,
    rules: Vec<Rule>,
    /// The rules by what their paths begin with.
    by_prefix: PrefixIndex,
    /// Lines that are added to every response, after all rules.
    added: Bytes,
    depends_on_type: bool,
}

/// The properties of a response that rules depend on, besides its path.
#[derive(Debug, Clone, Copy)]
pub struct ResponseProperties<'a> {
    /// The status of the response.
    pub status: Status,
    /// The scheme by which the request came.
    pub scheme: Scheme,
    /// Whether the response is about the page of `spa`, and not about a file at the path.
    pub is_fallback: bool,
    /// The Content-Type of the representation before any rule.
    pub content_type: Option<&'a [u8]>,
}

#[derive(Debug)]
struct Rule {
    path: Pattern,
    status: Statuses,
    types: Vec<MediaRange>,
    edits: Vec<FieldEdit>,
}

/// One change of one field.
#[derive(Debug)]
struct FieldEdit {
    name: Box<str>,
    kind: FieldKind,
    change: Change,
}

#[derive(Debug)]
enum Change {
    /// Replaces all lines with the name by `line`, which includes CRLF. Its value begins at `value_at`.
    Set { line: Box<[u8]>, value_at: usize },
    /// Removes all lines with the name.
    Unset,
}

/// The kind of a field, which decides the responses that get it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FieldKind {
    /// Cache-Control and Expires: how long a response may be reused.
    Caching,
    /// The other fields that a 304 has in common with the 200 (RFC 9110 section 15.4.5). Rules cannot set
    /// ETag and Date.
    NotModified,
    /// Content-Type.
    Type,
    Other,
}

impl HeaderRules {
    /// The preset, if `security` is on, then `rules` in their order, then the lines of `cors`.
    #[must_use]
    pub fn new(security: bool, rules: &[HeaderRule], cors: Option<&Cors>) -> HeaderRules {
        let preset = SECURITY_FIELDS.iter().filter(|_| security);
        let prefixes = rules.iter().map(|rule| rule.path.literal_prefix());
        HeaderRules {
            by_prefix: PrefixIndex::new(prefixes.enumerate()),
            hsts: None,
            preset: preset
                .map(|(name, value)| FieldEdit::set(name, value))
                .collect(),
            rules: rules.iter().map(Rule::new).collect(),
            added: cors.map_or_else(Bytes::new, |cors| cors.always().clone()),
            depends_on_type: rules.iter().any(|rule| !rule.types.is_empty()),
        }
    }

    /// Adds Strict-Transport-Security for `secs` seconds to responses over TLS; 0 adds nothing. A rule that sets or
    /// removes the field wins.
    #[must_use]
    pub fn with_hsts(mut self, secs: u32) -> HeaderRules {
        self.hsts = (secs > 0).then(|| FieldEdit::set(HSTS, &format!("max-age={secs}")));
        self
    }

    /// The line of Strict-Transport-Security, if responses to requests that came by `scheme` get it without rules.
    #[must_use]
    pub fn hsts_line(&self, scheme: Scheme) -> Option<&[u8]> {
        match &self
            .hsts
            .as_ref()
            .filter(|_| scheme == Scheme::Https)?
            .change
        {
            Change::Set { line, .. } => Some(line),
            Change::Unset => None,
        }
    }

    /// Whether the fields of a response depend on the scheme by which the request came.
    #[must_use]
    pub fn depends_on_scheme(&self) -> bool {
        self.hsts.is_some()
    }

    /// Whether no field line is ever changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let is_plain = self.hsts.is_none() && self.preset.is_empty();
        is_plain && self.rules.is_empty() && self.added.is_empty()
    }

    /// Whether a rule depends on the media type.
    #[must_use]
    pub fn depends_on_type(&self) -> bool {
        self.depends_on_type
    }

    /// The field lines `fields` of an `answer` for the decoded `path`, edited by the rules; unchanged and
    /// uncopied if no rule matches.
    #[must_use]
    pub fn edit(&self, path: &[u8], fields: &Bytes, answer: &ResponseProperties<'_>) -> Bytes {
        let edits = self.edits(path, answer);
        if edits.is_empty() && self.added.is_empty() {
            return fields.clone();
        }
        let mut lines: Vec<&[u8]> = fields.split_inclusive(|byte| *byte == b'\n').collect();
        for edit in edits {
            match &edit.change {
                // Values of Vary are cumulative. Without the server's own, caches would mix up responses
                // (RFC 9110 section 12.5.5).
                Change::Set { line, .. } if edit.name.eq_ignore_ascii_case("vary") => {
                    if !lines.contains(&&**line) {
                        lines.push(line);
                    }
                }
                Change::Set { line, .. } => {
                    lines.retain(|other| !is_called(other, &edit.name));
                    lines.push(line);
                }
                Change::Unset => lines.retain(|other| !is_called(other, &edit.name)),
            }
        }
        lines.push(&self.added);
        Bytes::from(lines.concat())
    }

    /// The fields that the rules set or remove in an `answer` for the decoded `path`, in order: names and
    /// new values.
    pub fn changes<'r>(
        &'r self,
        path: &[u8],
        answer: &ResponseProperties<'_>,
    ) -> impl Iterator<Item = (&'r str, Option<&'r [u8]>)> + use<'r> {
        let edits = self.edits(path, answer).into_iter();
        edits.map(|edit| (&*edit.name, edit.value()))
    }

    /// The changes to make, in order. Each rule sees the media type that the rules before it have set.
    fn edits<'r>(&'r self, path: &[u8], answer: &ResponseProperties<'_>) -> Vec<&'r FieldEdit> {
        let hsts = self.hsts.iter().filter(|_| answer.scheme == Scheme::Https);
        let mut edits: Vec<&FieldEdit> = hsts.chain(&self.preset).collect();
        let mut content_type = answer.content_type;
        let mut indexes: Vec<usize> = self.by_prefix.of_path(path).flatten().copied().collect();
        indexes.sort_unstable();
        for rule in indexes.iter().filter_map(|index| self.rules.get(*index)) {
            if !rule.path.is_match(path) || !rule.is_for_type(content_type) {
                continue;
            }
            for edit in &rule.edits {
                if rule.applies_to(edit.kind, answer) {
                    edits.push(edit);
                }
                if edit.kind == FieldKind::Type && rule.decides_type(answer.status) {
                    content_type = edit.value();
                }
            }
        }
        edits
    }
}

impl Rule {
    fn new(rule: &HeaderRule) -> Rule {
        let unset = rule
            .unset
            .iter()
            .map(|name| FieldEdit::unset(name.as_str()));
        let fields = rule.set.iter();
        let set = fields.map(|(name, value)| FieldEdit::set(name.as_str(), value.as_str()));
        Rule {
            path: rule.path.clone(),
            status: rule.status.clone(),
            types: rule.types.clone(),
            edits: unset.chain(set).collect(),
        }
    }

    fn is_for_type(&self, content_type: Option<&[u8]>) -> bool {
        self.types.is_empty()
            || content_type.is_some_and(|it| self.types.iter().any(|range| range.contains(it)))
    }

    /// Whether the rule sets or removes fields of this `kind` in `answer`.
    fn applies_to(&self, kind: FieldKind, answer: &ResponseProperties<'_>) -> bool {
        let code = answer.status.code();
        match &self.status {
            // An error, or a page sent in place of a file, must not be cached as long as a file.
            Statuses::Unspecified => {
                kind != FieldKind::Caching || (code < 400 && !answer.is_fallback)
            }
            Statuses::Any => true,
            // RFC 9110 section 15.4.5: a cache updates its stored 200 with these fields of the 304. They
            // therefore follow the rules for 200, and not a rule for redirects with the class 3xx.
            Statuses::Listed(ranges)
                if answer.status == Status::NOT_MODIFIED
                    && matches!(kind, FieldKind::Caching | FieldKind::NotModified) =>
            {
                self.status.include(Status::OK.code()) || ranges.contains(&StatusRange::Code(code))
            }
            Statuses::Listed(_) => self.status.include(code),
        }
    }

    /// Whether the rule can set the type of the representation. A 304 has the type of the 200.
    fn decides_type(&self, status: Status) -> bool {
        match status {
            Status::OK | Status::NOT_MODIFIED => self.status.include(Status::OK.code()),
            Status::PARTIAL_CONTENT => self.status.include(status.code()),
            _ => false,
        }
    }
}

impl FieldEdit {
    fn set(name: &str, value: &str) -> FieldEdit {
        let line = format!("{name}: {value}\r\n").into_bytes();
        FieldEdit {
            name: name.into(),
            kind: FieldKind::of(name),
            change: Change::Set {
                value_at: name.len() + ": ".len(),
                line: line.into(),
            },
        }
    }

    fn unset(name: &str) -> FieldEdit {
        FieldEdit {
            name: name.into(),
            kind: FieldKind::of(name),
            change: Change::Unset,
        }
    }

    /// The value of the field after the change; `None` if the change removes the field.
    fn value(&self) -> Option<&[u8]> {
        match &self.change {
            Change::Set { line, value_at } => line.get(*value_at..).map(<[u8]>::trim_ascii),
            Change::Unset => None,
        }
    }
}

impl FieldKind {
    fn of(name: &str) -> FieldKind {
        match name.to_ascii_lowercase().as_str() {
            "cache-control" | "expires" => FieldKind::Caching,
            "content-location" | "vary" => FieldKind::NotModified,
            "content-type" => FieldKind::Type,
            _ => FieldKind::Other,
        }
    }
}

fn is_called(line: &[u8], name: &str) -> bool {
    line.split_at_checked(name.len())
        .is_some_and(|(start, rest)| {
            start.eq_ignore_ascii_case(name.as_bytes()) && rest.first() == Some(&b':')
        })
}

#[cfg(test)]
mod tests;
