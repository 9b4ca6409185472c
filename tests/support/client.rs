//! A client that sends the bytes it is given and reads exactly one response at a time.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::{PATIENCE, Response};

/// One connection.
pub struct Client {
    socket: Socket,
    /// Bytes that were received and not yet returned to the test.
    received: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the server accepts");
        // Bytes that are sent separately are to arrive separately.
        stream.set_nodelay(true).expect("TCP_NODELAY");
        Client::over(stream.into())
    }

    /// Connects from another address of this machine, as a different client.
    pub fn connect_from(own: &str, server: SocketAddr) -> Client {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let own: IpAddr = own.parse().expect("an address");
        socket
            .bind(&SocketAddr::new(own, 0).into())
            .expect("an address of this machine");
        socket
            .connect_timeout(&server.into(), PATIENCE)
            .expect("the server accepts");
        socket.set_tcp_nodelay(true).expect("TCP_NODELAY");
        Client::over(socket)
    }

    pub fn connect_unix(path: &Path) -> Client {
        let stream = UnixStream::connect(path).expect("the server accepts on the unix socket");
        Client::over(stream.into())
    }

    /// A client with a small receive buffer: its kernel takes little that the client has not read.
    pub fn connect_narrow(address: SocketAddr) -> Client {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(4096).expect("SO_RCVBUF");
        socket
            .connect_timeout(&address.into(), PATIENCE)
            .expect("the server accepts");
        Client::over(socket)
    }

    fn over(socket: Socket) -> Client {
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        Client {
            socket,
            received: Vec::new(),
        }
    }

    /// The client's own address.
    pub fn address(&self) -> SocketAddr {
        let address = self.socket.local_addr().expect("an address");
        address.as_socket().expect("a TCP address")
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the server takes what is sent");
    }

    /// Sends bytes that the server may refuse.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.socket.write_all(bytes.as_ref())
    }

    /// Sends as much as the socket takes at once; `None` if it takes nothing.
    pub fn send_some(&mut self, bytes: &[u8]) -> Option<usize> {
        self.socket.set_nonblocking(true).expect("non-blocking");
        let result = self.socket.write(bytes);
        self.socket.set_nonblocking(false).expect("blocking");
        match result {
            Ok(count) => Some(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => panic!("the server does not take what is sent: {error}"),
        }
    }

    /// Closes the sending side.
    pub fn half_close(&mut self) {
        self.socket.shutdown(Shutdown::Write).expect("shutdown");
    }

    /// Sends a request without a body and reads its answer.
    pub fn ask(&mut self, method: &str, target: &str) -> Response {
        self.ask_with(method, target, "")
    }

    /// As `ask`, with further field lines, each of which ends in CRLF.
    pub fn ask_with(&mut self, method: &str, target: &str, fields: &str) -> Response {
        self.send(request(method, target, fields));
        if method == "HEAD" {
            self.answer_to_head()
        } else {
            self.answer()
        }
    }

    pub fn get(&mut self, target: &str) -> Response {
        self.ask("GET", target)
    }

    /// Reads one response to a request other than HEAD.
    pub fn answer(&mut self) -> Response {
        self.try_answer(true)
            .unwrap_or_else(|why| panic!("no answer: {why}"))
    }

    /// Reads one response to HEAD: it declares a length and has no body (RFC 9110 section 9.3.2).
    pub fn answer_to_head(&mut self) -> Response {
        self.try_answer(false)
            .unwrap_or_else(|why| panic!("no answer to HEAD: {why}"))
    }

    /// Reads one response, or returns what came instead.
    pub fn try_answer(&mut self, has_body: bool) -> Result<Response, String> {
        let mut response = self.try_head()?;
        let has_body = has_body && !matches!(response.status, 100..=199 | 204 | 304);
        let length = response.length().unwrap_or(0);
        if has_body {
            let length = usize::try_from(length).expect("a length that fits the memory");
            while self.received.len() < length {
                if self.receive()? == 0 {
                    let got = self.received.len();
                    return Err(format!("the body ends after {got} of {length} bytes"));
                }
            }
            response.body = self.take(length);
        }
        Ok(response)
    }

    /// Reads a head, and leaves the body unread.
    pub fn head(&mut self) -> Response {
        self.try_head()
            .unwrap_or_else(|why| panic!("no head of an answer: {why}"))
    }

    fn try_head(&mut self) -> Result<Response, String> {
        loop {
            if let Some(end) = find(&self.received, b"\r\n\r\n") {
                let head = self.take(end + 4);
                return Ok(Response::parse_head(&head[..end]));
            }
            if self.receive()? == 0 {
                let got = String::from_utf8_lossy(&self.received);
                return Err(format!("the connection ends after {got:?}"));
            }
        }
    }

    /// Reads exactly `count` bytes of a body.
    pub fn read_body(&mut self, count: usize) -> Vec<u8> {
        while self.received.len() < count {
            let got = self.receive().unwrap_or_else(|why| panic!("{why}"));
            assert!(got > 0, "the connection ends within a body");
        }
        self.take(count)
    }

    /// Waits for one `read`, and returns the bytes received so far.
    pub fn receive_once(&mut self) -> Vec<u8> {
        let count = self.receive().unwrap_or_else(|why| panic!("{why}"));
        assert!(count > 0, "the connection ends");
        std::mem::take(&mut self.received)
    }

    /// Reads until the server's FIN.
    pub fn rest(&mut self) -> Vec<u8> {
        self.try_rest().unwrap_or_else(|(_, why)| panic!("{why}"))
    }

    /// Reads until the server's FIN; on an error, returns the bytes before it and the reason.
    pub fn try_rest(&mut self) -> Result<Vec<u8>, (Vec<u8>, String)> {
        loop {
            match self.receive() {
                Ok(0) => return Ok(std::mem::take(&mut self.received)),
                Ok(_) => {}
                Err(why) => return Err((std::mem::take(&mut self.received), why)),
            }
        }
    }

    /// Expects the server's FIN, and no byte before it.
    pub fn expect_end(&mut self) {
        let rest = self.rest();
        assert!(
            rest.is_empty(),
            "bytes before the end: {:?}",
            String::from_utf8_lossy(&rest)
        );
    }

    /// Whether bytes or an end come within `patience`. Takes nothing.
    pub fn is_told_something(&mut self, patience: Duration) -> bool {
        if !self.received.is_empty() {
            return true;
        }
        self.socket
            .set_read_timeout(Some(patience))
            .expect("a timeout");
        let mut byte = [std::mem::MaybeUninit::uninit()];
        let result = self.socket.peek(&mut byte);
        self.socket
            .set_read_timeout(Some(PATIENCE))
            .expect("a timeout");
        match result {
            Ok(_) => true,
            Err(error) => !is_timeout(&error),
        }
    }

    /// Expects that the connection is open and answers another request.
    pub fn expect_usable(&mut self) {
        let response = self.get("/");
        assert_eq!(response.status, 200, "{}", response.head);
    }

    /// Makes the drop send a reset rather than a FIN.
    pub fn reset_on_drop(&self) {
        self.socket
            .set_linger(Some(Duration::ZERO))
            .expect("SO_LINGER");
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.received.split_off(count);
        std::mem::replace(&mut self.received, rest)
    }

    fn receive(&mut self) -> Result<usize, String> {
        let start = Instant::now();
        let mut buffer = [0; 64 * 1024];
        // A machine that was suspended interrupts its system calls.
        let received = loop {
            match self.socket.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                received => break received,
            }
        };
        match received {
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                Ok(count)
            }
            Err(error) if is_timeout(&error) => Err(format!(
                "the server sends nothing for {} s",
                start.elapsed().as_secs()
            )),
            Err(error) => Err(format!("the connection breaks: {error}")),
        }
    }
}

/// A request without a body.
pub fn request(method: &str, target: &str, fields: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: test\r\n{fields}\r\n")
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(haystack, needle)
}
