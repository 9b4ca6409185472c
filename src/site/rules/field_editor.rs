//! The fields of an answer as the rules of its site want them.
//!
//! Each form of a file, its 304 and its parts have field lines of their own, and each of these is
//! edited by itself.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;

use bytes::Bytes;

use super::edited_fields::{EditKey, EditedFields};
use super::header_rules::Described;
use super::site_rules::Rules;
use crate::http::request::RequestHead;
use crate::http::response::{Body, Response};
use crate::http::status::Status;
use crate::site::memory::SitePath;

/// What an answer varies by that may be the page of an application (RFC 9110 section 12.5.5).
const VARY_ACCEPT: &[u8] = b"Vary: Accept\r\n";

/// Edits the fields of the answers of one site.
#[derive(Debug)]
pub struct FieldEditor {
    rules: Arc<Rules>,
    /// The site's in `memory`.
    number: u32,
    memory: Option<Arc<EditedFields>>,
}

/// The properties of a response that the rules of its site look at, and that the response does not show.
/// Noted while a response is made. Most responses need none, so that they are made in place and nothing
/// is moved along with them.
#[derive(Debug, Default)]
pub struct ResponseFacts {
    /// Whether another Accept would have got another.
    pub varies_by_accept: Cell<bool>,
    /// Whether it is about the page of `spa`, in the place of what the path names.
    pub is_fallback: Cell<bool>,
    /// The Content-Type of the representation that it is about, where its own lines do not have that:
    /// of a 304 and of several parts. Not set also if no rule looks at types.
    pub content_type: OnceCell<Bytes>,
}

/// What an answer wants of the editing besides the rules.
#[derive(Debug, Clone, Copy)]
struct Manner {
    status: Status,
    /// The content is not the file at the path: a rule that says of what type files are there is not
    /// about an error page, or about several parts of a file.
    keeps_type: bool,
    varies_by_accept: bool,
    is_fallback: bool,
}

impl Manner {
    /// All but the status.
    fn bits(self) -> u8 {
        let Manner {
            keeps_type,
            varies_by_accept,
            is_fallback,
            ..
        } = self;
        u8::from(keeps_type) | u8::from(varies_by_accept) << 1 | u8::from(is_fallback) << 2
    }
}

impl FieldEditor {
    /// `None` if no answer is ever changed: all that a site without rules pays is to see that.
    /// `has_spa`: some answers vary by what the client accepts.
    #[must_use]
    pub fn new(
        rules: &Arc<Rules>,
        has_spa: bool,
        number: u32,
        memory: Option<Arc<EditedFields>>,
    ) -> Option<FieldEditor> {
        (rules.edits_fields() || has_spa).then(|| FieldEditor {
            rules: Arc::clone(rules),
            number,
            memory,
        })
    }

    /// Whether a rule looks at the media type of an answer, so that [`ResponseFacts::content_type`] counts.
    #[must_use]
    pub fn looks_at_types(&self) -> bool {
        self.rules.look_at_types()
    }

    /// Makes the fields of `response`, which is for `head` and the decoded `path`, as the rules want them.
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
        let manner = Manner {
            status: response.status,
            keeps_type: !is_of_the_file,
            varies_by_accept: facts.varies_by_accept.get(),
            is_fallback: facts.is_fallback.get(),
        };
        let content_type = facts.content_type.get();
        let content_type = content_type.map(|value| &value[..]);
        response.fields = self.edited(path, &response.fields, content_type, manner);
        if let Some(cors) = self.rules.cors() {
            let further = cors.allowing(head.fields.only("origin"));
            if !further.is_empty() {
                response.fields = Bytes::from([&response.fields, further].concat());
            }
        }
    }

    /// What each of several parts of the file at `path` says of its content, where the file's own
    /// lines are `content_lines`: a rule that says of what type the file is says so of its parts.
    #[must_use]
    pub fn edit_part(&self, path: &[u8], content_lines: &Bytes) -> Bytes {
        let whole = Described {
            status: Status::PARTIAL_CONTENT,
            // Only the type is taken from it.
            is_fallback: false,
            content_type: type_value(content_lines),
        };
        let edited = self.rules.edit_fields(path, content_lines, &whole);
        let others = lines(content_lines).filter(|line| !is_type(line));
        Bytes::from(types(&edited).chain(others).collect::<Vec<_>>().concat())
    }

    fn edited(
        &self,
        path: &[u8],
        fields: &Bytes,
        content_type: Option<&[u8]>,
        manner: Manner,
    ) -> Bytes {
        let Some(memory) = &self.memory else {
            return self.edit_now(path, fields, content_type, manner);
        };
        let site = self.number;
        // The lines belong to one representation, and so does its type.
        let original = EditKey {
            path: SitePath { site, path },
            fields,
            status: manner.status,
            manner: manner.bits(),
        };
        memory.find_or_edit(&original, || {
            self.edit_now(path, fields, content_type, manner)
        })
    }

    fn edit_now(
        &self,
        path: &[u8],
        fields: &Bytes,
        content_type: Option<&[u8]>,
        manner: Manner,
    ) -> Bytes {
        let answer = Described {
            status: manner.status,
            is_fallback: manner.is_fallback,
            content_type: content_type.or_else(|| type_value(fields)),
        };
        let edited = if manner.varies_by_accept {
            let fields = Bytes::from([fields, VARY_ACCEPT].concat());
            self.rules.edit_fields(path, &fields, &answer)
        } else {
            self.rules.edit_fields(path, fields, &answer)
        };
        if manner.keeps_type {
            with_types_of(fields, edited)
        } else {
            edited
        }
    }
}

/// `edited` with the Content-Type that `fields` have.
fn with_types_of(fields: &[u8], edited: Bytes) -> Bytes {
    if types(fields).eq(types(&edited)) {
        return edited;
    }
    let others = lines(&edited).filter(|line| !is_type(line));
    Bytes::from(others.chain(types(fields)).collect::<Vec<_>>().concat())
}

/// The value of the first Content-Type among `fields`.
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
