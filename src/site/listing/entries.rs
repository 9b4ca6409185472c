//! Reading a directory below the root.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Access, AtFlags, Dir, FileType, Stat};
use rustix::io::Errno;

use super::super::resolve::{OpenError, Resolver};

/// Entries that are listed at most, in a directory that has more the first ones that the file system
/// names: nobody reads a longer page, and a browser needs seconds to show this one.
pub const MAX_ENTRIES: usize = 100_000;

/// Bytes of names that are kept at most. Escaped twice over, a byte of a hostile name makes nine of
/// the page; ordinary names of [`MAX_ENTRIES`] files need a quarter of this.
pub const MAX_NAME_BYTES: usize = 8 * 1024 * 1024;

/// The directory that is read.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The directory of the site: a place to resolve names from.
    pub root: BorrowedFd<'a>,
    /// What opens the directory, and the targets of links in it.
    pub resolver: &'a Resolver,
    /// The path of the directory, decoded and normalised, beginning and ending in a slash.
    pub path: &'a [u8],
}

/// What a directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entries {
    /// In no particular order until somebody sorts them.
    pub list: Vec<Entry>,
    /// Whether that is all: false if a bound ended the reading.
    pub is_complete: bool,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, as the bytes that it is made of.
    pub name: Box<[u8]>,
    /// What it is, or what it leads to if it is a link.
    pub kind: Kind,
    /// Bytes of content; of no meaning for a directory.
    pub size: u64,
    /// When the content changed last, in seconds since 1970.
    pub modified_unix_secs: i64,
}

/// What can be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Comes first in every order.
    Directory,
    /// A regular file.
    File,
}

impl Entries {
    /// Reads the directory at `place`. Takes three system calls for each entry in it, and blocks
    /// while the file system looks. What disappears meanwhile, and what cannot be read, is left out.
    ///
    /// # Errors
    /// As [`Resolver::open`]; [`OpenError::Exhausted`] too if descriptors run out on the way.
    pub fn read(place: &Place<'_>, shows_hidden: bool) -> Result<Entries, OpenError> {
        let relative = place.path.strip_prefix(b"/").unwrap_or(place.path);
        let name = if relative.is_empty() { b"." } else { relative };
        let directory = place.resolver.open(place.root, name)?;
        let mut entries = Entries {
            list: Vec::new(),
            is_complete: true,
        };
        let mut name_bytes = 0;
        let mut link_path = relative.to_vec();
        for found in Dir::read_from(&directory)? {
            let found = found?;
            let name = found.file_name();
            let bytes = name.to_bytes();
            if !is_listed(bytes, shows_hidden) {
                continue;
            }
            let looked_at = match look_at(directory.as_fd(), name)? {
                Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                    link_path.truncate(relative.len());
                    link_path.extend_from_slice(bytes);
                    follow(place, &link_path)?
                }
                other => other,
            };
            let Some(entry) = looked_at.and_then(|stat| entry(bytes, &stat)) else {
                continue;
            };
            name_bytes += bytes.len();
            if entries.list.len() == MAX_ENTRIES || name_bytes > MAX_NAME_BYTES {
                entries.is_complete = false;
                break;
            }
            entries.list.push(entry);
        }
        Ok(entries)
    }
}

/// Whether a name may be shown. One with a backslash cannot be asked for: such a path is refused.
fn is_listed(name: &[u8], shows_hidden: bool) -> bool {
    let is_hidden = name.starts_with(b".") && !shows_hidden;
    !matches!(name, b"." | b"..") && !is_hidden && !name.contains(&b'\\')
}

/// What is at `name`, links not followed; `None` if it is gone or may not be read.
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
        // What is in it is shown to those who open it.
        FileType::Directory => Access::EXEC_OK,
        FileType::RegularFile => Access::READ_OK,
        FileType::Symlink => return Ok(Some(stat)),
        _ => return Ok(None),
    };
    let access = rustix::fs::accessat(directory, name, wanted, AtFlags::empty());
    Ok(unless_absent(access)?.map(|()| stat))
}

/// What the link at `path` leads to, if the site follows it there.
fn follow(place: &Place<'_>, path: &[u8]) -> Result<Option<Stat>, OpenError> {
    match place.resolver.open(place.root, path) {
        Ok(target) => unless_absent(rustix::fs::fstat(&target)),
        Err(OpenError::Exhausted) => Err(OpenError::Exhausted),
        Err(_) => Ok(None),
    }
}

/// A name that cannot be looked at is no error, but a machine that has nothing left is: a listing
/// must not lose entries because the server is busy.
fn unless_absent<T>(result: Result<T, Errno>) -> Result<Option<T>, OpenError> {
    match result.map_err(OpenError::from) {
        Ok(found) => Ok(Some(found)),
        Err(OpenError::Exhausted) => Err(OpenError::Exhausted),
        Err(_) => Ok(None),
    }
}

fn entry(name: &[u8], stat: &Stat) -> Option<Entry> {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Kind::Directory,
        FileType::RegularFile => Kind::File,
        _ => return None,
    };
    Some(Entry {
        name: name.into(),
        kind,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        modified_unix_secs: stat.st_mtime,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::resolve::LinkPolicy;
    use super::*;
    use rustix::fs::{CWD, Mode};
    use std::ffi::OsStr;
    use std::fs::{self, File};
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    fn read_by(
        policy: LinkPolicy,
        root: &Path,
        path: &str,
        shows_hidden: bool,
    ) -> Result<Vec<Entry>, OpenError> {
        let root = File::open(root).expect("open the root");
        let place = Place {
            root: root.as_fd(),
            resolver: &Resolver::with_policy(policy),
            path: path.as_bytes(),
        };
        Entries::read(&place, shows_hidden).map(|entries| {
            assert!(entries.is_complete);
            let mut list = entries.list;
            list.sort_by(|one, next| one.name.cmp(&next.name));
            list
        })
    }

    fn names(list: &[Entry]) -> Vec<(String, Kind)> {
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
    fn what_can_be_served_is_listed_and_a_link_as_what_it_leads_to() {
        use Kind::{Directory, File};
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
        let expected = [("page", Kind::File), ("sub", Kind::Directory)];
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
    fn what_is_no_directory_cannot_be_read() {
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
