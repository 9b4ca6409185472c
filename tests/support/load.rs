//! Active connections: each sends the next request as soon as it has the answer.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// Threads of the clients.
const THREADS: usize = 2;

/// The time at the beginning that is not measured.
const WARM_UP: Duration = Duration::from_millis(100);

/// A load: several connections that repeat one request.
#[derive(Debug, Clone)]
pub struct Load {
    pub server: SocketAddr,
    pub connections: usize,
    pub request: Vec<u8>,
    /// Bytes of an answer. All answers have the same length.
    pub answer_bytes: usize,
}

/// The result of a load.
#[derive(Debug, Default)]
pub struct Measured {
    pub requests_per_second: f64,
    /// All answers, including those of the warm-up.
    pub answers: u64,
    /// One for each request, in microseconds, sorted.
    pub latencies: Vec<u32>,
}

impl Measured {
    /// The latency that 99 of 100 requests did not exceed, in microseconds.
    pub fn p99(&self) -> u32 {
        self.percentile(99)
    }

    /// The latency that `percent` of 100 requests did not exceed, in microseconds.
    pub fn percentile(&self, percent: usize) -> u32 {
        let place = self.latencies.len() * percent / 100;
        self.latencies.get(place).copied().unwrap_or(0)
    }
}

impl Load {
    /// Runs the load for `duration`, after a warm-up.
    pub fn run(&self, duration: Duration) -> Measured {
        let all_are_connected = Arc::new(Barrier::new(THREADS));
        let share = self.connections.div_ceil(THREADS);
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                let begin = self.connections.min(number * share);
                let load = Load {
                    connections: share.min(self.connections - begin),
                    ..self.clone()
                };
                let all_are_connected = Arc::clone(&all_are_connected);
                thread::spawn(move || load.run_thread(&all_are_connected, duration))
            })
            .collect();
        let mut sum = Measured::default();
        for thread in threads {
            let mut measured = thread.join().expect("a client");
            sum.latencies.append(&mut measured.latencies);
            sum.answers += measured.answers;
        }
        sum.latencies.sort_unstable();
        sum.requests_per_second = sum.latencies.len() as f64 / duration.as_secs_f64();
        sum
    }

    /// Runs the connections of one thread.
    fn run_thread(&self, all_are_connected: &Barrier, duration: Duration) -> Measured {
        let mut poll = Poll::new().expect("a poll");
        let mut connections: Vec<ActiveConnection> =
            (0..self.connections).map(|_| self.connect()).collect();
        for (number, connection) in connections.iter_mut().enumerate() {
            let registry = poll.registry();
            registry
                .register(&mut connection.stream, Token(number), Interest::READABLE)
                .expect("registered");
        }
        all_are_connected.wait();
        let start = Instant::now() + WARM_UP;
        let end = start + duration;
        for connection in &mut connections {
            connection.ask(&self.request);
        }
        let mut measured = Measured::default();
        measured.latencies.reserve(1 << 20);
        let mut events = Events::with_capacity(1024);
        while Instant::now() < end {
            poll.poll(&mut events, Some(Duration::from_millis(100)))
                .expect("polled");
            for event in &events {
                let connection = &mut connections[event.token().0];
                if connection.has_answer(self.answer_bytes) {
                    measured.answers += 1;
                    let now = Instant::now();
                    if now >= start && now < end {
                        let latency = (now - connection.asked_at).as_micros() as u32;
                        measured.latencies.push(latency);
                    }
                    connection.ask(&self.request);
                }
            }
        }
        measured
    }

    fn connect(&self) -> ActiveConnection {
        let stream = std::net::TcpStream::connect(self.server).expect("the server accepts");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_nonblocking(true).expect("non-blocking");
        ActiveConnection {
            stream: TcpStream::from_std(stream),
            received: 0,
            asked_at: Instant::now(),
        }
    }
}

struct ActiveConnection {
    stream: TcpStream,
    received: usize,
    asked_at: Instant,
}

impl ActiveConnection {
    fn ask(&mut self, request: &[u8]) {
        self.received = 0;
        self.asked_at = Instant::now();
        self.stream.write_all(request).expect("a request fits");
    }

    /// Reads all available bytes, and returns whether the answer is complete.
    fn has_answer(&mut self, answer_bytes: usize) -> bool {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => panic!("the server closes an active connection"),
                Ok(count) => {
                    self.received += count;
                    // The socket is empty; an event follows when more arrives.
                    if count < buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("an active connection breaks: {error}"),
            }
        }
        assert!(self.received <= answer_bytes, "an answer that is too long");
        self.received == answer_bytes
    }
}
