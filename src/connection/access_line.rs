//! A line of the access log in the common format:
//! `host - - [22/Nov/2026:19:14:44 +0000] "GET / HTTP/1.1" 200 5120`.

use std::io::Write;
use std::net::IpAddr;

use crate::http::response::decimal;
use crate::http::status::Status;

/// Bytes of the request line that are logged; the rest of a longer one is left out.
const MAX_LOGGED_BYTES: usize = 4096;

/// Who is on the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A TCP peer. IPv4-mapped IPv6 addresses are stored as IPv4.
    Ip(IpAddr),
    /// A peer on a unix socket has no address.
    Unix,
}

/// Appends everything up to the byte count. `date` is an IMF-fixdate (RFC 9110 section 5.6.7).
pub fn start(peer: Peer, date: &[u8], request_line: &[u8], status: Status, out: &mut Vec<u8>) {
    match peer {
        // Writing to a Vec cannot fail.
        Peer::Ip(address) => drop(write!(out, "{address}")),
        Peer::Unix => out.extend_from_slice(b"unix:"),
    }
    out.extend_from_slice(b" - - [");
    push_date(date, out);
    out.extend_from_slice(b"] \"");
    escape(
        &request_line[..request_line.len().min(MAX_LOGGED_BYTES)],
        out,
    );
    out.extend_from_slice(b"\" ");
    decimal(u64::from(status.code()), out);
    out.push(b' ');
}

/// Appends the number of body bytes sent, `-` for none, and ends the line.
pub fn finish(body_bytes: u64, out: &mut Vec<u8>) {
    if body_bytes == 0 {
        out.push(b'-');
    } else {
        decimal(body_bytes, out);
    }
    out.push(b'\n');
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` as `06/Nov/1994:08:49:37 +0000`.
fn push_date(date: &[u8], out: &mut Vec<u8>) {
    if let [
        _,
        _,
        _,
        _,
        _,
        d1,
        d2,
        _,
        m1,
        m2,
        m3,
        _,
        y1,
        y2,
        y3,
        y4,
        _,
        time @ ..,
        _,
        _,
        _,
        _,
    ] = date
    {
        out.extend_from_slice(&[
            *d1, *d2, b'/', *m1, *m2, *m3, b'/', *y1, *y2, *y3, *y4, b':',
        ]);
        out.extend_from_slice(time);
        out.extend_from_slice(b" +0000");
    }
}

/// Nobody forges a line or moves the terminal's cursor: what is not visible ASCII becomes `\xHH`.
fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b' '..=b'~' => out.push(byte),
            _ => drop(write!(out, "\\x{byte:02x}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";

    fn line(peer: Peer, request_line: &[u8], body_bytes: u64) -> String {
        let mut out = Vec::new();
        start(peer, DATE, request_line, Status::OK, &mut out);
        finish(body_bytes, &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn the_common_format() {
        let peer = Peer::Ip("192.0.2.7".parse().expect("address"));
        assert_eq!(
            line(peer, b"GET /a HTTP/1.1", 512),
            "192.0.2.7 - - [06/Nov/1994:08:49:37 +0000] \"GET /a HTTP/1.1\" 200 512\n"
        );
    }

    #[test]
    fn no_body_is_a_dash_and_a_unix_peer_has_no_address() {
        assert!(line(Peer::Unix, b"HEAD / HTTP/1.1", 0).starts_with("unix: - - "));
        assert!(line(Peer::Unix, b"HEAD / HTTP/1.1", 0).ends_with(" 200 -\n"));
    }

    #[test]
    fn a_request_line_cannot_forge_a_log_line() {
        let forged = line(Peer::Unix, b"GET /\"\r\n\x1b[2J\\ HTTP/1.1", 1);
        assert!(
            forged.contains(r#""GET /\"\x0d\x0a\x1b[2J\\ HTTP/1.1""#),
            "{forged}"
        );
        assert_eq!(forged.lines().count(), 1);
    }
}
