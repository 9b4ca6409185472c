//! The precompressed forms that lie beside a file: `name.br`, `name.zst` and `name.gz`.
//!
//! A form that is younger than its file was made from it. One that is not may have been made from it all
//! the same: tools copy times in part, and copies of a directory are made in any order. So its
//! [standing](SidecarState) depends on its content, if that can be compared in the background; else on the
//! whole seconds of the two times, which most tools get right.

use super::content_coding::sidecar;
use super::verdicts::Verdicts;
use crate::clock::Now;
use crate::http::accept_encoding::Coding;
use crate::site::disk::{Identity, Look, Range, SearchRoot, Sighting};

/// The largest file whose forms are decoded and compared with it, and the largest such form, in bytes.
/// The comparison takes about half a second then; nothing of it is kept in memory.
pub const MAX_JUDGED_BYTES: u64 = 64 * 1024 * 1024;

/// The evidence for a form that is not younger than its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// None is needed.
    Nothing,
    /// The form decodes to the file's content. Above [`MAX_JUDGED_BYTES`] as `WholeSeconds`.
    Content,
    /// As `Content`, for the younger forms too: times say nothing.
    ContentOfAll,
    /// The form is not older by the whole seconds of the two times.
    WholeSeconds,
}

/// Whether a form may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SidecarState {
    /// The form may be sent.
    Trusted,
    /// The form may be sent if it decodes to the file's content.
    Unjudged,
    /// The form is older than its file, and is not sent.
    TooOld,
    /// There is no form, or an empty one, or one that is no regular file or outside the root.
    Unusable,
}

/// The names beside a file as they were seen.
#[derive(Debug)]
pub struct Sidecars {
    /// By coding, in the order of [`Coding::COMPRESSED`].
    sidecars: [Sidecar; 3],
}

/// A name beside a file.
#[derive(Debug)]
struct Sidecar {
    /// Below the root. Kept, so that a look at it allocates nothing.
    path: Vec<u8>,
    /// `None` if nothing is called so.
    sighting: Option<Sighting>,
    standing: SidecarState,
}

/// The file that forms are looked for beside.
#[derive(Debug, Clone, Copy)]
pub struct Beside<'a> {
    /// Below the root.
    pub path: &'a [u8],
    /// The file's.
    pub identity: &'a Identity,
    /// The verdicts on forms so far.
    pub verdicts: Option<&'a Verdicts>,
}

impl Sidecars {
    /// Looks beside a file below the directory of `place`. `None` if that file is itself a form, which has
    /// none.
    #[must_use]
    pub fn look(
        place: SearchRoot<'_>,
        file: Beside<'_>,
        evidence: Evidence,
        now: Now,
    ) -> Option<Sidecars> {
        let standing = |form: &Identity| standing(&file, form, evidence, now);
        Sidecars::look_by(place, file.path, standing, now)
    }

    /// Looks for the forms of the file `path`, which is not there itself: all but empty ones may be sent.
    #[must_use]
    pub fn look_alone(place: SearchRoot<'_>, path: &[u8], now: Now) -> Option<Sidecars> {
        let standing = |form: &Identity| match form.size() {
            0 => SidecarState::Unusable,
            _ => SidecarState::Trusted,
        };
        Sidecars::look_by(place, path, standing, now)
    }

    /// Looks beside the file `path`. `standing` tells the standing of a form
    /// that is a regular file.
    fn look_by(
        place: SearchRoot<'_>,
        path: &[u8],
        standing: impl Fn(&Identity) -> SidecarState,
        now: Now,
    ) -> Option<Sidecars> {
        let look = Look::new(place.root, Range::Anywhere);
        let beside = |coding| {
            let path = sidecar(path, coding)?;
            let identity = look.identity(&path);
            let standing = identity.map_or(SidecarState::Unusable, |identity| {
                let standing = standing(&identity);
                // Opened last: that takes longest.
                let may_be_sent =
                    matches!(standing, SidecarState::Trusted | SidecarState::Unjudged);
                if may_be_sent && !is_file(place, &path, &identity) {
                    return SidecarState::Unusable;
                }
                standing
            });
            Some(Sidecar {
                standing,
                sighting: identity.map(|identity| Sighting::new(identity, now)),
                path,
            })
        };
        let [brotli, zstd, gzip] = Coding::COMPRESSED.map(beside);
        Some(Sidecars {
            sidecars: [brotli?, zstd?, gzip?],
        })
    }

    /// Whether the form in `coding` may be sent.
    #[must_use]
    pub fn standing(&self, coding: Coding) -> SidecarState {
        let sidecar = self.sidecars.get(coding as usize);
        sidecar.map_or(SidecarState::Unusable, |sidecar| sidecar.standing)
    }

    /// The path below the root and the identity of the form in `coding`, if there is one that may be
    /// sent, at least once it has been judged.
    #[must_use]
    pub fn usable(&self, coding: Coding) -> Option<(&[u8], &Identity)> {
        let sidecar = self.sidecars.get(coding as usize)?;
        let sighting = sidecar.sighting.as_ref()?;
        sidecar
            .is_usable()
            .then_some((&sidecar.path, &sighting.identity))
    }

    /// Whether the form in `coding` was changed long enough ago for its identity to tell it from any later
    /// state.
    #[must_use]
    pub fn has_settled(&self, coding: Coding) -> bool {
        let sidecar = self.sidecars.get(coding as usize);
        let sighting = sidecar.and_then(|sidecar| sidecar.sighting.as_ref());
        sighting.is_some_and(|sighting| sighting.is_current(&sighting.identity))
    }

    /// Whether any form may be sent, at least once it has been judged.
    #[must_use]
    pub fn has_usable(&self) -> bool {
        self.sidecars.iter().any(Sidecar::is_usable)
    }

    /// The paths of the forms that are too old.
    pub fn too_old(&self) -> impl Iterator<Item = &[u8]> {
        let sidecars = self.sidecars.iter();
        sidecars
            .filter(|sidecar| sidecar.standing == SidecarState::TooOld)
            .map(|sidecar| &sidecar.path[..])
    }

    /// Whether the names are as they were seen: those that were there are the same files, and no other
    /// has come.
    #[must_use]
    pub fn are_current(&self, look: &Look<'_>) -> bool {
        self.sidecars.iter().all(|sidecar| {
            match (&sidecar.sighting, look.identity(&sidecar.path)) {
                (None, None) => true,
                (Some(sighting), Some(identity)) => sighting.is_current(&identity),
                _ => false,
            }
        })
    }

    /// Bytes of memory that keeping this takes, roughly.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let paths: usize = self.sidecars.iter().map(|sidecar| sidecar.path.len()).sum();
        (paths + size_of::<Sidecars>()) as u64
    }
}

impl Sidecar {
    fn is_usable(&self) -> bool {
        matches!(
            self.standing,
            SidecarState::Trusted | SidecarState::Unjudged
        )
    }
}

/// The standing of the form with the identity `form` beside `file` at `now`, if both are regular files.
fn standing(file: &Beside<'_>, form: &Identity, evidence: Evidence, now: Now) -> SidecarState {
    let original = file.identity;
    let are_credible = form.has_credible_time(now) && original.has_credible_time(now);
    let (made, changed) = if are_credible {
        (form.modified(), original.modified())
    } else {
        (form.changed(), original.changed())
    };
    let can_be_judged = original.size().max(form.size()) <= MAX_JUDGED_BYTES;
    match evidence {
        // No content is encoded as nothing, but for zstd, where an empty file is as good.
        _ if form.size() == 0 => SidecarState::Unusable,
        Evidence::Nothing => SidecarState::Trusted,
        Evidence::Content | Evidence::WholeSeconds if made > changed => SidecarState::Trusted,
        Evidence::Content | Evidence::ContentOfAll if can_be_judged => {
            let verdict = file.verdicts.and_then(|known| known.find(original, form));
            match verdict {
                Some(true) => SidecarState::Trusted,
                Some(false) => SidecarState::Unusable,
                None => SidecarState::Unjudged,
            }
        }
        // No tool rounds ctime.
        _ if made >= changed || are_credible && made.0 == changed.0 => SidecarState::Trusted,
        _ => SidecarState::TooOld,
    }
}

/// Whether the resolver lets `path` be reached, and it is the regular file that was seen.
fn is_file(place: SearchRoot<'_>, path: &[u8], identity: &Identity) -> bool {
    let Ok(file) = place.resolver.open(place.root, path) else {
        return false;
    };
    let is_regular = file.metadata().is_ok_and(|metadata| metadata.is_file());
    is_regular && Identity::of(&file).is_ok_and(|opened| opened == *identity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Millis;
    use crate::site::disk::Resolver;
    use std::fs::{self, File};
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::time::{Duration, UNIX_EPOCH};

    const LATER: Now = Now {
        monotonic: Millis(0),
        unix_secs: u64::MAX,
    };

    /// Writes a file that was changed so many milliseconds ago, if it is now the half of a second.
    fn write(directory: &Path, name: &str, millis_ago: u64) {
        let path = directory.join(name);
        fs::write(&path, name).expect("write");
        let modified = UNIX_EPOCH + Duration::from_millis(1_000_000_500 - millis_ago);
        let file = File::options().write(true).open(path).expect("open");
        file.set_modified(modified).expect("utimes");
    }

    fn look_for(directory: &Path, name: &str, evidence: Evidence) -> Option<Sidecars> {
        let root = File::open(directory).expect("the root");
        let original = Identity::of(&File::open(directory.join(name)).expect("open"));
        let file = Beside {
            path: name.as_bytes(),
            identity: &original.expect("stat"),
            verdicts: None,
        };
        let place = SearchRoot {
            root: root.as_fd(),
            resolver: &Resolver::new(),
        };
        Sidecars::look(place, file, evidence, LATER)
    }

    fn look(directory: &Path, name: &str) -> Option<Sidecars> {
        look_for(directory, name, Evidence::WholeSeconds)
    }

    fn usable(directory: &Path, name: &str) -> Vec<Coding> {
        let seen = look(directory, name).expect("not a form itself");
        let is_usable = |coding: &Coding| seen.usable(*coding).is_some();
        let usable: Vec<_> = Coding::COMPRESSED.into_iter().filter(is_usable).collect();
        assert_eq!(seen.has_usable(), !usable.is_empty());
        usable
    }

    #[test]
    fn only_regular_files_inside_the_root_are_used_and_none_that_is_empty() {
        let place = tempfile::tempdir().expect("temporary directory");
        let root = &place.path().join("root");
        fs::create_dir(root).expect("mkdir");
        write(root, "a", 60_000);
        assert_eq!(usable(root, "a"), []);
        write(root, "a.br", 61_000);
        write(root, "a.zst", 59_000);
        fs::create_dir(root.join("a.gz")).expect("mkdir");
        assert_eq!(usable(root, "a"), [Coding::Zstd]);
        fs::remove_dir(root.join("a.gz")).expect("rmdir");
        write(place.path(), "secret", 0);
        symlink("../secret", root.join("a.gz")).expect("link");
        assert_eq!(usable(root, "a"), [Coding::Zstd]);
        fs::remove_file(root.join("a.gz")).expect("rm");
        symlink("a.zst", root.join("a.gz")).expect("link");
        assert_eq!(usable(root, "a"), [Coding::Zstd, Coding::Gzip]);
        fs::write(root.join("a.zst"), "").expect("an empty file");
        for evidence in [Evidence::Nothing, Evidence::Content, Evidence::WholeSeconds] {
            let seen = look_for(root, "a", evidence).expect("not a form itself");
            assert_eq!(seen.standing(Coding::Zstd), SidecarState::Unusable);
        }
    }

    #[test]
    fn the_younger_is_trusted_and_the_rest_is_judged_if_it_can_be() {
        use SidecarState::{TooOld, Trusted, Unjudged};
        let place = tempfile::tempdir().expect("temporary directory");
        let root = place.path();
        let check = |millis_ago, by_content, by_seconds| {
            write(root, "a.br", millis_ago);
            for (evidence, expected) in [
                (Evidence::Nothing, Trusted),
                (Evidence::Content, by_content),
                (Evidence::WholeSeconds, by_seconds),
            ] {
                let seen = look_for(root, "a", evidence).expect("not a form itself");
                let standing = seen.standing(Coding::Brotli);
                assert_eq!(standing, expected, "{millis_ago} {evidence:?}");
                let too_old: Vec<_> = seen.too_old().collect();
                assert_eq!(!too_old.is_empty(), expected == TooOld);
            }
        };
        // Half a second after the full one.
        write(root, "a", 60_000);
        check(59_999, Trusted, Trusted);
        check(60_000, Unjudged, Trusted);
        check(60_001, Unjudged, Trusted);
        check(60_500, Unjudged, Trusted);
        check(60_501, Unjudged, TooOld);
        check(3_660_000, Unjudged, TooOld);
        write(root, "a.br", 59_999);
        let seen = look_for(root, "a", Evidence::ContentOfAll).expect("not a form itself");
        assert_eq!(seen.standing(Coding::Brotli), Unjudged);
        let large = File::create(root.join("a")).expect("create");
        large.set_len(MAX_JUDGED_BYTES + 1).expect("a sparse file");
        let modified = UNIX_EPOCH + Duration::from_millis(1_000_000_500 - 60_000);
        large.set_modified(modified).expect("utimes");
        check(60_500, Trusted, Trusted);
        check(60_501, TooOld, TooOld);
    }

    #[test]
    fn a_time_that_says_nothing_is_not_compared() {
        let place = tempfile::tempdir().expect("temporary directory");
        let root = place.path();
        let set_time = |name, secs| {
            let file = File::options().write(true).open(root.join(name));
            let time = UNIX_EPOCH + Duration::from_secs(secs);
            file.and_then(|file| file.set_modified(time))
                .expect("utimes");
        };
        let standing = |evidence| {
            let original = Identity::of(&File::open(root.join("a")).expect("open"));
            let identity = &original.expect("stat");
            let file = Beside {
                path: b"a",
                identity,
                verdicts: None,
            };
            let directory = File::open(root).expect("the root");
            let (resolver, now) = (
                Resolver::new(),
                Now {
                    unix_secs: 1_000_000_000,
                    ..LATER
                },
            );
            let seen = Sidecars::look(
                SearchRoot {
                    root: directory.as_fd(),
                    resolver: &resolver,
                },
                file,
                evidence,
                now,
            );
            seen.expect("not a form itself").standing(Coding::Gzip)
        };
        // The form is in the future, or the file has a placeholder. ctime tells which came last.
        for (original, form) in [(999_999_000, 2_000_000_000), (1, 999_999_000)] {
            write(root, "a.gz", 0);
            set_time("a.gz", form);
            std::thread::sleep(Duration::from_millis(20));
            write(root, "a", 0);
            set_time("a", original);
            assert_eq!(standing(Evidence::Content), SidecarState::Unjudged);
            assert_eq!(standing(Evidence::WholeSeconds), SidecarState::TooOld);
            std::thread::sleep(Duration::from_millis(20));
            set_time("a.gz", form);
            assert_eq!(standing(Evidence::WholeSeconds), SidecarState::Trusted);
        }
    }

    #[test]
    fn a_verdict_is_remembered_until_one_of_the_two_files_changes() {
        let place = tempfile::tempdir().expect("temporary directory");
        let root = place.path();
        let directory = File::open(root).expect("the root");
        write(root, "a", 60_000);
        write(root, "a.gz", 70_000);
        let verdicts = Verdicts::new();
        let identity = |name| Identity::of(&File::open(root.join(name)).expect("open"));
        let standing = || {
            let file = Beside {
                path: b"a",
                identity: &identity("a").expect("stat"),
                verdicts: Some(&verdicts),
            };
            let (root, resolver) = (directory.as_fd(), Resolver::new());
            let seen = Sidecars::look(
                SearchRoot {
                    root,
                    resolver: &resolver,
                },
                file,
                Evidence::Content,
                LATER,
            );
            seen.expect("not a form itself").standing(Coding::Gzip)
        };
        let remember = |is_same| {
            let [original, form] = ["a", "a.gz"].map(|name| identity(name).expect("stat"));
            verdicts.remember(&original, &form, is_same);
        };
        assert_eq!(standing(), SidecarState::Unjudged);
        remember(true);
        assert_eq!(standing(), SidecarState::Trusted);
        write(root, "a", 61_000);
        assert_eq!(standing(), SidecarState::Unjudged);
        remember(false);
        assert_eq!(standing(), SidecarState::Unusable);
        write(root, "a.gz", 71_000);
        assert_eq!(standing(), SidecarState::Unjudged);
    }

    #[test]
    fn what_comes_goes_or_changes_is_noticed() {
        let place = tempfile::tempdir().expect("temporary directory");
        let root = place.path();
        write(root, "a", 60_000);
        let directory = File::open(root).expect("the root");
        let are_current =
            |seen: &Sidecars| seen.are_current(&Look::new(directory.as_fd(), Range::WithinMount));
        let steps: [&dyn Fn(); 3] = [
            &|| write(root, "a.br", 50_000),
            &|| write(root, "a.br", 40_000),
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
