//! The caches of a site: bounded by the weight of what they hold, and evicted by use.

use quick_cache::sync::{Cache as QuickCache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

/// Parts of a cache, each with a lock of its own, at most.
const MAX_SHARDS: u64 = 16;

/// Entries that there is room for at first, at least.
const MIN_ITEMS: u64 = 16;

/// A value of a cache, under a key `K`. Its weight must not change while the cache holds it.
pub trait HasWeight<K> {
    /// The weight in bytes, with that of its `key`.
    fn weight(&self, key: &K) -> u64;
}

/// A cache for values that tell their own weight.
pub type WeightedCache<K, V> = QuickCache<K, V, ValueWeighter>;

/// The size of a cache.
#[derive(Debug, Clone, Copy)]
pub struct CacheSize {
    /// The weight of all values together, at most.
    pub bytes: u64,
    /// The weight of a typical value, for the estimate of their number.
    pub typical_bytes: u64,
    /// The least that a part with a lock of its own may hold: the bound is kept in each part, which must
    /// have room for several of the largest values.
    pub shard_bytes: u64,
}

impl CacheSize {
    /// An empty cache of this size.
    #[must_use]
    pub fn build<K, V>(self) -> WeightedCache<K, V>
    where
        K: std::hash::Hash + Eq,
        V: HasWeight<K> + Clone,
    {
        let shards = (self.bytes / self.shard_bytes.max(1)).clamp(1, MAX_SHARDS);
        let items = (self.bytes / self.typical_bytes.max(1)).max(MIN_ITEMS);
        let options = OptionsBuilder::new()
            .shards(usize::try_from(shards).unwrap_or(1).next_power_of_two())
            .estimated_items_capacity(usize::try_from(items).unwrap_or(MIN_ITEMS as usize))
            .weight_capacity(self.bytes)
            .build();
        match options {
            Ok(options) => QuickCache::with_options(
                options,
                ValueWeighter,
                DefaultHashBuilder::default(),
                DefaultLifecycle::default(),
            ),
            // Both values that the builder requires are set above; the plain constructor cannot fail.
            Err(_) => QuickCache::with_weighter(MIN_ITEMS as usize, self.bytes, ValueWeighter),
        }
    }
}

/// Takes the weight that a value tells.
#[derive(Debug, Clone, Copy)]
pub struct ValueWeighter;

impl<K, V: HasWeight<K>> Weighter<K, V> for ValueWeighter {
    fn weight(&self, key: &K, value: &V) -> u64 {
        value.weight(key)
    }
}
