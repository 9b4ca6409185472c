//! Scans a request head by the grammar of RFC 9112 sections 2.2, 3 and 5. Does not interpret fields.

use super::scan_state::{ScanState, ScanStop, note_scanned};
use crate::http::fields::FieldSpan;
use crate::http::grammar::{field_text_len, is_ows, target_len, token_len};
use crate::http::method::Method;
use crate::http::reject::Reject;
use crate::http::status::Status;
use crate::http::target::{self, Target};
use crate::http::version::Version;

/// Empty lines that are accepted before a request line (RFC 9112 section 2.2).
const MAX_EMPTY_LINES: usize = 8;
/// The longest method, in bytes.
const MAX_METHOD_BYTES: usize = 64;

const VERSION_NOT_SUPPORTED: Reject = Reject::new(
    Status::VERSION_NOT_SUPPORTED,
    "This server supports only HTTP/1.0 and HTTP/1.1.",
);

fn bad_request<T>(reason: &'static str) -> Result<T, ScanStop> {
    Err(ScanStop::Refused(Reject::bad_request(reason)))
}

/// A complete request line.
pub(super) struct RequestLine<'b> {
    pub(super) method: Method,
    pub(super) target: Target<'b>,
    /// The authority that the target itself names.
    pub(super) authority: Option<&'b [u8]>,
    /// The target is an https URI.
    pub(super) needs_secure_connection: bool,
    pub(super) version: Version,
    /// The whole line without its CRLF.
    pub(super) text: &'b [u8],
}

/// One line after the request line.
pub(super) enum FieldLine {
    Field(FieldSpan),
    /// The empty line: the head is complete.
    End,
}

/// A position in the bytes of a head.
pub(super) struct Scanner<'b> {
    bytes: &'b [u8],
    at: usize,
    /// The longest head in bytes.
    limit: usize,
    started: bool,
    method: Option<Method>,
    /// The state to resume from, once the bytes have run out.
    state: ScanState,
}

impl<'b> Scanner<'b> {
    /// A scanner at the start of `bytes`, which hold at most `limit` bytes, the longest head.
    pub(super) fn new(bytes: &'b [u8], limit: usize) -> Scanner<'b> {
        debug_assert!(bytes.len() <= limit);
        Scanner {
            bytes,
            at: 0,
            limit,
            started: false,
            method: None,
            state: ScanState::Start,
        }
    }

    /// A scanner that resumes at `state`, where the last one had read `method` and ran out of bytes. `bytes`
    /// begin with the bytes of the last scan.
    pub(super) fn resume(
        bytes: &'b [u8],
        limit: usize,
        state: ScanState,
        method: Option<Method>,
    ) -> Scanner<'b> {
        Scanner {
            at: state.position(),
            started: state != ScanState::Start,
            method,
            ..Scanner::new(bytes, limit)
        }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn method(&self) -> Option<Method> {
        self.method
    }

    /// Whether a byte of the request line has been seen.
    pub(super) fn started(&self) -> bool {
        self.started
    }

    pub(super) fn state(&self) -> ScanState {
        self.state
    }

    /// Notes the state in which the scan stops.
    #[cold]
    fn stop_at(&mut self, stop: ScanStop, state: ScanState) -> ScanStop {
        self.state = state;
        stop
    }

    /// Adds the method, if it is known, to a refusal.
    pub(super) fn explain(&self, reject: Reject) -> Reject {
        Reject {
            method: self.method,
            ..reject
        }
    }

    pub(super) fn name(&self, span: &FieldSpan) -> &'b [u8] {
        span.name(self.bytes)
    }

    pub(super) fn value(&self, span: &FieldSpan) -> &'b [u8] {
        span.value(self.bytes)
    }

    /// The byte at the current position. If there is none because the head has reached its limit, further
    /// bytes cannot help.
    fn peek(&self) -> Result<u8, ScanStop> {
        note_scanned(1);
        match self.bytes.get(self.at) {
            Some(&byte) => Ok(byte),
            None if self.at < self.limit => Err(ScanStop::NeedMore),
            None => Err(ScanStop::Refused(Reject::new(
                Status::HEADER_FIELDS_TOO_LARGE,
                "The request head is larger than this server accepts.",
            ))),
        }
    }

    /// The received part of the next `most` bytes.
    fn ahead(&self, most: usize) -> &'b [u8] {
        let ahead = &self.bytes[self.at..];
        &ahead[..ahead.len().min(most)]
    }

    /// Skips `usual` if it comes next. A shortcut for frequent bytes, with the result of a scan byte by byte.
    fn passes<const N: usize>(&mut self, usual: &[u8; N]) -> bool {
        let is_next = self.bytes[self.at..].first_chunk() == Some(usual);
        if is_next {
            self.at += N;
        }
        is_next
    }

    /// Skips `expected`, or refuses for `reason`.
    fn expect(&mut self, expected: u8, reason: &'static str) -> Result<(), ScanStop> {
        if self.peek()? != expected {
            return bad_request(reason);
        }
        self.at += 1;
        Ok(())
    }

    /// Skips the empty lines before a request line.
    pub(super) fn skip_empty_lines(&mut self) -> Result<(), ScanStop> {
        for _ in 0..MAX_EMPTY_LINES {
            if self.peek()? != b'\r' {
                break;
            }
            self.at += 1;
            self.expect(b'\n', "A CR stands alone before the request line.")?;
        }
        let first = self.peek()?;
        self.started = true;
        match first {
            b'\r' => bad_request("There are more than 8 empty lines before the request line."),
            b'\n' => bad_request("An LF stands alone before the request line."),
            _ => Ok(()),
        }
    }

    /// `method SP request-target SP HTTP-version CRLF`
    pub(super) fn request_line(&mut self, max_target: usize) -> Result<RequestLine<'b>, ScanStop> {
        let line = self.at;
        let method = if self.passes(b"GET ") {
            Method::Get
        } else {
            Method::parse(self.method_token()?)
        };
        self.method = Some(method);
        self.read_from_target(line, self.at, method, max_target)
    }

    /// Resumes the request line at `state`; `None` if `state` is after the request line.
    #[cold]
    pub(super) fn resume_request_line(
        &mut self,
        state: ScanState,
        max_target: usize,
    ) -> Result<Option<RequestLine<'b>>, ScanStop> {
        let Some(method) = self.method else {
            return Ok(None);
        };
        match state {
            ScanState::Target { line, target, .. } => self
                .read_from_target(line as usize, target as usize, method, max_target)
                .map(Some),
            ScanState::Version { line, target, end } => {
                let raw_target = &self.bytes[target as usize..end as usize];
                self.read_from_version(line as usize, raw_target, method)
                    .map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Resumes the request line that starts at `line`, within its target, which starts at `target`.
    #[inline(always)]
    fn read_from_target(
        &mut self,
        line: usize,
        target: usize,
        method: Method,
        max_target: usize,
    ) -> Result<RequestLine<'b>, ScanStop> {
        let raw_target = self.target(line, target, max_target)?;
        self.read_from_version(line, raw_target, method)
    }

    /// Scans the rest of the request line that starts at `line`, from its version.
    #[inline(always)]
    fn read_from_version(
        &mut self,
        line: usize,
        raw_target: &'b [u8],
        method: Method,
    ) -> Result<RequestLine<'b>, ScanStop> {
        let end = self.at - 1;
        let (version, text) = self.version_and_line_end(line).map_err(|stop| {
            let state = ScanState::Version {
                line: line as u32,
                target: (end - raw_target.len()) as u32,
                end: end as u32,
            };
            self.stop_at(stop, state)
        })?;
        // After the version, because the preface of HTTP/2 has the target "*" and must get a 505.
        let classified = target::classify(method, raw_target)?;
        Ok(RequestLine {
            method,
            target: classified.target,
            authority: classified.authority,
            needs_secure_connection: classified.needs_secure_connection,
            version,
            text,
        })
    }

    /// `HTTP-version CRLF`. Returns the version and the text of the line that starts at `line`.
    #[inline(always)]
    fn version_and_line_end(&mut self, line: usize) -> Result<(Version, &'b [u8]), ScanStop> {
        let version = self.version()?;
        let text = &self.bytes[line..self.at];
        if !self.passes(b"\r\n") {
            self.expect(b'\r', "The request line continues after the version.")?;
            self.expect(b'\n', "The request line ends in a CR without an LF.")?;
        }
        // Only after the whole line: a broken line is 400 whatever its version.
        let version = version.ok_or(VERSION_NOT_SUPPORTED)?;
        Ok((version, text))
    }

    fn method_token(&mut self) -> Result<&'b [u8], ScanStop> {
        let start = self.at;
        self.at += token_len(self.ahead(MAX_METHOD_BYTES + 1));
        let token = &self.bytes[start..self.at];
        if token.len() > MAX_METHOD_BYTES {
            return bad_request("The method is longer than 64 bytes.");
        }
        if self.peek()? != b' ' || token.is_empty() {
            return bad_request("The request does not begin with a method and a space.");
        }
        self.at += 1;
        Ok(token)
    }

    /// The target that starts at `start`, in the line that starts at `line`.
    #[inline(always)]
    fn target(
        &mut self,
        line: usize,
        start: usize,
        max_bytes: usize,
    ) -> Result<&'b [u8], ScanStop> {
        let most = max_bytes.saturating_add(1) - (self.at - start);
        let len = target_len(self.ahead(most));
        note_scanned(len);
        self.at += len;
        let target = &self.bytes[start..self.at];
        if target.len() > max_bytes {
            return Err(ScanStop::Refused(Reject::new(
                Status::URI_TOO_LONG,
                "The request target is longer than this server accepts.",
            )));
        }
        let next = self.peek().map_err(|stop| {
            let state = ScanState::Target {
                line: line as u32,
                target: start as u32,
                at: (start + target.len()) as u32,
            };
            self.stop_at(stop, state)
        })?;
        match next {
            b' ' if target.is_empty() => bad_request("The request target is missing."),
            b' ' => {
                self.at += 1;
                Ok(target)
            }
            b'#' => bad_request("The request target holds a fragment."),
            b'\r' | b'\n' => bad_request("The request line has no version."),
            _ => bad_request("The request target holds a byte that must be encoded."),
        }
    }

    /// `"HTTP/" DIGIT "." DIGIT` (RFC 9112 section 2.3). A higher minor version of 1 is read as 1.1; `None`
    /// means another major version.
    fn version(&mut self) -> Result<Option<Version>, ScanStop> {
        const NO_VERSION: &str = "The request line does not end in an HTTP version.";
        if self.passes(b"HTTP/1.1") {
            return Ok(Some(Version::Http11));
        }
        for &expected in b"HTTP/" {
            self.expect(expected, NO_VERSION)?;
        }
        let major = self.digit(NO_VERSION)?;
        self.expect(b'.', NO_VERSION)?;
        let minor = self.digit(NO_VERSION)?;
        Ok(match (major, minor) {
            (b'1', b'0') => Some(Version::Http10),
            (b'1', _) => Some(Version::Http11),
            _ => None,
        })
    }

    /// Scans one decimal digit, or refuses for `reason`.
    fn digit(&mut self, reason: &'static str) -> Result<u8, ScanStop> {
        let byte = self.peek()?;
        if !byte.is_ascii_digit() {
            return bad_request(reason);
        }
        self.at += 1;
        Ok(byte)
    }

    /// `field-name ":" OWS field-value OWS CRLF`, or the empty line that ends the head. Without `room` for
    /// one more, a field is refused with 431 at its first byte.
    #[inline(always)]
    pub(super) fn field_line(&mut self, room: bool) -> Result<FieldLine, ScanStop> {
        if self.passes(b"\r\n") {
            return Ok(FieldLine::End);
        }
        let start = self.at;
        let before = ScanState::Line { at: start as u32 };
        if self.peek().map_err(|stop| self.stop_at(stop, before))? == b'\r' {
            self.at += 1;
            self.expect(b'\n', "The head ends in a CR without an LF.")
                .map_err(|stop| self.stop_at(stop, before))?;
            return Ok(FieldLine::End);
        }
        if !room {
            return Err(ScanStop::Refused(Reject::new(
                Status::HEADER_FIELDS_TOO_LARGE,
                "The request has more fields than this server accepts.",
            )));
        }
        self.read_from_name(start)
    }

    /// The state after a complete line.
    pub(super) fn next_line(&self) -> ScanState {
        ScanState::Line { at: self.at as u32 }
    }

    /// Resumes the field line at `state`.
    #[cold]
    pub(super) fn resume_field_line(
        &mut self,
        state: ScanState,
        room: bool,
    ) -> Result<FieldLine, ScanStop> {
        match state {
            ScanState::Name { start, .. } => self.read_from_name(start as usize),
            ScanState::Space {
                start, name_end, ..
            } => self.read_from_space(start as usize, name_end as usize),
            ScanState::Value(span) => self.read_from_value(
                span.name_start as usize,
                span.name_end as usize,
                span.value_start as usize,
            ),
            _ => self.field_line(room),
        }
    }

    /// Scans a field line from within its name, which starts at `start`.
    #[inline(always)]
    fn read_from_name(&mut self, start: usize) -> Result<FieldLine, ScanStop> {
        let len = token_len(&self.bytes[self.at..]);
        note_scanned(len);
        self.at += len;
        let name_end = self.at;
        if name_end == start || !self.passes(b": ") {
            let next = self.peek().map_err(|stop| {
                let state = ScanState::Name {
                    start: start as u32,
                    at: name_end as u32,
                };
                self.stop_at(stop, state)
            })?;
            if next != b':' || name_end == start {
                return bad_request(self.why_no_colon(start));
            }
            self.at += 1;
        }
        self.read_from_space(start, name_end)
    }

    /// Scans a field line from within the whitespace after its colon.
    #[inline(always)]
    fn read_from_space(&mut self, start: usize, name_end: usize) -> Result<FieldLine, ScanStop> {
        loop {
            let next = self.peek().map_err(|stop| {
                let state = ScanState::Space {
                    start: start as u32,
                    name_end: name_end as u32,
                    at: self.at as u32,
                };
                self.stop_at(stop, state)
            })?;
            if !is_ows(next) {
                return self.read_from_value(start, name_end, self.at);
            }
            self.at += 1;
        }
    }

    /// Scans a field line from within its value, which starts at `value_start`.
    #[inline(always)]
    fn read_from_value(
        &mut self,
        name_start: usize,
        name_end: usize,
        value_start: usize,
    ) -> Result<FieldLine, ScanStop> {
        let len = field_text_len(&self.bytes[self.at..]);
        note_scanned(len);
        self.at += len;
        // No offset is above `limit`, which is below 2^32.
        let span = |value_end: usize| FieldSpan {
            name_start: name_start as u32,
            name_end: name_end as u32,
            value_start: value_start as u32,
            value_end: value_end as u32,
        };
        let text_end = self.at;
        if !self.passes(b"\r\n") {
            let within = ScanState::Value(span(text_end));
            match self.peek().map_err(|stop| self.stop_at(stop, within))? {
                b'\r' => {}
                b'\n' => return bad_request("A field line ends in an LF without a CR."),
                _ => return bad_request("A field value holds a control character."),
            }
            self.at += 1;
            self.expect(b'\n', "A field line holds a CR without an LF.")
                .map_err(|stop| self.stop_at(stop, within))?;
        }
        let mut value_end = text_end;
        while value_end > value_start && is_ows(self.bytes[value_end - 1]) {
            value_end -= 1;
        }
        note_scanned(text_end - value_end);
        Ok(FieldLine::Field(span(value_end)))
    }

    /// The error in a line whose name does not end in a colon.
    fn why_no_colon(&self, name_start: usize) -> &'static str {
        let named = self.at > name_start;
        match self.bytes[self.at] {
            b' ' | b'\t' if named => "A field name is followed by a space before the colon.",
            b' ' | b'\t' => "A field line is folded.",
            b':' => "A field name is empty.",
            b'\r' | b'\n' => "A field line has no colon, or ends in an LF without a CR.",
            _ => "A field name holds a byte that is not allowed in it.",
        }
    }
}
