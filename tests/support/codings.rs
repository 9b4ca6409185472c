//! Content codings on the client's side.

use std::io::Read;

use super::Response;

/// Text that compresses like a page.
pub fn text(bytes: usize) -> Vec<u8> {
    (0..)
        .flat_map(|line: u32| format!("<li>item {line} of the list</li>\n").into_bytes())
        .take(bytes)
        .collect()
}

/// `content` in gzip at the best level, as for a deployment.
pub fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    flate2::read::GzEncoder::new(content, flate2::Compression::best())
        .read_to_end(&mut encoded)
        .expect("gzip");
    encoded
}

/// The content of an answer without its coding.
pub fn decoded(response: &Response) -> Vec<u8> {
    let encoded = &response.body[..];
    let mut content = Vec::new();
    match response.field("content-encoding") {
        None => content.extend_from_slice(encoded),
        Some("br") => {
            brotli::BrotliDecompress(&mut &encoded[..], &mut content).expect("valid brotli");
        }
        Some("zstd") => content = zstd::decode_all(encoded).expect("valid zstd"),
        Some("gzip") => {
            let mut decoder = flate2::read::GzDecoder::new(encoded);
            decoder.read_to_end(&mut content).expect("valid gzip");
        }
        Some(other) => panic!("Content-Encoding: {other}"),
    }
    content
}

/// The field line that accepts these codings.
pub fn accepting(codings: &str) -> String {
    format!("Accept-Encoding: {codings}\r\n")
}

/// The coding that an answer is in.
pub fn encoding(response: &Response) -> Option<&str> {
    response.field("content-encoding")
}
