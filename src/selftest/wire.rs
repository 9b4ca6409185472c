//! One connection of a simulated client. It relies on the Content-Length of a response and on its
//! Connection and Keep-Alive fields.

use std::fmt::Debug;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::table::HintSupport;
use crate::clock::SystemClock;

/// Time limit for connecting, and for each read and write. A lost response mostly shows earlier, because
/// the connection ends.
const IO_TIMEOUT: Duration = Duration::from_secs(10);

/// The receive buffer of a slow reader, in bytes. Small, so that most of a response waits in the server.
const SLOW_RECV_BUFFER_BYTES: usize = 16 * 1024;

/// The last bytes of a response, which a slow reader reads without pausing. Its kernel acknowledges bytes
/// before they are read, and the server's T begins with the acknowledgement of the last one.
const FAST_TAIL_BYTES: usize = 128 * 1024;

/// Milliseconds between two reads of a slow reader.
const PAUSE_MILLIS: u64 = 50;

const MAX_HEAD_BYTES: usize = 64 * 1024;

/// How fast a client reads a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadSpeed {
    /// As fast as the bytes arrive.
    Full,
    /// Little by little.
    Slow {
        /// Milliseconds for the whole response.
        millis: u32,
    },
}

/// The properties of a response that a client uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceivedResponse {
    /// Whether another request may follow.
    pub persists: bool,
    /// T, if the response advertises it and the client honours it.
    pub timeout_secs: Option<u32>,
    /// Requests that may still follow, if the response says it and the client honours it.
    pub max: Option<u32>,
    /// The length of the body, which was read to its end.
    pub body_bytes: usize,
}

/// A server as its clients reach it.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint<'a> {
    /// Where it accepts connections.
    pub address: SocketAddr,
    /// The protocol of its connections.
    pub protocol: &'a dyn Protocol,
}

impl Endpoint<'_> {
    /// A server that speaks HTTP itself.
    #[must_use]
    pub fn plain(address: SocketAddr) -> Endpoint<'static> {
        Endpoint {
            address,
            protocol: &PlainHttp,
        }
    }
}

/// The protocol of a connection: HTTP itself, or HTTP over TLS.
pub trait Protocol: Debug + Sync {
    /// Begins the protocol on a connection.
    ///
    /// # Errors
    /// The server does not take part, or the connection is broken.
    fn begin(&self, socket: TcpStream) -> io::Result<Box<dyn ClientStream>>;
}

/// HTTP itself.
#[derive(Debug, Clone, Copy)]
pub struct PlainHttp;

impl Protocol for PlainHttp {
    fn begin(&self, socket: TcpStream) -> io::Result<Box<dyn ClientStream>> {
        Ok(Box::new(socket))
    }
}

/// The bytes of HTTP on a connection.
pub trait ClientStream: Read + Write + Debug + Send {
    /// The socket, whose bytes may be in another protocol.
    fn socket(&self) -> &TcpStream;

    /// A second handle, for sending while a response is read.
    ///
    /// # Errors
    /// The process has no descriptor left.
    fn sender(&self) -> io::Result<Box<dyn Write + Send>>;
}

impl ClientStream for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }

    fn sender(&self) -> io::Result<Box<dyn Write + Send>> {
        Ok(Box::new(self.try_clone()?))
    }
}

/// A connection of a client.
#[derive(Debug)]
pub struct ClientConnection {
    stream: Box<dyn ClientStream>,
    /// Bytes that were received and not parsed yet.
    received: Vec<u8>,
}

impl ClientConnection {
    /// Connects. A slow reader has a small receive buffer.
    ///
    /// # Errors
    /// The server does not accept the connection, or does not speak the protocol.
    pub fn open(server: Endpoint<'_>, speed: ReadSpeed) -> io::Result<ClientConnection> {
        let address = server.address;
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if let ReadSpeed::Slow { .. } = speed {
            socket.set_recv_buffer_size(SLOW_RECV_BUFFER_BYTES)?;
        }
        socket.connect_timeout(&address.into(), IO_TIMEOUT)?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(IO_TIMEOUT))?;
        stream.set_write_timeout(Some(IO_TIMEOUT))?;
        Ok(ClientConnection {
            stream: server.protocol.begin(stream)?,
            received: Vec::new(),
        })
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// A second handle, for sending while a response is read.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn sender(&self) -> io::Result<Box<dyn Write + Send>> {
        self.stream.sender()
    }

    /// Reads one response to a GET.
    ///
    /// # Errors
    /// The connection ends, breaks or stays silent before the end of the response, or the bytes are not HTTP.
    pub fn read(
        &mut self,
        hint_support: HintSupport,
        speed: ReadSpeed,
        clock: &SystemClock,
    ) -> io::Result<ReceivedResponse> {
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
        let (mut answer, length) = parse(&head, hint_support)?;
        let Some(length) = length else {
            // The body ends with the connection (RFC 9112 section 6.3).
            answer.persists = false;
            answer.body_bytes = self.read_to_end()?;
            return Ok(answer);
        };
        if let ReadSpeed::Slow { millis } = speed {
            self.read_slowly(length.saturating_sub(FAST_TAIL_BYTES), millis, clock)?;
        }
        while self.received.len() < length {
            self.receive(length - self.received.len())?;
        }
        self.received.drain(..length);
        answer.body_bytes = length;
        Ok(answer)
    }

    /// Whether the server has closed the connection, or sent bytes without a request.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let socket = self.stream.socket();
        if socket.set_nonblocking(true).is_err() {
            return true;
        }
        let peeked = socket.peek(&mut [0]);
        let is_silent = peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        socket.set_nonblocking(false).is_err() || !is_silent
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

/// The bytes of a GET request.
#[must_use]
pub fn get(path: &str) -> Vec<u8> {
    // Some servers send the Keep-Alive field only if the request has this option.
    let fields = "Host: localhost\r\nConnection: keep-alive\r\nAccept: */*\r\n";
    format!("GET {path} HTTP/1.1\r\n{fields}\r\n").into_bytes()
}

/// Parses a response head into the response and the length of its body.
fn parse(head: &[u8], hint_support: HintSupport) -> io::Result<(ReceivedResponse, Option<usize>)> {
    let head = std::str::from_utf8(head).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut lines = head.split("\r\n");
    let version = lines.next().and_then(|line| line.split_once(' '));
    let persists = match version {
        Some(("HTTP/1.1", _)) => true,
        Some(("HTTP/1.0", _)) => false,
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    let mut answer = ReceivedResponse {
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
            "keep-alive" => (answer.timeout_secs, answer.max) = hint(value, hint_support),
            _ => {}
        }
    }
    Ok((answer, length))
}

fn lists(value: &str, option: &str) -> bool {
    let mut options = value.split(',');
    options.any(|listed| listed.trim().eq_ignore_ascii_case(option))
}

/// The `timeout` and `max` that a client takes from the Keep-Alive field.
fn hint(value: &str, hint_support: HintSupport) -> (Option<u32>, Option<u32>) {
    let parameter = |wanted: &str| {
        let mut all = value.split(',').filter_map(|one| one.split_once('='));
        let found = all.find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted));
        found.map(|(_, number)| number.trim())
    };
    let timeout = parameter("timeout").and_then(|number| number.parse().ok());
    match hint_support {
        HintSupport::Ignored => (None, None),
        HintSupport::Timeout => (timeout, None),
        HintSupport::TimeoutIfFirst => {
            let is_first = value.to_ascii_lowercase().starts_with("timeout=");
            (timeout.filter(|_| is_first), None)
        }
        HintSupport::TimeoutAndMax => match parameter("max").map(str::parse::<i32>) {
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
        assert_eq!(hint(said, HintSupport::Timeout), (Some(120), None));
        assert_eq!(hint(said, HintSupport::TimeoutIfFirst), (Some(120), None));
        assert_eq!(
            hint(said, HintSupport::TimeoutAndMax),
            (Some(120), Some(999))
        );
        assert_eq!(hint(said, HintSupport::Ignored), (None, None));
    }

    #[test]
    fn an_order_or_a_number_that_a_client_does_not_expect_leaves_no_hint() {
        let turned = "max=999, timeout=120";
        assert_eq!(hint(turned, HintSupport::TimeoutIfFirst), (None, None));
        assert_eq!(
            hint(turned, HintSupport::TimeoutAndMax),
            (Some(120), Some(999))
        );
        let large = "timeout=120, max=2147483648";
        assert_eq!(hint(large, HintSupport::TimeoutAndMax), (None, None));
    }

    #[test]
    fn close_ends_the_connection_whatever_else_is_said() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive, Close\r\n\r\n";
        let (answer, length) = parse(head, HintSupport::Timeout).unwrap();
        assert!(!answer.persists);
        assert_eq!(length, Some(5));
        assert!(parse(b"SSH-2.0\r\n\r\n", HintSupport::Timeout).is_err());
    }
}
