//! Host and authority syntax (RFC 9110 section 7.2, RFC 3986 section 3.2), without userinfo.

use std::net::Ipv6Addr;

use super::grammar::{hex_value, reg_name_len};

/// Whether `value` is a host with an optional port: what Host and an absolute-form target may name.
///
/// The host is a registered name (which takes in IPv4 and underscores), a bracketed IPv6 address, or a
/// bracketed address of a later version (RFC 3986 section 3.2.2); it is not empty. The port may be
/// empty (`host:`), else it is 0 to 65535. Userinfo, paths, commas and whitespace have no place in it.
#[must_use]
pub fn is_host_and_port(value: &[u8]) -> bool {
    split_host(value).is_some_and(|(_, port)| port.is_none_or(is_port))
}

/// Whether `value` is a host with a port that is not empty: the authority-form of CONNECT
/// (RFC 9112 section 3.2.3, RFC 9110 section 9.3.6).
#[must_use]
pub fn is_connect_authority(value: &[u8]) -> bool {
    split_host(value)
        .and_then(|(_, port)| port)
        .is_some_and(|port| !port.is_empty() && is_port(port))
}

/// A valid host and what follows its colon, if there is one.
fn split_host(value: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let host_len = if let [b'[', rest @ ..] = value {
        let close = rest.iter().position(|&byte| byte == b']')?;
        let address = &rest[..close];
        if !is_ip_future(address) {
            let address = std::str::from_utf8(address).ok()?;
            address.parse::<Ipv6Addr>().ok()?;
        }
        close + 2
    } else {
        registered_name_len(value)?
    };
    match &value[host_len..] {
        [] => Some((value, None)),
        [b':', port @ ..] => Some((&value[..host_len], Some(port))),
        _ => None,
    }
}

/// `"v" 1*HEXDIG "." 1*( unreserved / sub-delims / ":" )` (RFC 3986 section 3.2.2), without the comma,
/// which has no place in a host here.
fn is_ip_future(address: &[u8]) -> bool {
    let [b'v' | b'V', rest @ ..] = address else {
        return false;
    };
    let Some(dot) = rest.iter().position(|&byte| byte == b'.') else {
        return false;
    };
    let (version, text) = (&rest[..dot], &rest[dot + 1..]);
    let mut pieces = text.split(|&byte| byte == b':');
    !version.is_empty()
        && version.iter().all(u8::is_ascii_hexdigit)
        && !text.is_empty()
        && pieces.all(|piece| reg_name_len(piece) == piece.len())
}

/// The length of the registered name at the front; `None` if it is empty or holds a broken escape.
fn registered_name_len(value: &[u8]) -> Option<usize> {
    let mut at = reg_name_len(value);
    while value.get(at) == Some(&b'%') {
        hex_value(*value.get(at + 1)?)?;
        hex_value(*value.get(at + 2)?)?;
        at += 3;
        at += reg_name_len(&value[at..]);
    }
    (at > 0).then_some(at)
}

fn is_port(digits: &[u8]) -> bool {
    digits
        .iter()
        .try_fold(0u16, |port, digit| {
            let digit = digit.is_ascii_digit().then(|| u16::from(digit - b'0'))?;
            port.checked_mul(10)?.checked_add(digit)
        })
        .is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_are_accepted_rfc9110_7_2() {
        for host in [
            "example.com",
            "example.com:80",
            "example.com:",
            "example.com:0",
            "example.com:65535",
            "my_service",
            "xn--bcher-kva.example",
            "b%C3%BCcher.example",
            "a!$&'()*+;=b",
            "127.0.0.1:8080",
            "[::1]",
            "[::1]:8080",
            "[::ffff:192.0.2.1]:",
            "[v1.x]",
            "[V7F.a-b:c~!$&'()*+;=]:8080",
        ] {
            assert!(is_host_and_port(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn hosts_that_are_refused() {
        for host in [
            "",
            ":80",
            "a,b",
            "a b",
            "user@example.com",
            "user:pw@example.com",
            "example.com/path",
            "example.com?q",
            "example.com:65536",
            "example.com:99999999999999999999",
            "example.com:8o",
            "example.com:-1",
            "a:1:2",
            "%",
            "a%2",
            "a%zz",
            "[::1",
            "[]",
            "[::g]",
            "[127.0.0.1]",
            "[::1]8080",
            "[fe80::1%25eth0]",
            "[v1.]",
            "[v.x]",
            "[vg.x]",
            "[v1x]",
            "[v1.%41]",
            "[v1.a,b]",
            "[v1.a[b]",
            "[v1.x",
            "[v1.x]8080",
            "v1.x]",
            "::1",
            "b\u{fc}cher",
        ] {
            assert!(!is_host_and_port(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn connect_needs_a_port_rfc9112_3_2_3() {
        assert!(is_connect_authority(b"example.com:443"));
        assert!(is_connect_authority(b"[::1]:443"));
        assert!(!is_connect_authority(b"example.com"));
        assert!(!is_connect_authority(b"example.com:"));
        assert!(!is_connect_authority(b"/path"));
    }
}
