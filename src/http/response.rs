//! A response, and how its head is put on the wire.
//!
//! `site` decides the status, the fields and the body; `connection` adds what belongs to the
//! connection (Connection, Keep-Alive) and calls [`encode_head`]. Nothing here allocates once the
//! output buffer has grown to its working size.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::keep_alive::{self, Fate};
use super::status::Status;

/// What a request is answered with. Cloning one is cheap: the bytes are shared.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code (RFC 9110 section 15).
    pub status: Status,
    /// Further field lines, encoded, each ending in CRLF. They must not contain Connection,
    /// Keep-Alive, Content-Length, Transfer-Encoding, Date or Server: those are added here.
    pub fields: Bytes,
    /// The Content-Length to declare, in bytes. `None` only where the status forbids or does not
    /// owe one (RFC 9110 section 8.6): 204 and 304.
    pub length: Option<u64>,
    /// The content. A HEAD request may be given it too; the connection drops it.
    pub body: Body,
}

/// The content of a response.
#[derive(Debug, Clone)]
pub enum Body {
    /// No content.
    Empty,
    /// Content held in memory and shared with the cache.
    Memory(Bytes),
    /// A range of byte offsets of an open regular file, sent with sendfile.
    File {
        /// The open file; its own offset is never used.
        file: Arc<File>,
        /// Offsets from the start of the file, in bytes.
        range: Range<u64>,
    },
    /// Several bodies, one after the other; never one that has parts itself.
    Parts(Box<VecDeque<Body>>),
}

impl Body {
    /// The number of bytes the body has.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Body::Empty => 0,
            Body::Memory(bytes) => bytes.len() as u64,
            Body::File { range, .. } => range.end - range.start,
            Body::Parts(parts) => parts.iter().map(Body::len).sum(),
        }
    }

    /// Whether there is no content.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether sending it may wait for a disk.
    #[must_use]
    pub fn is_on_disk(&self) -> bool {
        match self {
            Body::Empty | Body::Memory(_) => false,
            Body::File { .. } => true,
            Body::Parts(parts) => parts.iter().any(Body::is_on_disk),
        }
    }

    /// Drops the first `count` bytes, which must not be more than there are.
    pub fn advance(&mut self, count: u64) {
        match self {
            Body::Empty => debug_assert_eq!(count, 0, "nothing can be sent of nothing"),
            // Less than the length, which is a usize.
            Body::Memory(content) => content.advance(count as usize),
            Body::File { range, .. } => range.start += count,
            Body::Parts(parts) => {
                let mut left = count;
                while let Some(part) = parts.front_mut() {
                    let of_part = left.min(part.len());
                    part.advance(of_part);
                    left -= of_part;
                    if !part.is_empty() {
                        break;
                    }
                    parts.pop_front();
                }
            }
        }
    }
}

/// The Date field line, formatted once per second rather than once per response.
#[derive(Debug, Clone)]
pub struct DateLine {
    unix_secs: u64,
    line: [u8; DateLine::LEN],
}

impl DateLine {
    const LEN: usize = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n".len();

    /// A line that is formatted at its first use.
    #[must_use]
    pub fn new() -> DateLine {
        let mut date = DateLine {
            unix_secs: 0,
            line: [0; DateLine::LEN],
        };
        date.format(0);
        date
    }

    /// `Date: …` with its CRLF, for `unix_secs` seconds since 1970 (RFC 9110 section 6.6.1).
    pub fn line(&mut self, unix_secs: u64) -> &[u8] {
        if self.unix_secs != unix_secs {
            self.format(unix_secs);
        }
        &self.line
    }

    /// The date alone, as an IMF-fixdate (RFC 9110 section 5.6.7).
    pub fn date(&mut self, unix_secs: u64) -> &[u8] {
        let line = self.line(unix_secs);
        &line["Date: ".len()..line.len() - 2]
    }

    fn format(&mut self, unix_secs: u64) {
        self.unix_secs = unix_secs;
        // Straight into the line, without a string between: not even the first request of a second
        // allocates. A date always has 29 bytes, so it fits.
        let written = write!(&mut self.line[..], "Date: {}\r\n", date_of(unix_secs));
        debug_assert!(written.is_ok(), "a date has 29 bytes");
    }
}

impl Default for DateLine {
    fn default() -> DateLine {
        DateLine::new()
    }
}

/// The last second that an IMF-fixdate, with its four digits for the year, can express.
const LAST_SECOND: u64 = 253_402_300_799;

/// `unix_secs` as an IMF-fixdate (RFC 9110 section 5.6.7): always 29 bytes.
#[must_use]
pub fn http_date(unix_secs: u64) -> String {
    date_of(unix_secs).to_string()
}

fn date_of(unix_secs: u64) -> httpdate::HttpDate {
    let since_epoch = std::time::Duration::from_secs(unix_secs.min(LAST_SECOND));
    (std::time::UNIX_EPOCH + since_epoch).into()
}

/// Appends the whole head, its empty line included (RFC 9112 section 2.1).
///
/// `date_line` is a [`DateLine::line`]; `fate` and `timeout_secs` become the Connection and Keep-Alive
/// fields. The status line always says HTTP/1.1, to an HTTP/1.0 client too: it states our own
/// version (RFC 9110 section 2.5).
pub fn encode_head(
    response: &Response,
    date_line: &[u8],
    fate: Fate,
    timeout_secs: u32,
    out: &mut Vec<u8>,
) {
    match response.status {
        // The common case is one copy.
        Status::OK => out.extend_from_slice(b"HTTP/1.1 200 OK\r\n"),
        status => {
            out.extend_from_slice(b"HTTP/1.1 ");
            decimal(u64::from(status.code()), out);
            out.push(b' ');
            out.extend_from_slice(status.reason().as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(b"Server: abide\r\n");
    out.extend_from_slice(date_line);
    keep_alive::encode(fate, timeout_secs, out);
    out.extend_from_slice(&response.fields);
    if let Some(length) = response.length {
        out.extend_from_slice(b"Content-Length: ");
        decimal(length, out);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends `n` in decimal.
pub fn decimal(n: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(response: &Response) -> String {
        let mut out = Vec::new();
        let mut date = DateLine::new();
        encode_head(response, date.line(784_111_777), Fate::Close, 120, &mut out);
        String::from_utf8(out).expect("heads are ASCII")
    }

    #[test]
    fn a_head_is_a_status_line_field_lines_and_an_empty_line() {
        let response = Response {
            status: Status::OK,
            fields: Bytes::from_static(b"Content-Type: text/plain\r\n"),
            length: Some(18_446_744_073_709_551_615),
            body: Body::Empty,
        };
        assert_eq!(
            encoded(&response),
            "HTTP/1.1 200 OK\r\nServer: abide\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             Connection: close\r\nContent-Type: text/plain\r\n\
             Content-Length: 18446744073709551615\r\n\r\n"
        );
    }

    #[test]
    fn a_304_declares_no_length() {
        let response = Response {
            status: Status::NOT_MODIFIED,
            fields: Bytes::new(),
            length: None,
            body: Body::Empty,
        };
        let head = encoded(&response);
        assert!(head.starts_with("HTTP/1.1 304 Not Modified\r\n"), "{head}");
        assert!(!head.contains("Content-Length"), "{head}");
    }

    #[test]
    fn the_date_follows_the_second_it_is_asked_for() {
        let mut date = DateLine::new();
        assert_eq!(date.date(0), b"Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(date.date(1), b"Thu, 01 Jan 1970 00:00:01 GMT");
        assert_eq!(date.date(u64::MAX), b"Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
