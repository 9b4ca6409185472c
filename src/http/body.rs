//! Reads a request body only to throw it away: nobody needs one on a static site, but the next
//! request on the connection begins where it ends.

use super::framing::Framing;
use super::grammar::{hex_value, is_field_text, is_tchar};
use super::reject::Reject;
use super::status::Status;

/// Chunk extensions, in bytes over the whole body, whitespace and semicolons included.
const MAX_EXTENSION_BYTES: u16 = 1024;
/// The trailer section, in bytes, line ends included.
const MAX_TRAILER_BYTES: u16 = 8192;
/// The trailer section, in lines.
const MAX_TRAILER_LINES: u8 = 100;
/// A chunk size in digits without its leading zeros: what 64 bits hold.
const MAX_SIZE_DIGITS: u8 = 16;
/// Leading zeros of one chunk size. RFC 9112 section 7.1 sets no bound, but there must be some.
const MAX_SIZE_ZEROS: u16 = 256;

/// Finds the end of one body. Takes its input in pieces of any size; the outcome does not depend on
/// where they are cut.
///
/// Whitespace in a chunk line is accepted where RFC 9112 section 7.1.1 obliges a recipient to parse
/// it, around the `;` and `=` of an extension, and nowhere else: `5 ;a=b` is a chunk, `5 ` is not.
#[derive(Debug)]
pub struct BodyDecoder {
    /// Bytes of body (Length) or of this chunk still to come; while a chunk size is being read,
    /// its value so far.
    remaining: u64,
    /// Bytes of chunk data that may still be announced.
    allowance: u64,
    extension_bytes: u16,
    trailer_bytes: u16,
    trailer_lines: u8,
    /// Leading zeros of this chunk size.
    size_zeros: u16,
    /// Its digits behind them.
    size_digits: u8,
    state: ChunkState,
}

/// What the next byte is expected to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChunkState {
    Done,
    /// Body bytes delimited by Content-Length.
    Length,
    /// A digit of a chunk size, or what ends it.
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

/// What one call of [`BodyDecoder::decode`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodedBody {
    /// How many bytes at the front of the input belong to the body. All of them unless `done`.
    pub consumed: usize,
    /// Whether the body is complete; what follows is the next request.
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
    /// A decoder for the body behind a head with this framing. `max_bytes` bounds the body's own
    /// bytes, without chunk lines and trailers.
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

    /// Discards as much of `input` as belongs to the body.
    ///
    /// # Errors
    ///
    /// 400 for broken chunked syntax, 413 for chunks that add up to more than the limit, 431 for
    /// trailers over their bounds. The decoder must not be used after an error.
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

    /// Passes over up to `available` bytes of data; returns how many.
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

    /// A whole chunk line has been read. The limit is judged here, not digit by digit, so that a
    /// malformed line is 400 however large its number is.
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
            // A CR may stand where the line is complete, and is not part of the extensions.
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

    /// Trailer fields obey the syntax of field lines (RFC 9112 section 7.1.2) and are then forgotten.
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
