//! Established clients that send requests at a given rate over TLS, each on a connection of its own.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use super::load::Measured;
use super::tls::{self, SecureStream};

/// Established connections. They stay open from one interval to the next.
pub struct PacedClients {
    connections: Vec<PacedConnection>,
    request: Vec<u8>,
}

struct PacedConnection {
    stream: SecureStream,
    /// Bytes of an answer. All answers have the same length.
    answer_bytes: usize,
}

impl PacedClients {
    /// Connects `count` clients and sends one request on each.
    ///
    /// # Errors
    /// The server refuses a connection or does not answer.
    pub fn connect(
        server: SocketAddr,
        config: &Arc<ClientConfig>,
        count: usize,
        request: &[u8],
    ) -> io::Result<PacedClients> {
        let connect = |_| {
            let mut stream = tls::connect(server, config)?;
            stream.write_all(request)?;
            let answer_bytes = tls::read_answer(&mut stream)?.len();
            Ok(PacedConnection {
                stream,
                answer_bytes,
            })
        };
        let connections: io::Result<Vec<PacedConnection>> = (0..count).map(connect).collect();
        Ok(PacedClients {
            connections: connections?,
            request: request.to_vec(),
        })
    }

    /// Sends `requests_per_second` for `duration`, in equal parts on all connections. A connection whose answer
    /// is late sends its next requests as soon as it can, until it has caught up. The latency of a request
    /// counts from its sending.
    ///
    /// # Errors
    /// A connection breaks.
    pub fn run(&mut self, requests_per_second: f64, duration: Duration) -> io::Result<Measured> {
        let count = self.connections.len() as f64;
        let gap = Duration::from_secs_f64(count / requests_per_second);
        let start = Instant::now();
        let request = &self.request;
        let all: io::Result<Vec<Vec<u32>>> = thread::scope(|scope| {
            let mut threads = Vec::new();
            for (number, connection) in self.connections.iter_mut().enumerate() {
                let first = start + gap.mul_f64(number as f64 / count);
                let run = move || connection.run(request, first, gap, start + duration);
                threads.push(scope.spawn(run));
            }
            let join = |thread: thread::ScopedJoinHandle<'_, _>| thread.join().expect("a client");
            threads.into_iter().map(join).collect()
        });
        let mut latencies = all?.concat();
        latencies.sort_unstable();
        Ok(Measured {
            requests_per_second: latencies.len() as f64 / duration.as_secs_f64(),
            answers: latencies.len() as u64,
            latencies,
        })
    }
}

impl PacedConnection {
    /// Sends a request at `first` and every `gap` until `end`. Returns the latencies in microseconds.
    fn run(
        &mut self,
        request: &[u8],
        first: Instant,
        gap: Duration,
        end: Instant,
    ) -> io::Result<Vec<u32>> {
        let mut latencies = Vec::new();
        let mut answer = vec![0; self.answer_bytes];
        let mut next = first;
        while next < end && Instant::now() < end {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            next += gap;
            let asked = Instant::now();
            self.stream.write_all(request)?;
            self.stream.read_exact(&mut answer)?;
            latencies.push(asked.elapsed().as_micros() as u32);
        }
        Ok(latencies)
    }
}
