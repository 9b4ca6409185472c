//! The names of virtual hosts.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::invalid_text::InvalidText;

/// The longest name of the domain name system in its text form (RFC 1035 section 2.3.4).
pub const HOST_NAME_MAX: usize = 253;

/// A name of a `[[host]]`, in lower case and without a dot at its end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostName {
    /// One name, or an IPv4 address. 1 to [`HOST_NAME_MAX`] bytes.
    Exact(String),
    /// All names below this one, at any depth, but not the name itself: written `*.example.org`,
    /// stored as `example.org`.
    Wildcard(String),
    /// An IPv6 address, written in brackets as in the Host field.
    Ipv6(Ipv6Addr),
}

impl FromStr for HostName {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<HostName, InvalidText> {
        let refuse = |reason: &str| {
            let reason = format!("is no host name, {reason}");
            Err(InvalidText::new(text, reason))
        };
        if let Some(inside) = text.strip_prefix('[') {
            return match inside.strip_suffix(']').map(str::parse) {
                Some(Ok(address)) => Ok(HostName::Ipv6(address)),
                _ => refuse("the brackets must hold an IPv6 address and nothing may follow"),
            };
        }
        if text.contains("://") {
            return refuse("it is a URL: write the name alone");
        }
        if text.parse::<Ipv6Addr>().is_ok() {
            return refuse("an IPv6 address is written in brackets");
        }
        if text.contains(':') {
            return refuse("a port plays no part: write the name alone");
        }
        if text == "*" {
            return refuse("the settings outside of [[host]] are those of every other host");
        }
        let lower = text.to_ascii_lowercase();
        let (name, is_wildcard) = match lower.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (lower.as_str(), false),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.contains('*') {
            return refuse("a star can only be the first label, as in *.example.org");
        }
        if !name.is_ascii() {
            return refuse("write the ASCII form that clients send, which begins with xn--");
        }
        let is_label = |label: &str| {
            let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            (1..=63).contains(&label.len()) && label.bytes().all(is_letter)
        };
        if name.len() > HOST_NAME_MAX || !name.split('.').all(is_label) {
            return refuse("write it as example.org, *.example.org, 192.0.2.1 or [2001:db8::1]");
        }
        if is_wildcard && name.parse::<Ipv4Addr>().is_ok() {
            return refuse("there is nothing below an address");
        }
        let name = name.to_owned();
        Ok(match is_wildcard {
            true => HostName::Wildcard(name),
            false => HostName::Exact(name),
        })
    }
}

/// Writes the form that [`FromStr`] reads.
impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostName::Exact(name) => f.write_str(name),
            HostName::Wildcard(name) => write!(f, "*.{name}"),
            HostName::Ipv6(address) => write!(f, "[{address}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_without_case_and_final_dot() {
        for (text, shown) in [
            ("example.org", "example.org"),
            ("Example.ORG.", "example.org"),
            ("*.Example.org", "*.example.org"),
            ("localhost", "localhost"),
            ("my_service", "my_service"),
            ("192.0.2.1", "192.0.2.1"),
            ("[2001:DB8:0::1]", "[2001:db8::1]"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ] {
            let name: HostName = text.parse().unwrap();
            assert_eq!(name.to_string(), shown);
            assert_eq!(shown.parse::<HostName>().unwrap(), name);
        }
    }

    #[test]
    fn an_invalid_name_is_refused_with_its_reason() {
        let long = ["a".repeat(63).as_str(); 4].join(".");
        for (text, reason) in [
            ("https://example.org", "a URL"),
            ("example.org:80", "a port"),
            ("::1", "in brackets"),
            ("[::1]:80", "nothing may follow"),
            ("[example.org]", "must hold an IPv6 address"),
            ("*", "every other host"),
            ("a.*.org", "first label"),
            ("*a.org", "first label"),
            ("*.*.org", "first label"),
            ("b\u{fc}cher.example", "xn--"),
            ("", "write it as"),
            (".", "write it as"),
            ("*.", "write it as"),
            ("a..b", "write it as"),
            ("a b", "write it as"),
            ("user@example.org", "write it as"),
            ("*.192.0.2.1", "below an address"),
            (long.as_str(), "write it as"),
        ] {
            let error = text.parse::<HostName>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
