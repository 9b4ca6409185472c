//! A server in a thread of the test, under a clock that the test moves, for behaviour that takes minutes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use abide::clock::TestClock;
use abide::config::{Config, ListenAddress, SiteConfig};
use abide::connection::server_context::Mode;
use abide::server::{Handle, Server};

use super::{Client, PATIENCE, Site};

/// The clock's start, an arbitrary second: Sun, 06 Nov 1994 08:49:37 GMT.
pub const START_UNIX_SECS: u64 = 784_111_777;

/// How far the clock moves at a time. The server acts in between, as it would in real time.
const STEP_MILLIS: u64 = 500;

/// A server under a test clock.
pub struct InProcess {
    clock: Arc<TestClock>,
    pub handle: Handle,
    thread: Option<JoinHandle<()>>,
    address: SocketAddr,
}

impl InProcess {
    /// The default settings for `site`, which a test may change before the start.
    pub fn config(site: &Site) -> Config {
        Config {
            site: SiteConfig::at(site.root()),
            listen: vec![ListenAddress::tcp(([127, 0, 0, 1], 0).into())],
            workers: 2,
            ..Config::default()
        }
    }

    pub fn start(config: Config) -> InProcess {
        let clock = Arc::new(TestClock::new(START_UNIX_SECS));
        let server = Server::bind(config, clock.clone(), false).expect("the server starts");
        let address = server.addresses()[0].tcp_address();
        let address = address.expect("the listener is TCP");
        let handle = server.handle();
        let thread = thread::spawn(move || server.run().expect("the server runs"));
        InProcess {
            clock,
            handle,
            thread: Some(thread),
            address,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Lets `millis` pass in small steps. The server acts after each.
    pub fn pass(&self, millis: u64) {
        // The server finishes what the test has just caused before time moves on.
        thread::sleep(Duration::from_millis(20));
        let mut left = millis;
        while left > 0 {
            let step = left.min(STEP_MILLIS);
            self.clock.advance(step);
            left -= step;
            self.handle.wake();
            thread::sleep(Duration::from_millis(2));
        }
        thread::sleep(Duration::from_millis(20));
    }

    /// Sets the time of day back by `secs` seconds; no monotonic time passes.
    pub fn set_clock_back(&self, secs: u64) {
        self.clock.set_back(secs);
        self.handle.wake();
    }

    /// Lets time pass until `is_so`, at most `millis`. Returns about how many milliseconds passed.
    pub fn pass_until(&self, what: &str, millis: u64, mut is_so: impl FnMut() -> bool) -> u64 {
        let mut passed = 0;
        while !is_so() {
            assert!(passed < millis, "not within {millis} ms: {what}");
            self.clock.advance(100);
            passed += 100;
            self.handle.wake();
            thread::sleep(Duration::from_millis(10));
        }
        passed
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.handle.enter(Mode::Stopping);
        let Some(thread) = self.thread.take() else {
            return;
        };
        let start = Instant::now();
        while !thread.is_finished() && start.elapsed() < PATIENCE {
            self.clock.advance(STEP_MILLIS);
            self.handle.wake();
            thread::sleep(Duration::from_millis(5));
        }
        if !thread::panicking() {
            assert!(thread.is_finished(), "the server does not stop");
            thread.join().expect("the server does not panic");
        }
    }
}
