//! Responses for directories.

use std::sync::Arc;

use super::cache::{ListingBudget, ListingCache};
use super::entries::{DirectoryScan, ListedDirectory};
use super::job::ListingJob;
use super::order::SortOrder;
use super::page::ListingPage;
use super::variant::{ListingFormat, ListingVariant, WantedListing};
use crate::clock::Now;
use crate::config::{self, SiteConfig};
use crate::http::accept;
use crate::http::accept_encoding::{Coding, accepted_codings};
use crate::http::request::RequestHead;
use crate::http::response::Response;
use crate::site::disk::OpenError;
use crate::site::waiting::{FirstSlice, JobPermits, MayBlock, SingleFlight, WouldBlock};

/// Cached listings may take one part in this many of `cache.bytes`, in addition to the files.
const CACHED_PART: u64 = 4;

/// The media types of the formats, the preferred one first.
const MEDIA_TYPES: [&str; 2] = ["text/html", "application/json"];

/// A listing, or the reason why there is none.
type ListingResult = Result<Arc<ListingPage>, OpenError>;

/// A request for the listing of a directory.
#[derive(Debug, Clone, Copy)]
pub struct ListingRequest<'r, 'b, 's> {
    /// The head of the request.
    pub head: &'r RequestHead<'b, 's>,
    /// The query of the request target.
    pub query: Option<&'b [u8]>,
    /// The thread's permission to block.
    pub may_block: MayBlock,
    /// The current time.
    pub now: Now,
}

/// Answers requests for directories.
#[derive(Debug)]
pub struct Listings {
    shows_hidden: bool,
    compresses: bool,
    pub(super) budget: ListingBudget,
    cache: Arc<ListingCache>,
    flights: SingleFlight<(Box<[u8]>, ListingVariant, Coding), ListingResult>,
    pub(super) permits: JobPermits,
}

impl Listings {
    /// The listings of `site`. Without a cache, no listing is cached either.
    #[must_use]
    pub fn new(site: &SiteConfig, cache: &config::Cache) -> Listings {
        let interval_millis = u64::from(cache.revalidate_secs) * 1_000;
        Listings {
            shows_hidden: site.hidden,
            compresses: site.compress,
            budget: ListingBudget::default(),
            cache: Arc::new(ListingCache::new(
                interval_millis,
                cache.bytes / CACHED_PART,
            )),
            flights: SingleFlight::default(),
            permits: JobPermits::default(),
        }
    }

    /// The response to a GET or HEAD for the directory at `listed`: 200, or the result of If-None-Match and
    /// If-Match. Accept selects the format, `?sort=` in the query the order. Accept-Encoding selects the
    /// coding, if the rules of the site allow compression.
    ///
    /// The inner error is as in [`Resolver::open`](crate::site::disk::Resolver::open). It is
    /// [`OpenError::Exhausted`] also if too many listings are being built or sent, and
    /// [`OpenError::NotFound`] if `listed` is no directory.
    ///
    /// # Errors
    /// [`WouldBlock`] if the listing is not in memory and `may_block` excludes reading it, or if it is
    /// being built.
    pub fn respond(
        &self,
        listed: &ListedDirectory<'_>,
        request: &ListingRequest<'_, '_, '_>,
        may_compress: bool,
    ) -> Result<Result<Response, OpenError>, WouldBlock> {
        let ListingRequest {
            head,
            query,
            may_block,
            now,
        } = *request;
        let format = match accept::preferred(&head.fields, &MEDIA_TYPES) {
            0 => ListingFormat::Html,
            _ => ListingFormat::Json,
        };
        let order = SortOrder::of_query(query);
        let (coding, vary) = match self.compresses && may_compress {
            true => (preferred_coding(head), "Accept, Accept-Encoding"),
            false => (Coding::Identity, "Accept"),
        };
        let wanted = WantedListing {
            path: listed.path,
            variant: ListingVariant { order, format },
            coding,
        };
        let page = self.page(listed, wanted, may_block, now)?;
        Ok(page.map(|page| page.answer(coding, vary, head, now)))
    }

    /// The page, in `coding` unless too many jobs are running.
    fn page(
        &self,
        listed: &ListedDirectory<'_>,
        wanted: WantedListing<'_>,
        may_block: MayBlock,
        now: Now,
    ) -> Result<Result<Arc<ListingPage>, OpenError>, WouldBlock> {
        let WantedListing {
            path,
            variant,
            coding,
        } = wanted;
        let generation = listed.root.generation;
        let find = || self.cache.find(path, variant, generation, now.monotonic);
        let is_ready = |page: &Arc<ListingPage>| page.is_ready_in(coding);
        if let Some(page) = find().filter(is_ready) {
            return Ok(Ok(page));
        }
        // Any entry of the directory may be a mount point.
        may_block.any_disk()?;
        let is_usable = |made: &ListingResult| match made {
            Ok(page) => page.generation == generation,
            Err(_) => true,
        };
        let leader = match self
            .flights
            .begin((path.into(), variant, coding), is_usable)
        {
            Ok(leader) => leader,
            Err(flight) => {
                return match flight.result::<ListingResult>() {
                    Some(made) => Ok(made.clone()),
                    None => Err(WouldBlock::InFlight(flight)),
                };
            }
        };
        // Another thread may have built the page between the first search and the start of this flight.
        let job = match find() {
            Some(page) => Ok(ListingJob::from_page(
                page,
                wanted,
                &self.budget,
                &self.cache,
            )),
            None => DirectoryScan::begin(listed, self.shows_hidden).and_then(|scan| {
                ListingJob::from_directory(scan, wanted, &self.budget, &self.cache)
            }),
        };
        let mut job = match job {
            Ok(job) => job,
            Err(error) => return Ok(Err(error)),
        };
        if let Some(made) = job.go_on(&FirstSlice::new(now.monotonic)) {
            return Ok(made);
        }
        let Some(permit) = self.permits.take() else {
            return Ok(job.page().ok_or(OpenError::Exhausted));
        };
        let flight = leader.leave(job, permit);
        Err(WouldBlock::InFlight(flight))
    }
}

/// The media type of the listing that the client of `head` gets.
#[must_use]
pub fn media_type(head: &RequestHead<'_, '_>) -> &'static str {
    match accept::preferred(&head.fields, &MEDIA_TYPES) {
        0 => MEDIA_TYPES[0],
        _ => MEDIA_TYPES[1],
    }
}

/// The coding that the client prefers. The server can make a listing in any coding, so a second choice is
/// never needed.
fn preferred_coding(head: &RequestHead<'_, '_>) -> Coding {
    if !head.has_accept_encoding {
        return Coding::Identity;
    }
    let accepted = accepted_codings(head);
    accepted
        .as_slice()
        .first()
        .copied()
        .unwrap_or(Coding::Identity)
}
