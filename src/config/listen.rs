//! Addresses to accept connections on, as they are written in the file and on the command line.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// The longest path of a unix socket in bytes: `sun_path` has 108, the last one is the NUL.
const UNIX_PATH_MAX: usize = 107;

/// Where the server accepts connections.
///
/// Only literal addresses are read: a host name can stand for several addresses or for none, and
/// what it stands for can change between two starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// An IPv4 or IPv6 address and port; port 0 lets the kernel pick one.
    Tcp(SocketAddr),
    /// The path of a unix stream socket, written `unix:PATH`; 1 to 107 bytes.
    Unix(PathBuf),
}

impl ListenAddress {
    /// The address as the start-up line shows it: `http://127.0.0.1:8080`, or
    /// `unix:/run/abide.sock`, for which there is no URL.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            ListenAddress::Tcp(address) => format!("http://{address}"),
            ListenAddress::Unix(_) => self.to_string(),
        }
    }

    /// Whether two listeners of this address would be in each other's way. With port 0 the kernel
    /// picks a fresh port each time, so there may be any number.
    pub(super) fn is_exclusive(&self) -> bool {
        !matches!(self, ListenAddress::Tcp(address) if address.port() == 0)
    }
}

/// The form that [`FromStr`] reads: `127.0.0.1:8080`, `[::1]:8080`, `unix:/run/abide.sock`.
impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
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
        if let Ok(address) = text.parse() {
            return Ok(ListenAddress::Tcp(address));
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

/// Why a text is no address to listen on: one sentence that also says what is accepted.
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
        ] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn the_start_up_line_shows_a_url_except_for_unix() {
        let url = |text: &str| text.parse::<ListenAddress>().unwrap().url();
        assert_eq!(url("127.0.0.1:8080"), "http://127.0.0.1:8080");
        assert_eq!(url("[::1]:8080"), "http://[::1]:8080");
        assert_eq!(url("unix:/run/abide.sock"), "unix:/run/abide.sock");
    }

    #[test]
    fn what_is_no_literal_address_gets_its_reason() {
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
