//! A response as a strict client reads it, with the checks that every response of abide must pass.

use std::time::SystemTime;

/// One response.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub reason: String,
    /// Field lines in the order they came.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The head as it came, without the empty line.
    pub head: String,
}

impl Response {
    /// Reads a head (all before the empty line) and checks the rules for every response.
    pub fn parse_head(head: &[u8]) -> Response {
        let head = String::from_utf8(head.to_vec()).expect("a head is ASCII");
        assert!(head.is_ascii(), "a head is ASCII: {head}");
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        // RFC 9112 section 4: version SP code SP reason.
        let (code, reason) = status_line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.split_once(' '))
            .unwrap_or_else(|| panic!("not a status line: {status_line:?}"));
        let status = code.parse().expect("a status code is a number");
        let fields = lines.map(field).collect();
        let response = Response {
            status,
            reason: reason.to_owned(),
            fields,
            body: Vec::new(),
            head: head.clone(),
        };
        if status >= 200 {
            response.check();
        }
        response
    }

    fn check(&self) {
        assert!(!self.reason.is_empty(), "no reason phrase:\n{}", self.head);
        // RFC 9110 section 6.6.1: an origin server with a clock sends Date.
        let date = self.field("date").expect("Date is required");
        let date = httpdate::parse_http_date(date).expect("Date is a date");
        assert!(date > SystemTime::UNIX_EPOCH);
        // RFC 9112 section 6: one framing. Here it is always Content-Length, but for 204 and 304.
        assert_eq!(self.field("transfer-encoding"), None);
        assert_eq!(
            self.field("content-length").is_none(),
            matches!(self.status, 204 | 304),
            "{}",
            self.head
        );
        self.check_persistence();
    }

    /// Checks for `keep-alive` with the complete hint, or `close` without one.
    fn check_persistence(&self) {
        match self.field("connection").expect("Connection is always sent") {
            "close" => assert_eq!(self.field("keep-alive"), None, "{}", self.head),
            "keep-alive" => {
                let (timeout, max) = self.hint();
                assert!(timeout >= 1 && max >= 1, "{}", self.head);
            }
            other => panic!("Connection: {other}"),
        }
    }

    /// The two numbers of `Keep-Alive: timeout=T, max=M`. The order matters, because one client looks for
    /// `timeout` only at the start.
    pub fn hint(&self) -> (u32, u32) {
        let value = self.field("keep-alive").expect("Keep-Alive is required");
        value
            .strip_prefix("timeout=")
            .and_then(|rest| rest.split_once(", max="))
            .and_then(|(timeout, max)| Some((timeout.parse().ok()?, max.parse().ok()?)))
            .unwrap_or_else(|| panic!("Keep-Alive: {value}"))
    }

    /// Whether the connection goes on after this answer.
    pub fn persists(&self) -> bool {
        self.field("connection") == Some("keep-alive")
    }

    /// The value of a field that may occur once. `name` is in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(field, _)| field == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(
            values.next().is_none(),
            "{name} occurs twice:\n{}",
            self.head
        );
        value
    }

    /// Content-Length as a number.
    pub fn length(&self) -> Option<u64> {
        let digits = self.field("content-length")?;
        Some(digits.parse().expect("Content-Length is a number"))
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }
}

fn field(line: &str) -> (String, String) {
    let (name, value) = line
        .split_once(": ")
        .unwrap_or_else(|| panic!("not a field line: {line:?}"));
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    assert!(name.bytes().all(is_token), "not a field name: {name:?}");
    assert_eq!(value.trim(), value, "spaces around a value: {line:?}");
    (name.to_ascii_lowercase(), value.to_owned())
}
