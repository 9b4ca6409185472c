//! The root directory of a site, whose path is resolved again at intervals.
//!
//! A site is often deployed by swapping a link, `current -> releases/8`. So the root path is resolved
//! again at most once a second. If it names another directory, all facts about the old one are dropped.
//!
//! On a slow disk resolutions can overlap and end in any order. Each takes a ticket when it begins, and
//! its result counts unless a later one has ended before. So a disk that takes longer than a second
//! delays a swap, but never hides it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rustix::fs::{FsWord, Mode, OFlags, StatVfsMountFlags};

use crate::clock::Millis;
use crate::site::waiting::{MayBlock, PendingRevalidation, WouldBlockOnDisk};

/// The interval at which the root path is resolved again, in milliseconds.
pub const RESOLVE_EVERY_MILLIS: u64 = 1_000;

/// The types of file systems on local disks that support RWF_NOWAIT, as statfs(2) reports them: ext2 to
/// ext4, XFS, Btrfs and F2FS.
const LOCAL_DISKS: [FsWord; 4] = [0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010];

/// A file system in memory.
const TMPFS: FsWord = 0x0102_1994;

/// When a file system sets the access time (atime) of a file that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessTimes {
    /// Never: noatime in mount(8).
    Never,
    /// After a change of the file, and once a day: relatime.
    Relative,
    /// At each read.
    Always,
}

/// How a file system is used without waiting for a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CachedAccessKind {
    /// The file system reports what it would have to wait for, except for the access times that it sets.
    OnDisk(AccessTimes),
    /// There is nothing to wait for: the files are memory, like that of the process.
    InMemory,
}

/// The root path and the directory that it currently names.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    current: RwLock<ResolvedRoot>,
    /// The number of resolutions that have begun.
    tickets: AtomicU64,
    /// The generation of `current`. The hot path reads it without the lock.
    generation: AtomicU64,
    resolved_at: AtomicU64,
    missing: AtomicBool,
    /// The order for a resolution, if one is pending.
    pub pending: PendingRevalidation,
}

/// The result of the last resolution.
#[derive(Debug)]
struct ResolvedRoot {
    directory: Arc<RootDirectory>,
    /// The ticket of that resolution.
    ticket: u64,
}

/// An open root directory.
#[derive(Debug)]
pub struct RootDirectory {
    /// Opened with O_PATH, to look up names in it.
    pub fd: OwnedFd,
    /// The number of directories that the root path named before this one.
    pub generation: u64,
    /// The device of its file system.
    pub device: u64,
    /// How the file system can be used without waiting for a disk; `None` if it cannot.
    pub cached_access: Option<CachedAccessKind>,
    inode: u64,
}

impl Root {
    /// Opens the directory at `path`.
    ///
    /// # Errors
    /// If it does not exist, is not a directory, or may not be read or searched.
    pub fn open(path: &Path) -> io::Result<Root> {
        // Opening with O_PATH checks no permission on the directory itself.
        rustix::fs::accessat(
            rustix::fs::CWD,
            path,
            rustix::fs::Access::READ_OK | rustix::fs::Access::EXEC_OK,
            rustix::fs::AtFlags::empty(),
        )?;
        let mut directory = RootDirectory::open(path, 0)?;
        directory.cached_access = cached_access(&directory.fd);
        Ok(Root {
            path: path.to_owned(),
            current: RwLock::new(ResolvedRoot {
                directory: Arc::new(directory),
                ticket: 0,
            }),
            tickets: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            resolved_at: AtomicU64::new(0),
            missing: AtomicBool::new(false),
            pending: PendingRevalidation::default(),
        })
    }

    /// The generation of the current directory; entries of another one are invalid. `None` if the path
    /// must be resolved again.
    #[must_use]
    pub fn known_generation(&self, now: Millis) -> Option<u64> {
        (self.age_millis(now) < RESOLVE_EVERY_MILLIS).then(|| self.last_generation())
    }

    /// The generation of the last resolution, however old it is.
    #[must_use]
    pub fn last_generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Milliseconds since the path was resolved.
    #[must_use]
    pub fn age_millis(&self, now: Millis) -> u64 {
        now.since(Millis(self.resolved_at.load(Ordering::Relaxed)))
    }

    /// The generation of the current directory. Resolves the path again when that is due.
    ///
    /// # Errors
    /// [`WouldBlockOnDisk`] if the path must be resolved and `may_block` excludes that.
    pub fn generation(&self, may_block: MayBlock, now: Millis) -> Result<u64, WouldBlockOnDisk> {
        let resolved_at = self.resolved_at.load(Ordering::Relaxed);
        if now.0.saturating_sub(resolved_at) >= RESOLVE_EVERY_MILLIS {
            may_block.disk()?;
            // One thread wins the exchange and resolves the path. The others use the last result.
            let won = self.resolved_at.compare_exchange(
                resolved_at,
                now.0,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            if won.is_ok() {
                self.resolve_again();
            }
        }
        Ok(self.last_generation())
    }

    /// Notes that the path has been resolved, and that this ended at `now`.
    pub fn confirm(&self, now: Millis) {
        self.resolved_at.store(now.0, Ordering::Relaxed);
    }

    /// The current directory.
    #[must_use]
    pub fn directory(&self) -> Arc<RootDirectory> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current.directory)
    }

    /// Resolves the path again. Waits for the disk.
    pub fn resolve_again(&self) {
        // Taken before the disk is read, so that tickets have the order of the observations.
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed) + 1;
        match RootDirectory::open(&self.path, 0) {
            Ok(found) => self.apply(found, ticket),
            // The open directory outlives its name, so a deployment that is not atomic causes no errors.
            Err(error) => {
                if !self.missing.swap(true, Ordering::Relaxed) {
                    log::warn!(
                        "the root {}: {error}; serving the directory it last named",
                        self.path.display()
                    );
                }
            }
        }
    }

    /// Applies the result of the resolution with this `ticket`, unless a later one has been applied.
    fn apply(&self, mut found: RootDirectory, ticket: u64) {
        self.missing.store(false, Ordering::Relaxed);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if ticket < current.ticket {
            return;
        }
        current.ticket = ticket;
        let known = &current.directory;
        if (found.device, found.inode) != (known.device, known.inode) {
            log::info!(
                "the root {} names another directory now",
                self.path.display()
            );
            found.generation = known.generation + 1;
            found.cached_access = cached_access(&found.fd);
            self.generation.store(found.generation, Ordering::Release);
            current.directory = Arc::new(found);
        }
    }
}

impl RootDirectory {
    fn open(path: &Path, generation: u64) -> io::Result<RootDirectory> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&fd)?;
        Ok(RootDirectory {
            generation,
            device: stat.st_dev,
            cached_access: None,
            inode: stat.st_ino,
            fd,
        })
    }
}

/// How a file that is in the kernel's memory can be opened and read without waiting. A file system over a
/// network, or in user space, may ask its server at each open, whatever the kernel knows.
fn cached_access(directory: &OwnedFd) -> Option<CachedAccessKind> {
    let kind = rustix::fs::fstatfs(directory).ok()?.f_type;
    if kind == TMPFS {
        return Some(CachedAccessKind::InMemory);
    }
    if !LOCAL_DISKS.contains(&kind) {
        return None;
    }
    let flags = rustix::fs::fstatvfs(directory).ok()?.f_flag;
    Some(CachedAccessKind::OnDisk(
        if flags.intersects(StatVfsMountFlags::NOATIME | StatVfsMountFlags::RDONLY) {
            AccessTimes::Never
        } else if flags.contains(StatVfsMountFlags::RELATIME) {
            AccessTimes::Relative
        } else {
            AccessTimes::Always
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_swapped_link_is_followed_within_a_second() {
        let site = tempfile::tempdir().expect("temporary directory");
        let current = site.path().join("current");
        std::fs::create_dir(site.path().join("1")).expect("mkdir");
        std::fs::create_dir(site.path().join("2")).expect("mkdir");
        symlink("1", &current).expect("link");
        let root = Root::open(&current).expect("open");
        assert_eq!(root.generation(MayBlock::Anywhere, Millis(500)), Ok(0));
        symlink("2", site.path().join("next")).expect("link");
        std::fs::rename(site.path().join("next"), &current).expect("swap");
        assert_eq!(
            root.generation(MayBlock::Anywhere, Millis(999)),
            Ok(0),
            "not before a second has gone by"
        );
        assert_eq!(root.generation(MayBlock::Never, Millis(999)), Ok(0));
        assert_eq!(
            root.generation(MayBlock::Never, Millis(1_000)),
            Err(WouldBlockOnDisk)
        );
        assert_eq!(root.generation(MayBlock::Anywhere, Millis(1_000)), Ok(1));
        assert_eq!(root.directory().generation, 1);
    }

    /// The disk takes longer than the second after which the next resolution begins.
    #[test]
    fn a_slow_resolution_counts_unless_a_later_one_was_faster() {
        let site = tempfile::tempdir().expect("temporary directory");
        let [one, two] = ["1", "2"].map(|name| site.path().join(name));
        for path in [&one, &two] {
            std::fs::create_dir(path).expect("mkdir");
        }
        let root = Root::open(&one).expect("open");
        let found = |path| RootDirectory::open(path, 0).expect("open");
        let [first, second, third] = [1, 2, 3];
        root.apply(found(&two), first);
        assert_eq!(
            root.directory().generation,
            1,
            "a later resolution is in progress"
        );
        root.apply(found(&one), third);
        assert_eq!(root.directory().generation, 2);
        root.apply(found(&two), second);
        assert_eq!(
            root.directory().generation,
            2,
            "a later resolution has ended"
        );
        assert_eq!(root.generation(MayBlock::Anywhere, Millis(0)), Ok(2));
    }

    #[test]
    fn a_removed_root_is_still_served() {
        let site = tempfile::tempdir().expect("temporary directory");
        let path = site.path().join("www");
        std::fs::create_dir(&path).expect("mkdir");
        let root = Root::open(&path).expect("open");
        std::fs::remove_dir(&path).expect("rmdir");
        assert_eq!(root.generation(MayBlock::Anywhere, Millis(5_000)), Ok(0));
        std::fs::create_dir(&path).expect("mkdir");
        assert_eq!(root.generation(MayBlock::Anywhere, Millis(6_000)), Ok(1));
    }

    #[test]
    fn a_missing_root_or_a_file_is_an_error() {
        let site = tempfile::tempdir().expect("temporary directory");
        assert!(Root::open(&site.path().join("none")).is_err());
        std::fs::write(site.path().join("file"), b"").expect("write");
        assert!(Root::open(&site.path().join("file")).is_err());
    }
}
