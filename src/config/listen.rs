//! Addresses to accept connections on, as the file and the command line write them.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::PathBuf;
use std::str::FromStr;

use rustix::net::netdevice::{index_to_name, name_to_index};
use rustix::net::{AddressFamily, SocketType, socket};

/// The longest path of a unix socket in bytes: `sun_path` has 108, and the last one is the NUL.
const UNIX_PATH_MAX: usize = 107;

/// An address to accept connections on, and what its connections begin with.
///
/// ```text
/// 127.0.0.1:8080                 HTTP, as http://127.0.0.1:8080
/// https://127.0.0.1:8443         HTTP over TLS
/// unix:/run/abide.sock           HTTP on a unix socket
/// proxy+http://127.0.0.1:8080    a header of the PROXY protocol, then HTTP
/// proxy+unix:/run/abide.sock     the same on a unix socket
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddress {
    /// The address of the socket. Two listen addresses cannot share one.
    pub endpoint: Endpoint,
    /// Whether each connection begins with a header of the PROXY protocol, in which the proxy in front names
    /// the client.
    pub proxy_protocol: bool,
    /// Whether each connection begins with a TLS handshake. Then the endpoint is a TCP socket and
    /// `proxy_protocol` is false.
    pub tls: bool,
}

/// The address of a listening socket.
///
/// Only literal addresses are accepted. A host name can resolve to several addresses or to none, and the
/// result can change between two starts. A link-local address names its zone, which is an interface:
/// `[fe80::1%eth0]:8080` (RFC 4007 section 11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// An IPv4 or IPv6 address and port; port 0 lets the kernel pick one.
    Tcp(SocketAddr),
    /// The path of a unix stream socket; 1 to 107 bytes.
    Unix(PathBuf),
}

/// The prefix of addresses whose connections begin with a header of the PROXY protocol.
const PROXY: &str = "proxy+";
const HTTP: &str = "http://";
const HTTPS: &str = "https://";
const UNIX: &str = "unix:";

impl ListenAddress {
    fn http(endpoint: Endpoint) -> ListenAddress {
        ListenAddress {
            endpoint,
            proxy_protocol: false,
            tls: false,
        }
    }

    /// The address for HTTP on a TCP socket, without the PROXY protocol.
    #[must_use]
    pub fn tcp(address: SocketAddr) -> ListenAddress {
        ListenAddress::http(Endpoint::Tcp(address))
    }

    /// The address for HTTP on a unix socket, without the PROXY protocol.
    #[must_use]
    pub fn unix(path: impl Into<PathBuf>) -> ListenAddress {
        ListenAddress::http(Endpoint::Unix(path.into()))
    }

    /// The address of the TCP socket; `None` for a unix socket.
    #[must_use]
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match self.endpoint {
            Endpoint::Tcp(address) => Some(address),
            Endpoint::Unix(_) => None,
        }
    }

    /// The address for the start-up line, with its scheme: `http://127.0.0.1:8080`, or
    /// `unix:/run/abide.sock`, which has no URL. A zone is not percent-encoded: clients that support zones
    /// accept that (RFC 9844).
    #[must_use]
    pub fn url(&self) -> String {
        let prefix = if self.proxy_protocol { PROXY } else { "" };
        let scheme = if self.tls { HTTPS } else { HTTP };
        match &self.endpoint {
            Endpoint::Tcp(_) => format!("{prefix}{scheme}{}", self.endpoint),
            Endpoint::Unix(_) => format!("{prefix}{}", self.endpoint),
        }
    }
}

/// Writes a form that [`FromStr`] reads. The scheme `http` is left out: `127.0.0.1:8080`,
/// `unix:/run/abide.sock`, `proxy+http://[::1]:8080`.
impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.proxy_protocol || self.tls {
            f.write_str(&self.url())
        } else {
            self.endpoint.fmt(f)
        }
    }
}

impl Endpoint {
    /// Whether only one listener can have this address. With port 0 the kernel picks a new port each time,
    /// so there may be several.
    pub(super) fn is_exclusive(&self) -> bool {
        !matches!(self, Endpoint::Tcp(address) if address.port() == 0)
    }

    /// Parses `127.0.0.1:8080` or `[::1]:8080`.
    ///
    /// # Errors
    /// The reason why `text` is no such address.
    fn parse_tcp(text: &str) -> Result<Endpoint, &'static str> {
        let address = match parse_zoned(text) {
            Some(zoned) => Some(SocketAddr::V6(zoned?)),
            None => text.parse().ok(),
        };
        match address {
            Some(SocketAddr::V6(address))
                if address.ip().is_unicast_link_local() && address.scope_id() == 0 =>
            {
                return Err("a link-local address needs its interface, as in [fe80::1%eth0]:8080");
            }
            Some(address) => return Ok(Endpoint::Tcp(address)),
            None => {}
        }
        let port = text.strip_prefix(':').unwrap_or(text);
        if port.parse::<u16>().is_ok() {
            return Err("a port needs an IP address before it");
        }
        if text.contains('/') {
            return Err("an address has no path");
        }
        let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
        if host.contains(|c: char| c.is_ascii_alphabetic()) && !host.contains(':') {
            return Err("host names are not looked up");
        }
        Err("it is not an IP address with a port")
    }

    /// Parses the path of a unix socket.
    ///
    /// # Errors
    /// The reason why `path` cannot be one.
    fn parse_unix(path: &str) -> Result<Endpoint, &'static str> {
        match path.len() {
            0 => Err("the path is missing"),
            _ if path.contains('\0') => Err("the path contains a NUL"),
            1..=UNIX_PATH_MAX => Ok(Endpoint::Unix(PathBuf::from(path))),
            _ => Err("the path of a unix socket has at most 107 bytes"),
        }
    }
}

/// Writes the address without a scheme, except that a path follows `unix:`.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(SocketAddr::V6(address)) => match zone_name(address.scope_id()) {
                Some(zone) => write!(f, "[{}%{zone}]:{}", address.ip(), address.port()),
                None => address.fmt(f),
            },
            Endpoint::Tcp(address) => address.fmt(f),
            Endpoint::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = ListenAddressError;

    fn from_str(text: &str) -> Result<ListenAddress, ListenAddressError> {
        let (proxy_protocol, rest) = match text.strip_prefix(PROXY) {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let of_tls = rest.strip_prefix(HTTPS);
        let endpoint = if of_tls.is_some() && proxy_protocol {
            Err("the PROXY protocol is not supported before TLS")
        } else if of_tls.is_some_and(|address| address.starts_with(UNIX)) {
            Err("TLS is not supported on unix sockets")
        } else if let Some(address) = of_tls {
            Endpoint::parse_tcp(address)
        } else if let Some(path) = rest.strip_prefix(UNIX) {
            Endpoint::parse_unix(path)
        } else if let Some(address) = rest.strip_prefix(HTTP) {
            Endpoint::parse_tcp(address)
        } else if rest.contains("://") {
            Err("the schemes are http, https, proxy+http and proxy+unix")
        } else if proxy_protocol {
            Err("proxy+ is followed by http:// or unix:")
        } else {
            Endpoint::parse_tcp(rest)
        };
        let endpoint = endpoint.map_err(|reason| ListenAddressError {
            text: text.to_owned(),
            reason,
        })?;
        Ok(ListenAddress {
            endpoint,
            proxy_protocol,
            tls: of_tls.is_some(),
        })
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
            "https://127.0.0.1:8443",
            "https://[::1]:0",
            "proxy+http://127.0.0.1:8080",
            "proxy+http://[::]:0",
            "proxy+unix:/run/abide.sock",
            // Every machine has the loopback interface.
            "[fe80::1%lo]:8080",
            "proxy+http://[fe80::1%lo]:8080",
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
        for text in [
            "http://127.0.0.1:8080",
            "https://127.0.0.1:8443",
            "unix:/run/abide.sock",
            "proxy+http://127.0.0.1:8080",
            "proxy+unix:/run/abide.sock",
        ] {
            assert_eq!(url(text), text);
        }
    }

    #[test]
    fn an_address_without_a_scheme_is_http() {
        let address = |text: &str| text.parse::<ListenAddress>().unwrap();
        assert_eq!(address("http://[::1]:80"), address("[::1]:80"));
        let proxied = address("proxy+http://[::1]:80");
        assert!(proxied.proxy_protocol);
        assert_ne!(proxied, address("[::1]:80"));
        assert_eq!(proxied.endpoint, address("[::1]:80").endpoint);
    }

    #[test]
    fn an_https_address_begins_with_tls_and_shares_its_endpoint_with_http() {
        let address = |text: &str| text.parse::<ListenAddress>().unwrap();
        let of_tls = address("https://[::1]:443");
        assert!(of_tls.tls && !of_tls.proxy_protocol);
        assert_ne!(of_tls, address("[::1]:443"));
        assert_eq!(of_tls.endpoint, address("[::1]:443").endpoint);
        for text in ["[::1]:443", "unix:a", "proxy+http://[::1]:443"] {
            assert!(!address(text).tls, "{text}");
        }
    }

    #[test]
    fn an_invalid_address_is_refused_with_its_reason() {
        let long = format!("unix:/{}", "a".repeat(UNIX_PATH_MAX));
        for (text, reason) in [
            ("8080", "a port needs"),
            (":8080", "a port needs"),
            ("localhost:8080", "host names"),
            ("localhost", "host names"),
            ("http://127.0.0.1:8080/", "no path"),
            ("http://127.0.0.1", "with a port"),
            ("http://localhost:8080", "host names"),
            ("http://unix:/a", "no path"),
            ("HTTP://127.0.0.1:8080", "the schemes are http, https"),
            ("HTTPS://127.0.0.1:8443", "the schemes are http, https"),
            ("https://127.0.0.1", "with a port"),
            ("https://8443", "a port needs"),
            ("https://localhost:8443", "host names"),
            ("https://127.0.0.1:8443/", "no path"),
            ("https://[fe80::1]:8443", "needs its interface"),
            ("https://unix:/a", "not supported on unix sockets"),
            ("proxy+https://127.0.0.1:8443", "not supported before TLS"),
            ("proxy+127.0.0.1:8080", "proxy+ is followed by"),
            ("proxy+", "proxy+ is followed by"),
            ("proxy+proxy+unix:a", "proxy+ is followed by"),
            ("proxy+unix:", "path is missing"),
            ("127.0.0.1:8080/", "no path"),
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
