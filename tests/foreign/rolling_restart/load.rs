//! A constant load from clients without retries, for as long as a test restarts servers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::lane::{Lane, Outcome, Wanted};

pub const TARGET: &str = "/page.bin";

/// The client's use of its connection between two requests.
#[derive(Clone, Copy)]
enum Usage {
    /// Keeps the connection, and sends the next request soon.
    Busy,
    /// Opens a new connection for each request.
    Fresh,
    /// Keeps the connection, and sends the next request when T is nearly over.
    Idle,
}

/// Together about two hundred requests a second.
const CLIENTS: [(Usage, usize); 3] = [(Usage::Busy, 6), (Usage::Fresh, 2), (Usage::Idle, 8)];

impl Usage {
    /// The pause between two requests. T is 2 s in these tests.
    fn pause(self) -> Duration {
        match self {
            Usage::Busy | Usage::Fresh => Duration::from_millis(40),
            Usage::Idle => Duration::from_millis(1500),
        }
    }
}

/// The clients, one thread each. They stop on drop.
pub struct Load {
    stopping: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Outcome>>,
}

impl Load {
    /// All clients request [`TARGET`] from `address` and expect `body`.
    pub fn start(address: SocketAddr, body: &[u8]) -> Load {
        let stopping = Arc::new(AtomicBool::new(false));
        let usages = CLIENTS
            .into_iter()
            .flat_map(|(usage, count)| std::iter::repeat_n(usage, count));
        let start = |usage| {
            let (body, told) = (body.to_vec(), Arc::clone(&stopping));
            thread::spawn(move || ask_until(&told, address, usage, &body))
        };
        let clients = usages.map(start).collect();
        Load { stopping, clients }
    }

    /// Stops the clients and returns their results.
    pub fn end(mut self) -> Outcome {
        self.stopping.store(true, Ordering::Relaxed);
        let mut outcome = Outcome::default();
        for client in self.clients.drain(..) {
            outcome.add(client.join().expect("no client panics"));
        }
        outcome
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
    }
}

fn ask_until(stopping: &AtomicBool, address: SocketAddr, usage: Usage, body: &[u8]) -> Outcome {
    let mut outcome = Outcome::default();
    let mut lane = Lane::to(address);
    while !stopping.load(Ordering::Relaxed) {
        if matches!(usage, Usage::Fresh) {
            lane = Lane::to(address);
        }
        let wanted = Wanted {
            target: TARGET,
            body,
        };
        outcome.note(lane.ask(wanted, ""));
        thread::sleep(usage.pause());
    }
    outcome
}
