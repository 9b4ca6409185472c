//! The content of an access log line, in four formats.
//!
//! ```text
//! common    192.0.2.7 - - [22/Nov/2026:19:14:44 +0000] "GET / HTTP/1.1" 200 5120
//! combined  (common) "https://example.org/" "Mozilla/5.0"
//! extended  (combined) connection=0.12.3 number=2 idle_ms=840 duration_us=95 close=-
//! json      {"time":"2026-11-22T19:14:44Z","client":"192.0.2.7", ... }
//! ```
//!
//! A line is made in two steps. [`begin`] writes nearly all of it when the response is collected, while
//! the request is in the buffer. [`complete`] adds what is known only at the end of the response: the
//! bytes sent, the duration, and whether the connection ends.

use std::io::Write;
use std::net::IpAddr;

use super::escape::{escape_json, escape_text};
use crate::clock::Millis;
use crate::config::{AccessLogConfig, AccessLogFormat};
use crate::connection::connection_id::ConnectionId;
use crate::connection::counters::CloseReason;
use crate::connection::peer::Peer;
use crate::http::response::decimal;
use crate::http::status::Status;

/// The data of a line that are known when its response is collected.
#[derive(Debug, Clone, Copy)]
pub struct LogLine<'a> {
    /// The client and its request.
    pub request: LoggedRequest<'a>,
    /// The connection.
    pub connection: ConnectionId,
    /// The number of the request on the connection, from 1; 0 for a response without a request.
    pub number: u32,
    /// When the request began to arrive, and how long the connection was idle before.
    pub arrival: Arrival,
    /// The response's status.
    pub status: Status,
}

/// The client of a request, and the logged parts of the request.
#[derive(Debug, Clone, Copy)]
pub struct LoggedRequest<'a> {
    /// The client: the peer, or the client behind trusted proxies.
    pub client: Peer,
    /// The request line as far as it has arrived; may be empty.
    pub request_line: &'a [u8],
    /// The requested host.
    pub host: Option<&'a [u8]>,
    /// The Referer field (RFC 9110 section 10.1.3).
    pub referer: Option<&'a [u8]>,
    /// The User-Agent field (RFC 9110 section 10.1.5).
    pub user_agent: Option<&'a [u8]>,
}

impl<'a> LoggedRequest<'a> {
    /// A request without a valid head: only its first line is known.
    #[must_use]
    pub fn first_line(client: Peer, request_line: &'a [u8]) -> LoggedRequest<'a> {
        LoggedRequest {
            client,
            request_line,
            host: None,
            referer: None,
            user_agent: None,
        }
    }
}

/// The time when a request began to arrive, and the idle time before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// `None` if the request began in this turn.
    pub since: Option<Millis>,
    /// Milliseconds that the connection was idle before.
    pub idle_millis: u64,
}

/// A line as [`begin`] has written it.
#[derive(Debug, Clone, Copy)]
pub struct LineStart<'a> {
    /// The text, without the number of bytes and the end.
    pub text: &'a [u8],
    /// The place in `text` where the number of bytes belongs.
    pub bytes_at: usize,
}

/// The data that are known only at the end of a response.
#[derive(Debug, Clone, Copy)]
pub struct LineEnd {
    /// Bytes of the body that were sent.
    pub body_bytes: u64,
    /// Microseconds that the response took.
    pub duration_micros: u64,
    /// Why the connection ends with this response; `None` if it persists.
    pub close: Option<CloseReason>,
}

/// Whether lines of this format say how long a response took.
#[must_use]
pub fn has_duration(format: AccessLogFormat) -> bool {
    matches!(format, AccessLogFormat::Extended | AccessLogFormat::Json)
}

/// Appends all that is known of a line. `time` must be in the same format. Returns the offset in `out` where
/// [`complete`] inserts the number of bytes.
pub fn begin(
    line: &LogLine<'_>,
    time: &[u8],
    config: &AccessLogConfig,
    out: &mut Vec<u8>,
) -> usize {
    match config.format {
        AccessLogFormat::Json => begin_json(line, time, config.host, out),
        _ => begin_text(line, time, config, out),
    }
}

/// Appends a line that [`begin`] has written, completed by its end.
pub fn complete(
    start: &LineStart<'_>,
    ending: &LineEnd,
    format: AccessLogFormat,
    out: &mut Vec<u8>,
) {
    let (before, after) = start.text.split_at(start.bytes_at);
    out.extend_from_slice(before);
    // The common log format writes a dash for zero bytes.
    if ending.body_bytes == 0 && format != AccessLogFormat::Json {
        out.push(b'-');
    } else {
        decimal(ending.body_bytes, out);
    }
    out.extend_from_slice(after);
    match format {
        AccessLogFormat::Common | AccessLogFormat::Combined => {}
        AccessLogFormat::Extended => {
            out.extend_from_slice(b" duration_us=");
            decimal(ending.duration_micros, out);
            out.extend_from_slice(b" close=");
            let close = ending.close.map_or("-", CloseReason::name);
            out.extend_from_slice(close.as_bytes());
        }
        AccessLogFormat::Json => {
            out.extend_from_slice(b",\"duration_us\":");
            decimal(ending.duration_micros, out);
            out.extend_from_slice(b",\"close\":");
            match ending.close {
                None => out.extend_from_slice(b"null"),
                // A name is made of letters and underscores.
                Some(reason) => {
                    out.push(b'"');
                    out.extend_from_slice(reason.name().as_bytes());
                    out.push(b'"');
                }
            }
            out.push(b'}');
        }
    }
    out.push(b'\n');
}

fn begin_text(
    line: &LogLine<'_>,
    time: &[u8],
    config: &AccessLogConfig,
    out: &mut Vec<u8>,
) -> usize {
    if config.host {
        // A valid host has no space. A missing one is written as a dash.
        escape_text(line.request.host.unwrap_or(b"-"), out);
        out.push(b' ');
    }
    push_peer(line.request.client, out);
    out.extend_from_slice(b" - - [");
    out.extend_from_slice(time);
    out.extend_from_slice(b"] ");
    push_quoted(Some(line.request.request_line), out);
    out.push(b' ');
    decimal(u64::from(line.status.code()), out);
    out.push(b' ');
    let bytes_at = out.len();
    if config.format == AccessLogFormat::Common {
        return bytes_at;
    }
    out.push(b' ');
    push_quoted(line.request.referer, out);
    out.push(b' ');
    push_quoted(line.request.user_agent, out);
    if config.format == AccessLogFormat::Extended {
        out.extend_from_slice(b" connection=");
        push_id(line.connection, out);
        out.extend_from_slice(b" number=");
        decimal(u64::from(line.number), out);
        out.extend_from_slice(b" idle_ms=");
        decimal(line.arrival.idle_millis, out);
    }
    bytes_at
}

fn begin_json(line: &LogLine<'_>, time: &[u8], has_host: bool, out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(b"{\"time\":\"");
    out.extend_from_slice(time);
    out.extend_from_slice(b"\",\"client\":\"");
    push_peer(line.request.client, out);
    out.push(b'"');
    if has_host {
        push_member("host", line.request.host, out);
    }
    push_member("request", present(line.request.request_line), out);
    push_member("referer", line.request.referer, out);
    push_member("user_agent", line.request.user_agent, out);
    out.extend_from_slice(b",\"connection\":\"");
    push_id(line.connection, out);
    out.extend_from_slice(b"\",\"number\":");
    decimal(u64::from(line.number), out);
    out.extend_from_slice(b",\"idle_ms\":");
    decimal(line.arrival.idle_millis, out);
    out.extend_from_slice(b",\"status\":");
    decimal(u64::from(line.status.code()), out);
    out.extend_from_slice(b",\"bytes\":");
    out.len()
}

fn present(text: &[u8]) -> Option<&[u8]> {
    (!text.is_empty()).then_some(text)
}

/// Appends `"text"`, or `"-"` for none, as log readers expect.
fn push_quoted(text: Option<&[u8]>, out: &mut Vec<u8>) {
    out.push(b'"');
    escape_text(text.and_then(present).unwrap_or(b"-"), out);
    out.push(b'"');
}

/// Appends a further JSON member of type string, or null for `None`. The name needs no escapes.
fn push_member(name: &str, text: Option<&[u8]>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    match text {
        None => out.extend_from_slice(b"null"),
        Some(text) => {
            out.push(b'"');
            escape_json(text, out);
            out.push(b'"');
        }
    }
}

fn push_peer(peer: Peer, out: &mut Vec<u8>) {
    match peer {
        // Written as `Display` does, in a third of the time: every line has an address.
        Peer::Ip(IpAddr::V4(address)) => push_dotted(address.octets().map(u64::from), out),
        // Writing to a Vec cannot fail.
        Peer::Ip(address) => drop(write!(out, "{address}")),
        Peer::Unix => out.extend_from_slice(b"unix:"),
    }
}

/// Appends `id` as its `Display` writes it.
fn push_id(id: ConnectionId, out: &mut Vec<u8>) {
    let numbers = [
        id.event_loop as u64,
        u64::from(id.slot),
        u64::from(id.generation),
    ];
    push_dotted(numbers, out);
}

fn push_dotted<const N: usize>(numbers: [u64; N], out: &mut Vec<u8>) {
    for (index, number) in numbers.into_iter().enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        decimal(number, out);
    }
}

#[cfg(test)]
mod tests;
