//! The properties of a response that the rules of its site look at, and that the response does not show.

use std::cell::{Cell, OnceCell};

use bytes::Bytes;

/// Noted while a response is made. Most responses need none, so that they are made in place and nothing
/// is moved along with them.
#[derive(Debug, Default)]
pub struct Remarks {
    /// Whether another Accept would have got another.
    pub varies_by_accept: Cell<bool>,
    /// Whether it is about the page of `spa`, in the place of what the path names.
    pub is_fallback: Cell<bool>,
    /// The Content-Type of the representation that it is about, where its own lines do not have that:
    /// of a 304 and of several parts. Not set also if no rule looks at types.
    pub content_type: OnceCell<Bytes>,
}
