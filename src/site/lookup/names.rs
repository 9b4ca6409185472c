//! The names below the root that a request path can stand for.

use std::ops::Deref;

use super::opening::Lookup;
use crate::config::{PAGE_SUFFIX, has_hidden_segment};

/// The longest joined name that is stored without an allocation, in bytes. Each revalidation joins names.
const SHORT_BYTES: usize = 192;

/// A name: a part of the path, or a part with a suffix.
#[derive(Debug, Clone)]
pub(super) enum Name<'p> {
    Part(&'p [u8]),
    Short {
        bytes: [u8; SHORT_BYTES],
        len: usize,
    },
    Long(Vec<u8>),
}

impl Name<'_> {
    /// The name `start` followed by `end`.
    pub fn joined(start: &[u8], end: &[u8]) -> Name<'static> {
        let len = start.len() + end.len();
        let mut bytes = [0; SHORT_BYTES];
        let Some(room) = bytes.get_mut(..len) else {
            return Name::Long([start, end].concat());
        };
        let (first, second) = room.split_at_mut(start.len());
        first.copy_from_slice(start);
        second.copy_from_slice(end);
        Name::Short { bytes, len }
    }
}

impl Deref for Name<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Name::Part(name) => name,
            Name::Short { bytes, len } => &bytes[..*len],
            Name::Long(name) => name,
        }
    }
}

impl Lookup {
    /// The names below the root that a request path can stand for, in order of preference.
    pub(super) fn names<'p>(&self, path: &'p [u8]) -> impl Iterator<Item = Name<'p>> {
        let relative = path.strip_prefix(b"/").unwrap_or(path);
        let is_directory = relative.is_empty() || relative.ends_with(b"/");
        let itself = (!is_directory).then_some(Name::Part(relative));
        let index = self.index.iter().filter(move |_| is_directory);
        let page = (self.has_clean_urls && !is_directory).then_some(PAGE_SUFFIX);
        // A request for `/.well-known` is allowed, but the page `.well-known.html` is a hidden file.
        let page =
            page.filter(|page| self.shows_hidden || !has_hidden_segment(&Name::joined(path, page)));
        let ends = index.map(|name| name.as_bytes()).chain(page);
        let longer = ends.map(move |end| Name::joined(relative, end));
        itself.into_iter().chain(longer)
    }
}

/// Whether `name`, below the root, is `path` without its leading slash.
pub(super) fn is_itself(name: &[u8], path: &[u8]) -> bool {
    path.strip_prefix(b"/") == Some(name)
}

/// The directory at `path` with its trailing slash.
pub(super) fn slash_form(path: &[u8]) -> Name<'static> {
    Name::joined(path, b"/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_joined_name_is_whole_whatever_its_length() {
        for len in [
            0,
            1,
            SHORT_BYTES - 6,
            SHORT_BYTES - 5,
            SHORT_BYTES - 4,
            5_000,
        ] {
            let start = vec![b'x'; len];
            let name = Name::joined(&start, b".html");
            assert_eq!(*name, [&start, &b".html"[..]].concat());
            let is_long = matches!(name, Name::Long(_));
            assert_eq!(is_long, len + 5 > SHORT_BYTES, "{len}");
        }
    }

    #[test]
    fn a_name_is_the_path_itself_only_without_an_end() {
        assert!(is_itself(b"a/b", b"/a/b"));
        assert!(!is_itself(b"a/b.html", b"/a/b"));
        assert!(!is_itself(b"a/index.html", b"/a/"));
        assert_eq!(*slash_form(b"/a/b"), b"/a/b/"[..]);
    }
}
