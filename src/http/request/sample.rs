//! Request heads for tests of code that reads fields.

use super::{HeadLimits, Parsed, RequestHead, parse_head};

/// The result of `ask` for a GET with these field lines.
pub(crate) fn with_head<T>(
    lines: &[(&str, &str)],
    ask: impl FnOnce(&RequestHead<'_, '_>) -> T,
) -> T {
    let mut text = "GET / HTTP/1.0\r\n".to_owned();
    for (name, value) in lines {
        text += &format!("{name}: {value}\r\n");
    }
    text += "\r\n";
    parsed(text.as_bytes(), ask)
}

/// The result of `ask` for the head in `text`.
pub(crate) fn parsed<T>(text: &[u8], ask: impl FnOnce(&RequestHead<'_, '_>) -> T) -> T {
    let limits = HeadLimits {
        target_bytes: 100,
        head_bytes: 10_000,
        headers: 100,
    };
    match parse_head(text, &limits, &mut Vec::new()) {
        Ok(Parsed::Complete { head, .. }) => ask(&head),
        other => panic!("{other:?}"),
    }
}
