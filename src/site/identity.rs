//! Whether a file is still the one that it was.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use crate::clock::Now;

/// A change so shortly before the reading may share its timestamp with one after it.
const RACY_SECS: u64 = 2;

/// What tells one state of a file from another. ctime catches what a tool that resets mtime hides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// A file's identity, and how much it says.
#[derive(Debug, Clone, Copy)]
pub struct Sighting {
    /// What was seen.
    pub identity: Identity,
    racy: bool,
}

impl Sighting {
    /// That a file has `identity` at `now`.
    #[must_use]
    pub fn new(identity: Identity, now: Now) -> Sighting {
        Sighting {
            identity,
            racy: identity.latest_change_secs() + RACY_SECS > now.unix_secs,
        }
    }

    /// Whether a file that now has `identity` is surely as it was seen. A change just before the
    /// look cannot be told from one just after it, so such a look holds only once.
    #[must_use]
    pub fn is_current(&self, identity: &Identity) -> bool {
        !self.racy && self.identity == *identity
    }
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

    /// The device that the file is on.
    #[must_use]
    pub fn device(&self) -> u64 {
        self.device
    }

    /// The size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// mtime, in seconds since 1970 and nanoseconds.
    #[must_use]
    pub fn modified(&self) -> (i64, i64) {
        self.modified
    }

    fn latest_change_secs(&self) -> u64 {
        u64::try_from(self.modified.0.max(self.changed.0)).unwrap_or(0)
    }

    /// The whole seconds of mtime; a time before 1970 counts as 1970.
    #[must_use]
    pub fn modified_secs(&self) -> u64 {
        u64::try_from(self.modified.0).unwrap_or(0)
    }
}
