//! The results of sidecar verifications. They outlive the cache entry of a file: a file that is evicted and
//! read again need not have its sidecars verified again.

use std::fmt;

use quick_cache::sync::Cache as QuickCache;

use crate::site::disk::Identity;

/// The largest number of results. Each takes some 250 bytes.
const MAX_VERDICTS: usize = 4_096;

/// Which sidecars decode to which files. The keys contain all of stat(2) that identifies a version of a
/// file, so a result becomes void when one of the two files changes.
pub struct VerdictCache(QuickCache<(Identity, Identity), bool>);

impl VerdictCache {
    /// An empty cache.
    #[must_use]
    pub fn new() -> VerdictCache {
        VerdictCache(QuickCache::new(MAX_VERDICTS))
    }

    /// Whether `sidecar` decodes to `original`; `None` if that has not been verified.
    #[must_use]
    pub fn find(&self, original: &Identity, sidecar: &Identity) -> Option<bool> {
        self.0.get(&(*original, *sidecar))
    }

    /// Records whether `sidecar` decodes to `original`.
    pub fn remember(&self, original: &Identity, sidecar: &Identity, is_same: bool) {
        self.0.insert((*original, *sidecar), is_same);
    }
}

impl Default for VerdictCache {
    fn default() -> VerdictCache {
        VerdictCache::new()
    }
}

impl fmt::Debug for VerdictCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut verdicts = formatter.debug_struct("VerdictCache");
        verdicts.field("len", &self.0.len()).finish_non_exhaustive()
    }
}
