//! Whether a directory has sidecars at all.

use rustix::fs::Dir;

use super::opening::Lookup;
use crate::clock::{Millis, Now};
use crate::site::content::is_sidecar_path;
use crate::site::disk::{IdentitySnapshot, OpenedFile, SearchRoot};
use crate::site::memory::{DirectoryEntry, Freshness, FreshnessState, Memory, SitePath};

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
        if let Some(known) = self.knows_sidecars(search_root, name, now.monotonic) {
            return known;
        }
        let key = self.key(directory_of(name));
        if memory.directories.is_worth_reading(key) {
            if search_root.is_cached_only() {
                search_root.probe().note_disk();
            } else {
                return self.read_directory(memory, search_root, key, now);
            }
        }
        true
    }

    /// Notes that the sidecars of the file `name` were looked up, one by one.
    pub(super) fn note_sidecar_lookup(&self, search_root: &SearchRoot<'_>, name: &[u8]) {
        // Another thread repeats a lookup that needs the disk.
        if let Some(memory) = &self.memory
            && search_root.is_answer_certain()
        {
            memory.directories.note_load(self.key(directory_of(name)));
        }
    }

    /// What is known about the directory of the file `name`: whether it may have sidecars.
    pub(super) fn knows_sidecars(
        &self,
        search_root: &SearchRoot<'_>,
        name: &[u8],
        now: Millis,
    ) -> Option<bool> {
        let known = &self.memory.as_ref()?.directories;
        let directory = directory_of(name);
        let entry = known.find(self.key(directory))?;
        let generation = search_root.directory().generation;
        let freshness = &entry.freshness;
        match freshness.state(generation, now, self.revalidate_millis) {
            FreshnessState::Fresh => return Some(entry.may_have_sidecars),
            FreshnessState::Stale => {
                let identity = search_root.probe().identity(directory);
                let is_current = |snapshot: &IdentitySnapshot| {
                    identity.is_some_and(|identity| snapshot.is_current(&identity))
                };
                if entry.snapshot.as_ref().is_some_and(is_current) {
                    freshness.confirm(now);
                    return Some(entry.may_have_sidecars);
                }
            }
            FreshnessState::Invalid => {}
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
        let read = || {
            let opened = search_root.open(key.path).ok()?;
            let has_sidecars = has_sidecar_names(&opened)?;
            let snapshot = IdentitySnapshot::new(opened.identity, now);
            let after = OpenedFile::of(opened.file).ok()?.identity;
            // A name may have been added meanwhile, or may be added without a change of mtime.
            let may_have_sidecars = has_sidecars || !snapshot.is_current(&after);
            Some((snapshot, may_have_sidecars))
        };
        let (snapshot, may_have_sidecars) = read().unzip();
        let may_have_sidecars = may_have_sidecars.unwrap_or(true);
        let generation = search_root.directory().generation;
        let entry = DirectoryEntry {
            snapshot,
            may_have_sidecars,
            freshness: Freshness::new(generation, now.monotonic),
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
