//! Listings in memory: those that are kept to be sent again, and the bound on all of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{Page, Variant};
use crate::clock::Millis;

/// Bytes of listings in memory, whether they are kept, being made or being sent. More are refused:
/// clients that read slowly must not fill the memory.
pub const MAX_HELD_BYTES: u64 = 256 * 1024 * 1024;

/// Bytes of listings that are kept for those who ask next.
pub const MAX_KEPT_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes that a listing takes besides its content, roughly.
const PAGE_BYTES: u64 = 512;

/// The bytes that all listings hold together.
#[derive(Debug, Default, Clone)]
pub struct Memory(Arc<AtomicU64>);

/// A part of it, until it is dropped.
#[derive(Debug)]
pub struct Share {
    memory: Memory,
    bytes: u64,
}

impl Memory {
    /// Nothing of it yet.
    #[must_use]
    pub fn share(&self) -> Share {
        Share {
            memory: self.clone(),
            bytes: 0,
        }
    }

    /// Bytes that are taken.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Share {
    /// Takes `bytes` more. False, and nothing is taken, if that would be too much.
    #[must_use]
    pub fn grow(&mut self, bytes: u64) -> bool {
        let before = self.memory.0.fetch_add(bytes, Ordering::Relaxed);
        let is_granted = before.saturating_add(bytes) <= MAX_HELD_BYTES;
        if is_granted {
            self.bytes += bytes;
        } else {
            self.memory.0.fetch_sub(bytes, Ordering::Relaxed);
        }
        is_granted
    }

    /// Bytes that it has.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives back all but `bytes`.
    pub fn shrink_to(&mut self, bytes: u64) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.memory.0.fetch_sub(surplus, Ordering::Relaxed);
        self.bytes -= surplus;
    }

    /// `content`, which has this share until the last copy is gone.
    #[must_use]
    pub fn hold(self, content: String) -> Bytes {
        Bytes::from_owner(Held {
            content,
            _share: self,
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

struct Held {
    content: String,
    _share: Share,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        self.content.as_bytes()
    }
}

/// Listings by path, for as long as they hold.
#[derive(Debug)]
pub struct KeptPages {
    /// How long one holds; with 0 none is kept.
    interval_millis: u64,
    max_bytes: u64,
    pages: Mutex<Pages>,
}

/// The listings of one directory.
type Variants = Vec<(Variant, Arc<Page>)>;

#[derive(Debug, Default)]
struct Pages {
    by_path: HashMap<Box<[u8]>, Variants>,
    bytes: u64,
    next_sweep: Millis,
}

impl KeptPages {
    /// Keeps up to `max_bytes` of listings for `interval_millis` each.
    #[must_use]
    pub fn new(interval_millis: u64, max_bytes: u64) -> KeptPages {
        KeptPages {
            interval_millis,
            max_bytes: max_bytes.min(MAX_KEPT_BYTES),
            pages: Mutex::default(),
        }
    }

    /// The listing of `path`, if it holds at `now` in the root directory of `generation`.
    #[must_use]
    pub fn find(
        &self,
        path: &[u8],
        variant: Variant,
        generation: u64,
        now: Millis,
    ) -> Option<Arc<Page>> {
        let pages = self.lock();
        let mut variants = pages.by_path.get(path)?.iter();
        let (_, page) = variants.find(|(kept, _)| *kept == variant)?;
        let holds = page.generation == generation && self.holds(page, now);
        holds.then(|| Arc::clone(page))
    }

    /// Keeps `page` for `path`. Whether there is room for it.
    pub fn keep(&self, path: &[u8], variant: Variant, page: &Arc<Page>, now: Millis) -> bool {
        let bytes = weight(path, page);
        if self.interval_millis == 0 || bytes > self.max_bytes {
            return false;
        }
        let mut pages = self.lock();
        if now >= pages.next_sweep || pages.bytes + bytes > self.max_bytes {
            pages.next_sweep = Millis(now.0.saturating_add(self.interval_millis));
            pages.retain(|page| self.holds(page, now));
        }
        if pages.bytes + bytes > self.max_bytes {
            // So many within one interval: nobody knows which of them is asked for again.
            pages.retain(|_| false);
        }
        let variants = pages.by_path.entry(path.into()).or_default();
        let replaced = variants.iter().position(|(kept, _)| *kept == variant);
        let replaced = replaced.map(|place| variants.swap_remove(place));
        variants.push((variant, Arc::clone(page)));
        pages.bytes += bytes;
        pages.bytes -= replaced.map_or(0, |(_, page)| weight(path, &page));
        true
    }

    /// Forgets all: others need the memory.
    pub fn clear(&self) {
        self.lock().retain(|_| false);
    }

    fn holds(&self, page: &Page, now: Millis) -> bool {
        now.since(page.made_at) < self.interval_millis
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        // Nothing in here panics.
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    fn retain(&mut self, is_kept: impl Fn(&Page) -> bool) {
        let bytes = &mut self.bytes;
        self.by_path.retain(|path, variants| {
            variants.retain(|(_, page)| {
                let stays = is_kept(page);
                *bytes -= if stays { 0 } else { weight(path, page) };
                stays
            });
            !variants.is_empty()
        });
    }
}

fn weight(path: &[u8], page: &Page) -> u64 {
    (path.len() + page.content.len()) as u64 + PAGE_BYTES
}

#[cfg(test)]
mod tests {
    use super::super::Form;
    use super::super::order::Order;
    use super::*;

    const VARIANT: Variant = Variant {
        order: Order::DEFAULT,
        form: Form::Json,
    };

    fn page(bytes: usize, made_at: u64) -> Arc<Page> {
        Arc::new(Page {
            content: Bytes::from(vec![b'x'; bytes]),
            etag: Bytes::from_static(b"\"x\""),
            form: Form::Json,
            generation: 3,
            made_at: Millis(made_at),
        })
    }

    #[test]
    fn a_listing_holds_for_an_interval_in_its_root() {
        let kept = KeptPages::new(1_000, 1 << 20);
        assert!(kept.keep(b"/a/", VARIANT, &page(10, 5), Millis(5)));
        let is_found = |path: &[u8], generation, now| {
            kept.find(path, VARIANT, generation, Millis(now)).is_some()
        };
        assert!(is_found(b"/a/", 3, 1_004) && !is_found(b"/a/", 3, 1_005));
        assert!(!is_found(b"/a/", 4, 5) && !is_found(b"/b/", 3, 5));
        let html = Variant {
            form: Form::Html,
            ..VARIANT
        };
        assert!(kept.find(b"/a/", html, 3, Millis(5)).is_none());
        let nothing_holds = KeptPages::new(0, 1 << 20);
        assert!(!nothing_holds.keep(b"/a/", VARIANT, &page(10, 5), Millis(5)));
    }

    #[test]
    fn what_is_kept_is_bounded_and_goes_when_it_is_old() {
        let kept = KeptPages::new(1_000, 10_000);
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
    fn shares_are_bounded_together_and_given_back() {
        let memory = Memory::default();
        let mut one = memory.share();
        assert!(one.grow(MAX_HELD_BYTES - 10));
        let mut other = memory.share();
        assert!(!other.grow(11) && other.grow(10));
        one.shrink_to(5);
        let content = one.hold("12345".to_owned());
        drop(other);
        assert_eq!(memory.held_bytes(), 5);
        drop(content);
        assert_eq!(memory.held_bytes(), 0);
    }
}
