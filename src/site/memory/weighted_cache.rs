//! Caches that are bounded by the weight of their values and evict by use.

use quick_cache::sync::{Cache as QuickCache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

/// The largest number of shards of a cache, each with its own lock.
const MAX_SHARDS: u64 = 16;

/// The smallest number of entries that a new cache has room for.
const MIN_ITEMS: u64 = 16;

/// A cached value under a key `K`. Its weight must not change while it is cached.
pub trait HasWeight<K> {
    /// The weight in bytes, including that of its `key`.
    fn weight(&self, key: &K) -> u64;
}

/// A cache of values that know their weight.
pub type WeightedCache<K, V> = QuickCache<K, V, ValueWeighter>;

/// The size of a cache.
#[derive(Debug, Clone, Copy)]
pub struct CacheSize {
    /// The largest weight of all values together.
    pub bytes: u64,
    /// The weight of a typical value, for an estimate of the number of values.
    pub typical_bytes: u64,
    /// The smallest bound of a shard. The cache's bound is divided among the shards, and each must have
    /// room for several of the largest values.
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
            // Unreachable: both values that the builder requires are set above. The plain constructor
            // cannot fail.
            Err(_) => QuickCache::with_weighter(MIN_ITEMS as usize, self.bytes, ValueWeighter),
        }
    }
}

/// Asks each value for its weight.
#[derive(Debug, Clone, Copy)]
pub struct ValueWeighter;

impl<K, V: HasWeight<K>> Weighter<K, V> for ValueWeighter {
    fn weight(&self, key: &K, value: &V) -> u64 {
        value.weight(key)
    }
}
