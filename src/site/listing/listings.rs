//! Answering requests for directories.

use std::sync::Arc;

use super::entries::{ListedDirectory, Scan};
use super::kept::{KeptPages, ListingBudget};
use super::order::SortOrder;
use super::page::Page;
use super::preparing::Preparing;
use super::variant::{Format, Variant, WantedListing};
use crate::clock::Now;
use crate::config;
use crate::config::SiteConfig;
use crate::http::accept;
use crate::http::accept_encoding::{Coding, accepted_codings};
use crate::http::request::RequestHead;
use crate::http::response::Response;
use crate::site::disk::OpenError;
use crate::site::waiting::{FirstSlice, JobPermits, MayBlock, SingleFlight, WouldBlock};

/// Kept listings may take one part in this many of `cache.bytes`, besides the files.
const KEPT_PART: u64 = 4;

/// The media types of the forms, the server's favourite first.
const TYPES: [&str; 2] = ["text/html", "application/json"];

/// A listing that was made, or why it could not be.
type Made = Result<Arc<Page>, OpenError>;

/// A request for the listing of a directory.
#[derive(Debug, Clone, Copy)]
pub struct ListingRequest<'r, 'b, 's> {
    /// Its head.
    pub head: &'r RequestHead<'b, 's>,
    /// The query of its target.
    pub query: Option<&'b [u8]>,
    /// How far the answer may go.
    pub may_block: MayBlock,
    /// The time.
    pub now: Now,
}

/// Answers requests for directories.
#[derive(Debug)]
pub struct Listings {
    shows_hidden: bool,
    compresses: bool,
    pub(super) memory: ListingBudget,
    kept: Arc<KeptPages>,
    flights: SingleFlight<(Box<[u8]>, Variant, Coding), Made>,
    pub(super) permits: JobPermits,
}

impl Listings {
    /// Those of `site`. Without a cache no listing is kept.
    #[must_use]
    pub fn new(site: &SiteConfig, cache: &config::Cache) -> Listings {
        let interval_millis = u64::from(cache.revalidate_secs) * 1_000;
        Listings {
            shows_hidden: site.hidden,
            compresses: site.compress,
            memory: ListingBudget::default(),
            kept: Arc::new(KeptPages::new(interval_millis, cache.bytes / KEPT_PART)),
            flights: SingleFlight::default(),
            permits: JobPermits::default(),
        }
    }

    /// The answer to a GET or HEAD for the directory at `place`: 200, or what If-None-Match and If-Match
    /// make of it. The form is chosen by Accept, the coding by Accept-Encoding if
    /// the rules of the site let it be compressed, the order by `?sort=` in the query.
    ///
    /// The inner error is as [`Resolver::open`](crate::site::disk::Resolver::open) has it, or
    /// [`OpenError::Exhausted`] if too much is being made or sent already. What is not a directory is
    /// [`OpenError::NotFound`].
    ///
    /// # Errors
    /// [`WouldBlock`] if the listing is not in memory and that is all that is in `may_block`, or if it is being
    /// made.
    pub fn respond(
        &self,
        place: &ListedDirectory<'_>,
        request: &ListingRequest<'_, '_, '_>,
        may_compress: bool,
    ) -> Result<Result<Response, OpenError>, WouldBlock> {
        let ListingRequest {
            head,
            query,
            may_block,
            now,
        } = *request;
        let form = match accept::preferred(&head.fields, &TYPES) {
            0 => Format::Html,
            _ => Format::Json,
        };
        let order = SortOrder::of_query(query);
        let (coding, vary) = match self.compresses && may_compress {
            true => (preferred_coding(head), "Accept, Accept-Encoding"),
            false => (Coding::Identity, "Accept"),
        };
        let wanted = WantedListing {
            path: place.path,
            variant: Variant { order, form },
            coding,
        };
        let page = self.page(place, wanted, may_block, now)?;
        Ok(page.map(|page| page.answer(coding, vary, head, now)))
    }

    /// The page in memory, with its content in `coding` unless too much is going on for that.
    fn page(
        &self,
        place: &ListedDirectory<'_>,
        wanted: WantedListing<'_>,
        may_block: MayBlock,
        now: Now,
    ) -> Result<Result<Arc<Page>, OpenError>, WouldBlock> {
        let WantedListing {
            path,
            variant,
            coding,
        } = wanted;
        let generation = place.root.generation;
        let find = || self.kept.find(path, variant, generation, now.monotonic);
        let is_ready = |page: &Arc<Page>| page.is_ready_in(coding);
        if let Some(page) = find().filter(is_ready) {
            return Ok(Ok(page));
        }
        // Any entry of the directory may be a mount point.
        may_block.any_disk()?;
        let is_usable = |made: &Made| match made {
            Ok(page) => page.generation == generation,
            Err(_) => true,
        };
        let leader = match self
            .flights
            .begin((path.into(), variant, coding), is_usable)
        {
            Ok(leader) => leader,
            Err(flight) => {
                return match flight.brought::<Made>() {
                    Some(made) => Ok(made.clone()),
                    None => Err(WouldBlock::InFlight(flight)),
                };
            }
        };
        // Another may have made it after we had looked and before we set out.
        let preparing = match find() {
            Some(page) => Ok(Preparing::from_page(page, wanted, &self.memory, &self.kept)),
            None => Scan::begin(place, self.shows_hidden)
                .and_then(|scan| Preparing::from_directory(scan, wanted, &self.memory, &self.kept)),
        };
        let mut preparing = match preparing {
            Ok(preparing) => preparing,
            Err(error) => return Ok(Err(error)),
        };
        if let Some(made) = preparing.go_on(&FirstSlice::new(now.monotonic)) {
            return Ok(made);
        }
        let Some(permit) = self.permits.take() else {
            return Ok(preparing.page().ok_or(OpenError::Exhausted));
        };
        let flight = leader.leave(preparing, permit);
        Err(WouldBlock::InFlight(flight))
    }
}

/// The media type of the listings that the client of `head` gets.
#[must_use]
pub fn media_type(head: &RequestHead<'_, '_>) -> &'static str {
    match accept::preferred(&head.fields, &TYPES) {
        0 => TYPES[0],
        _ => TYPES[1],
    }
}

/// The coding that a client likes best. A listing has it at once, as the server has made every listing
/// itself, so there is no second choice.
fn preferred_coding(head: &RequestHead<'_, '_>) -> Coding {
    if !head.has_accept_encoding {
        return Coding::Identity;
    }
    let accepted = accepted_codings(&head.fields);
    accepted
        .as_slice()
        .first()
        .copied()
        .unwrap_or(Coding::Identity)
}
