//! Names that begin with a dot.

/// Whether the name of a file or directory in `path`, decoded and normalised, begins with a dot, except
/// `/.well-known/` (RFC 8615). Such paths are served only if the site shows hidden files.
#[must_use]
pub fn has_hidden_segment(path: &[u8]) -> bool {
    let below = match path.strip_prefix(b"/.well-known") {
        Some(rest) if rest.is_empty() || rest.starts_with(b"/") => rest,
        _ => path,
    };
    let mut dots = memchr::memchr_iter(b'.', below);
    dots.any(|at| below[..at].ends_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_that_begins_with_a_dot_is_hidden_except_well_known_rfc8615() {
        for path in [
            "/.a",
            "/a/.b",
            "/a.b/.c/d",
            "/.well-known.html",
            "/.well-known/.a",
            "/a/.well-known/",
            "/.Well-Known/",
        ] {
            assert!(has_hidden_segment(path.as_bytes()), "{path}");
        }
        for path in ["/", "/a.b", "/a./b", "/.well-known", "/.well-known/a.b"] {
            assert!(!has_hidden_segment(path.as_bytes()), "{path}");
        }
    }
}
