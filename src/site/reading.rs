//! Reading a file that others may be writing.
//!
//! A reading between two looks that find the same [`Identity`] is a state that the file really had. One
//! between two different ones is *torn*: it may be a mixture.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bytes::Bytes;

use super::content_tag;
use super::identity::Identity;
use crate::config::EtagSource;

/// How often a file that changes while it is read is read, before whoever wants it is told to come
/// back. Nearly always the second reading is whole: reading takes less time than writing.
const MAX_READINGS: u32 = 10;

/// The same for one that is too large for memory and read for its tag alone.
const MAX_LARGE_READINGS: u32 = 3;

/// What was read of a file.
#[derive(Debug)]
pub struct Reading {
    /// All of it, if it is small enough for memory.
    pub content: Option<Vec<u8>>,
    /// The entity-tag of the content, if that was asked for.
    pub hash: Option<Bytes>,
    /// The state of the file; of a torn reading, the last one.
    pub identity: Identity,
    /// It is a mixture of two states of the file.
    pub is_torn: bool,
}

impl Reading {
    /// Reads a file until it holds still, or as often as is worth it. More than `memory_bytes` are read
    /// for their tag only.
    ///
    /// # Errors
    /// As fstat(2) and pread(2).
    pub fn of(file: &File, memory_bytes: u64, etag: EtagSource) -> io::Result<Reading> {
        Reading::between(|| Identity::of(file), file, memory_bytes, etag)
    }

    /// The same, with `look` to tell the identity of the file.
    fn between(
        mut look: impl FnMut() -> io::Result<Identity>,
        file: &File,
        memory_bytes: u64,
        etag: EtagSource,
    ) -> io::Result<Reading> {
        let mut identity = look()?;
        let mut readings = 0;
        // A reading between two equal identities is a state that the file really had.
        loop {
            let size = identity.size();
            let content = match size {
                size if size <= memory_bytes => Some(read_whole(file, size)?),
                _ => None,
            };
            let hash = match (etag, &content) {
                (EtagSource::Modified, _) => None,
                (EtagSource::Content, Some(content)) => Some(content_tag::of_bytes(content)),
                (EtagSource::Content, None) => hash_through(file, size)?,
            };
            let is_read = content.is_some() || etag == EtagSource::Content;
            let after = if is_read { look()? } else { identity };
            readings += 1;
            let is_short = content
                .as_ref()
                .is_some_and(|read| read.len() as u64 != size);
            let is_torn = after != identity || is_short;
            identity = after;
            let most = match content {
                Some(_) => MAX_READINGS,
                None => MAX_LARGE_READINGS,
            };
            if !is_torn || readings >= most {
                // The tag of a large file would be of neither state; its size and time are of the last.
                let hash = hash.filter(|_| !is_torn || content.is_some());
                return Ok(Reading {
                    content,
                    hash,
                    identity,
                    is_torn,
                });
            }
        }
    }
}

/// The tag of a file that is too large for memory; `None` if it has become shorter meanwhile.
fn hash_through(file: &File, size: u64) -> io::Result<Option<Bytes>> {
    match content_tag::of_file(file, size) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        hash => hash.map(Some),
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
    use std::io::Write;

    #[test]
    fn a_reading_ends_when_the_file_holds_still_or_after_a_while() {
        // Each of the first `still_after` looks finds one more byte.
        let read = |still_after: u32| {
            let mut file = tempfile::tempfile().expect("temporary file");
            let mut copy = file.try_clone().expect("dup");
            let mut looks = 0;
            let look = || {
                looks += 1;
                if looks <= still_after {
                    copy.write_all(b"x")?;
                }
                Identity::of(&copy)
            };
            file.write_all(b"x").expect("write");
            let reading = Reading::between(look, &file, 100, EtagSource::Modified).expect("read");
            (reading.is_torn, reading.content.expect("small").len())
        };
        assert_eq!(read(1), (false, 2));
        assert_eq!(read(MAX_READINGS), (false, 1 + MAX_READINGS as usize));
        assert!(read(MAX_READINGS + 1).0, "it has been tried often enough");
    }
}
