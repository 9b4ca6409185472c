//! Reading a directory below the root.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::fs::{Access, AtFlags, Dir, FileType, Stat};
use rustix::io::Errno;

use crate::site::disk::{OpenError, Resolver, RootDirectory};

/// The largest number of listed entries. Of a larger directory, the listing has the first entries that the
/// file system returns. Nobody reads a longer page, and a browser already needs seconds to show this one.
pub const MAX_ENTRIES: usize = 100_000;

/// The largest total size of names, in bytes. A hostile name takes up to nine bytes of the page for each of
/// its bytes, because it is escaped twice. [`MAX_ENTRIES`] ordinary names need a quarter of this.
pub const MAX_NAME_BYTES: usize = 8 * 1024 * 1024;

/// The largest number of names that are read, whether they are listed or not.
pub const MAX_NAMES: usize = 1_000_000;

/// The directory to list.
#[derive(Debug, Clone, Copy)]
pub struct ListedDirectory<'a> {
    /// The root directory of the site.
    pub root: &'a Arc<RootDirectory>,
    /// Opens the directory, and the targets of links in it.
    pub resolver: &'a Arc<Resolver>,
    /// The path of the directory, decoded and normalised. It begins and ends with a slash.
    pub path: &'a [u8],
}

/// Reads the entries of a directory.
#[derive(Debug)]
pub struct DirectoryScan {
    root: Arc<RootDirectory>,
    resolver: Arc<Resolver>,
    directory: File,
    names: Dir,
    shows_hidden: bool,
    /// The path of the directory below the root, followed by the name of the last link.
    link_path: Vec<u8>,
    path_len: usize,
    looked_at: usize,
    listed: usize,
    name_bytes: usize,
    is_complete: bool,
}

/// The numbers and sizes of the entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The number of directories.
    pub directories: usize,
    /// The number of files.
    pub files: usize,
    /// The total size of all files, in bytes.
    pub bytes: u64,
    /// The total size of all names, in bytes.
    pub name_bytes: usize,
    /// Whether the listing is complete: false if a limit ended the reading.
    pub is_complete: bool,
}

/// An entry of a directory that a client can request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The name as bytes.
    pub name: Box<[u8]>,
    /// The type of the entry, or of the target of a link.
    pub kind: EntryKind,
    /// The size of the content in bytes; without meaning for a directory.
    pub size: u64,
    /// The modification time, in seconds since 1970.
    pub modified_unix_secs: i64,
}

/// The types of entries that can be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// A directory. It comes first in every order.
    Directory,
    /// A regular file.
    File,
}

impl ListedDirectory<'_> {
    fn relative(&self) -> &[u8] {
        self.path.strip_prefix(b"/").unwrap_or(self.path)
    }

    /// Opens the directory.
    ///
    /// # Errors
    /// As [`Resolver::open`].
    pub fn open(&self) -> Result<File, OpenError> {
        let relative = self.relative();
        let name = if relative.is_empty() { b"." } else { relative };
        self.resolver.open(self.root.fd.as_fd(), name)
    }
}

impl DirectoryScan {
    /// Starts to read the directory at `listed`.
    ///
    /// # Errors
    /// As [`Resolver::open`]. [`OpenError::NotFound`] if it is not a directory.
    pub fn begin(
        listed: &ListedDirectory<'_>,
        shows_hidden: bool,
    ) -> Result<DirectoryScan, OpenError> {
        let directory = listed.open()?;
        let names = Dir::read_from(&directory)?;
        let relative = listed.relative();
        Ok(DirectoryScan {
            root: Arc::clone(listed.root),
            resolver: Arc::clone(listed.resolver),
            directory,
            names,
            shows_hidden,
            link_path: relative.to_vec(),
            path_len: relative.len(),
            looked_at: 0,
            listed: 0,
            name_bytes: 0,
            is_complete: true,
        })
    }

    /// The generation of the root directory in which the reading started.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.root.generation
    }

    /// Whether no limit has ended the reading.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Reads the next name, which takes three system calls. `Some(None)` if the name is not listed: it is
    /// hidden, has disappeared, or cannot be read. `None` at the end.
    ///
    /// # Errors
    /// As getdents64(2), and [`OpenError::Exhausted`] if there are no descriptors left.
    #[allow(clippy::should_implement_trait, clippy::option_option)]
    pub fn next(&mut self) -> Result<Option<Option<DirectoryEntry>>, OpenError> {
        let Some(found) = self.names.next() else {
            return Ok(None);
        };
        let found = found?;
        self.looked_at += 1;
        if self.looked_at > MAX_NAMES {
            self.is_complete = false;
            return Ok(None);
        }
        let name = found.file_name();
        let bytes = name.to_bytes();
        if !is_listed(bytes, self.shows_hidden) {
            return Ok(Some(None));
        }
        let looked_at = match look_at(self.directory.as_fd(), name)? {
            Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                self.link_path.truncate(self.path_len);
                self.link_path.extend_from_slice(bytes);
                self.follow()?
            }
            other => other,
        };
        let Some(entry) = looked_at.and_then(|stat| entry(bytes, &stat)) else {
            return Ok(Some(None));
        };
        self.name_bytes += bytes.len();
        if self.listed == MAX_ENTRIES || self.name_bytes > MAX_NAME_BYTES {
            self.is_complete = false;
            return Ok(None);
        }
        self.listed += 1;
        Ok(Some(Some(entry)))
    }

    /// The target of the link at `link_path`, if the site follows the link.
    fn follow(&self) -> Result<Option<Stat>, OpenError> {
        match self.resolver.open(self.root.fd.as_fd(), &self.link_path) {
            Ok(target) => unless_absent(rustix::fs::fstat(&target)),
            Err(OpenError::Exhausted) => Err(OpenError::Exhausted),
            Err(_) => Ok(None),
        }
    }
}

impl Summary {
    /// Counts `entry`.
    pub fn add(&mut self, entry: &DirectoryEntry) {
        self.name_bytes += entry.name.len();
        match entry.kind {
            EntryKind::Directory => self.directories += 1,
            EntryKind::File => {
                self.files += 1;
                self.bytes = self.bytes.saturating_add(entry.size);
            }
        }
    }

    /// The number of entries.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.directories + self.files
    }
}

impl Default for Summary {
    fn default() -> Summary {
        Summary {
            directories: 0,
            files: 0,
            bytes: 0,
            name_bytes: 0,
            is_complete: true,
        }
    }
}

/// Whether a name may be listed. A name with a backslash is not, because its path would be refused.
fn is_listed(name: &[u8], shows_hidden: bool) -> bool {
    let is_hidden = name.starts_with(b".") && !shows_hidden;
    !matches!(name, b"." | b"..") && !is_hidden && !name.contains(&b'\\')
}

/// The file at `name`, without following a link; `None` if it is gone or not readable.
fn look_at(directory: BorrowedFd<'_>, name: &CStr) -> Result<Option<Stat>, OpenError> {
    let Some(stat) = unless_absent(rustix::fs::statat(
        directory,
        name,
        AtFlags::SYMLINK_NOFOLLOW,
    ))?
    else {
        return Ok(None);
    };
    let wanted = match FileType::from_raw_mode(stat.st_mode) {
        // With search permission a client can request a file in the directory.
        FileType::Directory => Access::EXEC_OK,
        FileType::RegularFile => Access::READ_OK,
        FileType::Symlink => return Ok(Some(stat)),
        _ => return Ok(None),
    };
    let access = rustix::fs::accessat(directory, name, wanted, AtFlags::empty());
    Ok(unless_absent(access)?.map(|()| stat))
}

/// Turns an inaccessible name into `None`. A lack of descriptors or memory stays an error, because a
/// listing must not lose entries while the server is busy.
fn unless_absent<T>(result: Result<T, Errno>) -> Result<Option<T>, OpenError> {
    match result.map_err(OpenError::from) {
        Ok(found) => Ok(Some(found)),
        Err(OpenError::Exhausted) => Err(OpenError::Exhausted),
        Err(_) => Ok(None),
    }
}

fn entry(name: &[u8], stat: &Stat) -> Option<DirectoryEntry> {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => EntryKind::Directory,
        FileType::RegularFile => EntryKind::File,
        _ => return None,
    };
    Some(DirectoryEntry {
        name: name.into(),
        kind,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        modified_unix_secs: stat.st_mtime,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::disk::{LinkPolicy, Root};
    use rustix::fs::{CWD, Mode};
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn read_by(
        policy: LinkPolicy,
        root: &Path,
        path: &str,
        shows_hidden: bool,
    ) -> Result<Vec<DirectoryEntry>, OpenError> {
        let root = Root::open(root).expect("open the root");
        let listed = ListedDirectory {
            root: &root.directory(),
            resolver: &Arc::new(Resolver::with_policy(policy)),
            path: path.as_bytes(),
        };
        let mut scan = DirectoryScan::begin(&listed, shows_hidden)?;
        let mut list = Vec::new();
        while let Some(found) = scan.next()? {
            list.extend(found);
        }
        assert!(scan.is_complete());
        list.sort_by(|one: &DirectoryEntry, next| one.name.cmp(&next.name));
        Ok(list)
    }

    fn names(list: &[DirectoryEntry]) -> Vec<(String, EntryKind)> {
        list.iter()
            .map(|entry| (entry.name.escape_ascii().to_string(), entry.kind))
            .collect()
    }

    fn tree() -> tempfile::TempDir {
        let place = tempfile::tempdir().expect("temporary directory");
        let root = place.path().join("root");
        fs::create_dir_all(root.join("sub/deep")).expect("mkdir");
        fs::write(root.join("sub/file"), "content").expect("write");
        fs::write(root.join("sub/.hidden"), "").expect("write");
        fs::write(root.join("sub/back\\slash"), "").expect("write");
        fs::write(root.join("page"), "12345").expect("write");
        fs::write(place.path().join("secret"), "secret").expect("write");
        let fifo = root.join("sub/fifo");
        rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).expect("mkfifo");
        symlink("../page", root.join("sub/to-page")).expect("link");
        symlink("deep", root.join("sub/to-deep")).expect("link");
        symlink("nowhere", root.join("sub/to-nothing")).expect("link");
        symlink("fifo", root.join("sub/to-fifo")).expect("link");
        symlink("../../secret", root.join("sub/to-secret")).expect("link");
        place
    }

    #[test]
    fn servable_files_are_listed_and_links_as_their_targets() {
        use EntryKind::{Directory, File};
        let place = tree();
        let root = place.path().join("root");
        let inside = read_by(LinkPolicy::Inside, &root, "/sub/", false).expect("read");
        let expected = [
            ("deep", Directory),
            ("file", File),
            ("to-deep", Directory),
            ("to-page", File),
        ];
        assert_eq!(
            names(&inside),
            expected.map(|(name, kind)| (name.to_owned(), kind))
        );
        assert_eq!((inside[1].size, inside[3].size), (7, 5));
        let never = read_by(LinkPolicy::Never, &root, "/sub/", true).expect("read");
        let expected = [(".hidden", File), ("deep", Directory), ("file", File)];
        assert_eq!(
            names(&never),
            expected.map(|(name, kind)| (name.to_owned(), kind))
        );
        let anywhere = read_by(LinkPolicy::Anywhere, &root, "/sub/", false).expect("read");
        assert_eq!(names(&anywhere)[4], ("to-secret".to_owned(), File));
    }

    #[test]
    fn the_root_itself_is_a_directory_too() {
        let place = tree();
        let list =
            read_by(LinkPolicy::Inside, &place.path().join("root"), "/", false).expect("read");
        let expected = [("page", EntryKind::File), ("sub", EntryKind::Directory)];
        assert_eq!(
            names(&list),
            expected.map(|(name, kind)| (name.to_owned(), kind))
        );
    }

    #[test]
    fn a_name_is_bytes_and_an_old_file_keeps_its_time() {
        let root = tempfile::tempdir().expect("temporary directory");
        let path = root.path().join(OsStr::from_bytes(b"caf\xE9 \n"));
        let file = File::create(&path).expect("create");
        let old = std::time::UNIX_EPOCH - std::time::Duration::from_secs(10);
        file.set_modified(old).expect("utimens");
        let list = read_by(LinkPolicy::Inside, root.path(), "/", false).expect("read");
        assert_eq!(&*list[0].name, b"caf\xE9 \n");
        assert_eq!(list[0].modified_unix_secs, -10);
    }

    #[test]
    fn a_file_or_a_missing_name_cannot_be_read_as_a_directory() {
        let place = tree();
        let root = place.path().join("root");
        for path in ["/page/", "/none/", "/sub/to-page/"] {
            let result = read_by(LinkPolicy::Inside, &root, path, false);
            assert_eq!(result, Err(OpenError::NotFound), "{path}");
        }
    }

    #[test]
    fn a_file_that_is_gone_when_it_is_looked_at_is_left_out() {
        let root = tempfile::tempdir().expect("temporary directory");
        let directory = File::open(root.path()).expect("open");
        assert!(matches!(look_at(directory.as_fd(), c"gone"), Ok(None)));
        assert_eq!(
            unless_absent::<()>(Err(Errno::NOMEM)),
            Err(OpenError::Exhausted)
        );
    }
}
