//! Probes names below a root with stat(2), without crossing mount points.
//!
//! A file system that is mounted below a root, or linked to, can hang while that of the root answers.
//! openat2(2) with RESOLVE_NO_XDEV reports that a path leads into another file system without accessing
//! it. Where that call is refused (an old kernel, a seccomp filter), a probe crosses mount points.
//!
//! With RESOLVE_CACHED it answers from the kernel's memory alone, or says that it would need the disk.

use std::cell::Cell;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::identity::Identity;

/// The file systems that a probe may access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeScope {
    /// None: a probe ends where the kernel's memory does not have the name, and at a mount point.
    Cached,
    /// Only that of the root: a probe ends at a mount point.
    WithinMount,
    /// Any. A probe can hang with each of them.
    Anywhere,
}

/// Probes names below one directory. Links are followed, even out of the root: a probe only tells
/// whether something has changed.
#[derive(Debug)]
pub struct PathProbe<'r> {
    root: BorrowedFd<'r>,
    scope: ProbeScope,
    met_mount: Cell<bool>,
    needs_disk: Cell<bool>,
}

impl<'r> PathProbe<'r> {
    /// A probe of names below `root`.
    #[must_use]
    pub fn new(root: BorrowedFd<'r>, scope: ProbeScope) -> PathProbe<'r> {
        PathProbe {
            root,
            scope,
            met_mount: Cell::new(false),
            needs_disk: Cell::new(false),
        }
    }

    /// A probe of names below `root` that crosses mount points.
    #[must_use]
    pub fn anywhere(root: BorrowedFd<'r>) -> PathProbe<'r> {
        PathProbe::new(root, ProbeScope::Anywhere)
    }

    /// The identity of the file `name`; `None` if stat(2) fails.
    #[must_use]
    pub fn identity(&self, name: &[u8]) -> Option<Identity> {
        self.stat(name).map(|stat| Identity::of_stat(&stat))
    }

    /// The type of the file `name`; `None` if stat(2) fails.
    #[must_use]
    pub fn file_type(&self, name: &[u8]) -> Option<FileType> {
        self.stat(name)
            .map(|stat| FileType::from_raw_mode(stat.st_mode))
    }

    /// Whether `name` is a regular file.
    #[must_use]
    pub fn is_file(&self, name: &[u8]) -> bool {
        self.file_type(name).is_some_and(FileType::is_file)
    }

    /// Whether a probe has met a mount point. If so, the results so far mean nothing.
    #[must_use]
    pub fn met_mount(&self) -> bool {
        self.met_mount.get()
    }

    /// The scope of this probe.
    #[must_use]
    pub fn scope(&self) -> ProbeScope {
        self.scope
    }

    /// Whether a probe was not [`Cached`](ProbeScope::Cached). If so, the results so far mean nothing.
    #[must_use]
    pub fn needs_disk(&self) -> bool {
        self.needs_disk.get()
    }

    /// Notes that a step of the lookup that the probe belongs to needs the disk.
    pub fn note_disk(&self) {
        self.needs_disk.set(true);
    }

    fn stat(&self, name: &[u8]) -> Option<Stat> {
        let stat = match self.scope {
            ProbeScope::Cached => self.stat_cached(name),
            ProbeScope::WithinMount => self.stat_within_mount(name),
            ProbeScope::Anywhere => self.stat_anywhere(name),
        };
        stat.ok()
    }

    fn stat_cached(&self, name: &[u8]) -> Result<Stat, Errno> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_XDEV | ResolveFlags::CACHED;
        match rustix::fs::openat2(self.root, name, flags, Mode::empty(), resolve) {
            Ok(found) => rustix::fs::fstat(found),
            Err(error @ (Errno::NOENT | Errno::NOTDIR)) => Err(error),
            // EAGAIN: the disk is needed. Other errors, as at a mount point, are left to a thread that may
            // block, which looks again.
            Err(error) => {
                self.note_disk();
                Err(error)
            }
        }
    }

    fn stat_within_mount(&self, name: &[u8]) -> Result<Stat, Errno> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let opened = rustix::io::retry_on_intr(|| {
            rustix::fs::openat2(self.root, name, flags, Mode::empty(), ResolveFlags::NO_XDEV)
        });
        match opened {
            Ok(found) => rustix::fs::fstat(found),
            Err(Errno::XDEV) => {
                self.met_mount.set(true);
                Err(Errno::XDEV)
            }
            // The call is missing or filtered, or no descriptor is left.
            Err(Errno::NOSYS | Errno::PERM | Errno::INVAL | Errno::MFILE | Errno::NFILE) => {
                self.stat_anywhere(name)
            }
            Err(error) => Err(error),
        }
    }

    fn stat_anywhere(&self, name: &[u8]) -> Result<Stat, Errno> {
        rustix::fs::statat(self.root, name, AtFlags::empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    /// proc(5) is mounted on every Linux system, and temporary files are not below it.
    #[test]
    fn a_probe_ends_at_a_mount_point_unless_it_may_cross() {
        let place = tempfile::tempdir().expect("temporary directory");
        fs::write(place.path().join("file"), "").expect("write");
        fs::create_dir(place.path().join("directory")).expect("mkdir");
        symlink("/proc/version", place.path().join("beyond")).expect("link");
        symlink("file", place.path().join("inside")).expect("link");
        let root = File::open(place.path()).expect("the root");
        for scope in [ProbeScope::WithinMount, ProbeScope::Anywhere] {
            let probe = PathProbe::new(root.as_fd(), scope);
            assert!(probe.is_file(b"file") && probe.is_file(b"inside"));
            assert_eq!(probe.identity(b"file"), probe.identity(b"inside"));
            assert!(!probe.is_file(b"directory") && !probe.is_file(b"none"));
            assert!(!probe.met_mount());
            let is_within = scope == ProbeScope::WithinMount;
            assert_eq!(probe.is_file(b"beyond"), !is_within);
            assert_eq!(probe.met_mount(), is_within);
        }
    }
}
