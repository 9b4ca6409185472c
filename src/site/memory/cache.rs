//! The cache of files: small ones in memory, larger ones as open descriptors.
//!
//! The cache is bounded by weight and evicts by use. When it is full, a rule decides about new files
//! ([`Newcomers`]). Each entry is compared with its file at most once per `cache.revalidate` ([`Freshness`]).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::encoded_variants::EncodedVariants;
use super::freshness::Freshness;
use super::newcomers::Newcomers;
use super::site_path::{KeptSitePath, SitePath};
use super::weighted_cache::{CacheSize, HasWeight, WeightedCache};
use crate::http::accept_encoding::Coding;
use crate::site::content::{
    Content, Representation, Sidecars, allocation, arc_allocation, compress,
};

/// The assumed memory of an entry, in bytes, for an estimate of the number of entries.
const TYPICAL_ENTRY_BYTES: u64 = 16 * 1024;

/// The memory that the cache itself uses for an entry, in bytes: its slot, its place in the table, and those
/// of entries that were evicted and are remembered.
const SLOT_BYTES: u64 = 144;

/// The number of loads after which the cache is weighed again. That takes all its locks.
const LOADS_PER_WEIGHING: u64 = 32;

/// A cache is full if so many parts of it are in use: its shards do not fill up at the same time.
const FULL_PARTS: u64 = 15;
/// Of this number of parts.
const FULL_OF: u64 = 16;

/// A cached file and its origin.
#[derive(Debug)]
pub struct FileEntry {
    /// The file, ready to be sent.
    pub representation: Representation,
    /// The request path under which it is cached, and its site.
    pub key: KeptSitePath,
    /// The path below the root, as stat(2) takes it.
    pub path: Vec<u8>,
    /// When the file was loaded or revalidated.
    pub freshness: Freshness,
    /// The sidecars of the file, if they were looked up.
    pub sidecars: Option<Sidecars>,
    /// The encoded variants; `None` if there cannot be any.
    pub variants: Option<Box<EncodedVariants>>,
    /// Whether the file itself exists.
    pub original: OriginalState,
}

/// Whether a file itself exists, or only sidecars of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OriginalState {
    /// The file exists.
    Present,
    /// Only sidecars exist. The representation was decoded from one of them.
    Decoded,
    /// Only sidecars exist, and none could be decoded. The representation is empty and must not be sent.
    Missing,
}

impl FileEntry {
    /// Compresses the content with `coding`. `None` if that saves too little, or if the content is not
    /// in memory. Takes up to 10 ms for the 256 KiB that the cache keeps by default.
    #[must_use]
    pub fn compress(&self, coding: Coding) -> Option<Representation> {
        let encoded = match &self.representation.content {
            Content::Memory(content) => compress(coding, content)?,
            Content::MemfdBody(content) => compress(coding, &content.read().ok()?)?,
            Content::Descriptor(..) => return None,
        };
        Some(self.representation.variant(coding, encoded))
    }

    /// The weight of the entry in the cache, if an open file weighs `descriptor`.
    fn weight(&self, descriptor: u64) -> u64 {
        let variants = self.variants.iter().flat_map(|variants| variants.ready());
        let of_variants = variants.map(|variant| {
            allocation(size_of::<Representation>()) + weight_of(variant, descriptor)
        });
        let own = [
            arc_allocation::<FileEntry>(),
            // In the entry, and as the key in the cache.
            2 * allocation(self.key.site_path().path.len()),
            allocation(self.path.capacity()),
            weight_of(&self.representation, descriptor),
            self.sidecars.as_ref().map_or(0, Sidecars::allocated),
            self.variants
                .as_ref()
                .map_or(0, |_| allocation(size_of::<EncodedVariants>())),
            SLOT_BYTES,
        ];
        own.into_iter().chain(of_variants).sum()
    }
}

/// The memory that a representation has allocated, or what its open file weighs.
fn weight_of(representation: &Representation, descriptor: u64) -> u64 {
    let allocated = representation.allocated();
    match representation.content {
        Content::Memory(_) | Content::MemfdBody(_) => allocated,
        Content::Descriptor(..) => allocated.max(descriptor),
    }
}

/// An entry with its weight. The weight of a cached value must not change, but an entry grows as its variants
/// are filled in. So the weight is stored here, and the entry is inserted again when it has grown.
#[derive(Debug, Clone)]
struct WeightedEntry {
    entry: Arc<FileEntry>,
    weight: u64,
}

/// The entries of all sites, by path.
#[derive(Debug)]
pub struct FileCache {
    entries: WeightedCache<KeptSitePath, WeightedEntry>,
    /// The weight of an open descriptor, which bounds the number of cached descriptors.
    descriptor_weight: u64,
    /// Held while an entry is inserted again, so that the last weight is the right one.
    weighing: Mutex<()>,
    newcomers: Newcomers,
    is_full: AtomicBool,
    /// The number of calls of [`keep`](FileCache::keep).
    loads: AtomicU64,
}

impl FileCache {
    /// A cache of at most `bytes` bytes, for files of at most `file_bytes` bytes each and for at most
    /// `descriptors` larger ones.
    #[must_use]
    pub fn new(bytes: u64, file_bytes: u64, descriptors: u64) -> FileCache {
        let newcomers = Newcomers::new(bytes);
        let bytes = bytes.saturating_sub(newcomers.memory());
        let size = CacheSize {
            bytes,
            typical_bytes: TYPICAL_ENTRY_BYTES,
            shard_bytes: 8 * file_bytes,
        };
        FileCache {
            entries: size.build(),
            descriptor_weight: bytes / descriptors.max(1),
            weighing: Mutex::new(()),
            newcomers,
            is_full: AtomicBool::new(false),
            loads: AtomicU64::new(0),
        }
    }

    /// The entry for `path`, if there is one.
    #[must_use]
    pub fn find(&self, path: SitePath<'_>) -> Option<Arc<FileEntry>> {
        self.entries.get(&path).map(|kept| kept.entry)
    }

    /// Keeps `entry`, unless it is too large, or the cache is full and its [rule](Newcomers) refuses it.
    pub fn keep(&self, entry: Arc<FileEntry>) {
        let loads = self.loads.fetch_add(1, Ordering::Relaxed);
        if loads.is_multiple_of(LOADS_PER_WEIGHING) {
            let full = self.entries.capacity() / FULL_OF * FULL_PARTS;
            self.is_full
                .store(self.entries.weight() >= full, Ordering::Relaxed);
        }
        let loaded_at = entry.freshness.checked_at();
        if self.is_full.load(Ordering::Relaxed) && !self.newcomers.admit(&entry.key, loaded_at) {
            return;
        }
        self.admit(entry);
    }

    /// Keeps `entry`, unless it is too large.
    pub fn admit(&self, entry: Arc<FileEntry>) {
        let key = entry.key.clone();
        self.entries.insert(key, self.weigh(entry));
    }

    /// Fills in the variant of `entry` in `coding` with the result of `make`, unless it is filled in
    /// already. Waits while another thread fills it in.
    pub fn fill<'e>(
        &self,
        entry: &'e Arc<FileEntry>,
        coding: Coding,
        make: impl FnOnce() -> Option<Representation>,
    ) -> Option<&'e Representation> {
        self.filled(entry, entry.variants.as_ref()?.fill(coding, make))
    }

    /// As [`fill`](FileCache::fill), for a variant that is sent while the sidecar is being verified.
    pub fn fill_meanwhile<'e>(
        &self,
        entry: &'e Arc<FileEntry>,
        coding: Coding,
        make: impl FnOnce() -> Option<Representation>,
    ) -> Option<&'e Representation> {
        self.filled(entry, entry.variants.as_ref()?.fill_meanwhile(coding, make))
    }

    fn filled<'e>(
        &self,
        entry: &'e Arc<FileEntry>,
        (variant, is_ours): (Option<&'e Representation>, bool),
    ) -> Option<&'e Representation> {
        if is_ours && variant.is_some() {
            self.reweigh(entry);
        }
        variant
    }

    /// Updates the weight of `entry`, if it is still cached.
    fn reweigh(&self, entry: &Arc<FileEntry>) {
        let _one_at_a_time = self.weighing.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = self.entries.peek(&entry.key);
        if kept.is_some_and(|kept| Arc::ptr_eq(&kept.entry, entry)) {
            // If another thread has inserted a newer entry meanwhile, this one replaces it: it is as fresh as
            // before, and is dropped when it is stale. If there is no entry any more, none is inserted.
            let weighed = self.weigh(Arc::clone(entry));
            let _ = self.entries.replace(entry.key.clone(), weighed, true);
        }
    }

    fn weigh(&self, entry: Arc<FileEntry>) -> WeightedEntry {
        let weight = entry.weight(self.descriptor_weight);
        WeightedEntry { entry, weight }
    }

    /// Drops `entry`, unless another entry has replaced it already.
    pub fn drop_stale(&self, path: SitePath<'_>, entry: &Arc<FileEntry>) {
        self.entries
            .remove_if(&path, |kept| Arc::ptr_eq(&kept.entry, entry));
    }
}

impl HasWeight<KeptSitePath> for WeightedEntry {
    fn weight(&self, _path: &KeptSitePath) -> u64 {
        self.weight
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Millis, Now};
    use crate::config::EtagSource;
    use crate::site::content::{LoadLimits, Metadata};
    use crate::site::disk::{DescriptorBudget, MAX_CACHED_FILES, ReadLimits};
    use std::io::Write;

    fn at(path: &[u8]) -> SitePath<'_> {
        SitePath { site: 0, path }
    }

    fn entry(content: &[u8], memory_bytes: u64) -> FileEntry {
        entry_for(at(b"/a"), content, memory_bytes)
    }

    fn entry_for(key: SitePath<'_>, content: &[u8], memory_bytes: u64) -> FileEntry {
        let mut file = tempfile::tempfile().expect("temporary file");
        file.write_all(content).expect("write");
        let now = Now {
            monotonic: Millis(0),
            unix_secs: u64::MAX,
        };
        let limits = LoadLimits {
            read: ReadLimits {
                memory_bytes,
                hash_bytes: 0,
            },
            descriptors: &Arc::new(DescriptorBudget::unlimited()),
        };
        let metadata = Metadata {
            content_type: "text/plain",
            coding: Coding::Identity,
            varies: true,
            etag: EtagSource::Modified,
        };
        let representation = Representation::load(file, &metadata, limits, now);
        FileEntry {
            representation: representation.expect("load"),
            key: key.keep(),
            path: b"a".to_vec(),
            freshness: Freshness::new(0, Millis(0)),
            sidecars: None,
            variants: EncodedVariants::new(None, true).map(Box::new),
            original: OriginalState::Present,
        }
    }

    /// Caches `entry` and returns it.
    fn kept(cache: &FileCache, entry: FileEntry) -> Arc<FileEntry> {
        let entry = Arc::new(entry);
        cache.keep(Arc::clone(&entry));
        entry
    }

    #[test]
    fn an_entry_is_found_once_it_is_kept() {
        let cache = FileCache::new(1 << 20, 1 << 10, MAX_CACHED_FILES);
        assert!(cache.find(at(b"/a")).is_none());
        let entry = kept(&cache, entry(b"1", 10));
        assert!(Arc::ptr_eq(&entry, &cache.find(at(b"/a")).expect("kept")));
    }

    #[test]
    fn sites_do_not_see_each_others_files() {
        let cache = FileCache::new(1 << 20, 1 << 10, MAX_CACHED_FILES);
        kept(&cache, entry(b"1", 10));
        let other = SitePath {
            site: 1,
            path: b"/a",
        };
        assert!(cache.find(other).is_none());
    }

    #[test]
    fn many_names_do_not_take_more_than_the_bound() {
        let cache = FileCache::new(1 << 20, 1 << 10, MAX_CACHED_FILES);
        for name in 0..20_000_u32 {
            kept(&cache, entry_for(at(&name.to_be_bytes()), &[0; 500], 1_000));
        }
        assert!(
            cache.entries.weight() <= 1 << 20,
            "{}",
            cache.entries.weight()
        );
        assert!(cache.entries.len() > 100, "{}", cache.entries.len());
    }

    #[test]
    fn files_that_are_asked_for_once_do_not_evict_others() {
        let cache = FileCache::new(1 << 20, 1 << 10, MAX_CACHED_FILES);
        let keep = |name: u32| kept(&cache, entry_for(at(&name.to_be_bytes()), &[0; 500], 1_000));
        (0..2_000).for_each(|name| drop(keep(name)));
        let is_cached = |name: &u32| cache.find(at(&name.to_be_bytes())).is_some();
        let popular: Vec<u32> = (0..2_000).filter(is_cached).collect();
        assert!(popular.len() > 500, "{}", popular.len());
        (10_000..30_000).for_each(|name| drop(keep(name)));
        let left = popular.iter().filter(|name| is_cached(name)).count();
        assert!(left * 10 > popular.len() * 9, "{left} of {}", popular.len());
        // A file that is asked for again is admitted.
        keep(50_000);
        let again = entry_for(at(&50_000_u32.to_be_bytes()), &[0; 500], 1_000);
        let again = FileEntry {
            freshness: Freshness::new(0, Millis(1_000)),
            ..again
        };
        kept(&cache, again);
        assert!(is_cached(&50_000));
    }

    #[test]
    fn descriptors_are_bounded_by_their_number() {
        let cache = FileCache::new(1 << 30, 1 << 20, MAX_CACHED_FILES);
        for name in 0..(MAX_CACHED_FILES as u32 + 100) {
            kept(&cache, entry_for(at(&name.to_be_bytes()), b"large", 1));
        }
        assert!(
            cache.entries.len() as u64 <= MAX_CACHED_FILES,
            "{}",
            cache.entries.len()
        );
    }

    #[test]
    fn a_stale_entry_goes_but_not_its_successor() {
        let cache = FileCache::new(1 << 20, 1 << 10, MAX_CACHED_FILES);
        let old = kept(&cache, entry(b"1", 10));
        cache.drop_stale(at(b"/a"), &old);
        let new = kept(&cache, entry(b"2", 10));
        cache.drop_stale(at(b"/a"), &old);
        assert!(Arc::ptr_eq(&new, &cache.find(at(b"/a")).expect("kept")));
    }

    #[test]
    fn a_variant_is_made_once_and_its_weight_counts() {
        let cache = FileCache::new(1 << 20, 1 << 16, MAX_CACHED_FILES);
        let kept = kept(&cache, entry(&[b'x'; 10_000], 20_000));
        let before = cache.entries.weight();
        let variant = cache.fill(&kept, Coding::Gzip, || kept.compress(Coding::Gzip));
        let variant = variant.expect("it compresses");
        let boxed = allocation(size_of::<Representation>());
        assert_eq!(cache.entries.weight(), before + boxed + variant.allocated());
        let again = cache.fill(&kept, Coding::Gzip, || panic!("made twice"));
        assert!(std::ptr::eq(variant, again.expect("made before")));
        assert!(Arc::ptr_eq(&kept, &cache.find(at(b"/a")).expect("kept")));
        cache.drop_stale(at(b"/a"), &kept);
        assert_eq!(cache.entries.weight(), 0);
    }

    #[test]
    fn variants_of_many_files_do_not_take_more_than_the_bound() {
        let cache = FileCache::new(1 << 20, 1 << 13, MAX_CACHED_FILES);
        for name in 0..2_000_u32 {
            let path = name.to_be_bytes();
            let kept = kept(&cache, entry_for(at(&path), &[b'x'; 300], 20_000));
            for coding in Coding::COMPRESSED {
                let make = || Some(kept.representation.variant(coding, vec![b'y'; 4_000]));
                assert!(cache.fill(&kept, coding, make).is_some());
            }
        }
        let weight = cache.entries.weight();
        assert!(weight <= 1 << 20, "{weight}");
        assert!(cache.entries.len() > 40, "{}", cache.entries.len());
    }

    #[test]
    fn a_dropped_entry_does_not_come_back_with_its_variant() {
        let cache = FileCache::new(1 << 20, 1 << 10, MAX_CACHED_FILES);
        let load = || entry(&[b'x'; 500], 1_000);
        let old = kept(&cache, load());
        cache.drop_stale(at(b"/a"), &old);
        cache.fill(&old, Coding::Gzip, || old.compress(Coding::Gzip));
        assert!(cache.find(at(b"/a")).is_none());
        let new = kept(&cache, load());
        cache.fill(&old, Coding::Zstd, || old.compress(Coding::Zstd));
        assert!(Arc::ptr_eq(&new, &cache.find(at(b"/a")).expect("kept")));
    }
}
