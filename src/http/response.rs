//! A response, and the encoding of its head.
//!
//! `site` decides status, fields and body. `connection` adds the fields of the connection (Connection,
//! Keep-Alive) and calls [`encode_head`]. Nothing here allocates once the output buffer has grown to its
//! working size.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::date::{DATE_LEN, date_of};
use super::keep_alive::Persistence;
use super::method::Method;
use super::status::Status;

/// The response to a request. A clone is cheap, because the bytes are shared.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code (RFC 9110 section 15).
    pub status: Status,
    /// Further field lines, encoded, each ending in CRLF. They must not contain Connection, Keep-Alive,
    /// Content-Length, Transfer-Encoding, Date or Server, which [`encode_head`] adds or omits.
    pub fields: Bytes,
    /// The Content-Length in bytes; `None` only for 204 and 304, which need none (RFC 9110 section 8.6).
    pub length: Option<u64>,
    /// The content. It may be set for HEAD too; [`Response::to`] drops it.
    pub body: Body,
}

impl Response {
    /// The response to a request with this method, if the method is known: HEAD gets no content (RFC 9110
    /// section 9.3.2).
    #[must_use]
    pub fn to(mut self, method: Option<Method>) -> Response {
        if method == Some(Method::Head) {
            self.body = Body::Empty;
        }
        self
    }
}

/// Content with a descriptor for sendfile(2): a file, or memory that the socket sends without a copy.
pub trait FileSource: fmt::Debug + Send + Sync {
    /// The file for sendfile, and the offset in it of the content's offset `offset`.
    fn at(&self, offset: u64) -> (&File, u64);

    /// Whether the content is a file beyond a mount point below the root: that file system may hang alone.
    fn is_beyond_mount(&self) -> bool {
        false
    }
}

/// The content of a response.
#[derive(Debug, Clone)]
pub enum Body {
    /// No content.
    Empty,
    /// Content held in memory and shared with the cache.
    Memory(Bytes),
    /// A range of byte offsets of content in memory, shared with the cache and sent with sendfile.
    MemfdBody {
        /// The whole content.
        content: Arc<dyn FileSource>,
        /// Offsets from its start, in bytes.
        range: Range<u64>,
    },
    /// A range of byte offsets of an open regular file, sent with sendfile.
    File {
        /// The open file. Its file position is never used.
        file: Arc<dyn FileSource>,
        /// Offsets from the start of the file, in bytes.
        range: Range<u64>,
    },
    /// Several bodies, one after another; none of them has parts itself.
    Parts(Box<VecDeque<Body>>),
}

impl FileSource for File {
    fn at(&self, offset: u64) -> (&File, u64) {
        (self, offset)
    }
}

impl Body {
    /// The length in bytes.
    #[must_use]
    #[inline]
    pub fn len(&self) -> u64 {
        match self {
            Body::Empty => 0,
            Body::Memory(bytes) => bytes.len() as u64,
            Body::MemfdBody { range, .. } | Body::File { range, .. } => range.end - range.start,
            Body::Parts(parts) => parts.iter().map(Body::len).sum(),
        }
    }

    /// Whether there is no content.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether sending the body may wait for a disk.
    #[must_use]
    pub fn is_on_disk(&self) -> bool {
        match self {
            Body::Empty | Body::Memory(_) | Body::MemfdBody { .. } => false,
            Body::File { .. } => true,
            Body::Parts(parts) => parts.iter().any(Body::is_on_disk),
        }
    }

    /// Whether sending the body may wait for a file system beyond a mount point.
    #[must_use]
    pub fn is_beyond_mount(&self) -> bool {
        match self {
            Body::Empty | Body::Memory(_) | Body::MemfdBody { .. } => false,
            Body::File { file, .. } => file.is_beyond_mount(),
            Body::Parts(parts) => parts.iter().any(Body::is_beyond_mount),
        }
    }

    /// Drops the first `count` bytes; the body must have as many.
    pub fn advance(&mut self, count: u64) {
        match self {
            Body::Empty => debug_assert_eq!(count, 0, "an empty body has no bytes"),
            // `count` is at most the length, which is a usize.
            Body::Memory(content) => content.advance(count as usize),
            Body::MemfdBody { range, .. } | Body::File { range, .. } => range.start += count,
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

/// Appends the whole head, its empty line included (RFC 9112 section 2.1). `shared` must have the date of the
/// response; `persistence` becomes the Connection and Keep-Alive fields.
pub fn encode_head(
    response: &Response,
    shared: &SharedLines,
    persistence: Persistence,
    out: &mut Vec<u8>,
) {
    match response.status {
        // The most frequent status is copied with a length known to the compiler.
        Status::OK => out.extend_from_slice(Status::OK.line().as_bytes()),
        status => out.extend_from_slice(status.line().as_bytes()),
    }
    match persistence {
        Persistence::Persist { remaining } => {
            out.extend_from_slice(shared.persisting());
            decimal(u64::from(remaining), out);
            out.extend_from_slice(b"\r\n");
        }
        Persistence::Close => {
            out.extend_from_slice(shared.always());
            out.extend_from_slice(CLOSE_LINE.as_bytes());
        }
    }
    out.extend_from_slice(&response.fields);
    match response.length {
        Some(length) => {
            out.extend_from_slice(b"Content-Length: ");
            decimal(length, out);
            out.extend_from_slice(b"\r\n\r\n");
        }
        None => out.extend_from_slice(b"\r\n"),
    }
}

/// Appends `n` in decimal.
pub fn decimal(n: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

const BEFORE_DATE: &str = "Server: abide\r\nDate: ";

const DATE_END: usize = BEFORE_DATE.len() + DATE_LEN;

/// The end of the lines that every response has.
const ALWAYS_END: usize = DATE_END + "\r\n".len();

/// The line for a connection that does not persist (RFC 9112 section 9.6).
const CLOSE_LINE: &str = "Connection: close\r\n";

/// The lines for a connection that persists, up to the number of further requests. `timeout_secs` is T, the
/// promised idle time in seconds. RFC 2068 section 19.7.1.1 defines the `Keep-Alive` field.
///
/// `timeout` comes before `max`: Node's agent reads only the first parameter.
fn persisting_until_max(timeout_secs: u32) -> String {
    format!("Connection: keep-alive\r\nKeep-Alive: timeout={timeout_secs}, max=")
}

/// The field lines that responses of one second share: Server, Date, and those of a connection that persists.
#[derive(Debug, Clone)]
pub struct SharedLines {
    unix_secs: u64,
    timeout_secs: u32,
    lines: Vec<u8>,
}

impl SharedLines {
    /// Lines that promise `timeout_secs` seconds of idle time, dated the start of 1970.
    #[must_use]
    pub fn new(timeout_secs: u32) -> SharedLines {
        let mut lines = BEFORE_DATE.as_bytes().to_vec();
        lines.resize(DATE_END, b' ');
        lines.extend_from_slice(b"\r\n");
        lines.extend_from_slice(persisting_until_max(timeout_secs).as_bytes());
        let mut shared = SharedLines {
            unix_secs: 0,
            timeout_secs,
            lines,
        };
        shared.write_date(0);
        shared
    }

    /// The lines, dated `unix_secs` seconds after the start of 1970 (RFC 9110 section 6.6.1).
    pub fn at(&mut self, unix_secs: u64) -> &SharedLines {
        if self.unix_secs != unix_secs {
            self.write_date(unix_secs);
        }
        self
    }

    /// The idle time that the lines promise, in seconds.
    #[must_use]
    pub fn timeout_secs(&self) -> u32 {
        self.timeout_secs
    }

    /// Copies these lines, with a promise of `timeout_secs` seconds.
    #[must_use]
    pub fn promising(&self, timeout_secs: u32) -> SharedLines {
        let mut other = SharedLines::new(timeout_secs);
        other.at(self.unix_secs);
        other
    }

    /// The lines of every response.
    #[must_use]
    pub fn always(&self) -> &[u8] {
        &self.lines[..ALWAYS_END]
    }

    /// The lines of a response after which the connection persists, up to the number of further requests,
    /// which differs from response to response.
    #[must_use]
    pub fn persisting(&self) -> &[u8] {
        &self.lines
    }

    /// The date in seconds since 1970.
    #[must_use]
    pub fn unix_secs(&self) -> u64 {
        self.unix_secs
    }

    /// The date as an IMF-fixdate.
    #[must_use]
    pub fn date(&self) -> &[u8] {
        &self.lines[BEFORE_DATE.len()..DATE_END]
    }

    fn write_date(&mut self, unix_secs: u64) {
        self.unix_secs = unix_secs;
        // Written in place, so that the first request of a second does not allocate either. A date always has
        // 29 bytes, so it fits.
        let mut place = &mut self.lines[BEFORE_DATE.len()..DATE_END];
        let written = write!(place, "{}", date_of(unix_secs));
        debug_assert!(written.is_ok(), "a date has 29 bytes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(response: &Response, persistence: Persistence) -> String {
        let mut out = Vec::new();
        encode_head(
            response,
            SharedLines::new(120).at(784_111_777),
            persistence,
            &mut out,
        );
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
            encoded(&response, Persistence::Close),
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
        let head = encoded(&response, Persistence::Persist { remaining: 7 });
        assert_eq!(
            head,
            "HTTP/1.1 304 Not Modified\r\nServer: abide\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             Connection: keep-alive\r\nKeep-Alive: timeout=120, max=7\r\n\r\n"
        );
    }

    #[test]
    fn the_date_follows_the_second_it_is_asked_for() {
        let mut shared = SharedLines::new(120);
        assert_eq!(shared.at(0).date(), b"Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(shared.at(1).date(), b"Thu, 01 Jan 1970 00:00:01 GMT");
        assert_eq!(shared.at(u64::MAX).date(), b"Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn the_lines_are_whole() {
        let mut shared = SharedLines::new(60);
        let shared = shared.at(784_111_777);
        let always = "Server: abide\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
        assert_eq!(shared.always(), always.as_bytes());
        let persisting = format!("{always}Connection: keep-alive\r\nKeep-Alive: timeout=60, max=");
        assert_eq!(shared.persisting(), persisting.as_bytes());
    }
}
