//! Whether encoded content decodes to given bytes. The two are compared as streams, so nothing is kept.
//!
//! A few encoded bytes may decode to gigabytes. The comparison therefore ends at the first byte that
//! differs or is one too many. The memory of a decoder is limited too: see [`decoding`](super::decoding).

use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use super::decoding::decoder;
use crate::http::accept_encoding::Coding;
use crate::http::response::FileSource;

/// The number of bytes that are decoded at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// The bytes that the content should decode to.
#[derive(Debug, Clone, Copy)]
pub enum ExpectedContent<'a> {
    /// Bytes in memory.
    Memory(&'a [u8]),
    /// A file and its length in bytes.
    File(&'a dyn FileSource, u64),
}

/// The result of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VariantVerdict {
    /// The content decodes to the original, and nothing follows it.
    Same,
    /// The content decodes to other bytes.
    Other,
    /// The content is malformed, cut short, or needs more memory than clients must have.
    Invalid,
}

/// A source that records its own read error, because a decoder reports it in the same way as bad content.
struct EncodedSource<R> {
    encoded: R,
    failure: Option<io::Error>,
}

/// Compares `encoded`, decoded from `coding`, with `original`.
///
/// # Errors
/// If `encoded` or `original` cannot be read.
pub fn compare(
    coding: Coding,
    encoded: impl Read + Send,
    original: ExpectedContent<'_>,
) -> io::Result<VariantVerdict> {
    let mut source = EncodedSource {
        encoded,
        failure: None,
    };
    let decoded = match decoder(coding, Box::new(&mut source)) {
        Ok(mut decoder) => compare_stream(&mut *decoder, original)?,
        Err(_) => VariantVerdict::Invalid,
    };
    if let Some(failure) = source.failure.take() {
        return Err(failure);
    }
    // A brotli stream marks its own end, so the decoder may stop before the end of the source.
    let has_more = decoded == VariantVerdict::Same && read(&mut source, &mut [0])? > 0;
    Ok(if has_more {
        VariantVerdict::Invalid
    } else {
        decoded
    })
}

/// Compares the output of `decoder` with `original`. An error of the decoder means bad content.
fn compare_stream(
    decoder: &mut dyn Read,
    original: ExpectedContent<'_>,
) -> io::Result<VariantVerdict> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut scratch = Vec::new();
    let mut at = 0;
    loop {
        let Ok(count) = read(decoder, &mut piece) else {
            return Ok(VariantVerdict::Invalid);
        };
        if count == 0 {
            break;
        }
        if !original.has(at, &piece[..count], &mut scratch)? {
            return Ok(VariantVerdict::Other);
        }
        at += count as u64;
    }
    if at != original.len() {
        return Ok(VariantVerdict::Other);
    }
    // The brotli decoder reports bytes after the end only if it is called once more.
    Ok(match read(decoder, &mut piece) {
        Ok(0) => VariantVerdict::Same,
        _ => VariantVerdict::Invalid,
    })
}

/// Like read(2), and repeated after an interruption.
fn read(source: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

impl ExpectedContent<'_> {
    fn len(&self) -> u64 {
        match self {
            ExpectedContent::Memory(bytes) => bytes.len() as u64,
            ExpectedContent::File(_, len) => *len,
        }
    }

    /// Whether the expected content has the bytes of `piece` at the offset `at`.
    fn has(&self, at: u64, piece: &[u8], scratch: &mut Vec<u8>) -> io::Result<bool> {
        let end = at + piece.len() as u64;
        if end > self.len() {
            return Ok(false);
        }
        match self {
            // Both are within the length of a slice.
            ExpectedContent::Memory(bytes) => Ok(&bytes[at as usize..end as usize] == piece),
            ExpectedContent::File(pages, _) => {
                scratch.resize(piece.len(), 0);
                let (file, offset) = pages.at(at);
                file.read_exact_at(scratch, offset)?;
                Ok(scratch == piece)
            }
        }
    }
}

impl<R: Read> Read for EncodedSource<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.encoded.read(buffer);
        match count {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                let kind = error.kind();
                self.failure = Some(error);
                Err(kind.into())
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::content::content_coding::compress;
    use crate::site::content::decoding::{BROTLI_LARGE_WINDOW, ZSTD_WINDOW_LOG};
    use crate::site::disk::MemfdBody;

    fn text(bytes: usize) -> Vec<u8> {
        (0..)
            .flat_map(|line: u32| format!("<li>item {line} of the list</li>\n").into_bytes())
            .take(bytes)
            .collect()
    }

    fn decoded(coding: Coding, encoded: &[u8], original: &[u8]) -> VariantVerdict {
        let in_memory =
            compare(coding, encoded, ExpectedContent::Memory(original)).expect("memory");
        if let Some(memfd_body) = MemfdBody::keep(original) {
            let pages = ExpectedContent::File(&memfd_body, memfd_body.len());
            let in_pages = compare(coding, encoded, pages).expect("pages");
            assert_eq!(in_pages, in_memory, "{coding:?}");
        }
        in_memory
    }

    #[test]
    fn content_is_the_same_only_if_all_of_it_is() {
        for coding in Coding::COMPRESSED {
            for bytes in [300, 40_000, 300_001] {
                let content = text(bytes);
                let encoded = compress(coding, &content).expect("text compresses");
                let decoded = |encoded: &[u8], original: &[u8]| decoded(coding, encoded, original);
                assert_eq!(
                    decoded(&encoded, &content),
                    VariantVerdict::Same,
                    "{coding:?}"
                );
                assert_eq!(decoded(&encoded, &content[1..]), VariantVerdict::Other);
                assert_eq!(
                    decoded(&encoded, &content[..bytes - 1]),
                    VariantVerdict::Other
                );
                assert_eq!(decoded(&encoded, &text(bytes + 1)), VariantVerdict::Other);
                assert_eq!(decoded(&encoded, b""), VariantVerdict::Other);
                let mut last = content.clone();
                last[bytes - 1] ^= 1;
                assert_eq!(decoded(&encoded, &last), VariantVerdict::Other);
                let cut = &encoded[..encoded.len() - 1];
                assert_ne!(decoded(cut, &content), VariantVerdict::Same, "{coding:?}");
                let longer = [&encoded[..], b"x"].concat();
                assert_ne!(
                    decoded(&longer, &content),
                    VariantVerdict::Same,
                    "{coding:?}"
                );
                assert_ne!(decoded(&content, &content), VariantVerdict::Same);
            }
        }
    }

    #[test]
    fn several_members_of_gzip_and_frames_of_zstd_are_one_content() {
        let content = text(4_000);
        for coding in [Coding::Gzip, Coding::Zstd] {
            let parts = content.chunks(1_000);
            let encoded: Vec<_> = parts
                .filter_map(|part| compress(coding, part))
                .collect::<Vec<_>>()
                .concat();
            assert_eq!(decoded(coding, &encoded, &content), VariantVerdict::Same);
        }
    }

    /// 256 MiB of zeros, compressed to less than a thousandth: the decoder stops where the original ends.
    #[test]
    fn a_decompression_bomb_ends_at_the_first_byte_that_differs() {
        struct Counted<'a>(&'a [u8], &'a mut usize);
        impl Read for Counted<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let count = self.0.read(buffer)?;
                *self.1 += count;
                Ok(count)
            }
        }
        // Gzip only: its size grows with the content, so the number of bytes read is meaningful.
        let mut encoded = Vec::new();
        flate2::read::GzEncoder::new(io::repeat(0).take(1 << 28), flate2::Compression::fast())
            .read_to_end(&mut encoded)
            .expect("gzip");
        let mut taken = 0;
        let original = [0; 1_000];
        let source = Counted(&encoded, &mut taken);
        let result = compare(Coding::Gzip, source, ExpectedContent::Memory(&original));
        assert_eq!(result.expect("memory"), VariantVerdict::Other);
        assert!(taken < 100_000, "{taken} of {}", encoded.len());
    }

    #[test]
    fn windows_that_clients_need_not_have_are_refused() {
        let content = text(100_000);
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).expect("zstd");
        encoder.window_log(ZSTD_WINDOW_LOG + 1).expect("a window");
        io::copy(&mut &content[..], &mut encoder).expect("zstd");
        let encoded = encoder.finish().expect("zstd");
        assert_eq!(
            decoded(Coding::Zstd, &encoded, &content),
            VariantVerdict::Invalid
        );
        let parameters = brotli::enc::BrotliEncoderParams {
            quality: 5,
            lgwin: 28,
            large_window: true,
            ..Default::default()
        };
        let mut encoded = Vec::new();
        brotli::BrotliCompress(&mut &content[..], &mut encoded, &parameters).expect("brotli");
        assert_eq!(encoded[0] & 0x7f, BROTLI_LARGE_WINDOW);
        assert_eq!(
            decoded(Coding::Brotli, &encoded, &content),
            VariantVerdict::Invalid
        );
    }

    #[test]
    fn a_source_that_fails_is_no_bad_content() {
        struct Fails;
        impl Read for Fails {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::from_raw_os_error(5))
            }
        }
        for coding in Coding::COMPRESSED {
            let encoded = compress(coding, &text(4_000)).expect("text compresses");
            let source = (&encoded[..30]).chain(Fails);
            let failed = compare(coding, source, ExpectedContent::Memory(&text(4_000)));
            assert!(failed.is_err(), "{coding:?}");
        }
    }
}
