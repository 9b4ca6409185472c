//! The notation of bytes in a case.
//!
//! Printable ASCII stands for itself. Everything else is escaped: `\r`, `\n`, `\t`, `\0`, `\\`, and
//! `\xHH` for any byte. Braces stand for computed text:
//!
//! | written             | stands for                                                         |
//! |---------------------|--------------------------------------------------------------------|
//! | `{etag}`            | the entity tag of `/index.html`, quotes included                   |
//! | `{opaque}`          | the entity tag without its quotes                                  |
//! | `{last-modified}`   | the modification date of it; with `+1` or `-1`, a second off       |
//! | `{tomorrow}`        | a date one day in the future                                       |
//! | `{80*ab\r\n}`       | the text after the asterisk, 80 times                              |
//!
//! A literal brace is `\x7b` or `\x7d`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::served::MODIFIED_UNIX_SECS;

/// The bytes that `text` stands for. `etag` is the tag of `/index.html`.
pub fn bytes(text: &str, etag: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = match first {
            '\\' => escape(&rest[1..], &mut out)?,
            '{' => {
                let end = rest.find('}').ok_or("a brace is not closed")?;
                brace(&rest[1..end], etag, &mut out)?;
                &rest[end + 1..]
            }
            ' '..='~' => {
                out.push(first as u8);
                &rest[1..]
            }
            other => return Err(format!("{other:?} must be escaped")),
        };
    }
    Ok(out)
}

/// Reads the escape that follows a backslash, and returns the text after it.
fn escape<'t>(text: &'t str, out: &mut Vec<u8>) -> Result<&'t str, String> {
    let kind = text.bytes().next().ok_or("a backslash at the end")?;
    let byte = match kind {
        b'r' => b'\r',
        b'n' => b'\n',
        b't' => b'\t',
        b'0' => 0,
        b'\\' => b'\\',
        b'x' => {
            let digits = text.get(1..3).ok_or("\\x without two digits")?;
            let byte = u8::from_str_radix(digits, 16).map_err(|_| format!("\\x{digits}"))?;
            out.push(byte);
            return Ok(&text[3..]);
        }
        _ => return Err(format!("unknown escape \\{}", char::from(kind))),
    };
    out.push(byte);
    Ok(&text[1..])
}

fn brace(inside: &str, etag: &str, out: &mut Vec<u8>) -> Result<(), String> {
    let date = |unix_secs| httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(unix_secs));
    let text = match inside {
        "etag" => etag.to_owned(),
        "opaque" => etag.trim_matches('"').to_owned(),
        "last-modified" => date(MODIFIED_UNIX_SECS),
        "last-modified+1" => date(MODIFIED_UNIX_SECS + 1),
        "last-modified-1" => date(MODIFIED_UNIX_SECS - 1),
        "tomorrow" => httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(86_400)),
        _ => {
            let (count, piece) = inside
                .split_once('*')
                .and_then(|(count, piece)| Some((count.parse().ok()?, piece)))
                .ok_or_else(|| format!("unknown placeholder {{{inside}}}"))?;
            out.extend_from_slice(&bytes(piece, etag)?.repeat(count));
            return Ok(());
        }
    };
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// `bytes` as printable text, shortened if there are many.
pub fn shown(bytes: &[u8]) -> String {
    const MAX: usize = 600;
    let text = bytes[..bytes.len().min(MAX)].escape_ascii().to_string();
    let text = text.replace("\\\"", "\"").replace("\\'", "'");
    if bytes.len() > MAX {
        format!("{text}... ({} bytes)", bytes.len())
    } else {
        text
    }
}

#[test]
fn the_notation_means_what_it_says() {
    let etag = "\"5-x\"";
    let ok = |text| bytes(text, etag).expect(text);
    assert_eq!(ok(r"a\r\n\t\0\\\x7f\x7b"), b"a\r\n\t\0\\\x7f{");
    assert_eq!(
        ok(r"{3*ab\r}-{0*x}{etag}{opaque}"),
        b"ab\rab\rab\r-\"5-x\"5-x"
    );
    assert_eq!(ok("{last-modified+1}"), b"Mon, 01 Jan 2024 00:00:01 GMT");
    for wrong in [
        r"\", r"\q", r"\x1", r"\xzz", "{", "{what}", "{x*y}", "\u{e4}",
    ] {
        assert!(bytes(wrong, etag).is_err(), "{wrong}");
    }
}
