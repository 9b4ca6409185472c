//! Sends a case over its own connection and compares the answers with the expected ones.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use super::answer::Answer;
use super::case::{Case, Connection};
use super::notation;
use super::parts;
use super::served::Served;

/// How long the server may be silent before an expected answer or close.
const TIMEOUT: Duration = Duration::from_secs(8);

/// The pause after each piece of a request that is cut at its line ends, so that they arrive separately.
const BETWEEN_LINES: Duration = Duration::from_millis(1);

/// Shows that the connection persists, and ends it.
const PROBE: &[u8] = b"GET /digits.txt HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n";

/// How the bytes of a case are split into writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Whole,
    Bytes,
    Lines,
}

impl Way {
    pub const ALL: [Way; 3] = [Way::Whole, Way::Bytes, Way::Lines];

    /// Cuts `bytes`. A line end is cut twice: after its CR and after its LF.
    fn pieces(self, bytes: &[u8]) -> Vec<&[u8]> {
        match self {
            Way::Whole => vec![bytes],
            Way::Bytes => bytes.chunks(1).collect(),
            Way::Lines => bytes
                .split_inclusive(|byte| matches!(byte, b'\r' | b'\n'))
                .collect(),
        }
    }

    fn pause(self) {
        match self {
            Way::Whole => {}
            Way::Bytes => thread::yield_now(),
            Way::Lines => thread::sleep(BETWEEN_LINES),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Way::Whole => "sent whole",
            Way::Bytes => "sent byte by byte",
            Way::Lines => "sent in lines",
        })
    }
}

/// One connection to the server.
pub struct Wire {
    stream: TcpStream,
    /// Received and not parsed yet.
    received: Vec<u8>,
    /// The number of final answers that were parsed.
    answered: u32,
}

impl Wire {
    pub fn connect(address: SocketAddr) -> Result<Wire, String> {
        let connect = || -> io::Result<TcpStream> {
            let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.set_write_timeout(Some(TIMEOUT))?;
            Ok(stream)
        };
        Ok(Wire {
            stream: connect().map_err(|why| format!("no connection: {why}"))?,
            received: Vec::new(),
            answered: 0,
        })
    }

    pub fn send(&mut self, bytes: &[u8], way: Way) -> Result<(), String> {
        for piece in way.pieces(bytes) {
            self.stream
                .write_all(piece)
                .map_err(|why| format!("the server does not take what is sent: {why}"))?;
            way.pause();
        }
        Ok(())
    }

    fn half_close(&mut self) -> Result<(), String> {
        let result = self.stream.shutdown(Shutdown::Write);
        result.map_err(|why| format!("the connection breaks: {why}"))
    }

    /// Reads one answer and makes the checks for every answer.
    pub fn answer(&mut self, to_head: bool) -> Result<Answer, String> {
        let head_len = loop {
            if let Some(end) = memchr::memmem::find(&self.received, b"\r\n\r\n") {
                break end + 4;
            }
            if !self.receive()? {
                let got = notation::shown(&self.received);
                return Err(format!(
                    "the connection ends, and before that only: {got:?}"
                ));
            }
        };
        let head = self.take(head_len);
        let complaint = |why: String| format!("{why}, in: {}", notation::shown(&head));
        let mut answer = Answer::parse(&head).map_err(complaint)?;
        let body_len = answer.body_len(to_head).map_err(complaint)?;
        while self.received.len() < body_len {
            if !self.receive()? {
                let got = self.received.len();
                return Err(complaint(format!("a body of {got} bytes")));
            }
        }
        answer.body = self.take(body_len);
        answer.check(self.answered).map_err(complaint)?;
        self.answered += u32::from(!answer.is_interim());
        Ok(answer)
    }

    /// Expects the server's FIN, with no byte before it and no reset.
    pub fn end(&mut self) -> Result<(), String> {
        while self.receive()? {}
        if self.received.is_empty() {
            return Ok(());
        }
        let got = notation::shown(&self.received);
        Err(format!("unexpected bytes: {got}"))
    }

    /// Expects that another request is answered.
    fn probe(&mut self) -> Result<(), String> {
        self.send(PROBE, Way::Whole)?;
        let answer = self.answer(false)?;
        if answer.status != 200 || answer.body.len() != 100 || answer.says_keep_alive() {
            return Err(format!(
                "the next request is answered with {}",
                answer.shown()
            ));
        }
        self.end()
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.received.split_off(count);
        std::mem::replace(&mut self.received, rest)
    }

    /// Receives bytes and returns true, or returns false at the end of the stream.
    fn receive(&mut self) -> Result<bool, String> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                Ok(count > 0)
            }
            Err(why) => {
                let got = notation::shown(&self.received);
                let silent = why.kind() == io::ErrorKind::WouldBlock;
                let why = if silent {
                    "silence".to_owned()
                } else {
                    why.to_string()
                };
                Err(format!("{why}, after {got:?}"))
            }
        }
    }
}

/// Runs one case in one way.
///
/// # Errors
/// The expected and the actual answer, in two lines.
pub fn run(case: &Case, way: Way, served: &Served) -> Result<(), String> {
    let bytes = |text: &str| {
        notation::bytes(text, &served.etag).unwrap_or_else(|why| panic!("{}: {why}", case.place()))
    };
    let mut wire = Wire::connect(served.address)?;
    wire.send(&bytes(&case.send), way)?;
    if case.eof {
        wire.half_close()?;
    }
    let mut last = None;
    for (index, &status) in case.statuses.iter().enumerate() {
        let answer = wire.answer(case.is_head(index));
        let answer = answer.map_err(|got| expected(&format!("answer {status}"), &got))?;
        if answer.status != status {
            return Err(expected(&format!("status {status}"), &answer.shown()));
        }
        let is_last = index + 1 == case.statuses.len();
        if !is_last && !answer.is_interim() && !answer.says_keep_alive() {
            return Err(expected(
                "an answer before the last to persist",
                &answer.shown(),
            ));
        }
        last = Some(answer);
    }
    if let Some(answer) = &last {
        check_content(case, answer, &bytes).map_err(|wanted| expected(&wanted, &answer.shown()))?;
    }
    let says_keep_alive = last.as_ref().is_some_and(Answer::says_keep_alive);
    let shown = || last.as_ref().map_or("no answer".to_owned(), Answer::shown);
    match case.connection {
        Connection::Persists if !says_keep_alive => Err(expected("it to persist", &shown())),
        Connection::Persists => wire
            .probe()
            .map_err(|got| expected("another request to be answered", &got)),
        Connection::Close if last.is_none() || says_keep_alive => {
            Err(expected("it to say close", &shown()))
        }
        Connection::Close | Connection::Ends => wire
            .end()
            .map_err(|got| expected("the end of the stream", &got)),
    }
}

fn expected(wanted: &str, got: &str) -> String {
    format!("    expected: {wanted}\n    got:      {got}")
}

/// Compares the fields and the content of the last answer with the case. The error is what is missing.
fn check_content(
    case: &Case,
    answer: &Answer,
    bytes: &dyn Fn(&str) -> Vec<u8>,
) -> Result<(), String> {
    for line in &case.fields {
        let wanted = bytes(line);
        let has =
            |(name, value): &(String, String)| format!("{name}: {value}").as_bytes() == wanted;
        if !answer.fields.iter().any(has) {
            return Err(format!("the field {}", notation::shown(&wanted)));
        }
    }
    if let Some(name) = case.absent.iter().find(|name| answer.field(name).is_some()) {
        return Err(format!("no {name}"));
    }
    if let Some(body) = &case.body
        && answer.body != bytes(body)
    {
        return Err(format!("the body {body}"));
    }
    if let Some(text) = &case.body_contains
        && memchr::memmem::find(&answer.body, &bytes(text)).is_none()
    {
        return Err(format!("{text} in the body"));
    }
    if case.parts.is_empty() {
        return Ok(());
    }
    let wanted: Vec<_> = case.parts.iter().map(|part| bytes(part)).collect();
    parts::check(answer, &wanted)
}
