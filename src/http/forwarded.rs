//! Finds the client behind trusted proxies by X-Forwarded-For, which no RFC describes but every proxy sends.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::fields::list_members;
use crate::config::Network;

/// The address of the client: the last address that the proxies have recorded and that is not their own.
///
/// `peer` is the other end of the connection; `x_forwarded_for` gives the values of all such lines in order.
/// Each proxy appends the address of its peer. So the list is read from its end, as far as trusted proxies
/// have written it. A member that is no address, such as `unknown`, ends the search: the proxy that wrote it
/// is the client. If all addresses are trusted, the first one is the client.
///
/// IPv4-mapped IPv6 addresses are returned as IPv4. Nothing is allocated.
pub fn client_address<'v>(
    peer: IpAddr,
    x_forwarded_for: impl Iterator<Item = &'v [u8]>,
    trusted: &[Network],
) -> IpAddr {
    let peer = peer.to_canonical();
    if !is_trusted(peer, trusted) {
        return peer;
    }
    client_behind(x_forwarded_for, trusted).unwrap_or(peer)
}

/// As [`client_address`], for a trusted peer without an address; `None` if the lines name no client.
pub fn client_behind<'v>(
    x_forwarded_for: impl Iterator<Item = &'v [u8]>,
    trusted: &[Network],
) -> Option<IpAddr> {
    // Reads forward, because the iterator need not be double-ended. `client` is the result of a search from
    // the end that reaches this member.
    let mut client = None;
    for member in x_forwarded_for.flat_map(list_members) {
        client = match node_address(member) {
            Some(address) if is_trusted(address, trusted) => client.or(Some(address)),
            found => found,
        };
    }
    client
}

/// Whether `address` belongs to one of the `trusted` networks.
#[must_use]
pub fn is_trusted(address: IpAddr, trusted: &[Network]) -> bool {
    trusted.iter().any(|network| network.contains(address))
}

/// Parses an address as proxies write it: bare or in brackets, with or without a port.
fn node_address(member: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(member).ok()?;
    let address = if let Ok(address) = text.parse::<IpAddr>() {
        address
    } else if let Ok(address) = text.parse::<SocketAddr>() {
        address.ip()
    } else {
        let inside = text.strip_prefix('[')?.strip_suffix(']')?;
        IpAddr::V6(inside.parse::<Ipv6Addr>().ok()?)
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn client(peer: &str, lines: &[&str]) -> String {
        let trusted = networks(&["10.0.0.0/8", "fd00::/8"]);
        let lines = lines.iter().map(|line| line.as_bytes());
        client_address(peer.parse().unwrap(), lines, &trusted).to_string()
    }

    #[test]
    fn a_peer_that_is_not_trusted_is_the_client() {
        assert_eq!(client("192.0.2.1", &["198.51.100.1"]), "192.0.2.1");
        assert_eq!(client("::ffff:192.0.2.1", &[]), "192.0.2.1");
    }

    #[test]
    fn the_last_address_that_is_not_trusted_is_the_client() {
        for (lines, expected) in [
            (&[][..], "10.0.0.1"),
            (&["198.51.100.1"], "198.51.100.1"),
            (&["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
            (&["203.0.113.9", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            (&["198.51.100.1,10.0.0.3", " fd00::1 "], "198.51.100.1"),
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&["198.51.100.1, , "], "198.51.100.1"),
            (&["", ","], "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.1", lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_member_that_is_no_address_ends_the_search() {
        for (lines, expected) in [
            (&["198.51.100.1, unknown"][..], "10.0.0.1"),
            (&["198.51.100.1, unknown, 10.0.0.2"], "10.0.0.2"),
            (&["unknown, 198.51.100.1"], "198.51.100.1"),
            (
                &["198.51.100.1, 10.0.0.256, 10.0.0.3, 10.0.0.2"],
                "10.0.0.3",
            ),
            (&["198.51.100.1, \"[::1]\""], "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.1", lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_peer_without_an_address_may_name_nobody() {
        let trusted = networks(&["10.0.0.0/8"]);
        let behind = |line: &str| client_behind([line.as_bytes()].into_iter(), &trusted);
        assert_eq!(behind("192.0.2.1, 10.0.0.2"), "192.0.2.1".parse().ok());
        assert_eq!(behind("192.0.2.1, unknown"), None);
        assert_eq!(behind(""), None);
    }

    #[test]
    fn ports_and_brackets_are_left_out() {
        for (line, expected) in [
            ("198.51.100.1:4711", "198.51.100.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("::ffff:198.51.100.1", "198.51.100.1"),
            ("[::ffff:198.51.100.1]:80", "198.51.100.1"),
        ] {
            assert_eq!(client("fd00::2", &[line]), expected, "{line}");
        }
    }

    proptest! {
        /// The model searches from the end, as the definition says.
        #[test]
        fn reading_forward_finds_what_reading_backward_finds(
            members in prop::collection::vec(
                prop::sample::select(vec!["10.0.0.2", "10.0.0.3", "192.0.2.1", "::1", "x", ""]),
                0..8,
            ),
        ) {
            let trusted = networks(&["10.0.0.0/8"]);
            let mut expected: IpAddr = "10.0.0.1".parse().unwrap();
            for member in members.iter().rev().filter(|member| !member.is_empty()) {
                let Ok(address) = member.parse() else { break };
                expected = address;
                if !trusted[0].contains(address) {
                    break;
                }
            }
            let peer = "10.0.0.1".parse().unwrap();
            let line = members.join(",");
            prop_assert_eq!(client_address(peer, [line.as_bytes()].into_iter(), &trusted), expected);
            let lines = members.iter().map(|member| member.as_bytes());
            prop_assert_eq!(client_address(peer, lines, &trusted), expected);
        }
    }
}
