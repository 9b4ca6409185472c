//! Addresses and networks, as in `10.0.0.0/8`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

use super::invalid_text::InvalidText;

/// Bits of an IPv6 address before the IPv4 address that is mapped into it (RFC 4291 section 2.5.5.2).
const MAPPED_PREFIX: u8 = 96;

/// A network of IP addresses, or a single address. IPv4-mapped IPv6 addresses count as IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    /// Whether `address` is in the network.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Network {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Network, InvalidText> {
        let net = match text.parse::<IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_) => text.parse::<IpNet>().map_err(|_| {
                let reason = "is no address or network, write it as 192.0.2.1, 10.0.0.0/8, \
                              2001:db8::1 or fd00::/8";
                InvalidText::new(text, reason)
            })?,
        };
        if net.addr() != net.network() {
            let reason = format!(
                "has bits set after the {} bits of the network, write {}",
                net.prefix_len(),
                net.trunc()
            );
            return Err(InvalidText::new(text, reason));
        }
        Ok(Network(unmapped(net)))
    }
}

/// Turns a network of IPv4-mapped IPv6 addresses into an IPv4 network.
fn unmapped(net: IpNet) -> IpNet {
    match (net.addr().to_canonical(), net) {
        (IpAddr::V4(address), IpNet::V6(net)) if net.prefix_len() >= MAPPED_PREFIX => {
            Ipv4Net::new(address, net.prefix_len() - MAPPED_PREFIX)
                .map_or(IpNet::V6(net), IpNet::V4)
        }
        _ => net,
    }
}

/// Writes the form that [`FromStr`] reads. A single address has no prefix length.
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() {
            self.0.addr().fmt(f)
        } else {
            self.0.fmt(f)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_contains_its_addresses_in_either_form() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.0.0.1"),
            ("::ffff:10.0.0.0/104", "10.1.2.3", "11.0.0.1"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("::ffff:192.0.2.1", "192.0.2.1", "::1"),
            ("fd00::/8", "fdff::1", "fe00::"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "::1", "127.0.0.1"),
        ] {
            let address = |text: &str| text.parse::<IpAddr>().unwrap();
            assert!(network(text).contains(address(inside)), "{text} {inside}");
            assert!(
                !network(text).contains(address(outside)),
                "{text} {outside}"
            );
        }
    }

    #[test]
    fn a_network_is_displayed_as_it_is_read() {
        for text in ["10.0.0.0/8", "192.0.2.1", "fd00::/8", "::1", "::/0"] {
            assert_eq!(network(text).to_string(), text);
        }
        assert_eq!(network("::ffff:10.0.0.0/104").to_string(), "10.0.0.0/8");
        assert_eq!(network("192.0.2.1/32").to_string(), "192.0.2.1");
    }

    #[test]
    fn an_invalid_network_is_refused_with_its_reason() {
        for (text, reason) in [
            ("10.1.2.3/8", "write 10.0.0.0/8"),
            ("fd00::1/8", "write fd00::/8"),
            ("10.0.0.0/33", "no address or network"),
            ("10.0.0", "no address or network"),
            ("proxy.example", "no address or network"),
            ("[::1]", "no address or network"),
            ("192.0.2.1:80", "no address or network"),
            ("", "no address or network"),
        ] {
            let error = text.parse::<Network>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
