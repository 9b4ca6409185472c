//! A file as it is sent: its content and the field lines that describe it (RFC 9110 section 3.2).
//!
//! A file has a representation for each content coding that it is sent in: itself, and its forms.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::content_coding::etag_of_form;
use super::identity::{Identity, Sighting};
use super::job::WholeSlice;
use super::reach::{OutOfReach, Reach};
use super::reading::{ReadLimits, Reading};
use super::resident::Resident;
use crate::clock::Now;
use crate::config::EtagSource;
use crate::http::accept_encoding::Coding;
use crate::http::date::http_date;
use crate::http::preconditions::Validators;

mod loading;

pub use loading::Loading;

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
    Resident(Arc<Resident>),
    /// In an open file of this many bytes.
    Descriptor(Arc<File>, u64),
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

/// A regular file or a form of one, ready to be sent.
#[derive(Debug)]
pub struct Representation {
    /// The encoded field lines: ETag and Vary first, then Last-Modified, then Content-Type and
    /// Content-Encoding, then the rest.
    fields: Bytes,
    not_modified_len: usize,
    validators_len: usize,
    content_type_end: usize,
    content_lines_end: usize,
    /// The entity-tag with its quotes, always strong (RFC 9110 section 8.8.3). `None`, like the time, of
    /// content that was to be hashed for it, and is too large for that.
    pub etag: Option<Bytes>,
    /// Seconds since 1970; never later than the time of loading, so never later than a Date
    /// (RFC 9110 section 8.8.2.1).
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
    /// Loads the regular file `file` within `limits`, in one go. What is too large for memory stays open.
    ///
    /// # Errors
    /// As fstat(2) and pread(2).
    pub fn load(
        file: File,
        metadata: &Metadata<'_>,
        limits: ReadLimits,
        now: Now,
    ) -> io::Result<Representation> {
        let loaded =
            Loading::new(file, metadata, limits, now)?.go_on(&WholeSlice(now.monotonic))?;
        // A whole slice is never over.
        loaded.ok_or_else(|| io::ErrorKind::Interrupted.into())
    }

    /// What was read of a file, as it is at `now`.
    fn read(reading: Reading, metadata: &Metadata<'_>, now: Now) -> Representation {
        let identity = reading.identity;
        let content = match reading.content {
            Some(content) => Content::kept(content),
            None => Content::Descriptor(Arc::new(reading.file), identity.size()),
        };
        let (seconds, nanoseconds) = identity.modified();
        // Where the tag is to be made from the content, times say nothing.
        let is_dated = !reading.is_too_large_to_hash;
        let etag = reading.hash.or_else(|| {
            let size = content.len();
            is_dated.then(|| Bytes::from(format!("\"{size:x}-{seconds:x}.{nanoseconds:x}\"")))
        });
        let etag = etag.map(|etag| etag_of_form(&etag, metadata.coding));
        let last_modified = is_dated.then(|| identity.modified_secs().min(now.unix_secs));
        let sighting = Sighting::new(identity, now);
        let mut representation =
            Representation::describe(metadata, etag, last_modified, content, sighting);
        representation.is_torn = reading.is_torn;
        representation
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
            self.etag.as_ref().map(|etag| etag_of_form(etag, coding)),
            self.last_modified,
            Content::kept(encoded),
            self.sighting,
        )
    }

    fn describe(
        metadata: &Metadata<'_>,
        etag: Option<Bytes>,
        last_modified: Option<u64>,
        content: Content,
        sighting: Sighting,
    ) -> Representation {
        let mut fields = match &etag {
            Some(etag) => [b"ETag: ", &etag[..], b"\r\n"].concat(),
            None => Vec::new(),
        };
        if metadata.varies {
            fields.extend_from_slice(VARY.as_bytes());
        }
        let not_modified_len = fields.len();
        let mut add = |line: String| {
            fields.extend_from_slice(line.as_bytes());
            fields.len()
        };
        let validators_len = add(match last_modified {
            Some(secs) => format!("Last-Modified: {}\r\n", http_date(secs)),
            None => String::new(),
        });
        let content_type_end = add(format!("Content-Type: {}\r\n", metadata.content_type));
        let content_lines_end = add(match metadata.coding {
            Coding::Identity => String::new(),
            coding => format!("Content-Encoding: {}\r\n", coding.token()),
        });
        add(format!(
            "X-Content-Type-Options: nosniff\r\n{ACCEPT_RANGES}"
        ));
        Representation {
            not_modified_len,
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

    /// The field lines of a 200.
    #[must_use]
    pub fn fields(&self) -> Bytes {
        self.fields.clone()
    }

    /// The field lines that a 304 owes: ETag and Vary; Last-Modified adds nothing to a client that has
    /// it (RFC 9110 section 15.4.5).
    #[must_use]
    pub fn not_modified_fields(&self) -> Bytes {
        self.fields.slice(..self.not_modified_len)
    }

    /// The Content-Type line and nosniff, for content that is sent under another status: neither
    /// validators nor ranges apply to it.
    #[must_use]
    pub fn page_fields(&self) -> Bytes {
        self.fields
            .slice(self.validators_len..self.fields.len() - ACCEPT_RANGES.len())
    }

    /// The value of Content-Type.
    #[must_use]
    pub fn content_type(&self) -> Cow<'_, str> {
        let name_len = "Content-Type: ".len();
        let value = self.validators_len + name_len..self.content_type_end - "\r\n".len();
        String::from_utf8_lossy(&self.fields[value])
    }

    /// The Content-Type line and, of a form, the Content-Encoding line, each with its CRLF: what each
    /// part of a multipart answer says of itself (RFC 9110 section 14.6).
    #[must_use]
    pub fn content_lines(&self) -> Bytes {
        self.fields
            .slice(self.validators_len..self.content_lines_end)
    }

    /// The field lines with another line, which ends in CRLF, in the place of the content's own.
    #[must_use]
    pub fn fields_with_content_line(&self, line: &str) -> Bytes {
        let (before, after) = (
            &self.fields[..self.validators_len],
            &self.fields[self.content_lines_end..],
        );
        Bytes::from([before, line.as_bytes(), after].concat())
    }

    /// What a condition of a request is compared with (RFC 9110 section 13).
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
            Content::Resident(content) => content.len(),
            Content::Descriptor(..) => 0,
        };
        content + (self.fields.len() + size_of::<Representation>() + 128) as u64
    }
}

impl Content {
    /// `content` in memory.
    fn kept(content: Vec<u8>) -> Content {
        match Resident::keep(&content) {
            Some(resident) => Content::Resident(Arc::new(resident)),
            None => Content::Memory(Bytes::from(content)),
        }
    }

    /// To be asked before the content is sent: sending from a descriptor may wait for the disk.
    ///
    /// # Errors
    /// [`OutOfReach`] if it is not in memory and that is all that is in `reach`.
    pub fn within(&self, reach: Reach) -> Result<(), OutOfReach> {
        match self {
            Content::Memory(_) | Content::Resident(_) => Ok(()),
            Content::Descriptor(..) => reach.disk(),
        }
    }

    /// The length in bytes, as in Content-Length.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // an empty file is no special case
    pub fn len(&self) -> u64 {
        match self {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::Resident(content) => content.len(),
            Content::Descriptor(_, size) => *size,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Millis;
    use crate::site::resident;
    use std::io::Write;

    const HTML: Metadata<'_> = Metadata {
        content_type: "text/html; charset=utf-8",
        coding: Coding::Identity,
        varies: false,
        etag: EtagSource::Modified,
    };

    fn limits(memory_bytes: u64) -> ReadLimits {
        ReadLimits {
            memory_bytes,
            hash_bytes: 6,
        }
    }

    fn at(unix_secs: u64) -> Now {
        Now {
            monotonic: Millis(0),
            unix_secs,
        }
    }

    fn loaded(content: &[u8], memory_bytes: u64, now: Now) -> (File, Representation) {
        let mut file = tempfile::tempfile().expect("temporary file");
        file.write_all(content).expect("write");
        let copy = file.try_clone().expect("dup");
        (
            file,
            Representation::load(copy, &HTML, limits(memory_bytes), now).expect("load"),
        )
    }

    #[test]
    fn a_small_file_is_in_memory_and_a_large_one_stays_open() {
        let (_, small) = loaded(b"12345", 5, at(u64::MAX));
        assert!(matches!(&small.content, Content::Memory(bytes) if bytes == "12345"));
        let (_, large) = loaded(b"123456", 5, at(u64::MAX));
        assert!(matches!(large.content, Content::Descriptor(_, 6)));
    }

    #[test]
    fn a_torn_reading_is_a_mixture_wherever_memory_has_it() {
        let is_mixture = |content: &[u8], memory_bytes| {
            let (_, mut representation) = loaded(content, memory_bytes, at(u64::MAX));
            assert!(!representation.is_mixture());
            representation.is_torn = true;
            representation.is_mixture()
        };
        assert!(is_mixture(b"12345", 5));
        assert!(is_mixture(&[b'x'; 2 * resident::MIN_BYTES], 1 << 20));
        assert!(!is_mixture(b"123456", 5), "it is sent as it will be then");
    }

    #[test]
    fn the_fields_describe_the_content_and_divide_at_their_marks() {
        let (_, page) = loaded(b"x", 5, at(u64::MAX));
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).expect("ASCII");
        let all = text(page.fields());
        assert!(
            all.contains("Content-Type: text/html; charset=utf-8\r\n"),
            "{all}"
        );
        assert!(
            text(page.not_modified_fields()).starts_with("ETag: \"1-"),
            "{all}"
        );
        assert!(
            !text(page.not_modified_fields()).contains("Last-Modified"),
            "{all}"
        );
        assert!(
            text(page.page_fields()).starts_with("Content-Type: "),
            "{all}"
        );
    }

    #[test]
    fn last_modified_is_never_in_the_future() {
        let (_, page) = loaded(b"x", 5, at(1_000));
        assert_eq!(page.last_modified, Some(1_000));
    }

    #[test]
    fn a_change_is_seen_and_a_fresh_file_is_loaded_again_once() {
        let (mut file, page) = loaded(b"x", 5, at(u64::MAX));
        let before = Identity::of(&file).expect("stat");
        assert!(page.is_current(&before));
        file.write_all(b"y").expect("write");
        assert!(!page.is_current(&Identity::of(&file).expect("stat")));
        let wall = before.modified_secs();
        let copy = file.try_clone().expect("dup");
        let racy = Representation::load(copy, &HTML, limits(5), at(wall)).expect("load");
        assert!(!racy.is_current(&Identity::of(&file).expect("stat")));
    }

    fn text(bytes: &Bytes) -> String {
        String::from_utf8(bytes.to_vec()).expect("ASCII")
    }

    #[test]
    fn a_form_differs_in_content_coding_and_tag() {
        let (_, page) = loaded(b"content", 100, at(u64::MAX));
        let form = page.form(Coding::Gzip, b"coded".to_vec());
        let fields = text(&form.fields());
        assert_ne!(form.etag, page.etag);
        assert_eq!(form.content.len(), 5);
        assert_eq!(
            form.content_lines(),
            "Content-Type: text/html; charset=utf-8\r\nContent-Encoding: gzip\r\n"
        );
        assert!(fields.contains(VARY), "{fields}");
        let etag = text(form.etag.as_ref().expect("a tag"));
        let not_modified = format!("ETag: {etag}\r\n{VARY}");
        assert_eq!(text(&form.not_modified_fields()), not_modified);
        let parted = text(&form.fields_with_content_line("Content-Type: a/b\r\n"));
        assert!(!parted.contains("Content-Encoding"), "{parted}");
    }

    #[test]
    fn a_tag_of_the_content_is_the_same_in_memory_and_through_a_descriptor() {
        let by_content = Metadata {
            etag: EtagSource::Content,
            ..HTML
        };
        let tag = |content: &[u8], memory_bytes: u64| {
            let mut file = tempfile::tempfile().expect("temporary file");
            file.write_all(content).expect("write");
            let loaded =
                Representation::load(file, &by_content, limits(memory_bytes), at(u64::MAX));
            loaded.expect("load")
        };
        let etag = |content: &[u8], memory_bytes| tag(content, memory_bytes).etag.expect("a tag");
        assert_eq!(etag(b"123456", 6), etag(b"123456", 5));
        assert_ne!(etag(b"123456", 6), etag(b"123457", 6));
        // Above the bound there is nothing to compare with.
        let large = tag(b"1234567", 5);
        assert_eq!((&large.etag, large.last_modified), (&None, None));
        assert_eq!(text(&large.not_modified_fields()), "");
        assert!(text(&large.fields()).starts_with("Content-Type: "));
        assert_eq!(large.content_type(), HTML.content_type);
    }
}
