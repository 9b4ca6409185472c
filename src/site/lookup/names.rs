//! The names below the root that a request path can stand for.

use super::opening::Lookup;
use crate::config::{PAGE_SUFFIX, has_hidden_segment};
use crate::site::disk::Name;

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
    fn a_name_is_the_path_itself_only_without_an_end() {
        assert!(is_itself(b"a/b", b"/a/b"));
        assert!(!is_itself(b"a/b.html", b"/a/b"));
        assert!(!is_itself(b"a/index.html", b"/a/"));
        assert_eq!(*slash_form(b"/a/b"), b"/a/b/"[..]);
    }
}
