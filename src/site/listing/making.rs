//! Making a listing, in slices: read, sort, write and hash.

use std::sync::Arc;
use std::vec::IntoIter;

use super::entries::{DirectoryEntry, Scan, Summary};
use super::kept::{KeptPages, Share};
use super::page::{Encoded, Page};
use super::sorting::Sorting;
use super::variant::{Format, Variant, WantedListing};
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
pub struct Making {
    variant: Variant,
    path: Box<[u8]>,
    directory: Gathered,
    /// Its share of the memory for listings; `None` once the page has it.
    share: Option<Share>,
    phase: MakingPhase,
    kept: Arc<KeptPages>,
}

enum MakingPhase {
    Reading(Sorting),
    Sorting(Sorting),
    Writing(Box<Writing>),
}

/// The directory, as far as it is read.
struct Gathered {
    scan: Scan,
    summary: Summary,
}

/// The page, as far as it is written.
struct Writing {
    entries: IntoIter<DirectoryEntry>,
    content: String,
    hasher: ContentHasher,
    hashed: usize,
}

impl Making {
    /// Begins the listing of the directory that `scan` reads.
    ///
    /// # Errors
    /// [`OpenError::Exhausted`] if there is no room in `share`'s memory, even without what is `kept`.
    pub fn new(
        scan: Scan,
        wanted: WantedListing<'_>,
        mut share: Share,
        kept: Arc<KeptPages>,
    ) -> Result<Making, OpenError> {
        // The memory of even an empty page is asked for before the work begins.
        grow(&mut share, html::FRAME_BYTES as u64, &kept)?;
        Ok(Making {
            variant: wanted.variant,
            path: wanted.path.into(),
            directory: Gathered {
                scan,
                summary: Summary::default(),
            },
            share: Some(share),
            phase: MakingPhase::Reading(Sorting::new(wanted.variant.order)),
            kept,
        })
    }

    /// Goes on until `slice` is over: `None` if that comes first.
    ///
    /// # Errors
    /// As [`Scan::next`]; [`OpenError::Exhausted`] too if there is no room for what it becomes.
    pub fn go_on(&mut self, slice: &dyn Slice) -> Option<Result<Arc<Page>, OpenError>> {
        loop {
            let next = match &mut self.phase {
                MakingPhase::Reading(sorting) => {
                    let share = self.share.as_mut()?;
                    let mut room = |bytes| grow(share, bytes, &self.kept);
                    match self.directory.read(sorting, &mut room, slice) {
                        Ok(true) => {
                            let empty = Sorting::new(self.variant.order);
                            MakingPhase::Sorting(std::mem::replace(sorting, empty))
                        }
                        Ok(false) => return None,
                        Err(error) => return Some(Err(error)),
                    }
                }
                MakingPhase::Sorting(sorting) => {
                    let entries = sorting.finish(slice)?;
                    match self.begin_writing(entries) {
                        Ok(writing) => MakingPhase::Writing(Box::new(writing)),
                        Err(error) => return Some(Err(error)),
                    }
                }
                MakingPhase::Writing(writing) => {
                    if !writing.go_on(self.variant.form, slice) {
                        return None;
                    }
                    let (content, etag) = writing.end(self.variant.form);
                    return Some(self.end(content, etag, slice));
                }
            };
            self.phase = next;
        }
    }

    fn begin_writing(&mut self, entries: Vec<DirectoryEntry>) -> Result<Writing, OpenError> {
        let (path, summary) = (&*self.path, &self.directory.summary);
        let capacity = match self.variant.form {
            Format::Html => html::capacity(path, summary),
            Format::Json => json::capacity(summary),
        };
        let share = self.share.as_mut().ok_or(OpenError::Exhausted)?;
        let bytes = capacity.saturating_sub(html::FRAME_BYTES);
        grow(share, bytes as u64, &self.kept)?;
        let mut content = String::with_capacity(capacity);
        match self.variant.form {
            Format::Html => html::begin(&mut content, path, summary, self.variant.order),
            Format::Json => json::begin(&mut content),
        }
        Ok(Writing {
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
    ) -> Result<Arc<Page>, OpenError> {
        let mut share = self.share.take().ok_or(OpenError::Exhausted)?;
        // The entries are gone; names that had to be escaped have made it longer than was thought.
        let bytes = content.capacity() as u64;
        share.shrink_to(bytes);
        let missing = bytes.saturating_sub(share.bytes());
        grow(&mut share, missing, &self.kept)?;
        let now = slice.now();
        let page = Arc::new(Page {
            content: share.hold(content),
            etag,
            form: self.variant.form,
            generation: self.directory.scan.generation(),
            made_at: now,
            encoded: Encoded::default(),
        });
        self.kept.keep(&self.path, self.variant, &page, now);
        Ok(page)
    }
}

/// Takes `bytes` more for `share`, if need be from what is `kept`.
pub(super) fn grow(share: &mut Share, bytes: u64, kept: &KeptPages) -> Result<(), OpenError> {
    if share.grow(bytes) {
        return Ok(());
    }
    kept.clear();
    share.grow(bytes).then_some(()).ok_or(OpenError::Exhausted)
}

impl Gathered {
    /// Reads until `slice` is over; whether that is all.
    fn read(
        &mut self,
        sorting: &mut Sorting,
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

impl Writing {
    /// Writes until `slice` is over; whether that is all.
    fn go_on(&mut self, form: Format, slice: &dyn Slice) -> bool {
        loop {
            for _ in 0..ROWS_AT_ONCE {
                let Some(entry) = self.entries.next() else {
                    return true;
                };
                match form {
                    Format::Html => html::row(&mut self.content, &entry),
                    Format::Json => json::row(&mut self.content, &entry),
                }
            }
            self.hash();
            if slice.is_over() {
                return false;
            }
        }
    }

    /// The page and its tag.
    fn end(&mut self, form: Format) -> (String, bytes::Bytes) {
        match form {
            Format::Html => html::end(&mut self.content),
            Format::Json => json::end(&mut self.content),
        }
        self.hash();
        (std::mem::take(&mut self.content), self.hasher.tag())
    }

    fn hash(&mut self) {
        self.hasher.update(&self.content.as_bytes()[self.hashed..]);
        self.hashed = self.content.len();
    }
}
