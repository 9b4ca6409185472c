//! A response, and what the rules of its site have to know of it.

use bytes::Bytes;

use crate::http::response::Response;

/// A response before its fields are edited by the rules.
#[derive(Debug)]
pub struct Answer {
    /// The response as it is without rules.
    pub response: Response,
    /// Whether another Accept would have got another.
    pub varies_by_accept: bool,
    /// Whether it is about the page of `spa`, in the place of what the path names.
    pub is_fallback: bool,
    /// The Content-Type of the representation that it is about, where its own lines do not have that:
    /// of a 304 and of several parts. `None` also if no rule looks at types.
    pub content_type: Option<Bytes>,
}

impl From<Response> for Answer {
    fn from(response: Response) -> Answer {
        Answer {
            response,
            varies_by_accept: false,
            is_fallback: false,
            content_type: None,
        }
    }
}
