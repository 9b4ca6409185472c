//! Loading a representation, in slices if it takes long.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::representation::{Metadata, Representation};
use crate::clock::Now;
use crate::config::EtagSource;
use crate::http::accept_encoding::Coding;
use crate::site::disk::{DescriptorBudget, ReadLimits, Reader};
use crate::site::waiting::Slice;

/// How much of a file is read, and what counts the files that stay open.
#[derive(Debug, Clone, Copy)]
pub struct LoadLimits<'l> {
    /// The sizes up to which content is kept in memory, and hashed.
    pub read: ReadLimits,
    /// The budget of descriptors, for what is too large for memory.
    pub descriptors: &'l Arc<DescriptorBudget>,
}

/// A file on its way into a [`Representation`].
#[derive(Debug)]
pub struct Loading {
    reader: Reader,
    content_type: String,
    coding: Coding,
    varies: bool,
    etag: EtagSource,
    descriptors: Arc<DescriptorBudget>,
    now: Now,
}

impl Loading {
    /// Begins to load the regular file `file`, within `limits`.
    ///
    /// # Errors
    /// As [`Reader::new`].
    pub fn new(
        file: File,
        metadata: &Metadata<'_>,
        limits: LoadLimits<'_>,
        now: Now,
    ) -> io::Result<Loading> {
        Ok(Loading {
            reader: Reader::new(file, limits.read, metadata.etag)?,
            content_type: metadata.content_type.to_owned(),
            coding: metadata.coding,
            varies: metadata.varies,
            etag: metadata.etag,
            descriptors: Arc::clone(limits.descriptors),
            now,
        })
    }

    /// Whether the tag of the content was asked for, but the file is too large for that.
    #[must_use]
    pub fn is_too_large_to_hash(&self) -> bool {
        self.reader.is_too_large_to_hash()
    }

    /// Goes on until `slice` is over: `None` if that comes first.
    ///
    /// # Errors
    /// As [`Reader::read`] and [`DescriptorBudget::admit`].
    pub fn go_on(&mut self, slice: &dyn Slice) -> io::Result<Option<Representation>> {
        let reading = self.reader.read(slice)?;
        let metadata = Metadata {
            content_type: &self.content_type,
            coding: self.coding,
            varies: self.varies,
            etag: self.etag,
        };
        let made = |reading| Representation::read(reading, &metadata, &self.descriptors, self.now);
        reading.map(made).transpose()
    }
}

#[cfg(test)]
impl Representation {
    /// Loads the regular file `file` within `limits`, in one go.
    ///
    /// # Errors
    /// As fstat(2), pread(2) and [`DescriptorBudget::admit`].
    pub fn load(
        file: File,
        metadata: &Metadata<'_>,
        limits: LoadLimits<'_>,
        now: Now,
    ) -> io::Result<Representation> {
        let loaded = Loading::new(file, metadata, limits, now)?
            .go_on(&crate::site::waiting::WholeSlice(now.monotonic))?;
        // A whole slice is never over.
        loaded.ok_or_else(|| io::ErrorKind::Interrupted.into())
    }
}
