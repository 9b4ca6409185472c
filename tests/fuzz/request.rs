//! `http::request::parse_head` on any bytes.
//!
//! - If a prefix has an outcome, the whole input has the same.
//! - A head that is read piece by piece has the outcomes of its prefixes read at once.
//! - No more bytes are consumed than there are, nor more than the limit on a head.
//! - The bytes after a request change nothing in it: parsing `a + b` is parsing `a`, then `b`.
//! - An accepted request keeps to the grammar and the limits. Written out again it parses to an equal one.

use abide::http::fields::FieldSpan;
use abide::http::request::{
    HeadLimits, HeadProgress, Parsed, Reject, RequestHead, parse_head, resume_head,
};
use abide::http::version::Version;

use super::script::{first_line, pieces};

/// Small, so that a fuzzer reaches the limits.
const LIMITS: HeadLimits = HeadLimits {
    target_bytes: 64,
    head_bytes: 512,
    headers: 12,
};

/// Prefixes tried per input. More would only cost time: the next input cuts elsewhere.
const MAX_CUTS: usize = 64;

/// `input` is a script of cuts, then one or more requests.
pub fn check(input: &[u8]) {
    let (script, bytes) = first_line(input);
    let mut spans = Vec::new();
    let whole = parse_head(bytes, &LIMITS, &mut spans);
    let mut cut = 0;
    let mut progress = Some(HeadProgress::default());
    for piece in pieces(script, bytes).into_iter().take(MAX_CUTS) {
        cut += piece.len();
        check_prefix(&bytes[..cut], &whole);
        progress = progress.and_then(|progress| check_resumed(&bytes[..cut], &progress));
    }
    let mut rest = bytes;
    while let Ok(Parsed::Complete { head, consumed }) = parse_head(rest, &LIMITS, &mut spans) {
        assert!(0 < consumed && consumed <= rest.len() && consumed <= LIMITS.head_bytes);
        let is_line_end = |byte: &&u8| matches!(byte, b'\r' | b'\n');
        let empty = rest.iter().take_while(is_line_end).count();
        assert!(empty <= 16, "at most 8 empty lines are skipped");
        check_head(&head);
        check_alone(&rest[..consumed], &head);
        check_rewritten(&head);
        rest = &rest[consumed..];
    }
    if let Err(reject) = parse_head(rest, &LIMITS, &mut spans) {
        assert!((400..600).contains(&reject.status.code()));
        assert!(!reject.reason.is_empty());
    }
}

/// A prefix is either incomplete, or has the outcome of the whole.
fn check_prefix(prefix: &[u8], whole: &Result<Parsed<'_, '_>, Reject>) {
    let mut spans: Vec<FieldSpan> = Vec::new();
    match (parse_head(prefix, &LIMITS, &mut spans), whole) {
        (
            Ok(Parsed::Partial {
                started, method, ..
            }),
            whole,
        ) => {
            assert!(prefix.len() < LIMITS.head_bytes, "a full buffer is enough");
            let (starts, of_whole) = match whole {
                Ok(Parsed::Partial {
                    started, method, ..
                }) => (*started, *method),
                Ok(Parsed::Complete { head, .. }) => (true, Some(head.method)),
                Err(reject) => (true, reject.method),
            };
            assert!(
                starts || !started,
                "the prefix began a request, the whole did not"
            );
            assert!(method.is_none() || method == of_whole);
        }
        (
            Ok(Parsed::Complete { head, consumed }),
            Ok(Parsed::Complete {
                head: whole,
                consumed: of_whole,
            }),
        ) => {
            assert_eq!(consumed, *of_whole);
            assert_same(&head, whole);
        }
        (Err(reject), Err(whole)) => assert_eq!(reject, *whole),
        (prefix, whole) => panic!("a prefix came to {prefix:?}, the whole to {whole:?}"),
    }
}

/// Continues in `prefix` from `progress`. Returns the new progress if more bytes are needed.
fn check_resumed(prefix: &[u8], progress: &HeadProgress) -> Option<HeadProgress> {
    let (mut spans, mut in_one_go) = (Vec::new(), Vec::new());
    match (
        resume_head(prefix, &LIMITS, &mut spans, progress),
        parse_head(prefix, &LIMITS, &mut in_one_go),
    ) {
        (
            Ok(Parsed::Partial {
                started,
                method,
                progress,
            }),
            Ok(Parsed::Partial {
                started: of_whole,
                method: method_of_whole,
                ..
            }),
        ) => {
            assert_eq!((started, method), (of_whole, method_of_whole));
            return Some(progress);
        }
        (
            Ok(Parsed::Complete { head, consumed }),
            Ok(Parsed::Complete {
                head: whole,
                consumed: of_whole,
            }),
        ) => {
            assert_eq!(consumed, of_whole);
            assert_same(&head, &whole);
        }
        (Err(reject), Err(whole)) => assert_eq!(reject, whole),
        (resumed, whole) => panic!("read on: {resumed:?}, in one go: {whole:?}"),
    }
    None
}

/// Checks the accepted request against the grammar of RFC 9112 sections 3 and 5.
fn check_head(head: &RequestHead<'_, '_>) {
    assert!((1..=64).contains(&head.method_token().len()));
    assert!((1..=LIMITS.target_bytes).contains(&head.raw_target().len()));
    let visible = |byte: &u8| (0x21..=0x7E).contains(byte);
    assert!(head.method_token().iter().all(visible));
    assert!(head.raw_target().iter().all(visible) && !head.raw_target().contains(&b'#'));
    assert!(head.host.is_some() || head.version == Version::Http10);
    assert!(head.fields.iter().count() <= LIMITS.headers);
    for (name, value) in head.fields.iter() {
        let separators = b"\"(),/:;<=>?@[\\]{}";
        assert!(!name.is_empty() && name.iter().all(visible));
        assert!(!name.iter().any(|byte| separators.contains(byte)));
        let is_text = |byte: &u8| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7F);
        assert!(value.iter().all(is_text));
        let ends = [value.first(), value.last()];
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
        assert!(!ends.into_iter().flatten().any(is_space));
    }
}

/// Checks that the bytes of a request, without those after it, give the same request.
fn check_alone(bytes: &[u8], expected: &RequestHead<'_, '_>) {
    match parse_head(bytes, &LIMITS, &mut Vec::new()) {
        Ok(Parsed::Complete { head, consumed }) => {
            assert_eq!(consumed, bytes.len());
            assert_same(&head, expected);
        }
        other => panic!("a request is incomplete without the bytes after it: {other:?}"),
    }
    match parse_head(&bytes[..bytes.len() - 1], &LIMITS, &mut Vec::new()) {
        Ok(Parsed::Partial { .. }) => {}
        other => panic!("a request is not partial without its last byte: {other:?}"),
    }
}

/// Checks that a request without optional white space is never longer than it was.
fn check_rewritten(head: &RequestHead<'_, '_>) {
    let version = match head.version {
        Version::Http10 => b"HTTP/1.0",
        Version::Http11 => b"HTTP/1.1",
    };
    let mut bytes = [head.method_token(), b" ", head.raw_target(), b" ", version].concat();
    for (name, value) in head.fields.iter() {
        bytes.extend_from_slice(&[b"\r\n", name, b":", value].concat());
    }
    bytes.extend_from_slice(b"\r\n\r\n");
    check_alone(&bytes, head);
}

/// Checks for equality, except of the places in the buffer and of a minor version that is read as 1.1.
fn assert_same(one: &RequestHead<'_, '_>, other: &RequestHead<'_, '_>) {
    assert_eq!(one.method, other.method);
    assert_eq!(one.method_token(), other.method_token());
    assert_eq!(one.raw_target(), other.raw_target());
    assert_eq!(one.target, other.target);
    assert_eq!(one.version, other.version);
    assert_eq!(one.host, other.host);
    assert_eq!(one.framing, other.framing);
    assert_eq!(one.connection, other.connection);
    assert_eq!(one.expect, other.expect);
    assert_eq!(one.via, other.via);
    assert_eq!(one.proxy_connection, other.proxy_connection);
    assert!(one.fields.iter().eq(other.fields.iter()));
}
