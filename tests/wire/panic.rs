//! A panic in a worker closes one connection and affects no other.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use abide::clock::{Clock, Now, SystemClock};
use abide::config::{Cache, Config, ListenAddress, SiteConfig};
use abide::connection::counters::CloseReason;
use abide::connection::server_context::Mode;
use abide::server::Server;

/// A clock that panics in a worker's turn when it is armed: the first sample after a pause is taken
/// before the turn, the second within it.
struct TrippingClock {
    real: SystemClock,
    is_armed: AtomicBool,
    /// Samples that workers have taken.
    samples: AtomicU64,
}

impl Clock for TrippingClock {
    fn micros(&self) -> u64 {
        0
    }

    fn now(&self) -> Now {
        let is_worker = thread::current()
            .name()
            .is_some_and(|name| name.starts_with("worker-"));
        if is_worker {
            let count = self.samples.fetch_add(1, Ordering::SeqCst) + 1;
            if count == 2 && self.is_armed.swap(false, Ordering::SeqCst) {
                panic!("planted by the test");
            }
        }
        self.real.now()
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connect");
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("timeout");
    stream
}

/// Asks for `/` and says whether it is answered.
fn is_answered(stream: &mut TcpStream) -> bool {
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .expect("send");
    let mut start = [0; 15];
    stream.read_exact(&mut start).is_ok() && &start == b"HTTP/1.1 200 OK"
}

#[test]
fn a_panic_in_a_worker_closes_one_connection_and_the_pool_stays_at_full_strength() {
    let root = tempfile::tempdir().expect("temporary directory");
    std::fs::write(root.path().join("index.html"), "").expect("write");
    let config = Config {
        site: SiteConfig::at(root.path()),
        listen: vec![ListenAddress::tcp("127.0.0.1:0".parse().expect("address"))],
        workers: 1,
        // A file that is not in memory is read by a worker.
        cache: Cache {
            bytes: 0,
            ..Config::default().cache
        },
        ..Config::default()
    };
    let clock = Arc::new(TrippingClock {
        real: SystemClock::new(),
        is_armed: AtomicBool::new(false),
        samples: AtomicU64::new(0),
    });
    let server = Server::bind(config, Arc::<TrippingClock>::clone(&clock), false).expect("bind");
    let address = server.addresses()[0].tcp_address().expect("TCP");
    let handle = server.handle();
    let running = thread::spawn(move || server.run());

    let (mut unlucky, mut other) = (connect(address), connect(address));
    assert!(is_answered(&mut unlucky) && is_answered(&mut other));
    // An answer is sent before its turn ends, and only the next turn may panic.
    let mut before = u64::MAX;
    while before != clock.samples.load(Ordering::SeqCst) {
        before = clock.samples.load(Ordering::SeqCst);
        thread::sleep(Duration::from_millis(100));
    }
    clock.samples.store(0, Ordering::SeqCst);
    clock.is_armed.store(true, Ordering::SeqCst);
    unlucky
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .expect("send");
    let mut rest = Vec::new();
    // The answer may have been sent before the panic. After that an end or a reset must come.
    let _ = unlucky.read_to_end(&mut rest);
    assert!(
        !clock.is_armed.load(Ordering::SeqCst),
        "the worker has panicked"
    );

    other
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("timeout");
    let mut drained = vec![0; 64 * 1024];
    let _ = other
        .read(&mut drained)
        .expect("the rest of the first answer");
    assert!(is_answered(&mut other), "the only worker serves on");
    assert!(
        is_answered(&mut connect(address)),
        "and takes new connections"
    );
    assert_eq!(handle.totals().closes(CloseReason::Panic), 1);
    handle.enter(Mode::Stopping);
    running.join().expect("event loop").expect("no error");
}
