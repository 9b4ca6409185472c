//! The paths that the sandbox leaves to the server.
//!
//! A rule of Landlock binds a directory itself, not its name, and holds for everything below the directory. So a
//! name whose file or directory may be replaced is granted by the directory above it:
//!
//! ```text
//!   root = "/srv/site/current"                 reads below   because
//!     current -> releases/7                    /srv/site                the link may be replaced
//!                                              /srv/site/releases       the link may lead to releases/8
//!   --config /etc/abide/abide.toml             /etc/abide               an editor replaces the file
//!   key = "/etc/cert/live/a/key.pem"           /etc/cert/live/a         a renewal replaces the link
//!     key.pem -> ../../archive/a/key1.pem      /etc/cert/archive/a      the link may lead to key2.pem
//!   access_log.path = "/var/log/abide/a.log"   /var/log/abide (writes)  logrotate renames the file
//! ```
//!
//! The directory `/` is granted only if it is a root itself, because a rule for it would allow everything. A
//! root, file or link in `/` is granted by itself, and cannot be replaced without a restart.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use crate::config::{AccessLogTarget, Config, Endpoint, SymlinkPolicy};
use crate::server::access_log;
use crate::site::disk::HUGE_PAGES_SETTING;

/// The largest number of links on the way to a path. The kernel has the same limit.
const MAX_LINKS: u32 = 40;

/// A right that the server has below a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Read files and list directories.
    Read,
    /// Create and write files.
    WriteLog,
    /// Make sockets and remove files.
    HoldSocket,
}

/// A path and a right below it.
#[derive(Debug)]
pub struct Grant {
    /// The right below `path`.
    pub right: Right,
    /// The path, without links.
    pub path: PathBuf,
    /// The file or directory at `path`, opened with O_PATH. It stays open, so that its inode number is not used again.
    pub fd: OwnedFd,
    /// Whether it is a directory.
    pub is_directory: bool,
    id: FileId,
}

/// The device and inode of a file.
type FileId = (u64, u64);

/// All that the sandbox leaves to the server.
#[derive(Debug)]
pub struct Grants(Vec<Grant>);

impl Grants {
    /// The paths that `config` names, as they are now. `file` is the file that `config` was read from, if
    /// [it can be read again](is_lasting_file). A path that does not exist or may not be looked up grants
    /// nothing; opening it then says why.
    #[must_use]
    pub fn of(config: &Config, file: Option<&Path>) -> Grants {
        let mut wanted = BTreeSet::new();
        // The server reads this setting of the kernel when it caches the first large file.
        wanted.insert((Right::Read, PathBuf::from(HUGE_PAGES_SETTING)));
        let read = |path: &Path| {
            readable_for(path)
                .into_iter()
                .map(|path| (Right::Read, path))
        };
        for site in config.sites() {
            wanted.extend(read(&site.root));
            wanted.extend(site.certificate_files().flat_map(read));
            if site.symlinks == SymlinkPolicy::Anywhere {
                wanted.insert((Right::Read, PathBuf::from("/")));
            }
        }
        wanted.extend(file.into_iter().flat_map(read));
        if let Some(AccessLogTarget::File(path)) = &config.access_log.target {
            wanted.extend(writable_for(path).map(|path| (Right::WriteLog, path)));
        }
        for address in config.listen.iter().chain(&config.admin.listen) {
            if let Endpoint::Unix(path) = &address.endpoint {
                let directory = directory_of(path).filter(|directory| !is_top(directory));
                wanted.extend(directory.map(|path| (Right::HoldSocket, path)));
            }
        }
        let is_covered = |(right, path): &(Right, PathBuf)| {
            let mut above = path.ancestors().skip(1);
            above.any(|above| wanted.contains(&(*right, above.to_owned())))
        };
        let needed = wanted.iter().filter(|wanted| !is_covered(wanted));
        Grants(
            needed
                .filter_map(|(right, path)| Grant::open(*right, path))
                .collect(),
        )
    }

    /// The paths with their rights.
    pub fn iter(&self) -> impl Iterator<Item = &Grant> {
        self.0.iter()
    }

    /// Whether the directory `root` may be read.
    #[must_use]
    pub fn allows_root(&self, root: &Path) -> bool {
        fs::canonicalize(root).is_ok_and(|root| self.allows(Right::Read, &root))
    }

    /// Whether the file at `path` may be read.
    #[must_use]
    pub fn allows_file(&self, path: &Path) -> bool {
        self.allows_root(path)
    }

    /// Whether an access log at `path` may be written.
    #[must_use]
    pub fn allows_log(&self, path: &Path) -> bool {
        let is_allowed = |path: PathBuf| self.allows(Right::WriteLog, &path);
        access_log::is_own_descriptor(path) || resolved_above(path).is_some_and(is_allowed)
    }

    /// Whether a unix socket at `path` may be made and removed.
    #[must_use]
    pub fn allows_socket(&self, path: &Path) -> bool {
        resolved_above(path).is_some_and(|path| self.allows(Right::HoldSocket, &path))
    }

    /// Whether `path` or a directory above it is granted. There is no link on `path`.
    fn allows(&self, right: Right, path: &Path) -> bool {
        let found = path
            .ancestors()
            .filter_map(|above| fs::symlink_metadata(above).ok());
        let ids: Vec<FileId> = found.map(|metadata| id_of(&metadata)).collect();
        let mut with_right = self.0.iter().filter(|grant| grant.right == right);
        with_right.any(|grant| ids.contains(&grant.id))
    }
}

impl Grant {
    fn open(right: Right, path: &Path) -> Option<Grant> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).ok()?;
        let stat = rustix::fs::fstat(&fd).ok()?;
        Some(Grant {
            right,
            path: path.to_owned(),
            fd,
            is_directory: FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
            id: (stat.st_dev, stat.st_ino),
        })
    }
}

/// Whether `path` is a regular file that can be read again. `/dev/stdin` and the pipe of a shell's `<(...)`
/// cannot.
#[must_use]
pub fn is_lasting_file(path: &Path) -> bool {
    let is_transient = ["/dev", "/proc"].iter().any(|top| path.starts_with(top));
    !is_transient && fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}

/// The paths below which `path` and its successors may be read.
fn readable_for(path: &Path) -> Vec<PathBuf> {
    let Ok(target) = fs::canonicalize(path) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = directory_of(path).into_iter().collect();
    paths.extend(directories_of_targets(path));
    paths.retain(|path| !is_top(path));
    if !paths.iter().any(|path| target.starts_with(path)) {
        paths.push(target);
    }
    paths
}

/// The path below which the access log at `path` may be written. `None` if the log is not opened by its path.
fn writable_for(path: &Path) -> Option<PathBuf> {
    if access_log::is_standard_stream(path) {
        return None;
    }
    if access_log::is_own_descriptor(path) {
        // A pipe has no path, and needs no right.
        return fs::canonicalize(path).ok();
    }
    let is_device = |metadata: Metadata| {
        let kind = metadata.file_type();
        kind.is_char_device() || kind.is_block_device()
    };
    let directory = directory_of(path)?;
    if is_top(&directory) {
        // The file must exist to be granted. If it cannot be made, opening the log says why.
        let _ = access_log::append_to(path);
    } else if !fs::symlink_metadata(path).is_ok_and(is_device) {
        return Some(directory);
    }
    resolved_above(path)
}

/// The directory that contains the name `path`, without links.
fn directory_of(path: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).ok()?;
    match absolute.file_name() {
        Some(_) => fs::canonicalize(absolute.parent()?).ok(),
        // It ends with `..`.
        None => fs::canonicalize(absolute)
            .ok()?
            .parent()
            .map(Path::to_owned),
    }
}

/// `path` without links, except that its last name may be one.
fn resolved_above(path: &Path) -> Option<PathBuf> {
    Some(directory_of(path)?.join(path.file_name()?))
}

/// For each link on the way to `path`, the directory that contains the name to which the link leads.
fn directories_of_targets(path: &Path) -> Vec<PathBuf> {
    let Ok(absolute) = std::path::absolute(path) else {
        return Vec::new();
    };
    let mut directories = Vec::new();
    let mut here = PathBuf::from("/");
    let mut pending = names_reversed(&absolute);
    let mut links = 0;
    while let Some(name) = pending.pop() {
        if name == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&name);
        let Ok(target) = fs::read_link(&next) else {
            here = next;
            continue;
        };
        links += 1;
        if links > MAX_LINKS {
            break;
        }
        directories.extend(directory_of(&here.join(&target)));
        if target.is_absolute() {
            here = PathBuf::from("/");
        }
        pending.extend(names_reversed(&target));
    }
    directories
}

/// The names in `path`, `..` included, the last one first.
fn names_reversed(path: &Path) -> Vec<OsString> {
    let names = path.components().rev().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    names.collect()
}

fn is_top(path: &Path) -> bool {
    path == Path::new("/")
}

fn id_of(metadata: &Metadata) -> FileId {
    (metadata.dev(), metadata.ino())
}

#[cfg(test)]
#[path = "grants/tests.rs"]
mod tests;
