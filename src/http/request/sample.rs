//! Request heads for the tests of what reads their fields.

use super::{HeadLimits, Parsed, RequestHead, parse_head};

/// What `ask` says of a GET with these field lines.
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

/// Parses `text` as a head and returns what `ask` says of it.
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
