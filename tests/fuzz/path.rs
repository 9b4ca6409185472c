//! `http::target::decode_path` and `encode_path` on any bytes.
//!
//! - A decoded path begins with `/`; it has no empty, `.` or `..` segment, no NUL, no backslash.
//! - It equals the result of a naive implementation of RFC 3986 section 5.2.4.
//! - It ends in `/` exactly when the raw path named a directory, and is never longer than the raw path.
//! - Encoded, it is a path-absolute reference, never one to another host, and decodes to itself.
//! - A refused path is a 400.

use abide::http::target::{decode_path, encode_path};

/// `input` is a raw path.
pub fn check(input: &[u8]) {
    // Earlier contents of the buffer have no effect.
    let mut decoded = b"/left/over".to_vec();
    match decode_path(input, &mut decoded) {
        Ok(()) => {
            assert_eq!(Some(&decoded), decoded_naively(input).as_ref());
            assert!(decoded.len() <= input.len());
            check_decoded(&decoded);
            check_encoded(&decoded);
        }
        Err(reject) => {
            assert_eq!(reject.status.code(), 400);
            assert_eq!(decoded_naively(input), None, "{reject:?}");
        }
    }
    // Even for arbitrary bytes, the result never names a host.
    let mut location = Vec::new();
    encode_path(input, &mut location);
    check_reference(&location);
}

fn check_decoded(decoded: &[u8]) {
    let [b'/', relative @ ..] = decoded else {
        panic!("a decoded path begins with a slash");
    };
    assert!(!decoded.iter().any(|byte| matches!(byte, 0 | b'\\')));
    let mut segments: Vec<_> = relative.split(|&byte| byte == b'/').collect();
    // The segment after the last slash may be empty: then the path is a directory.
    if segments.last().is_some_and(|last| last.is_empty()) {
        segments.pop();
    }
    for segment in segments {
        assert!(!matches!(segment, b"" | b"." | b".."));
    }
    // A second decoding changes nothing in a path that has no percent sign left.
    if !decoded.contains(&b'%') {
        let mut again = Vec::new();
        assert!(decode_path(decoded, &mut again).is_ok() && again == decoded);
    }
}

fn check_encoded(decoded: &[u8]) {
    let mut encoded = b"Location: ".to_vec();
    encode_path(decoded, &mut encoded);
    let encoded = encoded
        .strip_prefix(b"Location: ")
        .expect("the earlier bytes stay");
    check_reference(encoded);
    let mut again = Vec::new();
    assert!(decode_path(encoded, &mut again).is_ok() && again == decoded);
}

/// `path-absolute` (RFC 3986 section 3.3), with no second slash behind the first.
fn check_reference(encoded: &[u8]) {
    assert!(encoded.starts_with(b"/") && !encoded.starts_with(b"//"));
    let mut rest = encoded;
    while let [byte, tail @ ..] = rest {
        rest = match (byte, tail) {
            (b'%', [high, low, tail @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                tail
            }
            (byte, tail) => {
                let is_plain = byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(byte);
                assert!(is_plain, "{:?}", encoded.escape_ascii());
                tail
            }
        };
    }
}

/// A simpler implementation of decoding: decode every segment, keep a stack of them, merge at the end.
fn decoded_naively(raw: &[u8]) -> Option<Vec<u8>> {
    let mut stack: Vec<Vec<u8>> = Vec::new();
    let mut is_directory = false;
    for segment in raw.strip_prefix(b"/")?.split(|&byte| byte == b'/') {
        let segment = segment_naively(segment)?;
        is_directory = matches!(&segment[..], b"" | b"." | b"..");
        match &segment[..] {
            b"." => {}
            b".." => drop(stack.pop()?),
            _ => stack.push(segment),
        }
    }
    stack.retain(|segment| !segment.is_empty());
    let mut path = b"/".to_vec();
    path.extend_from_slice(&stack.join(&b'/'));
    if is_directory && !stack.is_empty() {
        path.push(b'/');
    }
    Some(path)
}

fn segment_naively(segment: &[u8]) -> Option<Vec<u8>> {
    let mut pieces = segment.split(|&byte| byte == b'%');
    let mut decoded = pieces.next()?.to_vec();
    for piece in pieces {
        let digits = piece
            .get(..2)
            .filter(|two| two.iter().all(u8::is_ascii_hexdigit))?;
        decoded.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        decoded.extend_from_slice(&piece[2..]);
    }
    let is_refused = decoded.iter().any(|byte| matches!(byte, 0 | b'/' | b'\\'));
    (!is_refused).then_some(decoded)
}
