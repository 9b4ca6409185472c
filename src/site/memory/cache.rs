//! Files kept ready: small ones in memory, larger ones as open descriptors.
//!
//! Bounded by weight and evicted by use; each entry is compared with its file at most once per
//! `cache.revalidate` ([`Freshness`]), with one stat(2).

use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::Equivalent;

use super::encoded_variants::EncodedVariants;
use super::freshness::Freshness;
use super::weighted_cache::{CacheSize, Weighs, WeightedCache};
use crate::http::accept_encoding::Coding;
use crate::http::target::has_dot_segment;
use crate::site::content::{Content, Representation, Sidecars, compress};

/// Memory that an entry is assumed to need when the number of entries is estimated, in bytes.
const TYPICAL_ENTRY_BYTES: u64 = 16 * 1024;

/// A cached file and where it came from.
#[derive(Debug)]
pub struct FileEntry {
    /// The file, ready to be sent.
    pub representation: Representation,
    /// The request path that it is kept for, and its site.
    pub key: KeptSitePath,
    /// Its path below the root, as stat(2) wants it.
    pub path: Vec<u8>,
    /// When it was learnt.
    pub freshness: Freshness,
    /// What lies beside it, if that has been looked at.
    pub sidecars: Option<Sidecars>,
    /// Its encoded forms; `None` if it cannot have any.
    pub forms: Option<Box<EncodedVariants>>,
    /// Whether the file itself is there.
    pub original: Original,
}

/// Whether a file itself is there, or only encoded forms of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Original {
    /// The file is there.
    There,
    /// Only forms are, and the representation was decoded from one of them.
    Decoded,
    /// Only forms are, none of which could be decoded. The representation is empty and must not be sent.
    Missing,
}

impl FileEntry {
    /// Makes the form in `coding`; `None` if it is not worth it, or if the content is not in memory.
    /// Takes up to 10 ms for the 256 KiB that the cache keeps by default.
    #[must_use]
    pub fn compress(&self, coding: Coding) -> Option<Representation> {
        let encoded = match &self.representation.content {
            Content::Memory(content) => compress(coding, content)?,
            Content::MemfdBody(content) => compress(coding, &content.read().ok()?)?,
            Content::Descriptor(..) => return None,
        };
        Some(self.representation.form(coding, encoded))
    }

    /// What it weighs for the cache, if an open file weighs `descriptor`.
    fn weight(&self, descriptor: u64) -> u64 {
        let forms = self.forms.iter().flat_map(|forms| forms.ready());
        let representations = std::iter::once(&self.representation).chain(forms);
        let weights = representations.map(|representation| match representation.content {
            Content::Memory(_) | Content::MemfdBody(_) => representation.memory(),
            Content::Descriptor(..) => representation.memory().max(descriptor),
        });
        let sidecars = self.sidecars.as_ref().map_or(0, Sidecars::memory);
        weights.sum::<u64>() + sidecars
    }
}

/// An entry as the cache holds it. A weight must not change while it is held, and that of an entry
/// does, as its forms are filled in; so it is taken down, and the entry put in again.
#[derive(Debug, Clone)]
struct Weighed {
    entry: Arc<FileEntry>,
    weight: u64,
}

/// The paths of all sites to entries.
#[derive(Debug)]
pub struct FileCache {
    entries: WeightedCache<KeptSitePath, Weighed>,
    /// The weight of an open descriptor: it bounds how many the cache keeps.
    descriptor_weight: u64,
    /// Held while an entry is put in again, so that the last weight is the right one.
    weighing: Mutex<()>,
}

impl FileCache {
    /// A cache of at most `bytes` bytes for files of at most `file_bytes` bytes each, and of at most
    /// `descriptors` larger ones.
    #[must_use]
    pub fn new(bytes: u64, file_bytes: u64, descriptors: u64) -> FileCache {
        let size = CacheSize {
            bytes,
            typical_bytes: TYPICAL_ENTRY_BYTES,
            shard_bytes: 8 * file_bytes,
        };
        FileCache {
            entries: size.build(),
            descriptor_weight: bytes / descriptors.max(1),
            weighing: Mutex::new(()),
        }
    }

    /// The entry for `path`, if there is one.
    #[must_use]
    pub fn find(&self, path: SitePath<'_>) -> Option<Arc<FileEntry>> {
        self.entries.get(&path).map(|kept| kept.entry)
    }

    /// Keeps `entry`, unless it is too large.
    pub fn keep(&self, entry: Arc<FileEntry>) {
        let key = entry.key.clone();
        self.entries.insert(key, self.weigh(entry));
    }

    /// Fills in the form in `coding` of `entry`, with what `make` returns, unless that has been done;
    /// waits for another thread that is at it.
    pub fn fill<'e>(
        &self,
        entry: &'e Arc<FileEntry>,
        coding: Coding,
        make: impl FnOnce() -> Option<Representation>,
    ) -> Option<&'e Representation> {
        self.filled(entry, entry.forms.as_ref()?.fill(coding, make))
    }

    /// As [`fill`](FileCache::fill), for a form that is sent while the one beside the file is being judged.
    pub fn fill_meanwhile<'e>(
        &self,
        entry: &'e Arc<FileEntry>,
        coding: Coding,
        make: impl FnOnce() -> Option<Representation>,
    ) -> Option<&'e Representation> {
        self.filled(entry, entry.forms.as_ref()?.fill_meanwhile(coding, make))
    }

    fn filled<'e>(
        &self,
        entry: &'e Arc<FileEntry>,
        (form, is_ours): (Option<&'e Representation>, bool),
    ) -> Option<&'e Representation> {
        if is_ours && form.is_some() {
            self.weigh_again(entry);
        }
        form
    }

    /// Counts what `entry` weighs now, if it is still kept.
    fn weigh_again(&self, entry: &Arc<FileEntry>) {
        let _one_at_a_time = self.weighing.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = self.entries.peek(&entry.key);
        if kept.is_some_and(|kept| Arc::ptr_eq(&kept.entry, entry)) {
            // Should another have taken its place since, this one is as fresh as it was before that,
            // and goes when it is due. If it is gone, it stays gone.
            let weighed = self.weigh(Arc::clone(entry));
            let _ = self.entries.replace(entry.key.clone(), weighed, true);
        }
    }

    fn weigh(&self, entry: Arc<FileEntry>) -> Weighed {
        let weight = entry.weight(self.descriptor_weight);
        Weighed { entry, weight }
    }

    /// Drops `entry`, unless another has taken its place already.
    pub fn drop_stale(&self, path: SitePath<'_>, entry: &Arc<FileEntry>) {
        self.entries
            .remove_if(&path, |kept| Arc::ptr_eq(&kept.entry, entry));
    }
}

impl Weighs<KeptSitePath> for Weighed {
    fn weight(&self, path: &KeptSitePath) -> u64 {
        self.weight + 3 * path.path_bytes()
    }
}

/// A request path, decoded and normalised, of the site with this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SitePath<'p> {
    /// Which site, and which policy for codings there: the site's number times
    /// [`CodingPolicy::NUMBERS`](crate::site::rules::CodingPolicy::NUMBERS), and the policy's. The default site
    /// has the number 0, then the hosts follow in order.
    pub site: u32,
    /// The path.
    pub path: &'p [u8],
}

/// Whether a file or directory on the way begins with a dot, `/.well-known/` (RFC 8615) excepted. Such
/// paths are served only if the site shows hidden files.
#[must_use]
pub fn has_dot_name(path: &[u8]) -> bool {
    let below = match path.strip_prefix(b"/.well-known") {
        Some(rest) if rest.is_empty() || rest.starts_with(b"/") => rest,
        _ => path,
    };
    has_dot_segment(below)
}

/// A [`SitePath`], kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeptSitePath {
    // The fields of `SitePath` in their order, so that both have the same hash.
    site: u32,
    path: Box<[u8]>,
}

impl SitePath<'_> {
    /// A copy that lasts.
    #[must_use]
    pub fn keep(&self) -> KeptSitePath {
        KeptSitePath {
            site: self.site,
            path: self.path.into(),
        }
    }
}

impl KeptSitePath {
    /// The path to find things by.
    #[must_use]
    pub fn site_path(&self) -> SitePath<'_> {
        SitePath {
            site: self.site,
            path: &self.path,
        }
    }

    /// The number of bytes of the path.
    #[must_use]
    pub fn path_bytes(&self) -> u64 {
        self.path.len() as u64
    }
}

impl Equivalent<KeptSitePath> for SitePath<'_> {
    fn equivalent(&self, kept: &KeptSitePath) -> bool {
        self.site == kept.site && self.path == &*kept.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Millis, Now};
    use crate::config::EtagSource;
    use crate::site::content::{LoadLimits, Metadata};
    use crate::site::disk::{DescriptorBudget, MAX_CACHED_FILES, ReadLimits};
    use std::hash::BuildHasher;
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
            forms: EncodedVariants::new(None, true).map(Box::new),
            original: Original::There,
        }
    }

    /// Keeps `entry`, and returns it as it is kept.
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
    fn a_form_is_made_once_and_its_weight_counts() {
        let cache = FileCache::new(1 << 20, 1 << 16, MAX_CACHED_FILES);
        let kept = kept(&cache, entry(&[b'x'; 10_000], 20_000));
        let before = cache.entries.weight();
        let form = cache.fill(&kept, Coding::Gzip, || kept.compress(Coding::Gzip));
        let form = form.expect("it compresses");
        assert_eq!(cache.entries.weight(), before + form.memory());
        let again = cache.fill(&kept, Coding::Gzip, || panic!("made twice"));
        assert!(std::ptr::eq(form, again.expect("made before")));
        assert!(Arc::ptr_eq(&kept, &cache.find(at(b"/a")).expect("kept")));
        cache.drop_stale(at(b"/a"), &kept);
        assert_eq!(cache.entries.weight(), 0);
    }

    #[test]
    fn forms_of_many_files_do_not_take_more_than_the_bound() {
        let cache = FileCache::new(1 << 20, 1 << 13, MAX_CACHED_FILES);
        for name in 0..2_000_u32 {
            let path = name.to_be_bytes();
            let kept = kept(&cache, entry_for(at(&path), &[b'x'; 300], 20_000));
            for coding in Coding::COMPRESSED {
                let make = || Some(kept.representation.form(coding, vec![b'y'; 4_000]));
                assert!(cache.fill(&kept, coding, make).is_some());
            }
        }
        let weight = cache.entries.weight();
        assert!(weight <= 1 << 20, "{weight}");
        assert!(cache.entries.len() > 40, "{}", cache.entries.len());
    }

    #[test]
    fn an_entry_that_has_gone_does_not_come_back_with_its_form() {
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

    #[test]
    fn a_kept_path_is_found_by_one_that_is_not_and_only_in_its_site() {
        let path = SitePath {
            site: 1,
            path: b"/a",
        };
        let kept = path.keep();
        let hasher = std::hash::RandomState::new();
        assert_eq!(hasher.hash_one(path), hasher.hash_one(&kept));
        assert!(path.equivalent(&kept));
        assert_eq!(kept.site_path(), path);
        for (site, path) in [(0, &b"/a"[..]), (1, b"/b")] {
            assert!(!SitePath { site, path }.equivalent(&kept));
        }
    }
}
