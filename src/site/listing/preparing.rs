//! A listing for a client that likes a coding best: made if it is not kept, then compressed.

use std::sync::Arc;

use super::encoding::Encoding;
use super::entries::Scan;
use super::kept::{KeptPages, Memory};
use super::making::Making;
use super::page::Page;
use super::variant::Variant;
use crate::http::accept_encoding::Coding;
use crate::site::disk::resolve::OpenError;
use crate::site::waiting::job::{Job, Slice};

/// A listing of which something is missing.
pub struct Preparing {
    path: Box<[u8]>,
    variant: Variant,
    coding: Coding,
    memory: Memory,
    kept: Arc<KeptPages>,
    stage: Stage,
}

enum Stage {
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
        (path, variant, coding): (&[u8], Variant, Coding),
        memory: &Memory,
        kept: &Arc<KeptPages>,
    ) -> Result<Preparing, OpenError> {
        let making = Making::new(scan, path, variant, memory.share(), Arc::clone(kept))?;
        Ok(Preparing {
            path: path.into(),
            variant,
            coding,
            memory: memory.clone(),
            kept: Arc::clone(kept),
            stage: Stage::Making(Box::new(making)),
        })
    }

    /// Begins with the page that is kept for `path`.
    #[must_use]
    pub fn from_page(
        page: Arc<Page>,
        (path, variant, coding): (&[u8], Variant, Coding),
        memory: &Memory,
        kept: &Arc<KeptPages>,
    ) -> Preparing {
        Preparing {
            path: path.into(),
            variant,
            coding,
            memory: memory.clone(),
            kept: Arc::clone(kept),
            stage: Stage::encoding(page, coding, memory, kept),
        }
    }

    /// The page as it is by now; `None` as long as it is made.
    #[must_use]
    pub fn page(&self) -> Option<Arc<Page>> {
        match &self.stage {
            Stage::Making(_) => None,
            Stage::Encoding(encoding) => Some(encoding.page()),
            Stage::Ready(page) => Some(Arc::clone(page)),
        }
    }

    /// Goes on until `slice` is over: `None` if that comes first.
    ///
    /// # Errors
    /// As [`Making::go_on`].
    pub fn go_on(&mut self, slice: &dyn Slice) -> Option<Result<Arc<Page>, OpenError>> {
        loop {
            self.stage = match &mut self.stage {
                Stage::Making(making) => match making.go_on(slice)? {
                    Ok(page) => Stage::encoding(page, self.coding, &self.memory, &self.kept),
                    Err(error) => return Some(Err(error)),
                },
                Stage::Encoding(encoding) => {
                    let page = encoding.go_on(slice)?;
                    self.kept.weigh_again(&self.path, self.variant, &page);
                    Stage::Ready(page)
                }
                Stage::Ready(page) => return Some(Ok(Arc::clone(page))),
            };
        }
    }
}

impl Stage {
    fn encoding(page: Arc<Page>, coding: Coding, memory: &Memory, kept: &Arc<KeptPages>) -> Stage {
        match Encoding::begin(&page, coding, memory.share(), kept) {
            Some(encoding) => Stage::Encoding(Box::new(encoding)),
            None => Stage::Ready(page),
        }
    }
}

impl Job for Preparing {
    type Output = Result<Arc<Page>, OpenError>;

    fn step(&mut self, slice: &dyn Slice) -> Option<Result<Arc<Page>, OpenError>> {
        self.go_on(slice)
    }
}
