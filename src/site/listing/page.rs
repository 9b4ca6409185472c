//! A complete listing, in each coding that clients have requested, and the response with it.

use std::sync::OnceLock;

use bytes::Bytes;

use super::variant::ListingFormat;
use crate::clock::{Millis, Now};
use crate::http::accept_encoding::Coding;
use crate::http::preconditions::{self, PreconditionResult, Validators};
use crate::http::request::RequestHead;
use crate::http::response::{Body, Response};
use crate::http::status::Status;
use crate::site::content::variant_etag;
use crate::site::pages;

/// A complete listing.
#[derive(Debug)]
pub struct ListingPage {
    pub(super) content: Bytes,
    pub(super) etag: Bytes,
    pub(super) format: ListingFormat,
    /// The generation of the root directory that the listing was read from.
    pub(super) generation: u64,
    pub(super) made_at: Millis,
    pub(super) encoded: EncodedContent,
}

/// The content in other codings, in the order of [`Coding::COMPRESSED`]. Each is set once: to the bytes, or
/// to `None` if compression would save too little.
#[derive(Debug, Default)]
pub struct EncodedContent([OnceLock<Option<Bytes>>; 3]);

impl EncodedContent {
    /// Sets the bytes in `coding`, if they are not set yet.
    pub fn fill(&self, coding: Coding, bytes: Option<Bytes>) {
        if let Some(cell) = self.0.get(coding as usize) {
            // Another job may have set the same bytes.
            let _ = cell.set(bytes);
        }
    }

    /// The content in `coding`: `None` if compression has not been tried, `Some(None)` if it saves too
    /// little.
    fn state(&self, coding: Coding) -> Option<Option<&Bytes>> {
        Some(self.0.get(coding as usize)?.get()?.as_ref())
    }

    /// The number of bytes in all codings together.
    fn bytes(&self) -> u64 {
        let ready = self.0.iter().filter_map(|cell| cell.get()?.as_ref());
        ready.map(|bytes| bytes.len() as u64).sum()
    }
}

impl ListingPage {
    /// The size of the content with all its encoded variants, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.content.len() as u64 + self.encoded.bytes()
    }

    /// Whether the page is ready for a client that prefers `coding`: compressed, or known not to compress.
    #[must_use]
    pub fn is_ready_in(&self, coding: Coding) -> bool {
        coding == Coding::Identity || self.encoded.state(coding).is_some()
    }

    /// The response with the content in `coding`, or uncompressed if there is none. `vary` is the value of
    /// Vary.
    ///
    /// There is no Last-Modified, because the mtime of a directory does not change when a file in it grows.
    /// The entity tag is made from the content.
    pub(super) fn answer(
        &self,
        coding: Coding,
        vary: &str,
        head: &RequestHead<'_, '_>,
        now: Now,
    ) -> Response {
        let (coding, content) = match self.encoded.state(coding).flatten() {
            Some(encoded) => (coding, encoded),
            None => (Coding::Identity, &self.content),
        };
        let etag = variant_etag(&self.etag, coding);
        let tag = String::from_utf8_lossy(&etag);
        // RFC 9110 section 15.4.5: a 304 requires these two fields.
        let required = format!("ETag: {tag}\r\nVary: {vary}\r\n");
        let validators = Validators {
            etag: Some(&etag),
            last_modified_unix_secs: None,
        };
        match preconditions::evaluate(head.method, &head.fields, &validators, now.unix_secs) {
            PreconditionResult::Proceed => Response {
                status: Status::OK,
                fields: Bytes::from(required + &self.content_lines(coding)),
                length: Some(content.len() as u64),
                body: Body::Memory(content.clone()),
            },
            PreconditionResult::NotModified => Response {
                status: Status::NOT_MODIFIED,
                fields: Bytes::from(required),
                length: None,
                body: Body::Empty,
            },
            PreconditionResult::Failed => pages::error(
                Status::PRECONDITION_FAILED,
                "The directory is not in the state that the request asks for.",
            ),
        }
    }

    fn content_lines(&self, coding: Coding) -> String {
        let media_type = match self.format {
            ListingFormat::Html => "text/html; charset=utf-8",
            ListingFormat::Json => "application/json",
        };
        let encoding = match coding {
            Coding::Identity => String::new(),
            coding => format!("Content-Encoding: {}\r\n", coding.token()),
        };
        format!("Content-Type: {media_type}\r\n{encoding}X-Content-Type-Options: nosniff\r\n")
    }
}
