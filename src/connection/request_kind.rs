//! The kinds of requests that the metrics distinguish: ten methods times four classes of status.
//!
//! Clients choose methods, hosts and paths. A metric that had a series for each of them would grow without a
//! bound, so a kind is a number below [`RequestKind::COUNT`], whatever clients send.

use crate::http::method::Method;
use crate::http::status::Status;

/// The values of the label `method`, in the order of [`method_index`]. Methods without a value of their own,
/// and requests whose method is not known, are `_OTHER`.
const METHODS: [&str; 10] = [
    "GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "CONNECT", "TRACE", "PATCH", "_OTHER",
];

/// The values of the label `code`: the first digit of the status (RFC 9110 section 15). No final status
/// begins with 1.
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// A method and the class of a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestKind(u8);

impl RequestKind {
    /// The number of kinds.
    pub const COUNT: usize = METHODS.len() * CLASSES.len();

    /// The kind of a request with this method, if it is known, that was answered with `status`.
    #[must_use]
    pub fn new(method: Option<Method>, status: Status) -> RequestKind {
        // Every status is from 200 to 599 (a test checks that), so the class is below 4.
        let class = (status.code() / 100).wrapping_sub(2) as u8 & 0b11;
        RequestKind(method_index(method) * CLASSES.len() as u8 + class)
    }

    /// All kinds, in the order of their numbers.
    pub fn all() -> impl Iterator<Item = RequestKind> {
        (0..RequestKind::COUNT as u8).map(RequestKind)
    }

    /// The number of the kind, below [`RequestKind::COUNT`].
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The value of the label `method`.
    #[must_use]
    pub fn method(self) -> &'static str {
        METHODS[self.index() / CLASSES.len()]
    }

    /// The value of the label `code`.
    #[must_use]
    pub fn class(self) -> &'static str {
        CLASSES[self.index() % CLASSES.len()]
    }
}

fn method_index(method: Option<Method>) -> u8 {
    match method {
        Some(Method::Get) => 0,
        Some(Method::Head) => 1,
        Some(Method::Options) => 2,
        Some(Method::Post) => 3,
        Some(Method::Put) => 4,
        Some(Method::Delete) => 5,
        Some(Method::Connect) => 6,
        Some(Method::Trace) => 7,
        Some(Method::Patch) => 8,
        Some(Method::OtherRegistered | Method::Unknown) | None => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_its_label() {
        for token in &METHODS[..9] {
            let method = Method::parse(token.as_bytes());
            assert_eq!(RequestKind::new(Some(method), Status::OK).method(), *token);
        }
        for method in [
            Some(Method::parse(b"BREW")),
            Some(Method::parse(b"LINK")),
            None,
        ] {
            assert_eq!(RequestKind::new(method, Status::OK).method(), "_OTHER");
        }
    }

    #[test]
    fn every_status_has_the_class_of_its_first_digit() {
        for status in Status::ALL {
            let kind = RequestKind::new(Some(Method::Patch), *status);
            let first = status.code().to_string()[..1].to_owned();
            assert_eq!((kind.class(), kind.method()), (&*(first + "xx"), "PATCH"));
            assert!(kind.index() < RequestKind::COUNT);
        }
    }
}
