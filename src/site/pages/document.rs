//! The common HTML frame of all pages that the server generates.
//!
//! The style sheet is part of the page, so that an error page needs no second request. There are no
//! scripts.

/// Colours for light and dark mode, and the layout of a page.
const STYLE: &str = include_str!("document.css");

/// The end of a page, after the content.
pub(in crate::site) const END: &str = "</main>\n</html>\n";

/// Appends the beginning of a page, up to the opened `main`. `title` is plain text, `style` an additional
/// style sheet, `class` the class of `main`.
pub(in crate::site) fn begin(out: &mut String, title: &str, style: &str, class: &str) {
    out.push_str(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>",
    );
    escape(out, title);
    out.extend([
        "</title>\n<style>\n",
        STYLE,
        style,
        "</style>\n<main class=\"",
        class,
        "\">\n",
    ]);
}

/// Appends `text` as HTML. Special characters are escaped. Control characters, which HTML forbids, become
/// U+FFFD.
pub fn escape(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            control if control.is_control() => out.push(char::REPLACEMENT_CHARACTER),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        let mut out = String::new();
        escape(&mut out, "<b>\"x\" & 'y'\u{7}\u{85}é");
        assert_eq!(
            out,
            "&lt;b&gt;&quot;x&quot; &amp; &#39;y&#39;\u{FFFD}\u{FFFD}é"
        );
    }

    #[test]
    fn the_title_is_escaped_and_the_sheets_are_in_the_page() {
        let mut out = String::new();
        begin(&mut out, "a<b", "i{color:red}\n", "x");
        assert!(out.contains("<title>a&lt;b</title>"), "{out}");
        assert!(out.contains("i{color:red}\n</style>"), "{out}");
        assert!(out.ends_with("<main class=\"x\">\n"), "{out}");
    }
}
