//! Opens files below the root. Nothing outside can be opened, unless the policy allows a link to lead there.
//!
//! The kernel enforces this: openat2(2) with RESOLVE_BENEATH. Where the call is refused (an old kernel, a
//! seccomp filter), `walk` opens one component at a time and follows only links that it has read itself.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// NONBLOCK: opening a FIFO must not wait for a writer. NOCTTY: a terminal must not become the
/// controlling terminal. Neither affects regular files.
pub(super) const OPEN_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

/// No path leads out of the root.
pub(super) const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// The largest number of links in one walk, after which it counts as a loop. The kernel has the same limit.
const MAX_LINKS: u32 = 40;

/// How often openat2 is repeated after a race with a rename below the root (EAGAIN).
const MAX_RACES: u32 = 16;

/// The reason why a name could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenError {
    /// No such file, or a component is not a directory, or a name is too long to exist.
    NotFound,
    /// The permissions forbid it.
    Forbidden,
    /// A link leads out of the root.
    Outside,
    /// No descriptor or no kernel memory is left. A later try may succeed.
    Exhausted,
    /// The disk or the file system failed.
    Failed,
}

impl From<Errno> for OpenError {
    fn from(errno: Errno) -> OpenError {
        match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::LOOP | Errno::INVAL => {
                OpenError::NotFound
            }
            // ENXIO and ENODEV: a socket, or a device without a driver. Neither is served.
            Errno::ACCESS | Errno::PERM | Errno::NXIO | Errno::NODEV => OpenError::Forbidden,
            Errno::XDEV => OpenError::Outside,
            Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN => OpenError::Exhausted,
            _ => OpenError::Failed,
        }
    }
}

/// The symbolic links below the root that are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LinkPolicy {
    /// Links that stay inside the root. An absolute link does if its text begins with the path of the
    /// root: the real path, or the path that the root was opened by.
    #[default]
    Inside,
    /// None: a name that is a link, or has one in its path, is forbidden.
    Never,
    /// All, wherever they lead. Then every user who may write below the root can publish each file that
    /// the server may read.
    Anywhere,
}

/// Opens files below a root directory.
#[derive(Debug)]
pub struct Resolver {
    policy: LinkPolicy,
    /// The absolute path that the root was opened by; empty if it is not known.
    root_path: PathBuf,
    has_openat2: AtomicBool,
}

impl Resolver {
    /// A resolver that follows the links that stay inside the root.
    #[must_use]
    pub fn new() -> Resolver {
        Resolver::with_policy(LinkPolicy::Inside)
    }

    /// A resolver that follows the links that `policy` allows. It tries openat2 first.
    #[must_use]
    pub fn with_policy(policy: LinkPolicy) -> Resolver {
        Resolver {
            policy,
            root_path: PathBuf::new(),
            has_openat2: AtomicBool::new(true),
        }
    }

    /// Sets the path that the root is opened by. Absolute links may begin with it.
    #[must_use]
    pub fn of_root(self, path: &Path) -> Resolver {
        // Without a working directory a relative path cannot be made absolute.
        let root_path = std::path::absolute(path).unwrap_or_default();
        Resolver { root_path, ..self }
    }

    /// Opens `path` below `root` for reading, without blocking. `path` is relative, without a leading
    /// slash, or `.` for the root itself. Links are followed as the policy says. An absolute path, or
    /// one that leaves the root by `..`, is refused under every policy.
    ///
    /// # Errors
    /// [`OpenError`]. A file of any type can be opened, directories included.
    pub fn open(&self, root: BorrowedFd<'_>, path: &[u8]) -> Result<File, OpenError> {
        let opened = match self.policy {
            LinkPolicy::Anywhere => open_anywhere(root, path),
            LinkPolicy::Inside | LinkPolicy::Never => self.open_inside(root, path),
        };
        opened.map(File::from).map_err(|errno| match errno {
            // Without links there is no loop: the kernel means that it met a link.
            Errno::LOOP if self.policy == LinkPolicy::Never => OpenError::Forbidden,
            errno => OpenError::from(errno),
        })
    }

    /// The links that are followed.
    pub(super) fn policy(&self) -> LinkPolicy {
        self.policy
    }

    fn open_inside(&self, root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
        if self.has_openat2.load(Ordering::Relaxed) {
            match open_beneath(root, path, self.policy) {
                // ENOSYS: the kernel is older than 5.6. A seccomp filter may return EPERM or EINVAL,
                // which could also be about the file; so the walk decides.
                Err(Errno::NOSYS) => {
                    log::info!("openat2 is not available; walking the path instead");
                    self.has_openat2.store(false, Ordering::Relaxed);
                }
                Err(Errno::PERM | Errno::INVAL) => return self.walk(root, path),
                // RESOLVE_BENEATH refuses every absolute link; the walk accepts those that end inside
                // the root.
                Err(Errno::XDEV) if self.policy == LinkPolicy::Inside => {
                    return self.walk(root, path);
                }
                result => return result,
            }
        }
        self.walk(root, path)
    }

    /// Does what RESOLVE_BENEATH does, and also follows absolute links that end inside the root. Every
    /// directory on the path stays open, so that `..` returns to the directory before it, whatever is
    /// renamed meanwhile. The kernel opens single names and follows no link, so no race leads outside.
    fn walk(&self, root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
        let mut pending = components_reversed(path)?;
        let mut trail: Vec<OwnedFd> = Vec::new();
        let mut links = 0;
        while let Some(name) = pending.pop() {
            let here = trail.last().map_or(root, AsFd::as_fd);
            if name == b".." {
                // `..` above the root.
                trail.pop().ok_or(Errno::XDEV)?;
                continue;
            }
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let found = rustix::fs::openat(here, name.as_slice(), flags, Mode::empty())?;
            match FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) {
                FileType::Symlink => {
                    links += 1;
                    if links > MAX_LINKS || self.policy == LinkPolicy::Never {
                        return Err(Errno::LOOP);
                    }
                    let target = rustix::fs::readlinkat(&found, "", Vec::new())?;
                    let target = Path::new(std::ffi::OsStr::from_bytes(target.as_bytes()));
                    if target.is_absolute() {
                        let below = self.below(root, target)?;
                        trail.clear();
                        pending.extend(components_reversed(below.as_os_str().as_bytes())?);
                    } else {
                        pending.extend(components_reversed(target.as_os_str().as_bytes())?);
                    }
                }
                FileType::Directory => trail.push(found),
                // If components or a slash follow a name, it must be a directory.
                _ if !pending.is_empty() || path.ends_with(b"/") => return Err(Errno::NOTDIR),
                // NOFOLLOW: if a link has replaced the name meanwhile, the call fails with ELOOP.
                _ => {
                    return rustix::fs::openat(
                        here,
                        name.as_slice(),
                        OPEN_FLAGS | OFlags::NOFOLLOW,
                        Mode::empty(),
                    );
                }
            }
        }
        let here = trail.last().map_or(root, AsFd::as_fd);
        rustix::fs::openat(here, ".", OPEN_FLAGS, Mode::empty())
    }

    /// The part of an absolute link's `target` that is below the root.
    fn below<'t>(&self, root: BorrowedFd<'_>, target: &'t Path) -> Result<&'t Path, Errno> {
        let by_own_name = Some(&self.root_path)
            .filter(|path| path.is_absolute())
            .and_then(|path| target.strip_prefix(path).ok());
        match by_own_name {
            Some(below) => Ok(below),
            None => target
                .strip_prefix(real_path(root)?)
                .map_err(|_| Errno::XDEV),
        }
    }
}

impl Default for Resolver {
    fn default() -> Resolver {
        Resolver::new()
    }
}

fn open_beneath(root: BorrowedFd<'_>, path: &[u8], policy: LinkPolicy) -> Result<OwnedFd, Errno> {
    let mut resolve = BENEATH;
    if policy == LinkPolicy::Never {
        resolve |= ResolveFlags::NO_SYMLINKS;
    }
    let mut races = 0;
    loop {
        match rustix::fs::openat2(root, path, OPEN_FLAGS, Mode::empty(), resolve) {
            Err(Errno::AGAIN) if races < MAX_RACES => races += 1,
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Opens `path` and lets the kernel follow every link. After a link `..` means the parent of its target,
/// which may be anywhere, so a `path` with `..` is refused. Request paths have none.
fn open_anywhere(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    if components_reversed(path)?.iter().any(|name| name == b"..") {
        return Err(Errno::XDEV);
    }
    rustix::io::retry_on_intr(|| rustix::fs::openat(root, path, OPEN_FLAGS, Mode::empty()))
}

/// The path of `root` according to the kernel. Without /proc it is unknown, and every absolute link
/// counts as leading outside. The path only decides which names are opened below `root`: if it is wrong,
/// as after a rename, at worst another file of the site is opened.
fn real_path(root: BorrowedFd<'_>) -> Result<PathBuf, Errno> {
    std::fs::read_link(format!("/proc/self/fd/{}", root.as_raw_fd())).map_err(|_| Errno::XDEV)
}

/// The components of `path`, the last one first. An absolute path is refused.
fn components_reversed(path: &[u8]) -> Result<Vec<Vec<u8>>, Errno> {
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name.as_bytes().to_vec()),
            Component::ParentDir => names.push(b"..".to_vec()),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return Err(Errno::XDEV),
        }
    }
    names.reverse();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    /// A site with links of every kind, next to a file outside its root.
    fn tree() -> tempfile::TempDir {
        let place = tempfile::tempdir().expect("temporary directory");
        let root = place.path().join("root");
        std::fs::create_dir_all(root.join("a/b")).expect("mkdir");
        std::fs::write(place.path().join("secret"), "secret").expect("write");
        std::fs::write(root.join("a/b/file"), "content").expect("write");
        symlink("b/file", root.join("a/inside")).expect("link");
        symlink("../a/b", root.join("a/up")).expect("link");
        symlink("/etc/hostname", root.join("absolute")).expect("link");
        symlink("../secret", root.join("escape")).expect("link");
        symlink("a/../../secret", root.join("sly")).expect("link");
        symlink("loop", root.join("loop")).expect("link");
        place
    }

    /// Opens `path` with openat2 and with the walk, which must agree.
    fn both(place: &tempfile::TempDir, path: &str) -> Result<String, OpenError> {
        both_by(LinkPolicy::Inside, place, path)
    }

    fn both_by(
        policy: LinkPolicy,
        place: &tempfile::TempDir,
        path: &str,
    ) -> Result<String, OpenError> {
        let root = File::open(place.path().join("root")).expect("open the root");
        let read = |resolver: &Resolver| {
            resolver
                .open(root.as_fd(), path.as_bytes())
                .map(|mut file| {
                    let mut content = String::new();
                    // A directory can be opened but not read.
                    let _ = file.read_to_string(&mut content);
                    content
                })
        };
        let by_kernel = read(&Resolver::with_policy(policy));
        let by_walk = read(&Resolver {
            policy,
            root_path: PathBuf::new(),
            has_openat2: AtomicBool::new(false),
        });
        assert_eq!(by_kernel, by_walk, "{path}");
        by_kernel
    }

    #[test]
    fn files_and_links_inside_the_root_open() {
        let place = tree();
        for path in [
            "a/b/file",
            "a/inside",
            "a/up/file",
            "a/up/../inside",
            "./a/./b/file",
        ] {
            assert_eq!(both(&place, path), Ok("content".into()), "{path}");
        }
        assert!(both(&place, ".").is_ok());
        assert!(both(&place, "a/").is_ok());
    }

    #[test]
    fn nothing_outside_the_root_opens() {
        let place = tree();
        for path in [
            "absolute",
            "escape",
            "sly",
            "../secret",
            "a/../../secret",
            "/etc/hostname",
        ] {
            assert_eq!(both(&place, path), Err(OpenError::Outside), "{path}");
        }
    }

    /// A deployment switches `current` to the next release, and links contain that path.
    #[test]
    fn an_absolute_link_may_begin_with_the_path_that_the_root_was_opened_by() {
        let place = tree();
        let current = place.path().join("current");
        symlink("root", &current).expect("link");
        let root = File::open(&current).expect("the root");
        let link = |target: &Path, name: &str| symlink(target, current.join(name)).expect("link");
        link(&current.join("a/b/file"), "by-current");
        link(&current.join("../secret"), "climbs");
        link(&place.path().join("current-2/file"), "longer");
        let open = |resolver: &Resolver, path: &[u8]| resolver.open(root.as_fd(), path).map(drop);
        let own = Resolver::new().of_root(&current);
        assert_eq!(open(&own, b"by-current"), Ok(()));
        assert_eq!(
            open(&Resolver::new(), b"by-current"),
            Err(OpenError::Outside)
        );
        for path in [&b"climbs"[..], b"longer"] {
            assert_eq!(open(&own, path), Err(OpenError::Outside));
        }
    }

    #[test]
    fn an_absolute_link_opens_when_it_ends_inside_the_root() {
        let place = tree();
        let real = place.path().canonicalize().expect("real path");
        let root = real.join("root");
        let beside = real.join("rooted");
        std::fs::create_dir(&beside).expect("mkdir");
        std::fs::write(beside.join("file"), "secret").expect("write");
        let link = |target: &Path, name: &str| symlink(target, root.join(name)).expect("link");
        link(&root.join("a/b/file"), "full");
        link(&root.join("a/b"), "a/directory");
        link(&root.join("full"), "a/b/chain");
        link(&root.join("a/up/file"), "mixed");
        link(&root, "home");
        for path in [
            "full",
            "a/directory/file",
            "a/directory/../inside",
            "a/b/chain",
            "mixed",
            "home/a/inside",
            "home/home/full",
        ] {
            assert_eq!(both(&place, path), Ok("content".into()), "{path}");
        }
        link(&beside.join("file"), "longer");
        link(&root.join("../secret"), "climbs");
        link(&root.join("a/../../secret"), "climbs-later");
        link(&root.join("escape"), "to-escape");
        link(&real, "parent");
        for path in [
            "longer",
            "climbs",
            "climbs-later",
            "to-escape",
            "home/../secret",
            "parent/root/full",
        ] {
            assert_eq!(both(&place, path), Err(OpenError::Outside), "{path}");
        }
        link(&root.join("circle"), "circle");
        link(&root.join("none"), "dangling");
        for path in ["circle", "dangling", "full/"] {
            assert_eq!(both(&place, path), Err(OpenError::NotFound), "{path}");
        }
    }

    #[test]
    fn a_missing_or_impossible_name_is_not_found() {
        let place = tree();
        let long = "x".repeat(300);
        for path in [
            "none",
            "none/file",
            "a/b/file/",
            "a/b/file/x",
            "loop",
            long.as_str(),
        ] {
            assert_eq!(both(&place, path), Err(OpenError::NotFound), "{path}");
        }
    }

    #[test]
    fn without_links_no_component_may_be_a_link() {
        let place = tree();
        let by = |path| both_by(LinkPolicy::Never, &place, path);
        for path in [
            "a/inside",
            "a/up",
            "a/up/file",
            "absolute",
            "escape",
            "loop",
        ] {
            assert_eq!(by(path), Err(OpenError::Forbidden), "{path}");
        }
        assert_eq!(by("a/b/file"), Ok("content".into()));
        assert_eq!(by("a/b/../b/file"), Ok("content".into()));
        assert_eq!(by("../secret"), Err(OpenError::Outside));
        assert_eq!(by("none"), Err(OpenError::NotFound));
    }

    #[test]
    fn with_every_link_the_path_itself_still_cannot_climb() {
        let place = tree();
        symlink(place.path().join("secret"), place.path().join("root/full")).expect("link");
        symlink(place.path(), place.path().join("root/place")).expect("link");
        let by = |path| both_by(LinkPolicy::Anywhere, &place, path);
        for path in ["escape", "sly", "full", "place/secret"] {
            assert_eq!(by(path), Ok("secret".into()), "{path}");
        }
        for path in ["a/b/file", "a/inside", "a/up/file"] {
            assert_eq!(by(path), Ok("content".into()), "{path}");
        }
        let secret = place.path().join("secret");
        let absolute = secret.to_str().expect("UTF-8");
        for path in ["../secret", "a/../../secret", "place/../secret", absolute] {
            assert_eq!(by(path), Err(OpenError::Outside), "{path}");
        }
        for path in ["none", "loop", "a/b/file/"] {
            assert_eq!(by(path), Err(OpenError::NotFound), "{path}");
        }
        assert!(by(".").is_ok());
    }

    #[test]
    fn a_fifo_opens_without_blocking() {
        let place = tree();
        let fifo = place.path().join("root/fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).expect("mkfifo");
        assert!(both(&place, "fifo").is_ok());
    }
}
