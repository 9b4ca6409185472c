//! A request that is refused for what it says on the wire.

use super::method::Method;
use super::status::Status;

/// Why a request was refused. The connection closes after the answer: nobody knows where the next
/// request would begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reject {
    /// The status of the answer; 4xx or 5xx.
    pub status: Status,
    /// One sentence for the person who reads the error page.
    pub reason: &'static str,
    /// The method, once it was read: an answer to HEAD has no body. `None` from everything but
    /// [`parse_head`](super::request::parse_head).
    pub method: Option<Method>,
}

impl Reject {
    /// A refusal that does not know its method.
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
