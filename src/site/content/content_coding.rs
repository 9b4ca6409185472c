//! Compressed forms of a file (RFC 9110 section 8.4): those that lie beside it, and those made here.
//!
//! A form made here is made once and kept with the file in the cache, so the levels may cost more
//! than a server that compresses for every request could afford.

use std::io::{self, Write};

use bytes::Bytes;

use crate::http::accept_encoding::Coding;

/// The smallest content that is compressed, in bytes. Below it the answer fits one packet either way,
/// and the two fields that a coding needs eat most of what it saves.
pub const MIN_COMPRESSED_BYTES: usize = 256;

/// What those fields take, in bytes: `Content-Encoding: gzip` and the longer ETag.
const FIELDS_BYTES: usize = 32;

/// A form must save this part of the content to be worth the client's decoding: an eighth.
const MIN_SAVED_PART: usize = 8;

/// Of 11. From here on each level takes twice the time for a percent or two.
const BROTLI_QUALITY: i32 = 6;

/// Of 19: about as fast as brotli at its level.
const ZSTD_LEVEL: i32 = 9;

/// Of 9: gzip's own default.
const GZIP_LEVEL: u32 = 6;

/// What the name of a precompressed form ends with.
fn suffix(coding: Coding) -> Option<&'static [u8]> {
    match coding {
        Coding::Brotli => Some(b".br"),
        Coding::Zstd => Some(b".zst"),
        Coding::Gzip => Some(b".gz"),
        Coding::Identity => None,
    }
}

/// The path of the precompressed form of the file at `path`: `name.br`, `name.zst` or `name.gz`
/// beside it. `None` for identity, and for a file that is such a form itself.
#[must_use]
pub fn sidecar(path: &[u8], coding: Coding) -> Option<Vec<u8>> {
    let suffix = suffix(coding).filter(|_| !is_form(path))?;
    Some([path, suffix].concat())
}

/// Whether `path` ends as the precompressed forms of files do.
#[must_use]
pub fn is_form(path: &[u8]) -> bool {
    let mut suffixes = Coding::COMPRESSED.into_iter().filter_map(suffix);
    suffixes.any(|suffix| path.ends_with(suffix))
}

/// `content` in `coding`, if that is worth it: `None` for identity, for less than [`MIN_COMPRESSED_BYTES`], and
/// if it saves less than an eighth. Takes about 10 ms for the 256 KiB that the cache keeps of a
/// file by default, and a few megabytes of memory while it runs.
///
/// To be asked only for media types that compress: see [`Redundancy`](super::media_types::Redundancy).
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
        Ok(encoded) => is_worth_it(content.len(), encoded.len()).then_some(encoded),
        // Only a lack of memory gets here; the file itself can still be sent.
        Err(error) => {
            log::error!("{}: {error}", coding.token());
            None
        }
    }
}

/// Whether a form of `encoded` bytes saves enough of a content of `content` bytes.
#[must_use]
pub fn is_worth_it(content: usize, encoded: usize) -> bool {
    encoded + FIELDS_BYTES <= content - content / MIN_SAVED_PART
}

fn brotli(content: &[u8]) -> io::Result<Vec<u8>> {
    // A window larger than the content brings nothing and costs memory on both sides. Below 17 the
    // encoder takes another way to find matches, ten times slower: 10 ms for 32 KiB.
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

/// The entity tag of a form of the file whose strong tag is `etag`, quotes included: two codings of
/// one file are two representations, and no strong tag may name both (RFC 9110 section 8.8.3.3).
/// Identity keeps the file's own.
#[must_use]
pub fn etag_of_form(etag: &Bytes, coding: Coding) -> Bytes {
    match (coding, etag.strip_suffix(b"\"")) {
        (Coding::Identity, _) | (_, None) => etag.clone(),
        (_, Some(opened)) => Bytes::from([opened, b"-", coding.token().as_bytes(), b"\""].concat()),
    }
}

/// The entity tag of the content of a form whose own is `etag`: what [`etag_of_form`] made it from.
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

    /// Text with the redundancy of a page.
    fn text(bytes: usize) -> Vec<u8> {
        (0..)
            .flat_map(|line: u32| format!("<li>item {line} of the list</li>\n").into_bytes())
            .take(bytes)
            .collect()
    }

    /// Bytes that do not compress: a xorshift generator's.
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
    fn a_form_decodes_to_the_content_and_is_smaller() {
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
    fn what_is_too_small_or_does_not_shrink_is_left_alone() {
        for coding in Coding::COMPRESSED {
            assert_eq!(compress(coding, &text(MIN_COMPRESSED_BYTES - 1)), None);
            assert_eq!(compress(coding, b""), None);
            assert_eq!(compress(coding, &noise(10_000)), None);
        }
        assert_eq!(compress(Coding::Identity, &text(10_000)), None);
    }

    #[test]
    fn every_coding_has_a_sibling_and_a_sibling_has_none() {
        assert_eq!(
            sidecar(b"a/x.js", Coding::Brotli),
            Some(b"a/x.js.br".to_vec())
        );
        assert_eq!(
            sidecar(b"a/x.js", Coding::Zstd),
            Some(b"a/x.js.zst".to_vec())
        );
        assert_eq!(
            sidecar(b"a/x.js", Coding::Gzip),
            Some(b"a/x.js.gz".to_vec())
        );
        assert_eq!(sidecar(b"a/x.js", Coding::Identity), None);
        for path in [&b"x.tar.gz"[..], b"x.br", b"x.zst"] {
            assert_eq!(sidecar(path, Coding::Gzip), None);
        }
    }

    #[test]
    fn every_form_has_a_strong_tag_of_its_own_rfc9110_8_8_3_3() {
        let etag = Bytes::from_static(b"\"5-6\"");
        assert_eq!(etag_of_form(&etag, Coding::Brotli), "\"5-6-br\"");
        assert_eq!(etag_of_form(&etag, Coding::Zstd), "\"5-6-zstd\"");
        assert_eq!(etag_of_form(&etag, Coding::Gzip), "\"5-6-gzip\"");
        assert_eq!(etag_of_form(&etag, Coding::Identity), etag);
        for coding in Coding::COMPRESSED {
            let of_form = etag_of_form(&etag, coding);
            assert_eq!(etag_without_coding(&of_form, coding), etag);
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
