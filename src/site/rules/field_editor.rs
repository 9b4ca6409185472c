//! Editing the fields of responses by the rules of a site.
//!
//! A file, each encoded variant, a 304 and each part have their own field lines, and are edited separately.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;

use bytes::Bytes;

use super::edited_fields::{EditKey, EditedFields};
use super::header_rules::ResponseProperties;
use super::site_rules::SiteRules;
use crate::http::request::RequestHead;
use crate::http::response::{Body, Response};
use crate::http::scheme::Scheme;
use crate::http::status::Status;
use crate::site::memory::SitePath;

/// For responses that may be the page of an application, depending on Accept (RFC 9110 section 12.5.5).
const VARY_ACCEPT: &[u8] = b"Vary: Accept\r\n";

/// Edits the fields of the responses of one site.
#[derive(Debug)]
pub struct FieldEditor {
    rules: Arc<SiteRules>,
    /// The number of the site in `edited_fields`.
    number: u32,
    edited_fields: Option<Arc<EditedFields>>,
}

/// The properties of a response that its rules depend on, but that the response itself does not have.
///
/// They are recorded while a response is made. Most responses set none of them, so a reference to this
/// value is passed and nothing is moved with the response.
#[derive(Debug, Default)]
pub struct ResponseFacts {
    /// The scheme by which the request came.
    pub scheme: Scheme,
    /// Whether another value of Accept could give another response.
    pub varies_by_accept: Cell<bool>,
    /// Whether the response is about the page of `spa`, and not about a file at the path.
    pub is_fallback: Cell<bool>,
    /// The Content-Type of the representation, if the field lines of the response do not have it: for a 304
    /// and for a multipart response. Not set if no rule depends on types.
    pub content_type: OnceCell<Bytes>,
}

impl ResponseFacts {
    /// Nothing but the scheme is recorded yet.
    #[must_use]
    pub fn of(scheme: Scheme) -> ResponseFacts {
        ResponseFacts {
            scheme,
            ..ResponseFacts::default()
        }
    }
}

/// The properties of a response that affect the editing.
#[derive(Debug, Clone, Copy)]
struct EditContext {
    status: Status,
    /// The scheme by which the request came, or http if no rule depends on it.
    scheme: Scheme,
    /// Whether the response keeps its Content-Type: the body is an error page or multipart, not the file at
    /// the path, so a rule for the type of files does not apply.
    keeps_type: bool,
    varies_by_accept: bool,
    is_fallback: bool,
}

impl EditContext {
    /// All properties except the status.
    fn bits(self) -> u8 {
        let EditContext {
            status: _,
            scheme,
            keeps_type,
            varies_by_accept,
            is_fallback,
        } = self;
        let is_secure = scheme == Scheme::Https;
        u8::from(keeps_type)
            | u8::from(varies_by_accept) << 1
            | u8::from(is_fallback) << 2
            | u8::from(is_secure) << 3
    }
}

impl FieldEditor {
    /// The editor of a site; `None` if no response is ever edited. `has_spa` says that some responses vary
    /// by Accept.
    #[must_use]
    pub fn new(
        rules: &Arc<SiteRules>,
        has_spa: bool,
        number: u32,
        edited_fields: Option<Arc<EditedFields>>,
    ) -> Option<FieldEditor> {
        (rules.edits_fields() || has_spa).then(|| FieldEditor {
            rules: Arc::clone(rules),
            number,
            edited_fields,
        })
    }

    /// Whether a rule depends on the media type, so that [`ResponseFacts::content_type`] is needed.
    #[must_use]
    pub fn depends_on_type(&self) -> bool {
        self.rules.depends_on_type()
    }

    /// Applies the rules to the fields of `response`, the response to `head` for the decoded `path`.
    pub fn edit(
        &self,
        head: &RequestHead<'_, '_>,
        path: &[u8],
        response: &mut Response,
        facts: &ResponseFacts,
    ) {
        let is_of_the_file = match (response.status, &response.body) {
            (_, Body::Parts(_)) => false,
            (Status::OK | Status::PARTIAL_CONTENT | Status::NOT_MODIFIED, _) => true,
            _ => false,
        };
        let context = EditContext {
            status: response.status,
            scheme: match self.rules.depends_on_scheme() {
                true => facts.scheme,
                false => Scheme::Http,
            },
            keeps_type: !is_of_the_file,
            varies_by_accept: facts.varies_by_accept.get(),
            is_fallback: facts.is_fallback.get(),
        };
        let content_type = facts.content_type.get();
        let content_type = content_type.map(|value| &value[..]);
        response.fields = self.edited(path, &response.fields, content_type, context);
        if let Some(cors) = self.rules.cors() {
            let further = cors.allowing(head.fields.only("origin"));
            if !further.is_empty() {
                response.fields = Bytes::from([&response.fields, further].concat());
            }
        }
    }

    /// The content lines of each part of the file at `path`. The file's own lines are `content_lines`. A
    /// rule that sets the type of the file also sets the type of its parts.
    #[must_use]
    pub fn edit_part(&self, path: &[u8], content_lines: &Bytes) -> Bytes {
        let response = ResponseProperties {
            status: Status::PARTIAL_CONTENT,
            scheme: Scheme::Http,
            // Only the type is taken from the result.
            is_fallback: false,
            content_type: type_value(content_lines),
        };
        let edited = self.rules.edit_fields(path, content_lines, &response);
        let others = lines(content_lines).filter(|line| !is_type(line));
        Bytes::from(types(&edited).chain(others).collect::<Vec<_>>().concat())
    }

    fn edited(
        &self,
        path: &[u8],
        fields: &Bytes,
        content_type: Option<&[u8]>,
        context: EditContext,
    ) -> Bytes {
        let Some(edited_fields) = &self.edited_fields else {
            return self.edit_now(path, fields, content_type, context);
        };
        let site = self.number;
        // The lines belong to one representation, which also determines the type.
        let original = EditKey {
            path: SitePath { site, path },
            fields,
            status: context.status,
            flags: context.bits(),
        };
        edited_fields.find_or_edit(&original, || {
            self.edit_now(path, fields, content_type, context)
        })
    }

    fn edit_now(
        &self,
        path: &[u8],
        fields: &Bytes,
        content_type: Option<&[u8]>,
        context: EditContext,
    ) -> Bytes {
        let answer = ResponseProperties {
            status: context.status,
            scheme: context.scheme,
            is_fallback: context.is_fallback,
            content_type: content_type.or_else(|| type_value(fields)),
        };
        let edited = if context.varies_by_accept {
            let fields = Bytes::from([fields, VARY_ACCEPT].concat());
            self.rules.edit_fields(path, &fields, &answer)
        } else {
            self.rules.edit_fields(path, fields, &answer)
        };
        if context.keeps_type {
            with_types_of(fields, edited)
        } else {
            edited
        }
    }
}

/// `edited` with the Content-Type of `fields`.
fn with_types_of(fields: &[u8], edited: Bytes) -> Bytes {
    if types(fields).eq(types(&edited)) {
        return edited;
    }
    let others = lines(&edited).filter(|line| !is_type(line));
    Bytes::from(others.chain(types(fields)).collect::<Vec<_>>().concat())
}

/// The value of the first Content-Type in `fields`.
fn type_value(fields: &[u8]) -> Option<&[u8]> {
    let line = types(fields).next()?;
    let colon = line.iter().position(|byte| *byte == b':')?;
    Some(line.get(colon + 1..)?.trim_ascii())
}

fn types(fields: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines(fields).filter(|line| is_type(line))
}

fn lines(fields: &[u8]) -> impl Iterator<Item = &[u8]> {
    fields.split_inclusive(|byte| *byte == b'\n')
}

fn is_type(line: &[u8]) -> bool {
    let name = b"Content-Type:";
    line.get(..name.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_stays_whatever_a_rule_makes_of_it() {
        let own = b"A: 1\r\nContent-Type: text/html\r\nB: 2\r\n";
        for (edited, expected) in [
            (
                "content-type: text/csv\r\nA: 1\r\nX: 3\r\n",
                "A: 1\r\nX: 3\r\nContent-Type: text/html\r\n",
            ),
            ("A: 1\r\n", "A: 1\r\nContent-Type: text/html\r\n"),
            (
                "Content-Type: text/html\r\nA: 1\r\n",
                "Content-Type: text/html\r\nA: 1\r\n",
            ),
        ] {
            assert_eq!(with_types_of(own, Bytes::from(edited)), expected);
        }
    }
}
