//! Common parts of the relays and the model origin: accepting, and reading the head of a message.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use support::PATIENCE;

/// More than any head in these tests needs.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// A listener that handles each connection in a thread. It stops accepting on drop.
pub struct Hop {
    pub address: SocketAddr,
    stopping: Arc<AtomicBool>,
}

impl Hop {
    /// Every wait on a connection ends after `PATIENCE`, so no thread runs much longer than its test.
    pub fn accepting(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Hop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let stopping = Arc::new(AtomicBool::new(false));
        let (serve, told) = (Arc::new(serve), Arc::clone(&stopping));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if told.load(Ordering::Relaxed) {
                    return;
                }
                let stream = bounded(stream.expect("accept"));
                let serve = Arc::clone(&serve);
                thread::spawn(move || serve(stream));
            }
        });
        Hop { address, stopping }
    }
}

impl Drop for Hop {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        // This connection wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

/// A connection to `address`.
pub fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    TcpStream::connect_timeout(&address, PATIENCE).map(bounded)
}

fn bounded(stream: TcpStream) -> TcpStream {
    stream.set_nodelay(true).expect("TCP_NODELAY");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// The head of a message: its first line, and its fields in the received order.
pub struct Head {
    pub start: String,
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// Reads a head and leaves the bytes after it in `received`. `None` at a clean end of the stream.
    pub fn read(stream: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<Option<Head>> {
        let end = loop {
            if let Some(end) = memchr::memmem::find(received, b"\r\n\r\n") {
                break end;
            }
            if received.len() > MAX_HEAD_BYTES {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if receive(stream, received)? == 0 {
                let is_clean = received.is_empty();
                return is_clean
                    .then_some(None)
                    .ok_or(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let text = String::from_utf8_lossy(&received[..end]).into_owned();
        received.drain(..end + 4);
        Head::parse(&text)
            .map(Some)
            .ok_or(io::ErrorKind::InvalidData.into())
    }

    fn parse(text: &str) -> Option<Head> {
        let mut lines = text.split("\r\n");
        let start = lines.next()?.to_owned();
        let field = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_owned(), value.trim().to_owned()))
        };
        let fields = lines.map(field).collect::<Option<_>>()?;
        Some(Head { start, fields })
    }

    pub fn encode(&self) -> String {
        let lines = self.fields.iter();
        let lines: String = lines
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        format!("{}\r\n{lines}\r\n", self.start)
    }

    pub fn push(&mut self, name: &str, value: impl Into<String>) {
        self.fields.push((name.to_owned(), value.into()));
    }

    /// All values of the field, split into list members (RFC 9110 section 5.6.1).
    pub fn list(&self, name: &str) -> Vec<String> {
        self.fields
            .iter()
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .flat_map(|(_, value)| value.split(','))
            .map(|member| member.trim().to_ascii_lowercase())
            .collect()
    }

    /// Whether `Connection` lists `option`.
    pub fn has_option(&self, option: &str) -> bool {
        self.list("connection")
            .iter()
            .any(|member| member == option)
    }
}

/// Appends the available bytes, at most a few kilobytes, to `received`. Returns 0 at the end.
pub fn receive(stream: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<usize> {
    let mut buffer = [0; 4096];
    let count = stream.read(&mut buffer)?;
    received.extend_from_slice(&buffer[..count]);
    Ok(count)
}
