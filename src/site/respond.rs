//! The one way from a request to a response.

use std::sync::Arc;

use bytes::Bytes;

use super::absences::{Absence, Nothing};
use super::cache::Entry;
use super::lookup::{Found, Lookup};
use super::pages;
use super::partial::{partial, slice};
use super::reach::{NeedsDisk, Reach};
use super::representation::Representation;
use super::resolve::OpenError;
use crate::clock::Now;
use crate::config::Config;
use crate::http::accept_encoding::accepted_codings;
use crate::http::method::Method;
use crate::http::preconditions::{self, Validators, Verdict};
use crate::http::request::{Expectation, RequestHead, Target};
use crate::http::response::{Body, Response};
use crate::http::status::Status;
use crate::http::target::decode_path;

#[cfg(test)]
mod tests;

/// The site's own page for what does not exist, if it has one.
const NOT_FOUND_PAGE: &[u8] = b"/404.html";

/// One static site.
#[derive(Debug)]
pub struct Site {
    files: Lookup,
}

impl Site {
    /// Opens the site at the configured root.
    ///
    /// # Errors
    /// If the root is not a directory that can be read.
    pub fn open(config: &Config) -> std::io::Result<Site> {
        Ok(Site {
            files: Lookup::open(config)?,
        })
    }

    /// Answers `head`. `path` is a buffer of the caller's: what is in memory is answered without an
    /// allocation, save for ranges and for a redirect that carries a query.
    ///
    /// # Errors
    /// [`NeedsDisk`] if the answer, or the content that goes with it, is not in `reach`. Never with
    /// [`Reach::Disk`].
    pub fn respond(
        &self,
        head: &RequestHead<'_, '_>,
        path: &mut Vec<u8>,
        reach: Reach,
        now: Now,
    ) -> Result<Response, NeedsDisk> {
        let query = match &head.target {
            // A malformed path is malformed whatever the method.
            Target::Path { path: raw, query } => match decode_path(raw, path) {
                Ok(()) => Some(query),
                Err(reject) => return Ok(pages::rejected(&reject)),
            },
            Target::Asterisk | Target::Authority(_) => None,
        };
        if let Some(refusal) = refuse(head) {
            return Ok(refusal);
        }
        let Some(query) = query else {
            return Ok(options());
        };
        if is_hidden(path) {
            return self.not_found(head.method, reach, now);
        }
        match self.files.find(path, reach, now)? {
            Found::File(_) if head.method == Method::Options => Ok(options()),
            Found::File(entry) => self.send(&entry, head, reach, now),
            Found::Nothing(nothing) => match nothing.absence {
                Absence::Open(OpenError::NotFound) => self.not_found(head.method, reach, now),
                _ => Ok(explain(&nothing, path, *query)),
            },
        }
    }

    /// The representation that the client likes best (RFC 9110 section 12.5.3).
    fn send(
        &self,
        entry: &Arc<Entry>,
        head: &RequestHead<'_, '_>,
        reach: Reach,
        now: Now,
    ) -> Result<Response, NeedsDisk> {
        let representation = match &entry.forms {
            None => &entry.representation,
            Some(forms) => {
                let accepted = accepted_codings(&head.fields);
                self.files.negotiate(entry, forms, accepted, reach, now)?
            }
        };
        represent(representation, head, reach, now)
    }

    fn not_found(&self, method: Method, reach: Reach, now: Now) -> Result<Response, NeedsDisk> {
        let Found::File(page) = self.files.find(NOT_FOUND_PAGE, reach, now)? else {
            return Ok(nothing_here());
        };
        let page = &page.representation;
        Ok(Response {
            status: Status::NOT_FOUND,
            fields: page.page_fields(),
            length: Some(page.content.len()),
            body: body(page, method, reach)?,
        })
    }
}

/// Says why a path has no representation.
fn explain(nothing: &Nothing, path: &[u8], query: Option<&[u8]>) -> Response {
    let (status, sentence) = match nothing.absence {
        Absence::IsDirectory => {
            return match (&nothing.redirect, query) {
                (Some(redirect), None) => redirect.clone(),
                _ => pages::redirect_to_slash(path, query),
            };
        }
        Absence::Open(OpenError::NotFound) => return nothing_here(),
        Absence::Open(OpenError::Outside) => {
            (Status::FORBIDDEN, "This link leads out of the site.")
        }
        Absence::IsSpecial => (Status::FORBIDDEN, "This is not a regular file."),
        Absence::Open(OpenError::Forbidden) => {
            (Status::FORBIDDEN, "The server may not read this file.")
        }
        Absence::Open(OpenError::Exhausted) => (
            Status::SERVICE_UNAVAILABLE,
            "The server has no file descriptors or memory left at the moment.",
        ),
        Absence::Open(OpenError::Failed) => {
            (Status::INTERNAL_SERVER_ERROR, "The file could not be read.")
        }
    };
    pages::error(status, sentence)
}

fn nothing_here() -> Response {
    pages::error(Status::NOT_FOUND, "Nothing is here.")
}

/// Refuses what no resource here answers, by method and expectation.
fn refuse(head: &RequestHead<'_, '_>) -> Option<Response> {
    let (status, sentence) = match (head.method, head.expect) {
        // RFC 9110 section 9.1: unknown is 501, known but not allowed is 405.
        (Method::Unknown, _) => (
            Status::NOT_IMPLEMENTED,
            "The server does not know this method.",
        ),
        // RFC 9110 section 10.1.1.
        (_, Expectation::Other) => (
            Status::EXPECTATION_FAILED,
            "The only expectation met here is 100-continue.",
        ),
        (Method::Get | Method::Head | Method::Options, _) => return None,
        _ => (
            Status::METHOD_NOT_ALLOWED,
            "This is a static site: it can be read, not written.",
        ),
    };
    Some(pages::error(status, sentence))
}

/// The answer to OPTIONS (RFC 9110 section 9.3.7).
fn options() -> Response {
    Response {
        status: Status::OK,
        fields: Bytes::from_static(pages::ALLOW_LINE.as_bytes()),
        length: Some(0),
        body: Body::Empty,
    }
}

/// 200, or what the preconditions make of it (RFC 9110 section 13.2.2).
fn represent(
    representation: &Representation,
    head: &RequestHead<'_, '_>,
    reach: Reach,
    now: Now,
) -> Result<Response, NeedsDisk> {
    if head.is_conditional {
        let validators = Validators {
            etag: Some(&representation.etag),
            last_modified_unix_secs: Some(representation.last_modified),
        };
        match preconditions::evaluate(head.method, &head.fields, &validators, now.unix_secs) {
            Verdict::Proceed => {}
            Verdict::NotModified => return Ok(not_modified(representation)),
            Verdict::Failed => {
                return Ok(pages::error(
                    Status::PRECONDITION_FAILED,
                    "The file is not in the state that the request asks for.",
                ));
            }
        }
        if let Some(ranges) = requested_ranges(head, &validators, now) {
            representation.content.within(reach)?;
            if let Some(response) = partial(representation, ranges) {
                return Ok(response);
            }
        }
    }
    Ok(Response {
        status: Status::OK,
        fields: representation.fields(),
        length: Some(representation.content.len()),
        body: body(representation, head.method, reach)?,
    })
}

fn not_modified(representation: &Representation) -> Response {
    Response {
        status: Status::NOT_MODIFIED,
        fields: representation.not_modified_fields(),
        length: None,
        body: Body::Empty,
    }
}

/// The whole content; HEAD goes without it (RFC 9110 section 9.3.2), and so never needs the disk.
fn body(representation: &Representation, method: Method, reach: Reach) -> Result<Body, NeedsDisk> {
    let content = &representation.content;
    if method == Method::Head {
        return Ok(Body::Empty);
    }
    content.within(reach)?;
    Ok(slice(content, 0..content.len()))
}

/// The Range field, where it counts: on GET only, and only if If-Range holds (RFC 9110 sections
/// 14.2 and 13.1.5). A repeated field is ignored, as its lines cannot be combined.
fn requested_ranges<'b>(
    head: &RequestHead<'b, '_>,
    validators: &Validators<'_>,
    now: Now,
) -> Option<&'b [u8]> {
    let ranges = head
        .fields
        .only("range")
        .filter(|_| head.method == Method::Get)?;
    preconditions::if_range_holds(&head.fields, validators, now.unix_secs).then_some(ranges)
}

/// Dot files are hidden, `/.well-known/` (RFC 8615) is not.
fn is_hidden(path: &[u8]) -> bool {
    let below = match path.strip_prefix(b"/.well-known") {
        Some(rest) if rest.is_empty() || rest.starts_with(b"/") => rest,
        _ => path,
    };
    memchr::memchr_iter(b'.', below).any(|dot| dot > 0 && below[dot - 1] == b'/')
}
