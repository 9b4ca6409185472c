//! The response to a request that is refused.

use super::method::Method;
use super::status::Status;

/// The status and reason of a refusal. The connection closes after most refusals, because the start of the
/// next request may be in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reject {
    /// The status of the response; 4xx or 5xx.
    pub status: Status,
    /// One sentence for the reader of the error page.
    pub reason: &'static str,
    /// The method, if it has been read: a response to HEAD has no body.
    pub method: Option<Method>,
}

impl Reject {
    /// A refusal without a method.
    #[must_use]
    pub const fn new(status: Status, reason: &'static str) -> Reject {
        Reject {
            status,
            reason,
            method: None,
        }
    }

    /// A refusal with status 400.
    #[must_use]
    pub const fn bad_request(reason: &'static str) -> Reject {
        Reject::new(Status::BAD_REQUEST, reason)
    }
}
