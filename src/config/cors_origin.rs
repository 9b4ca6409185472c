//! Origins of other sites, as the Origin field spells them (RFC 6454 section 6.2).

use std::fmt;
use std::str::FromStr;

use super::host_name::HostName;
use super::invalid_text::InvalidText;

/// A member of `cors`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsOrigin {
    /// Every origin: `*`.
    Any,
    /// A scheme, a host, and the port unless it is the default of the scheme, as browsers send it.
    One(String),
}

impl FromStr for CorsOrigin {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<CorsOrigin, InvalidText> {
        if text == "*" {
            return Ok(CorsOrigin::Any);
        }
        let refuse = |reason: &str| {
            let reason = format!("is no origin, {reason}");
            Err(InvalidText::new(text, reason))
        };
        if text.eq_ignore_ascii_case("null") {
            return refuse("any page can send null, so write \"*\" to allow all");
        }
        let lower = text.to_ascii_lowercase();
        let (default_port, authority) = if let Some(rest) = lower.strip_prefix("https://") {
            ("443", rest)
        } else if let Some(rest) = lower.strip_prefix("http://") {
            ("80", rest)
        } else {
            return refuse("write it with its scheme, as in https://app.example");
        };
        if authority.contains(['/', '?', '#']) {
            return refuse("it must end with the host or port, without a slash or path");
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        if let Some(port) = port {
            let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
            if !is_number || port.starts_with('0') || port.parse::<u16>().is_err() {
                return refuse("the port must be 1 to 65535");
            }
            if port == default_port {
                return refuse("leave out the scheme's own port, as browsers do");
            }
        }
        match host.parse::<HostName>() {
            Ok(HostName::Exact(_)) if !host.ends_with('.') => Ok(CorsOrigin::One(lower)),
            Ok(HostName::Ipv6(address)) if host == format!("[{address}]") => {
                Ok(CorsOrigin::One(lower))
            }
            _ => refuse("it must name one host, as in https://app.example"),
        }
    }
}

/// Writes the form that [`FromStr`] reads.
impl fmt::Display for CorsOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CorsOrigin::Any => "*",
            CorsOrigin::One(origin) => origin,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_as_browsers_send_them() {
        for (text, shown) in [
            ("https://app.example", "https://app.example"),
            ("HTTP://App.Example:8080", "http://app.example:8080"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[::1]", "http://[::1]"),
            ("https://[::1]:80", "https://[::1]:80"),
            ("*", "*"),
        ] {
            assert_eq!(text.parse::<CorsOrigin>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn an_origin_that_no_browser_sends_is_refused() {
        for (text, reason) in [
            ("app.example", "its scheme"),
            ("ftp://app.example", "its scheme"),
            ("https://app.example/", "without a slash"),
            ("https://app.example?x", "without a slash"),
            ("https://app.example:443", "the scheme's own port"),
            ("https://app.example:", "1 to 65535"),
            ("https://app.example:0", "1 to 65535"),
            ("https://app.example:99999", "1 to 65535"),
            ("https://*.example", "one host"),
            ("https://", "one host"),
            ("https://a b", "one host"),
            ("https://user@app.example", "one host"),
            ("https://[0:0::1]", "one host"),
            ("null", "any page"),
        ] {
            let error = text.parse::<CorsOrigin>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
