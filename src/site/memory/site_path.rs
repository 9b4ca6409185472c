//! The keys of the caches: request paths of all sites.

use quick_cache::Equivalent;

/// A decoded and normalised request path, with the number of its site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SitePath<'p> {
    /// The number of the site times [`CodingPolicy::NUMBERS`](crate::site::rules::CodingPolicy::NUMBERS),
    /// plus the number of the coding policy. The default site has the number 0; the hosts follow in order.
    pub site: u32,
    /// The path, with its leading slash.
    pub path: &'p [u8],
}

/// An owned [`SitePath`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeptSitePath {
    // The derived `Hash` covers the fields in their order. A lookup by `SitePath` finds the entry only if both
    // types hash alike, so `KeptSitePath` has the fields of `SitePath` in the same order.
    site: u32,
    path: Box<[u8]>,
}

impl SitePath<'_> {
    /// Returns an owned copy.
    #[must_use]
    pub fn keep(&self) -> KeptSitePath {
        KeptSitePath {
            site: self.site,
            path: self.path.into(),
        }
    }
}

impl KeptSitePath {
    /// Returns the borrowed path, for lookups.
    #[must_use]
    pub fn site_path(&self) -> SitePath<'_> {
        SitePath {
            site: self.site,
            path: &self.path,
        }
    }

    /// The length of the path in bytes.
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
    use std::hash::BuildHasher;

    #[test]
    fn an_owned_path_is_found_by_a_borrowed_one_and_only_in_its_site() {
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
