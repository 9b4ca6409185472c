//! The result of sending bytes to a server, with a lenient parser of its answers.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::str::FromStr;
use std::time::Duration;

use support::PATIENCE;

/// How often `silence` may pass before an answer, or before the rest of it.
const SILENCES_BEFORE_AN_ANSWER: u32 = 4;

/// The statuses of the answers, interim ones included, and whether the connection is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// `NO_HEAD` stands for bytes that are not an HTTP/1.x answer.
    statuses: Vec<u16>,
    /// Whether no end of the stream was received.
    is_open: bool,
}

/// An answer of HTTP/0.9: content without a status line.
const NO_HEAD: u16 = 900;

impl Outcome {
    /// Whether the classes of the statuses are equal, and both connections are open or both closed.
    pub fn is_like(&self, other: &Outcome) -> bool {
        let classes = |outcome: &Outcome| -> Vec<u16> {
            outcome.statuses.iter().map(|status| status / 100).collect()
        };
        classes(self) == classes(other) && self.is_open == other.is_open
    }
}

/// `200 400 closed`, `none open`.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.statuses.is_empty() {
            f.write_str("none ")?;
        }
        for &status in &self.statuses {
            match status {
                NO_HEAD => f.write_str("headless ")?,
                status => write!(f, "{status} ")?,
            }
        }
        f.write_str(if self.is_open { "open" } else { "closed" })
    }
}

impl FromStr for Outcome {
    type Err = String;

    fn from_str(text: &str) -> Result<Outcome, String> {
        let not_one = || format!("not an outcome: {text:?}");
        let (statuses, fate) = text.rsplit_once(' ').ok_or_else(not_one)?;
        let statuses = match statuses {
            "none" => Vec::new(),
            statuses => statuses
                .split(' ')
                .map(|word| match word {
                    "headless" => Ok(NO_HEAD),
                    digits => digits.parse().map_err(|_| not_one()),
                })
                .collect::<Result<_, _>>()?,
        };
        match fate {
            "open" | "closed" => Ok(Outcome {
                statuses,
                is_open: fate == "open",
            }),
            _ => Err(not_one()),
        }
    }
}

/// Sends `request` whole on a new connection, and reads until the end of the stream or until nothing
/// arrives for `silence`.
///
/// # Errors
/// The server does not accept the connection.
pub fn observe(
    address: SocketAddr,
    request: &[u8],
    eof: bool,
    silence: Duration,
) -> io::Result<Outcome> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_read_timeout(Some(silence))?;
    // A server may close before it has read all. Only its answers matter.
    let _ = stream.write_all(request);
    if eof {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut received = Vec::new();
    let mut buffer = [0; 64 * 1024];
    let mut silences = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                received.extend_from_slice(&buffer[..count]);
                silences = 0;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                silences += 1;
                let (statuses, is_complete) = statuses(&received, request);
                let is_answered = is_complete && !statuses.is_empty();
                if is_answered || silences == SILENCES_BEFORE_AN_ANSWER {
                    let is_open = true;
                    return Ok(Outcome { statuses, is_open });
                }
            }
            // All bytes before a reset have been read by now.
            Err(_) => break,
        }
    }
    let (statuses, _) = statuses(&received, request);
    Ok(Outcome {
        statuses,
        is_open: false,
    })
}

/// The statuses of the answers in `received`, and whether the last of them is complete.
fn statuses(received: &[u8], request: &[u8]) -> (Vec<u16>, bool) {
    let may_be_to_head = memchr::memmem::find(request, b"HEAD ").is_some();
    let mut statuses = Vec::new();
    let mut rest = received;
    while !rest.is_empty() {
        let Some(status) = status(rest) else {
            statuses.push(NO_HEAD);
            return (statuses, true);
        };
        let Some(head_end) = memchr::memmem::find(rest, b"\r\n\r\n") else {
            return (statuses, false);
        };
        statuses.push(status);
        let (head, body) = rest.split_at(head_end + 4);
        let head = String::from_utf8_lossy(head).to_ascii_lowercase();
        let has_none = matches!(status, 100..=199 | 204 | 304)
            // Which answer is the one to HEAD depends on how the server parses the request. No body begins
            // like another answer, so these bytes decide.
            || may_be_to_head && (body.is_empty() || body.starts_with(b"HTTP/1."));
        rest = match body_len(&head, body) {
            _ if has_none => body,
            Some(len) if len <= body.len() => &body[len..],
            _ => return (statuses, false),
        };
    }
    (statuses, true)
}

/// The code in a status line of HTTP/1.x.
fn status(bytes: &[u8]) -> Option<u16> {
    let line = bytes.strip_prefix(b"HTTP/1.")?.get(1..5)?;
    std::str::from_utf8(line).ok()?.trim_start().parse().ok()
}

/// The length of the body. `None` if it is not known yet, or only at the end of the stream. `head` is
/// in lower case.
fn body_len(head: &str, body: &[u8]) -> Option<usize> {
    let field = |name: &str| {
        let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
        Some(lines.find(|(field, _)| *field == name)?.1.trim())
    };
    if field("transfer-encoding").is_some() {
        // This suffices here: no content contains these bytes, and no peer sends trailers.
        return Some(memchr::memmem::find(body, b"0\r\n\r\n")? + 5);
    }
    field("content-length")?.parse().ok()
}

#[test]
fn answers_are_told_apart() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let interim = "HTTP/1.1 100 Continue\r\n\r\n";
    let read = |text: &str, request: &str| statuses(text.as_bytes(), request.as_bytes());
    assert_eq!(
        read(&[interim, ok, ok].concat(), "GET"),
        (vec![100, 200, 200], true)
    );
    let to_head = ok.trim_end_matches("ok");
    assert_eq!(
        read(&[to_head, ok].concat(), "HEAD /"),
        (vec![200, 200], true)
    );
    assert_eq!(read(to_head, "HEAD /"), (vec![200], true));
    assert_eq!(read(to_head, "GET /"), (vec![200], false));
    assert_eq!(read("<html>", "GET /"), (vec![NO_HEAD], true));
    let chunked = "HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
    assert_eq!(read(&[chunked, ok].concat(), "GET"), (vec![404, 200], true));
    for text in ["none closed", "100 200 open", "headless closed"] {
        assert_eq!(text.parse::<Outcome>().expect(text).to_string(), text);
    }
}
