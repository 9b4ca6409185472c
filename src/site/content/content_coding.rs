//! Encoded variants of a file (RFC 9110 section 8.4): their names on the disk, and how the server makes
//! them.
//!
//! The server makes a variant once and keeps it with the file in the cache. The levels may therefore cost
//! more than for a server that compresses for every request.

use std::io::{self, Write};

use bytes::Bytes;

use crate::http::accept_encoding::Coding;
use crate::site::disk::Name;

/// The smallest content that is compressed, in bytes. Below this size the response fits into one packet
/// anyway, and the two fields of a coding use up most of the savings.
pub const MIN_COMPRESSED_BYTES: usize = 256;

/// The size of the two fields in bytes: `Content-Encoding: gzip` and the longer ETag.
const FIELDS_BYTES: usize = 32;

/// A variant must save at least one part in this many to be worth the decoding.
const MIN_SAVED_PART: usize = 8;

/// Of 11. Each higher level takes twice the time for one or two percent.
const BROTLI_QUALITY: i32 = 6;

/// Of 19. About as fast as brotli at its level.
const ZSTD_LEVEL: i32 = 9;

/// Of 9. The default of gzip.
const GZIP_LEVEL: u32 = 6;

/// The suffix of the sidecars in `coding`.
fn suffix(coding: Coding) -> Option<&'static [u8]> {
    match coding {
        Coding::Brotli => Some(b".br"),
        Coding::Zstd => Some(b".zst"),
        Coding::Gzip => Some(b".gz"),
        Coding::Identity => None,
    }
}

/// The path of the sidecar of the file at `path`: `name.br`, `name.zst` or `name.gz`. `None` for identity,
/// and for a file that is a sidecar itself.
#[must_use]
pub fn sidecar_path(path: &[u8], coding: Coding) -> Option<Name<'static>> {
    let suffix = suffix(coding).filter(|_| !is_sidecar_path(path))?;
    Some(Name::joined(path, suffix))
}

/// Whether `path` has the suffix of a sidecar.
#[must_use]
pub fn is_sidecar_path(path: &[u8]) -> bool {
    let mut suffixes = Coding::COMPRESSED.into_iter().filter_map(suffix);
    suffixes.any(|suffix| path.ends_with(suffix))
}

/// Compresses `content` if that is worthwhile. `None` for identity, for less than [`MIN_COMPRESSED_BYTES`],
/// and if it saves less than an eighth. Takes about 10 ms for 256 KiB, the default limit of the cache for a
/// file, and a few megabytes of memory meanwhile.
///
/// Only useful for media types that compress: see [`Compressibility`](super::media_types::Compressibility).
#[must_use]
pub fn compress(coding: Coding, content: &[u8]) -> Option<Vec<u8>> {
    if content.len() < MIN_COMPRESSED_BYTES {
        return None;
    }
    let encoded = match coding {
        Coding::Brotli => brotli(content),
        Coding::Zstd => zstd::bulk::compress(content, ZSTD_LEVEL),
        Coding::Gzip => gzip(content),
        Coding::Identity => return None,
    };
    match encoded {
        Ok(encoded) => saves_enough(content.len(), encoded.len()).then_some(encoded),
        // The only cause is a lack of memory. The file itself can still be sent.
        Err(error) => {
            log::error!("{}: {error}", coding.token());
            None
        }
    }
}

/// Whether a variant of `encoded` bytes saves enough of `content` bytes.
#[must_use]
pub fn saves_enough(content: usize, encoded: usize) -> bool {
    encoded + FIELDS_BYTES <= content - content / MIN_SAVED_PART
}

fn brotli(content: &[u8]) -> io::Result<Vec<u8>> {
    // A window larger than the content has no use and costs memory on both sides. Below 17 bits the encoder
    // finds matches in another way, which is ten times slower: 10 ms for 32 KiB.
    let window_bits = content.len().ilog2().saturating_add(1).clamp(17, 22);
    let parameters = brotli::enc::BrotliEncoderParams {
        quality: BROTLI_QUALITY,
        lgwin: window_bits.cast_signed(),
        size_hint: content.len(),
        ..Default::default()
    };
    let mut encoded = Vec::with_capacity(content.len() / 2);
    brotli::BrotliCompress(&mut &content[..], &mut encoded, &parameters)?;
    Ok(encoded)
}

fn gzip(content: &[u8]) -> io::Result<Vec<u8>> {
    let level = flate2::Compression::new(GZIP_LEVEL);
    let output = Vec::with_capacity(content.len() / 2);
    let mut encoder = flate2::write::GzEncoder::new(output, level);
    encoder.write_all(content)?;
    encoder.finish()
}

/// The entity tag of an encoded variant. `etag` is the strong tag of the file, with its quotes. Two codings
/// of a file are two representations, which must not share a strong tag (RFC 9110 section 8.8.3.3).
/// Identity has the tag of the file.
#[must_use]
pub fn variant_etag(etag: &Bytes, coding: Coding) -> Bytes {
    match (coding, etag.strip_suffix(b"\"")) {
        (Coding::Identity, _) | (_, None) => etag.clone(),
        (_, Some(opened)) => Bytes::from([opened, b"-", coding.token().as_bytes(), b"\""].concat()),
    }
}

/// The entity tag of the file whose variant in `coding` has the tag `etag`: the inverse of
/// [`variant_etag`].
#[must_use]
pub fn etag_without_coding(etag: &Bytes, coding: Coding) -> Bytes {
    let end = ["-", coding.token(), "\""].concat();
    match etag.strip_suffix(end.as_bytes()) {
        Some(opened) => Bytes::from([opened, b"\""].concat()),
        None => etag.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read;

    fn decode(coding: Coding, encoded: &[u8]) -> Vec<u8> {
        let mut content = Vec::new();
        match coding {
            Coding::Brotli => {
                brotli::BrotliDecompress(&mut &encoded[..], &mut content).expect("valid brotli");
            }
            Coding::Zstd => content = zstd::decode_all(encoded).expect("valid zstd"),
            Coding::Gzip => {
                flate2::read::GzDecoder::new(encoded)
                    .read_to_end(&mut content)
                    .expect("valid gzip");
            }
            Coding::Identity => content.extend_from_slice(encoded),
        }
        content
    }

    /// Text that compresses like an HTML page.
    fn text(bytes: usize) -> Vec<u8> {
        (0..)
            .flat_map(|line: u32| format!("<li>item {line} of the list</li>\n").into_bytes())
            .take(bytes)
            .collect()
    }

    /// Bytes that do not compress, from a xorshift generator.
    fn noise(bytes: usize) -> Vec<u8> {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .take(bytes)
        .collect()
    }

    #[test]
    fn a_variant_decodes_to_the_content_and_is_smaller() {
        for coding in Coding::COMPRESSED {
            for bytes in [MIN_COMPRESSED_BYTES, 1_000, 65_536, 300_001] {
                let content = text(bytes);
                let encoded = compress(coding, &content).expect("text compresses");
                assert!(encoded.len() + FIELDS_BYTES <= bytes - bytes / MIN_SAVED_PART);
                assert_eq!(decode(coding, &encoded), content, "{coding:?} {bytes}");
            }
        }
    }

    #[test]
    fn content_that_is_too_small_or_does_not_shrink_stays_uncompressed() {
        for coding in Coding::COMPRESSED {
            assert_eq!(compress(coding, &text(MIN_COMPRESSED_BYTES - 1)), None);
            assert_eq!(compress(coding, b""), None);
            assert_eq!(compress(coding, &noise(10_000)), None);
        }
        assert_eq!(compress(Coding::Identity, &text(10_000)), None);
    }

    #[test]
    fn every_coding_has_a_sidecar_and_a_sidecar_has_none() {
        assert_eq!(
            sidecar_path(b"a/x.js", Coding::Brotli).as_deref(),
            Some(&b"a/x.js.br"[..])
        );
        assert_eq!(
            sidecar_path(b"a/x.js", Coding::Zstd).as_deref(),
            Some(&b"a/x.js.zst"[..])
        );
        assert_eq!(
            sidecar_path(b"a/x.js", Coding::Gzip).as_deref(),
            Some(&b"a/x.js.gz"[..])
        );
        assert!(sidecar_path(b"a/x.js", Coding::Identity).is_none());
        for path in [&b"x.tar.gz"[..], b"x.br", b"x.zst"] {
            assert!(sidecar_path(path, Coding::Gzip).is_none());
        }
    }

    #[test]
    fn every_variant_has_a_strong_tag_of_its_own_rfc9110_8_8_3_3() {
        let etag = Bytes::from_static(b"\"5-6\"");
        assert_eq!(variant_etag(&etag, Coding::Brotli), "\"5-6-br\"");
        assert_eq!(variant_etag(&etag, Coding::Zstd), "\"5-6-zstd\"");
        assert_eq!(variant_etag(&etag, Coding::Gzip), "\"5-6-gzip\"");
        assert_eq!(variant_etag(&etag, Coding::Identity), etag);
        for coding in Coding::COMPRESSED {
            let of_variant = variant_etag(&etag, coding);
            assert_eq!(etag_without_coding(&of_variant, coding), etag);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn any_content_survives_every_coding(piece in prop::collection::vec(any::<u8>(), 1..200), times in 1..40_usize) {
            let content = piece.repeat(times);
            for coding in Coding::COMPRESSED {
                if let Some(encoded) = compress(coding, &content) {
                    prop_assert_eq!(&decode(coding, &encoded), &content);
                }
            }
        }
    }
}
