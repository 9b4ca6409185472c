//! A file as it is sent: its content and the field lines that describe it (RFC 9110 section 3.2).
//!
//! A file has a representation for each content coding that it is sent in: itself, and its forms.

use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::content_coding::{etag_of_form, etag_without_coding};
use crate::clock::Now;
use crate::config::EtagSource;
use crate::http::accept_encoding::Coding;
use crate::http::date::http_date;
use crate::http::preconditions::Validators;
use crate::http::response::FileSource;
use crate::site::disk::{DescriptorBudget, Identity, MemfdBody, OpenFile, ReadFile, Sighting};
use crate::site::waiting::{MayBlock, WouldBlockOnDisk};

/// Tells caches which field of a request chose between the forms (RFC 9110 section 12.5.5).
const VARY: &str = "Vary: Accept-Encoding\r\n";

/// The last of a representation's lines (RFC 9110 section 14.3).
const ACCEPT_RANGES: &str = "Accept-Ranges: bytes\r\n";

/// Where the content is.
#[derive(Debug)]
pub enum Content {
    /// In memory, whole.
    Memory(Bytes),
    /// In memory, whole, in pages that are sent without a copy.
    MemfdBody(Arc<MemfdBody>),
    /// In an open file of this many bytes.
    Descriptor(Arc<OpenFile>, u64),
}

/// What is known of a representation before its file is read (RFC 9110 section 8).
#[derive(Debug, Clone, Copy)]
pub struct Metadata<'a> {
    /// The value of Content-Type; of the content without its coding.
    pub content_type: &'a str,
    /// The coding that the bytes of the file are in.
    pub coding: Coding,
    /// Whether the same file may be sent in another coding: Accept-Encoding decides.
    pub varies: bool,
    /// What the entity-tag is made from.
    pub etag: EtagSource,
}

/// A state of a file: its validators, and how it was seen.
struct FileVersion {
    etag: Option<Bytes>,
    last_modified: Option<u64>,
    sighting: Sighting,
}

/// A regular file or a form of one, ready to be sent.
#[derive(Debug)]
pub struct Representation {
    /// The encoded field lines: Last-Modified, ETag, Vary, Content-Type, Content-Encoding, then the
    /// rest. In this order a 304 and an error page each have their lines in one piece of it.
    fields: Bytes,
    last_modified_end: usize,
    etag_end: usize,
    validators_len: usize,
    content_type_end: usize,
    content_lines_end: usize,
    /// The entity-tag with its quotes (RFC 9110 section 8.8.3). It is strong, but for a file whose next
    /// change might leave its time as it is. `None` of content that was to be hashed for it, and is too
    /// large for that.
    pub etag: Option<Bytes>,
    /// Seconds since 1970; never later than the time of loading. An answer that is dated earlier,
    /// because the clock has been set back since, says the time of its Date instead: see
    /// [`fields`](Representation::fields). `None` where times say nothing: the tag is to be made from the
    /// content, or the file has [no time](Identity::is_dated).
    pub last_modified: Option<u64>,
    /// What is sent.
    pub content: Content,
    /// The file changed while it was read, each time. In memory it is a mixture of two states, and must
    /// not go out under a strong tag (RFC 9110 section 8.8.1). Of a large file only the tag is from
    /// before the change, and it is for one answer only.
    pub is_torn: bool,
    sighting: Sighting,
}

impl Representation {
    /// Makes the representation of a file that was read, as it is at `now`. Its content has been kept, unless
    /// it is too large for memory.
    ///
    /// # Errors
    /// As [`DescriptorBudget::admit`].
    pub(super) fn read(
        (reading, kept): (ReadFile, Option<Content>),
        metadata: &Metadata<'_>,
        descriptors: &Arc<DescriptorBudget>,
        now: Now,
    ) -> io::Result<Representation> {
        let identity = reading.identity;
        let content = match kept {
            Some(content) => content,
            None => {
                let file = descriptors.admit(reading.file, identity.device())?;
                Content::Descriptor(Arc::new(file), identity.size())
            }
        };
        // Where the tag is to be made from the content, times say nothing.
        let is_dated = metadata.etag == EtagSource::Modified && identity.is_dated();
        let etag = if is_dated {
            Some(etag_of_time(&identity, now))
        } else {
            reading.hash
        };
        // A file that is sent in no other coding needs no other tag.
        let coding = if metadata.varies {
            metadata.coding
        } else {
            Coding::Identity
        };
        let etag = etag.map(|etag| etag_of_form(&etag, coding));
        let last_modified = is_dated.then(|| {
            let (secs, _) = identity.written(now);
            u64::try_from(secs).unwrap_or(0).min(now.unix_secs)
        });
        let sighting = Sighting::new(identity, now);
        let version = FileVersion {
            etag,
            last_modified,
            sighting,
        };
        let mut representation = Representation::describe(metadata, version, content);
        representation.is_torn = reading.is_torn;
        Ok(representation)
    }

    /// The form of this in `coding`, which `encoded` is.
    #[must_use]
    pub fn form(&self, coding: Coding, encoded: Vec<u8>) -> Representation {
        let metadata = Metadata {
            content_type: &self.content_type(),
            coding,
            varies: true,
            // The tag is made from ours.
            etag: EtagSource::Modified,
        };
        Representation::describe(
            &metadata,
            self.version(self.etag.as_ref().map(|etag| etag_of_form(etag, coding))),
            Content::kept(encoded),
        )
    }

    /// The file that this is the form in `coding` of, where only the form is there: `content` is what it
    /// was decoded to.
    #[must_use]
    pub fn decoded(&self, coding: Coding, content: Content) -> Representation {
        let metadata = Metadata {
            content_type: &self.content_type(),
            coding: Coding::Identity,
            varies: true,
            // The tag is made from ours.
            etag: EtagSource::Modified,
        };
        let etag = self.etag.as_ref();
        Representation::describe(
            &metadata,
            self.version(etag.map(|etag| etag_without_coding(etag, coding))),
            content,
        )
    }

    /// This, with a Last-Modified that is not before `unix_secs`.
    #[must_use]
    pub fn modified_no_earlier_than(mut self, unix_secs: Option<u64>) -> Representation {
        if let (Some(own), Some(unix_secs)) = (self.last_modified, unix_secs)
            && own < unix_secs
        {
            self.fields = self.fields_dated(unix_secs);
            self.last_modified = Some(unix_secs);
        }
        self
    }

    /// The version of the file that this is of, under another tag.
    fn version(&self, etag: Option<Bytes>) -> FileVersion {
        FileVersion {
            etag,
            last_modified: self.last_modified,
            sighting: self.sighting,
        }
    }

    fn describe(metadata: &Metadata<'_>, version: FileVersion, content: Content) -> Representation {
        let FileVersion {
            etag,
            last_modified,
            sighting,
        } = version;
        let mut fields = Vec::new();
        let mut add = |line: &str| {
            fields.extend_from_slice(line.as_bytes());
            fields.len()
        };
        let last_modified_end = last_modified.map_or(0, |secs| add(&last_modified_line(secs)));
        let etag_end = etag.as_ref().map_or(last_modified_end, |etag| {
            add(&format!("ETag: {}\r\n", String::from_utf8_lossy(etag)))
        });
        let validators_len = add(if metadata.varies { VARY } else { "" });
        let content_type_end = add(&format!("Content-Type: {}\r\n", metadata.content_type));
        let content_lines_end = add(&match metadata.coding {
            Coding::Identity => String::new(),
            coding => format!("Content-Encoding: {}\r\n", coding.token()),
        });
        add(&format!(
            "X-Content-Type-Options: nosniff\r\n{ACCEPT_RANGES}"
        ));
        Representation {
            last_modified_end,
            etag_end,
            validators_len,
            content_type_end,
            content_lines_end,
            fields: Bytes::from(fields),
            etag,
            last_modified,
            content,
            is_torn: false,
            sighting,
        }
    }

    /// The field lines of a 200 that is dated `date_unix_secs`. Last-Modified is no later than that
    /// (RFC 9110 section 8.8.2.1). Allocates only where the line has to be written for this answer.
    #[must_use]
    #[inline]
    pub fn fields(&self, date_unix_secs: u64) -> Bytes {
        if self.last_modified.is_none_or(|secs| secs <= date_unix_secs) {
            return self.fields.clone();
        }
        self.fields_dated(date_unix_secs)
    }

    /// The field lines with another Last-Modified.
    #[cold]
    fn fields_dated(&self, unix_secs: u64) -> Bytes {
        let line = last_modified_line(unix_secs);
        Bytes::from([line.as_bytes(), &self.fields[self.last_modified_end..]].concat())
    }

    /// The field lines that a 304 owes: ETag and Vary; Last-Modified adds nothing to a client that has
    /// it (RFC 9110 section 15.4.5).
    #[must_use]
    pub fn not_modified_fields(&self) -> Bytes {
        self.fields
            .slice(self.last_modified_end..self.validators_len)
    }

    /// Vary, the content's own lines and nosniff, for content that is sent under another status: neither
    /// validators nor ranges apply to it.
    #[must_use]
    pub fn page_fields(&self) -> Bytes {
        self.fields
            .slice(self.etag_end..self.fields.len() - ACCEPT_RANGES.len())
    }

    /// The value of Content-Type.
    #[must_use]
    pub fn content_type(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.fields[self.content_type_range()])
    }

    /// The bytes of the [`content_type`](Representation::content_type), which are shared.
    #[must_use]
    pub fn content_type_value(&self) -> Bytes {
        self.fields.slice(self.content_type_range())
    }

    fn content_type_range(&self) -> Range<usize> {
        let name_len = "Content-Type: ".len();
        self.validators_len + name_len..self.content_type_end - "\r\n".len()
    }

    /// The Content-Type line and, of a form, the Content-Encoding line, each with its CRLF: what each
    /// part of a multipart answer says of itself (RFC 9110 section 14.6).
    #[must_use]
    pub fn content_lines(&self) -> Bytes {
        self.fields
            .slice(self.validators_len..self.content_lines_end)
    }

    /// The [`fields`](Representation::fields) with another line, which ends in CRLF, in the place of the
    /// content's own.
    #[must_use]
    pub fn fields_with_content_line(&self, line: &str, date_unix_secs: u64) -> Bytes {
        // A date always has 29 bytes, so the marks hold whatever it is.
        let fields = self.fields(date_unix_secs);
        let (before, after) = (
            &fields[..self.validators_len],
            &fields[self.content_lines_end..],
        );
        Bytes::from([before, line.as_bytes(), after].concat())
    }

    /// The validators that a condition of a request is compared with (RFC 9110 section 13).
    #[must_use]
    #[inline]
    pub fn validators(&self) -> Validators<'_> {
        Validators {
            etag: self.etag.as_deref(),
            last_modified_unix_secs: self.last_modified,
        }
    }

    /// Whether the content in memory is of no state that the file ever had.
    #[must_use]
    pub fn is_mixture(&self) -> bool {
        self.is_torn && !matches!(self.content, Content::Descriptor(..))
    }

    /// Whether a file that now has `identity` may still be sent as this: see
    /// [`Sighting::is_current`].
    #[must_use]
    pub fn is_current(&self, identity: &Identity) -> bool {
        self.sighting.is_current(identity)
    }

    /// What it was made from.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.sighting.identity
    }

    /// Bytes of memory that keeping this takes, roughly.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let content = match &self.content {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::MemfdBody(content) => content.len(),
            Content::Descriptor(..) => 0,
        };
        content + (self.fields.len() + size_of::<Representation>() + 128) as u64
    }
}

/// The tag of a file that has `identity` at `now`. While a second write could leave size and time as they
/// are, it is weak (RFC 9110 section 8.8.1), and of the time of the last change of the inode as well: a
/// client that keeps it does not take the state that comes after that second for this one.
fn etag_of_time(identity: &Identity, now: Now) -> Bytes {
    let (size, (seconds, nanoseconds)) = (identity.size(), identity.modified());
    let times = format!("{size:x}-{seconds:x}.{nanoseconds:x}");
    Bytes::from(if identity.may_change_unseen(now) {
        let (seconds, nanoseconds) = identity.changed();
        format!("W/\"{times}-{seconds:x}.{nanoseconds:x}\"")
    } else {
        format!("\"{times}\"")
    })
}

fn last_modified_line(unix_secs: u64) -> String {
    format!("Last-Modified: {}\r\n", http_date(unix_secs))
}

impl Content {
    /// `content` in memory.
    fn kept(content: Vec<u8>) -> Content {
        match MemfdBody::keep(&content) {
            Some(memfd_body) => Content::MemfdBody(Arc::new(memfd_body)),
            None => Content::Memory(Bytes::from(content)),
        }
    }

    /// To be asked before the content is sent: sending from a descriptor may wait for the disk.
    ///
    /// # Errors
    /// [`WouldBlockOnDisk`] if it is not in memory, and its file system not in `may_block`.
    pub fn within(&self, may_block: MayBlock) -> Result<(), WouldBlockOnDisk> {
        match self {
            Content::Memory(_) | Content::MemfdBody(_) => Ok(()),
            Content::Descriptor(file, _) if file.is_beyond_mount() => may_block.any_disk(),
            Content::Descriptor(..) => may_block.disk(),
        }
    }

    /// The length in bytes, as in Content-Length.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // an empty file is no special case
    pub fn len(&self) -> u64 {
        match self {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::MemfdBody(content) => content.len(),
            Content::Descriptor(_, size) => *size,
        }
    }
}

#[cfg(test)]
mod tests;
