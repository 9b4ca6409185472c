//! The floor: a server that makes the system calls of one request and nothing else. Its cost is the
//! kernel's part, which no server with an event loop can avoid. A server can save only the rest of its own
//! cost.
//!
//! One thread polls edge-triggered, accepts, receives once and sends once. It parses nothing. It forwards a
//! new request to abide, the upstream, and records the answer. The connections of the load repeat their
//! first request for ever, so after the first one the floor only counts bytes.
//!
//! The floor is the program of the bench, started again with a hidden option. It is a process like the
//! other servers, and its CPU time is measured in the same way.

use std::convert::Infallible;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use memchr::memmem;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use super::cells::{Cell, Setup};

/// The name in the tables, and for `--without`.
pub const FLOOR_NAME: &str = "floor";

/// The largest body with a floor. Larger bodies can be sent in several ways, and servers differ in which
/// one they choose.
const BODY_BYTES: usize = 16 << 10;

const RECEIVE_BYTES: usize = 32 << 10;
const BACKLOG: i32 = 16_384;
const LISTENER: Token = Token(usize::MAX >> 1);

/// Answers in one send: as many as requests in the deepest pipeline.
const ANSWERS: usize = 16;

/// Whether the cell has a floor.
pub fn has(cell: &Cell) -> bool {
    cell.setup == Setup::Plain && cell.load.is_uniform() && cell.body_bytes() <= BODY_BYTES
}

/// A request and the answer to it.
struct RecordedExchange {
    request: Vec<u8>,
    /// The answer, repeated [`ANSWERS`] times.
    answers: Vec<u8>,
    answer_bytes: usize,
    /// Whether the connection ends with the answer.
    is_last: bool,
}

struct Client {
    stream: TcpStream,
    /// The recorded exchange for its first request.
    exchange: Option<Rc<RecordedExchange>>,
    /// Bytes of an incomplete request.
    begun: usize,
    /// Bytes of answers that have not been sent.
    unsent: usize,
}

/// The recorded exchanges, and the server that answers new requests.
struct ResponseRecorder {
    upstream: SocketAddr,
    /// The exchange that was used last is the first.
    exchanges: Vec<Rc<RecordedExchange>>,
}

/// Serves the answers of the server at `upstream` at `address`.
pub fn serve(address: SocketAddr, upstream: SocketAddr) -> io::Result<Infallible> {
    let mut poll = Poll::new()?;
    let mut listener = listen(address)?;
    let registry = poll.registry();
    registry.register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut recorder = ResponseRecorder {
        upstream,
        exchanges: Vec::new(),
    };
    let mut clients: Vec<Option<Client>> = Vec::new();
    let mut free = Vec::new();
    let mut buffer = vec![0; RECEIVE_BYTES];
    let mut events = Events::with_capacity(1024);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result?,
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    let mut client = Client::new(stream);
                    // The request has mostly arrived, so try before registering the socket.
                    if !client.serve(&mut recorder, &mut buffer, false) {
                        continue;
                    }
                    let place = free.pop().unwrap_or_else(|| {
                        clients.push(None);
                        clients.len() - 1
                    });
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    let registry = poll.registry();
                    registry.register(&mut client.stream, Token(place), interest)?;
                    clients[place] = Some(client);
                }
                continue;
            }
            let place = event.token().0;
            let Some(client) = &mut clients[place] else {
                continue;
            };
            let read_closed = event.is_read_closed();
            let has_news = event.is_readable() || read_closed || client.unsent > 0;
            if has_news && !client.serve(&mut recorder, &mut buffer, read_closed) {
                clients[place] = None;
                free.push(place);
            }
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

impl Client {
    fn new(stream: TcpStream) -> Client {
        Client {
            stream,
            exchange: None,
            begun: 0,
            unsent: 0,
        }
    }

    /// Receives all available bytes and sends the answers. Returns whether the connection persists.
    fn serve(
        &mut self,
        recorder: &mut ResponseRecorder,
        buffer: &mut [u8],
        read_closed: bool,
    ) -> bool {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return false,
                Ok(count) => {
                    if !self.take(&buffer[..count], recorder) || !self.send() {
                        return false;
                    }
                    // A short read has emptied the socket, unless the peer has closed.
                    if count < buffer.len() && !read_closed {
                        return true;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.send(),
                Err(_) => return false,
            }
        }
    }

    /// Counts the requests in `bytes`. Returns whether they can be answered.
    fn take(&mut self, bytes: &[u8], recorder: &mut ResponseRecorder) -> bool {
        if self.exchange.is_none() {
            self.exchange = recorder.exchange(bytes);
        }
        let Some(exchange) = &self.exchange else {
            return false;
        };
        let come = self.begun + bytes.len();
        self.begun = come % exchange.request.len();
        self.unsent += come / exchange.request.len() * exchange.answer_bytes;
        true
    }

    /// Sends until all is sent or the socket is full. Returns whether the connection persists.
    fn send(&mut self) -> bool {
        let Some(exchange) = &self.exchange else {
            return true;
        };
        while self.unsent > 0 {
            // All answers are equal, so the number of unsent bytes gives the position.
            let gone = (exchange.answer_bytes - self.unsent % exchange.answer_bytes)
                % exchange.answer_bytes;
            let rest = &exchange.answers[gone..];
            match self.stream.write(&rest[..rest.len().min(self.unsent)]) {
                Ok(count) => self.unsent -= count,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        !exchange.is_last
    }
}

impl ResponseRecorder {
    /// The exchange for the request at the beginning of `bytes`; `None` if the request is incomplete.
    /// Requests are so small that they arrive in one piece.
    fn exchange(&mut self, bytes: &[u8]) -> Option<Rc<RecordedExchange>> {
        let known = |exchange: &Rc<RecordedExchange>| bytes.starts_with(&exchange.request);
        if let Some(place) = self.exchanges.iter().position(known) {
            self.exchanges.swap(0, place);
        } else {
            let end = memmem::find(bytes, b"\r\n\r\n")? + 4;
            let exchange = self.record(&bytes[..end]);
            let complain =
                |error: &io::Error| eprintln!("the floor cannot record an answer: {error}");
            let exchange = exchange.inspect_err(complain).ok()?;
            self.exchanges.insert(0, Rc::new(exchange));
        }
        self.exchanges.first().cloned()
    }

    fn record(&self, request: &[u8]) -> io::Result<RecordedExchange> {
        let mut stream = std::net::TcpStream::connect(self.upstream)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(request)?;
        let mut answer = Vec::new();
        let mut piece = [0; 4096];
        while !is_whole(&answer, request.starts_with(b"HEAD ")) {
            match stream.read(&mut piece)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => answer.extend_from_slice(&piece[..count]),
            }
        }
        Ok(RecordedExchange {
            request: request.to_vec(),
            answers: answer.repeat(ANSWERS),
            answer_bytes: answer.len(),
            is_last: memmem::find(&answer, b"\r\nConnection: close\r\n").is_some(),
        })
    }
}

/// Whether the answer is complete.
fn is_whole(answer: &[u8], is_head: bool) -> bool {
    let Some(end) = memmem::find(answer, b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&answer[..end]);
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    let length: usize = length.and_then(|value| value.parse().ok()).unwrap_or(0);
    let has_body = !is_head && !head.starts_with("HTTP/1.1 304");
    answer.len() >= end + 4 + if has_body { length } else { 0 }
}
