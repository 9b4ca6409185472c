//! The header of the PROXY protocol, with which a proxy that forwards bytes names the client.
//!
//! Source: "The PROXY protocol, versions 1 & 2" by HAProxy (`proxy-protocol.txt`), sections 2.1 and 2.2.
//!
//! ```text
//! version 1   PROXY TCP4 192.0.2.7 198.51.100.1 56324 80 CR LF
//! version 2   signature (12 bytes), version and command, family and transport, length (2 bytes),
//!             source address, destination address, source port, destination port, TLVs
//! ```
//!
//! The header comes once, before the first request, and nothing else tells whether there is one: a server
//! that guessed would let every client claim any address (section 2). So the parser is strict, and finds an
//! error in the first byte that is wrong. It reads the address of the client, checks the rest, and
//! interprets nothing else. In particular it does not verify the checksum (PP2_TYPE_CRC32C), as receivers
//! may choose.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The most bytes of a header of version 1, its CRLF included (section 2.1).
pub const V1_MAX_BYTES: usize = 107;

/// The most bytes of a header of version 2: what the smallest TCP segment can hold (section 2).
pub const V2_MAX_BYTES: usize = 536;

const V1_START: &[u8] = b"PROXY ";

const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of version 2 before the addresses.
const V2_FIXED_BYTES: usize = 16;

/// A complete header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyHeader {
    /// The length of the header in bytes; the first request begins behind it.
    pub len: usize,
    /// The client, with an IPv4-mapped address as IPv4. `None` if the proxy speaks for itself (LOCAL), or
    /// names no client with an IP address and TCP (UNKNOWN, UNSPEC and others): then the peer of the
    /// connection counts.
    pub client: Option<IpAddr>,
}

/// Why bytes are no header, in a few words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidProxyHeader(pub &'static str);

type ParsedHeader = Result<Option<ProxyHeader>, InvalidProxyHeader>;

/// Parses a header of either version at the start of `bytes`, which may continue with a request. `None` if
/// the header is incomplete and right so far.
///
/// # Errors
/// If `bytes` do not begin with a header, or the header is longer than [`V1_MAX_BYTES`] or
/// [`V2_MAX_BYTES`].
pub fn parse(bytes: &[u8]) -> ParsedHeader {
    match bytes.first() {
        None => Ok(None),
        Some(b'P') => parse_v1(bytes),
        Some(b'\r') => parse_v2(bytes),
        Some(_) => Err(InvalidProxyHeader("no header of the PROXY protocol")),
    }
}

/// Checks that `bytes` begin as `start` does, as far as they go.
fn expect_start(bytes: &[u8], start: &[u8]) -> Result<(), InvalidProxyHeader> {
    let known = bytes.len().min(start.len());
    if bytes[..known] == start[..known] {
        Ok(())
    } else {
        Err(InvalidProxyHeader("no header of the PROXY protocol"))
    }
}

/// Section 2.1: one line of text.
fn parse_v1(bytes: &[u8]) -> ParsedHeader {
    expect_start(bytes, V1_START)?;
    let line = &bytes[..bytes.len().min(V1_MAX_BYTES)];
    let is_whole = line.len() == V1_MAX_BYTES;
    let end = match memchr::memchr2(b'\r', b'\n', line) {
        None if is_whole => return Err(InvalidProxyHeader("the line is too long")),
        None => return Ok(None),
        Some(end) => end,
    };
    match line[end..] {
        [b'\r', b'\n', ..] => {}
        [b'\r'] if !is_whole => return Ok(None),
        _ => return Err(InvalidProxyHeader("the line does not end in CRLF")),
    }
    // The start holds no CR or LF, so the line is longer.
    let mut parts = line[V1_START.len()..end].split(|byte| *byte == b' ');
    let client = match parts.next() {
        Some(b"TCP4") => client_of_line::<Ipv4Addr>(parts)?,
        Some(b"TCP6") => client_of_line::<Ipv6Addr>(parts)?,
        // The rest of the line says nothing.
        Some(b"UNKNOWN") => None,
        _ => return Err(InvalidProxyHeader("the protocol is unknown")),
    };
    let len = end + 2;
    Ok(Some(ProxyHeader { len, client }))
}

/// The first of the four parts that follow the protocol: source, destination, and the port of each.
fn client_of_line<'l, A: FromStr + Into<IpAddr>>(
    mut parts: impl Iterator<Item = &'l [u8]>,
) -> Result<Option<IpAddr>, InvalidProxyHeader> {
    let mut address = || parts.next().and_then(parsed::<A>);
    let (source, destination) = (address(), address());
    let (Some(source), Some(_)) = (source, destination) else {
        return Err(InvalidProxyHeader("an address is missing or wrong"));
    };
    let mut has_port = || parts.next().is_some_and(is_port);
    if !has_port() || !has_port() || parts.next().is_some() {
        return Err(InvalidProxyHeader("the line does not end with two ports"));
    }
    Ok(Some(source.into().to_canonical()))
}

fn parsed<A: FromStr>(text: &[u8]) -> Option<A> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Whether `text` is a decimal number up to 65535 without leading zeros.
fn is_port(text: &[u8]) -> bool {
    let is_canonical = text == b"0" || text.first() != Some(&b'0');
    // A sign would be parsed as well.
    is_canonical && text.iter().all(u8::is_ascii_digit) && parsed::<u16>(text).is_some()
}

/// The command of version 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    /// The proxy has connected on its own behalf, for a health check.
    Local,
    /// The proxy has connected for a client.
    Proxy,
}

/// A kind of address block in a header of version 2. It decides how the block is read, and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AddressBlock {
    /// Two IPv4 addresses and two ports, of TCP.
    Tcp4,
    /// Two IPv6 addresses and two ports, of TCP.
    Tcp6,
    /// So many bytes that name no TCP client: UDP or unix sockets.
    Other(usize),
    /// All bytes behind the fixed ones, which have no format.
    Unspecified,
}

impl AddressBlock {
    /// The block that the 14th byte announces: the family in its high half, the transport in its low half.
    fn of(family_and_transport: u8) -> Result<AddressBlock, InvalidProxyHeader> {
        Ok(
            match (family_and_transport >> 4, family_and_transport & 0xF) {
                (0, 0..=2) | (1..=3, 0) => AddressBlock::Unspecified,
                (1, 1) => AddressBlock::Tcp4,
                (1, 2) => AddressBlock::Other(AddressBlock::Tcp4.len()),
                (2, 1) => AddressBlock::Tcp6,
                (2, 2) => AddressBlock::Other(AddressBlock::Tcp6.len()),
                (3, 1 | 2) => AddressBlock::Other(2 * 108),
                _ => return Err(InvalidProxyHeader("the family or the transport is unknown")),
            },
        )
    }

    /// The bytes of the block.
    fn len(self) -> usize {
        match self {
            AddressBlock::Tcp4 => 2 * 4 + 2 * 2,
            AddressBlock::Tcp6 => 2 * 16 + 2 * 2,
            AddressBlock::Other(len) => len,
            AddressBlock::Unspecified => 0,
        }
    }

    /// The client that the block at the start of `bytes` names.
    fn client(self, bytes: &[u8]) -> Option<IpAddr> {
        let source = match self {
            AddressBlock::Tcp4 => IpAddr::from(*bytes.first_chunk::<4>()?),
            AddressBlock::Tcp6 => IpAddr::from(*bytes.first_chunk::<16>()?),
            AddressBlock::Other(_) | AddressBlock::Unspecified => return None,
        };
        Some(source.to_canonical())
    }
}

/// Section 2.2: binary.
fn parse_v2(bytes: &[u8]) -> ParsedHeader {
    expect_start(bytes, V2_SIGNATURE)?;
    let command = match bytes.get(12) {
        None => return Ok(None),
        Some(0x20) => Command::Local,
        Some(0x21) => Command::Proxy,
        Some(_) => return Err(InvalidProxyHeader("the version or the command is unknown")),
    };
    let block = match (bytes.get(13), command) {
        (None, _) => return Ok(None),
        // LOCAL has a family that is ignored.
        (Some(_), Command::Local) => AddressBlock::Unspecified,
        (Some(family_and_transport), Command::Proxy) => AddressBlock::of(*family_and_transport)?,
    };
    let Some([high, low]) = bytes.get(14..V2_FIXED_BYTES) else {
        return Ok(None);
    };
    let len = V2_FIXED_BYTES + usize::from(u16::from_be_bytes([*high, *low]));
    if len > V2_MAX_BYTES {
        return Err(InvalidProxyHeader("the header is too long"));
    }
    if len < V2_FIXED_BYTES + block.len() {
        return Err(InvalidProxyHeader("the addresses are cut off"));
    }
    let Some(rest) = bytes.get(V2_FIXED_BYTES..len) else {
        return Ok(None);
    };
    if block != AddressBlock::Unspecified {
        check_tlvs(&rest[block.len()..])?;
    }
    let client = block.client(rest);
    Ok(Some(ProxyHeader { len, client }))
}

/// Checks that `bytes` are a sequence of TLVs: a type, a length in two bytes, and so many bytes.
fn check_tlvs(bytes: &[u8]) -> Result<(), InvalidProxyHeader> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let after = match rest {
            [_, high, low, value @ ..] => {
                value.get(usize::from(u16::from_be_bytes([*high, *low]))..)
            }
            _ => None,
        };
        rest = after.ok_or(InvalidProxyHeader("a TLV is cut off"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
