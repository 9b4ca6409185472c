//! The request target: its four forms (RFC 9112 section 3.2), the host in it or in the Host field, and the
//! conversion of a raw path to a file name and back.

use std::net::Ipv6Addr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode, percent_encode_byte};

use super::grammar::{first_equal, has_pair, hex_value, reg_name_len};
use super::method::Method;
use super::reject::Reject;

#[cfg(test)]
mod tests;

/// A parsed request target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'b> {
    /// Origin-form or absolute-form (RFC 9112 sections 3.2.1 and 3.2.2).
    Path {
        /// The path as it was sent, percent-encoded; begins with `/`. An absolute-form without a path is read
        /// as `/`.
        path: &'b [u8],
        /// The part after the first `?`; may be empty.
        query: Option<&'b [u8]>,
    },
    /// `OPTIONS *`: the server itself (RFC 9112 section 3.2.4).
    Asterisk,
    /// The `host:port` of a CONNECT (RFC 9112 section 3.2.3).
    Authority(&'b [u8]),
}

/// A target, and the further data of its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClassifiedTarget<'b> {
    pub(super) target: Target<'b>,
    /// The authority that the target itself names.
    pub(super) authority: Option<&'b [u8]>,
    /// The target is an https URI, which needs a secured connection (RFC 9110 section 7.4).
    pub(super) needs_secure_connection: bool,
}

impl<'b> ClassifiedTarget<'b> {
    /// A target that is not an https URI.
    fn new(target: Target<'b>, authority: Option<&'b [u8]>) -> ClassifiedTarget<'b> {
        ClassifiedTarget {
            target,
            authority,
            needs_secure_connection: false,
        }
    }
}

/// Determines the form of `raw`, whose bytes the caller has already checked to be target bytes.
#[inline(always)]
pub(super) fn classify(method: Method, raw: &[u8]) -> Result<ClassifiedTarget<'_>, Reject> {
    if method == Method::Connect {
        if is_connect_authority(raw) {
            return Ok(ClassifiedTarget::new(Target::Authority(raw), Some(raw)));
        }
        return Err(Reject::bad_request(
            "The target of CONNECT is not a host and a port.",
        ));
    }
    match raw {
        [b'/', ..] => {
            let (path, query) = split_query(raw);
            Ok(ClassifiedTarget::new(Target::Path { path, query }, None))
        }
        b"*" if method == Method::Options => Ok(ClassifiedTarget::new(Target::Asterisk, None)),
        b"*" => Err(Reject::bad_request("Only OPTIONS may ask for \"*\".")),
        _ => absolute_form(method, raw),
    }
}

/// absolute-form.
fn absolute_form(method: Method, raw: &[u8]) -> Result<ClassifiedTarget<'_>, Reject> {
    let plain = strip_prefix_ignore_case(raw, b"http://");
    let after_scheme = plain
        .or_else(|| strip_prefix_ignore_case(raw, b"https://"))
        .ok_or(Reject::bad_request(
            "The request target is neither a path nor an http or https URI.",
        ))?;
    let authority_len = after_scheme
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?'))
        .unwrap_or(after_scheme.len());
    let (authority, rest) = after_scheme.split_at(authority_len);
    if !is_host_and_port(authority) {
        return Err(Reject::bad_request(
            "The host in the request target is not valid.",
        ));
    }
    // RFC 9112 section 3.2.4: a proxy sends `OPTIONS *` as an absolute-form without a path.
    let target = if rest.is_empty() && method == Method::Options {
        Target::Asterisk
    } else {
        let (path, query) = split_query(rest);
        let path = if path.is_empty() { b"/" } else { path };
        Target::Path { path, query }
    };
    Ok(ClassifiedTarget {
        needs_secure_connection: plain.is_none(),
        ..ClassifiedTarget::new(target, Some(authority))
    })
}

fn split_query(raw: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'?', raw) {
        Some(mark) => (&raw[..mark], Some(&raw[mark + 1..])),
        None => (raw, None),
    }
}

fn strip_prefix_ignore_case<'b>(bytes: &'b [u8], prefix: &[u8]) -> Option<&'b [u8]> {
    let (head, rest) = bytes.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Converts a raw path to the one name of a file, and replaces the content of `out` by it.
///
/// Percent-decodes once; removes dot segments (RFC 3986 section 5.2.4), also those that were encoded; then
/// merges empty segments, so that `/a//b` and `/a/b` are one file. The result begins with `/` and holds no
/// empty, `.` or `..` segment. It ends in `/` exactly when the path named a directory, that is, ended in `/`,
/// `/.` or `/..`.
///
/// # Errors
///
/// 400 for a path that does not begin with `/`, a malformed escape, an encoded NUL or slash, a plain or
/// encoded backslash, and for climbing above the root. Then the content of `out` is undefined.
pub fn decode_path(raw: &[u8], out: &mut Vec<u8>) -> Result<(), Reject> {
    out.clear();
    let [b'/', relative @ ..] = raw else {
        return Err(Reject::bad_request("The path does not begin with a slash."));
    };
    if is_already_normal(raw) {
        out.extend_from_slice(raw);
        return Ok(());
    }
    out.push(b'/');
    let mut segments = relative.split(|&byte| byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        // `out` ends in a slash here, so a dot segment at the end leaves a directory.
        let start = out.len();
        decode_segment(segment, out)?;
        match &out[start..] {
            b"." => out.truncate(start),
            b".." => {
                let parent = out[..start - 1].iter().rposition(|&byte| byte == b'/');
                let parent =
                    parent.ok_or(Reject::bad_request("The path climbs above the root."))?;
                out.truncate(parent + 1);
            }
            _ if segments.peek().is_some() => out.push(b'/'),
            _ => {}
        }
    }
    // Last, because `..` treats an empty segment like any other.
    out.dedup_by(|next, previous| *next == b'/' && *previous == b'/');
    Ok(())
}

/// Whether a path needs no decoding, removal, merging or refusal. May return false for such a path.
fn is_already_normal(raw: &[u8]) -> bool {
    let is_special = |byte| matches!(byte, b'%' | b'\\' | 0);
    let suspects = |firsts, seconds| {
        let dots = first_equal(seconds, b'/') | first_equal(seconds, b'.');
        first_equal(firsts, b'%')
            | first_equal(firsts, b'\\')
            | first_equal(firsts, 0)
            | first_equal(firsts, b'/') & dots
    };
    let belongs =
        |first, second| is_special(first) || first == b'/' && matches!(second, b'/' | b'.');
    !has_pair(raw, suspects, belongs) && !raw.last().is_some_and(|&byte| is_special(byte))
}

fn decode_segment(segment: &[u8], out: &mut Vec<u8>) -> Result<(), Reject> {
    let mut rest = segment;
    while let [byte, tail @ ..] = rest {
        let (byte, tail) = match (byte, tail) {
            (b'%', [high, low, tail @ ..]) => match (hex_value(*high), hex_value(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, tail),
                _ => return Err(MALFORMED_ESCAPE),
            },
            (b'%', _) => return Err(MALFORMED_ESCAPE),
            (&byte, tail) => (byte, tail),
        };
        match byte {
            0 => return Err(Reject::bad_request("The path holds a NUL byte.")),
            b'/' => return Err(Reject::bad_request("The path holds an encoded slash.")),
            b'\\' => return Err(Reject::bad_request("The path holds a backslash.")),
            _ => out.push(byte),
        }
        rest = tail;
    }
    Ok(())
}

const MALFORMED_ESCAPE: Reject =
    Reject::bad_request("The path holds a percent sign without two hexadecimal digits after it.");

/// Bytes to escape in a path: all but pchar and the slash (RFC 3986 section 3.3).
const NOT_IN_A_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@')
    .remove(b'/');

/// Appends `query`, from a request target, for a Location field. Browsers send bytes that a URI's query must
/// not hold (RFC 3986 section 3.4). Those are encoded, and so is a `%` that begins no escape.
pub fn encode_query(query: &[u8], out: &mut Vec<u8>) {
    for (at, &byte) in query.iter().enumerate() {
        let is_escape = byte == b'%'
            && matches!(&query[at + 1..], [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit());
        if is_escape || (byte != b'%' && IN_A_QUERY.contains(&byte)) || byte.is_ascii_alphanumeric()
        {
            out.push(byte);
        } else {
            out.extend_from_slice(percent_encode_byte(byte).as_bytes());
        }
    }
}

/// Bytes allowed in a query besides letters and digits.
const IN_A_QUERY: &[u8] = b"-._~!$&'()*+,;=:@/?";

/// Appends `decoded`, a path from [`decode_path`], percent-encoded for a Location field.
///
/// The result begins with exactly one slash, whatever `decoded` begins with: a browser would read two as the
/// start of a host.
pub fn encode_path(decoded: &[u8], out: &mut Vec<u8>) {
    let first = decoded
        .iter()
        .position(|&byte| byte != b'/')
        .unwrap_or(decoded.len());
    out.push(b'/');
    for piece in percent_encode(&decoded[first..], NOT_IN_A_PATH) {
        out.extend_from_slice(piece.as_bytes());
    }
}

/// Appends `decoded`, a part of a path, percent-encoded except its slashes. The caller must ensure that the
/// whole path does not begin with two slashes.
pub fn encode_segments(decoded: &[u8], out: &mut Vec<u8>) {
    for piece in percent_encode(decoded, NOT_IN_A_PATH) {
        out.extend_from_slice(piece.as_bytes());
    }
}

/// Appends `decoded` percent-encoded as a value in a query or fragment: no byte can end the value or begin
/// another one.
pub fn encode_query_part(decoded: &[u8], out: &mut Vec<u8>) {
    for piece in percent_encode(decoded, NOT_UNRESERVED) {
        out.extend_from_slice(piece.as_bytes());
    }
}

/// All but the unreserved characters (RFC 3986 section 2.3).
const NOT_UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Whether `value` is a host with an optional port, as Host and an absolute-form target may name it.
///
/// The host is not empty. It is a registered name (which includes IPv4 and underscores), a bracketed IPv6
/// address, or a bracketed address of a later version (RFC 3986 section 3.2.2). The port may be empty
/// (`host:`), else it is 0 to 65535. Userinfo, paths, commas and whitespace are not allowed.
#[must_use]
pub fn is_host_and_port(value: &[u8]) -> bool {
    split_host(value).is_some_and(|(_, port)| port.is_none_or(is_port))
}

/// The host in `value`, a valid host and port. An IPv6 address keeps its brackets.
#[must_use]
pub fn host_of(value: &[u8]) -> &[u8] {
    split_host(value).map_or(value, |(host, _)| host)
}

/// Whether `value` is a host with a port that is not empty: the authority-form of CONNECT
/// (RFC 9112 section 3.2.3, RFC 9110 section 9.3.6).
#[must_use]
pub fn is_connect_authority(value: &[u8]) -> bool {
    split_host(value)
        .and_then(|(_, port)| port)
        .is_some_and(|port| !port.is_empty() && is_port(port))
}

/// A valid host, and the part after its colon if there is one.
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

/// `"v" 1*HEXDIG "." 1*( unreserved / sub-delims / ":" )` (RFC 3986 section 3.2.2), without the comma, which
/// is not allowed in a host here.
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
