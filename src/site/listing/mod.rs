//! What is in a directory that has no index.html: a page for people, JSON for programs.
//!
//! A listing names what a GET would answer and nothing else: no dot files unless the site shows
//! them, no sockets or devices, nothing that the server may not read, and a link as what it leads to,
//! if it may be followed.
//!
//! The page is made whole before the first byte is sent, by the worker that has the request, because
//! its exact length must be in its head. Every step is bounded: [`entries::MAX_ENTRIES`] entries and
//! [`entries::MAX_NAME_BYTES`] of names are read, which make a page of 20 MB if the names are
//! ordinary and 100 MB at worst, and all pages that are still being sent may together hold
//! [`MAX_HELD_BYTES`].
//!
//! - [`entries`]: reading the directory.
//! - [`order`]: what `?sort=` means.
//! - [`html`], [`json`]: the two forms.
//! - [`quantity`]: sizes and times, for people and for programs.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use self::entries::{Entries, Place};
use self::order::Order;
use super::content_tag;
use super::resolve::{OpenError, Resolver};
use crate::clock::Now;
use crate::http::accept;
use crate::http::preconditions::{self, Validators, Verdict};
use crate::http::request::RequestHead;
use crate::http::response::{Body, Response};
use crate::http::status::Status;

pub mod entries;
pub mod html;
pub mod json;
pub mod order;
pub mod quantity;

/// Bytes of listings that may be in memory for being sent, all clients together. More are refused:
/// clients that read slowly must not fill the memory.
pub const MAX_HELD_BYTES: u64 = 256 * 1024 * 1024;

/// The forms that there are, the server's favourite first.
const FORMS: [&str; 2] = ["text/html", "application/json"];

/// Answers requests for directories.
#[derive(Debug, Default)]
pub struct Listings {
    shows_hidden: bool,
    held_bytes: Arc<AtomicU64>,
}

impl Listings {
    /// `shows_hidden`: whether names that begin with a dot are listed.
    #[must_use]
    pub fn new(shows_hidden: bool) -> Listings {
        Listings {
            shows_hidden,
            held_bytes: Arc::default(),
        }
    }

    /// The answer to a GET or HEAD for the directory at `path`: decoded, normalised, beginning and
    /// ending in a slash. `root` is the directory of the site. 200, or what If-None-Match and
    /// If-Match make of it. The form is chosen by Accept, the order by `?sort=` in `query`.
    ///
    /// # Errors
    /// As [`Resolver::open`], and [`OpenError::Exhausted`] if too much is being sent already. A `path`
    /// that is not a directory is [`OpenError::NotFound`].
    pub fn respond(
        &self,
        root: BorrowedFd<'_>,
        resolver: &Resolver,
        path: &[u8],
        query: Option<&[u8]>,
        head: &RequestHead<'_, '_>,
        now: Now,
    ) -> Result<Response, OpenError> {
        let place = Place {
            root,
            resolver,
            path,
        };
        let mut entries = Entries::read(&place, self.shows_hidden)?;
        let order = Order::of_query(query);
        order.sort(&mut entries.list);
        let form = FORMS[accept::preferred(&head.fields, &FORMS)];
        let content = match form {
            "application/json" => json::array(&entries),
            _ => html::page(path, &entries, order),
        };
        let content = self.hold(content).ok_or(OpenError::Exhausted)?;
        Ok(answer(content, form, head, now))
    }

    /// Counts `content` until the last copy of it is gone; `None` if that would be too much.
    fn hold(&self, content: String) -> Option<Bytes> {
        let bytes = content.capacity() as u64;
        let held = Held {
            content,
            bytes,
            held_bytes: Arc::clone(&self.held_bytes),
        };
        let before = self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        // Dropping takes it off again.
        (before.saturating_add(bytes) <= MAX_HELD_BYTES).then(|| Bytes::from_owner(held))
    }
}

/// A page in memory, counted.
struct Held {
    content: String,
    bytes: u64,
    held_bytes: Arc<AtomicU64>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        self.content.as_bytes()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.held_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The mtime of a directory does not tell when a file in it has grown, so there is no Last-Modified;
/// the tag is made from the page.
fn answer(content: Bytes, form: &str, head: &RequestHead<'_, '_>, now: Now) -> Response {
    let etag = content_tag::of_bytes(&content);
    let tag = String::from_utf8_lossy(&etag);
    // RFC 9110 section 15.4.5: a 304 owes these two.
    let owed = format!("ETag: {tag}\r\nVary: Accept\r\n");
    let validators = Validators {
        etag: Some(&etag),
        last_modified_unix_secs: None,
    };
    match preconditions::evaluate(head.method, &head.fields, &validators, now.unix_secs) {
        Verdict::Proceed => {
            let charset = if form == "text/html" {
                "; charset=utf-8"
            } else {
                ""
            };
            let fields = format!(
                "{owed}Content-Type: {form}{charset}\r\nX-Content-Type-Options: nosniff\r\n"
            );
            Response {
                status: Status::OK,
                fields: Bytes::from(fields),
                length: Some(content.len() as u64),
                body: Body::Memory(content),
            }
        }
        Verdict::NotModified => Response {
            status: Status::NOT_MODIFIED,
            fields: Bytes::from(owed),
            length: None,
            body: Body::Empty,
        },
        Verdict::Failed => super::pages::error(
            Status::PRECONDITION_FAILED,
            "The directory is not in the state that the request asks for.",
        ),
    }
}

#[cfg(test)]
mod tests;
