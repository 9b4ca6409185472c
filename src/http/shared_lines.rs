//! What the heads of all answers in one second have in common, written once per second rather than
//! once per answer.

use std::io::Write;

use super::date::{DATE_LEN, date_of};

const BEFORE_DATE: &str = "Server: abide\r\nDate: ";

const DATE_END: usize = BEFORE_DATE.len() + DATE_LEN;

/// Where the lines end that every answer has.
const ALWAYS_END: usize = DATE_END + "\r\n".len();

/// The line for a connection that does not persist (RFC 9112 section 9.6).
pub(super) const CLOSE_LINE: &str = "Connection: close\r\n";

/// The lines for a connection that persists, up to the number of requests that may follow.
/// `timeout_secs` is T, the seconds of idling that we promise. The `Keep-Alive` field is
/// RFC 2068 section 19.7.1.1.
///
/// `timeout` comes before `max`: Node's agent reads only the first parameter.
fn persisting_until_max(timeout_secs: u32) -> String {
    format!("Connection: keep-alive\r\nKeep-Alive: timeout={timeout_secs}, max=")
}

/// The field lines Server and Date, and what a connection that persists is told of that.
#[derive(Debug, Clone)]
pub struct SharedLines {
    unix_secs: u64,
    lines: Vec<u8>,
}

impl SharedLines {
    /// Lines that promise `timeout_secs` seconds of idling, and are dated 1970 for now.
    #[must_use]
    pub fn new(timeout_secs: u32) -> SharedLines {
        let mut lines = BEFORE_DATE.as_bytes().to_vec();
        lines.resize(DATE_END, b' ');
        lines.extend_from_slice(b"\r\n");
        lines.extend_from_slice(persisting_until_max(timeout_secs).as_bytes());
        let mut shared = SharedLines {
            unix_secs: 0,
            lines,
        };
        shared.write_date(0);
        shared
    }

    /// The same lines, dated `unix_secs` seconds after 1970 began (RFC 9110 section 6.6.1).
    pub fn at(&mut self, unix_secs: u64) -> &SharedLines {
        if self.unix_secs != unix_secs {
            self.write_date(unix_secs);
        }
        self
    }

    /// The lines of every answer.
    #[must_use]
    pub fn always(&self) -> &[u8] {
        &self.lines[..ALWAYS_END]
    }

    /// Those of an answer after which the connection persists, up to the number of requests that may
    /// follow: that number differs from answer to answer, the rest does not.
    #[must_use]
    pub fn persisting(&self) -> &[u8] {
        &self.lines
    }

    /// The second that they are dated, since 1970 began.
    #[must_use]
    pub fn unix_secs(&self) -> u64 {
        self.unix_secs
    }

    /// The date alone, as an IMF-fixdate.
    #[must_use]
    pub fn date(&self) -> &[u8] {
        &self.lines[BEFORE_DATE.len()..DATE_END]
    }

    fn write_date(&mut self, unix_secs: u64) {
        self.unix_secs = unix_secs;
        // Straight into the line, without a string between: not even the first request of a second
        // allocates. A date always has 29 bytes, so it fits.
        let mut place = &mut self.lines[BEFORE_DATE.len()..DATE_END];
        let written = write!(place, "{}", date_of(unix_secs));
        debug_assert!(written.is_ok(), "a date has 29 bytes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_follows_the_second_it_is_asked_for() {
        let mut shared = SharedLines::new(120);
        assert_eq!(shared.at(0).date(), b"Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(shared.at(1).date(), b"Thu, 01 Jan 1970 00:00:01 GMT");
        assert_eq!(shared.at(u64::MAX).date(), b"Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn the_lines_are_whole() {
        let mut shared = SharedLines::new(60);
        let shared = shared.at(784_111_777);
        let always = "Server: abide\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
        assert_eq!(shared.always(), always.as_bytes());
        let persisting = format!("{always}Connection: keep-alive\r\nKeep-Alive: timeout=60, max=");
        assert_eq!(shared.persisting(), persisting.as_bytes());
    }
}
