//! Each case is fed whole, byte by byte, and with a request behind it.

use super::*;
use proptest::prelude::*;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Parses `bytes` as they arrive one by one; returns the first result that is not `None`.
fn fed_byte_by_byte(bytes: &[u8]) -> ParsedHeader {
    let mut results = (0..=bytes.len()).map(|len| parse(&bytes[..len]));
    results
        .find(|result| *result != Ok(None))
        .unwrap_or(Ok(None))
}

fn assert_complete(header: &[u8], client: Option<&str>) {
    let client = client.map(|client| client.parse().unwrap());
    let len = header.len();
    let expected = Ok(Some(ProxyHeader { len, client }));
    let shown = header.escape_ascii();
    assert_eq!(parse(header), expected, "{shown}");
    assert_eq!(fed_byte_by_byte(header), expected, "{shown}");
    assert_eq!(parse(&[header, REQUEST].concat()), expected, "{shown}");
}

fn assert_invalid(bytes: &[u8], reason: &'static str) {
    let expected = Err(InvalidProxyHeader(reason));
    let shown = bytes.escape_ascii();
    assert_eq!(parse(bytes), expected, "{shown}");
    assert_eq!(fed_byte_by_byte(bytes), expected, "{shown}");
    assert_eq!(parse(&[bytes, REQUEST].concat()), expected, "{shown}");
}

/// A header of version 2.
fn v2(version_and_command: u8, family_and_transport: u8, rest: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
    let fixed = [version_and_command, family_and_transport, len[0], len[1]];
    [V2_SIGNATURE, &fixed, rest].concat()
}

const TCP4: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0xDB, 0xFC, 0, 80];

/// The addresses of TCP6, from `source`.
fn tcp6(source: &str) -> Vec<u8> {
    let source: Ipv6Addr = source.parse().unwrap();
    [&source.octets()[..], &[0; 16], &[1, 2, 3, 4]].concat()
}

#[test]
fn a_line_names_the_client() {
    for (line, client) in [
        (
            "PROXY TCP4 192.0.2.7 198.51.100.1 56324 80\r\n",
            "192.0.2.7",
        ),
        ("PROXY TCP4 0.0.0.0 0.0.0.0 0 65535\r\n", "0.0.0.0"),
        (
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            "255.255.255.255",
        ),
        ("PROXY TCP6 2001:db8::7 2001:DB8::1 1 2\r\n", "2001:db8::7"),
        (
            "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
             ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ),
        // An IPv4 client of a proxy that listens on IPv6.
        ("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", "192.0.2.7"),
    ] {
        assert_complete(line.as_bytes(), Some(client));
    }
}

#[test]
fn an_unknown_line_names_nobody() {
    let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(V1_MAX_BYTES - 16));
    assert_eq!(longest.len(), V1_MAX_BYTES);
    for line in [
        "PROXY UNKNOWN\r\n",
        "PROXY UNKNOWN 192.0.2.7 198.51.100.1 56324 80\r\n",
        "PROXY UNKNOWN  \0 anything\r\n",
        &longest,
    ] {
        assert_complete(line.as_bytes(), None);
    }
}

/// Checks that each of these lines is invalid for the same reason.
fn assert_lines_invalid(lines: &[&str], reason: &'static str) {
    for line in lines {
        assert_invalid(format!("{line}\r\n").as_bytes(), reason);
    }
}

#[test]
fn a_line_begins_with_the_name_of_the_protocol() {
    let lines = [
        "GET / HTTP/1.1",
        "POST / HTTP/1.1",
        "PROXY",
        "Proxy TCP4 192.0.2.7 198.51.100.1 1 2",
        " PROXY TCP4 192.0.2.7 198.51.100.1 1 2",
    ];
    assert_lines_invalid(&lines, "no header of the PROXY protocol");
    let lines = [
        "PROXY  TCP4 192.0.2.7 198.51.100.1 1 2",
        "PROXY tcp4 192.0.2.7 198.51.100.1 1 2",
        "PROXY UDP4 192.0.2.7 198.51.100.1 1 2",
        "PROXY UNKNOWNS",
        "PROXY ",
    ];
    assert_lines_invalid(&lines, "the protocol is unknown");
}

#[test]
fn a_line_has_two_addresses_and_two_ports() {
    let lines = [
        "PROXY TCP4",
        "PROXY TCP4 192.0.2.7",
        "PROXY TCP4 192.0.2.07 198.51.100.1 1 2",
        "PROXY TCP4 192.0.2 198.51.100.1 1 2",
        "PROXY TCP4 192.0.2.256 198.51.100.1 1 2",
        "PROXY TCP4 192.0.2.7 ::1 1 2",
        "PROXY TCP4 ::1 ::1 1 2",
        "PROXY TCP6 192.0.2.7 ::1 1 2",
        "PROXY TCP6 fe80::1%lo ::1 1 2",
        "PROXY TCP6 [::1] ::1 1 2",
    ];
    assert_lines_invalid(&lines, "an address is missing or wrong");
    let lines = [
        "PROXY TCP4 192.0.2.7 198.51.100.1",
        "PROXY TCP4 192.0.2.7 198.51.100.1 1",
        "PROXY TCP4 192.0.2.7 198.51.100.1 1 2 3",
        "PROXY TCP4 192.0.2.7 198.51.100.1 1 2 ",
        "PROXY TCP4 192.0.2.7 198.51.100.1 01 2",
        "PROXY TCP4 192.0.2.7 198.51.100.1 +1 2",
        "PROXY TCP4 192.0.2.7 198.51.100.1 1 65536",
        "PROXY TCP4 192.0.2.7 198.51.100.1  2",
    ];
    assert_lines_invalid(&lines, "the line does not end with two ports");
}

#[test]
fn a_line_ends_in_crlf() {
    for line in [
        "PROXY TCP4 192.0.2.7 198.51.100.1 1 2\n",
        "PROXY TCP4 192.0.2.7\r198.51.100.1 1 2\r\n",
        "PROXY UNKNOWN a\nb\r\n",
    ] {
        assert_invalid(line.as_bytes(), "the line does not end in CRLF");
    }
}

#[test]
fn a_line_has_107_bytes_at_most() {
    for (filler, reason) in [
        (V1_MAX_BYTES - 15, "the line does not end in CRLF"),
        (V1_MAX_BYTES - 14, "the line is too long"),
        (10_000, "the line is too long"),
    ] {
        let line = format!("PROXY UNKNOWN {}\r\n", "f".repeat(filler));
        assert_invalid(line.as_bytes(), reason);
    }
    let endless = format!("PROXY {}", "f".repeat(V1_MAX_BYTES - 7));
    assert_eq!(parse(endless.as_bytes()), Ok(None));
}

#[test]
fn a_block_names_the_client() {
    assert_complete(&v2(0x21, 0x11, &TCP4), Some("192.0.2.7"));
    assert_complete(&v2(0x21, 0x21, &tcp6("2001:db8::7")), Some("2001:db8::7"));
    assert_complete(
        &v2(0x21, 0x21, &tcp6("::ffff:192.0.2.7")),
        Some("192.0.2.7"),
    );
}

#[test]
fn tlvs_are_skipped() {
    let fill = [4, 1, 241]
        .iter()
        .copied()
        .chain([0; 497])
        .collect::<Vec<u8>>();
    for tlvs in [
        &[1, 0, 2, b'h', b'2'][..],
        &[4, 0, 0, 4, 0, 0],
        &[3, 0, 4, 1, 2, 3, 4, 0x20, 0, 1, 0],
        &fill,
    ] {
        let header = v2(0x21, 0x11, &[&TCP4, tlvs].concat());
        assert_complete(&header, Some("192.0.2.7"));
    }
    assert_eq!(v2(0x21, 0x11, &[&TCP4[..], &fill].concat()).len(), 528);
    for tlvs in [
        &[1][..],
        &[1, 0],
        &[1, 0, 1],
        &[4, 0, 0, 1, 0, 2, 3],
        &[4, 255, 255],
    ] {
        let header = v2(0x21, 0x11, &[&TCP4, tlvs].concat());
        assert_invalid(&header, "a TLV is cut off");
    }
}

#[test]
fn a_block_without_a_tcp_client_names_nobody() {
    for header in [
        // A health check, also one that says what it should not.
        v2(0x20, 0x00, b""),
        v2(0x20, 0x11, &TCP4),
        v2(0x20, 0xFF, b"anything"),
        v2(0x21, 0x00, b""),
        v2(0x21, 0x00, b"anything"),
        v2(0x21, 0x01, b""),
        v2(0x21, 0x10, &TCP4),
        v2(0x21, 0x12, &TCP4),
        v2(0x21, 0x22, &tcp6("::1")),
        v2(0x21, 0x31, &[b'/'; 216]),
        v2(0x21, 0x32, &[&[b'/'; 216][..], &[4, 0, 0]].concat()),
    ] {
        assert_complete(&header, None);
    }
}

#[test]
fn a_block_that_deviates_is_invalid() {
    for (header, reason) in [
        (
            v2(0x11, 0x11, &TCP4),
            "the version or the command is unknown",
        ),
        (
            v2(0x31, 0x11, &TCP4),
            "the version or the command is unknown",
        ),
        (
            v2(0x22, 0x11, &TCP4),
            "the version or the command is unknown",
        ),
        (
            v2(0x21, 0x41, &TCP4),
            "the family or the transport is unknown",
        ),
        (
            v2(0x21, 0x13, &TCP4),
            "the family or the transport is unknown",
        ),
        (
            v2(0x21, 0x03, &TCP4),
            "the family or the transport is unknown",
        ),
        (v2(0x21, 0x11, &TCP4[..11]), "the addresses are cut off"),
        (v2(0x21, 0x11, b""), "the addresses are cut off"),
        (
            v2(0x21, 0x21, &tcp6("::1")[..35]),
            "the addresses are cut off",
        ),
        (v2(0x21, 0x31, &[0; 215]), "the addresses are cut off"),
        (
            b"\r\n\r\n\0\r\nQUIT\r\x21\x11".to_vec(),
            "no header of the PROXY protocol",
        ),
        (
            b"\r\nGET / HTTP/1.1\r\n".to_vec(),
            "no header of the PROXY protocol",
        ),
    ] {
        assert_invalid(&header, reason);
    }
}

#[test]
fn a_block_has_536_bytes_at_most() {
    assert_complete(&v2(0x20, 0, &[0; 520]), None);
    assert_complete(&v2(0x21, 0, &[0; 520]), None);
    for len in [521, 65_535] {
        // The length is refused before its bytes arrive.
        assert_invalid(&v2(0x20, 0, &vec![0; len])[..16], "the header is too long");
        assert_invalid(&v2(0x21, 0x11, &vec![0; len]), "the header is too long");
    }
}

proptest! {
    #[test]
    fn every_client_is_read_from_both_versions(source: IpAddr, destination: u128, ports: (u16, u16)) {
        let (family, protocol, destination) = match source {
            IpAddr::V4(_) => (0x11, "TCP4", IpAddr::V4(Ipv4Addr::from_bits(destination as u32))),
            IpAddr::V6(_) => (0x21, "TCP6", IpAddr::V6(Ipv6Addr::from_bits(destination))),
        };
        let line = format!("PROXY {protocol} {source} {destination} {} {}\r\n", ports.0, ports.1);
        let octets = |address: IpAddr| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let ports = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
        let block = [octets(source), octets(destination), ports].concat();
        let client = source.to_canonical().to_string();
        assert_complete(line.as_bytes(), Some(&client));
        assert_complete(&v2(0x21, family, &block), Some(&client));
    }
}
