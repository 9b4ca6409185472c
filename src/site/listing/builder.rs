//! Making a listing, in slices: read, sort, write and hash.

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

/// Names that are looked at between two looks at the slice: three system calls each.
const NAMES_AT_ONCE: usize = 32;

/// Rows that are written between two looks at the slice.
const ROWS_AT_ONCE: usize = 128;

/// Bytes that an entry takes in memory besides its name, roughly: it is there twice while two runs
/// are merged.
const ENTRY_BYTES: u64 = 2 * size_of::<DirectoryEntry>() as u64 + 32;

/// A listing that is being made.
pub struct ListingBuilder {
    variant: ListingVariant,
    path: Box<[u8]>,
    directory: DirectoryReader,
    /// Its reservation of the memory for listings; `None` once the page has it.
    reservation: Option<Reservation>,
    phase: BuildPhase,
    kept: Arc<ListingCache>,
}

enum BuildPhase {
    Reading(EntrySorter),
    Sorting(EntrySorter),
    Writing(Box<PageWriter>),
}

/// The directory, as far as it is read.
struct DirectoryReader {
    scan: DirectoryScan,
    summary: Summary,
}

/// The page, as far as it is written.
struct PageWriter {
    entries: IntoIter<DirectoryEntry>,
    content: String,
    hasher: ContentHasher,
    hashed: usize,
}

impl ListingBuilder {
    /// Begins the listing of the directory that `scan` reads.
    ///
    /// # Errors
    /// [`OpenError::Exhausted`] if there is no room in `reservation`'s memory, even without what is `kept`.
    pub fn new(
        scan: DirectoryScan,
        wanted: WantedListing<'_>,
        mut reservation: Reservation,
        kept: Arc<ListingCache>,
    ) -> Result<ListingBuilder, OpenError> {
        // The memory of even an empty page is asked for before the work begins.
        grow(&mut reservation, html::FRAME_BYTES as u64, &kept)?;
        Ok(ListingBuilder {
            variant: wanted.variant,
            path: wanted.path.into(),
            directory: DirectoryReader {
                scan,
                summary: Summary::default(),
            },
            reservation: Some(reservation),
            phase: BuildPhase::Reading(EntrySorter::new(wanted.variant.order)),
            kept,
        })
    }

    /// Goes on until `slice` is over: `None` if that comes first.
    ///
    /// # Errors
    /// As [`DirectoryScan::next`]; [`OpenError::Exhausted`] too if there is no room for what it becomes.
    pub fn go_on(&mut self, slice: &dyn Slice) -> Option<Result<Arc<ListingPage>, OpenError>> {
        loop {
            let next = match &mut self.phase {
                BuildPhase::Reading(sorting) => {
                    let reservation = self.reservation.as_mut()?;
                    let mut room = |bytes| grow(reservation, bytes, &self.kept);
                    match self.directory.read(sorting, &mut room, slice) {
                        Ok(true) => {
                            let empty = EntrySorter::new(self.variant.order);
                            BuildPhase::Sorting(std::mem::replace(sorting, empty))
                        }
                        Ok(false) => return None,
                        Err(error) => return Some(Err(error)),
                    }
                }
                BuildPhase::Sorting(sorting) => {
                    let entries = sorting.finish(slice)?;
                    match self.begin_writing(entries) {
                        Ok(writing) => BuildPhase::Writing(Box::new(writing)),
                        Err(error) => return Some(Err(error)),
                    }
                }
                BuildPhase::Writing(writing) => {
                    if !writing.go_on(self.variant.format, slice) {
                        return None;
                    }
                    let (content, etag) = writing.end(self.variant.format);
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
        grow(reservation, bytes as u64, &self.kept)?;
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
        // The entries are gone; names that had to be escaped have made it longer than was thought.
        let bytes = content.capacity() as u64;
        reservation.shrink_to(bytes);
        let missing = bytes.saturating_sub(reservation.bytes());
        grow(&mut reservation, missing, &self.kept)?;
        let now = slice.now();
        let page = Arc::new(ListingPage {
            content: reservation.hold(content),
            etag,
            format: self.variant.format,
            generation: self.directory.scan.generation(),
            made_at: now,
            encoded: EncodedContent::default(),
        });
        self.kept.keep(&self.path, self.variant, &page, now);
        Ok(page)
    }
}

/// Takes `bytes` more for `reservation`, if need be from what is `kept`.
pub(super) fn grow(
    reservation: &mut Reservation,
    bytes: u64,
    kept: &ListingCache,
) -> Result<(), OpenError> {
    if reservation.grow(bytes) {
        return Ok(());
    }
    kept.clear();
    reservation
        .grow(bytes)
        .then_some(())
        .ok_or(OpenError::Exhausted)
}

impl DirectoryReader {
    /// Reads until `slice` is over; whether that is all.
    fn read(
        &mut self,
        sorting: &mut EntrySorter,
        room: &mut dyn FnMut(u64) -> Result<(), OpenError>,
        slice: &dyn Slice,
    ) -> Result<bool, OpenError> {
        loop {
            for _ in 0..NAMES_AT_ONCE {
                let Some(found) = self.scan.next()? else {
                    self.summary.is_complete = self.scan.is_complete();
                    return Ok(true);
                };
                let Some(entry) = found else { continue };
                room(ENTRY_BYTES + entry.name.len() as u64)?;
                self.summary.add(&entry);
                sorting.push(entry);
            }
            if slice.is_over() {
                return Ok(false);
            }
        }
    }
}

impl PageWriter {
    /// Writes until `slice` is over; whether that is all.
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

    /// The page and its tag.
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
