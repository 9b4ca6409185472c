//! Answers that do not depend on the resource: refusals of a method or an expectation, and that to OPTIONS.

use bytes::Bytes;

use crate::http::method::Method;
use crate::http::request::{Expectation, RequestHead};
use crate::http::response::{Body, Response};
use crate::http::status::Status;
use crate::site::pages;

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
