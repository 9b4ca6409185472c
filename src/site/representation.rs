//! A file as it is sent: its content and the field lines that describe it (RFC 9110 section 3.2).

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;

use bytes::Bytes;

use super::reach::{NeedsDisk, Reach};
use crate::clock::Now;
use crate::http::response::http_date;

/// How often a file that changes while it is read is read again before the last reading is taken.
const MAX_READINGS: u32 = 3;

/// A change so shortly before the reading may share its timestamp with one after it.
const RACY_SECS: u64 = 2;

/// The last of a representation's lines (RFC 9110 section 14.3).
const ACCEPT_RANGES: &str = "Accept-Ranges: bytes\r\n";

/// What tells one state of a file from another. ctime catches what a tool that resets mtime hides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Where the content is.
#[derive(Debug)]
pub enum Content {
    /// In memory, whole.
    Memory(Bytes),
    /// In an open file of this many bytes.
    Descriptor(Arc<File>, u64),
}

/// One regular file, ready to be sent.
#[derive(Debug)]
pub struct Representation {
    /// The encoded field lines, ETag first, then Last-Modified, then the rest.
    fields: Bytes,
    etag_line_len: usize,
    validators_len: usize,
    content_type_end: usize,
    /// The entity-tag with its quotes, always strong (RFC 9110 section 8.8.3).
    pub etag: Bytes,
    /// Seconds since 1970; never later than the time of loading, so never later than a Date
    /// (RFC 9110 section 8.8.2.1).
    pub last_modified: u64,
    /// What is sent.
    pub content: Content,
    /// The file changed while it was read, each time: a mixture, for one answer only.
    pub is_torn: bool,
    identity: Identity,
    racy: bool,
}

impl Identity {
    /// The identity of an open file.
    ///
    /// # Errors
    /// As fstat(2).
    pub fn of(file: &File) -> io::Result<Identity> {
        let stat = file.metadata()?;
        Ok(Identity {
            device: stat.dev(),
            inode: stat.ino(),
            size: stat.size(),
            modified: (stat.mtime(), stat.mtime_nsec()),
            changed: (stat.ctime(), stat.ctime_nsec()),
        })
    }

    /// The identity that a stat(2) tells.
    #[must_use]
    #[allow(clippy::cast_possible_wrap)] // nanoseconds are below 10^9
    pub fn of_stat(stat: &rustix::fs::Stat) -> Identity {
        Identity {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime, stat.st_mtime_nsec as i64),
            changed: (stat.st_ctime, stat.st_ctime_nsec as i64),
        }
    }

    fn latest_change_secs(&self) -> u64 {
        u64::try_from(self.modified.0.max(self.changed.0)).unwrap_or(0)
    }

    fn modified_secs(&self) -> u64 {
        u64::try_from(self.modified.0).unwrap_or(0)
    }
}

impl Representation {
    /// Loads the regular file `file`, whose content is of the type `content_type`. Up to `memory_bytes` are read into memory, a
    /// larger file stays open.
    ///
    /// # Errors
    /// As fstat(2) and pread(2).
    pub fn load(
        file: File,
        content_type: &str,
        memory_bytes: u64,
        now: Now,
    ) -> io::Result<Representation> {
        let mut identity = Identity::of(&file)?;
        let mut readings = 0;
        let mut is_torn = false;
        // A reading between two equal identities is a state that the file really had.
        let content = loop {
            if identity.size > memory_bytes {
                break Content::Descriptor(Arc::new(file), identity.size);
            }
            let content = read_whole(&file, identity.size)?;
            readings += 1;
            let after = Identity::of(&file)?;
            let whole = after == identity && content.len() as u64 == identity.size;
            identity = after;
            if whole || readings == MAX_READINGS {
                // A torn reading is the best there is of a file that changes all the time.
                is_torn = !whole;
                break Content::Memory(Bytes::from(content));
            }
        };
        let mut representation = Representation::describe(identity, content, content_type, now);
        representation.is_torn = is_torn;
        Ok(representation)
    }

    fn describe(
        identity: Identity,
        content: Content,
        content_type: &str,
        now: Now,
    ) -> Representation {
        let (seconds, nanoseconds) = identity.modified;
        let etag = format!("\"{:x}-{seconds:x}.{nanoseconds:x}\"", content.len());
        let last_modified = identity.modified_secs().min(now.unix_secs);
        let etag_line = format!("ETag: {etag}\r\n");
        let modified_line = format!("Last-Modified: {}\r\n", http_date(last_modified));
        let type_line = format!("Content-Type: {content_type}\r\n");
        let rest = format!("X-Content-Type-Options: nosniff\r\n{ACCEPT_RANGES}");
        Representation {
            etag_line_len: etag_line.len(),
            validators_len: etag_line.len() + modified_line.len(),
            content_type_end: etag_line.len() + modified_line.len() + type_line.len(),
            fields: Bytes::from([etag_line, modified_line, type_line, rest].concat()),
            etag: Bytes::from(etag),
            last_modified,
            content,
            is_torn: false,
            identity,
            racy: identity.latest_change_secs() + RACY_SECS > now.unix_secs,
        }
    }

    /// The field lines of a 200.
    #[must_use]
    pub fn fields(&self) -> Bytes {
        self.fields.clone()
    }

    /// The field lines that a 304 owes: the ETag; Last-Modified adds nothing to a client that has
    /// it (RFC 9110 section 15.4.5).
    #[must_use]
    pub fn not_modified_fields(&self) -> Bytes {
        self.fields.slice(..self.etag_line_len)
    }

    /// The Content-Type line and nosniff, for content that is sent under another status: neither
    /// validators nor ranges apply to it.
    #[must_use]
    pub fn page_fields(&self) -> Bytes {
        self.fields
            .slice(self.validators_len..self.fields.len() - ACCEPT_RANGES.len())
    }

    /// The Content-Type line, with its CRLF.
    #[must_use]
    pub fn content_type_line(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.fields[self.validators_len..self.content_type_end])
    }

    /// The field lines with another Content-Type line, which ends in CRLF.
    #[must_use]
    pub fn fields_with_content_type(&self, line: &str) -> Bytes {
        let (before, after) = (
            &self.fields[..self.validators_len],
            &self.fields[self.content_type_end..],
        );
        Bytes::from([before, line.as_bytes(), after].concat())
    }

    /// Whether a file that now has `identity` may still be sent as this. A change just before the
    /// loading cannot be told from one just after it, so such a loading holds only once.
    #[must_use]
    pub fn is_current(&self, identity: &Identity) -> bool {
        !self.racy && self.identity == *identity
    }

    /// Bytes of memory that keeping this takes, roughly.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let content = match &self.content {
            Content::Memory(bytes) => bytes.len(),
            Content::Descriptor(..) => 0,
        };
        (content + self.fields.len() + size_of::<Representation>() + 128) as u64
    }
}

impl Content {
    /// To be asked before the content is sent: sending from a descriptor may wait for the disk.
    ///
    /// # Errors
    /// [`NeedsDisk`] if it is not in memory and that is all that is in `reach`.
    pub fn within(&self, reach: Reach) -> Result<(), NeedsDisk> {
        match self {
            Content::Memory(_) => Ok(()),
            Content::Descriptor(..) => reach.disk(),
        }
    }

    /// The length in bytes, as in Content-Length.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // an empty file is no special case
    pub fn len(&self) -> u64 {
        match self {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::Descriptor(_, size) => *size,
        }
    }
}

/// Reads up to `size` bytes from the start; fewer if the file has become shorter.
fn read_whole(file: &File, size: u64) -> io::Result<Vec<u8>> {
    let size = usize::try_from(size).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut content = Vec::new();
    // A machine without that much memory is a reason for a 503, not for an abort.
    content
        .try_reserve_exact(size)
        .map_err(|_| io::ErrorKind::OutOfMemory)?;
    content.resize(size, 0);
    let mut filled = 0;
    while filled < size {
        match file.read_at(&mut content[filled..], filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    content.truncate(filled);
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Millis;
    use std::io::Write;

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
            Representation::load(copy, "text/html; charset=utf-8", memory_bytes, now)
                .expect("load"),
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
        assert_eq!(page.last_modified, 1_000);
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
        let racy =
            Representation::load(copy, "text/html; charset=utf-8", 5, at(wall)).expect("load");
        assert!(!racy.is_current(&Identity::of(&file).expect("stat")));
    }
}
