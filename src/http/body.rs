//! Finds the end of a request body and discards the body. A static site does not use it, but the next request
//! on the connection begins after it.

use super::framing::Framing;
use super::grammar::{hex_value, is_field_text, is_tchar};
use super::reject::Reject;
use super::status::Status;

/// Bytes of chunk extensions in the whole body, whitespace and semicolons included.
const MAX_EXTENSION_BYTES: u16 = 1024;
/// Bytes of the trailer section, line ends included.
const MAX_TRAILER_BYTES: u16 = 8192;
/// Lines of the trailer section.
const MAX_TRAILER_LINES: u8 = 100;
/// Digits of a chunk size without its leading zeros: 64 bits.
const MAX_SIZE_DIGITS: u8 = 16;
/// Leading zeros of one chunk size. RFC 9112 section 7.1 sets no bound, but a server needs one.
const MAX_SIZE_ZEROS: u16 = 256;

/// Finds the end of one body. The input comes in pieces of any size, and the result does not depend on where
/// they are cut.
///
/// In a chunk line, whitespace is accepted only where RFC 9112 section 7.1.1 requires a recipient to parse
/// it, around the `;` and `=` of an extension: `5 ;a=b` is a chunk, `5 ` is not.
#[derive(Debug)]
pub struct BodyDecoder {
    /// Remaining bytes of the body (Length) or of this chunk. While a chunk size is being read, its value so
    /// far.
    remaining: u64,
    /// Bytes that further chunks may have.
    allowance: u64,
    extension_bytes: u16,
    trailer_bytes: u16,
    trailer_lines: u8,
    /// Leading zeros of this chunk size.
    size_zeros: u16,
    /// Digits of this chunk size after the zeros.
    size_digits: u8,
    state: ChunkState,
}

/// The grammar element that the next byte must belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChunkState {
    Done,
    /// Body bytes delimited by Content-Length.
    Length,
    /// A digit of a chunk size, or the byte after it.
    Size,
    /// Whitespace after a size or an extension: only `;` may follow.
    BeforeSemicolon,
    /// After `;`: whitespace, then a name.
    BeforeExtensionName,
    ExtensionName,
    /// Whitespace after an extension's name: only `=` or `;` may follow.
    AfterExtensionName,
    /// After `=`: whitespace, then a token or a quoted string.
    BeforeExtensionValue,
    ExtensionToken,
    ExtensionQuoted,
    /// The byte after a backslash.
    ExtensionQuotedPair,
    /// After a closing quote.
    ExtensionEnd,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    /// The LF that ends the body.
    FinalLf,
}

/// The result of one call of [`BodyDecoder::decode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodedBody {
    /// The number of bytes at the front of the input that belong to the body: all of them unless `done`.
    pub consumed: usize,
    /// Whether the body is complete, so that the next request follows.
    pub done: bool,
}

const BAD_SIZE: Reject = Reject::bad_request("A chunk size is malformed.");
const BAD_EXTENSION: Reject = Reject::bad_request("A chunk extension is malformed.");
const BAD_TRAILER: Reject = Reject::bad_request("A trailer field is malformed.");
const TOO_LARGE: Reject = Reject::new(
    Status::CONTENT_TOO_LARGE,
    "The request body is larger than this server accepts.",
);
const TRAILERS_TOO_LARGE: Reject = Reject::new(
    Status::HEADER_FIELDS_TOO_LARGE,
    "The trailer section is larger than this server accepts.",
);

impl BodyDecoder {
    /// A decoder for the body after a head with this framing. `max_bytes` limits the content,
    /// without chunk lines and trailers.
    ///
    /// # Errors
    ///
    /// 413 if Content-Length is above `max_bytes`.
    pub fn new(framing: Framing, max_bytes: u64) -> Result<BodyDecoder, Reject> {
        let (state, remaining) = match framing {
            Framing::None | Framing::Length(0) => (ChunkState::Done, 0),
            Framing::Length(length) if length > max_bytes => return Err(TOO_LARGE),
            Framing::Length(length) => (ChunkState::Length, length),
            Framing::Chunked => (ChunkState::Size, 0),
        };
        Ok(BodyDecoder {
            remaining,
            allowance: max_bytes,
            extension_bytes: 0,
            trailer_bytes: 0,
            trailer_lines: 0,
            size_zeros: 0,
            size_digits: 0,
            state,
        })
    }

    /// Whether the body is complete.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == ChunkState::Done
    }

    /// Discards the part of `input` that belongs to the body.
    ///
    /// # Errors
    ///
    /// 400 for broken chunked syntax, 413 for chunks that add up to more than the limit, 431 for trailers
    /// over their limits. The decoder must not be used after an error.
    pub fn decode(&mut self, input: &[u8]) -> Result<DecodedBody, Reject> {
        let mut consumed = 0;
        while consumed < input.len() && self.state != ChunkState::Done {
            if matches!(self.state, ChunkState::Length | ChunkState::Data) {
                consumed += self.skip(input.len() - consumed);
            } else {
                self.state = self.next_state(input[consumed])?;
                consumed += 1;
            }
        }
        Ok(DecodedBody {
            consumed,
            done: self.is_done(),
        })
    }

    /// Skips up to `available` bytes of data and returns their number.
    fn skip(&mut self, available: usize) -> usize {
        let skipped = usize::try_from(self.remaining).map_or(available, |n| n.min(available));
        self.remaining -= skipped as u64;
        if self.remaining == 0 {
            self.state = match self.state {
                ChunkState::Data => ChunkState::DataCr,
                _ => ChunkState::Done,
            };
        }
        skipped
    }

    fn next_state(&mut self, byte: u8) -> Result<ChunkState, Reject> {
        match self.state {
            ChunkState::Size => self.in_size(byte),
            ChunkState::SizeLf => self.at_size_end(byte),
            ChunkState::DataCr if byte == b'\r' => Ok(ChunkState::DataLf),
            ChunkState::DataLf if byte == b'\n' => {
                self.size_zeros = 0;
                self.size_digits = 0;
                Ok(ChunkState::Size)
            }
            ChunkState::DataCr | ChunkState::DataLf => {
                Err(Reject::bad_request("A chunk is longer than its size says."))
            }
            ChunkState::TrailerStart
            | ChunkState::TrailerName
            | ChunkState::TrailerValue
            | ChunkState::TrailerLf
            | ChunkState::FinalLf => self.in_trailers(byte),
            _ => self.in_extensions(byte),
        }
    }

    fn in_size(&mut self, byte: u8) -> Result<ChunkState, Reject> {
        if byte == b'0' && self.size_digits == 0 {
            if self.size_zeros == MAX_SIZE_ZEROS {
                return Err(Reject::bad_request(
                    "A chunk size has more than 256 leading zeros.",
                ));
            }
            self.size_zeros += 1;
            return Ok(ChunkState::Size);
        }
        if let Some(digit) = hex_value(byte) {
            if self.size_digits == MAX_SIZE_DIGITS {
                return Err(Reject::bad_request("A chunk size does not fit 64 bits."));
            }
            self.size_digits += 1;
            self.remaining = self.remaining << 4 | u64::from(digit);
            return Ok(ChunkState::Size);
        }
        match byte {
            _ if self.size_digits == 0 && self.size_zeros == 0 => Err(BAD_SIZE),
            b'\r' => Ok(ChunkState::SizeLf),
            b';' | b' ' | b'\t' => self.in_extensions(byte),
            _ => Err(BAD_SIZE),
        }
    }

    /// Ends a complete chunk line. The limit is checked here, not digit by digit, so that a malformed line is
    /// 400 however large its number is.
    fn at_size_end(&mut self, byte: u8) -> Result<ChunkState, Reject> {
        if byte != b'\n' {
            return Err(BAD_SIZE);
        }
        if self.remaining == 0 {
            return Ok(ChunkState::TrailerStart);
        }
        self.allowance = self
            .allowance
            .checked_sub(self.remaining)
            .ok_or(TOO_LARGE)?;
        Ok(ChunkState::Data)
    }

    /// `*( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] )`
    fn in_extensions(&mut self, byte: u8) -> Result<ChunkState, Reject> {
        use ChunkState::*;
        let next = match (self.state, byte) {
            // A CR may follow a complete line, and is not part of the extensions.
            (ExtensionName | ExtensionToken | ExtensionEnd, b'\r') => return Ok(SizeLf),
            (Size | BeforeSemicolon | ExtensionToken | ExtensionEnd, b';') => BeforeExtensionName,
            (ExtensionName | AfterExtensionName, b';') => BeforeExtensionName,
            (ExtensionName | AfterExtensionName, b'=') => BeforeExtensionValue,
            (Size | BeforeSemicolon | ExtensionToken | ExtensionEnd, b' ' | b'\t') => {
                BeforeSemicolon
            }
            (ExtensionName | AfterExtensionName, b' ' | b'\t') => AfterExtensionName,
            (BeforeExtensionName | BeforeExtensionValue, b' ' | b'\t') => self.state,
            (BeforeExtensionName | ExtensionName, _) if is_tchar(byte) => ExtensionName,
            (BeforeExtensionValue, b'"') => ExtensionQuoted,
            (BeforeExtensionValue | ExtensionToken, _) if is_tchar(byte) => ExtensionToken,
            (ExtensionQuoted, b'"') => ExtensionEnd,
            (ExtensionQuoted, b'\\') => ExtensionQuotedPair,
            (ExtensionQuoted | ExtensionQuotedPair, _) if is_field_text(byte) => ExtensionQuoted,
            _ => return Err(BAD_EXTENSION),
        };
        if self.extension_bytes == MAX_EXTENSION_BYTES {
            return Err(Reject::bad_request(
                "The chunk extensions are longer than 1 KiB.",
            ));
        }
        self.extension_bytes += 1;
        Ok(next)
    }

    /// Checks the syntax of trailer fields, which is that of field lines (RFC 9112 section 7.1.2), and
    /// discards them.
    fn in_trailers(&mut self, byte: u8) -> Result<ChunkState, Reject> {
        use ChunkState::*;
        let next = match (self.state, byte) {
            (FinalLf, b'\n') => return Ok(Done),
            (TrailerStart, b'\r') => return Ok(FinalLf),
            (TrailerStart, _) if is_tchar(byte) => {
                if self.trailer_lines == MAX_TRAILER_LINES {
                    return Err(TRAILERS_TOO_LARGE);
                }
                self.trailer_lines += 1;
                TrailerName
            }
            (TrailerName, b':') => TrailerValue,
            (TrailerName, _) if is_tchar(byte) => TrailerName,
            (TrailerValue, b'\r') => TrailerLf,
            (TrailerValue, _) if is_field_text(byte) => TrailerValue,
            (TrailerLf, b'\n') => TrailerStart,
            _ => return Err(BAD_TRAILER),
        };
        if self.trailer_bytes == MAX_TRAILER_BYTES {
            return Err(TRAILERS_TOO_LARGE);
        }
        self.trailer_bytes += 1;
        Ok(next)
    }
}
