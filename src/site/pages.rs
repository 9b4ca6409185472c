//! The small pages that say what went wrong, and the redirect's.

use bytes::Bytes;

use super::document;
use crate::http::request::Reject;
use crate::http::response::{Body, Response};
use crate::http::status::Status;

/// The fields that every page of ours carries. nosniff keeps a browser from guessing another type.
const PAGE_FIELDS: &str =
    "Content-Type: text/html; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n";

/// The methods that every resource here answers, as the value of Allow (RFC 9110 section 10.2.1).
pub const ALLOWED: &str = "GET, HEAD, OPTIONS";

/// Seconds after which a client that got 503 may try again (RFC 9110 section 10.2.3).
const RETRY_AFTER_SECS: u32 = 2;

/// A page for `status` with one sentence for a human, and the fields that the status owes:
/// Allow with 405 (RFC 9110 section 15.5.6), Retry-After with 503 (section 15.6.4).
#[must_use]
pub fn error(status: Status, sentence: &str) -> Response {
    let fields = match status {
        Status::METHOD_NOT_ALLOWED => Bytes::from(format!("{PAGE_FIELDS}Allow: {ALLOWED}\r\n")),
        Status::SERVICE_UNAVAILABLE => {
            Bytes::from(format!("{PAGE_FIELDS}Retry-After: {RETRY_AFTER_SECS}\r\n"))
        }
        _ => Bytes::from_static(PAGE_FIELDS.as_bytes()),
    };
    page(status, fields, sentence)
}

/// The page for a request that the parser refused.
#[must_use]
pub fn rejected(reject: &Reject) -> Response {
    error(reject.status, reject.reason)
}

/// 301 to `location`, which is path-absolute and percent-encoded (RFC 9110 section 15.4.2).
#[must_use]
pub fn moved_permanently(location: &str) -> Response {
    let fields = Bytes::from(format!("{PAGE_FIELDS}Location: {location}\r\n"));
    // The location is percent-encoded but for a query, which may hold any visible ASCII.
    let mut escaped = String::with_capacity(location.len());
    document::escape(&mut escaped, location);
    let sentence = format!("The document is at <a href=\"{escaped}\">{escaped}</a>.");
    page(Status::MOVED_PERMANENTLY, fields, &sentence)
}

fn page(status: Status, fields: Bytes, sentence: &str) -> Response {
    let title = format!("{} {}", status.code(), status.reason());
    let mut body = String::with_capacity(2048);
    document::begin(&mut body, &title, "", "note");
    body.extend([
        "<h1>",
        &title,
        "</h1>\n<p>",
        sentence,
        "</p>\n",
        document::END,
    ]);
    Response {
        status,
        fields,
        length: Some(body.len() as u64),
        body: Body::Memory(Bytes::from(body)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(response: &Response) -> (String, String) {
        let Body::Memory(body) = &response.body else {
            panic!("a page is in memory")
        };
        assert_eq!(response.length, Some(body.len() as u64));
        let fields = String::from_utf8(response.fields.to_vec()).expect("ASCII");
        (fields, String::from_utf8(body.to_vec()).expect("UTF-8"))
    }

    #[test]
    fn a_page_says_the_status_and_the_sentence() {
        let (fields, body) = text(&error(Status::NOT_FOUND, "Nothing is here."));
        assert!(fields.contains("nosniff"));
        assert!(body.contains("<h1>404 Not Found</h1>"), "{body}");
        assert!(body.contains("Nothing is here."), "{body}");
    }

    #[test]
    fn a_page_is_small() {
        let (_, body) = text(&error(Status::SERVICE_UNAVAILABLE, "The server is busy."));
        assert!(body.len() < 2_000, "{}", body.len());
    }

    #[test]
    fn a_405_names_the_allowed_methods_and_a_503_when_to_come_back() {
        assert!(
            text(&error(Status::METHOD_NOT_ALLOWED, ""))
                .0
                .contains("Allow: GET, HEAD, OPTIONS\r\n")
        );
        assert!(
            text(&error(Status::SERVICE_UNAVAILABLE, ""))
                .0
                .contains("Retry-After: 2\r\n")
        );
    }

    #[test]
    fn a_redirect_cannot_inject_markup() {
        let (fields, body) = text(&moved_permanently("/a/?<script>&\"'"));
        assert!(
            fields.contains("Location: /a/?<script>&\"'\r\n"),
            "{fields}"
        );
        assert!(!body.contains("<script>"), "{body}");
        assert!(
            body.contains("/a/?&lt;script&gt;&amp;&quot;&#39;"),
            "{body}"
        );
    }
}
