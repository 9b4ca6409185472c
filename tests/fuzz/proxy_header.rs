//! `http::proxy_protocol::parse` on any bytes.
//!
//! - The outcome does not depend on how the bytes are cut: it is `None` up to some byte, and from there on
//!   the same whatever follows.
//! - A header is within the bounds of its version, and complete at its last byte, not before.
//! - An error comes no later than the bounds.
//! - A very simple reader finds the same client.

use std::net::IpAddr;

use abide::http::proxy_protocol::{ProxyHeader, V1_MAX_BYTES, V2_MAX_BYTES, parse};

pub fn check(input: &[u8]) {
    let whole = parse(input);
    let mut lengths = 0..=input.len();
    let first = lengths.find(|len| parse(&input[..*len]) != Ok(None));
    let Some(first) = first else {
        assert_eq!(whole, Ok(None));
        assert!(input.len() < V2_MAX_BYTES, "a longer input is no header");
        assert!(input.first() != Some(&b'P') || input.len() < V1_MAX_BYTES);
        return;
    };
    for len in lengths.step_by(7).chain([first]) {
        assert_eq!(
            parse(&input[..len]),
            whole,
            "the outcome depends on the cuts"
        );
    }
    assert!(first <= V2_MAX_BYTES);
    if let Ok(Some(header)) = whole {
        assert_eq!(header.len, first, "complete at its last byte");
        check_header(&input[..first], header);
    }
}

fn check_header(bytes: &[u8], ProxyHeader { client, .. }: ProxyHeader) {
    let simple = match bytes {
        [b'P', ..] => {
            assert!(bytes.len() <= V1_MAX_BYTES && bytes.ends_with(b"\r\n"));
            client_of_line(bytes)
        }
        _ => client_of_block(bytes),
    };
    assert_eq!(client, simple);
}

fn client_of_line(line: &[u8]) -> Option<IpAddr> {
    let mut parts = line.split(|byte| *byte == b' ');
    let is_named = matches!(parts.nth(1), Some(b"TCP4" | b"TCP6"));
    let source = std::str::from_utf8(parts.next()?).ok()?;
    let source: IpAddr = source.parse().ok().filter(|_| is_named)?;
    Some(source.to_canonical())
}

fn client_of_block(block: &[u8]) -> Option<IpAddr> {
    let source = match block[12..14] {
        [0x21, 0x11] => IpAddr::from(*block[16..].first_chunk::<4>()?),
        [0x21, 0x21] => IpAddr::from(*block[16..].first_chunk::<16>()?),
        _ => return None,
    };
    Some(source.to_canonical())
}
