//! Writes and parses HTTP dates (RFC 9110 section 5.6.7).

use std::time::{Duration, UNIX_EPOCH};

use httpdate::HttpDate;

/// The length of an IMF-fixdate in bytes.
pub(super) const DATE_LEN: usize = "Sun, 06 Nov 1994 08:49:37 GMT".len();

/// The last second of the year 9999: an IMF-fixdate has four digits for the year.
const LAST_SECOND: u64 = 253_402_300_799;

/// `unix_secs` seconds after the start of 1970 as an IMF-fixdate, which always has 29 bytes.
#[must_use]
pub fn http_date(unix_secs: u64) -> String {
    date_of(unix_secs).to_string()
}

/// The date of [`http_date`], not yet written.
pub(super) fn date_of(unix_secs: u64) -> HttpDate {
    (UNIX_EPOCH + Duration::from_secs(unix_secs.min(LAST_SECOND))).into()
}

/// Parses an HTTP-date in any of its three formats, into seconds since 1970. A leap second, which Unix time
/// does not have, counts as the second before it. A year before 1970, which no file here has, counts as 1970.
pub(super) fn parse_date(value: &[u8], now_unix_secs: u64) -> Option<u64> {
    if let Ok(fixdate) = <&[u8; DATE_LEN]>::try_from(value)
        && let Some(unix_secs) = parse_fixdate(fixdate)
    {
        return Some(unix_secs);
    }
    let text = std::str::from_utf8(value).ok()?;
    // Only the rfc850-date has the full name of the day.
    match value.get(3) {
        Some(b',' | b' ') => parse_full_year(text),
        _ => Rfc850::split(text)?.unix_secs(now_unix_secs),
    }
}

/// The form of an IMF-fixdate (RFC 9110 section 5.6.7), with `?` for letters and digits.
const FIXDATE_FORM: &[u8; DATE_LEN] = b"???, ?? ??? ???? ??:??:?? GMT";

/// Parses an IMF-fixdate from 1970 on, the format of nearly all dates. `None` also for some other valid dates.
fn parse_fixdate(date: &[u8; DATE_LEN]) -> Option<u64> {
    let has_form = FIXDATE_FORM
        .iter()
        .zip(date)
        .all(|(form, byte)| *form == b'?' || form == byte);
    if !has_form {
        return None;
    }
    let number = |at: usize| {
        let [tens, ones] = [at, at + 1].map(|at| u64::from(date[at].wrapping_sub(b'0')));
        (tens < 10 && ones < 10).then_some(10 * tens + ones)
    };
    let name_at = |names: &[&str], at: usize| {
        let mut names = names.iter();
        names.position(|known| known.as_bytes()[..3] == date[at..at + 3])
    };
    let (day, month) = (number(5)?, name_at(&MONTHS, 8)?);
    let year = 100 * number(12)? + number(14)?;
    let (hours, minutes, seconds) = (number(17)?, number(20)?, number(23)?);
    // Every month has 28 days.
    if !(1..=28).contains(&day) || year < 1970 || hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    // The years begin in March, so that a leap day is the last of its year.
    let (year, months) = match month {
        0 | 1 => (year - 1, month as u64 + 10),
        _ => (year, month as u64 - 2),
    };
    let days_before_month = (153 * months + 2) / 5;
    let days_from_year_0 =
        365 * year + year / 4 - year / 100 + year / 400 + days_before_month + day - 1;
    let days = days_from_year_0 - DAYS_FROM_YEAR_0_TO_1970;
    // The first of 1970 was a Thursday.
    let has_right_name = name_at(&DAYS, 0) == Some((days as usize + 3) % 7);
    has_right_name.then_some(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
}

/// Parses a date whose year has four digits.
fn parse_full_year(text: &str) -> Option<u64> {
    let known = httpdate::parse_http_date(text).ok();
    let known = known.or_else(|| httpdate::parse_http_date(&text.replacen(":60 ", ":59 ", 1)).ok());
    if let Some(date) = known {
        return Some(date.duration_since(UNIX_EPOCH).ok()?.as_secs());
    }
    // The positions of the year in an IMF-fixdate and in an asctime-date. The calendar repeats every 400
    // years.
    [12..16, 20..24].into_iter().find_map(|place| {
        let year: u32 = text.get(place.clone())?.parse().ok()?;
        let years_short = 1970_u32.checked_sub(year)?;
        let same_calendar = year + 400 * years_short.div_ceil(400);
        let mut modern = text.to_owned();
        modern.replace_range(place, &same_calendar.to_string());
        httpdate::parse_http_date(&modern).ok().map(|_| 0)
    })
}

/// The days from the first of March of the year 0 to the first of January 1970.
const DAYS_FROM_YEAR_0_TO_1970: u64 = 719_468;

const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// The parts of an rfc850-date, the obsolete format with two digits for the year.
struct Rfc850<'a> {
    year: u64,
    /// Counted from 0.
    month: usize,
    /// Two bytes.
    day: &'a str,
    /// `08:49:37`
    time: &'a str,
}

impl<'a> Rfc850<'a> {
    /// Splits `Sunday, 06-Nov-94 08:49:37 GMT`. Does not check that the day and the time exist.
    fn split(text: &'a str) -> Option<Rfc850<'a>> {
        let (name_of_day, rest) = text.split_once(", ")?;
        let (date, time) = rest.strip_suffix(" GMT")?.split_once(' ')?;
        let mut parts = date.split('-');
        let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
        let is_whole = parts.next().is_none() && day.len() == 2 && year.len() == 2;
        let is_number = year.bytes().all(|byte| byte.is_ascii_digit());
        if !(DAYS.contains(&name_of_day) && is_whole && is_number) {
            return None;
        }
        Some(Rfc850 {
            year: year.parse().ok()?,
            month: MONTHS.iter().position(|name| *name == month)?,
            day,
            time,
        })
    }

    /// The seconds since 1970. The year is the last one that ends in these digits and is not more than 50
    /// years ahead. The name of the day is ignored: it may belong to another century.
    fn unix_secs(&self, now_unix_secs: u64) -> Option<u64> {
        let now = http_date(now_unix_secs);
        let last_year = now.get(12..16)?.parse::<u64>().ok()? + 50;
        let mut year = last_year - (last_year - self.year) % 100;
        let month_now = MONTHS
            .iter()
            .position(|name| now.get(8..11) == Some(name))?;
        let time_of_year_now = (month_now, now.get(5..7)?, now.get(17..25)?);
        if year == last_year && (self.month, self.day, self.time) > time_of_year_now {
            year -= 100;
        }
        let rest = format!(
            "{} {} {year} {} GMT",
            self.day, MONTHS[self.month], self.time
        );
        DAYS.iter()
            .find_map(|name| parse_full_year(&format!("{}, {rest}", &name[..3])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quick_parser_agrees_with_the_general_one() {
        // Primes apart, so that all days, months and times of day occur.
        let dates = (0..LAST_SECOND).step_by(86_400 * 37 + 5_077);
        let mut quick = 0;
        for unix_secs in dates {
            let date = http_date(unix_secs);
            let fixdate = date.as_bytes().try_into().expect("29 bytes");
            if let Some(parsed) = parse_fixdate(fixdate) {
                assert_eq!(parsed, unix_secs, "{date}");
                quick += 1;
            }
            // Each byte changed: what the quick parser accepts, the general one does too.
            for at in 0..DATE_LEN {
                let mut wrong: [u8; DATE_LEN] = *fixdate;
                wrong[at] = wrong[at].wrapping_add((unix_secs % 7) as u8 + 1);
                if let Some(parsed) = parse_fixdate(&wrong) {
                    let text = std::str::from_utf8(&wrong).expect("ASCII");
                    assert_eq!(parse_full_year(text), Some(parsed), "{text}");
                }
            }
        }
        assert!(quick > 70_000, "{quick}");
    }

    #[test]
    fn a_date_has_29_bytes_to_the_last_that_can_be_written() {
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        for unix_secs in [0, LAST_SECOND, u64::MAX] {
            assert_eq!(http_date(unix_secs).len(), DATE_LEN);
        }
    }

    /// Mon, 30 Nov 2026 12:00:00 GMT
    const NOW_SECS: u64 = 1_796_040_000;

    fn parse(text: &str) -> Option<u64> {
        parse_date(text.as_bytes(), NOW_SECS)
    }

    #[test]
    fn all_three_formats_are_read_rfc9110_5_6_7() {
        assert_eq!(http_date(NOW_SECS), "Mon, 30 Nov 2026 12:00:00 GMT");
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse(text), Some(784_111_777), "{text}");
        }
    }

    #[test]
    fn a_year_of_two_digits_is_at_most_50_years_ahead_rfc9110_5_6_7() {
        for (two_digits, four_digits) in [
            (
                "Monday, 30-Nov-26 12:00:00 GMT",
                "Mon, 30 Nov 2026 12:00:00 GMT",
            ),
            (
                "Wednesday, 01-Jan-70 00:00:00 GMT",
                "Wed, 01 Jan 2070 00:00:00 GMT",
            ),
            (
                "Tuesday, 31-Dec-75 23:59:59 GMT",
                "Tue, 31 Dec 2075 23:59:59 GMT",
            ),
            // The limit of 50 years applies to the second.
            (
                "Monday, 30-Nov-76 12:00:00 GMT",
                "Mon, 30 Nov 2076 12:00:00 GMT",
            ),
            (
                "Tuesday, 30-Nov-76 12:00:01 GMT",
                "Tue, 30 Nov 1976 12:00:01 GMT",
            ),
            (
                "Wednesday, 01-Dec-76 00:00:00 GMT",
                "Wed, 01 Dec 1976 00:00:00 GMT",
            ),
            (
                "Thursday, 01-Oct-76 23:59:59 GMT",
                "Thu, 01 Oct 2076 23:59:59 GMT",
            ),
            (
                "Saturday, 01-Jan-77 00:00:00 GMT",
                "Sat, 01 Jan 1977 00:00:00 GMT",
            ),
            (
                "Friday, 31-Dec-99 23:59:59 GMT",
                "Fri, 31 Dec 1999 23:59:59 GMT",
            ),
            (
                "Saturday, 01-Jan-00 00:00:00 GMT",
                "Sat, 01 Jan 2000 00:00:00 GMT",
            ),
            // The name of the day fits 2077.
            (
                "Friday, 01-Jan-77 00:00:00 GMT",
                "Sat, 01 Jan 1977 00:00:00 GMT",
            ),
        ] {
            let expected = parse(four_digits);
            assert!(expected.is_some(), "{four_digits}");
            assert_eq!(parse(two_digits), expected, "{two_digits}");
        }
    }

    #[test]
    fn a_clock_that_is_wrong_or_at_a_leap_day_moves_the_century() {
        let in_2024 = 1_709_208_000; // Thu, 29 Feb 2024 12:00:00 GMT
        let march = b"Thursday, 01-Mar-74 00:00:00 GMT";
        let march_of_1974 = parse("Fri, 01 Mar 1974 00:00:00 GMT");
        assert_eq!(parse_date(march, in_2024), march_of_1974);
        let november = b"Sunday, 06-Nov-94 08:49:37 GMT";
        assert_eq!(parse_date(november, 0), Some(784_111_777));
        assert_eq!(parse_date(b"Saturday, 06-Nov-43 08:49:37 GMT", 0), Some(0));
        let in_2094 = 3_939_710_400;
        let next = parse_date(november, in_2094);
        assert_eq!(next, parse("Sat, 06 Nov 2094 08:49:37 GMT"));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "Sunday, 31-Feb-94 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37",
            "Sunday, 06-Nov-94 24:00:00 GMT",
            "Sunday, 06-Nov-94 8:49:37 GMT",
            "Sunday, 6-Nov-94 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sunday, 06-Nov-+4 08:49:37 GMT",
            "Sunday, 06-nov-94 08:49:37 GMT",
            "Sunday, 06-Nov-94-01 08:49:37 GMT",
            "Sunday,  06-Nov-94 08:49:37 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT",
            "Sonntag, 06-Nov-94 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 UTC",
            "Mon, 06 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse_date(b"Sunday, 06-Nov-94 08:49:37 GMT\xff", 0), None);
    }

    #[test]
    fn leap_seconds_and_years_before_1970_are_dates() {
        let leap = parse("Saturday, 31-Dec-16 23:59:60 GMT");
        assert_eq!(leap, parse("Sat, 31 Dec 2016 23:59:59 GMT"));
        assert_eq!(parse("Wed, 31 Dec 1969 23:59:59 GMT"), Some(0));
    }
}
