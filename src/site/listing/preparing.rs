//! A listing for a client that likes a coding best: made if it is not kept, then compressed.

use std::sync::Arc;

use super::encoding::Encoding;
use super::entries::Scan;
use super::kept::{KeptPages, ListingBudget};
use super::making::Making;
use super::page::Page;
use super::variant::{Variant, WantedListing};
use crate::http::accept_encoding::Coding;
use crate::site::disk::OpenError;
use crate::site::waiting::{Job, Slice};

/// A listing of which something is missing.
pub struct Preparing {
    path: Box<[u8]>,
    variant: Variant,
    coding: Coding,
    memory: ListingBudget,
    kept: Arc<KeptPages>,
    stage: PreparingStage,
}

enum PreparingStage {
    Making(Box<Making>),
    Encoding(Box<Encoding>),
    /// All is there that can be had.
    Ready(Arc<Page>),
}

impl Preparing {
    /// Begins with the directory that `scan` reads for `path`.
    ///
    /// # Errors
    /// As [`Making::new`].
    pub fn from_directory(
        scan: Scan,
        wanted: WantedListing<'_>,
        memory: &ListingBudget,
        kept: &Arc<KeptPages>,
    ) -> Result<Preparing, OpenError> {
        let making = Making::new(scan, wanted, memory.share(), Arc::clone(kept))?;
        Ok(Preparing {
            path: wanted.path.into(),
            variant: wanted.variant,
            coding: wanted.coding,
            memory: memory.clone(),
            kept: Arc::clone(kept),
            stage: PreparingStage::Making(Box::new(making)),
        })
    }

    /// Begins with the page that is kept for `path`.
    #[must_use]
    pub fn from_page(
        page: Arc<Page>,
        wanted: WantedListing<'_>,
        memory: &ListingBudget,
        kept: &Arc<KeptPages>,
    ) -> Preparing {
        Preparing {
            path: wanted.path.into(),
            variant: wanted.variant,
            coding: wanted.coding,
            memory: memory.clone(),
            kept: Arc::clone(kept),
            stage: PreparingStage::encoding(page, wanted.coding, memory, kept),
        }
    }

    /// The page as it is by now; `None` as long as it is made.
    #[must_use]
    pub fn page(&self) -> Option<Arc<Page>> {
        match &self.stage {
            PreparingStage::Making(_) => None,
            PreparingStage::Encoding(encoding) => Some(encoding.page()),
            PreparingStage::Ready(page) => Some(Arc::clone(page)),
        }
    }

    /// Goes on until `slice` is over: `None` if that comes first.
    ///
    /// # Errors
    /// As [`Making::go_on`].
    pub fn go_on(&mut self, slice: &dyn Slice) -> Option<Result<Arc<Page>, OpenError>> {
        loop {
            self.stage = match &mut self.stage {
                PreparingStage::Making(making) => match making.go_on(slice)? {
                    Ok(page) => {
                        PreparingStage::encoding(page, self.coding, &self.memory, &self.kept)
                    }
                    Err(error) => return Some(Err(error)),
                },
                PreparingStage::Encoding(encoding) => {
                    let page = encoding.go_on(slice)?;
                    self.kept.weigh_again(&self.path, self.variant, &page);
                    PreparingStage::Ready(page)
                }
                PreparingStage::Ready(page) => return Some(Ok(Arc::clone(page))),
            };
        }
    }
}

impl PreparingStage {
    fn encoding(
        page: Arc<Page>,
        coding: Coding,
        memory: &ListingBudget,
        kept: &Arc<KeptPages>,
    ) -> PreparingStage {
        match Encoding::begin(&page, coding, memory.share(), kept) {
            Some(encoding) => PreparingStage::Encoding(Box::new(encoding)),
            None => PreparingStage::Ready(page),
        }
    }
}

impl Job for Preparing {
    type Output = Result<Arc<Page>, OpenError>;

    fn step(&mut self, slice: &dyn Slice) -> Option<Result<Arc<Page>, OpenError>> {
        self.go_on(slice)
    }
}
