//! The head of a request: request line and field lines (RFC 9112 sections 3 and 5).
//!
//! [`parse_head`] is one scan from left to right. Every limit is judged by a byte's position and
//! every error at the first byte that proves it, never by how much happens to be in the buffer. So
//! the outcome does not depend on how the network cut the bytes: what was refused or complete stays
//! so whatever follows, and only "more is needed" can change.
//!
//! A head that arrives in pieces is read on where the last piece ended ([`resume_head`]), and once more
//! from its start when it is complete: so each byte is looked at a bounded number of times, however
//! small the pieces are. Between the calls there is nothing but a [`HeadProgress`], which the caller keeps.

use super::fields::{FieldSpan, Fields, list_members};
use super::framing::{Framing, FramingFields};
use super::method::Method;
use super::status::Status;
use super::target::is_host_and_port;
use super::version::Version;

mod place;
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
use place::{Halt, ScanPlace, note_looked_at};
use scanner::{FieldLine, RequestLine, Scanner};

/// The bounds of a request head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// The longest request target, in bytes. Above it: 414.
    pub target_bytes: usize,
    /// The longest head in bytes, from the first byte given (empty lines that are skipped included)
    /// to the empty line that ends it. Above it: 431. At most 2^32-1; more is read as that. A
    /// buffer of this size is always enough.
    pub head_bytes: usize,
    /// The most field lines. Above it: 431.
    pub headers: usize,
}

/// What the bytes so far amount to.
#[derive(Debug, Clone, Copy)]
pub enum Parsed<'b, 's> {
    /// The head is not complete, and nothing is wrong with it so far.
    Partial {
        /// Whether a byte of the request line has come; empty lines before it do not count.
        started: bool,
        /// The method, once it has come: a 408 to HEAD has no body either.
        method: Option<Method>,
        /// Where [`resume_head`] goes on.
        progress: HeadProgress,
    },
    /// The head is complete.
    Complete {
        /// What it says.
        head: RequestHead<'b, 's>,
        /// How long it is in bytes, from the skipped empty lines to the final CRLF.
        consumed: usize,
    },
}

/// A valid request head. Borrows the buffer it was read from and the caller's spans.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'b, 's> {
    /// What the method token means to us.
    pub method: Method,
    /// What the target asks for.
    pub target: Target<'b>,
    /// The version to answer with.
    pub version: Version,
    /// The host and port that are asked for: the target's own if it names one, else the Host field
    /// (RFC 9112 section 3.3). `None` only in HTTP/1.0.
    pub host: Option<&'b [u8]>,
    /// How the body is delimited.
    pub framing: Framing,
    /// What the Connection field says.
    pub connection: ConnectionOptions,
    /// What the Expect field says.
    pub expect: Expectation,
    /// Whether there is a Via field: a proxy stands between.
    pub via: bool,
    /// Whether there is a Proxy-Connection field: a proxy may have passed it on blindly.
    pub proxy_connection: bool,
    /// Whether there is a precondition, If-Range or Range field (RFC 9110 sections 13.1 and 14.2).
    /// Most requests have none, and nobody needs to look for one among the field lines.
    pub is_conditional: bool,
    /// Whether there is a Range field (RFC 9110 section 14.2).
    pub has_range: bool,
    /// Whether there is an Accept-Encoding field (RFC 9110 section 12.5.3).
    pub has_accept_encoding: bool,
    /// Every field line.
    pub fields: Fields<'b, 's>,
    /// The request line without its CRLF, for the access log.
    pub request_line: &'b [u8],
}

impl<'b> RequestHead<'b, '_> {
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

    /// The three words of the request line: each ends at the only space behind it.
    fn words(&self) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        self.request_line.split(|&byte| byte == b' ')
    }
}

/// The options of the Connection field that matter here (RFC 9110 section 7.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectionOptions {
    /// `close` is among them.
    pub close: bool,
    /// `keep-alive` is among them.
    pub keep_alive: bool,
}

/// The Expect field (RFC 9110 section 10.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expectation {
    /// Absent, empty, or a 100-continue from HTTP/1.0, which must be ignored.
    #[default]
    None,
    /// 100-continue and nothing else.
    Continue,
    /// Something else is expected: 417.
    Other,
}

/// Reads one request head from the front of `buf`.
///
/// `spans` is cleared and filled; hand the same `Vec` to every call and it stops allocating.
///
/// The outcome is a matter of the bytes alone: if a prefix of `buf` was refused or complete, `buf`
/// is refused for the same reason or complete at the same length.
///
/// # Errors
///
/// 400 for broken syntax, 414, 421 for an https URI, 431, 501 for a transfer coding, 505. A method is
/// not judged here.
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
                .facts
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

/// Reads on in a head of which a part has been read: [`parse_head`] of the whole `buf`, with the same
/// outcome, but without looking again at what was read before.
///
/// `progress` is what the last call said of a prefix of `buf`, under the same limits.
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
    if progress.place == ScanPlace::Start {
        return parse_head(buf, limits, spans);
    }
    spans.clear();
    let (window, head_bytes) = window(buf, limits);
    let mut progress = *progress;
    let mut scanner = Scanner::resume(window, head_bytes, progress.place, progress.method);
    match read_on(&mut scanner, limits, spans, &mut progress) {
        // Field lines that came in earlier pieces have left no span.
        Ok(()) => parse_head(buf, limits, spans),
        Err(stop) => stopped(stop, &scanner, spans, progress),
    }
}

/// The part of `buf` that may belong to the head, and the longest head. Nothing behind the limit is ever
/// looked at: this makes the limit a matter of position.
fn window<'b>(buf: &'b [u8], limits: &HeadLimits) -> (&'b [u8], usize) {
    let head_bytes = limits.head_bytes.min(u32::MAX as usize);
    (&buf[..buf.len().min(head_bytes)], head_bytes)
}

/// How far the reading of a head has come whose bytes ran out.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeadProgress {
    place: ScanPlace,
    method: Option<Method>,
    /// Known once the request line has been read.
    version: Version,
    /// Field lines that have been read.
    lines: usize,
    facts: HeadFacts,
}

#[cold]
fn stopped<'b, 's>(
    stop: Halt,
    scanner: &Scanner<'b>,
    spans: &[FieldSpan],
    progress: HeadProgress,
) -> Result<Parsed<'b, 's>, Reject> {
    match stop {
        Halt::Starved => Ok(Parsed::Partial {
            started: scanner.started(),
            method: scanner.method(),
            progress: HeadProgress {
                place: scanner.place(),
                method: scanner.method(),
                lines: progress.lines + spans.len(),
                ..progress
            },
        }),
        Halt::Refused(reject) => Err(scanner.explain(reject)),
    }
}

fn read_head<'b>(
    scanner: &mut Scanner<'b>,
    limits: &HeadLimits,
    spans: &mut Vec<FieldSpan>,
    progress: &mut HeadProgress,
) -> Result<RequestLine<'b>, Halt> {
    scanner.skip_empty_lines()?;
    let line = scanner.request_line(limits.target_bytes)?;
    progress.version = line.version;
    while let FieldLine::Field(span) = scanner.field_line(spans.len() < limits.headers)? {
        progress.facts.take(line.version, scanner, &span)?;
        spans.push(span);
    }
    Ok(line)
}

/// Reads from where `progress` says to the end of the head.
#[cold]
fn read_on(
    scanner: &mut Scanner<'_>,
    limits: &HeadLimits,
    spans: &mut Vec<FieldSpan>,
    progress: &mut HeadProgress,
) -> Result<(), Halt> {
    let mut place = progress.place;
    if let Some(line) = scanner.resume_request_line(place, limits.target_bytes)? {
        progress.version = line.version;
        place = scanner.next_line();
    }
    loop {
        let has_room = progress.lines + spans.len() < limits.headers;
        let FieldLine::Field(span) = scanner.resume_field_line(place, has_room)? else {
            return Ok(());
        };
        progress.facts.take(progress.version, scanner, &span)?;
        spans.push(span);
        place = scanner.next_line();
    }
}

/// What the fields that the server itself understands have said so far.
#[derive(Debug, Clone, Copy, Default)]
struct HeadFacts {
    host: Option<FieldSpan>,
    framing: FramingFields,
    connection: ConnectionOptions,
    expect: Expectation,
    via: bool,
    proxy_connection: bool,
    is_conditional: bool,
    has_range: bool,
    has_accept_encoding: bool,
}

impl HeadFacts {
    /// Takes one field line. The length of its name rules out nearly every field at once.
    #[inline(always)]
    fn take(
        &mut self,
        version: Version,
        scanner: &Scanner<'_>,
        span: &FieldSpan,
    ) -> Result<(), Reject> {
        let (name, value) = (scanner.name(span), scanner.value(span));
        note_looked_at(value.len());
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
            15 if is("accept-encoding") => self.has_accept_encoding = true,
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
        // What browsers send, without the cost of a list.
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

    /// The checks that need the whole head, and the result.
    fn complete<'b, 's>(
        &self,
        line: RequestLine<'b>,
        fields: Fields<'b, 's>,
    ) -> Result<RequestHead<'b, 's>, Reject> {
        // RFC 9112 section 3.2: Host is owed even if the target names a host itself.
        if self.host.is_none() && line.version == Version::Http11 {
            return Err(Reject::bad_request("The Host field is missing."));
        }
        let framing = self.framing.decide()?;
        // RFC 9110 section 7.4. Last, because a broken head is broken wherever it was meant to go.
        if line.needs_secure_connection {
            return Err(Reject::new(
                Status::MISDIRECTED_REQUEST,
                "An https resource is not served over an unsecured connection.",
            ));
        }
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
            fields,
            request_line: line.text,
        })
    }
}
