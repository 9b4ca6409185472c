//! Loading a representation, in slices if it takes long.

#[cfg(test)]
use std::fs::File;
use std::io;
use std::sync::Arc;

use super::content_copy::ContentCopy;
use super::representation::{Content, Metadata, Representation};
use crate::clock::Now;
use crate::config::EtagSource;
use crate::http::accept_encoding::Coding;
use crate::site::disk::{ConsistentReader, DescriptorBudget, OpenedFile, ReadFile, ReadLimits};
use crate::site::waiting::Slice;

/// The limits of loading: how much of a file is read, and how many files stay open.
#[derive(Debug, Clone, Copy)]
pub struct LoadLimits<'l> {
    /// The sizes up to which content is kept in memory, and hashed.
    pub read: ReadLimits,
    /// The budget of descriptors, for files that are too large for memory.
    pub descriptors: &'l Arc<DescriptorBudget>,
}

/// Reads a file in slices and makes its [`Representation`].
#[derive(Debug)]
pub struct RepresentationLoader {
    reader: ConsistentReader,
    /// Set when all is read: the content is being copied into its final memory.
    copy: Option<(ReadFile, ContentCopy)>,
    content_type: Arc<str>,
    coding: Coding,
    varies: bool,
    etag: EtagSource,
    descriptors: Arc<DescriptorBudget>,
    now: Now,
}

impl RepresentationLoader {
    /// Starts to load the regular file `opened`, within `limits`.
    ///
    /// # Errors
    /// As [`ConsistentReader::new`].
    pub fn new(
        opened: OpenedFile,
        metadata: &Metadata<'_>,
        limits: LoadLimits<'_>,
        now: Now,
    ) -> io::Result<RepresentationLoader> {
        Ok(RepresentationLoader {
            reader: ConsistentReader::new(opened, limits.read, metadata.etag)?,
            copy: None,
            content_type: metadata.content_type.into(),
            coding: metadata.coding,
            varies: metadata.varies,
            etag: metadata.etag,
            descriptors: Arc::clone(limits.descriptors),
            now,
        })
    }

    /// Whether the file is too large for an entity tag made from its content, as configured.
    #[must_use]
    pub fn is_too_large_to_hash(&self) -> bool {
        self.reader.is_too_large_to_hash()
    }

    /// Loads until `slice` is over. `None` if the representation is incomplete then.
    ///
    /// # Errors
    /// As [`ConsistentReader::read`] and [`DescriptorBudget::admit`].
    pub fn go_on(&mut self, slice: &dyn Slice) -> io::Result<Option<Representation>> {
        let Some(reading) = self.read(slice)? else {
            return Ok(None);
        };
        let metadata = Metadata {
            content_type: &self.content_type,
            coding: self.coding,
            varies: self.varies,
            etag: self.etag,
        };
        Representation::read(reading, &metadata, &self.descriptors, self.now).map(Some)
    }

    /// Reads the file until `slice` is over. The content is `None` if it is too large for memory.
    fn read(&mut self, slice: &dyn Slice) -> io::Result<Option<(ReadFile, Option<Content>)>> {
        let (reading, mut copy) = match self.copy.take() {
            Some(under_way) => under_way,
            None => match self.reader.read(slice)? {
                None => return Ok(None),
                Some(mut reading) => match reading.content.take() {
                    None => return Ok(Some((reading, None))),
                    Some(content) => (reading, ContentCopy::new(content)),
                },
            },
        };
        let content = copy.go_on(slice);
        if content.is_none() {
            self.copy = Some((reading, copy));
            return Ok(None);
        }
        Ok(Some((reading, content)))
    }
}

#[cfg(test)]
impl Representation {
    /// Loads the regular file `file` within `limits`, without slices.
    ///
    /// # Errors
    /// As fstat(2), pread(2) and [`DescriptorBudget::admit`].
    pub fn load(
        file: File,
        metadata: &Metadata<'_>,
        limits: LoadLimits<'_>,
        now: Now,
    ) -> io::Result<Representation> {
        let opened =
            OpenedFile::of(file).map_err(|error| io::Error::other(format!("{error:?}")))?;
        let loaded = RepresentationLoader::new(opened, metadata, limits, now)?
            .go_on(&crate::site::waiting::UnboundedSlice(now.monotonic))?;
        // An `UnboundedSlice` is never over.
        loaded.ok_or_else(|| io::ErrorKind::Interrupted.into())
    }
}
