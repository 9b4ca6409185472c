//! Byte ranges (RFC 9110 section 14).

use std::ops::Range;

use super::fields::list_members;

/// The most ranges in one field. With more the field is ignored: no client reads a file in that way, and each
/// part costs a head (RFC 9110 section 17.15).
const MAX_RANGES: usize = 16;

/// The part of a file that a Range field selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RangeSelection {
    /// The whole file, because the field is malformed, has another unit or too many ranges (RFC 9110 section
    /// 14.2).
    Ignore,
    /// No range touches the file: 416 (RFC 9110 section 15.5.17).
    Unsatisfiable,
    /// Offsets to send, in the order of the request: at least one range, none empty, none touching another.
    Ranges(Vec<Range<u64>>),
}

/// Evaluates the value of a Range field for a file of `length` bytes.
#[must_use]
pub fn select(value: &[u8], length: u64) -> RangeSelection {
    // A suffix of an empty file is satisfiable, but Content-Range cannot name a byte of it.
    let Some(specs) = byte_ranges(value).filter(|_| length > 0) else {
        return RangeSelection::Ignore;
    };
    let mut ranges: Vec<Range<u64>> = Vec::new();
    let mut count = 0;
    for spec in list_members(specs) {
        count += 1;
        let Some(spec) = RangeSpec::parse(spec).filter(|_| count <= MAX_RANGES) else {
            return RangeSelection::Ignore;
        };
        if let Some(range) = spec.resolve(length) {
            merge(&mut ranges, range);
        }
    }
    match (count, ranges.is_empty()) {
        (0, _) => RangeSelection::Ignore,
        (_, true) => RangeSelection::Unsatisfiable,
        (_, false) => RangeSelection::Ranges(ranges),
    }
}

/// The value after `bytes=`; units are compared without case (RFC 9110 section 14.1).
fn byte_ranges(value: &[u8]) -> Option<&[u8]> {
    let (unit, specs) = value.split_at_checked("bytes=".len())?;
    unit.eq_ignore_ascii_case(b"bytes=").then_some(specs)
}

/// `int-range / suffix-range` (RFC 9110 section 14.1.1).
#[derive(Debug, Clone, Copy)]
enum RangeSpec {
    /// The first position, and the last one if it is given.
    From(u64, Option<u64>),
    /// The number of bytes at the end.
    Suffix(u64),
}

impl RangeSpec {
    fn parse(spec: &[u8]) -> Option<RangeSpec> {
        let dash = memchr::memchr(b'-', spec)?;
        let (first, last) = (&spec[..dash], &spec[dash + 1..]);
        match (first.is_empty(), last.is_empty()) {
            (true, _) => Some(RangeSpec::Suffix(position(last)?)),
            (false, true) => Some(RangeSpec::From(position(first)?, None)),
            (false, false) => {
                let (first, last) = (position(first)?, position(last)?);
                (first <= last).then_some(RangeSpec::From(first, Some(last)))
            }
        }
    }

    /// The offsets in the file; `None` if the file has none of them (RFC 9110 section 14.1.2).
    fn resolve(self, length: u64) -> Option<Range<u64>> {
        let range = match self {
            RangeSpec::From(first, last) => {
                first..last.map_or(length, |last| last.saturating_add(1).min(length))
            }
            RangeSpec::Suffix(count) => length.saturating_sub(count)..length,
        };
        (range.start < range.end).then_some(range)
    }
}

/// `1*DIGIT`. A number that does not fit becomes larger than any file.
fn position(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0_u64, |value, digit| {
        value
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    });
    Some(value)
}

/// Adds `range`, merged with the ranges that it overlaps or touches (RFC 9110 section 14.2).
fn merge(ranges: &mut Vec<Range<u64>>, range: Range<u64>) {
    let mut merged = range;
    let mut place = ranges.len();
    let mut index = 0;
    while index < ranges.len() {
        let other = &ranges[index];
        if other.start <= merged.end && merged.start <= other.end {
            merged = other.start.min(merged.start)..other.end.max(merged.end);
            place = place.min(index);
            ranges.remove(index);
            // The merged range is larger, and may touch one that was skipped.
            index = 0;
        } else {
            index += 1;
        }
    }
    ranges.insert(place.min(ranges.len()), merged);
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)] // a list of one range is what is meant
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ranges(value: &str, length: u64) -> Vec<Range<u64>> {
        match select(value.as_bytes(), length) {
            RangeSelection::Ranges(ranges) => ranges,
            other => panic!("{value}: {other:?}"),
        }
    }

    #[test]
    fn a_range_names_its_first_and_last_byte_rfc9110_14_1_2() {
        assert_eq!(ranges("bytes=0-0", 10), [0..1]);
        assert_eq!(ranges("BYTES=2-4", 10), [2..5]);
        assert_eq!(ranges("bytes=2-", 10), [2..10]);
        assert_eq!(ranges("bytes=-3", 10), [7..10]);
        assert_eq!(ranges("bytes=-30", 10), [0..10]);
        assert_eq!(ranges("bytes=8-99999999999999999999999", 10), [8..10]);
    }

    #[test]
    fn a_range_beyond_the_end_is_unsatisfiable_rfc9110_14_1_2() {
        for value in [
            "bytes=10-",
            "bytes=10-20",
            "bytes=-0",
            "bytes=99999999999999999999999-",
        ] {
            assert_eq!(
                select(value.as_bytes(), 10),
                RangeSelection::Unsatisfiable,
                "{value}"
            );
        }
        assert_eq!(
            ranges("bytes=10-,0-1", 10),
            [0..2],
            "one that is left is enough"
        );
    }

    #[test]
    fn malformed_values_and_other_units_are_ignored_rfc9110_14_2() {
        let values = [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-",
            "bytes=1-a",
            "bytes=3-2",
            "bytes=1",
            "bytes= =1-2",
            "bytes=+1-2",
            "bytes=1--2",
            "bytes=0x1-2",
            "lines=1-2",
            "bytes 1-2",
            "bytes=1-2;3-4",
        ];
        for value in values {
            assert_eq!(
                select(value.as_bytes(), 10),
                RangeSelection::Ignore,
                "{value}"
            );
        }
    }

    #[test]
    fn an_empty_file_has_no_ranges() {
        assert_eq!(select(b"bytes=-1", 0), RangeSelection::Ignore);
    }

    #[test]
    fn ranges_that_touch_become_one_and_the_order_stays_rfc9110_14_2() {
        assert_eq!(ranges("bytes=0-1, 5-6 ,,2-3", 10), [0..4, 5..7]);
        assert_eq!(ranges("bytes=8-9,0-1", 10), [8..10, 0..2]);
        assert_eq!(ranges("bytes=0-1,4-5,2-3", 10), [0..6]);
    }

    #[test]
    fn seventeen_ranges_are_too_many() {
        let many = |count: usize| {
            let specs: Vec<_> = (0..count).map(|n| format!("{0}-{0}", 2 * n)).collect();
            format!("bytes={}", specs.join(","))
        };
        assert_eq!(ranges(&many(16), 100).len(), 16);
        assert_eq!(select(many(17).as_bytes(), 100), RangeSelection::Ignore);
    }

    proptest! {
        #[test]
        fn ranges_are_disjoint_not_empty_and_inside(value in "bytes=([0-9]{0,3}-[0-9]{0,3},){0,20}", length in 0_u64..200) {
            if let RangeSelection::Ranges(ranges) = select(value.as_bytes(), length) {
                prop_assert!(!ranges.is_empty() && ranges.len() <= MAX_RANGES);
                for (index, range) in ranges.iter().enumerate() {
                    prop_assert!(range.start < range.end && range.end <= length);
                    for other in &ranges[index + 1..] {
                        prop_assert!(range.end < other.start || other.end < range.start);
                    }
                }
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(value in proptest::collection::vec(any::<u8>(), 0..60), length: u64) {
            let _ = select(&value, length);
        }
    }
}
