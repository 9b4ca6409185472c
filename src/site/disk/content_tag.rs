//! Entity tags made from the content itself (RFC 9110 section 8.8.3).
//!
//! The usual tag is made from size and mtime. A build that sets every mtime to the same value, or a
//! fleet of servers whose copies differ in theirs, wants a tag that says the same wherever the bytes
//! are the same. It costs reading all of the file once.
//!
//! The hash is BLAKE3: some sites serve what strangers upload, and nobody must be able to make two
//! files that a cache takes for one.

use bytes::Bytes;

/// Bytes of the hash in a tag. 128 bits keep even a sought collision out of may_block.
const HASH_BYTES: usize = 16;

/// The strong entity tag of `content`, quotes included.
#[must_use]
#[cfg(test)]
pub fn of_bytes(content: &[u8]) -> Bytes {
    tag(&blake3::hash(content))
}

/// Makes the tag of content that comes in parts.
#[derive(Debug, Default)]
pub struct ContentHasher(blake3::Hasher);

impl ContentHasher {
    /// Adds a part. Takes about a millisecond for a megabyte.
    pub fn update(&mut self, part: &[u8]) {
        self.0.update(part);
    }

    /// The tag of all parts together: that of their bytes in one piece.
    #[must_use]
    pub fn tag(&self) -> Bytes {
        tag(&self.0.finalize())
    }
}

fn tag(hash: &blake3::Hash) -> Bytes {
    let digits = hash.to_hex();
    Bytes::from(["\"", &digits[..2 * HASH_BYTES], "\""].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_32_hexadecimal_digits_in_quotes() {
        // The first half of BLAKE3's published hash of nothing.
        assert_eq!(of_bytes(b""), "\"af1349b9f5f9a1a6a0404dea36dcc949\"");
        assert_ne!(of_bytes(b"a"), of_bytes(b"b"));
    }

    #[test]
    fn parts_have_the_tag_of_the_whole() {
        let mut hasher = ContentHasher::default();
        hasher.update(b"01");
        hasher.update(b"");
        hasher.update(b"234");
        assert_eq!(hasher.tag(), of_bytes(b"01234"));
    }
}
