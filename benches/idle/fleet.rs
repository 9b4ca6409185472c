//! Many connections that make one request each, and then wait for the server to end them.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

/// Connections from one address: far fewer than the kernel has ports for it.
pub const PER_ADDRESS: usize = 5_000;

/// Connections that are opened before their answers are read: less than a backlog.
const BATCH: usize = 128;

struct Lane {
    socket: Socket,
    answered_at: Instant,
}

/// Connections that are idle. Dropping it closes them.
pub struct Fleet {
    lanes: Vec<Lane>,
}

/// How the server ended them: seconds after the last byte of the answer.
#[derive(Debug)]
pub struct Reaped {
    pub earliest_secs: f64,
    pub latest_secs: f64,
    /// Connections that were still open at the end of the wait.
    pub left: usize,
}

/// The address that a connection comes from: 127.1.x.1.
fn source(lane: usize) -> Ipv4Addr {
    let address = u8::try_from(lane / PER_ADDRESS).expect("256 addresses are enough");
    Ipv4Addr::new(127, 1, address, 1)
}

impl Fleet {
    /// Opens `count` connections, sends `request` on each and reads the answer of `answer_bytes`.
    pub fn open(server: SocketAddr, count: usize, request: &[u8], answer_bytes: usize) -> Fleet {
        let mut lanes: Vec<Lane> = Vec::with_capacity(count);
        let mut answer = vec![0; answer_bytes];
        while lanes.len() < count {
            let start = lanes.len();
            for lane in start..count.min(start + BATCH) {
                let mut socket = connect(server, source(lane));
                socket.write_all(request).expect("a request is taken");
                let answered_at = Instant::now();
                lanes.push(Lane {
                    socket,
                    answered_at,
                });
            }
            for lane in &mut lanes[start..] {
                lane.socket.read_exact(&mut answer).expect("an answer");
                lane.answered_at = Instant::now();
                lane.socket.set_nonblocking(true).expect("non-blocking");
            }
        }
        Fleet { lanes }
    }

    /// Waits until the server has ended all of them, at most for `patience`. Each one is closed when
    /// its FIN comes.
    pub fn reaped(self, patience: Duration) -> Reaped {
        let mut poll = Poll::new().expect("a poll");
        for (number, lane) in self.lanes.iter().enumerate() {
            let fd = lane.socket.as_raw_fd();
            poll.registry()
                .register(&mut SourceFd(&fd), Token(number), Interest::READABLE)
                .expect("registered");
        }
        let mut lanes: Vec<Option<Lane>> = self.lanes.into_iter().map(Some).collect();
        let mut events = Events::with_capacity(1024);
        let end = Instant::now() + patience;
        let mut reaped = Reaped {
            earliest_secs: f64::MAX,
            latest_secs: 0.0,
            left: lanes.len(),
        };
        while reaped.left > 0 && Instant::now() < end {
            poll.poll(&mut events, Some(Duration::from_millis(100)))
                .expect("polled");
            for event in &events {
                let place = &mut lanes[event.token().0];
                if let Some(lane) = place.take_if(|lane| lane.has_ended()) {
                    let secs = lane.answered_at.elapsed().as_secs_f64();
                    reaped.earliest_secs = reaped.earliest_secs.min(secs);
                    reaped.latest_secs = reaped.latest_secs.max(secs);
                    reaped.left -= 1;
                }
            }
        }
        reaped
    }
}

impl Lane {
    fn has_ended(&mut self) -> bool {
        match self.socket.read(&mut [0]) {
            Ok(0) => true,
            Ok(_) => panic!("bytes that nobody asked for"),
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
