//! The built-in pages for errors and redirects.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;

use super::document;
use crate::http::request::Reject;
use crate::http::response::{Body, Response};
use crate::http::status::Status;
use crate::http::target::{encode_path, encode_query};

/// The fields of every built-in page. nosniff keeps a browser from guessing another type.
const PAGE_FIELDS: &str =
    "Content-Type: text/html; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n";

/// The methods that every resource supports, as a field line (RFC 9110 section 10.2.1).
pub const ALLOW_LINE: &str = "Allow: GET, HEAD, OPTIONS\r\n";

/// The seconds after which a client may repeat a request that got 503 (RFC 9110 section 10.2.3).
const RETRY_AFTER_SECS: u32 = 2;

/// The built-in page for `status`, with one sentence for people and the fields that the status requires:
/// Allow with 405 (RFC 9110 section 15.5.6), Retry-After with 503 (section 15.6.4).
///
/// Each page is generated once and kept, because the program has only few sentences. The next use allocates
/// nothing.
#[must_use]
pub fn error(status: Status, sentence: &'static str) -> Response {
    static WRITTEN: RwLock<BTreeMap<(u16, &str), Response>> = RwLock::new(BTreeMap::new());
    let key = (status.code(), sentence);
    let written = WRITTEN.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(response) = written.get(&key) {
        return response.clone();
    }
    drop(written);
    let mut written = WRITTEN.write().unwrap_or_else(PoisonError::into_inner);
    let response = written
        .entry(key)
        .or_insert_with(|| write_error(status, sentence));
    response.clone()
}

fn write_error(status: Status, sentence: &str) -> Response {
    let required = match status {
        Status::METHOD_NOT_ALLOWED => ALLOW_LINE.to_owned(),
        Status::SERVICE_UNAVAILABLE => format!("Retry-After: {RETRY_AFTER_SECS}\r\n"),
        _ => String::new(),
    };
    let mut response = page(status, format!("{PAGE_FIELDS}{required}"), sentence);
    // Leaked on purpose: static bytes need no reference count, which threads would contend for.
    let forever = |bytes: &Bytes| Bytes::from_static(bytes.to_vec().leak());
    response.fields = forever(&response.fields);
    if let Body::Memory(content) = &mut response.body {
        *content = forever(content);
    }
    response
}

/// 404 for a file that exists only in content codings that the client does not accept. Caches must know
/// that another client may get the file (RFC 9110 section 12.5.5).
#[must_use]
pub fn only_encoded() -> Response {
    varying_by_coding(error(
        Status::NOT_FOUND,
        "This file exists only in a compressed form that the request does not accept.",
    ))
}

/// Adds `Vary: Accept-Encoding` to `response`: another client may get it in another coding.
#[must_use]
pub fn varying_by_coding(mut response: Response) -> Response {
    response.fields = Bytes::from([&response.fields, &b"Vary: Accept-Encoding\r\n"[..]].concat());
    response
}

/// The page for a request that the parser refused.
#[must_use]
pub fn rejected(reject: &Reject) -> Response {
    error(reject.status, reject.reason)
}

/// The fields that the status of a built-in page requires, without those that describe the page. They stay
/// if the site has its own page for the status.
#[must_use]
pub fn required_fields(response: &Response) -> Bytes {
    let described = response.fields.starts_with(PAGE_FIELDS.as_bytes());
    let start = if described { PAGE_FIELDS.len() } else { 0 };
    response.fields.slice(start..)
}

/// 301 from a directory to its path with a slash, with the query (RFC 9110 section 15.4.2). `path` is
/// decoded; the Location is path-absolute.
#[must_use]
pub fn redirect_to_slash(path: &[u8], query: Option<&[u8]>) -> Response {
    redirect(path, "/", query)
}

/// 301 to the decoded `path` of the same site, with the query.
#[must_use]
pub fn redirect_to(path: &[u8], query: Option<&[u8]>) -> Response {
    redirect(path, "", query)
}

fn redirect(path: &[u8], end: &str, query: Option<&[u8]>) -> Response {
    let mut location = Vec::with_capacity(path.len() + 1);
    encode_path(path, &mut location);
    location.extend_from_slice(end.as_bytes());
    if let Some(query) = query {
        location.push(b'?');
        encode_query(query, &mut location);
    }
    // Both parts are encoded, so they are ASCII.
    moved(
        Status::MOVED_PERMANENTLY,
        &String::from_utf8_lossy(&location),
    )
}

/// A redirect (RFC 9110 section 15.4) with this `status` to `location`, a URI reference.
#[must_use]
pub fn moved(status: Status, location: &str) -> Response {
    let fields = format!("{PAGE_FIELDS}Location: {location}\r\n");
    // The path is percent-encoded, but a query may contain any visible ASCII character.
    let mut escaped = String::with_capacity(location.len());
    document::escape(&mut escaped, location);
    let sentence = format!("The document is at <a href=\"{escaped}\">{escaped}</a>.");
    page(status, fields, &sentence)
}

fn page(status: Status, fields: String, sentence: &str) -> Response {
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
        fields: Bytes::from(fields),
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
    fn a_page_is_written_once() {
        let body = || match error(Status::FORBIDDEN, "Written once.").body {
            Body::Memory(body) => body.as_ptr(),
            _ => panic!("a page is in memory"),
        };
        assert_eq!(body(), body());
    }

    #[test]
    fn a_redirect_goes_to_the_encoded_path_and_keeps_the_query() {
        let location = |path: &str, query: Option<&str>| {
            let (fields, _) = text(&redirect_to_slash(
                path.as_bytes(),
                query.map(str::as_bytes),
            ));
            let line = fields
                .lines()
                .find_map(|line| line.strip_prefix("Location: "));
            line.expect("a Location").to_owned()
        };
        assert_eq!(location("/a b", None), "/a%20b/");
        assert_eq!(location("/a", Some("")), "/a/?");
        assert_eq!(location("/a", Some("x=<1>")), "/a/?x=%3C1%3E");
    }

    #[test]
    fn the_fields_that_a_status_requires_are_known_apart_from_the_page() {
        let required = |status| required_fields(&error(status, "")).to_vec();
        assert_eq!(required(Status::METHOD_NOT_ALLOWED), ALLOW_LINE.as_bytes());
        assert_eq!(required(Status::SERVICE_UNAVAILABLE), b"Retry-After: 2\r\n");
        assert!(required(Status::NOT_FOUND).is_empty());
    }

    #[test]
    fn a_redirect_cannot_inject_markup() {
        let (fields, body) = text(&moved(Status::MOVED_PERMANENTLY, "/a/?<script>&\"'"));
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
