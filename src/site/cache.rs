//! Files kept ready: small ones in memory, larger ones as open descriptors.
//!
//! Bounded by weight and evicted by use; each entry is compared with its file at most once per
//! `cache.revalidate` ([`Freshness`]), with one stat(2). An entry is filled once, however many ask
//! for it at the same time.

use std::sync::Arc;

use quick_cache::sync::{Cache as QuickCache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use super::freshness::Freshness;
use super::representation::{Content, Representation};
use super::site_path::{KeptSitePath, SitePath};

/// Descriptors that the cache holds open at most; the connection limit leaves room for them.
pub const MAX_DESCRIPTORS: u64 = 512;

/// Memory that an entry is assumed to need when the number of entries is estimated, in bytes.
const TYPICAL_ENTRY_BYTES: u64 = 16 * 1024;

/// A cached file and where it came from.
#[derive(Debug)]
pub struct Entry {
    /// The file, ready to be sent.
    pub representation: Representation,
    /// Its path below the root, as stat(2) wants it.
    pub path: Vec<u8>,
    /// When it was learnt.
    pub freshness: Freshness,
}

/// The paths of all sites to entries.
#[derive(Debug)]
pub struct Cache {
    entries: QuickCache<KeptSitePath, Arc<Entry>, Weigh>,
}

impl Cache {
    /// A cache of at most `bytes` bytes for files of at most `file_bytes` bytes each.
    #[must_use]
    pub fn new(bytes: u64, file_bytes: u64) -> Cache {
        // The bound is kept per shard, so a shard must have room for several of the largest files.
        let shards = (bytes / (8 * file_bytes.max(1))).clamp(1, 16);
        let options = OptionsBuilder::new()
            .shards(usize::try_from(shards).unwrap_or(1).next_power_of_two())
            .estimated_items_capacity(
                usize::try_from(bytes / TYPICAL_ENTRY_BYTES)
                    .unwrap_or(1)
                    .max(16),
            )
            .weight_capacity(bytes)
            .build();
        let weigh = Weigh {
            descriptor: bytes / MAX_DESCRIPTORS,
        };
        let entries = match options {
            Ok(options) => QuickCache::with_options(
                options,
                weigh,
                DefaultHashBuilder::default(),
                DefaultLifecycle::default(),
            ),
            // Both values that the builder requires are set above; the plain constructor cannot fail.
            Err(_) => QuickCache::with_weighter(16, bytes, weigh),
        };
        Cache { entries }
    }

    /// The entry for `path`, if there is one.
    #[must_use]
    pub fn find(&self, path: SitePath<'_>) -> Option<Arc<Entry>> {
        self.entries.get(&path)
    }

    /// The entry for `path`, made by `load` if there is none. While one caller loads, others that
    /// ask for the same path wait for its result.
    ///
    /// # Errors
    /// What `load` returns; nothing is kept then.
    pub fn find_or_load<E>(
        &self,
        path: SitePath<'_>,
        load: impl FnOnce() -> Result<Entry, E>,
    ) -> Result<Arc<Entry>, E> {
        self.entries
            .get_or_insert_with(&path.keep(), || load().map(Arc::new))
    }

    /// Drops `entry`, unless another has taken its place already.
    pub fn drop_stale(&self, path: SitePath<'_>, entry: &Arc<Entry>) {
        self.entries
            .remove_if(&path, |kept| Arc::ptr_eq(kept, entry));
    }
}

#[derive(Debug, Clone)]
struct Weigh {
    /// What an open descriptor weighs, so that there are at most [`MAX_DESCRIPTORS`].
    descriptor: u64,
}

impl Weighter<KeptSitePath, Arc<Entry>> for Weigh {
    fn weight(&self, path: &KeptSitePath, entry: &Arc<Entry>) -> u64 {
        let memory = entry.representation.memory() + 2 * path.path_bytes();
        match entry.representation.content {
            Content::Memory(_) => memory,
            Content::Descriptor(..) => memory.max(self.descriptor),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Millis, Now};
    use std::io::Write;

    fn at(path: &[u8]) -> SitePath<'_> {
        SitePath { site: 0, path }
    }

    fn entry(content: &[u8], memory_bytes: u64) -> Entry {
        let mut file = tempfile::tempfile().expect("temporary file");
        file.write_all(content).expect("write");
        let now = Now {
            monotonic: Millis(0),
            unix_secs: u64::MAX,
        };
        let representation =
            Representation::load(file, "text/plain", memory_bytes, now).expect("load");
        Entry {
            representation,
            path: b"a".to_vec(),
            freshness: Freshness::new(0, Millis(0)),
        }
    }

    #[test]
    fn an_entry_is_loaded_once_and_found_afterwards() {
        let cache = Cache::new(1 << 20, 1 << 10);
        assert!(cache.find(at(b"/a")).is_none());
        let first = cache
            .find_or_load(at(b"/a"), || Ok::<_, ()>(entry(b"1", 10)))
            .expect("load");
        let second = cache
            .find_or_load(at(b"/a"), || panic!("loaded twice"))
            .unwrap_or_else(|()| panic!());
        assert!(Arc::ptr_eq(&first, &second));
        assert!(cache.find(at(b"/a")).is_some());
    }

    #[test]
    fn sites_do_not_see_each_others_files() {
        let cache = Cache::new(1 << 20, 1 << 10);
        let loaded = cache.find_or_load(at(b"/a"), || Ok::<_, ()>(entry(b"1", 10)));
        assert!(loaded.is_ok());
        let other = SitePath {
            site: 1,
            path: b"/a",
        };
        assert!(cache.find(other).is_none());
    }

    #[test]
    fn finding_does_not_wait_for_a_loading() {
        let cache = Cache::new(1 << 20, 1 << 10);
        let loaded = cache.find_or_load(at(b"/a"), || {
            assert!(cache.find(at(b"/a")).is_none());
            Ok::<_, ()>(entry(b"1", 10))
        });
        assert!(loaded.is_ok());
    }

    #[test]
    fn a_failed_load_leaves_nothing_behind() {
        let cache = Cache::new(1 << 20, 1 << 10);
        assert_eq!(
            cache
                .find_or_load(at(b"/a"), || Err("no"))
                .expect_err("fails"),
            "no"
        );
        assert!(cache.find(at(b"/a")).is_none());
    }

    #[test]
    fn many_names_do_not_take_more_than_the_bound() {
        let cache = Cache::new(1 << 20, 1 << 10);
        for name in 0..20_000_u32 {
            let _ = cache.find_or_load(at(&name.to_be_bytes()), || {
                Ok::<_, ()>(entry(&[0; 500], 1_000))
            });
        }
        assert!(
            cache.entries.weight() <= 1 << 20,
            "{}",
            cache.entries.weight()
        );
        assert!(cache.entries.len() > 100, "{}", cache.entries.len());
    }

    #[test]
    fn descriptors_are_bounded_by_their_number() {
        let cache = Cache::new(1 << 30, 1 << 20);
        for name in 0..(MAX_DESCRIPTORS as u32 + 100) {
            let _ = cache.find_or_load(at(&name.to_be_bytes()), || Ok::<_, ()>(entry(b"large", 1)));
        }
        assert!(
            cache.entries.len() as u64 <= MAX_DESCRIPTORS,
            "{}",
            cache.entries.len()
        );
    }

    #[test]
    fn a_stale_entry_goes_but_not_its_successor() {
        let cache = Cache::new(1 << 20, 1 << 10);
        let old = cache
            .find_or_load(at(b"/a"), || Ok::<_, ()>(entry(b"1", 10)))
            .expect("load");
        cache.drop_stale(at(b"/a"), &old);
        let new = cache
            .find_or_load(at(b"/a"), || Ok::<_, ()>(entry(b"2", 10)))
            .expect("load");
        cache.drop_stale(at(b"/a"), &old);
        assert!(Arc::ptr_eq(&new, &cache.find(at(b"/a")).expect("kept")));
    }
}
