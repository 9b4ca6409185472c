//! Addresses without `.html`: `/about` for `about.html`, `/guide/` for its index.

/// The extension of a page on the disk, which its address leaves out.
pub const PAGE_SUFFIX: &[u8] = b".html";

/// The clean address of the page at `path`, a prefix of `path`; `None` if `path` is clean already.
///
/// An `index` file, with or without the suffix, has the address of its directory. Any other page has
/// `path` without the suffix. `path` is decoded and normalised. The caller checks that the page exists.
#[must_use]
pub fn clean_form<'p>(path: &'p [u8], index: &[String]) -> Option<&'p [u8]> {
    let name_start = memchr::memrchr(b'/', path)? + 1;
    let (directory, name) = path.split_at(name_start);
    let stem = name.strip_suffix(PAGE_SUFFIX);
    let is_index = |index: &String| {
        let index = index.as_bytes();
        match stem {
            Some(_) => index == name,
            None => !name.is_empty() && index.strip_suffix(PAGE_SUFFIX) == Some(name),
        }
    };
    if index.iter().any(is_index) {
        return Some(directory);
    }
    let stem = stem.filter(|stem| !stem.is_empty())?;
    Some(&path[..name_start + stem.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suffix_and_an_index_are_left_out() {
        let index = ["index.html".to_owned(), "home.htm".to_owned()];
        for (path, expected) in [
            ("/about.html", Some("/about")),
            ("/a/b.html", Some("/a/b")),
            ("/a.html.html", Some("/a.html")),
            ("/index.html.html", Some("/index.html")),
            ("/index.html", Some("/")),
            ("/guide/index.html", Some("/guide/")),
            ("/index", Some("/")),
            ("/guide/index", Some("/guide/")),
            ("/index/", None),
            ("/guide/home.htm", None),
            ("/guide/home", None),
            ("/.html", None),
            ("/a/.html", None),
            ("/about", None),
            ("/about.HTML", None),
            ("/a.html/", None),
            ("/", None),
        ] {
            let clean = clean_form(path.as_bytes(), &index);
            assert_eq!(clean, expected.map(str::as_bytes), "{path}");
        }
        assert_eq!(clean_form(b"/index.html", &[]), Some(&b"/index"[..]));
        assert_eq!(clean_form(b"/index", &[]), None);
        assert_eq!(clean_form(b"/", &[".html".to_owned()]), None);
    }
}
