//! The verdicts on forms that lie beside files, kept beyond the cache entries of the files: a file that is
//! pushed out of the cache and read again need not have its forms judged again.

use std::fmt;

use quick_cache::sync::Cache as QuickCache;

use crate::site::disk::Identity;

/// VerdictCache that are kept at most. Each takes some 250 bytes.
const MAX_VERDICTS: usize = 4_096;

/// Which forms decode to which files. Both are known by all that stat(2) tells of them, so a verdict is
/// void when one of them changes.
pub struct VerdictCache(QuickCache<(Identity, Identity), bool>);

impl VerdictCache {
    /// None so far.
    #[must_use]
    pub fn new() -> VerdictCache {
        VerdictCache(QuickCache::new(MAX_VERDICTS))
    }

    /// Whether `form` decodes to `original`; `None` if that has not been judged.
    #[must_use]
    pub fn find(&self, original: &Identity, sidecar: &Identity) -> Option<bool> {
        self.0.get(&(*original, *sidecar))
    }

    /// Remembers that `form` decodes to `original`, or does not.
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
