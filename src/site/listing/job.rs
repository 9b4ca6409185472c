//! A listing for a client that likes a coding best: made if it is not kept, then compressed.

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

/// A listing of which something is missing.
pub struct ListingJob {
    path: Box<[u8]>,
    variant: ListingVariant,
    coding: Coding,
    memory: ListingBudget,
    kept: Arc<ListingCache>,
    stage: ListingStage,
}

enum ListingStage {
    Building(Box<ListingBuilder>),
    Encoding(Box<ListingEncoder>),
    /// All is there that can be had.
    Ready(Arc<ListingPage>),
}

impl ListingJob {
    /// Begins with the directory that `scan` reads for `path`.
    ///
    /// # Errors
    /// As [`ListingBuilder::new`].
    pub fn from_directory(
        scan: DirectoryScan,
        wanted: WantedListing<'_>,
        memory: &ListingBudget,
        kept: &Arc<ListingCache>,
    ) -> Result<ListingJob, OpenError> {
        let making = ListingBuilder::new(scan, wanted, memory.reservation(), Arc::clone(kept))?;
        Ok(ListingJob {
            path: wanted.path.into(),
            variant: wanted.variant,
            coding: wanted.coding,
            memory: memory.clone(),
            kept: Arc::clone(kept),
            stage: ListingStage::Building(Box::new(making)),
        })
    }

    /// Begins with the page that is kept for `path`.
    #[must_use]
    pub fn from_page(
        page: Arc<ListingPage>,
        wanted: WantedListing<'_>,
        memory: &ListingBudget,
        kept: &Arc<ListingCache>,
    ) -> ListingJob {
        ListingJob {
            path: wanted.path.into(),
            variant: wanted.variant,
            coding: wanted.coding,
            memory: memory.clone(),
            kept: Arc::clone(kept),
            stage: ListingStage::encoding(page, wanted.coding, memory, kept),
        }
    }

    /// The page as it is by now; `None` as long as it is made.
    #[must_use]
    pub fn page(&self) -> Option<Arc<ListingPage>> {
        match &self.stage {
            ListingStage::Building(_) => None,
            ListingStage::Encoding(encoding) => Some(encoding.page()),
            ListingStage::Ready(page) => Some(Arc::clone(page)),
        }
    }

    /// Goes on until `slice` is over: `None` if that comes first.
    ///
    /// # Errors
    /// As [`ListingBuilder::go_on`].
    pub fn go_on(&mut self, slice: &dyn Slice) -> Option<Result<Arc<ListingPage>, OpenError>> {
        loop {
            self.stage = match &mut self.stage {
                ListingStage::Building(making) => match making.go_on(slice)? {
                    Ok(page) => ListingStage::encoding(page, self.coding, &self.memory, &self.kept),
                    Err(error) => return Some(Err(error)),
                },
                ListingStage::Encoding(encoding) => {
                    let page = encoding.go_on(slice)?;
                    self.kept.weigh_again(&self.path, self.variant, &page);
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
        memory: &ListingBudget,
        kept: &Arc<ListingCache>,
    ) -> ListingStage {
        match ListingEncoder::begin(&page, coding, memory.reservation(), kept) {
            Some(encoding) => ListingStage::Encoding(Box::new(encoding)),
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
