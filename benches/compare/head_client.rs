//! A client for HEAD requests, because wrk and h2load wait for a body after the head.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::cells::Cell;
use super::load::LoadResult;

/// A bound on the length of a head, which no server exceeds.
const HEAD_BYTES: usize = 4096;

struct Connection {
    stream: TcpStream,
    asked: Instant,
    head: Vec<u8>,
}

/// Sends requests on all connections of the cell for `time`: on each, the next one follows the answer.
pub fn run(cell: &Cell, address: SocketAddr, time: Duration) -> io::Result<LoadResult> {
    let request = format!("HEAD {} HTTP/1.1\r\nHost: {address}\r\n\r\n", cell.path);
    let mut poll = Poll::new()?;
    let mut connections = HashMap::new();
    for number in 0..cell.connections as usize {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        let registry = poll.registry();
        registry.register(&mut stream, Token(number), Interest::READABLE)?;
        let connection = Connection {
            stream,
            asked: Instant::now(),
            head: Vec::with_capacity(HEAD_BYTES),
        };
        connections.insert(Token(number), connection);
    }
    let start = Instant::now();
    let mut micros = Vec::new();
    let mut wrong = 0;
    for connection in connections.values_mut() {
        connection.ask(request.as_bytes())?;
    }
    let mut events = Events::with_capacity(1024);
    while start.elapsed() < time && !connections.is_empty() {
        poll.poll(&mut events, Some(time))?;
        for event in &events {
            let Some(connection) = connections.get_mut(&event.token()) else {
                continue;
            };
            match connection.receive(request.as_bytes()) {
                Ok(Some(latency)) => micros.push(latency.as_micros() as u32),
                Ok(None) => {}
                Err(_) => {
                    wrong += 1;
                    connections.remove(&event.token());
                }
            }
        }
    }
    Ok(LoadResult::of(micros, start.elapsed().as_secs_f64(), wrong))
}

impl Connection {
    fn ask(&mut self, request: &[u8]) -> io::Result<()> {
        self.head.clear();
        self.asked = Instant::now();
        // A request of this size always fits into an empty send buffer.
        self.stream.write_all(request)
    }

    /// Reads the available bytes. If the answer is complete, returns its latency and sends the next request.
    fn receive(&mut self, request: &[u8]) -> io::Result<Option<Duration>> {
        let mut piece = [0; HEAD_BYTES];
        let count = match self.stream.read(&mut piece) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        self.head.extend_from_slice(&piece[..count]);
        if self.head.len() > HEAD_BYTES {
            return Err(ErrorKind::InvalidData.into());
        }
        // One request at a time: nothing can follow the head.
        if !self.head.ends_with(b"\r\n\r\n") {
            return Ok(None);
        }
        let latency = self.asked.elapsed();
        self.ask(request)?;
        Ok(Some(latency))
    }
}
