//! The addresses that count as one client under a limit per address.
//!
//! An IPv4 address is one client. An IPv6 subscriber has a whole network, mostly a /64 (RFC 6177), and could
//! otherwise appear as any number of clients.

use std::net::{IpAddr, Ipv6Addr};

/// The addresses that count as one client, represented by the first of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientNetwork(IpAddr);

impl ClientNetwork {
    /// The client that `address` belongs to: the whole IPv4 address, or the first `ipv6_prefix` bits (1 to
    /// 128) of an IPv6 address. An IPv4-mapped IPv6 address counts as IPv4 (RFC 4291 section 2.5.5.2).
    #[must_use]
    pub fn of(address: IpAddr, ipv6_prefix: u8) -> ClientNetwork {
        ClientNetwork(match address.to_canonical() {
            IpAddr::V6(address) => {
                let host_bits = u32::from(128_u8.saturating_sub(ipv6_prefix));
                let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
            }
            address => address,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, ipv6_prefix: u8) -> ClientNetwork {
        ClientNetwork::of(text.parse().expect("an address"), ipv6_prefix)
    }

    #[test]
    fn ipv6_counts_by_its_prefix() {
        let same = of("2001:db8:0:7::1", 64) == of("2001:db8:0:7:ffff:ffff:ffff:ffff", 64);
        assert!(same);
        assert_ne!(of("2001:db8:0:7::1", 64), of("2001:db8:0:8::1", 64));
        assert_eq!(of("2001:db8:0:7::1", 56), of("2001:db8:0:8::1", 56));
        assert_ne!(of("2001:db8::1", 128), of("2001:db8::2", 128));
        assert_eq!(of("8000::1", 1), of("ffff::1", 1));
        assert_ne!(of("8000::1", 1), of("7fff::1", 1));
    }

    #[test]
    fn ipv4_counts_by_address_in_either_form() {
        for ipv6_prefix in [1, 64, 96, 128] {
            assert_ne!(of("192.0.2.1", ipv6_prefix), of("192.0.2.2", ipv6_prefix));
            assert_eq!(
                of("::ffff:192.0.2.1", ipv6_prefix),
                of("192.0.2.1", ipv6_prefix)
            );
        }
    }
}
