//! Property tests of [`parse_head`] and [`resume_head`]: the outcome depends on the bytes, not on how they
//! are cut.

use proptest::prelude::*;

use super::*;

const LIMITS: HeadLimits = HeadLimits {
    target_bytes: 48,
    head_bytes: 320,
    headers: 6,
};

/// An outcome without its borrows.
#[derive(Debug, Clone, PartialEq)]
enum ParsedHead {
    Partial {
        started: bool,
        method: Option<Method>,
    },
    Complete {
        consumed: usize,
        text: String,
    },
    Refused(Reject),
}

fn outcome(bytes: &[u8]) -> ParsedHead {
    describe(parse_head(bytes, &LIMITS, &mut Vec::new()))
}

fn describe(parsed: Result<Parsed<'_, '_>, Reject>) -> ParsedHead {
    match parsed {
        Ok(Parsed::Partial {
            started, method, ..
        }) => ParsedHead::Partial { started, method },
        Ok(Parsed::Complete { head, consumed }) => ParsedHead::Complete {
            consumed,
            text: format!(
                "{} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
                head.request_line.escape_ascii(),
                head.target,
                head.host,
                head.framing,
                head.connection,
                head.expect,
                (head.via, head.proxy_connection),
                head.fields.iter().collect::<Vec<_>>(),
            ),
        },
        Err(reject) => ParsedHead::Refused(reject),
    }
}

/// Parses ever longer prefixes, as a connection does, until the outcome is not Partial. Each outcome equals
/// that of parsing the prefix at once.
fn outcome_in_pieces(bytes: &[u8], cuts: &[usize]) -> ParsedHead {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.sort_unstable();
    cuts.push(bytes.len());
    let mut progress = HeadProgress::default();
    let mut last = ParsedHead::Refused(Reject::bad_request("Nothing was read."));
    for cut in cuts {
        let prefix = &bytes[..cut];
        let mut spans = Vec::new();
        let parsed = resume_head(prefix, &LIMITS, &mut spans, &progress);
        if let Ok(Parsed::Partial { progress: next, .. }) = &parsed {
            progress = *next;
        }
        last = describe(parsed);
        assert_eq!(last, outcome(prefix), "{}", prefix.escape_ascii());
        if !matches!(last, ParsedHead::Partial { .. }) {
            break;
        }
    }
    last
}

fn field_line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("Host: example.com".to_owned()),
        Just("Host: [::1]:80".to_owned()),
        Just("Connection: keep-alive, close".to_owned()),
        Just("Content-Length: 12".to_owned()),
        Just("Transfer-Encoding: gzip;q=\"1\", chunked".to_owned()),
        Just("Transfer-Encoding:".to_owned()),
        Just("Expect: 100-continue".to_owned()),
        "[A-Za-z-]{1,12}: ?[ -~\t]{0,40}",
    ]
}

/// Requests that are mostly valid, with empty lines before and a second request after them.
fn request() -> impl Strategy<Value = Vec<u8>> {
    (
        0usize..10,
        prop_oneof![
            Just("GET"),
            Just("HEAD"),
            Just("OPTIONS"),
            Just("CONNECT"),
            Just("PRI")
        ],
        prop_oneof![
            Just("*".to_owned()),
            Just("a:1".to_owned()),
            "(https?://b)?/[!-~]{0,50}",
        ],
        prop_oneof![4 => Just("1.1"), 2 => Just("1.0"), 1 => Just("2.0"), 1 => Just("0.9"), 1 => Just("1.10")],
        prop::collection::vec(field_line(), 0..8),
    )
        .prop_map(|(empty, method, target, version, lines)| {
            let mut text = "\r\n".repeat(empty);
            text += &format!("{method} {target} HTTP/{version}\r\n");
            for line in lines {
                text += &line;
                text += "\r\n";
            }
            text += "\r\nGET /next HTTP/1.1\r\n";
            text.into_bytes()
        })
}

/// Replaces, inserts or removes one byte.
fn mutate(bytes: &mut Vec<u8>, place: usize, byte: u8, kind: u8) {
    if bytes.is_empty() {
        return;
    }
    let at = place % bytes.len();
    match kind % 3 {
        0 => bytes[at] = byte,
        1 => bytes.insert(at, byte),
        _ => drop(bytes.remove(at)),
    }
}

fn mutations() -> impl Strategy<Value = Vec<(usize, u8, u8)>> {
    let byte = prop_oneof![
        prop::sample::select(b"\r\n \t:\0,;#%/*\x7f\x80".to_vec()),
        any::<u8>(),
    ];
    prop::collection::vec((0usize..4096, byte, any::<u8>()), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn the_outcome_does_not_depend_on_how_the_bytes_are_cut(
        mut bytes in request(),
        changes in mutations(),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        for (place, byte, kind) in changes {
            mutate(&mut bytes, place, byte, kind);
        }
        prop_assert_eq!(outcome_in_pieces(&bytes, &cuts), outcome(&bytes));
    }

    #[test]
    fn the_outcome_does_not_depend_on_a_byte_by_byte_delivery(
        mut bytes in request(),
        changes in mutations(),
    ) {
        for (place, byte, kind) in changes {
            mutate(&mut bytes, place, byte, kind);
        }
        let every: Vec<_> = (0..=bytes.len()).collect();
        prop_assert_eq!(outcome_in_pieces(&bytes, &every), outcome(&bytes));
    }

    #[test]
    fn a_full_buffer_never_asks_for_more(bytes in prop::collection::vec(0x20u8..0x7F, 320..400)) {
        let mut text = b"GET / HTTP/1.1\r\nX: ".to_vec();
        text.extend_from_slice(&bytes);
        let is_partial = matches!(outcome(&text), ParsedHead::Partial { .. });
        prop_assert!(!is_partial);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        outcome(&bytes);
    }
}
