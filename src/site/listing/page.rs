//! A listing that is made, in each coding that somebody has asked for, and the answer with it.

use std::sync::OnceLock;

use bytes::Bytes;

use super::variant::ListingFormat;
use crate::clock::{Millis, Now};
use crate::http::accept_encoding::Coding;
use crate::http::preconditions::{self, Validators, Verdict};
use crate::http::request::RequestHead;
use crate::http::response::{Body, Response};
use crate::http::status::Status;
use crate::site::content::variant_etag;
use crate::site::pages;

/// A listing that is made.
#[derive(Debug)]
pub struct ListingPage {
    pub(super) content: Bytes,
    pub(super) etag: Bytes,
    pub(super) format: ListingFormat,
    /// The number of the root directory that it was read in.
    pub(super) generation: u64,
    pub(super) made_at: Millis,
    pub(super) encoded: EncodedContent,
}

/// The content in other codings, by coding in the order of [`Coding::COMPRESSED`]. Each is set once: the
/// bytes, or that they would save too little.
#[derive(Debug, Default)]
pub struct EncodedContent([OnceLock<Option<Bytes>>; 3]);

impl EncodedContent {
    /// Sets the bytes in `coding`, unless that has been done.
    pub fn fill(&self, coding: Coding, bytes: Option<Bytes>) {
        if let Some(place) = self.0.get(coding as usize) {
            // Another job may have made the same bytes.
            let _ = place.set(bytes);
        }
    }

    /// The content in `coding`, or that there is none; `None` if that has not been tried.
    fn state(&self, coding: Coding) -> Option<Option<&Bytes>> {
        Some(self.0.get(coding as usize)?.get()?.as_ref())
    }

    /// Bytes of all of them.
    fn bytes(&self) -> u64 {
        let ready = self.0.iter().filter_map(|place| place.get()?.as_ref());
        ready.map(|bytes| bytes.len() as u64).sum()
    }
}

impl ListingPage {
    /// Bytes of the content, in all codings together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.content.len() as u64 + self.encoded.bytes()
    }

    /// Whether the page can answer a client that likes `coding` best, as far as it ever will.
    #[must_use]
    pub fn is_ready_in(&self, coding: Coding) -> bool {
        coding == Coding::Identity || self.encoded.state(coding).is_some()
    }

    /// The answer in `coding`, if the content is there in that coding, otherwise in none. `vary` is the
    /// value of Vary.
    ///
    /// The mtime of a directory does not tell when a file in it has grown, so there is no Last-Modified;
    /// the tag is made from the page.
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
        // RFC 9110 section 15.4.5: a 304 owes these two.
        let owed = format!("ETag: {tag}\r\nVary: {vary}\r\n");
        let validators = Validators {
            etag: Some(&etag),
            last_modified_unix_secs: None,
        };
        match preconditions::evaluate(head.method, &head.fields, &validators, now.unix_secs) {
            Verdict::Proceed => Response {
                status: Status::OK,
                fields: Bytes::from(owed + &self.content_lines(coding)),
                length: Some(content.len() as u64),
                body: Body::Memory(content.clone()),
            },
            Verdict::NotModified => Response {
                status: Status::NOT_MODIFIED,
                fields: Bytes::from(owed),
                length: None,
                body: Body::Empty,
            },
            Verdict::Failed => pages::error(
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
