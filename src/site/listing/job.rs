//! The job that prepares a listing in a coding: it builds the listing, unless it is cached, and compresses
//! it.

use std::sync::Arc;

use super::builder::ListingBuilder;
use super::cache::{ListingBudget, ListingCache};
use super::encoder::ListingEncoder;
use super::entries::DirectoryScan;
use super::page::ListingPage;
use super::variant::{ListingVariant, WantedListing};
use crate::http::accept_encoding::Coding;
use crate::site::disk::OpenError;
use crate::site::waiting::{Job, Slice};

/// Prepares a listing in a coding.
pub struct ListingJob {
    path: Box<[u8]>,
    variant: ListingVariant,
    coding: Coding,
    budget: ListingBudget,
    cache: Arc<ListingCache>,
    stage: ListingStage,
}

enum ListingStage {
    Building(Box<ListingBuilder>),
    Encoding(Box<ListingEncoder>),
    /// The page is ready, compressed if that was possible.
    Ready(Arc<ListingPage>),
}

impl ListingJob {
    /// Starts with the directory that `scan` reads for `path`.
    ///
    /// # Errors
    /// As [`ListingBuilder::new`].
    pub fn from_directory(
        scan: DirectoryScan,
        wanted: WantedListing<'_>,
        budget: &ListingBudget,
        cache: &Arc<ListingCache>,
    ) -> Result<ListingJob, OpenError> {
        let builder = ListingBuilder::new(scan, wanted, budget.reservation(), Arc::clone(cache))?;
        Ok(ListingJob {
            path: wanted.path.into(),
            variant: wanted.variant,
            coding: wanted.coding,
            budget: budget.clone(),
            cache: Arc::clone(cache),
            stage: ListingStage::Building(Box::new(builder)),
        })
    }

    /// Starts with the cached page for `path`.
    #[must_use]
    pub fn from_page(
        page: Arc<ListingPage>,
        wanted: WantedListing<'_>,
        budget: &ListingBudget,
        cache: &Arc<ListingCache>,
    ) -> ListingJob {
        ListingJob {
            path: wanted.path.into(),
            variant: wanted.variant,
            coding: wanted.coding,
            budget: budget.clone(),
            cache: Arc::clone(cache),
            stage: ListingStage::encoding(page, wanted.coding, budget, cache),
        }
    }

    /// The page in its present state; `None` as long as it is being built.
    #[must_use]
    pub fn page(&self) -> Option<Arc<ListingPage>> {
        match &self.stage {
            ListingStage::Building(_) => None,
            ListingStage::Encoding(encoder) => Some(encoder.page()),
            ListingStage::Ready(page) => Some(Arc::clone(page)),
        }
    }

    /// Continues until `slice` is over. `None` if the page is not ready then.
    ///
    /// # Errors
    /// As [`ListingBuilder::go_on`].
    pub fn go_on(&mut self, slice: &dyn Slice) -> Option<Result<Arc<ListingPage>, OpenError>> {
        loop {
            self.stage = match &mut self.stage {
                ListingStage::Building(builder) => match builder.go_on(slice)? {
                    Ok(page) => {
                        ListingStage::encoding(page, self.coding, &self.budget, &self.cache)
                    }
                    Err(error) => return Some(Err(error)),
                },
                ListingStage::Encoding(encoder) => {
                    let page = encoder.go_on(slice)?;
                    self.cache.reweigh(&self.path, self.variant, &page);
                    ListingStage::Ready(page)
                }
                ListingStage::Ready(page) => return Some(Ok(Arc::clone(page))),
            };
        }
    }
}

impl ListingStage {
    fn encoding(
        page: Arc<ListingPage>,
        coding: Coding,
        budget: &ListingBudget,
        cache: &Arc<ListingCache>,
    ) -> ListingStage {
        match ListingEncoder::begin(&page, coding, budget.reservation(), cache) {
            Some(encoder) => ListingStage::Encoding(Box::new(encoder)),
            None => ListingStage::Ready(page),
        }
    }
}

impl Job for ListingJob {
    type Output = Result<Arc<ListingPage>, OpenError>;

    fn step(&mut self, slice: &dyn Slice) -> Option<Result<Arc<ListingPage>, OpenError>> {
        self.go_on(slice)
    }
}
