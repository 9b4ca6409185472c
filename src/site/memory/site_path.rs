//! A path of one of the sites: what everything that they remember together is found by.

use quick_cache::Equivalent;

use crate::http::target::has_dot_segment;

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
    use std::hash::BuildHasher;

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
