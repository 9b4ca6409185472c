//! What is in a directory that has no index.html: a page for people, JSON for programs.
//!
//! A listing names what a GET would answer and nothing else: no dot files unless the site shows
//! them, no sockets or devices, nothing that the server may not read, and a link as what it leads to,
//! if it may be followed.
//!
//! The page is made whole before the first byte is sent, because its exact length must be in its head:
//! once for all who ask for it, in slices ([`making`]), and it is kept for those who ask within
//! `cache.revalidate` ([`kept`]). Every step is bounded: [`entries::MAX_ENTRIES`] entries and
//! [`entries::MAX_NAME_BYTES`] of names are read, which make a page of 20 MB if the names are
//! ordinary and 100 MB at worst, and all pages that are kept, made and sent may together hold
//! [`kept::MAX_HELD_BYTES`]. If there is not even room for the smallest page, the directory is not read.
//!
//! - [`entries`]: reading the directory.
//! - [`order`]: what `?sort=` means; [`sorting`]: putting many entries in order.
//! - [`html`], [`json`]: the two forms.
//! - [`quantity`]: sizes and times, for people and for programs.

use std::sync::Arc;

use bytes::Bytes;

use self::entries::{Place, Scan};
use self::kept::{KeptPages, Memory};
use self::making::Making;
use self::order::Order;
use super::errand::{Brought, Errands};
use super::job::{FirstSlice, Places};
use super::reach::{NeedsDisk, Reach};
use super::resolve::OpenError;
use crate::clock::{Millis, Now};
use crate::config;
use crate::http::accept;
use crate::http::preconditions::{self, Validators, Verdict};
use crate::http::request::RequestHead;
use crate::http::response::{Body, Response};
use crate::http::status::Status;

pub mod entries;
pub mod html;
pub mod json;
pub mod kept;
pub mod making;
pub mod order;
pub mod quantity;
pub mod sorting;

/// Kept listings may take one part in this many of `cache.bytes`, besides the files.
const KEPT_PART: u64 = 4;

/// The media types of the forms, the server's favourite first.
const TYPES: [&str; 2] = ["text/html", "application/json"];

/// A form of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// For people.
    Html,
    /// For programs.
    Json,
}

/// Which of a directory's listings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Variant {
    /// The order of the entries.
    pub order: Order,
    /// The form of the page.
    pub form: Form,
}

/// A listing that is made.
#[derive(Debug)]
pub struct Page {
    content: Bytes,
    etag: Bytes,
    form: Form,
    /// The number of the root directory that it was read in.
    generation: u64,
    made_at: Millis,
}

/// Answers requests for directories.
#[derive(Debug)]
pub struct Listings {
    shows_hidden: bool,
    memory: Memory,
    kept: Arc<KeptPages>,
    errands: Errands<(Box<[u8]>, Variant)>,
    places: Places,
}

impl Listings {
    /// `shows_hidden`: whether names that begin with a dot are listed. Without a cache no listing is kept.
    #[must_use]
    pub fn new(shows_hidden: bool, cache: &config::Cache) -> Listings {
        let interval_millis = u64::from(cache.revalidate_secs) * 1_000;
        Listings {
            shows_hidden,
            memory: Memory::default(),
            kept: Arc::new(KeptPages::new(interval_millis, cache.bytes / KEPT_PART)),
            errands: Errands::default(),
            places: Places::default(),
        }
    }

    /// The answer to a GET or HEAD for the directory at `place`: 200, or what If-None-Match and If-Match
    /// make of it. The form is chosen by Accept, the order by `?sort=` in `query`.
    ///
    /// The inner error is as [`Resolver::open`](super::resolve::Resolver::open) has it, or
    /// [`OpenError::Exhausted`] if too much is being made or sent already. What is not a directory is
    /// [`OpenError::NotFound`].
    ///
    /// # Errors
    /// [`NeedsDisk`] if the listing is not in memory and that is all that is in `reach`, or if it is being
    /// made.
    pub fn respond(
        &self,
        place: &Place<'_>,
        query: Option<&[u8]>,
        head: &RequestHead<'_, '_>,
        reach: Reach,
        now: Now,
    ) -> Result<Result<Response, OpenError>, NeedsDisk> {
        let form = match accept::preferred(&head.fields, &TYPES) {
            0 => Form::Html,
            _ => Form::Json,
        };
        let order = Order::of_query(query);
        let page = self.page(place, Variant { order, form }, reach, now)?;
        Ok(page.map(|page| answer(&page, head, now)))
    }

    fn page(
        &self,
        place: &Place<'_>,
        variant: Variant,
        reach: Reach,
        now: Now,
    ) -> Result<Result<Arc<Page>, OpenError>, NeedsDisk> {
        let (path, generation) = (place.path, place.root.generation);
        let find = || self.kept.find(path, variant, generation, now.monotonic);
        if let Some(page) = find() {
            return Ok(Ok(page));
        }
        // Any entry of the directory may be a mount point.
        reach.any_disk()?;
        let is_usable = |brought: &Brought| match brought {
            Brought::Listing(Ok(page)) => page.generation == generation,
            Brought::Listing(Err(_)) => true,
            Brought::Found(_) => false,
        };
        let outing = match self.errands.set_out((path.into(), variant), is_usable) {
            Ok(outing) => outing,
            Err(errand) => {
                return match errand.brought() {
                    Some(Brought::Listing(made)) => Ok(made.clone()),
                    _ => Err(NeedsDisk::UnderWay(errand)),
                };
            }
        };
        // Another may have made it after we had looked and before we set out.
        if let Some(page) = find() {
            return Ok(Ok(page));
        }
        let scan = Scan::begin(place, self.shows_hidden);
        let making = scan.and_then(|scan| {
            let share = self.memory.share();
            Making::new(scan, path, variant, share, Arc::clone(&self.kept))
        });
        let mut making = match making {
            Ok(making) => making,
            Err(error) => return Ok(Err(error)),
        };
        if let Some(made) = making.go_on(&FirstSlice::new(now.monotonic)) {
            return Ok(made);
        }
        let Some(at_work) = self.places.take() else {
            return Ok(Err(OpenError::Exhausted));
        };
        let errand = outing.leave(Box::new(making), at_work);
        Err(NeedsDisk::UnderWay(errand))
    }
}

/// The mtime of a directory does not tell when a file in it has grown, so there is no Last-Modified;
/// the tag is made from the page.
fn answer(page: &Page, head: &RequestHead<'_, '_>, now: Now) -> Response {
    let tag = String::from_utf8_lossy(&page.etag);
    // RFC 9110 section 15.4.5: a 304 owes these two.
    let owed = format!("ETag: {tag}\r\nVary: Accept\r\n");
    let validators = Validators {
        etag: Some(&page.etag),
        last_modified_unix_secs: None,
    };
    match preconditions::evaluate(head.method, &head.fields, &validators, now.unix_secs) {
        Verdict::Proceed => {
            let media_type = match page.form {
                Form::Html => "text/html; charset=utf-8",
                Form::Json => "application/json",
            };
            let fields =
                format!("{owed}Content-Type: {media_type}\r\nX-Content-Type-Options: nosniff\r\n");
            Response {
                status: Status::OK,
                fields: Bytes::from(fields),
                length: Some(page.content.len() as u64),
                body: Body::Memory(page.content.clone()),
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
