//! The listings in memory: a cache for repeated requests, and a budget for all listings.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::page::ListingPage;
use super::variant::ListingVariant;
use crate::clock::Millis;

/// The largest total size of listings in memory, in bytes, whether they are cached, being built or being
/// sent. Further requests are refused, so that clients that read slowly cannot fill the memory.
pub const MAX_HELD_BYTES: u64 = 256 * 1024 * 1024;

/// The largest total size of cached listings, in bytes.
pub const MAX_KEPT_BYTES: u64 = 64 * 1024 * 1024;

/// The approximate size of a cached listing without its content, in bytes.
const PAGE_BYTES: u64 = 512;

/// The memory budget of all listings: the number of bytes in use.
#[derive(Debug, Default, Clone)]
pub struct ListingBudget(Arc<AtomicU64>);

/// A reserved part of the budget, which is returned on drop.
#[derive(Debug)]
pub struct Reservation {
    budget: ListingBudget,
    bytes: u64,
}

impl ListingBudget {
    /// An empty reservation.
    #[must_use]
    pub fn reservation(&self) -> Reservation {
        Reservation {
            budget: self.clone(),
            bytes: 0,
        }
    }

    /// The number of reserved bytes.
    #[cfg(test)]
    pub fn held_bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Reservation {
    /// Reserves `bytes` more. Returns false and reserves nothing if that exceeds the budget.
    #[must_use]
    pub fn grow(&mut self, bytes: u64) -> bool {
        let before = self.budget.0.fetch_add(bytes, Ordering::Relaxed);
        let is_granted = before.saturating_add(bytes) <= MAX_HELD_BYTES;
        if is_granted {
            self.bytes += bytes;
        } else {
            self.budget.0.fetch_sub(bytes, Ordering::Relaxed);
        }
        is_granted
    }

    /// The number of bytes in this reservation.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns all but `bytes` to the budget.
    pub fn shrink_to(&mut self, bytes: u64) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.budget.0.fetch_sub(surplus, Ordering::Relaxed);
        self.bytes -= surplus;
    }

    /// Moves all bytes into a new reservation.
    #[must_use]
    pub fn take(&mut self) -> Reservation {
        let bytes = std::mem::take(&mut self.bytes);
        let budget = self.budget.clone();
        Reservation { budget, bytes }
    }

    /// Ties this reservation to `content` until its last copy is dropped.
    #[must_use]
    pub fn hold(self, content: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        Bytes::from_owner(ReservedContent {
            content,
            _share: self,
        })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

struct ReservedContent<T> {
    content: T,
    _share: Reservation,
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for ReservedContent<T> {
    fn as_ref(&self) -> &[u8] {
        self.content.as_ref()
    }
}

/// The cached listings by path.
#[derive(Debug)]
pub struct ListingCache {
    /// The time that a listing stays fresh; with 0 nothing is cached.
    interval_millis: u64,
    max_bytes: u64,
    pages: Mutex<ListingTable>,
}

/// The cached listings of one directory.
type DirectoryListings = Vec<CachedListing>;

#[derive(Debug)]
struct CachedListing {
    variant: ListingVariant,
    page: Arc<ListingPage>,
    /// The size that was counted. A page grows with each coding that it is compressed in.
    bytes: u64,
}

#[derive(Debug, Default)]
struct ListingTable {
    by_path: HashMap<Box<[u8]>, DirectoryListings>,
    bytes: u64,
    next_sweep: Millis,
}

impl ListingCache {
    /// Caches up to `max_bytes` of listings for `interval_millis` each.
    #[must_use]
    pub fn new(interval_millis: u64, max_bytes: u64) -> ListingCache {
        ListingCache {
            interval_millis,
            max_bytes: max_bytes.min(MAX_KEPT_BYTES),
            pages: Mutex::default(),
        }
    }

    /// The listing of `path`, if it is fresh at `now` and from the root directory of `generation`.
    #[must_use]
    pub fn find(
        &self,
        path: &[u8],
        variant: ListingVariant,
        generation: u64,
        now: Millis,
    ) -> Option<Arc<ListingPage>> {
        let pages = self.lock();
        let mut variants = pages.by_path.get(path)?.iter();
        let page = &variants.find(|kept| kept.variant == variant)?.page;
        let is_fresh = page.generation == generation && self.is_fresh(page, now);
        is_fresh.then(|| Arc::clone(page))
    }

    /// Caches `page` for `path`. Returns whether there is room for it.
    pub fn keep(
        &self,
        path: &[u8],
        variant: ListingVariant,
        page: &Arc<ListingPage>,
        now: Millis,
    ) -> bool {
        let bytes = weight(path, page);
        if self.interval_millis == 0 || bytes > self.max_bytes {
            return false;
        }
        let mut pages = self.lock();
        if now >= pages.next_sweep || pages.bytes + bytes > self.max_bytes {
            pages.next_sweep = Millis(now.0.saturating_add(self.interval_millis));
            pages.retain(|kept| self.is_fresh(&kept.page, now));
        }
        if pages.bytes + bytes > self.max_bytes {
            // All are from the same interval, and nothing shows which of them will be requested again.
            pages.retain(|_| false);
        }
        let variants = pages.by_path.entry(path.into()).or_default();
        let replaced = variants.iter().position(|kept| kept.variant == variant);
        let replaced = replaced.map(|index| variants.swap_remove(index));
        variants.push(CachedListing {
            variant,
            page: Arc::clone(page),
            bytes,
        });
        pages.bytes += bytes;
        pages.bytes -= replaced.map_or(0, |kept| kept.bytes);
        true
    }

    /// Counts the size of `page` anew, if it is still cached. If it is too large now, the others are
    /// dropped first.
    pub fn reweigh(&self, path: &[u8], variant: ListingVariant, page: &Arc<ListingPage>) {
        let mut pages = self.lock();
        let pages = &mut *pages;
        let is_same =
            |kept: &CachedListing| kept.variant == variant && Arc::ptr_eq(&kept.page, page);
        let mut variants = pages.by_path.get_mut(path).into_iter().flatten();
        let Some(kept) = variants.find(|kept| is_same(kept)) else {
            return;
        };
        let before = std::mem::replace(&mut kept.bytes, weight(path, page));
        pages.bytes = pages.bytes - before + kept.bytes;
        if pages.bytes > self.max_bytes {
            pages.retain(is_same);
        }
        if pages.bytes > self.max_bytes {
            pages.retain(|_| false);
        }
    }

    /// Drops all listings, to free their memory.
    pub fn clear(&self) {
        self.lock().retain(|_| false);
    }

    fn is_fresh(&self, page: &ListingPage, now: Millis) -> bool {
        now.since(page.made_at) < self.interval_millis
    }

    fn lock(&self) -> MutexGuard<'_, ListingTable> {
        // No code panics while it holds the lock.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ListingTable {
    fn retain(&mut self, stays: impl Fn(&CachedListing) -> bool) {
        let bytes = &mut self.bytes;
        self.by_path.retain(|_, variants| {
            variants.retain(|kept| {
                let stays = stays(kept);
                *bytes -= if stays { 0 } else { kept.bytes };
                stays
            });
            !variants.is_empty()
        });
    }
}

fn weight(path: &[u8], page: &ListingPage) -> u64 {
    path.len() as u64 + page.bytes() + PAGE_BYTES
}

#[cfg(test)]
mod tests {
    use super::super::order::SortOrder;
    use super::super::page::EncodedContent;
    use super::super::variant::ListingFormat;
    use super::*;
    use crate::http::accept_encoding::Coding;

    const VARIANT: ListingVariant = ListingVariant {
        order: SortOrder::DEFAULT,
        format: ListingFormat::Json,
    };

    fn page(bytes: usize, made_at: u64) -> Arc<ListingPage> {
        Arc::new(ListingPage {
            content: Bytes::from(vec![b'x'; bytes]),
            etag: Bytes::from_static(b"\"x\""),
            format: ListingFormat::Json,
            generation: 3,
            made_at: Millis(made_at),
            encoded: EncodedContent::default(),
        })
    }

    #[test]
    fn a_listing_holds_for_an_interval_in_its_root() {
        let kept = ListingCache::new(1_000, 1 << 20);
        assert!(kept.keep(b"/a/", VARIANT, &page(10, 5), Millis(5)));
        let is_found = |path: &[u8], generation, now| {
            kept.find(path, VARIANT, generation, Millis(now)).is_some()
        };
        assert!(is_found(b"/a/", 3, 1_004) && !is_found(b"/a/", 3, 1_005));
        assert!(!is_found(b"/a/", 4, 5) && !is_found(b"/b/", 3, 5));
        let html = ListingVariant {
            format: ListingFormat::Html,
            ..VARIANT
        };
        assert!(kept.find(b"/a/", html, 3, Millis(5)).is_none());
        let uncached = ListingCache::new(0, 1 << 20);
        assert!(!uncached.keep(b"/a/", VARIANT, &page(10, 5), Millis(5)));
    }

    #[test]
    fn cached_listings_are_bounded_and_dropped_when_stale() {
        let kept = ListingCache::new(1_000, 10_000);
        assert!(!kept.keep(b"/", VARIANT, &page(10_000, 0), Millis(0)));
        for number in 0..100_u32 {
            assert!(kept.keep(&number.to_be_bytes(), VARIANT, &page(1_000, 0), Millis(0)));
            assert!(kept.lock().bytes <= 10_000);
        }
        for _ in 0..3 {
            assert!(kept.keep(b"/", VARIANT, &page(1_000, 1_000), Millis(1_000)));
        }
        assert_eq!(kept.lock().bytes, weight(b"/", &page(1_000, 0)));
        kept.clear();
        assert_eq!(kept.lock().bytes, 0);
    }

    #[test]
    fn a_page_weighs_more_with_each_coding() {
        let kept = ListingCache::new(1_000, 10_000);
        let (small, large) = (page(1_000, 0), page(6_000, 0));
        for (path, page) in [(b"/a/", &small), (b"/b/", &large)] {
            assert!(kept.keep(path, VARIANT, page, Millis(0)));
        }
        let is_kept = |path| kept.find(path, VARIANT, 3, Millis(0)).is_some();
        let fill = |coding, bytes: usize| {
            large
                .encoded
                .fill(coding, Some(Bytes::from(vec![b'x'; bytes])));
            kept.reweigh(b"/b/", VARIANT, &large);
        };
        fill(Coding::Gzip, 500);
        assert!(is_kept(b"/a/") && is_kept(b"/b/"));
        assert_eq!(
            kept.lock().bytes,
            weight(b"/a/", &small) + weight(b"/b/", &large)
        );
        fill(Coding::Zstd, 2_000);
        assert!(!is_kept(b"/a/") && is_kept(b"/b/"), "the others go first");
        fill(Coding::Brotli, 2_000);
        assert!(!is_kept(b"/b/") && kept.lock().bytes == 0);
        // A dropped page does not come back.
        kept.reweigh(b"/b/", VARIANT, &large);
        assert!(!is_kept(b"/b/") && kept.lock().bytes == 0);
    }

    #[test]
    fn reservations_are_bounded_together_and_returned() {
        let budget = ListingBudget::default();
        let mut one = budget.reservation();
        assert!(one.grow(MAX_HELD_BYTES - 10));
        let mut other = budget.reservation();
        assert!(!other.grow(11) && other.grow(10));
        one.shrink_to(5);
        let content = one.hold("12345".to_owned());
        drop(other);
        assert_eq!(budget.held_bytes(), 5);
        drop(content);
        assert_eq!(budget.held_bytes(), 0);
    }
}
