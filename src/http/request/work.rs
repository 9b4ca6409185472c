//! How much reading a head costs if it comes in small pieces: counted in bytes that the scanner looks at,
//! so the tests need no clock.

use super::place::LOOKED_AT;
use super::*;

/// How often each byte of a head may be looked at, over all pieces and the last look at the whole. One
/// piece of one byte costs a look at the byte, one at the missing next byte, and now and then one at the
/// byte before it.
const MAX_LOOKS_PER_BYTE: usize = 6;

/// Bytes that are looked at again with each piece: those before the target, and the version.
const SHORT_PARTS: usize = 4_000;

fn limits(head_bytes: usize) -> HeadLimits {
    HeadLimits {
        target_bytes: head_bytes,
        head_bytes,
        headers: 100_000,
    }
}

/// The bytes looked at while `head` comes in pieces of `piece` bytes, and what it came to.
fn looked_at(head: &[u8], piece: usize) -> (usize, bool) {
    let limits = limits(head.len());
    let mut spans = Vec::new();
    let mut progress = HeadProgress::default();
    LOOKED_AT.set(0);
    let mut len = 0;
    while len < head.len() {
        len = head.len().min(len + piece);
        match resume_head(&head[..len], &limits, &mut spans, &progress) {
            Ok(Parsed::Partial { progress: next, .. }) => progress = next,
            Ok(Parsed::Complete { consumed, .. }) => {
                assert_eq!(consumed, head.len());
                return (LOOKED_AT.get(), true);
            }
            Err(reject) => panic!("{reject:?}"),
        }
    }
    (LOOKED_AT.get(), false)
}

/// Heads of about `len` bytes, each long in a way of its own.
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
                let (looked_at, is_complete) = looked_at(head.as_bytes(), piece);
                assert!(is_complete, "{what}");
                let allowed = MAX_LOOKS_PER_BYTE * head.len() + SHORT_PARTS;
                assert!(
                    looked_at <= allowed,
                    "{what}, {len} bytes by {piece}: {looked_at} looks"
                );
            }
        }
    }
}

/// The counter counts: in one piece each byte of a value is looked at by the scanner, and by whoever
/// understands it.
#[test]
fn in_one_piece_each_byte_is_looked_at_once_or_twice() {
    for (what, head) in heads(32_000) {
        let (looked_at, is_complete) = looked_at(head.as_bytes(), head.len());
        assert!(is_complete, "{what}");
        // The space behind the name, the line ends and what is compared as a whole are not counted.
        let range = head.len() / 3..=3 * head.len();
        assert!(range.contains(&looked_at), "{what}: {looked_at} looks");
    }
}
