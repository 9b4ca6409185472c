//! Sidecars: precompressed variants beside a file, called `name.br`, `name.zst` and `name.gz`.
//!
//! A sidecar that is newer than its file was made from it. An older one may be right as well, because some
//! tools copy times only partly, and copies of a directory are made in any order. The server then compares
//! the content of the two files in the background, if it can. Otherwise the whole seconds of the two times
//! decide the [state](SidecarState), which most tools preserve.

use super::allocation::allocation;
use super::content_coding::{is_sidecar_path, sidecar_path};
use super::verdict_cache::VerdictCache;
use crate::clock::Now;
use crate::http::accept_encoding::Coding;
use crate::site::disk::{Identity, IdentitySnapshot, PathProbe, SearchRoot};

/// The largest file and the largest sidecar, in bytes, whose contents are compared. The comparison then
/// takes about half a second, and keeps nothing in memory.
pub const MAX_VERIFIED_BYTES: u64 = 64 * 1024 * 1024;

/// The verification of a sidecar that is not newer than its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SidecarVerification {
    /// No verification: every sidecar may be sent.
    NotNeeded,
    /// The sidecar must decode to the content of the file. Above [`MAX_VERIFIED_BYTES`] as `BySeconds`.
    ByContent,
    /// As `ByContent`, but for newer sidecars as well: times are not used.
    AlwaysByContent,
    /// The sidecar must not be older in whole seconds.
    BySeconds,
}

/// Whether a sidecar may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SidecarState {
    /// The sidecar may be sent.
    Trusted,
    /// The sidecar may be sent if it decodes to the content of the file.
    Unverified,
    /// The sidecar is older than its file, and is not sent.
    TooOld,
    /// There is no sidecar; or it is empty, no regular file, outside the root, or has another content.
    Unusable,
}

/// The sidecars of a file, as one lookup has found them. Most files have none.
#[derive(Debug, Default)]
pub struct Sidecars {
    /// By coding, in the order of [`Coding::COMPRESSED`]; `None` if there is no such name.
    sidecars: [Option<Box<Sidecar>>; 3],
}

/// A file with the name of a sidecar.
#[derive(Debug)]
struct Sidecar {
    snapshot: IdentitySnapshot,
    state: SidecarState,
}

/// The file whose sidecars are looked up.
#[derive(Debug, Clone, Copy)]
pub struct OriginalFile<'a> {
    /// Below the root.
    pub path: &'a [u8],
    /// The identity of the file.
    pub identity: &'a Identity,
    /// The results of earlier verifications.
    pub verdicts: Option<&'a VerdictCache>,
}

impl Sidecars {
    /// Looks up the sidecars of a file below the directory of `search_root`. `None` if the file is a sidecar
    /// itself.
    #[must_use]
    pub fn find(
        search_root: &SearchRoot<'_>,
        file: OriginalFile<'_>,
        verification: SidecarVerification,
        now: Now,
    ) -> Option<Sidecars> {
        let state = |sidecar: &Identity| state(&file, sidecar, verification, now);
        Sidecars::find_by(search_root, file.path, state, now)
    }

    /// The sidecars of the file at `path` if there are none. `None` if the file is a sidecar itself.
    #[must_use]
    pub fn none_of(path: &[u8]) -> Option<Sidecars> {
        (!is_sidecar_path(path)).then(Sidecars::default)
    }

    /// Whether no file has the name of a sidecar.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sidecars.iter().all(Option::is_none)
    }

    /// Looks up the sidecars of the missing file `path`. All but empty ones may be sent.
    #[must_use]
    pub fn find_alone(search_root: &SearchRoot<'_>, path: &[u8], now: Now) -> Option<Sidecars> {
        let state = |sidecar: &Identity| match sidecar.size() {
            0 => SidecarState::Unusable,
            _ => SidecarState::Trusted,
        };
        Sidecars::find_by(search_root, path, state, now)
    }

    /// Looks up the sidecars of the file `path`. `state` gives the state of a sidecar that is a regular
    /// file.
    fn find_by(
        search_root: &SearchRoot<'_>,
        path: &[u8],
        state: impl Fn(&Identity) -> SidecarState,
        now: Now,
    ) -> Option<Sidecars> {
        if is_sidecar_path(path) {
            return None;
        }
        let find_sidecar = |coding| {
            let path = sidecar_path(path, coding)?;
            let identity = search_root.probe().identity(&path)?;
            let mut state = state(&identity);
            // Opening the file comes last, because it takes longest.
            let may_be_sent = matches!(state, SidecarState::Trusted | SidecarState::Unverified);
            if may_be_sent && !is_file(search_root, &path, &identity) {
                state = SidecarState::Unusable;
            }
            let snapshot = IdentitySnapshot::new(identity, now);
            Some(Box::new(Sidecar { snapshot, state }))
        };
        Some(Sidecars {
            sidecars: Coding::COMPRESSED.map(find_sidecar),
        })
    }

    /// The state of the sidecar in `coding`.
    #[must_use]
    pub fn state(&self, coding: Coding) -> SidecarState {
        let sidecar = self.in_coding(coding);
        sidecar.map_or(SidecarState::Unusable, |sidecar| sidecar.state)
    }

    /// The identity of the sidecar in `coding`, if it may be sent, at least after verification.
    #[must_use]
    pub fn usable(&self, coding: Coding) -> Option<&Identity> {
        let sidecar = self.in_coding(coding)?;
        sidecar.is_usable().then_some(&sidecar.snapshot.identity)
    }

    fn in_coding(&self, coding: Coding) -> Option<&Sidecar> {
        self.sidecars.get(coding as usize)?.as_deref()
    }

    /// Whether the last change of the sidecar in `coding` is old enough for its identity to change with any
    /// later change.
    #[must_use]
    pub fn has_settled(&self, coding: Coding) -> bool {
        let snapshot = self.in_coding(coding).map(|sidecar| &sidecar.snapshot);
        snapshot.is_some_and(|snapshot| snapshot.is_current(&snapshot.identity))
    }

    /// Whether any sidecar may be sent, at least after verification.
    #[must_use]
    pub fn has_usable(&self) -> bool {
        self.sidecars
            .iter()
            .flatten()
            .any(|sidecar| sidecar.is_usable())
    }

    /// The codings of the sidecars that are too old.
    pub fn too_old(&self) -> impl Iterator<Item = Coding> {
        let codings = Coding::COMPRESSED.into_iter();
        codings.filter(|coding| self.state(*coding) == SidecarState::TooOld)
    }

    /// Whether all sidecars of the file at `path` are unchanged, and none has been added.
    #[must_use]
    pub fn are_current(&self, path: &[u8], probe: &PathProbe<'_>) -> bool {
        Coding::COMPRESSED.into_iter().all(|coding| {
            let path = sidecar_path(path, coding);
            let identity = path.and_then(|path| probe.identity(&path));
            match (self.in_coding(coding), identity) {
                (None, None) => true,
                (Some(sidecar), Some(identity)) => sidecar.snapshot.is_current(&identity),
                _ => false,
            }
        })
    }

    /// The memory that this value has allocated, in bytes.
    #[must_use]
    pub fn allocated(&self) -> u64 {
        self.sidecars.iter().flatten().count() as u64 * allocation(size_of::<Sidecar>())
    }
}

impl Sidecar {
    fn is_usable(&self) -> bool {
        matches!(self.state, SidecarState::Trusted | SidecarState::Unverified)
    }
}

/// The state of the sidecar with the identity `sidecar` of `file` at `now`, if both are regular files.
fn state(
    file: &OriginalFile<'_>,
    sidecar: &Identity,
    verification: SidecarVerification,
    now: Now,
) -> SidecarState {
    let original = file.identity;
    let are_credible = sidecar.has_credible_time(now) && original.has_credible_time(now);
    let (made, changed) = if are_credible {
        (sidecar.modified(), original.modified())
    } else {
        (sidecar.changed(), original.changed())
    };
    let can_be_verified = original.size().max(sidecar.size()) <= MAX_VERIFIED_BYTES;
    match verification {
        // No content has an empty encoding. The exception is zstd, where an empty file is just as good.
        _ if sidecar.size() == 0 => SidecarState::Unusable,
        SidecarVerification::NotNeeded => SidecarState::Trusted,
        SidecarVerification::ByContent | SidecarVerification::BySeconds if made > changed => {
            SidecarState::Trusted
        }
        SidecarVerification::ByContent | SidecarVerification::AlwaysByContent
            if can_be_verified =>
        {
            let verdict = file
                .verdicts
                .and_then(|known| known.find(original, sidecar));
            match verdict {
                Some(true) => SidecarState::Trusted,
                Some(false) => SidecarState::Unusable,
                None => SidecarState::Unverified,
            }
        }
        // Tools that round times do not round ctime.
        _ if made >= changed || are_credible && made.0 == changed.0 => SidecarState::Trusted,
        _ => SidecarState::TooOld,
    }
}

/// Whether `path`, as the resolver opens it, is the regular file with this identity.
fn is_file(search_root: &SearchRoot<'_>, path: &[u8], identity: &Identity) -> bool {
    let opened = search_root.open(path);
    opened.is_ok_and(|opened| opened.file_type.is_file() && opened.identity == *identity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Millis;
    use crate::site::disk::{ProbeScope, Resolver, Root};
    use std::fs::{self, File};
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::time::{Duration, UNIX_EPOCH};

    const LATER: Now = Now {
        monotonic: Millis(0),
        unix_secs: u64::MAX,
    };

    /// Writes a file that was modified `millis_ago` before a time that lies half a second after a full
    /// second.
    fn write(directory: &Path, name: &str, millis_ago: u64) {
        let path = directory.join(name);
        fs::write(&path, name).expect("write");
        let modified = UNIX_EPOCH + Duration::from_millis(1_000_000_500 - millis_ago);
        let file = File::options().write(true).open(path).expect("open");
        file.set_modified(modified).expect("utimes");
    }

    fn find_for(
        directory: &Path,
        name: &str,
        verification: SidecarVerification,
    ) -> Option<Sidecars> {
        let root = Root::open(directory).expect("the root");
        let original = Identity::of(&File::open(directory.join(name)).expect("open"));
        let file = OriginalFile {
            path: name.as_bytes(),
            identity: &original.expect("stat"),
            verdicts: None,
        };
        let resolver = Resolver::new();
        let root = root.directory();
        let search_root = SearchRoot::new(&root, &resolver, ProbeScope::Anywhere);
        Sidecars::find(&search_root, file, verification, LATER)
    }

    fn find(directory: &Path, name: &str) -> Option<Sidecars> {
        find_for(directory, name, SidecarVerification::BySeconds)
    }

    fn usable(directory: &Path, name: &str) -> Vec<Coding> {
        let seen = find(directory, name).expect("not a sidecar itself");
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
        for verification in [
            SidecarVerification::NotNeeded,
            SidecarVerification::ByContent,
            SidecarVerification::BySeconds,
        ] {
            let seen = find_for(root, "a", verification).expect("not a sidecar itself");
            assert_eq!(seen.state(Coding::Zstd), SidecarState::Unusable);
        }
    }

    #[test]
    fn a_newer_sidecar_is_trusted_and_others_are_verified_if_possible() {
        use SidecarState::{TooOld, Trusted, Unverified};
        let place = tempfile::tempdir().expect("temporary directory");
        let root = place.path();
        let check = |millis_ago, by_content, by_seconds| {
            write(root, "a.br", millis_ago);
            for (verification, expected) in [
                (SidecarVerification::NotNeeded, Trusted),
                (SidecarVerification::ByContent, by_content),
                (SidecarVerification::BySeconds, by_seconds),
            ] {
                let seen = find_for(root, "a", verification).expect("not a sidecar itself");
                let state = seen.state(Coding::Brotli);
                assert_eq!(state, expected, "{millis_ago} {verification:?}");
                let too_old: Vec<_> = seen.too_old().collect();
                assert_eq!(!too_old.is_empty(), expected == TooOld);
            }
        };
        // The file is modified half a second after a full second.
        write(root, "a", 60_000);
        check(59_999, Trusted, Trusted);
        check(60_000, Unverified, Trusted);
        check(60_001, Unverified, Trusted);
        check(60_500, Unverified, Trusted);
        check(60_501, Unverified, TooOld);
        check(3_660_000, Unverified, TooOld);
        write(root, "a.br", 59_999);
        let seen = find_for(root, "a", SidecarVerification::AlwaysByContent)
            .expect("not a sidecar itself");
        assert_eq!(seen.state(Coding::Brotli), Unverified);
        let large = File::create(root.join("a")).expect("create");
        large
            .set_len(MAX_VERIFIED_BYTES + 1)
            .expect("a sparse file");
        let modified = UNIX_EPOCH + Duration::from_millis(1_000_000_500 - 60_000);
        large.set_modified(modified).expect("utimes");
        check(60_500, Trusted, Trusted);
        check(60_501, TooOld, TooOld);
    }

    #[test]
    fn a_meaningless_time_is_not_compared() {
        let place = tempfile::tempdir().expect("temporary directory");
        let root = place.path();
        let set_time = |name, secs| {
            let file = File::options().write(true).open(root.join(name));
            let time = UNIX_EPOCH + Duration::from_secs(secs);
            file.and_then(|file| file.set_modified(time))
                .expect("utimes");
        };
        let state = |verification| {
            let original = Identity::of(&File::open(root.join("a")).expect("open"));
            let identity = &original.expect("stat");
            let file = OriginalFile {
                path: b"a",
                identity,
                verdicts: None,
            };
            let directory = Root::open(root).expect("the root").directory();
            let (resolver, now) = (
                Resolver::new(),
                Now {
                    unix_secs: 1_000_000_000,
                    ..LATER
                },
            );
            let seen = Sidecars::find(
                &SearchRoot::new(&directory, &resolver, ProbeScope::Anywhere),
                file,
                verification,
                now,
            );
            seen.expect("not a sidecar itself").state(Coding::Gzip)
        };
        // The sidecar is from the future, or the file has a placeholder as its time. Then ctime decides.
        for (original, sidecar) in [(999_999_000, 2_000_000_000), (1, 999_999_000)] {
            write(root, "a.gz", 0);
            set_time("a.gz", sidecar);
            std::thread::sleep(Duration::from_millis(20));
            write(root, "a", 0);
            set_time("a", original);
            assert_eq!(
                state(SidecarVerification::ByContent),
                SidecarState::Unverified
            );
            assert_eq!(state(SidecarVerification::BySeconds), SidecarState::TooOld);
            std::thread::sleep(Duration::from_millis(20));
            set_time("a.gz", sidecar);
            assert_eq!(state(SidecarVerification::BySeconds), SidecarState::Trusted);
        }
    }

    #[test]
    fn a_verdict_is_remembered_until_one_of_the_two_files_changes() {
        let place = tempfile::tempdir().expect("temporary directory");
        let root = place.path();
        let directory = Root::open(root).expect("the root").directory();
        write(root, "a", 60_000);
        write(root, "a.gz", 70_000);
        let verdicts = VerdictCache::new();
        let identity = |name| Identity::of(&File::open(root.join(name)).expect("open"));
        let state = || {
            let file = OriginalFile {
                path: b"a",
                identity: &identity("a").expect("stat"),
                verdicts: Some(&verdicts),
            };
            let resolver = Resolver::new();
            let seen = Sidecars::find(
                &SearchRoot::new(&directory, &resolver, ProbeScope::Anywhere),
                file,
                SidecarVerification::ByContent,
                LATER,
            );
            seen.expect("not a sidecar itself").state(Coding::Gzip)
        };
        let remember = |is_same| {
            let [original, sidecar] = ["a", "a.gz"].map(|name| identity(name).expect("stat"));
            verdicts.remember(&original, &sidecar, is_same);
        };
        assert_eq!(state(), SidecarState::Unverified);
        remember(true);
        assert_eq!(state(), SidecarState::Trusted);
        write(root, "a", 61_000);
        assert_eq!(state(), SidecarState::Unverified);
        remember(false);
        assert_eq!(state(), SidecarState::Unusable);
        write(root, "a.gz", 71_000);
        assert_eq!(state(), SidecarState::Unverified);
    }

    #[test]
    fn added_removed_and_changed_sidecars_are_noticed() {
        let place = tempfile::tempdir().expect("temporary directory");
        let root = place.path();
        write(root, "a", 60_000);
        let directory = File::open(root).expect("the root");
        let are_current = |seen: &Sidecars| {
            seen.are_current(
                b"a",
                &PathProbe::new(directory.as_fd(), ProbeScope::WithinMount),
            )
        };
        let steps: [&dyn Fn(); 3] = [
            &|| write(root, "a.br", 50_000),
            &|| write(root, "a.br", 40_000),
            &|| fs::remove_file(root.join("a.br")).expect("rm"),
        ];
        for step in steps {
            let seen = find(root, "a").expect("not a sidecar itself");
            assert!(are_current(&seen));
            step();
            assert!(!are_current(&seen));
        }
    }

    #[test]
    fn a_sidecar_has_no_sidecars() {
        let place = tempfile::tempdir().expect("temporary directory");
        write(place.path(), "a.gz", 0);
        assert!(find(place.path(), "a.gz").is_none());
    }
}
