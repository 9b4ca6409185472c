//! Dates as HTTP writes them (RFC 9110 section 5.6.7).

use std::time::{Duration, UNIX_EPOCH};

use httpdate::HttpDate;

/// The length of an IMF-fixdate in bytes.
pub(super) const DATE_LEN: usize = "Sun, 06 Nov 1994 08:49:37 GMT".len();

/// The last second that an IMF-fixdate, with its four digits for the year, can express.
const LAST_SECOND: u64 = 253_402_300_799;

/// `unix_secs` seconds after 1970 began, as an IMF-fixdate: always 29 bytes.
#[must_use]
pub fn http_date(unix_secs: u64) -> String {
    date_of(unix_secs).to_string()
}

/// The same, not yet written.
pub(super) fn date_of(unix_secs: u64) -> HttpDate {
    (UNIX_EPOCH + Duration::from_secs(unix_secs.min(LAST_SECOND))).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_has_29_bytes_to_the_last_that_can_be_written() {
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        for unix_secs in [0, LAST_SECOND, u64::MAX] {
            assert_eq!(http_date(unix_secs).len(), DATE_LEN);
        }
    }
}
