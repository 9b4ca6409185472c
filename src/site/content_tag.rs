//! Entity tags made from the content itself (RFC 9110 section 8.8.3).
//!
//! The usual tag is made from size and mtime. A build that sets every mtime to the same value, or a
//! fleet of servers whose copies differ in theirs, wants a tag that says the same wherever the bytes
//! are the same. It costs reading all of the file once.
//!
//! The hash is BLAKE3: some sites serve what strangers upload, and nobody must be able to make two
//! files that a cache takes for one.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bytes::Bytes;

/// Bytes of the hash in a tag. 128 bits keep even a sought collision out of reach.
const HASH_BYTES: usize = 16;

/// How much of a file is read at a time, in bytes.
const CHUNK_BYTES: usize = 128 * 1024;

/// The strong entity tag of `content`, quotes included.
#[must_use]
pub fn of_bytes(content: &[u8]) -> Bytes {
    tag(&blake3::hash(content))
}

/// The strong entity tag of the first `length` bytes of `file`, quotes included: the same as
/// [`of_bytes`] has for them. Blocks while the file is read, about a second per gigabyte when it is
/// in the page cache, and needs `CHUNK_BYTES` of memory.
///
/// A file that changes meanwhile gets a tag of neither state: compare its identity before and after.
///
/// # Errors
/// As pread(2); `UnexpectedEof` if the file is shorter than `length`.
pub fn of_file(file: &File, length: u64) -> io::Result<Bytes> {
    let mut hasher = blake3::Hasher::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut at = 0;
    while at < length {
        // The smaller of the two is at most CHUNK_BYTES.
        let wanted = (length - at).min(CHUNK_BYTES as u64) as usize;
        match file.read_at(&mut chunk[..wanted], at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                hasher.update(&chunk[..count]);
                at += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(tag(&hasher.finalize()))
}

fn tag(hash: &blake3::Hash) -> Bytes {
    let digits = hash.to_hex();
    Bytes::from(["\"", &digits[..2 * HASH_BYTES], "\""].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file_of(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().expect("temporary file");
        file.write_all(content).expect("write");
        file
    }

    #[test]
    fn a_tag_is_32_hexadecimal_digits_in_quotes() {
        // The first half of BLAKE3's published hash of nothing.
        assert_eq!(of_bytes(b""), "\"af1349b9f5f9a1a6a0404dea36dcc949\"");
        assert_ne!(of_bytes(b"a"), of_bytes(b"b"));
    }

    #[test]
    fn a_file_has_the_tag_of_its_bytes_however_many_chunks_it_takes() {
        for length in [
            0,
            1,
            CHUNK_BYTES - 1,
            CHUNK_BYTES,
            CHUNK_BYTES + 1,
            3 * CHUNK_BYTES + 7,
        ] {
            let content: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let file = file_of(&content);
            let tag = of_file(&file, length as u64).expect("read");
            assert_eq!(tag, of_bytes(&content), "{length}");
        }
    }

    #[test]
    fn only_the_length_asked_for_counts_and_a_shorter_file_is_an_error() {
        let file = file_of(b"0123456789");
        assert_eq!(of_file(&file, 4).expect("read"), of_bytes(b"0123"));
        let error = of_file(&file, 11).expect_err("too short");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
