//! `http::range::select`, `http::preconditions::evaluate` and `if_range_holds` on any field values.
//!
//! - Selected ranges lie inside the file, are not empty and do not touch. There are at most 16. They cover
//!   the bytes that a naive reader finds requested. Written out again they select themselves.
//! - Without a condition there is no 304 and no 412, and each needs one of its own fields.
//! - An entity-tag list in several lines equals the same list in one line (RFC 9110 section 5.3).
//! - A field that RFC 9110 section 13.2.2 says to ignore, because a stronger field is present, is ignored.
//! - A weak tag, a tag or date other than the file's, and a repeated If-Range never hold.

use std::ops::Range;

use abide::http::fields::Fields;
use abide::http::method::Method;
use abide::http::preconditions::{PreconditionResult, Validators, evaluate, if_range_holds};
use abide::http::range::{RangeSelection, select};
use abide::http::request::{HeadLimits, Parsed, parse_head};

use super::script::first_line;

const LIMITS: HeadLimits = HeadLimits {
    target_bytes: 64,
    head_bytes: 65_536,
    headers: 1_000,
};

/// Sun, 06 Nov 1994 08:49:37 GMT.
const MODIFIED: u64 = 784_111_777;
const ETAG: &[u8] = b"\"v1\"";

/// A file up to this long is compared byte by byte with what a naive reader selects.
const SMALL_FILE: u64 = 256;

/// A field line as a seed writes it: one letter for the name, then the value.
type Line<'i> = (&'static str, &'i [u8]);

/// `input` is a line of circumstances (see [`Circumstances`]), then one line per field.
pub fn check(input: &[u8]) {
    let (first, rest) = first_line(input);
    let circumstances = Circumstances::read(first);
    let lines: Vec<Line<'_>> = rest
        .split(|&byte| byte == b'\n')
        .filter_map(named)
        .collect();
    for (_, value) in lines.iter().filter(|(name, _)| *name == "Range") {
        check_selection(value, circumstances.length);
    }
    let Some(result) = circumstances.ask(&lines) else {
        return; // One of the values is not a field value.
    };
    circumstances.check_cause(&result, &lines);
    let joined = joined_lists(&lines);
    let joined: Vec<_> = joined
        .iter()
        .map(|(name, value)| (*name, &value[..]))
        .collect();
    assert_eq!(circumstances.ask(&joined), Some(result));
    let effective = without_what_is_ignored(&lines);
    assert_eq!(circumstances.ask(&effective).map(|it| it.0), Some(result.0));
}

fn named(line: &[u8]) -> Option<Line<'_>> {
    let (letter, value) = line.split_first()?;
    let name = match letter {
        b'm' => "If-Match",
        b'u' => "If-Unmodified-Since",
        b'n' => "If-None-Match",
        b's' => "If-Modified-Since",
        b'i' => "If-Range",
        b'r' => "Range",
        _ => return None,
    };
    Some((name, value))
}

/// The input apart from the fields, written as a letter and a number: the method (`g`, `h`, `p` or `o`; a
/// capital letter means no entity tag), and the file's length. A `<` before it sets the clock to a time
/// before the file was last modified.
struct Circumstances {
    method: &'static str,
    etag: Option<&'static [u8]>,
    now_unix_secs: u64,
    length: u64,
}

impl Circumstances {
    fn read(line: &[u8]) -> Circumstances {
        let (is_early, line) = match line {
            [b'<', rest @ ..] => (true, rest),
            line => (false, line),
        };
        let letter = line.first().copied().unwrap_or(b'g');
        let digits = line.iter().filter(|byte| byte.is_ascii_digit());
        Circumstances {
            method: match letter.to_ascii_lowercase() {
                b'h' => "HEAD",
                b'p' => "POST",
                b'o' => "OPTIONS",
                _ => "GET",
            },
            etag: (!letter.is_ascii_uppercase()).then_some(ETAG),
            now_unix_secs: if is_early {
                MODIFIED - 60
            } else {
                MODIFIED + 60
            },
            length: digits.fold(0, |length: u64, digit| {
                length
                    .wrapping_mul(10)
                    .wrapping_add(u64::from(digit - b'0'))
            }),
        }
    }

    /// The result of the preconditions, and whether If-Range holds, for a request with these fields. `None`
    /// if one of the values is not a field value.
    fn ask(&self, lines: &[Line<'_>]) -> Option<(PreconditionResult, bool)> {
        let mut bytes = format!("{} /f HTTP/1.1\r\nHost: h\r\n", self.method).into_bytes();
        for (name, value) in lines {
            bytes.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        bytes.extend_from_slice(b"\r\n");
        let mut spans = Vec::new();
        let parsed = parse_head(&bytes, &LIMITS, &mut spans);
        let Ok(Parsed::Complete { head, consumed }) = parsed else {
            return None;
        };
        // A value with a CR LF would have made a line of its own.
        (consumed == bytes.len() && head.fields.iter().count() == lines.len() + 1)
            .then(|| self.result(head.method, &head.fields))
    }

    fn result(&self, method: Method, fields: &Fields<'_, '_>) -> (PreconditionResult, bool) {
        let validators = Validators {
            etag: self.etag,
            last_modified_unix_secs: Some(MODIFIED),
        };
        let unknown = Validators {
            etag: None,
            last_modified_unix_secs: None,
        };
        let is_unconditional = fields.first("if-range").is_none();
        let now = self.now_unix_secs;
        assert_eq!(if_range_holds(fields, &unknown, now), is_unconditional);
        (
            evaluate(method, fields, &validators, now),
            if_range_holds(fields, &validators, now),
        )
    }

    /// Each outcome needs a field that can cause it.
    fn check_cause(&self, (result, range_holds): &(PreconditionResult, bool), lines: &[Line<'_>]) {
        let values = |wanted| {
            let lines = lines.iter().filter(move |(name, _)| *name == wanted);
            lines.map(|(_, value)| trimmed(value))
        };
        let has = |wanted| values(wanted).next().is_some();
        let is_safe = matches!(self.method, "GET" | "HEAD");
        match result {
            PreconditionResult::Proceed => {
                let is_any = self.method != "OPTIONS" && values("If-None-Match").eq([b"*"]);
                assert!(!is_any, "If-None-Match: * never proceeds");
            }
            PreconditionResult::NotModified => {
                assert!(is_safe && (has("If-None-Match") || has("If-Modified-Since")));
            }
            PreconditionResult::Failed => {
                let by_none_match = !is_safe && has("If-None-Match");
                assert!(has("If-Match") || has("If-Unmodified-Since") || by_none_match);
                assert_ne!(self.method, "OPTIONS");
            }
        }
        if *range_holds && has("If-Range") {
            let only: Vec<_> = values("If-Range").collect();
            let [value] = only[..] else {
                panic!("a repeated If-Range holds");
            };
            let is_over = MODIFIED < self.now_unix_secs;
            let is_date = is_over && httpdate_of(value) == Some(MODIFIED);
            assert!(
                self.etag == Some(value) || is_date,
                "{:?}",
                value.escape_ascii()
            );
        }
    }
}

fn httpdate_of(value: &[u8]) -> Option<u64> {
    let date = httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()?;
    Some(date.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs())
}

fn trimmed(value: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let Some(start) = value.iter().position(is_text) else {
        return b"";
    };
    let end = value.iter().rposition(is_text).unwrap_or(start);
    &value[start..=end]
}

/// Joins the lines of each entity-tag list into one line, in the place of the first.
fn joined_lists<'i>(lines: &[Line<'i>]) -> Vec<(&'static str, Vec<u8>)> {
    let mut joined: Vec<(&'static str, Vec<u8>)> = Vec::new();
    for (name, value) in lines {
        let is_list = matches!(*name, "If-Match" | "If-None-Match");
        match joined
            .iter_mut()
            .find(|(first, _)| is_list && first == name)
        {
            Some((_, list)) => list.extend_from_slice(&[b", ", *value].concat()),
            None => joined.push((name, value.to_vec())),
        }
    }
    joined
}

/// RFC 9110 sections 13.1.3 and 13.1.4: a date is ignored if a tag is given. Range and If-Range do not
/// affect the result of the preconditions.
fn without_what_is_ignored<'i>(lines: &[Line<'i>]) -> Vec<Line<'i>> {
    let has = |wanted| lines.iter().any(|(name, _)| *name == wanted);
    let is_ignored = |name: &str| match name {
        "If-Unmodified-Since" => has("If-Match"),
        "If-Modified-Since" => has("If-None-Match"),
        "Range" | "If-Range" => true,
        _ => false,
    };
    let lines = lines.iter().filter(|(name, _)| !is_ignored(name));
    lines.copied().collect()
}

fn check_selection(value: &[u8], length: u64) {
    let naive = naive_specs(value).filter(|specs| specs.len() <= 16 && length > 0);
    match (select(value, length), naive) {
        (RangeSelection::Ignore, naive) => assert_eq!(naive, None),
        (selection, None) => panic!("{:?} selects {selection:?}", value.escape_ascii()),
        (RangeSelection::Unsatisfiable, Some(specs)) => {
            let probes =
                (0..length.min(SMALL_FILE)).chain(length.saturating_sub(SMALL_FILE)..length);
            for offset in probes {
                assert!(!specs.iter().any(|spec| asks_for(*spec, offset, length)));
            }
        }
        (RangeSelection::Ranges(ranges), Some(specs)) => {
            check_ranges(&ranges, length);
            for offset in 0..length.min(SMALL_FILE) {
                let is_asked_for = specs.iter().any(|spec| asks_for(*spec, offset, length));
                let is_selected = ranges.iter().any(|range| range.contains(&offset));
                assert_eq!(is_selected, is_asked_for, "offset {offset}");
            }
        }
    }
}

fn check_ranges(ranges: &[Range<u64>], length: u64) {
    assert!((1..=16).contains(&ranges.len()));
    for (index, range) in ranges.iter().enumerate() {
        assert!(range.start < range.end && range.end <= length);
        for other in &ranges[index + 1..] {
            assert!(range.end < other.start || other.end < range.start);
        }
    }
    let specs: Vec<_> = ranges
        .iter()
        .map(|range| format!("{}-{}", range.start, range.end - 1))
        .collect();
    let again = select(format!("bytes={}", specs.join(",")).as_bytes(), length);
    assert_eq!(again, RangeSelection::Ranges(ranges.to_vec()));
}

/// The two numbers of a range-spec as they are written. `None` in [`naive_specs`] means that the field is
/// ignored.
type Spec = (Option<u128>, Option<u128>);

fn naive_specs(value: &[u8]) -> Option<Vec<Spec>> {
    let text = std::str::from_utf8(value).ok()?.to_ascii_lowercase();
    let members = text.strip_prefix("bytes=")?.split(',');
    let members = members.map(|member| member.trim_matches([' ', '\t']));
    let specs: Option<Vec<Spec>> = members
        .filter(|member| !member.is_empty())
        .map(naive_spec)
        .collect();
    specs.filter(|specs| !specs.is_empty())
}

fn naive_spec(member: &str) -> Option<Spec> {
    let (first, last) = member.split_once('-')?;
    let number = |digits: &str| {
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        // A number that does not fit is beyond the end of any file.
        is_number.then(|| (!digits.is_empty()).then(|| digits.parse().unwrap_or(u128::MAX)))
    };
    match (number(first)?, number(last)?) {
        (None, None) => None,
        (Some(first), Some(last)) if first > last && last < u64::MAX.into() => None,
        spec => Some(spec),
    }
}

fn asks_for((first, last): Spec, offset: u64, length: u64) -> bool {
    let offset = u128::from(offset);
    match (first, last) {
        (Some(first), last) => first <= offset && last.is_none_or(|last| offset <= last),
        (None, Some(count)) => u128::from(length) - offset <= count,
        (None, None) => false,
    }
}
