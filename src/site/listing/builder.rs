//! Building a listing in slices: read, sort, write and hash.

use std::sync::Arc;
use std::vec::IntoIter;

use super::cache::{ListingCache, Reservation};
use super::entries::{DirectoryEntry, DirectoryScan, Summary};
use super::page::{EncodedContent, ListingPage};
use super::sorter::EntrySorter;
use super::variant::{ListingFormat, ListingVariant, WantedListing};
use super::{html, json};
use crate::site::disk::{ContentHasher, OpenError};
use crate::site::waiting::Slice;

/// The number of names read between two checks of the slice. Each takes three system calls.
const NAMES_AT_ONCE: usize = 32;

/// The number of rows written between two checks of the slice.
const ROWS_AT_ONCE: usize = 128;

/// The approximate memory of an entry without its name, in bytes. While two runs are merged, it exists
/// twice.
const ENTRY_BYTES: u64 = 2 * size_of::<DirectoryEntry>() as u64 + 32;

/// Builds the listing of a directory.
pub struct ListingBuilder {
    variant: ListingVariant,
    path: Box<[u8]>,
    directory: DirectoryReader,
    /// The memory reserved for the listing; `None` once the page has it.
    reservation: Option<Reservation>,
    phase: BuildPhase,
    cache: Arc<ListingCache>,
}

enum BuildPhase {
    Reading(EntrySorter),
    Sorting(EntrySorter),
    Writing(Box<PageWriter>),
}

/// Reads the directory and counts its entries.
struct DirectoryReader {
    scan: DirectoryScan,
    summary: Summary,
}

/// Writes and hashes the page.
struct PageWriter {
    entries: IntoIter<DirectoryEntry>,
    content: String,
    hasher: ContentHasher,
    hashed: usize,
}

impl ListingBuilder {
    /// Starts to build the listing of the directory that `scan` reads.
    ///
    /// # Errors
    /// [`OpenError::Exhausted`] if the budget has no memory left, even without the cached listings.
    pub fn new(
        scan: DirectoryScan,
        wanted: WantedListing<'_>,
        mut reservation: Reservation,
        cache: Arc<ListingCache>,
    ) -> Result<ListingBuilder, OpenError> {
        // The memory of an empty page is reserved before the work starts.
        grow(&mut reservation, html::FRAME_BYTES as u64, &cache)?;
        Ok(ListingBuilder {
            variant: wanted.variant,
            path: wanted.path.into(),
            directory: DirectoryReader {
                scan,
                summary: Summary::default(),
            },
            reservation: Some(reservation),
            phase: BuildPhase::Reading(EntrySorter::new(wanted.variant.order)),
            cache,
        })
    }

    /// Continues until `slice` is over. `None` if the page is incomplete then.
    ///
    /// # Errors
    /// As [`DirectoryScan::next`], and [`OpenError::Exhausted`] if the budget has no memory left.
    pub fn go_on(&mut self, slice: &dyn Slice) -> Option<Result<Arc<ListingPage>, OpenError>> {
        loop {
            let next = match &mut self.phase {
                BuildPhase::Reading(sorter) => {
                    let reservation = self.reservation.as_mut()?;
                    let mut reserve = |bytes| grow(reservation, bytes, &self.cache);
                    match self.directory.read(sorter, &mut reserve, slice) {
                        Ok(true) => {
                            let empty = EntrySorter::new(self.variant.order);
                            BuildPhase::Sorting(std::mem::replace(sorter, empty))
                        }
                        Ok(false) => return None,
                        Err(error) => return Some(Err(error)),
                    }
                }
                BuildPhase::Sorting(sorter) => {
                    let entries = sorter.finish(slice)?;
                    match self.begin_writing(entries) {
                        Ok(writer) => BuildPhase::Writing(Box::new(writer)),
                        Err(error) => return Some(Err(error)),
                    }
                }
                BuildPhase::Writing(writer) => {
                    if !writer.go_on(self.variant.format, slice) {
                        return None;
                    }
                    let (content, etag) = writer.end(self.variant.format);
                    return Some(self.end(content, etag, slice));
                }
            };
            self.phase = next;
        }
    }

    fn begin_writing(&mut self, entries: Vec<DirectoryEntry>) -> Result<PageWriter, OpenError> {
        let (path, summary) = (&*self.path, &self.directory.summary);
        let capacity = match self.variant.format {
            ListingFormat::Html => html::capacity(path, summary),
            ListingFormat::Json => json::capacity(summary),
        };
        let reservation = self.reservation.as_mut().ok_or(OpenError::Exhausted)?;
        let bytes = capacity.saturating_sub(html::FRAME_BYTES);
        grow(reservation, bytes as u64, &self.cache)?;
        let mut content = String::with_capacity(capacity);
        match self.variant.format {
            ListingFormat::Html => html::begin(&mut content, path, summary, self.variant.order),
            ListingFormat::Json => json::begin(&mut content),
        }
        Ok(PageWriter {
            entries: entries.into_iter(),
            content,
            hasher: ContentHasher::default(),
            hashed: 0,
        })
    }

    fn end(
        &mut self,
        content: String,
        etag: bytes::Bytes,
        slice: &dyn Slice,
    ) -> Result<Arc<ListingPage>, OpenError> {
        let mut reservation = self.reservation.take().ok_or(OpenError::Exhausted)?;
        // The entries are freed, but escaped names may have made the page longer than estimated.
        let bytes = content.capacity() as u64;
        reservation.shrink_to(bytes);
        let missing = bytes.saturating_sub(reservation.bytes());
        grow(&mut reservation, missing, &self.cache)?;
        let now = slice.now();
        let page = Arc::new(ListingPage {
            content: reservation.hold(content),
            etag,
            format: self.variant.format,
            generation: self.directory.scan.generation(),
            made_at: now,
            encoded: EncodedContent::default(),
        });
        self.cache.keep(&self.path, self.variant, &page, now);
        Ok(page)
    }
}

/// Reserves `bytes` more. If the budget has no memory left, the cached listings are dropped first.
pub(super) fn grow(
    reservation: &mut Reservation,
    bytes: u64,
    cache: &ListingCache,
) -> Result<(), OpenError> {
    if reservation.grow(bytes) {
        return Ok(());
    }
    cache.clear();
    reservation
        .grow(bytes)
        .then_some(())
        .ok_or(OpenError::Exhausted)
}

impl DirectoryReader {
    /// Reads until `slice` is over. Returns whether all is read.
    fn read(
        &mut self,
        sorter: &mut EntrySorter,
        reserve: &mut dyn FnMut(u64) -> Result<(), OpenError>,
        slice: &dyn Slice,
    ) -> Result<bool, OpenError> {
        loop {
            for _ in 0..NAMES_AT_ONCE {
                let Some(found) = self.scan.next()? else {
                    self.summary.is_complete = self.scan.is_complete();
                    return Ok(true);
                };
                let Some(entry) = found else { continue };
                reserve(ENTRY_BYTES + entry.name.len() as u64)?;
                self.summary.add(&entry);
                sorter.push(entry);
            }
            if slice.is_over() {
                return Ok(false);
            }
        }
    }
}

impl PageWriter {
    /// Writes until `slice` is over. Returns whether all rows are written.
    fn go_on(&mut self, format: ListingFormat, slice: &dyn Slice) -> bool {
        loop {
            for _ in 0..ROWS_AT_ONCE {
                let Some(entry) = self.entries.next() else {
                    return true;
                };
                match format {
                    ListingFormat::Html => html::row(&mut self.content, &entry),
                    ListingFormat::Json => json::row(&mut self.content, &entry),
                }
            }
            self.hash();
            if slice.is_over() {
                return false;
            }
        }
    }

    /// Ends the page and returns it with its entity tag.
    fn end(&mut self, format: ListingFormat) -> (String, bytes::Bytes) {
        match format {
            ListingFormat::Html => html::end(&mut self.content),
            ListingFormat::Json => json::end(&mut self.content),
        }
        self.hash();
        (std::mem::take(&mut self.content), self.hasher.tag())
    }

    fn hash(&mut self) {
        self.hasher.update(&self.content.as_bytes()[self.hashed..]);
        self.hashed = self.content.len();
    }
}
