//! One connection of a client: it sends a request and reads the answer, as a client does that trusts
//! the server's lengths and believes what it says about the connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::table::Reads;
use crate::clock::SystemClock;

/// How long an answer may let wait for itself. An answer that is lost is mostly known at once, from
/// the end of the connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// The receive buffer of a slow reader, in bytes: its kernel takes little that it has not read.
const NARROW_BYTES: usize = 16 * 1024;

/// The end of an answer that a slow reader reads without pausing. What its kernel still holds is
/// acknowledged before it is read, and from then on the server may count.
const QUICK_END_BYTES: usize = 128 * 1024;

/// How often a slow reader reads.
const PAUSE_MILLIS: u64 = 50;

const MAX_HEAD_BYTES: usize = 64 * 1024;

/// How a client reads an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// As fast as it comes.
    Quick,
    /// Little by little, for this long in all.
    Slow {
        /// Milliseconds.
        millis: u32,
    },
}

/// What a client remembers of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Whether another request may follow.
    pub persists: bool,
    /// T, if it was said and understood.
    pub timeout_secs: Option<u32>,
    /// How many requests may still follow, if that was said and understood.
    pub max: Option<u32>,
    /// Bytes of the body. All of them were read.
    pub body_bytes: usize,
}

/// One connection.
#[derive(Debug)]
pub struct ClientConnection {
    stream: TcpStream,
    /// Received and not read yet.
    received: Vec<u8>,
}

impl ClientConnection {
    /// Connects. A slow reader has a small receive buffer.
    ///
    /// # Errors
    /// If there is nobody to connect to.
    pub fn open(address: SocketAddr, reading: Reading) -> io::Result<ClientConnection> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if let Reading::Slow { .. } = reading {
            socket.set_recv_buffer_size(NARROW_BYTES)?;
        }
        socket.connect_timeout(&address.into(), PATIENCE)?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(ClientConnection {
            stream,
            received: Vec::new(),
        })
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// If the connection has broken.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// A second handle, to send with while an answer is read.
    ///
    /// # Errors
    /// If there is no descriptor for it.
    pub fn sender(&self) -> io::Result<TcpStream> {
        self.stream.try_clone()
    }

    /// Reads one answer to a GET.
    ///
    /// # Errors
    /// If the connection ends, breaks or stays silent before all of it has come, or it is no answer.
    pub fn read(
        &mut self,
        reads: Reads,
        reading: Reading,
        clock: &SystemClock,
    ) -> io::Result<Answer> {
        let head_len = loop {
            if let Some(end) = memchr::memmem::find(&self.received, b"\r\n\r\n") {
                break end + 4;
            }
            if self.received.len() > MAX_HEAD_BYTES {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.receive(MAX_HEAD_BYTES)?;
        };
        let head: Vec<u8> = self.received.drain(..head_len).collect();
        let (mut answer, length) = parse(&head, reads)?;
        let Some(length) = length else {
            // Its body ends with the connection (RFC 9112 section 6.3).
            answer.persists = false;
            answer.body_bytes = self.read_to_end()?;
            return Ok(answer);
        };
        if let Reading::Slow { millis } = reading {
            self.read_slowly(length.saturating_sub(QUICK_END_BYTES), millis, clock)?;
        }
        while self.received.len() < length {
            self.receive(length - self.received.len())?;
        }
        self.received.drain(..length);
        answer.body_bytes = length;
        Ok(answer)
    }

    /// Whether the server has ended the connection, or said something that nobody asked for.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        if self.stream.set_nonblocking(true).is_err() {
            return true;
        }
        let peeked = self.stream.peek(&mut [0]);
        let is_silent = peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        self.stream.set_nonblocking(false).is_err() || !is_silent
    }

    fn read_slowly(&mut self, bytes: usize, millis: u32, clock: &SystemClock) -> io::Result<()> {
        let steps = (u64::from(millis) / PAUSE_MILLIS).max(1);
        for step in 1..=steps {
            clock.sleep(PAUSE_MILLIS);
            let share = usize::try_from(step).unwrap_or(usize::MAX);
            let wanted = bytes * share / usize::try_from(steps).unwrap_or(usize::MAX);
            while self.received.len() < wanted {
                self.receive(wanted - self.received.len())?;
            }
        }
        Ok(())
    }

    fn read_to_end(&mut self) -> io::Result<usize> {
        loop {
            match self.receive(MAX_HEAD_BYTES) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Ok(self.received.len());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Receives up to `most` bytes.
    fn receive(&mut self, most: usize) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        let most = most.min(buffer.len());
        match self.stream.read(&mut buffer[..most])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.received.extend_from_slice(&buffer[..count]);
                Ok(())
            }
        }
    }
}

/// A GET, as it goes over the wire.
#[must_use]
pub fn get(path: &str) -> Vec<u8> {
    // Some servers say what they promise only to those who send the token.
    let fields = "Host: localhost\r\nConnection: keep-alive\r\nAccept: */*\r\n";
    format!("GET {path} HTTP/1.1\r\n{fields}\r\n").into_bytes()
}

/// What a client takes from a head: the answer, and the length of its body.
fn parse(head: &[u8], reads: Reads) -> io::Result<(Answer, Option<usize>)> {
    let head = std::str::from_utf8(head).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut lines = head.split("\r\n");
    let version = lines.next().and_then(|line| line.split_once(' '));
    let persists = match version {
        Some(("HTTP/1.1", _)) => true,
        Some(("HTTP/1.0", _)) => false,
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    let mut answer = Answer {
        persists,
        timeout_secs: None,
        max: None,
        body_bytes: 0,
    };
    let mut length = None;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "connection" => answer.persists &= !lists(value, "close"),
            "content-length" => length = value.parse().ok(),
            "keep-alive" => (answer.timeout_secs, answer.max) = hint(value, reads),
            _ => {}
        }
    }
    Ok((answer, length))
}

fn lists(value: &str, option: &str) -> bool {
    let mut options = value.split(',');
    options.any(|listed| listed.trim().eq_ignore_ascii_case(option))
}

/// The hint as this client understands it: `timeout` and `max`.
fn hint(value: &str, reads: Reads) -> (Option<u32>, Option<u32>) {
    let parameter = |wanted: &str| {
        let mut all = value.split(',').filter_map(|one| one.split_once('='));
        let found = all.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted));
        found.map(|(_, number)| number.trim())
    };
    let timeout = parameter("timeout").and_then(|number| number.parse().ok());
    match reads {
        Reads::Nothing => (None, None),
        Reads::Timeout => (timeout, None),
        Reads::TimeoutIfFirst => {
            let is_first = value.to_ascii_lowercase().starts_with("timeout=");
            (timeout.filter(|_| is_first), None)
        }
        Reads::TimeoutAndMax => match parameter("max").map(str::parse::<i32>) {
            None => (timeout, None),
            Some(Ok(max)) => (timeout, u32::try_from(max).ok()),
            Some(Err(_)) => (None, None),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_reads_its_part_of_the_hint() {
        let said = "timeout=120, max=999";
        assert_eq!(hint(said, Reads::Timeout), (Some(120), None));
        assert_eq!(hint(said, Reads::TimeoutIfFirst), (Some(120), None));
        assert_eq!(hint(said, Reads::TimeoutAndMax), (Some(120), Some(999)));
        assert_eq!(hint(said, Reads::Nothing), (None, None));
    }

    #[test]
    fn an_order_or_a_number_that_a_client_does_not_expect_leaves_no_hint() {
        let turned = "max=999, timeout=120";
        assert_eq!(hint(turned, Reads::TimeoutIfFirst), (None, None));
        assert_eq!(hint(turned, Reads::TimeoutAndMax), (Some(120), Some(999)));
        let large = "timeout=120, max=2147483648";
        assert_eq!(hint(large, Reads::TimeoutAndMax), (None, None));
    }

    #[test]
    fn close_ends_the_connection_whatever_else_is_said() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive, Close\r\n\r\n";
        let (answer, length) = parse(head, Reads::Timeout).unwrap();
        assert!(!answer.persists);
        assert_eq!(length, Some(5));
        assert!(parse(b"SSH-2.0\r\n\r\n", Reads::Timeout).is_err());
    }
}
