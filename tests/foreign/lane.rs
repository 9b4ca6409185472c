//! A client that never repeats a request: lost requests are counted.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use support::PATIENCE;

/// One connection to the server at a time, kept until the server says close.
pub struct Lane {
    address: SocketAddr,
    stream: Option<TcpStream>,
    received: Vec<u8>,
}

/// The answer that a request must have, byte for byte.
#[derive(Clone, Copy)]
pub struct Wanted<'s> {
    pub target: &'s str,
    pub body: &'s [u8],
}

impl Lane {
    pub fn to(address: SocketAddr) -> Lane {
        Lane {
            address,
            stream: None,
            received: Vec::new(),
        }
    }

    /// Sends a request, or returns why that failed.
    pub fn send(&mut self, wanted: Wanted, fields: &str) -> Result<(), String> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect()?,
        };
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: test\r\n{fields}\r\n",
            wanted.target
        );
        stream
            .write_all(request.as_bytes())
            .map_err(|why| format!("not sent: {why}"))?;
        self.stream = Some(stream);
        Ok(())
    }

    /// Reads the answer. After an unexpected one the connection is not used again.
    pub fn receive(&mut self, wanted: Wanted) -> Result<(), String> {
        let Some(mut stream) = self.stream.take() else {
            return Err("nothing was sent".to_owned());
        };
        if self.read_answer(&mut stream, wanted)? {
            self.stream = Some(stream);
        }
        Ok(())
    }

    /// Sends a request and reads its answer.
    pub fn ask(&mut self, wanted: Wanted, fields: &str) -> Result<(), String> {
        self.send(wanted, fields)?;
        self.receive(wanted)
    }

    fn connect(&mut self) -> Result<TcpStream, String> {
        self.received.clear();
        let connect = || {
            let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        connect().map_err(|why: std::io::Error| format!("not connected: {why}"))
    }

    /// Reads the answer, and returns whether the connection persists.
    fn read_answer(&mut self, stream: &mut TcpStream, wanted: Wanted) -> Result<bool, String> {
        let end = loop {
            if let Some(end) = memchr::memmem::find(&self.received, b"\r\n\r\n") {
                break end;
            }
            self.read_some(stream)?;
        };
        let head = String::from_utf8_lossy(&self.received[..end]).to_ascii_lowercase();
        self.received.drain(..end + 4);
        if !head.starts_with("http/1.1 200 ") {
            let status = head.lines().next().unwrap_or_default();
            return Err(format!("answered with {status}"));
        }
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        let length = field("content-length:").and_then(|value| value.trim().parse().ok());
        let length: usize = length.ok_or_else(|| format!("no length: {head}"))?;
        while self.received.len() < length {
            self.read_some(stream)?;
        }
        let closes = field("connection:").is_some_and(|value| value.trim() == "close");
        let is_exact = self.received == wanted.body;
        self.received.clear();
        is_exact
            .then_some(!closes)
            .ok_or_else(|| "not the requested file".to_owned())
    }

    fn read_some(&mut self, stream: &mut TcpStream) -> Result<(), String> {
        let mut buffer = [0; 16 * 1024];
        match stream.read(&mut buffer) {
            Ok(0) => Err(format!("closed after {} bytes", self.received.len())),
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(why) => Err(format!("broken after {} bytes: {why}", self.received.len())),
        }
    }
}

/// The numbers of requests and failures.
#[derive(Debug, Default)]
pub struct Outcome {
    pub requests: u64,
    /// The kinds of failures, with their numbers.
    pub failures: BTreeMap<String, u64>,
}

impl Outcome {
    pub fn note(&mut self, result: Result<(), String>) {
        self.requests += 1;
        if let Err(why) = result {
            *self.failures.entry(why).or_default() += 1;
        }
    }

    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    pub fn add(&mut self, other: Outcome) {
        self.requests += other.requests;
        for (why, count) in other.failures {
            *self.failures.entry(why).or_default() += count;
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests, {} failed", self.requests, self.failed())?;
        for (why, count) in &self.failures {
            write!(f, "; {count} {why}")?;
        }
        Ok(())
    }
}
