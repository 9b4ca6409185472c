//! Loading files from the kernel's memory, without waiting for a disk.
//!
//! Every thread tries this before it uses the disk, the event loop too. A small file whose name and content
//! the kernel has in memory takes some microseconds, less than handing the request to a worker.

use super::opening::Lookup;
use crate::clock::{Millis, Now};
use crate::site::disk::{
    CachedAccessKind, OpenError, OpenedFile, ProbeScope, RootDirectory, SearchRoot,
};
use crate::site::memory::{Absence, LookupResult, Memory, SitePath};
use crate::site::waiting::FirstSlice;

/// The largest file that is loaded while other connections wait for the thread, in bytes. That takes about
/// 30 microseconds.
const MAX_CACHED_BYTES: u64 = 64 * 1024;

/// The reason to leave a load to a thread that may block. It is not lasting, so no client is told.
pub(super) const NEEDS_DISK: Absence = Absence::Open(OpenError::Exhausted);

impl Lookup {
    /// A lookup in `directory` that is restricted to the kernel's memory; `None` if that is not permitted,
    /// or if the file system cannot tell what it would have to wait for.
    pub(super) fn cached_search_root<'d>(
        &'d self,
        directory: &'d RootDirectory,
        now: Millis,
    ) -> Option<SearchRoot<'d>> {
        let access = &self.memory.as_ref()?.cached_access;
        let is_possible = directory.cached_access.is_some() && access.begin_use(now);
        is_possible.then(|| SearchRoot::new(directory, &self.resolver, ProbeScope::Cached))
    }

    /// Checks that the lookup may load `opened`.
    ///
    /// # Errors
    /// An absence that is not lasting if the lookup is restricted to the kernel's memory, and the load would take
    /// long or write to the disk.
    pub(super) fn check_load(
        search_root: &SearchRoot<'_>,
        opened: &OpenedFile,
        now: Now,
    ) -> Result<(), Absence> {
        if !search_root.is_cached_only() {
            return Ok(());
        }
        let writes = match search_root.directory().cached_access {
            Some(CachedAccessKind::OnDisk(times)) => opened.is_read_noted(times, now),
            Some(CachedAccessKind::InMemory) => false,
            None => true,
        };
        if writes || opened.identity.size() > MAX_CACHED_BYTES {
            return Err(NEEDS_DISK);
        }
        Ok(())
    }

    /// Loads the file of `key`, or finds that there is none. `None` if that needs the disk, or takes long.
    pub(super) fn load_cached(
        &self,
        memory: &Memory,
        key: SitePath<'_>,
        now: Now,
    ) -> Option<LookupResult> {
        let directory = self.root.directory();
        let search_root = self.cached_search_root(&directory, now.monotonic)?;
        let loaded = self.begin(&search_root, key, now).and_then(|mut load| {
            let loaded = load.go_on(&FirstSlice::new(now.monotonic));
            loaded.unwrap_or(Err(NEEDS_DISK))
        });
        let is_certain = search_root.is_answer_certain()
            && loaded
                .as_ref()
                .err()
                .is_none_or(|absence| absence.is_lasting());
        if !is_certain {
            return None;
        }
        self.absence_log.note(key.path, &loaded);
        let loaded = loaded
            .map_err(|absence| self.negative_entry(key.path, absence, directory.generation, now));
        Some(memory.keep(key, loaded))
    }
}
