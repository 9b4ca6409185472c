//! Addresses to accept connections on, as the file and the command line write them.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::PathBuf;
use std::str::FromStr;

use rustix::net::netdevice::{index_to_name, name_to_index};
use rustix::net::{AddressFamily, SocketType, socket};

/// The longest path of a unix socket in bytes: `sun_path` has 108, and the last one is the NUL.
const UNIX_PATH_MAX: usize = 107;

/// Where the server accepts connections.
///
/// Only literal addresses are accepted. A host name can resolve to several addresses or to none, and the
/// result can change between two starts. A link-local address names its zone, which is an interface:
/// `[fe80::1%eth0]:8080` (RFC 4007 section 11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// An IPv4 or IPv6 address and port; port 0 lets the kernel pick one.
    Tcp(SocketAddr),
    /// The path of a unix stream socket, written `unix:PATH`; 1 to 107 bytes.
    Unix(PathBuf),
}

impl ListenAddress {
    /// The address for the start-up line: `http://127.0.0.1:8080`, or `unix:/run/abide.sock`, which has no
    /// URL. A zone is not percent-encoded: clients that support zones accept that (RFC 9844).
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            ListenAddress::Tcp(_) => format!("http://{self}"),
            ListenAddress::Unix(_) => self.to_string(),
        }
    }

    /// Whether only one listener can have this address. With port 0 the kernel picks a new port each time,
    /// so there may be several.
    pub(super) fn is_exclusive(&self) -> bool {
        !matches!(self, ListenAddress::Tcp(address) if address.port() == 0)
    }
}

/// Writes the form that [`FromStr`] reads: `127.0.0.1:8080`, `[::1]:8080`, `unix:/run/abide.sock`.
impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(SocketAddr::V6(address)) => match zone_name(address.scope_id()) {
                Some(zone) => write!(f, "[{}%{zone}]:{}", address.ip(), address.port()),
                None => address.fmt(f),
            },
            ListenAddress::Tcp(address) => address.fmt(f),
            ListenAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = ListenAddressError;

    fn from_str(text: &str) -> Result<ListenAddress, ListenAddressError> {
        let refuse = |reason| {
            Err(ListenAddressError {
                text: text.to_owned(),
                reason,
            })
        };
        if let Some(path) = text.strip_prefix("unix:") {
            return match path.len() {
                0 => refuse("the path is missing"),
                _ if path.contains('\0') => refuse("the path contains a NUL"),
                1..=UNIX_PATH_MAX => Ok(ListenAddress::Unix(PathBuf::from(path))),
                _ => refuse("the path of a unix socket has at most 107 bytes"),
            };
        }
        let address = match parse_zoned(text) {
            Some(Err(reason)) => return refuse(reason),
            Some(Ok(address)) => Some(SocketAddr::V6(address)),
            None => text.parse().ok(),
        };
        match address {
            Some(SocketAddr::V6(address))
                if address.ip().is_unicast_link_local() && address.scope_id() == 0 =>
            {
                return refuse(
                    "a link-local address needs its interface, as in [fe80::1%eth0]:8080",
                );
            }
            Some(address) => return Ok(ListenAddress::Tcp(address)),
            None => {}
        }
        if text
            .strip_prefix(':')
            .unwrap_or(text)
            .parse::<u16>()
            .is_ok()
        {
            return refuse("a port needs an IP address before it");
        }
        if text.contains("://") {
            return refuse("it is a URL");
        }
        let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
        if host.contains(|c: char| c.is_ascii_alphabetic()) && !host.contains(':') {
            return refuse("host names are not looked up");
        }
        refuse("it is not an IP address with a port")
    }
}

/// Parses an address with a zone; `None` if `text` has no zone.
fn parse_zoned(text: &str) -> Option<Result<SocketAddrV6, &'static str>> {
    let (host, port) = text.strip_prefix('[')?.rsplit_once("]:")?;
    let (ip, zone) = host.split_once('%')?;
    let ip: Ipv6Addr = ip.parse().ok()?;
    let port = port.parse().ok()?;
    // A zone may also be a number (RFC 4007 section 11.2); 0 means no zone.
    let index = zone_index(zone).or_else(|| zone.parse().ok().filter(|index| *index != 0));
    Some(
        index
            .map(|index| SocketAddrV6::new(ip, port, 0, index))
            .ok_or("there is no network interface of that name"),
    )
}

/// The number of the network interface `name`, if there is one.
fn zone_index(name: &str) -> Option<u32> {
    let any = socket(AddressFamily::UNIX, SocketType::DGRAM, None).ok()?;
    name_to_index(any, name).ok()
}

/// The name of the network interface `index`, if there is one.
fn zone_name(index: u32) -> Option<String> {
    if index == 0 {
        return None;
    }
    let any = socket(AddressFamily::UNIX, SocketType::DGRAM, None).ok()?;
    index_to_name(any, index).ok()
}

/// The error of an invalid listen address: one sentence that also says what is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddressError {
    text: String,
    reason: &'static str,
}

impl fmt::Display for ListenAddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} cannot be listened on, {}: write an address such as 127.0.0.1:8080, [::1]:8080 \
             or unix:/run/abide.sock",
            self.text, self.reason
        )
    }
}

impl std::error::Error for ListenAddressError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_displayed_as_it_was_read() {
        for text in [
            "127.0.0.1:8080",
            "0.0.0.0:0",
            "[::1]:8080",
            "[::]:443",
            "unix:/run/abide.sock",
            "unix:abide.sock",
            // Every machine has the loopback interface.
            "[fe80::1%lo]:8080",
            // No interface has this number.
            "[fe80::1%4000000000]:8080",
        ] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn a_zone_is_a_name_or_a_number() {
        let address = |text: &str| text.parse::<ListenAddress>().unwrap();
        let loopback = zone_index("lo").unwrap();
        let numbered = address(&format!("[fe80::1%{loopback}]:80"));
        assert_eq!(numbered, address("[fe80::1%lo]:80"));
        assert_eq!(numbered.url(), "http://[fe80::1%lo]:80");
    }

    #[test]
    fn the_start_up_line_shows_a_url_except_for_unix() {
        let url = |text: &str| text.parse::<ListenAddress>().unwrap().url();
        assert_eq!(url("127.0.0.1:8080"), "http://127.0.0.1:8080");
        assert_eq!(url("[::1]:8080"), "http://[::1]:8080");
        assert_eq!(url("unix:/run/abide.sock"), "unix:/run/abide.sock");
    }

    #[test]
    fn an_invalid_address_is_refused_with_its_reason() {
        let long = format!("unix:/{}", "a".repeat(UNIX_PATH_MAX));
        for (text, reason) in [
            ("8080", "a port needs"),
            (":8080", "a port needs"),
            ("localhost:8080", "host names"),
            ("localhost", "host names"),
            ("http://127.0.0.1:8080", "a URL"),
            ("127.0.0.1", "with a port"),
            ("127.0.0.1:65536", "with a port"),
            ("::1:8080", "with a port"),
            ("[fe80::1]:8080", "needs its interface"),
            ("[fe80::1%]:8080", "no network interface"),
            ("[fe80::1%0]:8080", "no network interface"),
            ("[fe80::1%nosuch0]:8080", "no network interface"),
            (
                "[fe80::1%an-interface-of-many-letters]:8080",
                "no network interface",
            ),
            ("[fe80::1%lo]", "with a port"),
            ("", "with a port"),
            ("unix:", "path is missing"),
            ("unix:a\0b", "NUL"),
            (long.as_str(), "at most 107 bytes"),
        ] {
            let error = text.parse::<ListenAddress>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
            assert!(error.contains("unix:/run/abide.sock"), "{error}");
        }
    }

    #[test]
    fn a_unix_path_may_fill_the_address() {
        let text = format!("unix:/{}", "a".repeat(UNIX_PATH_MAX - 1));
        assert!(text.parse::<ListenAddress>().is_ok());
    }
}
