//! Content in pages of memory that sendfile(2) can send: the socket refers to them, and nothing is
//! copied.
//!
//! A copy of 100 KB goes to pages that no cache of the CPU holds, once for each answer, so its price
//! depends on what else is going on in the machine. The pages here are those of a file without a name
//! (memfd_create(2)), which never has to be read from a disk. There is one for the process, as there
//! is one heap: a descriptor for each body would be taken from the connections. It is sparse. A body
//! lies where none has lain before, so that one still in the queues of the kernel never changes, and
//! its pages go when it is dropped.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, memfd_create};
use rustix::process::{Resource, getrlimit};

/// From this size on it pays to send without a copy, in bytes: that takes a second call, after the
/// head's.
pub const MIN_BYTES: usize = 32 * 1024;

/// Content starts at a multiple of this, so that no two share a page of any size in use.
const ALIGNMENT: u64 = 64 * 1024;

static PAGES: LazyLock<Option<File>> = LazyLock::new(|| {
    // A file beyond the limit would be a signal that ends the process.
    if getrlimit(Resource::Fsize).current.is_some() {
        return None;
    }
    memfd_create("abide-cache", MemfdFlags::CLOEXEC)
        .ok()
        .map(File::from)
});

/// Where nothing has lain yet. 2^63 bytes are enough for a gigabyte a second for centuries.
static END: AtomicU64 = AtomicU64::new(0);

/// Content that stays where it is until it is dropped.
#[derive(Debug)]
pub struct Resident {
    file: &'static File,
    range: Range<u64>,
}

impl Resident {
    /// Keeps a copy of `content`; `None` if it is too small to be worth it, or if the system gives no
    /// such memory.
    #[must_use]
    pub fn keep(content: &[u8]) -> Option<Resident> {
        if content.len() < MIN_BYTES {
            return None;
        }
        let file = PAGES.as_ref()?;
        let len = content.len() as u64;
        let start = END.fetch_add(len.next_multiple_of(ALIGNMENT), Ordering::Relaxed);
        let resident = Resident {
            file,
            range: start..start + len,
        };
        file.write_all_at(content, start).ok()?;
        Some(resident)
    }

    /// The number of bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Whether there are no bytes; there always are.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// What sendfile sends it from, and where in there its offset `offset` is.
    #[must_use]
    pub fn at(&self, offset: u64) -> (&File, u64) {
        (self.file, self.range.start + offset)
    }

    /// A copy of the content.
    ///
    /// # Errors
    /// As pread(2).
    pub fn read(&self) -> io::Result<Vec<u8>> {
        // It was the length of a slice.
        let mut content = vec![0; self.len() as usize];
        self.file.read_exact_at(&mut content, self.range.start)?;
        Ok(content)
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        // A failure leaves pages that nobody uses; there is nothing better to do.
        let _ = fallocate(
            self.file,
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            self.range.start,
            self.len().next_multiple_of(ALIGNMENT),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn blocks() -> u64 {
        let file = PAGES.as_ref().expect("memfd_create");
        file.metadata().expect("fstat").blocks()
    }

    #[test]
    fn content_is_kept_apart_and_its_pages_go_with_it() {
        assert!(Resident::keep(&[1; MIN_BYTES - 1]).is_none());
        // Much more than other tests keep at the same time.
        let many = 64 * 1024 * 1024;
        let first = Resident::keep(&vec![1; many]).expect("memory");
        let second = Resident::keep(&[2; MIN_BYTES]).expect("memory");
        assert_eq!(first.read().expect("pread"), vec![1; many]);
        let (file, offset) = second.at(10);
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).expect("pread");
        assert_eq!(byte, [2]);
        let before = blocks();
        drop(first);
        assert!(blocks() < before, "of {before} blocks");
        assert_eq!(second.read().expect("pread"), [2; MIN_BYTES]);
    }
}
