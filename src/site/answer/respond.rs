//! The one way from a request to a response, in one site.
//!
//! The steps, each of them looking at what the one before has left:
//!
//! 1. The path is decoded; all else is about that. The path of `shutdown.health` is answered.
//! 2. A preflight of the CORS protocol is answered.
//! 3. The redirects of the configuration, some of which say that a document is gone, then those of
//!    `clean_urls`, see the path as it was asked.
//! 4. A rewrite puts another path in its place, which must not be a hidden one either.
//! 5. [`Lookup`](crate::site::lookup::Lookup) finds the file, with `index` and `clean_urls`. A directory
//!    without its slash is a redirect (`addresses`).
//! 6. A file may have forms in several codings, as the rules for the path as it was asked allow; the
//!    client gets the one that it likes best. If only the forms are there, one is decoded for those who
//!    accept none.
//! 7. Where nothing is: the listing, then the page without the slash (`clean_urls`), then the
//!    application (`spa`), then 404.
//! 8. An error gets the site's own page (`error_pages`), if there is one, in the form that the client
//!    likes best.
//! 9. The fields, each form's by themselves, are edited by the rules, for the path as it was asked.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;

use super::partial::{partial, slice};
use super::sites::{Ask, Site};
use crate::clock::Now;
use crate::http::accept;
use crate::http::method::Method;
use crate::http::preconditions::{self, Validators, Verdict};
use crate::http::request::{Expectation, RequestHead, Target};
use crate::http::response::{Body, Response};
use crate::http::status::Status;
use crate::http::target::decode_path;
use crate::site::content::{Content, Representation};
use crate::site::disk::{OpenError, OpenFile};
use crate::site::listing::{self, ListingRequest};
use crate::site::lookup::LedTo;
use crate::site::memory::{Absence, FileEntry, Found};
use crate::site::pages;
use crate::site::rules::{FieldEditor, ResponseFacts};
use crate::site::waiting::{MayBlock, WouldBlock};

impl Site {
    /// Answers `head`. `path` is a buffer of the caller's.
    ///
    /// # Errors
    /// As [`Sites::respond`](super::Sites::respond).
    pub fn respond(
        &self,
        head: &RequestHead<'_, '_>,
        path: &mut Vec<u8>,
        may_block: MayBlock,
        now: Now,
    ) -> Result<Response, WouldBlock> {
        let facts = &ResponseFacts::default();
        let mut response = match &head.target {
            // A malformed path is malformed whatever the method.
            Target::Path { path: raw, query } => match decode_path(raw, path) {
                Ok(()) => {
                    if let Some(health) = &self.health
                        && let Some(answer) = health.respond(head.method, path)
                    {
                        return Ok(answer);
                    }
                    if let Some(answer) = self.preflight(head) {
                        return Ok(answer);
                    }
                    self.answer(&Ask {
                        head,
                        path,
                        query: *query,
                        may_block,
                        now,
                        facts,
                    })?
                }
                Err(reject) => {
                    // No rule is about what is no path.
                    path.clear();
                    pages::rejected(&reject)
                }
            },
            Target::Asterisk | Target::Authority(_) => {
                path.clear();
                not_understood(head)
                    .or_else(|| not_allowed(head))
                    .unwrap_or_else(options)
            }
        };
        if response.status.code() >= 400 {
            response = self.with_own_page(response, (head, path), may_block, now)?;
        }
        if let Some(editor) = &self.editor {
            editor.edit(head, path, &mut response, facts);
        }
        Ok(response)
    }

    /// The answer to `head` if it asks for the health of the server. `path` is a buffer of the caller's.
    #[must_use]
    pub fn health(&self, head: &RequestHead<'_, '_>, path: &mut Vec<u8>) -> Option<Response> {
        let health = self.health.as_ref()?;
        match &head.target {
            Target::Path { path: raw, .. } if decode_path(raw, path).is_ok() => {
                health.respond(head.method, path)
            }
            _ => None,
        }
    }

    fn preflight(&self, head: &RequestHead<'_, '_>) -> Option<Response> {
        self.rules.as_ref()?.cors()?.preflight(head)
    }

    fn answer(&self, ask: &Ask<'_, '_, '_>) -> Result<Response, WouldBlock> {
        if let Some(refusal) = not_understood(ask.head) {
            return Ok(refusal);
        }
        // The new place may well take what cannot be done here.
        let rules = self.rules.as_deref();
        if let Some(redirected) = rules.and_then(|rules| rules.redirect(ask.path, ask.query)) {
            return Ok(redirected.answer());
        }
        if let Some(refusal) = not_allowed(ask.head) {
            return Ok(refusal);
        }
        if let Some(index) = &self.clean_urls
            && let Some(redirect) = self.clean_redirect(index, ask)?
        {
            return Ok(redirect);
        }
        match rules.and_then(|rules| rules.rewrite(ask.path)) {
            Some(rewritten) => self.serve(&rewritten, ask),
            None => self.serve(ask.path, ask),
        }
    }

    /// Serves `path`, which may not be the one that was asked for.
    pub(super) fn serve(&self, path: &[u8], ask: &Ask<'_, '_, '_>) -> Result<Response, WouldBlock> {
        if self.is_hidden(path) {
            return Ok(nothing_here());
        }
        let found = if std::ptr::eq(path, ask.path) {
            self.files.find(path, ask.may_block, ask.now)?
        } else {
            self.files.find_for(
                LedTo {
                    asked: ask.path,
                    path,
                    is_fallback: false,
                },
                ask.may_block,
                ask.now,
            )?
        };
        match found {
            Found::File(_) if ask.head.method == Method::Options => Ok(options()),
            Found::File(entry) => self.send(&entry, ask),
            Found::NegativeEntry(nothing) => match nothing.absence {
                Absence::IsDirectory => self.enter(&nothing, path, ask),
                Absence::Open(OpenError::NotFound) => self.serve_in_place(path, ask),
                absence => Ok(explain(absence)),
            },
        }
    }

    /// The form of a file that the request is about.
    fn send(&self, entry: &Arc<FileEntry>, ask: &Ask<'_, '_, '_>) -> Result<Response, WouldBlock> {
        let Ask {
            head,
            may_block,
            now,
            ..
        } = *ask;
        if head.has_range
            && let Some(form) = self.files.form_for_range(entry, head, may_block, now)?
        {
            return self.represent(form, ask);
        }
        match self.files.preferred(entry, head, may_block, now)? {
            Some(representation) => self.represent(representation, ask),
            None => Ok(pages::only_encoded()),
        }
    }

    /// 200, or what the preconditions make of it (RFC 9110 section 13.2.2).
    fn represent(
        &self,
        representation: &Representation,
        ask: &Ask<'_, '_, '_>,
    ) -> Result<Response, WouldBlock> {
        let Ask {
            head,
            may_block,
            now,
            ..
        } = *ask;
        let own_type = || representation.content_type_value();
        if head.is_conditional {
            let validators = representation.validators();
            match preconditions::evaluate(head.method, &head.fields, &validators, now.unix_secs) {
                Verdict::Proceed => {}
                Verdict::NotModified => {
                    self.note_type(ask, own_type);
                    return Ok(not_modified(representation));
                }
                Verdict::Failed => {
                    return Ok(pages::error(
                        Status::PRECONDITION_FAILED,
                        "The file is not in the state that the request asks for.",
                    ));
                }
            }
            if let Some(ranges) = requested_ranges(head, &validators, now) {
                representation.content.within(may_block)?;
                let of_part = |lines| match &self.editor {
                    None => lines,
                    Some(editor) => editor.edit_part(ask.path, &lines),
                };
                if let Some(response) = partial(representation, ranges, now.unix_secs, of_part) {
                    if let Body::Parts(_) = response.body {
                        self.note_type(ask, own_type);
                    }
                    return Ok(response);
                }
            }
        }
        Ok(Response {
            status: Status::OK,
            fields: representation.fields(now.unix_secs),
            length: Some(representation.content.len()),
            body: body(representation, head.method, may_block)?,
        })
    }

    /// Notes the type of the representation for rules that look at it: the response's own lines do not
    /// have it.
    fn note_type(&self, ask: &Ask<'_, '_, '_>, content_type: impl FnOnce() -> Bytes) {
        if self
            .editor
            .as_ref()
            .is_some_and(FieldEditor::looks_at_types)
        {
            // Noted once for each response.
            let _ = ask.facts.content_type.set(content_type());
        }
    }

    /// What is sent in the place of what does not exist.
    fn serve_in_place(&self, path: &[u8], ask: &Ask<'_, '_, '_>) -> Result<Response, WouldBlock> {
        let head = ask.head;
        if let Some(listings) = &self.listings
            && path.ends_with(b"/")
        {
            let listed = match head.method {
                Method::Options => {
                    ask.may_block.any_disk()?;
                    self.files.open_directory(path).map(|()| options())
                }
                _ => {
                    let request = ListingRequest {
                        head,
                        query: ask.query,
                        may_block: ask.may_block,
                        now: ask.now,
                    };
                    self.files.list(listings, (ask.path, path), &request)?
                }
            };
            match listed {
                Ok(response) if response.status == Status::NOT_MODIFIED => {
                    let own_type = || Bytes::from_static(listing::media_type(head).as_bytes());
                    self.note_type(ask, own_type);
                    return Ok(response);
                }
                Ok(response) => return Ok(response),
                Err(OpenError::NotFound) => {}
                Err(error) => return Ok(explain(Absence::Open(error))),
            }
        }
        if let Some(answer) = self.without_slash(path, ask)? {
            return Ok(answer);
        }
        let applications = self.applications.as_ref();
        let Some(page) = applications.and_then(|all| all.page(ask.path)) else {
            return Ok(nothing_here());
        };
        ask.facts.varies_by_accept.set(true);
        let is_page_wanted =
            head.method != Method::Options && accept::is_named(&head.fields, "text/html");
        let led = LedTo {
            asked: ask.path,
            path: page,
            is_fallback: true,
        };
        if is_page_wanted
            && let Found::File(entry) = self.files.find_for(led, ask.may_block, ask.now)?
        {
            ask.facts.is_fallback.set(true);
            return self.send(&entry, ask);
        }
        Ok(nothing_here())
    }

    /// Puts the site's own page, if there is one, in place of the page of `error`. The request is for the
    /// decoded path beside the head.
    fn with_own_page(
        &self,
        error: Response,
        (head, asked): (&RequestHead<'_, '_>, &[u8]),
        may_block: MayBlock,
        now: Now,
    ) -> Result<Response, WouldBlock> {
        let Some(path) = self.error_pages.get(&error.status.code()) else {
            return Ok(error);
        };
        let found = self
            .files
            .find_for_error((asked, error.status), path, may_block, now)?;
        let Found::File(entry) = found else {
            return Ok(error);
        };
        let Some(page) = self.files.preferred(&entry, head, may_block, now)? else {
            return Ok(pages::varying_by_coding(error));
        };
        let owed = pages::owed_fields(&error);
        Ok(Response {
            status: error.status,
            fields: if owed.is_empty() {
                page.page_fields()
            } else {
                Bytes::from([page.page_fields(), owed].concat())
            },
            length: Some(page.content.len()),
            body: body(page, head.method, may_block)?,
        })
    }
}

/// Says why a path has no representation.
fn explain(absence: Absence) -> Response {
    let (status, sentence) = match absence {
        Absence::IsDirectory | Absence::Open(OpenError::NotFound) => return nothing_here(),
        Absence::Open(OpenError::Outside) => {
            (Status::FORBIDDEN, "This link leads out of the site.")
        }
        Absence::IsSpecial => (Status::FORBIDDEN, "This is not a regular file."),
        Absence::IsChanging => (
            Status::SERVICE_UNAVAILABLE,
            "This file is being written at the moment.",
        ),
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

/// The one page that is asked for in masses is not looked up each time.
fn nothing_here() -> Response {
    static PAGE: LazyLock<Response> =
        LazyLock::new(|| pages::error(Status::NOT_FOUND, "Nothing is here."));
    PAGE.clone()
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
fn body(
    representation: &Representation,
    method: Method,
    may_block: MayBlock,
) -> Result<Body, WouldBlock> {
    match &representation.content {
        _ if method == Method::Head => Ok(Body::Empty),
        Content::Memory(bytes) => Ok(Body::Memory(bytes.clone())),
        Content::MemfdBody(_) => Ok(slice(
            &representation.content,
            0..representation.content.len(),
        )),
        Content::Descriptor(file, size) => {
            representation.content.within(may_block)?;
            Ok(Body::File {
                file: Arc::<OpenFile>::clone(file),
                range: 0..*size,
            })
        }
    }
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

/// Refuses what no server of this kind understands, whatever the resource.
pub(super) fn not_understood(head: &RequestHead<'_, '_>) -> Option<Response> {
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
        _ => return None,
    };
    Some(pages::error(status, sentence))
}

/// Refuses the methods that no resource here has (RFC 9110 section 15.5.6).
pub(super) fn not_allowed(head: &RequestHead<'_, '_>) -> Option<Response> {
    let is_readable = matches!(head.method, Method::Get | Method::Head | Method::Options);
    (!is_readable).then(|| {
        pages::error(
            Status::METHOD_NOT_ALLOWED,
            "This is a static site: it can be read, not written.",
        )
    })
}

/// The answer to OPTIONS (RFC 9110 section 9.3.7).
pub(super) fn options() -> Response {
    Response {
        status: Status::OK,
        fields: Bytes::from_static(pages::ALLOW_LINE.as_bytes()),
        length: Some(0),
        body: Body::Empty,
    }
}
