//! Reads a file that other processes may be writing.
//!
//! A read is consistent if the file has the same [`Identity`] before and after it. Otherwise it is
//! *torn*: it may mix two states of the file.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use rustix::io::{ReadWriteFlags, preadv2};

use super::content_tag::ContentHasher;
use super::identity::Identity;
use super::search_root::OpenedFile;
use crate::config::EtagSource;
use crate::site::waiting::Slice;

/// How often a file that changes meanwhile is read before the request fails. The second read is nearly
/// always consistent, because reading takes less time than writing.
const MAX_READINGS: u32 = 10;

/// The limit for a file that is too large for memory and is read only for its tag.
const MAX_LARGE_READINGS: u32 = 3;

/// The number of bytes per read. Hashing them takes about a tenth of a millisecond.
const CHUNK_BYTES: usize = 128 * 1024;

/// The limits of reading a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimits {
    /// The largest file that is read into memory, in bytes.
    pub memory_bytes: u64,
    /// The largest file that is hashed for a content tag, in bytes.
    pub hash_bytes: u64,
}

/// The result of reading a file.
#[derive(Debug)]
pub struct ReadFile {
    /// The file.
    pub file: File,
    /// The whole content, if it is small enough for memory.
    pub content: Option<Vec<u8>>,
    /// The entity tag of the content, if one is needed and the file is not too large for it.
    pub hash: Option<Bytes>,
    /// The identity of the file, after the last read if that was torn.
    pub identity: Identity,
    /// Whether the read was torn.
    pub is_torn: bool,
}

/// Reads a file until a read is consistent, or up to a limit.
#[derive(Debug)]
pub struct ConsistentReader<L = fn(&File) -> io::Result<Identity>> {
    /// `None` after the end.
    file: Option<File>,
    read_at: ReadAt,
    /// Returns the identity of the file.
    identify: L,
    limits: ReadLimits,
    etag: EtagSource,
    identity: Identity,
    pass: ReadPass,
    readings: u32,
}

/// Reads into a buffer at an offset, as pread(2).
type ReadAt = fn(&File, &mut [u8], u64) -> io::Result<usize>;

/// One read of the whole file.
#[derive(Debug)]
struct ReadPass {
    /// `None` if the file is too large for memory.
    content: Option<Vec<u8>>,
    /// Whether the entity tag is made from the content.
    wants_hash: bool,
    /// `None` if no tag is made from the content, or if the file is too large for one.
    hasher: Option<Box<ContentHasher>>,
    at: u64,
    end: u64,
    is_short: bool,
}

impl ConsistentReader {
    /// Begins to read `opened`.
    ///
    /// # Errors
    /// `OutOfMemory` if the content does not fit into memory.
    pub fn new(
        opened: OpenedFile,
        limits: ReadLimits,
        etag: EtagSource,
    ) -> io::Result<ConsistentReader> {
        ConsistentReader::with_identify(Identity::of, opened, limits, etag)
    }
}

impl<L: FnMut(&File) -> io::Result<Identity>> ConsistentReader<L> {
    fn with_identify(
        identify: L,
        opened: OpenedFile,
        limits: ReadLimits,
        etag: EtagSource,
    ) -> io::Result<ConsistentReader<L>> {
        let identity = opened.identity;
        Ok(ConsistentReader {
            pass: ReadPass::begin(&identity, limits, etag)?,
            read_at: if opened.is_cached_only {
                read_cached_at
            } else {
                read_at
            },
            file: Some(opened.file),
            identify,
            limits,
            etag,
            identity,
            readings: 0,
        })
    }

    /// Continues until `slice` is over, which gives `None`, or until the file is read.
    ///
    /// # Errors
    /// As fstat(2) and pread(2); `NotFound` after the end; `WouldBlock` if the file was opened for a
    /// lookup that may not use the disk, and the kernel's memory does not have all of it.
    pub fn read(&mut self, slice: &dyn Slice) -> io::Result<Option<ReadFile>> {
        let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        loop {
            if !self.pass.go_on((file, self.read_at), slice)? {
                return Ok(None);
            }
            let after = if self.pass.reads() {
                (self.identify)(file)?
            } else {
                self.identity
            };
            self.readings += 1;
            let is_torn = after != self.identity || self.pass.is_short;
            let most = match self.pass.content {
                Some(_) => MAX_READINGS,
                None => MAX_LARGE_READINGS,
            };
            if !is_torn || self.readings >= most {
                return Ok(self.end(after, is_torn));
            }
            self.identity = after;
            self.pass = ReadPass::begin(&after, self.limits, self.etag)?;
        }
    }

    /// Whether the entity tag is made from the content, but the file is too large for it.
    #[must_use]
    pub fn is_too_large_to_hash(&self) -> bool {
        self.pass.wants_hash && self.pass.hasher.is_none()
    }

    fn end(&mut self, identity: Identity, is_torn: bool) -> Option<ReadFile> {
        let content = self.pass.content.take();
        let hasher = self.pass.hasher.take();
        // A large file is sent from disk, so the tag of a torn read would match no state of it.
        let hasher = hasher.filter(|_| !is_torn || content.is_some());
        Some(ReadFile {
            file: self.file.take()?,
            content,
            hash: hasher.map(|hasher| hasher.tag()),
            identity,
            is_torn,
        })
    }
}

impl ReadPass {
    fn begin(identity: &Identity, limits: ReadLimits, etag: EtagSource) -> io::Result<ReadPass> {
        let size = identity.size();
        let wants_hash = etag == EtagSource::Content || !identity.is_dated();
        let is_hashed = wants_hash && size <= limits.hash_bytes;
        let content = if size <= limits.memory_bytes {
            let size = usize::try_from(size).map_err(|_| io::ErrorKind::OutOfMemory)?;
            let mut content = Vec::new();
            // If memory is short, the request gets a 503 and the process goes on.
            content
                .try_reserve_exact(size)
                .map_err(|_| io::ErrorKind::OutOfMemory)?;
            Some(content)
        } else {
            None
        };
        let is_read = is_hashed || content.is_some();
        Ok(ReadPass {
            content,
            wants_hash,
            hasher: is_hashed.then(Box::default),
            at: 0,
            end: if is_read { size } else { 0 },
            is_short: false,
        })
    }

    /// Whether the content is read at all.
    fn reads(&self) -> bool {
        self.content.is_some() || self.hasher.is_some()
    }

    /// Reads until `slice` is over, which gives false, or to the end.
    fn go_on(&mut self, (file, read_at): (&File, ReadAt), slice: &dyn Slice) -> io::Result<bool> {
        let mut scratch = Vec::new();
        while self.at < self.end {
            // Fits: at most CHUNK_BYTES.
            let wanted = (self.end - self.at).min(CHUNK_BYTES as u64) as usize;
            let (buffer, from) = match &mut self.content {
                Some(content) => {
                    let from = content.len();
                    content.resize(from + wanted, 0);
                    (content, from)
                }
                None => {
                    scratch.resize(wanted, 0);
                    (&mut scratch, 0)
                }
            };
            let count = read_at(file, &mut buffer[from..], self.at)?;
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&buffer[from..from + count]);
            }
            buffer.truncate(from + count);
            self.at += count as u64;
            if count == 0 {
                self.is_short = true;
                return Ok(true);
            }
            if self.at < self.end && slice.is_over() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// As pread(2), repeated after an interruption.
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// As [`read_at`], but without waiting for the disk. A file that ends early has become shorter.
///
/// # Errors
/// `WouldBlock` if the page cache does not have the whole part, or if that cannot be known.
fn read_cached_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let wanted = buffer.len();
    let flags = ReadWriteFlags::NOWAIT;
    match preadv2(file, &mut [IoSliceMut::new(buffer)], at, flags) {
        Ok(count) if count == wanted => Ok(count),
        _ => Err(io::ErrorKind::WouldBlock.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Millis;
    use crate::site::disk::content_tag;
    use crate::site::waiting::{FIRST_SLICE_ASKS, FirstSlice, UnboundedSlice};
    use std::io::Write;

    const LIMITS: ReadLimits = ReadLimits {
        memory_bytes: 100,
        hash_bytes: 1 << 30,
    };

    fn file_of(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().expect("temporary file");
        file.write_all(content).expect("write");
        file
    }

    fn opened(file: File) -> OpenedFile {
        OpenedFile::of(file).expect("fstat")
    }

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at % 251) as u8).collect()
    }

    /// Reads in slices; also returns their number.
    fn read_in_slices(content: &[u8], memory_bytes: u64) -> (ReadFile, u32) {
        let limits = ReadLimits {
            memory_bytes,
            ..LIMITS
        };
        let reader = ConsistentReader::new(opened(file_of(content)), limits, EtagSource::Content);
        let mut reader = reader.expect("fstat");
        for slices in 1.. {
            let slice = FirstSlice::new(Millis(0));
            if let Some(reading) = reader.read(&slice).expect("read") {
                return (reading, slices);
            }
        }
        unreachable!("a file has an end")
    }

    #[test]
    fn a_file_has_the_tag_of_its_bytes_however_many_slices_it_takes() {
        let most = FIRST_SLICE_ASKS as usize * CHUNK_BYTES;
        for (length, expected) in [
            (0, 1),
            (1, 1),
            (CHUNK_BYTES + 1, 1),
            (most, 1),
            (most + 1, 2),
            (3 * most + 7, 4),
        ] {
            let content = pattern(length);
            for memory_bytes in [0, 1 << 30] {
                let (reading, slices) = read_in_slices(&content, memory_bytes);
                assert_eq!(slices, expected, "{length}");
                assert_eq!(reading.hash, Some(content_tag::of_bytes(&content)));
                assert!(!reading.is_torn);
                let is_kept = memory_bytes > 0 || length == 0;
                assert_eq!(reading.content, is_kept.then(|| content.clone()));
            }
        }
    }

    #[test]
    fn a_file_too_large_to_hash_is_not_read() {
        let file = file_of(b"");
        file.set_len(1 << 42).expect("a sparse file");
        let mut reader =
            ConsistentReader::new(opened(file), LIMITS, EtagSource::Content).expect("fstat");
        let slice = FirstSlice::new(Millis(0));
        assert!(reader.is_too_large_to_hash());
        let reading = reader.read(&slice).expect("nothing is read").expect("done");
        assert!(reading.hash.is_none());
    }

    #[test]
    fn a_read_from_the_page_cache_gets_the_whole_part_or_nothing() {
        let directory = std::env::current_exe().expect("this test");
        let directory = directory.parent().expect("a directory");
        // The build directory is on a disk, also where temporary files are not.
        let mut file = tempfile::tempfile_in(directory).expect("temporary file");
        file.write_all(b"12345").expect("write");
        let mut buffer = [0; 4];
        assert_eq!(read_cached_at(&file, &mut buffer, 1).expect("cached"), 4);
        assert_eq!(&buffer, b"2345");
        let error = read_cached_at(&file, &mut buffer, 2).expect_err("shorter");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_file_that_has_become_shorter_is_torn() {
        let file = file_of(&pattern(3));
        let copy = file.try_clone().expect("dup");
        let limits = ReadLimits {
            memory_bytes: 0,
            ..LIMITS
        };
        let mut reader =
            ConsistentReader::new(opened(file), limits, EtagSource::Content).expect("fstat");
        copy.set_len(1).expect("truncate");
        let reading = reader.read(&UnboundedSlice(Millis(0))).expect("read");
        let reading = reading.expect("done");
        assert!(!reading.is_torn, "the second read is consistent");
        assert_eq!(reading.hash, Some(content_tag::of_bytes(&pattern(1))));
    }

    #[test]
    fn reading_ends_when_the_file_stays_unchanged_or_at_a_limit() {
        // The file grows by a byte after it was opened, and at the first `still_after - 1` calls.
        let read = |still_after: u32| {
            let file = file_of(b"x");
            let mut copy = file.try_clone().expect("dup");
            let opened = opened(file);
            let mut calls = 0;
            copy.write_all(b"x").expect("append");
            let identify = |file: &File| {
                calls += 1;
                if calls < still_after {
                    copy.write_all(b"x")?;
                }
                Identity::of(file)
            };
            let reader =
                ConsistentReader::with_identify(identify, opened, LIMITS, EtagSource::Modified);
            let reading = reader.expect("identify").read(&UnboundedSlice(Millis(0)));
            let reading = reading.expect("read").expect("done");
            (reading.is_torn, reading.content.expect("small").len())
        };
        assert_eq!(read(1), (false, 2));
        assert_eq!(read(MAX_READINGS), (false, 1 + MAX_READINGS as usize));
        assert!(read(MAX_READINGS + 1).0, "the last read is torn too");
    }
}
