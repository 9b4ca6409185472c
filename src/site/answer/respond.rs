//! From a request to a response, within one site.
//!
//! Each step works on the result of the step before:
//!
//! 1. The path is decoded and normalised. A request for the path of `shutdown.health` is answered.
//! 2. A request over a plain connection is redirected to https, if the site wants that (`https_redirect`). A CORS
//!    preflight is answered.
//! 3. The redirects of the configuration are applied to the requested path; some of them answer that a
//!    document is gone. The redirects of `clean_urls` follow.
//! 4. A rewrite replaces the path. The new path must not be hidden either.
//! 5. [`Lookup`](crate::site::lookup::Lookup) finds the file, with `index` and `clean_urls`. A directory
//!    without its slash is redirected (`canonical`).
//! 6. A file may have encoded variants, as far as the rules for the requested path allow. The client gets
//!    the variant that it prefers. If only encoded variants exist, one of them is decoded for a client that
//!    accepts none.
//! 7. If there is no file, the server tries the listing, the page without the slash (`clean_urls`) and the
//!    application (`spa`), in this order. Otherwise it answers 404.
//! 8. An error gets the site's own page (`error_pages`), if there is one, in the client's preferred coding.
//! 9. The rules for the requested path edit the fields of the response.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;

use super::partial::{partial, slice};
use super::sites::{PathRequest, Site};
use crate::clock::Now;
use crate::http::accept;
use crate::http::method::Method;
use crate::http::preconditions::{self, PreconditionResult, Validators};
use crate::http::request::{Expectation, RequestHead, Target};
use crate::http::response::{Body, Response};
use crate::http::scheme::Scheme;
use crate::http::status::Status;
use crate::http::target::decode_path;
use crate::site::content::{Content, Representation};
use crate::site::disk::{OpenError, OpenFile};
use crate::site::listing::{self, ListingRequest};
use crate::site::lookup::RewrittenPath;
use crate::site::memory::{Absence, FileEntry, LookupResult};
use crate::site::pages;
use crate::site::rules::{FieldEditor, ResponseFacts};
use crate::site::waiting::{MayBlock, WouldBlock};

impl Site {
    /// Answers `head`, which came by `scheme`. `path` is a buffer that the caller reuses.
    ///
    /// # Errors
    /// As [`Sites::respond`](super::Sites::respond).
    pub fn respond(
        &self,
        head: &RequestHead<'_, '_>,
        scheme: Scheme,
        path: &mut Vec<u8>,
        may_block: MayBlock,
        now: Now,
    ) -> Result<Response, WouldBlock> {
        let facts = &ResponseFacts::of(scheme);
        let mut response = match &head.target {
            // A malformed path gets 400, whatever the method.
            Target::Path { path: raw, query } => match decode_path(raw, path) {
                Ok(()) => {
                    if let Some(health) = &self.health
                        && let Some(answer) = health.respond(head.method, path)
                    {
                        return Ok(self.with_hsts(answer, scheme));
                    }
                    if let Some(redirect) = self.redirect_to_https(head, scheme, path, *query) {
                        redirect
                    } else if let Some(answer) = self.preflight(head) {
                        return Ok(self.with_hsts(answer, scheme));
                    } else {
                        self.answer(&PathRequest {
                            head,
                            path,
                            query: *query,
                            may_block,
                            now,
                            facts,
                        })?
                    }
                }
                Err(reject) => {
                    // Rules match paths, and this request has no valid one.
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

    /// The response to `head` if it is a health check. `path` is a buffer that the caller reuses.
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

    /// The redirect of a plain request, if the site wants it.
    #[inline]
    fn redirect_to_https(
        &self,
        head: &RequestHead<'_, '_>,
        scheme: Scheme,
        path: &[u8],
        query: Option<&[u8]>,
    ) -> Option<Response> {
        let redirect = self.https_redirect.as_ref()?;
        match scheme {
            Scheme::Http => redirect.respond(head, path, query),
            Scheme::Https => None,
        }
    }

    /// Adds Strict-Transport-Security to a response that no rule edits, if `scheme` is https.
    fn with_hsts(&self, mut response: Response, scheme: Scheme) -> Response {
        if let Some(rules) = &self.rules
            && let Some(line) = rules.hsts_line(scheme)
        {
            response.fields = Bytes::from([&response.fields, line].concat());
        }
        response
    }

    fn preflight(&self, head: &RequestHead<'_, '_>) -> Option<Response> {
        self.rules.as_ref()?.cors()?.preflight(head)
    }

    fn answer(&self, request: &PathRequest<'_, '_, '_>) -> Result<Response, WouldBlock> {
        if let Some(refusal) = not_understood(request.head) {
            return Ok(refusal);
        }
        // A redirect comes before 405: the target may support methods that this server does not.
        let rules = self.rules.as_deref();
        if let Some(redirected) =
            rules.and_then(|rules| rules.redirect(request.path, request.query))
        {
            return Ok(redirected.answer());
        }
        if let Some(refusal) = not_allowed(request.head) {
            return Ok(refusal);
        }
        if let Some(index) = &self.clean_urls
            && let Some(redirect) = self.clean_redirect(index, request)?
        {
            return Ok(redirect);
        }
        match rules.and_then(|rules| rules.rewrite(request.path)) {
            Some(rewritten) => self.serve(&rewritten, request),
            None => self.serve(request.path, request),
        }
    }

    /// Serves `path`, which a rewrite may have put in place of the requested path.
    pub(super) fn serve(
        &self,
        path: &[u8],
        request: &PathRequest<'_, '_, '_>,
    ) -> Result<Response, WouldBlock> {
        if self.is_hidden(path) {
            return Ok(not_found());
        }
        let found = if std::ptr::eq(path, request.path) {
            self.files.find(path, request.may_block, request.now)?
        } else {
            self.files.find_for(
                RewrittenPath {
                    asked: request.path,
                    path,
                    is_fallback: false,
                },
                request.may_block,
                request.now,
            )?
        };
        match found {
            LookupResult::File(_) if request.head.method == Method::Options => Ok(options()),
            LookupResult::File(entry) => self.send(&entry, request),
            LookupResult::NegativeEntry(entry) => match entry.absence {
                Absence::IsDirectory => self.answer_directory(&entry, path, request),
                Absence::Open(OpenError::NotFound) => self.serve_fallback(path, request),
                absence => Ok(absence_response(absence)),
            },
        }
    }

    /// Sends the variant of a file that suits the request.
    fn send(
        &self,
        entry: &Arc<FileEntry>,
        request: &PathRequest<'_, '_, '_>,
    ) -> Result<Response, WouldBlock> {
        let (head, may_block, now) = (request.head, request.may_block, request.now);
        if head.has_range
            && let Some(variant) = self.files.variant_for_range(entry, head, may_block, now)?
        {
            return self.represent(variant, request);
        }
        match self.files.preferred(entry, head, may_block, now)? {
            Some(representation) => self.represent(representation, request),
            None => Ok(pages::only_encoded()),
        }
    }

    /// 200, or the result of the preconditions (RFC 9110 section 13.2.2).
    fn represent(
        &self,
        representation: &Representation,
        request: &PathRequest<'_, '_, '_>,
    ) -> Result<Response, WouldBlock> {
        let (head, may_block, now) = (request.head, request.may_block, request.now);
        let own_type = || representation.content_type_value();
        if head.is_conditional {
            let validators = representation.validators();
            match preconditions::evaluate(head.method, &head.fields, &validators, now.unix_secs) {
                PreconditionResult::Proceed => {}
                PreconditionResult::NotModified => {
                    self.record_type(request, own_type);
                    return Ok(not_modified(representation));
                }
                PreconditionResult::Failed => {
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
                    Some(editor) => editor.edit_part(request.path, &lines),
                };
                if let Some(response) = partial(representation, ranges, now.unix_secs, of_part) {
                    if let Body::Parts(_) = response.body {
                        self.record_type(request, own_type);
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

    /// Records the media type of the representation for rules that depend on it, where the response has no
    /// Content-Type of that representation.
    fn record_type(&self, request: &PathRequest<'_, '_, '_>, content_type: impl FnOnce() -> Bytes) {
        if self
            .editor
            .as_ref()
            .is_some_and(FieldEditor::depends_on_type)
        {
            // Each response records it only once.
            let _ = request.facts.content_type.set(content_type());
        }
    }

    /// Serves a path without a file: a listing, a page without the slash, an application, or 404.
    fn serve_fallback(
        &self,
        path: &[u8],
        request: &PathRequest<'_, '_, '_>,
    ) -> Result<Response, WouldBlock> {
        let head = request.head;
        if let Some(listings) = &self.listings
            && path.ends_with(b"/")
        {
            let listed = match head.method {
                Method::Options => {
                    request.may_block.any_disk()?;
                    self.files.open_directory(path).map(|()| options())
                }
                _ => {
                    let listing = ListingRequest {
                        head,
                        query: request.query,
                        may_block: request.may_block,
                        now: request.now,
                    };
                    self.files.list(listings, (request.path, path), &listing)?
                }
            };
            match listed {
                Ok(response) if response.status == Status::NOT_MODIFIED => {
                    let own_type = || Bytes::from_static(listing::media_type(head).as_bytes());
                    self.record_type(request, own_type);
                    return Ok(response);
                }
                Ok(response) => return Ok(response),
                Err(OpenError::NotFound) => {}
                Err(error) => return Ok(absence_response(Absence::Open(error))),
            }
        }
        if let Some(answer) = self.page_without_slash(path, request)? {
            return Ok(answer);
        }
        let applications = self.applications.as_ref();
        let Some(page) = applications.and_then(|all| all.page(request.path)) else {
            return Ok(not_found());
        };
        request.facts.varies_by_accept.set(true);
        let is_page_wanted =
            head.method != Method::Options && accept::is_named(&head.fields, "text/html");
        let rewritten = RewrittenPath {
            asked: request.path,
            path: page,
            is_fallback: true,
        };
        if is_page_wanted
            && let LookupResult::File(entry) =
                self.files
                    .find_for(rewritten, request.may_block, request.now)?
        {
            request.facts.is_fallback.set(true);
            return self.send(&entry, request);
        }
        Ok(not_found())
    }

    /// Replaces the built-in page of `error` by the site's own page, if there is one. The tuple is the head
    /// of the request and its decoded path.
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
        let LookupResult::File(entry) = found else {
            return Ok(error);
        };
        let Some(page) = self.files.preferred(&entry, head, may_block, now)? else {
            return Ok(pages::varying_by_coding(error));
        };
        let required = pages::required_fields(&error);
        Ok(Response {
            status: error.status,
            fields: if required.is_empty() {
                page.page_fields()
            } else {
                Bytes::from([page.page_fields(), required].concat())
            },
            length: Some(page.content.len()),
            body: body(page, head.method, may_block)?,
        })
    }
}

/// The error response for a path without a representation.
fn absence_response(absence: Absence) -> Response {
    let (status, sentence) = match absence {
        Absence::IsDirectory | Absence::Open(OpenError::NotFound) => return not_found(),
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

/// 404. The page is looked up only once, because requests for it are frequent.
fn not_found() -> Response {
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

/// The whole content. A response to HEAD has none (RFC 9110 section 9.3.2), so it never needs the disk.
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

/// The value of Range, if it applies: the method is GET and If-Range holds (RFC 9110 sections 14.2 and
/// 13.1.5). A repeated Range field is ignored, because its lines cannot be combined.
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

/// Refuses unknown methods and expectations, whatever the resource.
pub(super) fn not_understood(head: &RequestHead<'_, '_>) -> Option<Response> {
    let (status, sentence) = match (head.method, head.expect) {
        // RFC 9110 section 9.1: an unknown method gets 501, a known one that is not allowed gets 405.
        (Method::Unknown, _) => (
            Status::NOT_IMPLEMENTED,
            "The server does not know this method.",
        ),
        // RFC 9110 section 10.1.1.
        (_, Expectation::Other) => (
            Status::EXPECTATION_FAILED,
            "The server supports no expectation other than 100-continue.",
        ),
        _ => return None,
    };
    Some(pages::error(status, sentence))
}

/// Refuses methods that no resource of a static site supports (RFC 9110 section 15.5.6).
pub(super) fn not_allowed(head: &RequestHead<'_, '_>) -> Option<Response> {
    let is_readable = matches!(head.method, Method::Get | Method::Head | Method::Options);
    (!is_readable).then(|| {
        pages::error(
            Status::METHOD_NOT_ALLOWED,
            "This is a static site: it can be read, not written.",
        )
    })
}

/// The response to OPTIONS (RFC 9110 section 9.3.7).
pub(super) fn options() -> Response {
    Response {
        status: Status::OK,
        fields: Bytes::from_static(pages::ALLOW_LINE.as_bytes()),
        length: Some(0),
        body: Body::Empty,
    }
}
