//! `http::body::BodyDecoder` on any bytes.
//!
//! - The outcome does not depend on how the bytes are cut.
//! - No more bytes are consumed than there are, and all of them unless the body is complete.
//! - The bytes after a body change nothing in it, and no shorter prefix is complete.
//! - A very simple reader finds the same end, and no more data than the limit.
//! - The same data in plain chunks, without extensions and trailers, is accepted.

use abide::http::body::{BodyDecoder, DecodedBody};
use abide::http::framing::Framing;
use abide::http::request::Reject;

use super::script::{first_line, pieces};

/// Small, so that a fuzzer reaches the limit.
const MAX_BYTES: u64 = 300;

/// `input` is a script of cuts, then a chunked body and the bytes after it. The same bytes are also read as
/// a body with Content-Length, which the length of the script sets.
pub fn check(input: &[u8]) {
    let (script, bytes) = first_line(input);
    check_framing(Framing::Chunked, script, bytes);
    let length = 20 * script.len() as u64;
    match check_framing(Framing::Length(length), script, bytes) {
        None => assert!(length > MAX_BYTES),
        Some(Err(reject)) => panic!("nothing in these bytes can be wrong: {reject:?}"),
        Some(Ok(DecodedBody { consumed, done })) => {
            assert_eq!(done, length <= bytes.len() as u64);
            assert_eq!(consumed as u64, length.min(bytes.len() as u64));
        }
    }
}

/// `None` if there is no decoder because the body is too long.
fn check_framing(
    framing: Framing,
    script: &[u8],
    bytes: &[u8],
) -> Option<Result<DecodedBody, Reject>> {
    let decoder = || BodyDecoder::new(framing, MAX_BYTES).ok();
    let whole = decoder()?.decode(bytes);
    let cut = decode_in_pieces(&mut decoder()?, &pieces(script, bytes));
    assert_eq!(cut, whole, "the outcome depends on the cuts");
    match whole {
        Ok(DecodedBody { consumed, done }) => {
            assert!(consumed <= bytes.len() && (done || consumed == bytes.len()));
            if done {
                check_complete(framing, &bytes[..consumed]);
            }
        }
        Err(reject) => assert!(matches!(reject.status.code(), 400 | 413 | 431)),
    }
    Some(whole)
}

/// The result that one call on all pieces together would give.
fn decode_in_pieces(decoder: &mut BodyDecoder, pieces: &[&[u8]]) -> Result<DecodedBody, Reject> {
    let mut total = 0;
    for piece in pieces {
        let was_done = decoder.is_done();
        let DecodedBody { consumed, done } = decoder.decode(piece)?;
        assert!(consumed <= piece.len() && (done || consumed == piece.len()));
        assert!(!was_done || (done && consumed == 0), "done is done");
        assert_eq!(done, decoder.is_done());
        total += consumed;
    }
    Ok(DecodedBody {
        consumed: total,
        done: decoder.is_done(),
    })
}

/// Checks a complete body with nothing after it.
fn check_complete(framing: Framing, body: &[u8]) {
    let complete = DecodedBody {
        consumed: body.len(),
        done: true,
    };
    let decode = |bytes: &[u8]| {
        BodyDecoder::new(framing, MAX_BYTES)
            .ok()?
            .decode(bytes)
            .ok()
    };
    assert_eq!(decode(body), Some(complete));
    if let [shorter @ .., _] = body {
        let incomplete = DecodedBody {
            consumed: shorter.len(),
            done: false,
        };
        assert_eq!(decode(shorter), Some(incomplete));
    }
    if framing == Framing::Chunked {
        let sizes = chunk_sizes(body).expect("a simple reader finds the same end");
        assert!(sizes.iter().sum::<u64>() <= MAX_BYTES);
        let plain = plain_chunks(&sizes);
        let consumed = plain.len();
        let expected = DecodedBody {
            consumed,
            done: true,
        };
        assert_eq!(decode(&plain), Some(expected));
    }
}

/// The sizes of the chunks of a body that ends where `body` does (RFC 9112 section 7.1).
fn chunk_sizes(body: &[u8]) -> Option<Vec<u64>> {
    let mut sizes = Vec::new();
    let mut rest = body;
    loop {
        let (line, tail) = line(rest)?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
        let digits = String::from_utf8(digits.copied().collect()).ok()?;
        let size = u64::from_str_radix(&digits, 16).ok()?;
        rest = tail;
        if size == 0 {
            break;
        }
        sizes.push(size);
        rest = rest
            .get(usize::try_from(size).ok()?..)?
            .strip_prefix(b"\r\n")?;
    }
    loop {
        let (trailer, tail) = line(rest)?;
        rest = tail;
        if trailer.is_empty() {
            return rest.is_empty().then_some(sizes);
        }
    }
}

/// The first line without its CRLF, and the rest.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
}

fn plain_chunks(sizes: &[u64]) -> Vec<u8> {
    let mut body = Vec::new();
    for &size in sizes {
        body.extend_from_slice(format!("{size:x}\r\n").as_bytes());
        body.extend((0..size).map(|_| b'x'));
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    body
}
