//! A line of the access log: what it says, in four formats.
//!
//! ```text
//! common    192.0.2.7 - - [22/Nov/2026:19:14:44 +0000] "GET / HTTP/1.1" 200 5120
//! combined  (the same) "https://example.org/" "Mozilla/5.0"
//! extended  (the same) connection=0.12.3 number=2 idle_ms=840 duration_us=95 close=-
//! json      {"time":"2026-11-22T19:14:44Z","client":"192.0.2.7", ... }
//! ```
//!
//! A line is made in two steps. [`begin`] writes nearly all of it when the answer is collected, as long
//! as the request is there to be read; [`complete`] adds what only the end of the answer tells: the
//! bytes that went, the time that it took, and whether the connection ends with it.

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

/// What is known when an answer is collected.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// The client, and words of its request.
    pub quoted: Quoted<'a>,
    /// The connection.
    pub connection: ConnectionId,
    /// The number of the request on the connection, from 1; 0 for what answers none.
    pub number: u32,
    /// When the request began to come, and after how much idling.
    pub arrival: Arrival,
    /// The answer's status.
    pub status: Status,
}

/// The client of a request, and the request in its own words.
#[derive(Debug, Clone, Copy)]
pub struct Quoted<'a> {
    /// The client: the peer, or whom trusted proxies have asked for.
    pub client: Peer,
    /// The request line as far as it has come; empty if nothing of it has.
    pub request_line: &'a [u8],
    /// The host that was asked for.
    pub host: Option<&'a [u8]>,
    /// The Referer field (RFC 9110 section 10.1.3).
    pub referer: Option<&'a [u8]>,
    /// The User-Agent field (RFC 9110 section 10.1.5).
    pub user_agent: Option<&'a [u8]>,
}

impl<'a> Quoted<'a> {
    /// A request without a valid head: what is known of it is its first line.
    #[must_use]
    pub fn first_line(client: Peer, request_line: &'a [u8]) -> Quoted<'a> {
        Quoted {
            client,
            request_line,
            host: None,
            referer: None,
            user_agent: None,
        }
    }
}

/// When a request began to come, and after how much idling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// `None`: in this turn.
    pub since: Option<Millis>,
    /// Milliseconds that the connection was idle before.
    pub idle_millis: u64,
}

/// A line that [`begin`] has written.
#[derive(Debug, Clone, Copy)]
pub struct LineStart<'a> {
    /// Nearly all of it.
    pub text: &'a [u8],
    /// The place in `text` where the number of bytes belongs.
    pub bytes_at: usize,
}

/// What only the end of an answer tells.
#[derive(Debug, Clone, Copy)]
pub struct LineEnd {
    /// Bytes of the body that went.
    pub body_bytes: u64,
    /// Microseconds that the answer took.
    pub duration_micros: u64,
    /// Why the connection ends with this answer; `None` if it persists.
    pub close: Option<CloseReason>,
}

/// Whether lines of this format say how long an answer took.
#[must_use]
pub fn has_duration(format: AccessLogFormat) -> bool {
    matches!(format, AccessLogFormat::Extended | AccessLogFormat::Json)
}

/// Appends what is known of a line. `time` is of the same format. Returns how far into `out` the number
/// of bytes belongs, for [`complete`].
pub fn begin(line: &Line<'_>, time: &[u8], config: &AccessLogConfig, out: &mut Vec<u8>) -> usize {
    match config.format {
        AccessLogFormat::Json => begin_json(line, time, config.host, out),
        _ => begin_text(line, time, config, out),
    }
}

/// Appends a line that [`begin`] has written, with its end.
pub fn complete(
    start: &LineStart<'_>,
    ending: &LineEnd,
    format: AccessLogFormat,
    out: &mut Vec<u8>,
) {
    let (before, after) = start.text.split_at(start.bytes_at);
    out.extend_from_slice(before);
    // The common format has always had a dash for no bytes.
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

fn begin_text(line: &Line<'_>, time: &[u8], config: &AccessLogConfig, out: &mut Vec<u8>) -> usize {
    if config.host {
        // A valid host has no space; what is not there is a dash.
        escape_text(line.quoted.host.unwrap_or(b"-"), out);
        out.push(b' ');
    }
    push_peer(line.quoted.client, out);
    out.extend_from_slice(b" - - [");
    out.extend_from_slice(time);
    out.extend_from_slice(b"] ");
    push_quoted(Some(line.quoted.request_line), out);
    out.push(b' ');
    decimal(u64::from(line.status.code()), out);
    out.push(b' ');
    let bytes_at = out.len();
    if config.format == AccessLogFormat::Common {
        return bytes_at;
    }
    out.push(b' ');
    push_quoted(line.quoted.referer, out);
    out.push(b' ');
    push_quoted(line.quoted.user_agent, out);
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

fn begin_json(line: &Line<'_>, time: &[u8], has_host: bool, out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(b"{\"time\":\"");
    out.extend_from_slice(time);
    out.extend_from_slice(b"\",\"client\":\"");
    push_peer(line.quoted.client, out);
    out.push(b'"');
    if has_host {
        push_member("host", line.quoted.host, out);
    }
    push_member("request", present(line.quoted.request_line), out);
    push_member("referer", line.quoted.referer, out);
    push_member("user_agent", line.quoted.user_agent, out);
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

/// `"text"`, or `"-"` for none, as every reader of such logs expects it.
fn push_quoted(text: Option<&[u8]>, out: &mut Vec<u8>) {
    out.push(b'"');
    escape_text(text.and_then(present).unwrap_or(b"-"), out);
    out.push(b'"');
}

/// A string member behind others, null for none. The name needs no escapes.
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
        // As `Display` writes it, in a third of the time: every line has one.
        Peer::Ip(IpAddr::V4(address)) => push_dotted(address.octets().map(u64::from), out),
        // Writing to a Vec cannot fail.
        Peer::Ip(address) => drop(write!(out, "{address}")),
        Peer::Unix => out.extend_from_slice(b"unix:"),
    }
}

/// As [`ConnectionId`]'s `Display`.
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
