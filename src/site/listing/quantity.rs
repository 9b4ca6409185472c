//! Sizes and times as text.

use jiff::Timestamp;

/// `bytes` rounded for people: `999 B`, `1.5 kB`, `27 MB`. Decimal prefixes, at least two digits.
#[must_use]
pub fn rounded_size(bytes: u64) -> String {
    const PREFIXES: [&str; 6] = ["k", "M", "G", "T", "P", "E"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut unit = 1_u128;
    for prefix in PREFIXES {
        unit *= 1000;
        let tenths = (u128::from(bytes) * 10 + unit / 2) / unit;
        if tenths < 100 {
            return format!("{}.{} {prefix}B", tenths / 10, tenths % 10);
        }
        let whole = (u128::from(bytes) + unit / 2) / unit;
        if whole < 1000 {
            return format!("{whole} {prefix}B");
        }
    }
    // Unreachable: 2^64 bytes are 18 EB.
    format!("{bytes} B")
}

/// The exact number `bytes`, in groups of three digits: `1,234,567`.
#[must_use]
pub fn grouped(bytes: u64) -> String {
    let mut digits = bytes.to_string();
    let mut at = digits.len();
    while at > 3 {
        at -= 3;
        digits.insert(at, ',');
    }
    digits
}

/// The time in the format `2026-11-25T13:13:42Z` (RFC 3339). `None` outside the years 0 to 9999, which four
/// digits cannot express.
#[must_use]
pub fn timestamp(unix_secs: i64) -> Option<String> {
    let text = Timestamp::from_second(unix_secs).ok()?.to_string();
    (!text.starts_with('-')).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_two_digits_or_three() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (1_049, "1.0 kB"),
            (1_050, "1.1 kB"),
            (9_949, "9.9 kB"),
            (9_950, "10 kB"),
            (12_499, "12 kB"),
            (999_499, "999 kB"),
            (999_500, "1.0 MB"),
            (27_000_000, "27 MB"),
            (4_700_000_000, "4.7 GB"),
            (u64::MAX, "18 EB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(rounded_size(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn digits_are_grouped_from_the_right() {
        for (bytes, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (123_456, "123,456"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(bytes), text);
        }
    }

    #[test]
    fn a_time_is_written_as_rfc3339_has_it() {
        assert_eq!(timestamp(0).as_deref(), Some("1970-01-01T00:00:00Z"));
        assert_eq!(timestamp(-1).as_deref(), Some("1969-12-31T23:59:59Z"));
        assert_eq!(
            timestamp(1_709_210_096).as_deref(),
            Some("2024-02-29T12:34:56Z")
        );
        for absurd in [i64::MIN, -70_000_000_000, 300_000_000_000, i64::MAX] {
            assert_eq!(timestamp(absurd), None, "{absurd}");
        }
    }
}
