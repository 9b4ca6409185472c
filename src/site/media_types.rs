//! Media types by file name.

/// The value of Content-Type for a file called `name` (RFC 9110 section 8.3).
///
/// Text is declared as UTF-8, which is what sites are written in; without the parameter browsers
/// guess. A name without a known extension is `application/octet-stream`, which no browser renders.
#[must_use]
pub fn content_type(name: &str) -> String {
    let guess = mime_guess::from_path(name).first_or_octet_stream();
    let essence = guess.essence_str();
    // JavaScript counts as text since RFC 9239, but mime_guess knows it by older names too.
    let is_text = guess.type_() == "text" || essence == "application/javascript";
    if is_text {
        format!("{essence}; charset=utf-8")
    } else {
        essence.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_utf_8() {
        assert_eq!(content_type("index.html"), "text/html; charset=utf-8");
        assert_eq!(content_type("a/b.CSS"), "text/css; charset=utf-8");
        assert_eq!(content_type("app.js"), "text/javascript; charset=utf-8");
        assert_eq!(content_type("notes.txt"), "text/plain; charset=utf-8");
    }

    #[test]
    fn everything_else_is_as_registered() {
        assert_eq!(content_type("photo.jpg"), "image/jpeg");
        assert_eq!(content_type("icon.svg"), "image/svg+xml");
        assert_eq!(content_type("module.wasm"), "application/wasm");
        assert_eq!(content_type("font.woff2"), "font/woff2");
    }

    #[test]
    fn an_unknown_name_is_octets() {
        assert_eq!(content_type("LICENSE"), "application/octet-stream");
        assert_eq!(
            content_type("archive.frobnicate"),
            "application/octet-stream"
        );
    }
}
