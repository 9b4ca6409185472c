//! Escapes that keep a client from forging a line, moving the terminal's cursor, or breaking a log reader's
//! parser.

use std::io::Write;

/// Logged bytes of each text; the rest of a longer text is left out.
const MAX_LOGGED_BYTES: usize = 4096;

/// Appends `bytes` escaped for a place between double quotes. A byte other than visible ASCII and space
/// becomes `\xHH`; a quote or backslash gets a backslash. The original bytes can be recovered.
pub fn escape_text(bytes: &[u8], out: &mut Vec<u8>) {
    let bytes = shortened(bytes);
    if is_plain(bytes) {
        return out.extend_from_slice(bytes);
    }
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b' '..=b'~' => out.push(byte),
            // Writing to a Vec cannot fail.
            _ => drop(write!(out, "\\x{byte:02x}")),
        }
    }
}

/// Appends `bytes` escaped for a JSON string (RFC 8259 section 7), in ASCII. Other characters become their
/// UTF-16 code units; bytes that are not UTF-8 become U+FFFD.
pub fn escape_json(bytes: &[u8], out: &mut Vec<u8>) {
    let bytes = shortened(bytes);
    if is_plain(bytes) {
        return out.extend_from_slice(bytes);
    }
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            push_json(character, out);
        }
        if !chunk.invalid().is_empty() {
            push_json(char::REPLACEMENT_CHARACTER, out);
        }
    }
}

fn push_json(character: char, out: &mut Vec<u8>) {
    match character {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        // ASCII, so one byte.
        ' '..='~' => out.push(character as u8),
        _ => {
            for unit in character.encode_utf16(&mut [0; 2]) {
                drop(write!(out, "\\u{unit:04x}"));
            }
        }
    }
}

fn shortened(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(MAX_LOGGED_BYTES)]
}

/// Whether no byte has to be escaped, which is nearly always so. Without an early exit the compiler
/// vectorizes the loop.
fn is_plain(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |is_plain, byte| {
        is_plain & matches!(byte, b' '..=b'~') & (*byte != b'"') & (*byte != b'\\')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        escape_text(bytes, &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    fn json(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        escape_json(bytes, &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn what_is_not_visible_ascii_is_escaped() {
        assert_eq!(text(b"a b~"), "a b~");
        assert_eq!(
            text(b"\"\\\r\n\x1b[2J\x7f\xe2\x82\xac"),
            r#"\"\\\x0d\x0a\x1b[2J\x7f\xe2\x82\xac"#
        );
        assert_eq!(
            json("\"\\\r\n\u{1b}\u{7f}\u{2028}€😀".as_bytes()),
            r#"\"\\\u000d\u000a\u001b\u007f\u2028\u20ac\ud83d\ude00"#
        );
        assert_eq!(json(b"a\xff\xe2\x82b"), r"a\ufffd\ufffdb");
    }

    #[test]
    fn a_text_that_is_too_long_is_cut() {
        let long = [b'a'; MAX_LOGGED_BYTES + 1];
        assert_eq!(text(&long).len(), MAX_LOGGED_BYTES);
        assert_eq!(json(&long).len(), MAX_LOGGED_BYTES);
    }

    fn unescaped(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let Some((&first, mut after)) = rest.split_first() {
            let mut byte = first;
            if first == b'\\' {
                (byte, after) = match after {
                    [b'x', high, low, after @ ..] => {
                        let digits = [*high, *low];
                        let digits = std::str::from_utf8(&digits).expect("digits");
                        (u8::from_str_radix(digits, 16).expect("digits"), after)
                    }
                    [quoted, after @ ..] => (*quoted, after),
                    [] => panic!("a backslash at the end"),
                };
            }
            bytes.push(byte);
            rest = after;
        }
        bytes
    }

    proptest! {
        #[test]
        fn the_escapes_of_a_text_can_be_undone(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let text = text(&bytes);
            prop_assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{}", text);
            prop_assert_eq!(unescaped(&text), bytes);
        }

        #[test]
        fn a_json_string_decodes_to_the_logged_text(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let json = json(&bytes);
            prop_assert!(json.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{}", json);
            let read: String = serde_json::from_str(&format!("\"{json}\"")).expect("JSON");
            prop_assert_eq!(read, String::from_utf8_lossy(&bytes));
        }
    }
}
