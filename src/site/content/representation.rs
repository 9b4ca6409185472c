//! A file as it is sent: its content and the field lines that describe it (RFC 9110 section 3.2).
//!
//! A file has one representation for itself and one for each encoded variant.

use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::allocation::{allocation, arc_allocation};
use super::content_coding::{etag_without_coding, variant_etag};
use crate::clock::Now;
use crate::config::EtagSource;
use crate::http::accept_encoding::Coding;
use crate::http::date::http_date;
use crate::http::preconditions::Validators;
use crate::http::response::FileSource;
use crate::site::disk::{
    DescriptorBudget, Identity, IdentitySnapshot, MemfdBody, OpenFile, ReadFile,
};
use crate::site::waiting::{MayBlock, WouldBlockOnDisk};

/// Tells caches that Accept-Encoding selects the variant (RFC 9110 section 12.5.5).
const VARY: &str = "Vary: Accept-Encoding\r\n";

/// Forbids clients to guess another media type.
const NOSNIFF: &str = "X-Content-Type-Options: nosniff\r\n";

/// The last field line of a representation (RFC 9110 section 14.3).
const ACCEPT_RANGES: &str = "Accept-Ranges: bytes\r\n";

/// The bytes that [`Bytes`] allocate at their first clone, besides their content.
const SHARED_BYTES: usize = 24;

/// The length of an entity tag that is made from a time.
const TYPICAL_ETAG_BYTES: usize = 64;

/// The content, in memory or in a file.
#[derive(Debug)]
pub enum Content {
    /// The whole content, on the heap.
    Memory(Bytes),
    /// The whole content, in memory pages that are sent without a copy.
    MemfdBody(Arc<MemfdBody>),
    /// An open file and its length in bytes.
    Descriptor(Arc<OpenFile>, u64),
}

/// The metadata of a representation that is known before its file is read (RFC 9110 section 8).
#[derive(Debug, Clone, Copy)]
pub struct Metadata<'a> {
    /// The value of Content-Type, which describes the content without its coding.
    pub content_type: &'a str,
    /// The coding of the bytes of the file.
    pub coding: Coding,
    /// Whether Accept-Encoding decides in which coding the file is sent.
    pub varies: bool,
    /// The source of the entity tag.
    pub etag: EtagSource,
}

/// A version of a file: its validators, and its identity when it was read.
struct FileVersion {
    etag: Option<Bytes>,
    last_modified: Option<u64>,
    snapshot: IdentitySnapshot,
}

/// A regular file or an encoded variant of one, ready to be sent.
#[derive(Debug)]
pub struct Representation {
    /// The field lines: Last-Modified, ETag, Vary, Content-Type, Content-Encoding, then the rest. In this
    /// order, the lines of a 304 and those of an error page are each contiguous.
    fields: Bytes,
    last_modified_end: usize,
    etag_end: usize,
    validators_len: usize,
    content_type_end: usize,
    content_lines_end: usize,
    /// The entity tag with its quotes (RFC 9110 section 8.8.3). It is strong, unless the next change of the
    /// file could leave its time unchanged. `None` if the tag has to be made from the content, but the
    /// content is too large for that.
    pub etag: Option<Bytes>,
    /// Seconds since 1970, never later than the time of loading. A response with an earlier Date, because
    /// the clock has been set back, uses the time of its Date instead: see
    /// [`fields`](Representation::fields). `None` if times are not used: the tag is made from the content,
    /// or the file has [no time](Identity::is_dated).
    pub last_modified: Option<u64>,
    /// The content to send.
    pub content: Content,
    /// Whether the file changed during every attempt to read it. Content in memory is then a mixture of two
    /// versions, and must not be sent with a strong tag (RFC 9110 section 8.8.1). Of a large file only the
    /// tag is from before the change, and it is used for one response only.
    pub is_torn: bool,
    snapshot: IdentitySnapshot,
}

impl Representation {
    /// Makes the representation of a file that was read at `now`. The content is `None` if it is too large
    /// for memory.
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
        // If the tag is made from the content, times are not used.
        let is_dated = metadata.etag == EtagSource::Modified && identity.is_dated();
        let etag = if is_dated {
            Some(etag_of_time(&identity, now))
        } else {
            reading.hash
        };
        // A file that is never sent in another coding keeps its plain tag.
        let coding = if metadata.varies {
            metadata.coding
        } else {
            Coding::Identity
        };
        let etag = etag.map(|etag| variant_etag(&etag, coding));
        let last_modified = is_dated.then(|| {
            let (secs, _) = identity.written(now);
            u64::try_from(secs).unwrap_or(0).min(now.unix_secs)
        });
        let snapshot = IdentitySnapshot::new(identity, now);
        let version = FileVersion {
            etag,
            last_modified,
            snapshot,
        };
        let mut representation = Representation::describe(metadata, version, content);
        representation.is_torn = reading.is_torn;
        Ok(representation)
    }

    /// The encoded variant of this representation in `coding`, whose bytes are `encoded`.
    #[must_use]
    pub fn variant(&self, coding: Coding, encoded: Vec<u8>) -> Representation {
        let metadata = Metadata {
            content_type: &self.content_type(),
            coding,
            varies: true,
            // Not used: the tag is derived from the tag of this representation.
            etag: EtagSource::Modified,
        };
        Representation::describe(
            &metadata,
            self.version(self.etag.as_ref().map(|etag| variant_etag(etag, coding))),
            Content::kept(encoded),
        )
    }

    /// The original of this encoded variant in `coding`, if only the variant is on the disk. `content` is
    /// the decoded content.
    #[must_use]
    pub fn decoded(&self, coding: Coding, content: Content) -> Representation {
        let metadata = Metadata {
            content_type: &self.content_type(),
            coding: Coding::Identity,
            varies: true,
            // Not used: the tag is derived from the tag of this representation.
            etag: EtagSource::Modified,
        };
        let etag = self.etag.as_ref();
        Representation::describe(
            &metadata,
            self.version(etag.map(|etag| etag_without_coding(etag, coding))),
            content,
        )
    }

    /// This representation, with a Last-Modified of at least `unix_secs`.
    #[must_use]
    pub fn modified_no_earlier_than(mut self, unix_secs: Option<u64>) -> Representation {
        if let (Some(own), Some(unix_secs)) = (self.last_modified, unix_secs)
            && own < unix_secs
        {
            self.fields = self.fields_dated(unix_secs);
            // So the old fields are not kept for the tag. A date always has 29 bytes: the offsets stay valid.
            let tag = etag_range(self.last_modified_end, self.etag_end);
            self.etag = self.etag.map(|_| self.fields.slice(tag));
            self.last_modified = Some(unix_secs);
        }
        self
    }

    /// The version of the file of this representation, with another tag.
    fn version(&self, etag: Option<Bytes>) -> FileVersion {
        FileVersion {
            etag,
            last_modified: self.last_modified,
            snapshot: self.snapshot,
        }
    }

    fn describe(metadata: &Metadata<'_>, version: FileVersion, content: Content) -> Representation {
        let FileVersion {
            etag,
            last_modified,
            snapshot,
        } = version;
        let date = last_modified.map(http_date);
        let coding = match metadata.coding {
            Coding::Identity => None,
            coding => Some(coding.token().as_bytes()),
        };
        let lines = [
            line("Last-Modified: ", date.as_deref().map(str::as_bytes)),
            line("ETag: ", etag.as_deref()),
            [VARY.as_bytes(), b"", b""].map(|part| if metadata.varies { part } else { b"" }),
            line("Content-Type: ", Some(metadata.content_type.as_bytes())),
            line("Content-Encoding: ", coding),
            [NOSNIFF.as_bytes(), ACCEPT_RANGES.as_bytes(), b""],
        ];
        let mut end = 0;
        let ends = lines.map(|line| {
            end += line.iter().map(|part| part.len()).sum::<usize>();
            end
        });
        // One allocation of the right size.
        let fields = Bytes::from(lines.as_flattened().concat());
        Representation {
            last_modified_end: ends[0],
            etag_end: ends[1],
            validators_len: ends[2],
            content_type_end: ends[3],
            content_lines_end: ends[4],
            etag: etag.map(|_| fields.slice(etag_range(ends[0], ends[1]))),
            fields,
            last_modified,
            content,
            is_torn: false,
            snapshot,
        }
    }

    /// The field lines of a 200 dated `date_unix_secs`. Last-Modified is not later than that date (RFC 9110
    /// section 8.8.2.1). Allocates only if that requires another line.
    #[must_use]
    #[inline]
    pub fn fields(&self, date_unix_secs: u64) -> Bytes {
        if self.last_modified.is_none_or(|secs| secs <= date_unix_secs) {
            return self.fields.clone();
        }
        self.fields_dated(date_unix_secs)
    }

    #[cold]
    fn fields_dated(&self, unix_secs: u64) -> Bytes {
        let line = last_modified_line(unix_secs);
        Bytes::from([line.as_bytes(), &self.fields[self.last_modified_end..]].concat())
    }

    /// The field lines of a 304: ETag and Vary. The client has Last-Modified already (RFC 9110 section
    /// 15.4.5).
    #[must_use]
    pub fn not_modified_fields(&self) -> Bytes {
        self.fields
            .slice(self.last_modified_end..self.validators_len)
    }

    /// The field lines for content that is sent with an error status: Vary, the lines of the content and
    /// nosniff. Validators and ranges do not apply to such a response.
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

    /// The bytes of the [`content_type`](Representation::content_type), without a copy.
    #[must_use]
    pub fn content_type_value(&self) -> Bytes {
        self.fields.slice(self.content_type_range())
    }

    fn content_type_range(&self) -> Range<usize> {
        let name_len = "Content-Type: ".len();
        self.validators_len + name_len..self.content_type_end - "\r\n".len()
    }

    /// The Content-Type line and, of an encoded variant, the Content-Encoding line, each with its CRLF.
    /// Each part of a multipart response carries them (RFC 9110 section 14.6).
    #[must_use]
    pub fn content_lines(&self) -> Bytes {
        self.fields
            .slice(self.validators_len..self.content_lines_end)
    }

    /// The [`fields`](Representation::fields) with `line`, which ends in CRLF, instead of the content's own
    /// lines.
    #[must_use]
    pub fn fields_with_content_line(&self, line: &str, date_unix_secs: u64) -> Bytes {
        // A date always has 29 bytes, so the offsets stay valid.
        let fields = self.fields(date_unix_secs);
        let (before, after) = (
            &fields[..self.validators_len],
            &fields[self.content_lines_end..],
        );
        Bytes::from([before, line.as_bytes(), after].concat())
    }

    /// The validators for the preconditions of a request (RFC 9110 section 13).
    #[must_use]
    #[inline]
    pub fn validators(&self) -> Validators<'_> {
        Validators {
            etag: self.etag.as_deref(),
            last_modified_unix_secs: self.last_modified,
        }
    }

    /// Whether the content in memory may mix two versions of the file.
    #[must_use]
    pub fn is_mixture(&self) -> bool {
        self.is_torn && !matches!(self.content, Content::Descriptor(..))
    }

    /// Whether this representation may still be sent for a file that now has `identity`: see
    /// [`IdentitySnapshot::is_current`].
    #[must_use]
    pub fn is_current(&self, identity: &Identity) -> bool {
        self.snapshot.is_current(identity)
    }

    /// The identity of the file that the representation was made from.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.snapshot.identity
    }

    /// The memory that this representation has allocated, in bytes.
    #[must_use]
    pub fn allocated(&self) -> u64 {
        let content = match &self.content {
            Content::Memory(bytes) => shared_allocation(bytes.len()),
            Content::MemfdBody(body) => body.allocated() + arc_allocation::<MemfdBody>(),
            Content::Descriptor(..) => arc_allocation::<OpenFile>(),
        };
        content + shared_allocation(self.fields.len())
    }
}

/// The range of the tag in an ETag line with this start and this end.
fn etag_range(start: usize, end: usize) -> Range<usize> {
    start + "ETag: ".len()..end - "\r\n".len()
}

/// The memory of [`Bytes`] of this length that have been cloned.
fn shared_allocation(len: usize) -> u64 {
    allocation(len) + allocation(SHARED_BYTES)
}

/// The tag of a file that has `identity` at `now`. It is weak as long as a second write could leave size
/// and modification time unchanged (RFC 9110 section 8.8.1). A weak tag also contains ctime, so that a
/// client does not take the version after that second for this one.
fn etag_of_time(identity: &Identity, now: Now) -> Bytes {
    let mut tag = Vec::with_capacity(TYPICAL_ETAG_BYTES);
    let may_change = identity.may_change_unseen(now);
    tag.extend_from_slice(if may_change { b"W/\"" } else { b"\"" });
    push_hexadecimal(&mut tag, identity.size());
    let changed = may_change.then_some(identity.changed());
    for (seconds, nanoseconds) in [Some(identity.modified()), changed].into_iter().flatten() {
        tag.push(b'-');
        push_hexadecimal(&mut tag, seconds.cast_unsigned());
        tag.push(b'.');
        push_hexadecimal(&mut tag, nanoseconds.cast_unsigned());
    }
    tag.push(b'"');
    Bytes::from(tag)
}

/// Appends `number` in lower-case hexadecimal digits, without leading zeros.
fn push_hexadecimal(text: &mut Vec<u8>, number: u64) {
    let digits = (u64::BITS - number.leading_zeros()).div_ceil(4).max(1);
    text.extend((0..digits).rev().map(|digit| {
        let value = number >> (4 * digit) & 0xF;
        b"0123456789abcdef"[value as usize]
    }));
}

/// The parts of the field line `name` with this value; empty without a value.
fn line<'l>(name: &'static str, value: Option<&'l [u8]>) -> [&'l [u8]; 3] {
    value.map_or([b""; 3], |value| [name.as_bytes(), value, b"\r\n"])
}

fn last_modified_line(unix_secs: u64) -> String {
    format!("Last-Modified: {}\r\n", http_date(unix_secs))
}

impl Content {
    fn kept(content: Vec<u8>) -> Content {
        match MemfdBody::keep(&content) {
            Some(memfd_body) => Content::MemfdBody(Arc::new(memfd_body)),
            None => Content::Memory(Bytes::from(content)),
        }
    }

    /// Checks that `may_block` allows sending the content, which may wait for the disk if it is in a file.
    ///
    /// # Errors
    /// [`WouldBlockOnDisk`] if the content is in a file on a file system that `may_block` excludes.
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
