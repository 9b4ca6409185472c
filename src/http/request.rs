//! Parses the head of a request: request line and field lines (RFC 9112 sections 3 and 5).
//!
//! [`parse_head`] is one scan from left to right. Every limit depends on a byte's position, and every error
//! on the first byte that proves it, never on the amount in the buffer. So the outcome does not depend on how
//! the network cut the bytes. A head that was refused or complete stays so whatever follows; only "more is
//! needed" can change.
//!
//! The parsing of a head that arrives in pieces continues where the last piece ended ([`resume_head`]). A
//! complete head is parsed once more from its start. So each byte is scanned a bounded number of times,
//! however small the pieces are. Between calls the caller keeps only a [`HeadProgress`].

use super::fields::{FieldSpan, Fields, list_members};
use super::framing::{Framing, FramingFields};
use super::method::Method;
use super::scheme::Scheme;
use super::target::is_host_and_port;
use super::version::Version;

mod scan_state;
mod scanner;

#[cfg(test)]
mod properties;
#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod work;

pub use super::reject::Reject;
pub use super::target::Target;
use scan_state::{ScanState, ScanStop, note_scanned};
use scanner::{FieldLine, RequestLine, Scanner};

/// The limits of a request head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// The longest request target, in bytes. Above it: 414.
    pub target_bytes: usize,
    /// The longest head in bytes, from the first byte given (skipped empty lines included) to the empty line
    /// that ends it. Above it: 431. At most 2^32-1; larger values count as that. A buffer of this size is
    /// always large enough.
    pub head_bytes: usize,
    /// The most field lines. Above it: 431.
    pub headers: usize,
}

/// The outcome of parsing the bytes received so far.
#[derive(Debug, Clone, Copy)]
pub enum Parsed<'b, 's> {
    /// The head is incomplete, and no byte so far is wrong.
    Partial {
        /// Whether a byte of the request line has arrived; empty lines before it do not count.
        started: bool,
        /// The method, if it has arrived: a 408 to HEAD has no body either.
        method: Option<Method>,
        /// The state from which [`resume_head`] continues.
        progress: HeadProgress,
    },
    /// The head is complete.
    Complete {
        /// The parsed head.
        head: RequestHead<'b, 's>,
        /// The length in bytes, from the skipped empty lines to the final CRLF.
        consumed: usize,
    },
}

/// A valid request head. Borrows the buffer it was parsed from and the caller's spans.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'b, 's> {
    /// The class of the method token.
    pub method: Method,
    /// The parsed request target.
    pub target: Target<'b>,
    /// The version to answer with.
    pub version: Version,
    /// The requested host and port: those in the target if it names any, else the Host field (RFC 9112
    /// section 3.3). `None` only in HTTP/1.0.
    pub host: Option<&'b [u8]>,
    /// How the body is delimited.
    pub framing: Framing,
    /// The options of the Connection field.
    pub connection: ConnectionOptions,
    /// The expectation of the Expect field.
    pub expect: Expectation,
    /// Whether there is a Via field, which a proxy adds.
    pub via: bool,
    /// Whether there is a Proxy-Connection field, which an old proxy may have passed on.
    pub proxy_connection: bool,
    /// Whether there is a precondition, If-Range or Range field (RFC 9110 sections 13.1 and 14.2). Most
    /// requests have none, so their field lines need not be searched.
    pub is_conditional: bool,
    /// Whether there is a Range field (RFC 9110 section 14.2).
    pub has_range: bool,
    /// Whether there is an Accept-Encoding field (RFC 9110 section 12.5.3).
    pub has_accept_encoding: bool,
    /// The value of the Accept-Encoding field, if it has a single line.
    pub only_accept_encoding: Option<&'b [u8]>,
    /// Every field line.
    pub fields: Fields<'b, 's>,
    /// The request line without its CRLF, for the access log.
    pub request_line: &'b [u8],
    /// Whether the target is an https URI.
    pub needs_secure_connection: bool,
}

impl<'b> RequestHead<'b, '_> {
    /// Whether the request came by another `scheme` than its target needs: an https URI over a plain connection (RFC
    /// 9110 section 7.4).
    #[must_use]
    pub fn is_misdirected(&self, scheme: Scheme) -> bool {
        self.needs_secure_connection && scheme == Scheme::Http
    }

    /// The method as it was sent; 1 to 64 bytes.
    #[must_use]
    pub fn method_token(&self) -> &'b [u8] {
        self.words().next().unwrap_or_default()
    }

    /// The request target as it was sent.
    #[must_use]
    pub fn raw_target(&self) -> &'b [u8] {
        self.words().nth(1).unwrap_or_default()
    }

    /// The three words of the request line, which single spaces separate.
    fn words(&self) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        self.request_line.split(|&byte| byte == b' ')
    }
}

/// The options of the Connection field that matter here (RFC 9110 section 7.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectionOptions {
    /// `close` is present.
    pub close: bool,
    /// `keep-alive` is present.
    pub keep_alive: bool,
}

/// The Expect field (RFC 9110 section 10.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expectation {
    /// Absent, empty, or a 100-continue from HTTP/1.0, which must be ignored.
    #[default]
    None,
    /// 100-continue and no other expectation.
    Continue,
    /// Another expectation: 417.
    Other,
}

/// Parses one request head from the front of `buf`.
///
/// `spans` is cleared and filled. A caller that passes one `Vec` to every call stops allocating.
///
/// The outcome depends on the bytes alone: if a prefix of `buf` was refused or complete, `buf` is refused for
/// the same reason or complete at the same length.
///
/// # Errors
///
/// 400 for broken syntax, 414, 431, 501 for a transfer coding, 505. Every well-formed
/// method is accepted.
pub fn parse_head<'b, 's>(
    buf: &'b [u8],
    limits: &HeadLimits,
    spans: &'s mut Vec<FieldSpan>,
) -> Result<Parsed<'b, 's>, Reject> {
    spans.clear();
    let (window, head_bytes) = window(buf, limits);
    let mut scanner = Scanner::new(window, head_bytes);
    let mut progress = HeadProgress::default();
    match read_head(&mut scanner, limits, spans, &mut progress) {
        Ok(line) => {
            let fields = Fields::new(window, spans);
            let head = progress
                .known
                .complete(line, fields)
                .map_err(|reject| scanner.explain(reject))?;
            Ok(Parsed::Complete {
                head,
                consumed: scanner.position(),
            })
        }
        Err(stop) => stopped(stop, &scanner, spans, progress),
    }
}

/// Continues with a head that is partly parsed. The outcome is that of [`parse_head`] with the whole `buf`,
/// but bytes parsed before are not scanned again.
///
/// `progress` is the result of the last call with a prefix of `buf`, under the same limits.
///
/// # Errors
///
/// Those of [`parse_head`].
pub fn resume_head<'b, 's>(
    buf: &'b [u8],
    limits: &HeadLimits,
    spans: &'s mut Vec<FieldSpan>,
    progress: &HeadProgress,
) -> Result<Parsed<'b, 's>, Reject> {
    if progress.state == ScanState::Start {
        return parse_head(buf, limits, spans);
    }
    spans.clear();
    let (window, head_bytes) = window(buf, limits);
    let mut progress = *progress;
    let mut scanner = Scanner::resume(window, head_bytes, progress.state, progress.method);
    match read_on(&mut scanner, limits, spans, &mut progress) {
        // There are no spans for field lines in earlier pieces.
        Ok(()) => parse_head(buf, limits, spans),
        Err(stop) => stopped(stop, &scanner, spans, progress),
    }
}

/// The part of `buf` that may belong to the head, and the longest head. No byte after the limit is ever
/// looked at, so the limit depends on position only.
fn window<'b>(buf: &'b [u8], limits: &HeadLimits) -> (&'b [u8], usize) {
    let head_bytes = limits.head_bytes.min(u32::MAX as usize);
    (&buf[..buf.len().min(head_bytes)], head_bytes)
}

/// The state of an incomplete head's parsing.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeadProgress {
    state: ScanState,
    method: Option<Method>,
    /// Known after the request line.
    version: Version,
    /// Field lines parsed so far.
    lines: usize,
    known: KnownFields,
}

#[cold]
fn stopped<'b, 's>(
    stop: ScanStop,
    scanner: &Scanner<'b>,
    spans: &[FieldSpan],
    progress: HeadProgress,
) -> Result<Parsed<'b, 's>, Reject> {
    match stop {
        ScanStop::NeedMore => Ok(Parsed::Partial {
            started: scanner.started(),
            method: scanner.method(),
            progress: HeadProgress {
                state: scanner.state(),
                method: scanner.method(),
                lines: progress.lines + spans.len(),
                ..progress
            },
        }),
        ScanStop::Refused(reject) => Err(scanner.explain(reject)),
    }
}

fn read_head<'b>(
    scanner: &mut Scanner<'b>,
    limits: &HeadLimits,
    spans: &mut Vec<FieldSpan>,
    progress: &mut HeadProgress,
) -> Result<RequestLine<'b>, ScanStop> {
    scanner.skip_empty_lines()?;
    let line = scanner.request_line(limits.target_bytes)?;
    progress.version = line.version;
    while let FieldLine::Field(span) = scanner.field_line(spans.len() < limits.headers)? {
        progress.known.take(line.version, scanner, &span)?;
        spans.push(span);
    }
    Ok(line)
}

/// Parses from `progress` to the end of the head.
#[cold]
fn read_on(
    scanner: &mut Scanner<'_>,
    limits: &HeadLimits,
    spans: &mut Vec<FieldSpan>,
    progress: &mut HeadProgress,
) -> Result<(), ScanStop> {
    let mut state = progress.state;
    if let Some(line) = scanner.resume_request_line(state, limits.target_bytes)? {
        progress.version = line.version;
        state = scanner.next_line();
    }
    loop {
        let has_room = progress.lines + spans.len() < limits.headers;
        let FieldLine::Field(span) = scanner.resume_field_line(state, has_room)? else {
            return Ok(());
        };
        progress.known.take(progress.version, scanner, &span)?;
        spans.push(span);
        state = scanner.next_line();
    }
}

/// The values so far of the fields that the server itself understands.
#[derive(Debug, Clone, Copy, Default)]
struct KnownFields {
    host: Option<FieldSpan>,
    framing: FramingFields,
    connection: ConnectionOptions,
    expect: Expectation,
    via: bool,
    proxy_connection: bool,
    is_conditional: bool,
    has_range: bool,
    has_accept_encoding: bool,
    /// The only line of that field; `None` if there are several.
    only_accept_encoding: Option<FieldSpan>,
}

impl KnownFields {
    /// Adds one field line. The length of the name rules out nearly every field at once.
    #[inline(always)]
    fn take(
        &mut self,
        version: Version,
        scanner: &Scanner<'_>,
        span: &FieldSpan,
    ) -> Result<(), Reject> {
        let (name, value) = (scanner.name(span), scanner.value(span));
        note_scanned(value.len());
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match name.len() {
            3 if is("via") => self.via = true,
            4 if is("host") => return self.take_host(value, span),
            5 if is("range") => (self.is_conditional, self.has_range) = (true, true),
            6 if is("expect") => self.take_expect(version, value),
            8 if is("if-match") || is("if-range") => self.is_conditional = true,
            10 if is("connection") => self.take_connection(value),
            13 if is("if-none-match") => self.is_conditional = true,
            14 if is("content-length") => return self.framing.content_length(value),
            15 if is("accept-encoding") => {
                let is_first = !self.has_accept_encoding;
                self.has_accept_encoding = true;
                self.only_accept_encoding = is_first.then_some(*span);
            }
            16 if is("proxy-connection") => self.proxy_connection = true,
            17 if is("transfer-encoding") => {
                if version == Version::Http10 {
                    return Err(Reject::bad_request(
                        "HTTP/1.0 has no Transfer-Encoding field.",
                    ));
                }
                return self.framing.transfer_encoding(value);
            }
            17 if is("if-modified-since") => self.is_conditional = true,
            19 if is("if-unmodified-since") => self.is_conditional = true,
            _ => {}
        }
        Ok(())
    }

    fn take_host(&mut self, value: &[u8], span: &FieldSpan) -> Result<(), Reject> {
        if self.host.is_some() {
            return Err(Reject::bad_request("There are several Host fields."));
        }
        if !is_host_and_port(value) {
            return Err(Reject::bad_request("The Host field is not valid."));
        }
        self.host = Some(*span);
        Ok(())
    }

    fn take_connection(&mut self, value: &[u8]) {
        // Browsers send this value; the shortcut saves parsing a list.
        if value == b"keep-alive" {
            self.connection.keep_alive = true;
            return;
        }
        for option in list_members(value) {
            self.connection.close |= option.eq_ignore_ascii_case(b"close");
            self.connection.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn take_expect(&mut self, version: Version, value: &[u8]) {
        for expectation in list_members(value) {
            if !expectation.eq_ignore_ascii_case(b"100-continue") {
                self.expect = Expectation::Other;
            } else if self.expect == Expectation::None && version == Version::Http11 {
                self.expect = Expectation::Continue;
            }
        }
    }

    /// Makes the checks that need the whole head. Returns the head.
    fn complete<'b, 's>(
        &self,
        line: RequestLine<'b>,
        fields: Fields<'b, 's>,
    ) -> Result<RequestHead<'b, 's>, Reject> {
        // RFC 9112 section 3.2: Host is required even if the target names a host.
        if self.host.is_none() && line.version == Version::Http11 {
            return Err(Reject::bad_request("The Host field is missing."));
        }
        let framing = self.framing.decide()?;
        Ok(RequestHead {
            method: line.method,
            target: line.target,
            version: line.version,
            host: line.authority.or_else(|| fields.value_at(self.host?)),
            framing,
            connection: self.connection,
            expect: self.expect,
            via: self.via,
            proxy_connection: self.proxy_connection,
            is_conditional: self.is_conditional,
            has_range: self.has_range,
            has_accept_encoding: self.has_accept_encoding,
            only_accept_encoding: self.only_accept_encoding.and_then(|it| fields.value_at(it)),
            fields,
            request_line: line.text,
            needs_secure_connection: line.needs_secure_connection,
        })
    }
}
