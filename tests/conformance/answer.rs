//! A strict parser of answers, and the checks that every answer must pass.

use std::time::{Duration, SystemTime};

use super::notation::shown;
use super::served::{MAX_REQUESTS, TIMEOUT_SECS};

/// The largest allowed difference between Date and the test's clock.
const DATE_TOLERANCE: Duration = Duration::from_secs(30);

/// Fields that may occur at most once (RFC 9110 section 5.3).
const SINGLETONS: [&str; 14] = [
    "Accept-Ranges",
    "Allow",
    "Connection",
    "Content-Length",
    "Content-Range",
    "Content-Type",
    "Date",
    "ETag",
    "Keep-Alive",
    "Last-Modified",
    "Location",
    "Server",
    "Transfer-Encoding",
    "X-Content-Type-Options",
];

/// One answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// In the order of the answer.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The received bytes of the head, with its empty line.
    pub head: Vec<u8>,
}

impl Answer {
    /// Parses a head strictly by RFC 9112 sections 4 and 5, in the spelling of this server: one space
    /// after each colon, no whitespace before the line's end.
    pub fn parse(head: &[u8]) -> Result<Answer, String> {
        let text = std::str::from_utf8(head)
            .ok()
            .filter(|text| text.is_ascii());
        let text = text.ok_or("the head is not ASCII")?;
        let lines = text
            .strip_suffix("\r\n\r\n")
            .ok_or("the head does not end")?;
        if lines
            .replace("\r\n", "")
            .contains(|c: char| c.is_ascii_control())
        {
            return Err("a control character in the head".to_owned());
        }
        let mut lines = lines.split("\r\n");
        let status = status(lines.next().unwrap_or(""))?;
        let fields = lines.map(field).collect::<Result<_, _>>()?;
        Ok(Answer {
            status,
            fields,
            body: Vec::new(),
            head: head.to_vec(),
        })
    }

    /// The value of the first field called `name`, compared without case.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let (_, value) = fields.find(|(field, _)| field.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    /// Whether the answer says that the connection persists.
    pub fn says_keep_alive(&self) -> bool {
        self.field("Connection") == Some("keep-alive")
    }

    pub fn is_interim(&self) -> bool {
        self.status < 200
    }

    /// The length of the body that follows the head (RFC 9112 section 6.3).
    pub fn body_len(&self, to_head: bool) -> Result<usize, String> {
        if to_head || self.is_interim() || matches!(self.status, 204 | 304) {
            return Ok(0);
        }
        self.content_length()
    }

    fn content_length(&self) -> Result<usize, String> {
        let value = self.field("Content-Length").ok_or("no Content-Length")?;
        let is_plain = value == "0" || !value.starts_with('0');
        let digits = value.bytes().all(|byte| byte.is_ascii_digit());
        let length = value.parse().ok().filter(|_| is_plain && digits);
        length.ok_or_else(|| format!("Content-Length: {value}"))
    }

    /// Checks what every answer must satisfy; this is the `nth` final one on its connection.
    pub fn check(&self, nth: u32) -> Result<(), String> {
        for name in SINGLETONS {
            let is_it = |(field, _): &&(String, String)| field.eq_ignore_ascii_case(name);
            if self.fields.iter().filter(is_it).count() > 1 {
                return Err(format!("{name} occurs twice"));
            }
        }
        if self.is_interim() {
            return Ok(());
        }
        // RFC 9112 section 6: one framing. An answer to HEAD needs a length too, a 304 does not.
        if self.field("Transfer-Encoding").is_some() {
            return Err("Transfer-Encoding beside Content-Length".to_owned());
        }
        match self.status {
            204 | 304 if self.field("Content-Length").is_some() => {
                return Err("a Content-Length that the status must not have".to_owned());
            }
            204 | 304 => {}
            _ => drop(self.content_length()?),
        }
        if self.field("Server") != Some("abide") {
            return Err("Server is not abide".to_owned());
        }
        self.check_dates()?;
        self.check_persistence(nth)
    }

    /// RFC 9110 sections 6.6.1 and 8.8.2.1.
    fn check_dates(&self) -> Result<(), String> {
        let date = self.date("Date")?.ok_or("no Date")?;
        let now = SystemTime::now();
        let distance = now
            .duration_since(date)
            .or_else(|_| date.duration_since(now));
        if distance.is_ok_and(|distance| distance > DATE_TOLERANCE) {
            return Err("Date is not now".to_owned());
        }
        match self.date("Last-Modified")? {
            Some(modified) if modified > date => Err("Last-Modified is later than Date".to_owned()),
            _ => Ok(()),
        }
    }

    /// A date in the one format that may be sent, IMF-fixdate (RFC 9110 section 5.6.7).
    fn date(&self, name: &str) -> Result<Option<SystemTime>, String> {
        let Some(value) = self.field(name) else {
            return Ok(None);
        };
        let date = httpdate::parse_http_date(value).ok();
        let date = date.filter(|&date| httpdate::fmt_http_date(date) == value);
        date.map(Some).ok_or_else(|| format!("{name}: {value}"))
    }

    /// Connection is always present. Keep-Alive follows it with the exact count, or is absent.
    fn check_persistence(&self, nth: u32) -> Result<(), String> {
        let place = |name: &str| self.fields.iter().position(|(field, _)| field == name);
        let connection = place("Connection").ok_or("no Connection field")?;
        let keep_alive = place("Keep-Alive");
        let left = MAX_REQUESTS - 1 - nth;
        match self.fields[connection].1.as_str() {
            "close" if keep_alive.is_none() => Ok(()),
            "keep-alive" if keep_alive == Some(connection + 1) => {
                let expected = format!("timeout={TIMEOUT_SECS}, max={left}");
                let (_, value) = &self.fields[connection + 1];
                if *value == expected {
                    return Ok(());
                }
                Err(format!("Keep-Alive: {value}, not {expected}"))
            }
            value => Err(format!("Connection: {value}, Keep-Alive at {keep_alive:?}")),
        }
    }

    /// The answer as printable text.
    pub fn shown(&self) -> String {
        format!("{}{}", shown(&self.head), shown(&self.body))
    }
}

/// `HTTP/1.1 SP 3DIGIT SP reason-phrase` (RFC 9112 section 4).
fn status(line: &str) -> Result<u16, String> {
    let parts = line
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.split_once(' '));
    let code = parts.and_then(|(code, reason)| {
        let is_code = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit());
        (is_code && !reason.is_empty())
            .then_some(code)?
            .parse()
            .ok()
    });
    code.filter(|code| (100..600).contains(code))
        .ok_or_else(|| format!("not a status line: {line}"))
}

fn field(line: &str) -> Result<(String, String), String> {
    let (name, value) = line
        .split_once(": ")
        .ok_or_else(|| format!("not a field line: {line}"))?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if name.is_empty() || !name.bytes().all(is_name) || value.is_empty() || value.trim() != value {
        return Err(format!("not a field line: {line}"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[test]
fn the_reader_is_strict() {
    let length = "Content-Length: 0\r\n";
    let good = format!("HTTP/1.1 200 OK\r\n{length}\r\n");
    let parsed = Answer::parse(good.as_bytes()).expect("a head");
    assert_eq!((parsed.status, parsed.body_len(false)), (200, Ok(0)));
    for head in [
        "HTTP/1.0 200 OK\r\n\r\n",
        "HTTP/1.1 200\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 600 OK\r\n\r\n",
        "HTTP/1.1 200 OK\nX: y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: y\rz\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX:  y\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: y \r\n\r\n",
        "HTTP/1.1 200 OK\r\n y\r\n\r\n",
        "HTTP/1.1 200 \u{fc}\r\n\r\n",
    ] {
        assert!(Answer::parse(head.as_bytes()).is_err(), "{head:?}");
    }
    for value in ["", "+1", "01", "1, 1", "18446744073709551616"] {
        let fields = vec![("Content-Length".to_owned(), value.to_owned())];
        let answer = Answer {
            fields,
            ..Answer::parse(good.as_bytes()).expect("a head")
        };
        assert!(answer.body_len(false).is_err(), "{value:?}");
    }
}
