//! The root directory of one lookup, which may be excluded from the disk.
//!
//! A file that the cache does not have is mostly in the kernel's memory: its name in the dentry cache, its
//! content in the page cache. openat2(2) with RESOLVE_CACHED and preadv2(2) with RWF_NOWAIT answer at once,
//! or report that they would have to wait. So the thread that has the request can load such a file itself,
//! even the event loop, and only the rest is left to threads that may block.

use std::fs::File;
use std::os::fd::AsFd;

use rustix::fs::{FileType, Mode, ResolveFlags};
use rustix::io::Errno;

use super::identity::Identity;
use super::path_probe::{PathProbe, ProbeScope};
use super::resolve::{BENEATH, LinkPolicy, OPEN_FLAGS, OpenError, Resolver};
use super::root::{AccessTimes, CachedAccessKind, RootDirectory};
use crate::clock::Now;

/// The age of an atime at which a read sets it again, in seconds: a day, less the minute by which `now` may be
/// late.
const RELATIME_SECS: u64 = 24 * 60 * 60 - 60;

/// A directory in which a lookup opens and probes names.
#[derive(Debug)]
pub struct SearchRoot<'d> {
    directory: &'d RootDirectory,
    resolver: &'d Resolver,
    probe: PathProbe<'d>,
}

/// A file that has just been opened.
#[derive(Debug)]
pub struct OpenedFile {
    /// The file.
    pub file: File,
    /// Its identity.
    pub identity: Identity,
    /// Its type.
    pub file_type: FileType,
    /// atime, in seconds and nanoseconds since 1970.
    pub accessed: (i64, i64),
    /// Whether reading it must not wait for the disk.
    pub is_cached_only: bool,
}

impl<'d> SearchRoot<'d> {
    /// A lookup below `directory`. Its probes are bounded by `scope`. Files are opened by `resolver`, which
    /// crosses mount points, unless the scope is [`ProbeScope::Cached`].
    #[must_use]
    pub fn new(
        directory: &'d RootDirectory,
        resolver: &'d Resolver,
        scope: ProbeScope,
    ) -> SearchRoot<'d> {
        SearchRoot {
            directory,
            resolver,
            probe: PathProbe::new(directory.fd.as_fd(), scope),
        }
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &'d RootDirectory {
        self.directory
    }

    /// The probe of this lookup.
    #[must_use]
    pub fn probe(&self) -> &PathProbe<'d> {
        &self.probe
    }

    /// Whether everything that the lookup has met could be examined. If not, its results mean nothing.
    #[must_use]
    pub fn is_answer_certain(&self) -> bool {
        !self.probe.met_mount() && !self.probe.needs_disk()
    }

    /// Whether the lookup is restricted to the kernel's memory.
    #[must_use]
    pub fn is_cached_only(&self) -> bool {
        self.probe.scope() == ProbeScope::Cached
    }

    /// Opens `path`, as [`Resolver::open`] does.
    ///
    /// # Errors
    /// As [`Resolver::open`]. If the lookup would need the disk, but is restricted to the kernel's memory:
    /// [`OpenError::Exhausted`], and [`PathProbe::needs_disk`] is true from now on.
    pub fn open(&self, path: &[u8]) -> Result<OpenedFile, OpenError> {
        let file = if self.is_cached_only() {
            self.open_cached(path)?
        } else {
            self.resolver.open(self.directory.fd.as_fd(), path)?
        };
        let mut opened = OpenedFile::of(file)?;
        let is_on_disk = self.directory.cached_access != Some(CachedAccessKind::InMemory);
        opened.is_cached_only = self.is_cached_only() && is_on_disk;
        Ok(opened)
    }

    fn open_cached(&self, path: &[u8]) -> Result<File, OpenError> {
        let resolve = ResolveFlags::CACHED
            | ResolveFlags::NO_XDEV
            | match self.resolver.policy() {
                LinkPolicy::Inside => BENEATH,
                LinkPolicy::Never => BENEATH.union(ResolveFlags::NO_SYMLINKS),
                LinkPolicy::Anywhere => ResolveFlags::NO_MAGICLINKS,
            };
        // Without RESOLVE_BENEATH the kernel lets a path leave the root. The resolver refuses such a path.
        let leaves_root = !resolve.contains(ResolveFlags::BENEATH)
            && (path.starts_with(b"/")
                || path.split(|byte| *byte == b'/').any(|part| part == b".."));
        if leaves_root {
            self.probe.note_disk();
            return Err(OpenError::Exhausted);
        }
        let root = &self.directory.fd;
        match rustix::fs::openat2(root, path, OPEN_FLAGS, Mode::empty(), resolve) {
            Ok(file) => Ok(file.into()),
            Err(Errno::NOENT | Errno::NOTDIR) => Err(OpenError::NotFound),
            // EAGAIN: the disk is needed. Other errors are left to the resolver, which examines them.
            Err(_) => {
                self.probe.note_disk();
                Err(OpenError::Exhausted)
            }
        }
    }
}

impl OpenedFile {
    /// Whether reading the file at `now` sets its atime. That is a write, for which the file system may wait.
    #[must_use]
    pub fn is_read_noted(&self, times: AccessTimes, now: Now) -> bool {
        let (seconds, _) = self.accessed;
        match times {
            AccessTimes::Never => false,
            AccessTimes::Always => true,
            // As relatime in mount(8).
            AccessTimes::Relative => {
                let is_old = |secs: u64| now.unix_secs.saturating_sub(secs) >= RELATIME_SECS;
                self.accessed <= self.identity.modified()
                    || self.accessed <= self.identity.changed()
                    || u64::try_from(seconds).map_or(true, is_old)
            }
        }
    }

    /// Describes `file`. Reading it may wait for the disk.
    ///
    /// # Errors
    /// As fstat(2).
    pub fn of(file: File) -> Result<OpenedFile, OpenError> {
        let stat = rustix::fs::fstat(&file)?;
        Ok(OpenedFile {
            identity: Identity::of_stat(&stat),
            file_type: FileType::from_raw_mode(stat.st_mode),
            accessed: (stat.st_atime, stat.st_atime_nsec.cast_signed()),
            file,
            is_cached_only: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Millis;
    use crate::site::disk::Root;

    #[test]
    fn a_read_sets_atime_after_a_change_and_once_a_day() {
        let place = tempfile::tempdir().expect("temporary directory");
        let path = place.path().join("file");
        std::fs::write(&path, "x").expect("write");
        let file = File::open(path).expect("open");
        let mut opened = OpenedFile::of(file).expect("fstat");
        let (changed, nanoseconds) = opened.identity.changed();
        let now = |later: i64| Now {
            monotonic: Millis(0),
            unix_secs: (changed + later).cast_unsigned(),
        };
        for (accessed, later, is_noted) in [
            ((changed, nanoseconds), 1, true),
            ((changed, nanoseconds + 1), 1, false),
            ((changed + 10, 0), 10 + 86_000, false),
            ((changed + 10, 0), 10 + 86_400, true),
            ((-1, 0), 1, true),
        ] {
            opened.accessed = accessed;
            let is_read_noted = |times| opened.is_read_noted(times, now(later));
            assert_eq!(is_read_noted(AccessTimes::Relative), is_noted, "{later}");
            assert!(!is_read_noted(AccessTimes::Never) && is_read_noted(AccessTimes::Always));
        }
    }

    #[test]
    fn under_no_policy_a_cached_open_leaves_the_root() {
        let place = tempfile::tempdir().expect("temporary directory");
        std::fs::create_dir(place.path().join("root")).expect("mkdir");
        std::fs::write(place.path().join("root/a..b"), "x").expect("write");
        std::fs::write(place.path().join("secret"), "x").expect("write");
        let root = Root::open(&place.path().join("root")).expect("the root");
        let directory = root.directory();
        let outside = place.path().join("secret");
        let outside = outside.as_os_str().as_encoded_bytes();
        for policy in [LinkPolicy::Inside, LinkPolicy::Never, LinkPolicy::Anywhere] {
            let resolver = Resolver::with_policy(policy);
            for path in [&b"../secret"[..], b"x/../../secret", outside] {
                let search_root = SearchRoot::new(&directory, &resolver, ProbeScope::Cached);
                assert!(search_root.open(path).is_err(), "{policy:?}");
            }
            // A rename anywhere in the system makes the kernel give up.
            let opens = (0..1_000).any(|_| {
                let search_root = SearchRoot::new(&directory, &resolver, ProbeScope::Cached);
                search_root.open(b"a..b").is_ok()
            });
            assert!(opens, "{policy:?}");
        }
    }
}
