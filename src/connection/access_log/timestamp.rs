//! The time in a log line, formatted once per second.

use crate::config::AccessLogFormat;

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// The text of one second in a log format.
#[derive(Debug)]
pub struct LogTimestamp {
    format: AccessLogFormat,
    /// `None` before the first line.
    unix_secs: Option<u64>,
    text: Vec<u8>,
}

impl LogTimestamp {
    /// A timestamp for lines in `format`.
    #[must_use]
    pub fn new(format: AccessLogFormat) -> LogTimestamp {
        LogTimestamp {
            format,
            unix_secs: None,
            // The longer of the two formats has 26 bytes.
            text: Vec::with_capacity(32),
        }
    }

    /// The text of the second `unix_secs`; `date` is that second as an IMF-fixdate (RFC 9110 section 5.6.7).
    pub fn at(&mut self, unix_secs: u64, date: &[u8]) -> &[u8] {
        if self.unix_secs != Some(unix_secs) {
            self.unix_secs = Some(unix_secs);
            self.text.clear();
            match self.format {
                AccessLogFormat::Json => push_rfc3339(date, &mut self.text),
                _ => push_common(date, &mut self.text),
            }
        }
        &self.text
    }
}

/// The parts of `Sun, 06 Nov 1994 08:49:37 GMT`: day, month, year, time of the day.
fn parts(date: &[u8]) -> Option<[&[u8]; 4]> {
    Some([
        date.get(5..7)?,
        date.get(8..11)?,
        date.get(12..16)?,
        date.get(17..25)?,
    ])
}

/// `06/Nov/1994:08:49:37 +0000`
fn push_common(date: &[u8], out: &mut Vec<u8>) {
    if let Some([day, month, year, time]) = parts(date) {
        for part in [day, b"/", month, b"/", year, b":", time, b" +0000"] {
            out.extend_from_slice(part);
        }
    }
}

/// `1994-11-06T08:49:37Z` (RFC 3339 section 5.6)
fn push_rfc3339(date: &[u8], out: &mut Vec<u8>) {
    if let Some([day, name, year, time]) = parts(date) {
        let month = MONTHS.iter().position(|month| month[..] == *name);
        // A month that is not found becomes 0; there are twelve.
        let month = month.map_or(0, |index| index as u8 + 1);
        let digits = [b'0' + month / 10, b'0' + month % 10];
        for part in [year, b"-", &digits[..], b"-", day, b"T", time, b"Z"] {
            out.extend_from_slice(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::date::http_date;

    fn timestamp(format: AccessLogFormat, unix_secs: u64) -> String {
        let mut timestamp = LogTimestamp::new(format);
        timestamp.at(unix_secs + 1, http_date(unix_secs + 1).as_bytes());
        let text = timestamp.at(unix_secs, http_date(unix_secs).as_bytes());
        String::from_utf8(text.to_vec()).expect("ASCII")
    }

    #[test]
    fn a_second_in_both_formats() {
        let common = timestamp(AccessLogFormat::Extended, 784_111_777);
        assert_eq!(common, "06/Nov/1994:08:49:37 +0000");
        let json = timestamp(AccessLogFormat::Json, 784_111_777);
        assert_eq!(json, "1994-11-06T08:49:37Z");
        assert_eq!(
            timestamp(AccessLogFormat::Common, 0),
            "01/Jan/1970:00:00:00 +0000"
        );
    }

    #[test]
    fn every_month_has_its_number() {
        for (month, day_of_year) in [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334]
            .into_iter()
            .enumerate()
        {
            let text = timestamp(AccessLogFormat::Json, day_of_year * 86_400);
            assert_eq!(text, format!("1970-{:02}-01T00:00:00Z", month + 1));
        }
    }
}
