//! The floor: a server that makes the calls of one request and nothing else. What it costs is the
//! kernel's part, which no server of this shape can undercut; the rest of a server's figure is
//! anybody's to save.
//!
//! One thread polls edge-triggered, accepts, receives once and sends once. It understands nothing. A
//! request that it has not seen it passes to abide, and keeps the answer as it came. A connection is
//! taken to repeat its first request for ever, as those of the load do, so from then on bytes are
//! counted and not looked at.
//!
//! It is the bench's own program, started again with a hidden option: a process like the others, whose
//! CPU time is taken as theirs is.

use std::convert::Infallible;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use memchr::memmem;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

use super::cells::Cell;

/// For the tables, and for `--without`.
pub const FLOOR_NAME: &str = "floor";

/// The largest body with a floor. Larger ones can be moved in several ways, and which is the
/// cheapest is what servers differ in.
const BODY_BYTES: usize = 16 << 10;

const RECEIVE_BYTES: usize = 32 << 10;
const BACKLOG: i32 = 16_384;
const LISTENER: Token = Token(usize::MAX >> 1);

/// Answers that one send can take: as many as the deepest pipeline asks for.
const ANSWERS: usize = 16;

/// Whether the cell has a floor.
pub fn has(cell: &Cell) -> bool {
    !cell.logged && cell.body_bytes() <= BODY_BYTES
}

/// A request and the answer to it.
struct Lesson {
    request: Vec<u8>,
    /// [`ANSWERS`] times.
    answers: Vec<u8>,
    answer_bytes: usize,
    /// Whether the connection ends with it.
    is_last: bool,
}

struct Client {
    stream: TcpStream,
    /// What its first request taught.
    lesson: Option<Rc<Lesson>>,
    /// Bytes of a request that has not come whole.
    begun: usize,
    /// Bytes of answers that the socket has not taken.
    unsent: usize,
}

/// What has been learnt, and from whom.
struct School {
    teacher: SocketAddr,
    /// The one that was last in use is the first.
    lessons: Vec<Rc<Lesson>>,
}

/// Serves at `address` what the server at `teacher` answers.
pub fn serve(address: SocketAddr, teacher: SocketAddr) -> io::Result<Infallible> {
    let mut poll = Poll::new()?;
    let mut listener = listen(address)?;
    let registry = poll.registry();
    registry.register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut school = School {
        teacher,
        lessons: Vec::new(),
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
                    // The request is mostly there: no need to watch for it.
                    if !client.turn(&mut school, &mut buffer, false) {
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
            if has_news && !client.turn(&mut school, &mut buffer, read_closed) {
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
            lesson: None,
            begun: 0,
            unsent: 0,
        }
    }

    /// Receives what is there and sends what is due. Whether the connection goes on.
    fn turn(&mut self, school: &mut School, buffer: &mut [u8], read_closed: bool) -> bool {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return false,
                Ok(count) => {
                    if !self.take(&buffer[..count], school) || !self.send() {
                        return false;
                    }
                    // A short read has emptied the socket, unless the end comes with the data.
                    if count < buffer.len() && !read_closed {
                        return true;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.send(),
                Err(_) => return false,
            }
        }
    }

    /// Counts the requests in what has come. Whether they can be answered.
    fn take(&mut self, bytes: &[u8], school: &mut School) -> bool {
        if self.lesson.is_none() {
            self.lesson = school.lesson(bytes);
        }
        let Some(lesson) = &self.lesson else {
            return false;
        };
        let come = self.begun + bytes.len();
        self.begun = come % lesson.request.len();
        self.unsent += come / lesson.request.len() * lesson.answer_bytes;
        true
    }

    /// Sends until all is gone or the socket is full. Whether the connection goes on.
    fn send(&mut self) -> bool {
        let Some(lesson) = &self.lesson else {
            return true;
        };
        while self.unsent > 0 {
            // The answers are all alike, so what is left of them says where to go on.
            let gone =
                (lesson.answer_bytes - self.unsent % lesson.answer_bytes) % lesson.answer_bytes;
            let rest = &lesson.answers[gone..];
            match self.stream.write(&rest[..rest.len().min(self.unsent)]) {
                Ok(count) => self.unsent -= count,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        !lesson.is_last
    }
}

impl School {
    /// The lesson about the request that `bytes` begin with. `None` without a whole one: they are so
    /// small that they come in one piece.
    fn lesson(&mut self, bytes: &[u8]) -> Option<Rc<Lesson>> {
        let known = |lesson: &Rc<Lesson>| bytes.starts_with(&lesson.request);
        if let Some(place) = self.lessons.iter().position(known) {
            self.lessons.swap(0, place);
        } else {
            let end = memmem::find(bytes, b"\r\n\r\n")? + 4;
            let lesson = self.learn(&bytes[..end]);
            let complain = |error: &io::Error| eprintln!("the floor learns nothing: {error}");
            let lesson = lesson.inspect_err(complain).ok()?;
            self.lessons.insert(0, Rc::new(lesson));
        }
        self.lessons.first().cloned()
    }

    fn learn(&self, request: &[u8]) -> io::Result<Lesson> {
        let mut stream = std::net::TcpStream::connect(self.teacher)?;
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
        Ok(Lesson {
            request: request.to_vec(),
            answers: answer.repeat(ANSWERS),
            answer_bytes: answer.len(),
            is_last: memmem::find(&answer, b"\r\nConnection: close\r\n").is_some(),
        })
    }
}

/// Whether the answer has come to its end.
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
