//! Looks at names below a root that stop at mount points.
//!
//! A file system that is mounted below a root, or linked to, can hang while that of the root answers.
//! The kernel tells that a path leads into it before it asks it anything: openat2(2) with
//! RESOLVE_NO_XDEV. Where that call is refused (an old kernel, a seccomp filter) a look goes anywhere.

use std::cell::Cell;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::identity::Identity;

/// How far a look goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeScope {
    /// Not beyond a mount point.
    WithinMount,
    /// Anywhere. This can hang with any file system.
    Anywhere,
}

/// Some looks below one directory. Links are followed, even out of the root: a look tells whether
/// something has changed, and no more.
#[derive(Debug)]
pub struct PathProbe<'r> {
    root: BorrowedFd<'r>,
    scope: ProbeScope,
    met_mount: Cell<bool>,
}

impl<'r> PathProbe<'r> {
    /// Looks below `root`.
    #[must_use]
    pub fn new(root: BorrowedFd<'r>, scope: ProbeScope) -> PathProbe<'r> {
        PathProbe {
            root,
            scope,
            met_mount: Cell::new(false),
        }
    }

    /// Looks below `root` that go anywhere.
    #[must_use]
    pub fn anywhere(root: BorrowedFd<'r>) -> PathProbe<'r> {
        PathProbe::new(root, ProbeScope::Anywhere)
    }

    /// The identity of what `name` is; `None` if that cannot be told.
    #[must_use]
    pub fn identity(&self, name: &[u8]) -> Option<Identity> {
        self.stat(name).map(|stat| Identity::of_stat(&stat))
    }

    /// Whether `name` is a regular file.
    #[must_use]
    pub fn is_file(&self, name: &[u8]) -> bool {
        self.stat(name)
            .is_some_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file())
    }

    /// Whether `name` is a directory.
    #[must_use]
    pub fn is_directory(&self, name: &[u8]) -> bool {
        self.stat(name)
            .is_some_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir())
    }

    /// Whether a look has ended at a mount point. What the looks have told says nothing then.
    #[must_use]
    pub fn met_mount(&self) -> bool {
        self.met_mount.get()
    }

    fn stat(&self, name: &[u8]) -> Option<Stat> {
        let stat = match self.scope {
            ProbeScope::WithinMount => self.stat_within_mount(name),
            ProbeScope::Anywhere => self.stat_anywhere(name),
        };
        stat.ok()
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
            // The call is not there, or there is no descriptor for it.
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

    /// proc(5) is mounted on every Linux, and not where temporary files are.
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
