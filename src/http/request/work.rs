//! The cost of parsing a head that arrives in small pieces, counted in bytes that the scanner reads. So
//! the tests need no clock.

use super::scan_state::BYTES_SCANNED;
use super::*;

/// The most scans of each byte of a head, over all pieces and the final parse. A piece of one byte costs a
/// scan of that byte, one of the missing next byte, and sometimes one of the byte before.
const MAX_SCANS_PER_BYTE: usize = 6;

/// Bytes scanned again with each piece: those before the target, and the version.
const SHORT_PARTS: usize = 4_000;

fn limits(head_bytes: usize) -> HeadLimits {
    HeadLimits {
        target_bytes: head_bytes,
        head_bytes,
        headers: 100_000,
    }
}

/// The number of bytes scanned while `head` arrives in pieces of `piece` bytes, and whether it is complete.
fn scanned(head: &[u8], piece: usize) -> (usize, bool) {
    let limits = limits(head.len());
    let mut spans = Vec::new();
    let mut progress = HeadProgress::default();
    BYTES_SCANNED.set(0);
    let mut len = 0;
    while len < head.len() {
        len = head.len().min(len + piece);
        match resume_head(&head[..len], &limits, &mut spans, &progress) {
            Ok(Parsed::Partial { progress: next, .. }) => progress = next,
            Ok(Parsed::Complete { consumed, .. }) => {
                assert_eq!(consumed, head.len());
                return (BYTES_SCANNED.get(), true);
            }
            Err(reject) => panic!("{reject:?}"),
        }
    }
    (BYTES_SCANNED.get(), false)
}

/// Heads of about `len` bytes, each with another long part.
fn heads(len: usize) -> [(&'static str, String); 8] {
    let line = "GET / HTTP/1.1\r\nHost: a\r\n";
    let options = "keep-alive, ".repeat(len / 12);
    let fields = "a: b\r\n".repeat(len / 6);
    [
        ("a list", format!("{line}Connection: {options}\r\n\r\n")),
        (
            "a list of expectations",
            format!("{line}Expect: {}\r\n\r\n", "100-continue,".repeat(len / 13)),
        ),
        (
            "a target",
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(len)),
        ),
        ("a name", format!("{line}{}: b\r\n\r\n", "x".repeat(len))),
        (
            "space before a value",
            format!("{line}a:{}b\r\n\r\n", " \t".repeat(len / 2)),
        ),
        (
            "space behind a value",
            format!("{line}a: b{}\r\n\r\n", " \t".repeat(len / 2)),
        ),
        ("many lines", format!("{line}{fields}\r\n")),
        (
            "empty lines and an unknown method",
            format!(
                "{}{} /{} HTTP/1.9\r\nHost: a\r\n\r\n",
                "\r\n".repeat(8),
                "M".repeat(64),
                "x".repeat(len)
            ),
        ),
    ]
}

#[test]
fn the_cost_per_byte_does_not_grow_with_the_head() {
    for len in [1_000, 8_000, 32_000, 128_000] {
        for (what, head) in heads(len) {
            for piece in [1, 2, 7, 100] {
                let (scanned, is_complete) = scanned(head.as_bytes(), piece);
                assert!(is_complete, "{what}");
                let allowed = MAX_SCANS_PER_BYTE * head.len() + SHORT_PARTS;
                assert!(
                    scanned <= allowed,
                    "{what}, {len} bytes by {piece}: {scanned} scans"
                );
            }
        }
    }
}

/// Checks the counter itself: in one piece, each byte of a value is scanned once, and once more by the code
/// that reads the field.
#[test]
fn in_one_piece_each_byte_is_scanned_once_or_twice() {
    for (what, head) in heads(32_000) {
        let (scanned, is_complete) = scanned(head.as_bytes(), head.len());
        assert!(is_complete, "{what}");
        // Whitespace after the name, line ends and bytes compared as a whole are not counted.
        let range = head.len() / 3..=3 * head.len();
        assert!(range.contains(&scanned), "{what}: {scanned} scans");
    }
}
