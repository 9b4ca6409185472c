//! The first line of an input is a script that says how the bytes after it are cut.
//!
//! Each byte of a script is one size: `1` is one byte, `9` nine, `a` forty-nine, and `0` none. The
//! last size repeats, so `1` alone is a delivery byte by byte; a `0` at the end means all the rest
//! at once. So a seed can be written with an editor, and a fuzzer can still choose every cut.

/// The first line without its LF, and the rest. An input without an LF has no script.
pub fn first_line(input: &[u8]) -> (&[u8], &[u8]) {
    match input.iter().position(|&byte| byte == b'\n') {
        Some(end) => (&input[..end], &input[end + 1..]),
        None => (b"", input),
    }
}

/// The size that a byte of a script stands for.
pub fn size(step: u8) -> usize {
    usize::from(step.wrapping_sub(b'0'))
}

/// The pieces of `bytes`, some of them perhaps empty. Together they are all of it.
pub fn pieces<'b>(script: &[u8], bytes: &'b [u8]) -> Vec<&'b [u8]> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    let mut steps = script.iter().map(|&step| size(step));
    let last = steps.next_back().unwrap_or(0);
    for step in steps {
        let (piece, tail) = rest.split_at(step.min(rest.len()));
        pieces.push(piece);
        rest = tail;
    }
    pieces.extend(rest.chunks(if last == 0 { rest.len().max(1) } else { last }));
    pieces
}
