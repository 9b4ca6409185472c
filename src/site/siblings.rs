//! What lies beside a file: its precompressed forms, `name.br`, `name.zst` and `name.gz`.

use std::os::fd::{AsFd, BorrowedFd};

use super::content_coding::{is_sibling_current, sibling};
use super::identity::{Identity, Sighting};
use super::look::{Look, Range};
use super::resolve::Resolver;
use crate::clock::Now;
use crate::http::accept_encoding::Coding;

/// What was seen of the names beside a file.
#[derive(Debug)]
pub struct Siblings {
    /// By coding, in the order of [`Coding::COMPRESSED`].
    siblings: [Sibling; 3],
}

/// A name beside a file.
#[derive(Debug)]
struct Sibling {
    /// Below the root. Kept, so that a look at it allocates nothing.
    path: Vec<u8>,
    /// `None` if nothing is called so.
    sighting: Option<Sighting>,
    /// Whether it may be sent: a regular file inside the root that is not older than the original.
    is_usable: bool,
}

impl Siblings {
    /// Looks beside the file `path`, below the directory `root`. `None` if that file is itself a form,
    /// which has none.
    #[must_use]
    pub fn look(
        root: BorrowedFd<'_>,
        resolver: &Resolver,
        path: &[u8],
        original: &Identity,
        now: Now,
    ) -> Option<Siblings> {
        Siblings::look_since(root, resolver, path, original.modified(), now)
    }

    /// Looks for the forms of the file `path`, which is not there itself.
    #[must_use]
    pub fn look_alone(
        root: BorrowedFd<'_>,
        resolver: &Resolver,
        path: &[u8],
        now: Now,
    ) -> Option<Siblings> {
        Siblings::look_since(root, resolver, path, (i64::MIN, 0), now)
    }

    /// Looks beside the file `path`, which was last changed at `modified`.
    fn look_since(
        root: BorrowedFd<'_>,
        resolver: &Resolver,
        path: &[u8],
        modified: (i64, i64),
        now: Now,
    ) -> Option<Siblings> {
        let look = Look::new(root, Range::Anywhere);
        let beside = |coding| {
            let path = sibling(path, coding)?;
            let identity = look.identity(&path);
            Some(Sibling {
                is_usable: identity.is_some_and(|identity| {
                    is_sibling_current(modified, identity.modified())
                        && is_file(root, resolver, &path, &identity)
                }),
                sighting: identity.map(|identity| Sighting::new(identity, now)),
                path,
            })
        };
        let [brotli, zstd, gzip] = Coding::COMPRESSED.map(beside);
        Some(Siblings {
            siblings: [brotli?, zstd?, gzip?],
        })
    }

    /// The path below the root and the identity of the form in `coding`, if there is one that may be
    /// sent.
    #[must_use]
    pub fn usable(&self, coding: Coding) -> Option<(&[u8], &Identity)> {
        let sibling = self.siblings.get(coding as usize)?;
        let sighting = sibling.sighting.as_ref()?;
        sibling
            .is_usable
            .then_some((&sibling.path, &sighting.identity))
    }

    /// Whether any form may be sent.
    #[must_use]
    pub fn has_usable(&self) -> bool {
        self.siblings.iter().any(|sibling| sibling.is_usable)
    }

    /// Whether the names are as they were seen: those that were there are the same files, and no other
    /// has come.
    #[must_use]
    pub fn are_current(&self, look: &Look<'_>) -> bool {
        self.siblings.iter().all(|sibling| {
            match (&sibling.sighting, look.identity(&sibling.path)) {
                (None, None) => true,
                (Some(sighting), Some(identity)) => sighting.is_current(&identity),
                _ => false,
            }
        })
    }

    /// Bytes of memory that keeping this takes, roughly.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let paths: usize = self.siblings.iter().map(|sibling| sibling.path.len()).sum();
        (paths + size_of::<Siblings>()) as u64
    }
}

/// Whether the resolver lets `path` be reached, and it is the regular file that was seen.
fn is_file(root: BorrowedFd<'_>, resolver: &Resolver, path: &[u8], identity: &Identity) -> bool {
    let Ok(file) = resolver.open(root.as_fd(), path) else {
        return false;
    };
    let is_regular = file.metadata().is_ok_and(|metadata| metadata.is_file());
    is_regular && Identity::of(&file).is_ok_and(|opened| opened == *identity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Millis;
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    const LATER: Now = Now {
        monotonic: Millis(0),
        unix_secs: u64::MAX,
    };

    fn write(directory: &Path, name: &str, secs_ago: u64) {
        let path = directory.join(name);
        fs::write(&path, name).expect("write");
        let modified = SystemTime::now() - Duration::from_secs(secs_ago);
        let file = File::options().write(true).open(path).expect("open");
        file.set_modified(modified).expect("utimes");
    }

    fn look(directory: &Path, name: &str) -> Option<Siblings> {
        let root = File::open(directory).expect("the root");
        let original = Identity::of(&File::open(directory.join(name)).expect("open"));
        let original = original.expect("stat");
        Siblings::look(
            root.as_fd(),
            &Resolver::new(),
            name.as_bytes(),
            &original,
            LATER,
        )
    }

    fn usable(directory: &Path, name: &str) -> Vec<Coding> {
        let seen = look(directory, name).expect("not a form itself");
        let is_usable = |coding: &Coding| seen.usable(*coding).is_some();
        let usable: Vec<_> = Coding::COMPRESSED.into_iter().filter(is_usable).collect();
        assert_eq!(seen.has_usable(), !usable.is_empty());
        usable
    }

    #[test]
    fn only_regular_files_inside_the_root_that_are_not_older_are_used() {
        let place = tempfile::tempdir().expect("temporary directory");
        let root = &place.path().join("root");
        fs::create_dir(root).expect("mkdir");
        write(root, "a", 60);
        assert_eq!(usable(root, "a"), []);
        write(root, "a.br", 61);
        write(root, "a.zst", 59);
        fs::create_dir(root.join("a.gz")).expect("mkdir");
        assert_eq!(usable(root, "a"), [Coding::Zstd]);
        fs::remove_dir(root.join("a.gz")).expect("rmdir");
        write(place.path(), "secret", 0);
        symlink("../secret", root.join("a.gz")).expect("link");
        assert_eq!(usable(root, "a"), [Coding::Zstd]);
        fs::remove_file(root.join("a.gz")).expect("rm");
        symlink("a.zst", root.join("a.gz")).expect("link");
        assert_eq!(usable(root, "a"), [Coding::Zstd, Coding::Gzip]);
    }

    #[test]
    fn what_comes_goes_or_changes_is_noticed() {
        let place = tempfile::tempdir().expect("temporary directory");
        let root = place.path();
        write(root, "a", 60);
        let directory = File::open(root).expect("the root");
        let are_current =
            |seen: &Siblings| seen.are_current(&Look::new(directory.as_fd(), Range::WithinMount));
        let steps: [&dyn Fn(); 3] = [
            &|| write(root, "a.br", 50),
            &|| write(root, "a.br", 40),
            &|| fs::remove_file(root.join("a.br")).expect("rm"),
        ];
        for step in steps {
            let seen = look(root, "a").expect("not a form itself");
            assert!(are_current(&seen));
            step();
            assert!(!are_current(&seen));
        }
    }

    #[test]
    fn a_form_has_no_forms() {
        let place = tempfile::tempdir().expect("temporary directory");
        write(place.path(), "a.gz", 0);
        assert!(look(place.path(), "a.gz").is_none());
    }
}
