//! Decoding a file from its content coding, in slices and within limits.
//!
//! # Limits
//!
//! The caller limits the size of the decoded content, so a few bytes that decode to gigabytes cost no more
//! than that. The memory of a decoder is limited by its window: 32 KiB for gzip, 8 MiB for zstd (the most
//! that RFC 9659 lets a sender use) and 16 MiB for brotli (RFC 7932).

use std::fmt;
use std::io::{self, Cursor, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::content_copy::ContentCopy;
use super::representation::Content;
use crate::http::accept_encoding::Coding;
use crate::http::response::FileSource;
use crate::site::waiting::Slice;

/// The number of bytes decoded at a time. Brotli, the slowest, takes about a tenth of a millisecond.
const CHUNK_BYTES: usize = 32 * 1024;

/// The number of bytes that brotli reads from the file at a time.
const BROTLI_INPUT_BYTES: usize = 16 * 1024;

/// The largest window of zstd, as a power of two.
pub(super) const ZSTD_WINDOW_LOG: u32 = 23;

/// The low seven bits of a brotli stream with a larger window than RFC 7932 allows. Such a window has up to
/// a gigabyte, and browsers do not read the stream.
pub(super) const BROTLI_LARGE_WINDOW: u8 = 0x11;

/// Decodes content in slices.
pub struct ContentDecoder {
    decoder: Box<dyn Read + Send>,
    content: Vec<u8>,
    most: usize,
    /// Set when all is decoded: the content is being copied into its final memory.
    copy: Option<ContentCopy>,
}

/// The reason why the content cannot be decoded.
#[derive(Debug)]
pub enum DecodeError {
    /// The content is larger than the caller allows.
    TooLarge,
    /// The file cannot be read, or its bytes are not in the coding.
    Malformed(io::Error),
}

impl ContentDecoder {
    /// Starts to decode `encoded` from `coding`, to at most `most` bytes.
    ///
    /// # Errors
    /// A [`DecodeError`], if the size or the first byte already show it.
    pub fn new(
        coding: Coding,
        encoded: &Content,
        most: u64,
    ) -> Result<ContentDecoder, DecodeError> {
        // Encoded content is hardly ever larger than the content itself.
        if encoded.len() > most {
            return Err(DecodeError::TooLarge);
        }
        let source = source(encoded).map_err(DecodeError::Malformed)?;
        Ok(ContentDecoder {
            decoder: decoder(coding, source).map_err(DecodeError::Malformed)?,
            content: Vec::new(),
            most: usize::try_from(most).unwrap_or(usize::MAX),
            copy: None,
        })
    }

    /// Decodes until `slice` is over. `None` if the content is incomplete then; at its end the content,
    /// once.
    ///
    /// # Errors
    /// As [`DecodeError`] says.
    pub fn go_on(&mut self, slice: &dyn Slice) -> Result<Option<Content>, DecodeError> {
        loop {
            if let Some(copy) = &mut self.copy {
                return Ok(copy.go_on(slice));
            }
            let from = self.content.len();
            if self.content.try_reserve(CHUNK_BYTES).is_err() {
                return Err(DecodeError::TooLarge);
            }
            self.content.resize(from + CHUNK_BYTES, 0);
            let count = read(&mut self.decoder, &mut self.content[from..]);
            let count = count.map_err(DecodeError::Malformed)?;
            self.content.truncate(from + count);
            if count == 0 {
                self.content.shrink_to_fit();
                self.copy = Some(ContentCopy::new(std::mem::take(&mut self.content)));
                continue;
            }
            if self.content.len() > self.most {
                return Err(DecodeError::TooLarge);
            }
            if slice.is_over() {
                return Ok(None);
            }
        }
    }
}

impl fmt::Debug for ContentDecoder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ContentDecoder")
            .field("decoded", &self.content.len())
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

/// A reader of the content of `source`, which is in `coding`.
///
/// # Errors
/// If the window is larger than a client must support, or if there is no memory.
pub fn decoder<'s>(
    coding: Coding,
    mut source: Box<dyn Read + Send + 's>,
) -> io::Result<Box<dyn Read + Send + 's>> {
    Ok(match coding {
        Coding::Identity => source,
        Coding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(source)),
        Coding::Zstd => {
            let mut decoder = zstd::Decoder::new(source)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
        Coding::Brotli => {
            let mut first = [0];
            source.read_exact(&mut first)?;
            if first[0] & 0x7F == BROTLI_LARGE_WINDOW {
                let reason = "the window is larger than RFC 7932 allows";
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
            let source = Cursor::new(first).chain(source);
            Box::new(brotli::Decompressor::new(source, BROTLI_INPUT_BYTES))
        }
    })
}

/// A reader of all bytes of `content`.
fn source(content: &Content) -> io::Result<Box<dyn Read + Send>> {
    let file: Arc<dyn FileSource> = match content {
        Content::Memory(bytes) => return Ok(Box::new(Cursor::new(bytes.clone()))),
        Content::MemfdBody(memfd_body) => memfd_body.clone(),
        Content::Descriptor(file, _) => file.clone(),
    };
    let end = content.len();
    Ok(Box::new(FileSourceReader { file, at: 0, end }))
}

/// Reads a file from its beginning to its end, independently of other readers of the same descriptor.
struct FileSourceReader {
    file: Arc<dyn FileSource>,
    at: u64,
    end: u64,
}

impl Read for FileSourceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let (file, at) = self.file.at(self.at);
        let count = file.read_at(&mut buffer[..wanted], at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Like read(2), and repeated after an interruption.
fn read(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Millis;
    use crate::site::content::content_coding::compress;
    use crate::site::waiting::{FIRST_SLICE_ASKS, FirstSlice, UnboundedSlice};
    use bytes::Bytes;

    fn text(bytes: usize) -> Vec<u8> {
        (0..)
            .flat_map(|line: u32| format!("<li>item {line} of the list</li>\n").into_bytes())
            .take(bytes)
            .collect()
    }

    fn encoded(coding: Coding, content: &[u8]) -> Bytes {
        Bytes::from(compress(coding, content).expect("text compresses"))
    }

    fn bytes(content: Content) -> Vec<u8> {
        match content {
            Content::Memory(bytes) => bytes.to_vec(),
            Content::MemfdBody(memfd_body) => memfd_body.read().expect("pread"),
            Content::Descriptor(..) => panic!("it is in memory"),
        }
    }

    fn decode(coding: Coding, encoded: Bytes, most: u64) -> Result<Vec<u8>, DecodeError> {
        let mut decoding = ContentDecoder::new(coding, &Content::Memory(encoded), most)?;
        let content = decoding.go_on(&UnboundedSlice(Millis(0)))?;
        Ok(bytes(content.expect("an unbounded slice is never over")))
    }

    #[test]
    fn content_comes_out_as_it_went_in() {
        let content = text(300_000);
        for coding in Coding::COMPRESSED {
            let decoded = decode(coding, encoded(coding, &content), 300_000);
            assert!(decoded.expect("sound") == content, "{coding:?}");
        }
    }

    #[test]
    fn decoding_stops_when_its_slice_is_over() {
        let content = text(3 * FIRST_SLICE_ASKS as usize * CHUNK_BYTES);
        for coding in Coding::COMPRESSED {
            let encoded = Content::Memory(encoded(coding, &content));
            let mut decoding = ContentDecoder::new(coding, &encoded, u64::MAX).expect("sound");
            let mut slices = 1;
            let decoded = loop {
                match decoding.go_on(&FirstSlice::new(Millis(0))).expect("sound") {
                    Some(decoded) => break decoded,
                    None => slices += 1,
                }
            };
            assert!(slices >= 4, "{coding:?} {slices}");
            assert!(bytes(decoded) == content, "{coding:?}");
        }
    }

    #[test]
    fn no_more_is_decoded_than_is_allowed() {
        let content = vec![b'x'; 4_000_000];
        for coding in Coding::COMPRESSED {
            let encoded = encoded(coding, &content);
            let decoded = decode(coding, encoded.clone(), 1_000_000);
            assert!(matches!(decoded, Err(DecodeError::TooLarge)), "{coding:?}");
            assert!(decode(coding, encoded, 4_000_000).is_ok(), "{coding:?}");
        }
    }

    #[test]
    fn a_truncated_stream_or_another_coding_is_malformed() {
        let content = text(50_000);
        for coding in Coding::COMPRESSED {
            let encoded = encoded(coding, &content);
            for broken in [
                encoded.slice(..encoded.len() - 1),
                encoded.slice(..encoded.len() / 2),
                Bytes::from_static(b"<!doctype html> is no coding at all"),
            ] {
                let decoded = decode(coding, broken, u64::MAX);
                assert!(
                    matches!(decoded, Err(DecodeError::Malformed(_))),
                    "{coding:?}"
                );
            }
        }
    }

    /// RFC 1952 section 2.2: a file may have several members.
    #[test]
    fn all_members_of_a_gzip_file_count() {
        let part = text(1_000);
        let member = encoded(Coding::Gzip, &part);
        let both = Bytes::from([&member[..], &member[..]].concat());
        let decoded = decode(Coding::Gzip, both, 2_000).expect("sound");
        assert!(decoded == part.repeat(2));
    }

    #[test]
    fn windows_that_no_browser_reads_are_refused() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("zstd");
        encoder.window_log(ZSTD_WINDOW_LOG + 1).expect("a window");
        std::io::Write::write_all(&mut encoder, &text(100_000)).expect("zstd");
        let zstd = encoder.finish().expect("zstd");
        for (coding, encoded) in [
            (Coding::Zstd, Bytes::from(zstd)),
            // The size of the window follows: 30 bits.
            (Coding::Brotli, Bytes::from_static(&[0x11, 0x1E, 0x03])),
        ] {
            let decoded = decode(coding, encoded, u64::MAX);
            assert!(
                matches!(decoded, Err(DecodeError::Malformed(_))),
                "{coding:?}"
            );
        }
    }
}
