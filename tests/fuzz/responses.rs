//! A strict reader of a server's output: RFC 9112 section 6.3 without any leniency.

use abide::config::KeepAlive;
use abide::http::method::Method;

/// The expected answers to a sequence of requests.
#[derive(Debug, Default)]
pub struct Expected {
    /// The method of each request that is answered, in order; `None` if it is not known.
    pub answers: Vec<Option<Method>>,
    /// The requests that asked for 100 (Continue).
    pub continues: usize,
    /// Whether the last answer ends the connection whatever else happens.
    pub closes: bool,
}

impl Expected {
    /// Adds one more answer, which is the last.
    pub fn and_last(mut self, method: Option<Method>) -> Expected {
        self.answers.push(method);
        self.closes = true;
        self
    }
}

/// One response, as it stands in the output.
struct Response<'o> {
    status: u16,
    fields: Vec<(&'o str, &'o str)>,
}

/// Reads all of `output` as the answers to `expected`.
pub fn check(output: &[u8], expected: &Expected, keep_alive: &KeepAlive) {
    let mut rest = output;
    let mut answered = 0;
    let mut continues = 0;
    let mut has_closed = false;
    while !rest.is_empty() {
        assert!(!has_closed, "something follows the last answer");
        let (response, tail) = head(rest);
        rest = tail;
        if response.status == 100 {
            assert!(response.fields.is_empty());
            continues += 1;
            assert!(
                continues <= expected.continues,
                "a 100 that was not requested"
            );
            continue;
        }
        let method = expected.answers.get(answered);
        let method = method.expect("there are no more answers than requests");
        let length = body_length(&response, *method);
        assert!(rest.len() >= length, "a body is cut short");
        rest = &rest[length..];
        answered += 1;
        has_closed = check_persistence(&response, answered, keep_alive);
        assert!(response.only("Date").is_some() && response.only("Server").is_some());
    }
    let is_complete = answered == expected.answers.len();
    assert!(has_closed || is_complete, "a request has no answer");
    assert!(
        has_closed || !expected.closes,
        "the last answer does not say so"
    );
}

/// The head of a response, and the rest (RFC 9112 sections 4 and 5).
fn head(bytes: &[u8]) -> (Response<'_>, &[u8]) {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.expect("a head ends in an empty line");
    let head = std::str::from_utf8(&bytes[..end]).expect("heads are ASCII");
    assert!(head.is_ascii() && !head.replace("\r\n", "").contains(['\r', '\n', '\0']));
    let mut lines = head.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line
        .strip_prefix("HTTP/1.1 ")
        .expect("a status line");
    let (code, reason) = status.split_once(' ').expect("a code and a reason");
    assert!(code.len() == 3 && !reason.is_empty());
    let status = code.parse().expect("a status code");
    let fields = lines.map(|line| line.split_once(": ").expect("a field line"));
    let fields: Vec<_> = fields.collect();
    let is_name = |name: &str| {
        name.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    assert!(
        fields
            .iter()
            .all(|(name, _)| !name.is_empty() && is_name(name))
    );
    (Response { status, fields }, &bytes[end + 4..])
}

impl<'o> Response<'o> {
    /// The value of a field that may occur at most once.
    fn only(&self, name: &str) -> Option<&'o str> {
        let mut values = self.fields.iter();
        let mut values = values
            .by_ref()
            .filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| *value);
        assert!(values.next().is_none(), "{name} occurs twice");
        value
    }
}

/// The number of bytes in the body (RFC 9112 section 6.3, items 1 and 6).
fn body_length(response: &Response<'_>, method: Option<Method>) -> usize {
    assert_eq!(response.only("Transfer-Encoding"), None);
    let declared = response.only("Content-Length");
    if response.status == 304 {
        assert_eq!(declared, None);
        return 0;
    }
    assert!((200..600).contains(&response.status));
    let length = declared.expect("every answer but 304 declares its length");
    assert!(length.bytes().all(|byte| byte.is_ascii_digit()));
    let length = length.parse().expect("a length");
    if method == Some(Method::Head) {
        0
    } else {
        length
    }
}

/// Whether the connection ends with this answer. If not, checks the hint and the number of requests that
/// may still follow (RFC 9112 section 9.3).
fn check_persistence(response: &Response<'_>, answered: usize, promised: &KeepAlive) -> bool {
    let keep_alive = response.only("Keep-Alive");
    match response.only("Connection") {
        Some("close") => {
            assert_eq!(keep_alive, None);
            true
        }
        Some("keep-alive") => {
            let remaining = promised.max_requests.get() as usize - answered;
            assert!(remaining > 0, "the last answer says close");
            let expected = format!("timeout={}, max={remaining}", promised.timeout_secs);
            assert_eq!(keep_alive, Some(&expected[..]));
            false
        }
        other => panic!("Connection is {other:?}"),
    }
}
