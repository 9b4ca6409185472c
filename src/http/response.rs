//! A response, and how its head is put on the wire.
//!
//! `site` decides the status, the fields and the body; `connection` adds what belongs to the
//! connection (Connection, Keep-Alive) and calls [`encode_head`]. Nothing here allocates once the
//! output buffer has grown to its working size.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::keep_alive::Fate;
use super::method::Method;
use super::shared_lines::{CLOSE_LINE, SharedLines};
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

impl Response {
    /// The response to a request with this method, if it has been read: HEAD is sent no content (RFC 9110
    /// section 9.3.2).
    #[must_use]
    pub fn to(mut self, method: Option<Method>) -> Response {
        if method == Some(Method::Head) {
            self.body = Body::Empty;
        }
        self
    }
}

/// Content that has a descriptor, so that sendfile(2) can send it: pages of memory, to which the socket
/// refers so that nothing is copied, or a file.
pub trait FileSource: fmt::Debug + Send + Sync {
    /// What sendfile sends the content from, and where in there its offset `offset` is.
    fn at(&self, offset: u64) -> (&File, u64);

    /// Whether it is a file beyond a mount point below the root: its file system may hang by itself.
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
    Resident {
        /// All of it.
        content: Arc<dyn FileSource>,
        /// Offsets from its start, in bytes.
        range: Range<u64>,
    },
    /// A range of byte offsets of an open regular file, sent with sendfile.
    File {
        /// The open file; its own offset is never used.
        file: Arc<dyn FileSource>,
        /// Offsets from the start of the file, in bytes.
        range: Range<u64>,
    },
    /// Several bodies, one after the other; never one that has parts itself.
    Parts(Box<VecDeque<Body>>),
}

impl FileSource for File {
    fn at(&self, offset: u64) -> (&File, u64) {
        (self, offset)
    }
}

impl Body {
    /// The number of bytes the body has.
    #[must_use]
    #[inline]
    pub fn len(&self) -> u64 {
        match self {
            Body::Empty => 0,
            Body::Memory(bytes) => bytes.len() as u64,
            Body::Resident { range, .. } | Body::File { range, .. } => range.end - range.start,
            Body::Parts(parts) => parts.iter().map(Body::len).sum(),
        }
    }

    /// Whether there is no content.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether sending it may wait for a disk.
    #[must_use]
    pub fn is_on_disk(&self) -> bool {
        match self {
            Body::Empty | Body::Memory(_) | Body::Resident { .. } => false,
            Body::File { .. } => true,
            Body::Parts(parts) => parts.iter().any(Body::is_on_disk),
        }
    }

    /// Whether sending it may wait for a file system beyond a mount point.
    #[must_use]
    pub fn is_beyond_mount(&self) -> bool {
        match self {
            Body::Empty | Body::Memory(_) | Body::Resident { .. } => false,
            Body::File { file, .. } => file.is_beyond_mount(),
            Body::Parts(parts) => parts.iter().any(Body::is_beyond_mount),
        }
    }

    /// Drops the first `count` bytes, which must not be more than there are.
    pub fn advance(&mut self, count: u64) {
        match self {
            Body::Empty => debug_assert_eq!(count, 0, "nothing can be sent of nothing"),
            // Less than the length, which is a usize.
            Body::Memory(content) => content.advance(count as usize),
            Body::Resident { range, .. } | Body::File { range, .. } => range.start += count,
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

/// Appends the whole head, its empty line included (RFC 9112 section 2.1). `shared` must be of the
/// second that the answer is dated; `fate` becomes the Connection and Keep-Alive fields.
pub fn encode_head(response: &Response, shared: &SharedLines, fate: Fate, out: &mut Vec<u8>) {
    match response.status {
        // The common case is one copy of a known length.
        Status::OK => out.extend_from_slice(Status::OK.line().as_bytes()),
        status => out.extend_from_slice(status.line().as_bytes()),
    }
    match fate {
        Fate::Persist { remaining } => {
            out.extend_from_slice(shared.persisting());
            decimal(u64::from(remaining), out);
            out.extend_from_slice(b"\r\n");
        }
        Fate::Close => {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(response: &Response, fate: Fate) -> String {
        let mut out = Vec::new();
        encode_head(
            response,
            SharedLines::new(120).at(784_111_777),
            fate,
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
            encoded(&response, Fate::Close),
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
        let head = encoded(&response, Fate::Persist { remaining: 7 });
        assert_eq!(
            head,
            "HTTP/1.1 304 Not Modified\r\nServer: abide\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
             Connection: keep-alive\r\nKeep-Alive: timeout=120, max=7\r\n\r\n"
        );
    }
}
