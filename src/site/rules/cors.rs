//! The CORS protocol: which other origins may read responses (WHATWG Fetch, section "HTTP CORS protocol").
//!
//! Credentials are never allowed, because a static site has the same response for everyone.

use bytes::Bytes;

use crate::config::CorsOrigin;
use crate::http::method::Method;
use crate::http::request::RequestHead;
use crate::http::response::{Body, Response};
use crate::http::status::Status;

/// The fields that scripts may read in addition to the safelisted ones. Range requests need them.
const EXPOSED: &str = "Accept-Ranges, Content-Encoding, Content-Range, ETag";

/// The rest of a preflight response, after the origin. Browsers cap the age at two hours (7200 s).
const PREFLIGHT_FIELDS: &str = "Access-Control-Allow-Methods: GET, HEAD, OPTIONS\r\n\
    Access-Control-Allow-Headers: *\r\nAccess-Control-Max-Age: 7200\r\n";

/// The origins whose pages may read the responses of a site.
#[derive(Debug, Clone)]
pub struct Cors {
    /// The field lines of every response.
    always: Bytes,
    /// Each origin with the field lines of its responses. Empty if all origins are allowed.
    origins: Vec<(Box<[u8]>, Bytes)>,
}

impl Cors {
    /// The CORS rules for `origins`; `None` if the list is empty.
    #[must_use]
    pub fn new(origins: &[CorsOrigin]) -> Option<Cors> {
        if origins.is_empty() {
            return None;
        }
        if origins.contains(&CorsOrigin::Any) {
            return Some(Cors {
                always: Bytes::from(allowing("*")),
                origins: Vec::new(),
            });
        }
        let origins = origins.iter().map(|origin| {
            let origin = origin.to_string();
            let lines = Bytes::from(allowing(&origin));
            (origin.into_bytes().into(), lines)
        });
        Some(Cors {
            always: Bytes::from_static(b"Vary: Origin\r\n"),
            origins: origins.collect(),
        })
    }

    /// The field lines of every response of the site. They have `Vary: Origin` if the response depends on
    /// the origin (RFC 9110 section 12.5.5), because otherwise a cache would give one origin the response
    /// of another.
    #[must_use]
    pub fn always(&self) -> &Bytes {
        &self.always
    }

    /// The additional field lines of a response to a request with this Origin. Empty if the origin is not
    /// allowed, or if [`Cors::always`] allows all origins.
    #[must_use]
    pub fn allowing(&self, origin: Option<&[u8]>) -> &[u8] {
        let Some(origin) = origin else { return b"" };
        self.origins
            .iter()
            .find(|(allowed, _)| **allowed == *origin)
            .map_or(b"", |(_, lines)| lines)
    }

    /// The response to a preflight: an OPTIONS request with Origin and Access-Control-Request-Method.
    /// `None` for any other request. The response to an unknown origin has no permission, so the browser
    /// stops there.
    #[must_use]
    pub fn preflight(&self, head: &RequestHead<'_, '_>) -> Option<Response> {
        if head.method != Method::Options {
            return None;
        }
        let origin = head.fields.only("origin")?;
        head.fields.first("access-control-request-method")?;
        let lines = self.allowing(Some(origin));
        let is_allowed = self.origins.is_empty() || !lines.is_empty();
        let permission = if is_allowed { PREFLIGHT_FIELDS } else { "" };
        let fields = [&self.always[..], lines, permission.as_bytes()].concat();
        Some(Response {
            status: Status::NO_CONTENT,
            fields: Bytes::from(fields),
            length: None,
            body: Body::Empty,
        })
    }
}

fn allowing(origin: &str) -> String {
    format!("Access-Control-Allow-Origin: {origin}\r\nAccess-Control-Expose-Headers: {EXPOSED}\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::{HeadLimits, Parsed, parse_head};

    fn cors(origins: &[&str]) -> Cors {
        let origins: Vec<_> = origins.iter().map(|text| text.parse().unwrap()).collect();
        Cors::new(&origins).unwrap()
    }

    #[test]
    fn without_origins_there_are_no_rules() {
        assert!(Cors::new(&[]).is_none());
    }

    #[test]
    fn the_origin_that_asks_is_allowed_and_no_other() {
        let cors = cors(&["https://a.example", "https://b.example:8443"]);
        assert_eq!(cors.always(), "Vary: Origin\r\n");
        let lines = cors.allowing(Some(b"https://b.example:8443"));
        let expected = b"Access-Control-Allow-Origin: https://b.example:8443\r\n";
        assert!(lines.starts_with(expected));
        for origin in [
            &b"https://c.example"[..],
            b"https://a.example.evil",
            b"http://a.example",
            b"https://a.example, https://b.example:8443",
            b"null",
            b"",
        ] {
            assert_eq!(cors.allowing(Some(origin)), b"");
        }
        assert_eq!(cors.allowing(None), b"");
    }

    #[test]
    fn with_a_star_all_answers_are_the_same() {
        let cors = cors(&["*"]);
        assert!(
            cors.always()
                .starts_with(b"Access-Control-Allow-Origin: *\r\n")
        );
        assert!(!cors.always().windows(4).any(|four| four == b"Vary"));
        assert_eq!(cors.allowing(Some(b"https://a.example")), b"");
    }

    /// The status and the fields of a preflight response; `None` if the request is not a preflight.
    fn preflight(cors: &Cors, method: &str, lines: &str) -> Option<String> {
        let text = format!("{method} /a HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let limits = HeadLimits {
            target_bytes: 64,
            head_bytes: 1024,
            headers: 8,
        };
        let mut spans = Vec::new();
        let Ok(Parsed::Complete { head, .. }) = parse_head(text.as_bytes(), &limits, &mut spans)
        else {
            panic!("{text}");
        };
        let response = cors.preflight(&head)?;
        assert_eq!(response.status, Status::NO_CONTENT);
        assert_eq!(response.length, None, "RFC 9110 section 8.6");
        Some(String::from_utf8(response.fields.to_vec()).unwrap())
    }

    #[test]
    fn a_preflight_is_answered() {
        let cors = cors(&["https://a.example"]);
        let lines = "Origin: https://a.example\r\nAccess-Control-Request-Method: GET\r\n";
        let fields = preflight(&cors, "OPTIONS", lines).unwrap();
        assert!(fields.contains("Access-Control-Allow-Origin: https://a.example\r\n"));
        assert!(fields.contains("Access-Control-Allow-Methods: GET, HEAD, OPTIONS\r\n"));
        assert!(fields.contains("Vary: Origin\r\n"));
        assert_eq!(preflight(&cors, "GET", lines), None);
        assert_eq!(
            preflight(&cors, "OPTIONS", "Origin: https://a.example\r\n"),
            None
        );
        let method = "Access-Control-Request-Method: GET\r\n";
        assert_eq!(preflight(&cors, "OPTIONS", method), None);
    }

    #[test]
    fn an_unknown_origin_gets_no_permission() {
        let lines = "Origin: https://b.example\r\nAccess-Control-Request-Method: GET\r\n";
        let fields = preflight(&cors(&["https://a.example"]), "OPTIONS", lines);
        assert_eq!(fields.as_deref(), Some("Vary: Origin\r\n"));
        let fields = preflight(&cors(&["*"]), "OPTIONS", lines).unwrap();
        assert!(fields.contains("Access-Control-Allow-Origin: *\r\n"));
        assert!(fields.contains("Access-Control-Allow-Headers: *\r\n"));
    }
}
