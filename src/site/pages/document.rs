//! The HTML around the pages that the server writes itself, so that they all look alike.
//!
//! No script, and nothing from elsewhere: the style sheet is in the page, because a page that says
//! what went wrong should not need a second request.

/// Colours that people can read by day and by night, and the frame of a page.
const STYLE: &str = include_str!("document.css");

/// What follows the content.
pub(in crate::site) const END: &str = "</main>\n</html>\n";

/// Appends everything before the content, up to the opened `main`. `title` is plain text, `style` a
/// sheet beside the common one, `class` that of `main`.
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

/// Appends `text` with the characters that mean something in HTML replaced, and control characters,
/// which it must not hold, shown as what cannot be shown.
pub(in crate::site) fn escape(out: &mut String, text: &str) {
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
