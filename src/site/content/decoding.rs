//! Taking a content coding off a file, in slices and within bounds.
//!
//! # Bounds
//!
//! The content may have as many bytes as the caller allows, so a few bytes that stand for gigabytes
//! cost no more than that. A decoder's own memory is bounded by its window: 32 KiB for gzip, 8 MiB for
//! zstd (the most that RFC 9659 lets a sender use) and 16 MiB for brotli (RFC 7932).

use std::fmt;
use std::io::{self, Cursor, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::keeping::Keeping;
use super::representation::Content;
use crate::http::accept_encoding::Coding;
use crate::http::response::FileSource;
use crate::site::waiting::Slice;

/// How much is decoded at a time, in bytes. Brotli, the slowest, takes about a tenth of a millisecond.
const CHUNK_BYTES: usize = 32 * 1024;

/// How much of the file brotli is given at a time, in bytes.
const BROTLI_INPUT_BYTES: usize = 16 * 1024;

/// The largest window of zstd, as a power of two.
pub(super) const ZSTD_WINDOW_LOG: u32 = 23;

/// The low seven bits of a brotli stream with a larger window than RFC 7932 allows: it may be up to a
/// gigabyte, and browsers do not read it.
pub(super) const BROTLI_LARGE_WINDOW: u8 = 0x11;

/// Content on its way out of its coding.
pub struct Decoding {
    decoder: Box<dyn Read + Send>,
    content: Vec<u8>,
    most: usize,
    /// Set when all is decoded: the content is being copied to where it stays.
    keeping: Option<Keeping>,
}

/// Why there is no content.
#[derive(Debug)]
pub enum Undecodable {
    /// The content is larger than the caller allows.
    TooLarge,
    /// The file cannot be read, or its bytes are not in the coding.
    Malformed(io::Error),
}

impl Decoding {
    /// Begins to decode `encoded`, which is in `coding`, to at most `most` bytes.
    ///
    /// # Errors
    /// As [`Undecodable`] says, of what can be seen at the beginning.
    pub fn new(coding: Coding, encoded: &Content, most: u64) -> Result<Decoding, Undecodable> {
        // The content is hardly ever smaller than its form.
        if encoded.len() > most {
            return Err(Undecodable::TooLarge);
        }
        let source = source(encoded).map_err(Undecodable::Malformed)?;
        Ok(Decoding {
            decoder: decoder(coding, source).map_err(Undecodable::Malformed)?,
            content: Vec::new(),
            most: usize::try_from(most).unwrap_or(usize::MAX),
            keeping: None,
        })
    }

    /// Goes on until `slice` is over: `None` if that comes first, then the content, once.
    ///
    /// # Errors
    /// As [`Undecodable`] says.
    pub fn go_on(&mut self, slice: &dyn Slice) -> Result<Option<Content>, Undecodable> {
        loop {
            if let Some(keeping) = &mut self.keeping {
                return Ok(keeping.go_on(slice));
            }
            let from = self.content.len();
            if self.content.try_reserve(CHUNK_BYTES).is_err() {
                return Err(Undecodable::TooLarge);
            }
            self.content.resize(from + CHUNK_BYTES, 0);
            let count = read(&mut self.decoder, &mut self.content[from..]);
            let count = count.map_err(Undecodable::Malformed)?;
            self.content.truncate(from + count);
            if count == 0 {
                self.content.shrink_to_fit();
                self.keeping = Some(Keeping::new(std::mem::take(&mut self.content)));
                continue;
            }
            if self.content.len() > self.most {
                return Err(Undecodable::TooLarge);
            }
            if slice.is_over() {
                return Ok(None);
            }
        }
    }
}

impl fmt::Debug for Decoding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Decoding")
            .field("decoded", &self.content.len())
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

/// Reads the content of `source`, which is in `coding`.
///
/// # Errors
/// If the window would be larger than a client need have it, or there is no memory.
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

/// The bytes of `content`, from the first.
fn source(content: &Content) -> io::Result<Box<dyn Read + Send>> {
    let pages: Arc<dyn FileSource> = match content {
        Content::Memory(bytes) => return Ok(Box::new(Cursor::new(bytes.clone()))),
        Content::MemfdBody(memfd_body) => memfd_body.clone(),
        Content::Descriptor(file, _) => file.clone(),
    };
    let end = content.len();
    Ok(Box::new(PageReader { pages, at: 0, end }))
}

/// Reads pages from the first to the last, wherever another reader of the same file is.
struct PageReader {
    pages: Arc<dyn FileSource>,
    at: u64,
    end: u64,
}

impl Read for PageReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let (file, at) = self.pages.at(self.at);
        let count = file.read_at(&mut buffer[..wanted], at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// As read(2), again after an interruption.
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
    use crate::site::waiting::{FIRST_SLICE_ASKS, FirstSlice, WholeSlice};
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

    fn decode(coding: Coding, encoded: Bytes, most: u64) -> Result<Vec<u8>, Undecodable> {
        let mut decoding = Decoding::new(coding, &Content::Memory(encoded), most)?;
        let content = decoding.go_on(&WholeSlice(Millis(0)))?;
        Ok(bytes(content.expect("a whole slice is never over")))
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
    fn it_stops_when_its_slice_is_over() {
        let content = text(3 * FIRST_SLICE_ASKS as usize * CHUNK_BYTES);
        for coding in Coding::COMPRESSED {
            let encoded = Content::Memory(encoded(coding, &content));
            let mut decoding = Decoding::new(coding, &encoded, u64::MAX).expect("sound");
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
            assert!(matches!(decoded, Err(Undecodable::TooLarge)), "{coding:?}");
            assert!(decode(coding, encoded, 4_000_000).is_ok(), "{coding:?}");
        }
    }

    #[test]
    fn a_stream_that_is_cut_short_or_another_is_malformed() {
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
                    matches!(decoded, Err(Undecodable::Malformed(_))),
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
            // Then the window, 30 bits.
            (Coding::Brotli, Bytes::from_static(&[0x11, 0x1E, 0x03])),
        ] {
            let decoded = decode(coding, encoded, u64::MAX);
            assert!(
                matches!(decoded, Err(Undecodable::Malformed(_))),
                "{coding:?}"
            );
        }
    }
}
