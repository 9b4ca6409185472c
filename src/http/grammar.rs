//! Byte classes and the small productions that several grammars share (RFC 9110 section 5.6).
//!
//! One table lookup tells whether a byte may stand in a place. Names, targets and values can be long, so they
//! are scanned eight bytes at a time.

const TOKEN: u8 = 1;
const TARGET: u8 = 2;
const REG_NAME: u8 = 4;

/// One bit per class for each byte.
static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0u8; 256];
    let mut byte = 0u8;
    loop {
        let mut class = 0;
        let alphanumeric = byte.is_ascii_alphanumeric();
        if alphanumeric || contains(b"!#$%&'*+-.^_`|~", byte) {
            class |= TOKEN;
        }
        if byte.is_ascii_graphic() && byte != b'#' {
            class |= TARGET;
        }
        if alphanumeric || contains(b"-._~!$&'()*+;=", byte) {
            class |= REG_NAME;
        }
        table[byte as usize] = class;
        if byte == u8::MAX {
            return table;
        }
        byte += 1;
    }
}

const fn contains(set: &[u8], byte: u8) -> bool {
    let mut i = 0;
    while i < set.len() {
        if set[i] == byte {
            return true;
        }
        i += 1;
    }
    false
}

/// tchar (RFC 9110 section 5.6.2).
pub(super) fn is_tchar(byte: u8) -> bool {
    CLASSES[byte as usize] & TOKEN != 0
}

/// A byte that may stand in a request target: 0x21 to 0x7E without `#`, which begins a fragment. Fragments
/// are never sent.
fn is_target_byte(byte: u8) -> bool {
    CLASSES[byte as usize] & TARGET != 0
}

/// unreserved or sub-delims without the comma (RFC 3986 section 3.2.2); `%` is not among them. A comma in
/// Host would make two hosts of one.
fn is_reg_name_byte(byte: u8) -> bool {
    CLASSES[byte as usize] & REG_NAME != 0
}

/// HTAB, SP, VCHAR or obs-text: the bytes of a field value (RFC 9110 section 5.5).
pub(super) fn is_field_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7F)
}

/// SP or HTAB: optional whitespace (RFC 9110 section 5.6.3).
pub(super) fn is_ows(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// etagc (RFC 9110 section 8.8.3).
pub(super) fn is_etagc(byte: u8) -> bool {
    byte > b' ' && byte != b'"' && byte != 0x7F
}

/// The value of a hexadecimal digit.
pub(super) fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// The bytes of a field value that are looked at together.
const BLOCK_BYTES: usize = 32;

/// The byte 0x01 eight times; `ONES * b` is `b` eight times.
const ONES: u64 = u64::MAX / 0xFF;
const HIGH_BITS: u64 = ONES * 0x80;

/// The number of bytes at the front of `bytes` that belong to a class. Looks at eight at a time.
///
/// `suspects` sets the high bit of bytes that may not belong. Its lowest mark must be no higher than the
/// first byte that does not belong; `belongs` decides about that byte.
#[inline(always)]
fn run_len(bytes: &[u8], suspects: impl Fn(u64) -> u64, belongs: impl Fn(u8) -> bool) -> usize {
    let mut at = 0;
    while let Some(eight) = bytes[at..].first_chunk::<8>() {
        let suspects = suspects(u64::from_le_bytes(*eight)) & HIGH_BITS;
        if suspects == 0 {
            at += 8;
            continue;
        }
        at += suspects.trailing_zeros() as usize / 8;
        if !belongs(bytes[at]) {
            return at;
        }
        at += 1;
    }
    while at < bytes.len() && belongs(bytes[at]) {
        at += 1;
    }
    at
}

/// Whether some byte of `bytes` and the next one are a pair that belongs to a class. Looks at eight pairs at
/// a time.
///
/// `suspects` takes eight bytes and their successors, and sets the high bit where a pair may belong. It must
/// not miss one; `belongs` decides.
#[inline(always)]
pub(super) fn has_pair(
    bytes: &[u8],
    suspects: impl Fn(u64, u64) -> u64,
    belongs: impl Fn(u8, u8) -> bool,
) -> bool {
    // Fills the rest of the last word; no class that is searched for contains it.
    const FILLER: u8 = b'_';
    let may_have = |&[eight @ .., last]: &[u8; 9]| {
        let firsts = u64::from_le_bytes(eight);
        let seconds = firsts >> 8 | u64::from(last) << 56;
        suspects(firsts, seconds) & HIGH_BITS != 0
    };
    let mut rest = bytes;
    while let Some(nine) = rest.first_chunk::<9>() {
        if may_have(nine) {
            return rest.windows(2).any(|pair| belongs(pair[0], pair[1]));
        }
        rest = &rest[8..];
    }
    let mut nine = [FILLER; 9];
    nine[..rest.len()].copy_from_slice(rest);
    may_have(&nine) && rest.windows(2).any(|pair| belongs(pair[0], pair[1]))
}

/// Marks the first byte below `floor`. The subtraction sets the high bit of a byte that is too small. A
/// borrow can change only the bytes above such a byte, so the lowest mark is exact.
fn first_below(word: u64, floor: u8) -> u64 {
    word.wrapping_sub(ONES * u64::from(floor)) & !word
}

/// Marks the first byte equal to `byte`.
pub(super) fn first_equal(word: u64, byte: u8) -> u64 {
    first_below(word ^ (ONES * u64::from(byte)), 1)
}

/// The number of tchars at the front of `bytes`.
#[inline]
pub(super) fn token_len(bytes: &[u8]) -> usize {
    // Names consist of letters and hyphens; all else is suspect. Bytes above 0x7F are. Without high bits,
    // sums cannot carry, and every byte is suspect that is neither a hyphen nor between a and z.
    let suspects = |word: u64| {
        let low = word & !HIGH_BITS;
        let folded = low | (ONES * 0x20);
        let from_a = folded + ONES * u64::from(0x80 - b'a');
        let above_z = folded + ONES * u64::from(0x7F - b'z');
        let not_hyphen = (low ^ (ONES * u64::from(b'-'))) + ONES * 0x7F;
        word | ((!from_a | above_z) & not_hyphen)
    };
    run_len(bytes, suspects, is_tchar)
}

/// The number of bytes at the front of `bytes` that may stand in a request target.
#[inline]
pub(super) fn target_len(bytes: &[u8]) -> usize {
    let suspects = |word: u64| {
        word | first_below(word, 0x21) | first_equal(word, b'#') | first_equal(word, 0x7F)
    };
    run_len(bytes, suspects, is_target_byte)
}

/// The number of field text bytes at the front of `bytes`.
#[inline]
pub(super) fn field_text_len(bytes: &[u8]) -> usize {
    // Most values are plain text. A loop without branches compiles to vector instructions.
    let is_plain = |block: &[u8; BLOCK_BYTES]| {
        let others = block
            .iter()
            .map(|byte| u8::from(*byte < 0x20 || *byte == 0x7F));
        others.fold(0, |some, other| some | other) == 0
    };
    let mut at = 0;
    while bytes[at..].first_chunk().is_some_and(is_plain) {
        at += BLOCK_BYTES;
    }
    let suspects = |word: u64| first_below(word, 0x20) | first_equal(word, 0x7F);
    at + run_len(&bytes[at..], suspects, is_field_text)
}

/// The number of bytes at the front of `bytes` that may stand in a registered name unescaped.
#[inline]
pub(super) fn reg_name_len(bytes: &[u8]) -> usize {
    // Host names consist of small letters, digits, dots and hyphens, and end at a colon or at the end of the
    // bytes; all else is suspect. 0x2D to 0x2F are hyphen, dot and slash.
    let suspects = |word: u64| {
        let low = word & !HIGH_BITS;
        let from_a = low + ONES * u64::from(0x80 - b'a');
        let above_z = low + ONES * u64::from(0x7F - b'z');
        let from_hyphen = low + ONES * u64::from(0x80 - b'-');
        let above_9 = low + ONES * u64::from(0x7F - b'9');
        let slash = first_equal(word, b'/');
        word | slash | !((from_a & !above_z) | (from_hyphen & !above_9))
    };
    run_len(bytes, suspects, is_reg_name_byte)
}

/// The length of the quoted-string at the front of `bytes`, quotes included; `None` if there is none or it
/// does not end (RFC 9110 section 5.6.4).
pub(super) fn quoted_string_len(bytes: &[u8]) -> Option<usize> {
    if bytes.first() != Some(&b'"') {
        return None;
    }
    let mut at = 1;
    loop {
        match *bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' if is_field_text(*bytes.get(at + 1)?) => at += 2,
            b'\\' => return None,
            byte if is_field_text(byte) => at += 1,
            _ => return None,
        }
    }
}

/// `bytes` without whitespace at the front.
pub(super) fn trim_ows_start(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

/// `bytes` without whitespace at either end.
pub(super) fn trim_ows(bytes: &[u8]) -> &[u8] {
    let mut bytes = trim_ows_start(bytes);
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_bytes_are_those_of_rfc9110_5_6_2() {
        let delimiters = b"\"(),/:;<=>?@[\\]{}";
        for byte in 0..=u8::MAX {
            let expected = byte.is_ascii_graphic() && !delimiters.contains(&byte);
            assert_eq!(is_tchar(byte), expected, "byte {byte:#04x}");
        }
    }

    #[test]
    fn target_bytes_are_visible_ascii_without_the_number_sign() {
        for byte in 0..=u8::MAX {
            let expected = (0x21..=0x7E).contains(&byte) && byte != b'#';
            assert_eq!(is_target_byte(byte), expected, "byte {byte:#04x}");
        }
    }

    #[test]
    fn a_run_stops_at_exactly_the_first_byte_that_does_not_belong() {
        type Class = (fn(&[u8]) -> usize, fn(u8) -> bool, &'static [u8; 24]);
        let classes: [Class; 4] = [
            (reg_name_len, is_reg_name_byte, b"www.example-1.com~AZ$_z0"),
            (token_len, is_tchar, b"Sec-CH_UA.1!zZaA`~|^09#$"),
            (target_len, is_target_byte, b"/a.b\"{}<>?~!$%&'()*+,-_z"),
            (
                field_text_len,
                is_field_text,
                b"\xff abc\tdefgh~ijkl\x80 mnopq!",
            ),
        ];
        for (run_len, belongs, run) in classes {
            for length in 0..=24 {
                assert_eq!(run_len(&run[..length]), length);
            }
            for (byte, position) in (0..=u8::MAX).flat_map(|b| (0..24).map(move |p| (b, p))) {
                let mut bytes = *run;
                bytes[position] = byte;
                let expected = if belongs(byte) { 24 } else { position };
                assert_eq!(run_len(&bytes), expected, "{byte:#04x} at {position}");
            }
        }
    }

    #[test]
    fn a_pair_is_found_wherever_it_stands() {
        let has_ab = |bytes: &[u8]| {
            let suspects = |a, b| first_equal(a, b'a') & first_equal(b, b'b');
            has_pair(bytes, suspects, |a, b| (a, b) == (b'a', b'b'))
        };
        for length in 0..=24 {
            // Almost a pair at every place.
            let plain: Vec<u8> = b"ba`acb".iter().copied().cycle().take(length).collect();
            assert!(!has_ab(&plain), "{length}");
            for at in 0..length.saturating_sub(1) {
                let mut bytes = plain.clone();
                bytes[at..at + 2].copy_from_slice(b"ab");
                assert!(has_ab(&bytes), "{at} of {length}");
            }
        }
    }

    #[test]
    fn a_quoted_string_may_hold_escaped_quotes_rfc9110_5_6_4() {
        assert_eq!(quoted_string_len(br#""a\"b" rest"#), Some(6));
        assert_eq!(quoted_string_len(br#""open"#), None);
        assert_eq!(quoted_string_len(br#""open\"#), None);
        assert_eq!(quoted_string_len(b"\"nul\0\""), None);
        assert_eq!(quoted_string_len(b"token"), None);
    }

    #[test]
    fn whitespace_is_trimmed_at_both_ends() {
        assert_eq!(trim_ows(b" \t a b\t "), b"a b");
        assert_eq!(trim_ows(b" \t"), b"");
    }
}
