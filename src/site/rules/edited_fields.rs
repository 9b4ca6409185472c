//! A cache of field lines that the rules have edited.
//!
//! The result of the rules depends only on the members of an [`EditKey`]: the site and the requested path,
//! the original lines, the status, and some properties of the response. The server therefore computes the
//! result once for each key. Lines that are used again are shared: they belong to a file in the cache or to
//! a built-in page. Their memory address identifies them, and the cache holds a reference that keeps the
//! address valid. Lines that were made for one response have no other owner, and are not cached.

use std::hash::{Hash, Hasher};
use std::ptr;

use bytes::Bytes;
use quick_cache::Equivalent;

use crate::http::status::Status;
use crate::site::memory::{CacheSize, HasWeight, KeptSitePath, SitePath, WeightedCache};

/// The approximate size of an entry without its lines, in bytes.
const ENTRY_BYTES: u64 = 256;

/// The total size of a typical entry in bytes, for an estimate of the number of entries.
const TYPICAL_BYTES: u64 = 1_024;

/// The size of a shard in bytes: each has its own lock, and room for several of the largest entries.
const SHARD_BYTES: u64 = 64 * 1_024;

/// Original and edited field lines of all sites.
#[derive(Debug)]
pub struct EditedFields {
    known: WeightedCache<KeptEditKey, Bytes>,
}

/// The key of edited lines.
#[derive(Debug, Clone, Copy)]
pub struct EditKey<'a> {
    /// The requested path, and its site.
    pub path: SitePath<'a>,
    /// The original lines.
    pub fields: &'a Bytes,
    /// The status of the response, because several statuses may share an error page.
    pub status: Status,
    /// The properties of the response that affect the editing, as bits.
    pub flags: u8,
}

#[derive(Debug)]
struct KeptEditKey {
    path: KeptSitePath,
    /// Keeps the address valid.
    fields: Bytes,
    status: Status,
    flags: u8,
}

impl EditedFields {
    /// Makes a cache of at most `bytes` bytes.
    #[must_use]
    pub fn new(bytes: u64) -> EditedFields {
        let size = CacheSize {
            bytes,
            typical_bytes: TYPICAL_BYTES,
            shard_bytes: SHARD_BYTES,
        };
        EditedFields {
            known: size.build(),
        }
    }

    /// The cached result for `original`. If there is none, `edit` makes it.
    pub fn find_or_edit(&self, original: &EditKey<'_>, edit: impl FnOnce() -> Bytes) -> Bytes {
        // An empty slice has no address of its own.
        if original.fields.is_unique() || original.fields.is_empty() {
            return edit();
        }
        if let Some(edited) = self.known.get(original) {
            return edited;
        }
        let edited = edit();
        self.known.insert(original.keep(), edited.clone());
        edited
    }
}

impl EditKey<'_> {
    fn keep(&self) -> KeptEditKey {
        KeptEditKey {
            path: self.path.keep(),
            fields: self.fields.clone(),
            status: self.status,
            flags: self.flags,
        }
    }
}

fn is_same(one: &Bytes, other: &Bytes) -> bool {
    ptr::eq(one.as_ptr(), other.as_ptr()) && one.len() == other.len()
}

impl Hash for EditKey<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.path.hash(state);
        hash_rest(self.fields, self.status, self.flags, state);
    }
}

impl Hash for KeptEditKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.path.hash(state);
        hash_rest(&self.fields, self.status, self.flags, state);
    }
}

fn hash_rest<H: Hasher>(fields: &Bytes, status: Status, flags: u8, state: &mut H) {
    (fields.as_ptr(), fields.len(), status, flags).hash(state);
}

impl PartialEq for KeptEditKey {
    fn eq(&self, other: &KeptEditKey) -> bool {
        (self.status, self.flags) == (other.status, other.flags)
            && is_same(&self.fields, &other.fields)
            && self.path == other.path
    }
}

impl Eq for KeptEditKey {}

impl Equivalent<KeptEditKey> for EditKey<'_> {
    fn equivalent(&self, kept: &KeptEditKey) -> bool {
        (self.status, self.flags) == (kept.status, kept.flags)
            && is_same(self.fields, &kept.fields)
            && self.path.equivalent(&kept.path)
    }
}

impl HasWeight<KeptEditKey> for Bytes {
    fn weight(&self, kept: &KeptEditKey) -> u64 {
        ENTRY_BYTES + kept.path.path_bytes() + (kept.fields.len() + self.len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(
        memory: &EditedFields,
        (site, path): (u32, &str),
        (fields, flags): (&Bytes, u8),
        to: &'static str,
    ) -> Bytes {
        let path = SitePath {
            site,
            path: path.as_bytes(),
        };
        let original = EditKey {
            path,
            fields,
            status: Status::OK,
            flags,
        };
        memory.find_or_edit(&original, || Bytes::from_static(to.as_bytes()))
    }

    #[test]
    fn shared_lines_are_edited_once_for_each_path_site_and_flags() {
        let memory = EditedFields::new(1 << 20);
        let fields = Bytes::from("A: 1\r\n".repeat(2));
        let _shared = fields.clone();
        let others = Bytes::from("A: 1\r\n".repeat(2));
        let _shared_too = others.clone();
        assert_eq!(edited(&memory, (0, "/a"), (&fields, 0), "1"), "1");
        assert_eq!(edited(&memory, (0, "/a"), (&fields, 0), "2"), "1");
        assert_eq!(edited(&memory, (1, "/a"), (&fields, 0), "3"), "3");
        assert_eq!(edited(&memory, (0, "/b"), (&fields, 0), "4"), "4");
        assert_eq!(edited(&memory, (0, "/a"), (&fields, 1), "5"), "5");
        assert_eq!(edited(&memory, (0, "/a"), (&others, 0), "6"), "6");
        assert_eq!(
            edited(&memory, (0, "/a"), (&fields.slice(..6), 0), "7"),
            "7"
        );
        assert_eq!(edited(&memory, (0, "/a"), (&fields, 0), "8"), "1");
    }

    #[test]
    fn a_page_that_two_statuses_share_is_edited_for_each() {
        let memory = EditedFields::new(1 << 20);
        let fields = Bytes::from_static(b"A: 1\r\n");
        let edited = |status: Status| {
            let path = SitePath {
                site: 0,
                path: b"/a",
            };
            let original = EditKey {
                path,
                fields: &fields,
                status,
                flags: 0,
            };
            memory.find_or_edit(&original, || Bytes::from(status.code().to_string()))
        };
        for status in [Status::NOT_FOUND, Status::GONE, Status::NOT_FOUND] {
            assert_eq!(edited(status), status.code().to_string());
        }
    }

    #[test]
    fn no_lines_at_all_are_not_kept() {
        let memory = EditedFields::new(1 << 20);
        assert_eq!(edited(&memory, (0, "/a"), (&Bytes::new(), 0), "1"), "1");
        assert_eq!(edited(&memory, (0, "/a"), (&Bytes::new(), 0), "2"), "2");
    }

    #[test]
    fn the_lines_of_one_answer_are_not_kept() {
        let memory = EditedFields::new(1 << 20);
        let fields = Bytes::from("A: 1\r\n".to_owned());
        assert_eq!(edited(&memory, (0, "/a"), (&fields, 0), "1"), "1");
        assert_eq!(edited(&memory, (0, "/a"), (&fields, 0), "2"), "2");
        assert_eq!(memory.known.len(), 0);
    }

    #[test]
    fn an_address_is_not_used_again_while_it_is_known() {
        let memory = EditedFields::new(1 << 20);
        for round in 0..1_000 {
            let fields = Bytes::from(format!("A: {round:04}\r\n"));
            let shared = fields.clone();
            let path = SitePath {
                site: 0,
                path: b"/a",
            };
            let original = EditKey {
                path,
                fields: &shared,
                status: Status::OK,
                flags: 0,
            };
            let edited = memory.find_or_edit(&original, || Bytes::copy_from_slice(&fields));
            assert_eq!(edited, fields);
        }
    }

    #[test]
    fn many_paths_do_not_take_more_than_the_bound() {
        let memory = EditedFields::new(1 << 20);
        let fields = Bytes::from_static(b"A: 1\r\n");
        for number in 0..20_000 {
            let _ = edited(&memory, (0, &format!("/{number}")), (&fields, 0), "1");
        }
        assert!(memory.known.weight() <= 1 << 20);
        assert!(memory.known.len() > 1_000, "{}", memory.known.len());
    }
}
