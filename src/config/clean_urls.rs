//! Addresses that do without `.html`: `/about` for `about.html`, `/guide/` for its index.

/// What follows the name of a page on the disk and not in its address.
pub const PAGE_SUFFIX: &[u8] = b".html";

/// The address, if it is another one, under which the page at `path` wants to be known: that of its
/// directory if it is one of the `index` files, with or without the suffix, else `path` without the
/// suffix. A part of `path`, which is decoded and normalised. Whether there is such a page is for the
/// caller to find out.
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
    fn the_suffix_goes_and_so_does_an_index() {
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
