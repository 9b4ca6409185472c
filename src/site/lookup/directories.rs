//! Whether a directory has sidecars at all.

use rustix::fs::Dir;

use super::opening::Lookup;
use crate::clock::{Millis, Now};
use crate::site::content::is_sidecar_path;
use crate::site::disk::{IdentitySnapshot, OpenedFile, SearchRoot};
use crate::site::memory::{DirectoryEntry, Freshness, FreshnessState, Memory, SitePath};

/// The time after which the names of a directory that may have sidecars are read again, in milliseconds.
const READ_AGAIN_MILLIS: u64 = 10_000;

/// The largest number of names that are read of a directory, which takes two milliseconds.
const MAX_NAMES: usize = 8_192;

impl Lookup {
    /// Whether the file `name` below the root may have sidecars, according to its directory. Reads the names
    /// of a directory in which files were loaded before. A lookup that is restricted to the kernel's memory
    /// then ends, so that a thread that may block reads them.
    pub(super) fn may_have_sidecars(
        &self,
        search_root: &SearchRoot<'_>,
        name: &[u8],
        now: Now,
    ) -> bool {
        let Some(memory) = &self.memory else {
            return true;
        };
        // Other file systems may not keep the mtime of a directory.
        if search_root.directory().cached_access.is_none() {
            return true;
        }
        if let Some(known) = self.knows_sidecars(search_root, name, false, now.monotonic) {
            return known;
        }
        let key = self.key(directory_of(name));
        if memory.directories.is_worth_reading(key, now.monotonic) {
            if search_root.is_cached_only() {
                search_root.probe().note_disk();
            } else {
                return self.read_directory(memory, search_root, key, now);
            }
        }
        true
    }

    /// Notes that the sidecars of the file `name` were looked up, one by one.
    pub(super) fn note_sidecar_lookup(
        &self,
        search_root: &SearchRoot<'_>,
        name: &[u8],
        now: Millis,
    ) {
        // Another thread repeats a lookup that needs the disk.
        if let Some(memory) = &self.memory
            && search_root.is_answer_certain()
        {
            memory
                .directories
                .note_load(self.key(directory_of(name)), now);
        }
    }

    /// Whether the directory of the file `name` may have sidecars, if that is known. If `is_compared`, the
    /// directory is looked at, however short ago that was done, because the result will be used for longer.
    pub(super) fn knows_sidecars(
        &self,
        search_root: &SearchRoot<'_>,
        name: &[u8],
        is_compared: bool,
        now: Millis,
    ) -> Option<bool> {
        let known = &self.memory.as_ref()?.directories;
        let directory = directory_of(name);
        let entry = known.find(self.key(directory))?;
        let generation = search_root.directory().generation;
        let freshness = &entry.freshness;
        let state = freshness.state(generation, now, self.revalidate_millis);
        if state != FreshnessState::Invalid {
            if entry.may_have_sidecars {
                // Its files are looked up one by one, whatever has changed. After a while its names are read again.
                if freshness.age_millis(now) < READ_AGAIN_MILLIS {
                    return Some(true);
                }
            } else if state == FreshnessState::Fresh && !is_compared {
                return Some(false);
            } else {
                let identity = search_root.probe().identity(directory);
                if identity.is_some_and(|identity| entry.snapshot.is_current(&identity)) {
                    freshness.confirm(now);
                    return Some(false);
                }
            }
        }
        // If the disk was needed for the comparison, the directory may be as before.
        if search_root.is_answer_certain() {
            known.forget(self.key(directory));
        }
        None
    }

    /// Reads the names of a directory. Returns whether it may have sidecars.
    fn read_directory(
        &self,
        memory: &Memory,
        search_root: &SearchRoot<'_>,
        key: SitePath<'_>,
        now: Now,
    ) -> bool {
        let root = search_root.directory();
        let read = || {
            let opened = search_root.open(key.path).ok()?;
            let has_sidecars = has_sidecar_names(&opened)?;
            let snapshot = IdentitySnapshot::new(opened.identity, now);
            let after = OpenedFile::of(opened.file).ok()?.identity;
            // A name may have been added meanwhile, or may be added without a change of mtime. A file system that is
            // mounted below the root may not keep the mtime.
            let is_settled = snapshot.is_current(&after) && after.device() == root.device;
            Some((snapshot, has_sidecars || !is_settled))
        };
        // A directory may be searched but not read.
        let unread = || {
            let identity = search_root.probe().identity(key.path)?;
            Some((IdentitySnapshot::new(identity, now), true))
        };
        let Some((snapshot, may_have_sidecars)) = read().or_else(unread) else {
            return true;
        };
        let entry = DirectoryEntry {
            snapshot,
            may_have_sidecars,
            freshness: Freshness::new(root.generation, now.monotonic),
        };
        memory.directories.keep(key, entry);
        may_have_sidecars
    }
}

/// Whether a name in the directory is that of a sidecar, also in upper case, as some file systems ignore case.
/// True if there are too many names. `None` if the directory cannot be read.
fn has_sidecar_names(directory: &OpenedFile) -> Option<bool> {
    let mut count = 0;
    for entry in Dir::read_from(&directory.file).ok()? {
        let name = entry.ok()?;
        count += 1;
        if count > MAX_NAMES || is_sidecar_path(&name.file_name().to_bytes().to_ascii_lowercase()) {
            return Some(true);
        }
    }
    Some(false)
}

/// The path of the directory of the file `name`.
fn directory_of(name: &[u8]) -> &[u8] {
    match name.iter().rposition(|byte| *byte == b'/') {
        Some(end) => &name[..end],
        None => b".",
    }
}
