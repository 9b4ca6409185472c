//! Message framing (RFC 9112 section 6.3), without leniency: decides where a request ends.

use super::grammar::{quoted_string_len, token_len, trim_ows_start};
use super::reject::Reject;
use super::status::Status;

#[cfg(test)]
mod tests;

/// How the body of a request is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// No body: neither Content-Length nor Transfer-Encoding.
    None,
    /// Content-Length, in bytes; may be 0.
    Length(u64),
    /// Transfer-Encoding: chunked, and nothing else.
    Chunked,
}

/// The framing fields of the head so far, added line by line.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FramingFields {
    content_length: Option<u64>,
    codings: TransferCodings,
}

/// The transfer codings listed so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum TransferCodings {
    #[default]
    Absent,
    /// There is a field without any coding so far.
    Empty,
    /// Chunked, and last so far.
    Chunked,
    /// Unknown codings without chunked.
    Unknown,
    /// Unknown codings, then chunked.
    UnknownThenChunked,
}

const MALFORMED_CODING: Reject = Reject::bad_request("The Transfer-Encoding field is malformed.");

impl FramingFields {
    /// Adds a Content-Length line, which holds digits only. A list or a second line is refused even if the
    /// lengths agree: repeated lengths may be request smuggling (RFC 9112 section 6.3, item 5).
    pub(super) fn content_length(&mut self, value: &[u8]) -> Result<(), Reject> {
        if self.content_length.is_some() {
            return Err(Reject::bad_request(
                "There are several Content-Length fields.",
            ));
        }
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(Reject::bad_request(
                "The Content-Length field is not a number.",
            ));
        }
        let length = value.iter().try_fold(0u64, |length, digit| {
            length.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
        });
        if length.is_none() {
            return Err(Reject::bad_request(
                "The Content-Length does not fit 64 bits.",
            ));
        }
        self.content_length = length;
        Ok(())
    }

    /// Adds a Transfer-Encoding line of an HTTP/1.1 request (RFC 9112 section 6.1).
    pub(super) fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Reject> {
        // All lines form one list, in which an empty line is an empty member (RFC 9110 section 5.6.1.2).
        if self.codings == TransferCodings::Absent {
            self.codings = TransferCodings::Empty;
        }
        let mut rest = value;
        loop {
            rest = trim_ows_start(rest);
            if let [b',', tail @ ..] = rest {
                rest = tail;
                continue;
            }
            if rest.is_empty() {
                break;
            }
            let (name, tail) = rest.split_at(token_len(rest));
            if name.is_empty() {
                return Err(MALFORMED_CODING);
            }
            let after_parameters = transfer_parameters(tail).ok_or(MALFORMED_CODING)?;
            if !matches!(after_parameters, [] | [b',', ..]) {
                return Err(MALFORMED_CODING);
            }
            let has_parameters = trim_ows_start(tail).len() != after_parameters.len();
            self.coding(name, has_parameters)?;
            rest = after_parameters;
        }
        Ok(())
    }

    fn coding(&mut self, name: &[u8], has_parameters: bool) -> Result<(), Reject> {
        let is_chunked = name.eq_ignore_ascii_case(b"chunked");
        self.codings = match self.codings {
            TransferCodings::Chunked | TransferCodings::UnknownThenChunked if is_chunked => {
                return Err(Reject::bad_request("The chunked coding is applied twice."));
            }
            TransferCodings::Chunked | TransferCodings::UnknownThenChunked => {
                return Err(Reject::bad_request(
                    "The chunked coding is not the last one.",
                ));
            }
            // RFC 9112 section 7.1: chunked has no parameters.
            _ if is_chunked && has_parameters => return Err(MALFORMED_CODING),
            TransferCodings::Absent | TransferCodings::Empty if is_chunked => {
                TransferCodings::Chunked
            }
            TransferCodings::Unknown if is_chunked => TransferCodings::UnknownThenChunked,
            TransferCodings::Absent | TransferCodings::Empty | TransferCodings::Unknown => {
                TransferCodings::Unknown
            }
        };
        Ok(())
    }

    /// The framing of the request, after the whole head.
    pub(super) fn decide(&self) -> Result<Framing, Reject> {
        match (self.codings, self.content_length) {
            (TransferCodings::Absent, None) => Ok(Framing::None),
            (TransferCodings::Absent, Some(length)) => Ok(Framing::Length(length)),
            // RFC 9112 section 6.1: both fields are a sign of request smuggling, whatever the codings are.
            (_, Some(_)) => Err(Reject::bad_request(
                "There are both a Content-Length and a Transfer-Encoding field.",
            )),
            (TransferCodings::Chunked, None) => Ok(Framing::Chunked),
            // RFC 9112 section 6.3, item 4: the end of the body is not known.
            (TransferCodings::Empty | TransferCodings::Unknown, None) => Err(Reject::bad_request(
                "The last transfer coding is not chunked.",
            )),
            (TransferCodings::UnknownThenChunked, None) => Err(Reject::new(
                Status::NOT_IMPLEMENTED,
                "Only the chunked transfer coding is implemented.",
            )),
        }
    }
}

/// The bytes after the parameters of a coding, without leading whitespace; `None` if they are malformed. A
/// parameter is `OWS ";" OWS token BWS "=" BWS ( token / quoted-string )` (RFC 9110 section 10.1.4).
fn transfer_parameters(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        rest = trim_ows_start(rest);
        let [b';', tail @ ..] = rest else {
            return Some(rest);
        };
        let parameter = trim_ows_start(tail);
        let name_len = token_len(parameter);
        let [b'=', value @ ..] = trim_ows_start(&parameter[name_len..]) else {
            return None;
        };
        let value = trim_ows_start(value);
        let value_len = quoted_string_len(value).unwrap_or_else(|| token_len(value));
        if name_len == 0 || value_len == 0 {
            return None;
        }
        rest = &value[value_len..];
    }
}
