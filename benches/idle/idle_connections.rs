//! Many connections that send one request each, and then wait for the server to close them.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

/// Connections from one address: far fewer than its ports.
pub const PER_ADDRESS: usize = 5_000;

/// Connections that are opened before their answers are read: less than the backlog of the listener.
const BATCH: usize = 128;

struct IdleConnection {
    socket: Socket,
    answered_at: Instant,
}

/// Idle connections. They are closed on drop.
pub struct IdleConnections {
    connections: Vec<IdleConnection>,
}

/// When the server closed the connections, in seconds after the last byte of the answer.
#[derive(Debug)]
pub struct Reaped {
    pub earliest_secs: f64,
    pub latest_secs: f64,
    /// Connections that were still open at the end of the wait.
    pub left: usize,
}

/// The address that a connection comes from: 127.1.x.1.
fn source(connection: usize) -> Ipv4Addr {
    let address = u8::try_from(connection / PER_ADDRESS).expect("256 addresses are enough");
    Ipv4Addr::new(127, 1, address, 1)
}

impl IdleConnections {
    /// Opens `count` connections, sends `request` on each and reads the answer of `answer_bytes`.
    pub fn open(
        server: SocketAddr,
        count: usize,
        request: &[u8],
        answer_bytes: usize,
    ) -> IdleConnections {
        let mut connections: Vec<IdleConnection> = Vec::with_capacity(count);
        let mut answer = vec![0; answer_bytes];
        while connections.len() < count {
            let start = connections.len();
            for connection in start..count.min(start + BATCH) {
                let mut socket = connect(server, source(connection));
                socket.write_all(request).expect("a request is taken");
                let answered_at = Instant::now();
                connections.push(IdleConnection {
                    socket,
                    answered_at,
                });
            }
            for connection in &mut connections[start..] {
                connection
                    .socket
                    .read_exact(&mut answer)
                    .expect("an answer");
                connection.answered_at = Instant::now();
                connection
                    .socket
                    .set_nonblocking(true)
                    .expect("non-blocking");
            }
        }
        IdleConnections { connections }
    }

    /// Waits until the server has closed all connections, at most for `patience`. The client closes each one
    /// when the FIN arrives.
    pub fn reaped(self, patience: Duration) -> Reaped {
        let mut poll = Poll::new().expect("a poll");
        for (number, connection) in self.connections.iter().enumerate() {
            let fd = connection.socket.as_raw_fd();
            poll.registry()
                .register(&mut SourceFd(&fd), Token(number), Interest::READABLE)
                .expect("registered");
        }
        let mut connections: Vec<Option<IdleConnection>> =
            self.connections.into_iter().map(Some).collect();
        let mut events = Events::with_capacity(1024);
        let end = Instant::now() + patience;
        let mut reaped = Reaped {
            earliest_secs: f64::MAX,
            latest_secs: 0.0,
            left: connections.len(),
        };
        while reaped.left > 0 && Instant::now() < end {
            poll.poll(&mut events, Some(Duration::from_millis(100)))
                .expect("polled");
            for event in &events {
                let place = &mut connections[event.token().0];
                if let Some(connection) = place.take_if(|connection| connection.has_ended()) {
                    let secs = connection.answered_at.elapsed().as_secs_f64();
                    reaped.earliest_secs = reaped.earliest_secs.min(secs);
                    reaped.latest_secs = reaped.latest_secs.max(secs);
                    reaped.left -= 1;
                }
            }
        }
        reaped
    }
}

impl IdleConnection {
    fn has_ended(&mut self) -> bool {
        match self.socket.read(&mut [0]) {
            Ok(0) => true,
            Ok(_) => panic!("unrequested bytes"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => panic!("an idle connection breaks: {error}"),
        }
    }
}

fn connect(server: SocketAddr, source: Ipv4Addr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a descriptor");
    socket
        .bind(&SocketAddr::from((source, 0)).into())
        .expect("a free port");
    socket.connect(&server.into()).expect("the server accepts");
    socket.set_tcp_nodelay(true).expect("TCP_NODELAY");
    socket
}
