//! The server and its peers in one thread, under a clock that jumps from one event to the next.
//!
//! The [`Machinery`] is the server's own. This module plays the kernel: it reports events of sockets to the
//! dispatcher, and ends its polls on time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use abide::clock::Millis;
use abide::config::Config;
use abide::connection::counters::{CloseReason, Totals};
use abide::connection::ownership::OwnershipState;
use abide::connection::peer::Peer as Address;
use abide::connection::server_context::Mode;
use abide::server::dispatcher::Readiness;
use abide::server::work::Work;
use support::machinery::Machinery;
use support::scripted::ScriptedPeer;

pub use super::site::{HUGE, LARGE, MEDIUM, SMALL, Stage, TestSite, content};
use super::wire::{Hub, Line, Queue, SimulatedSystem, Wire};

/// A server that has not come to rest after this many rounds in a row is stuck.
const MAX_ROUNDS: u32 = 1_000_000;

/// No connection here may live longer than a day.
const DAY_MILLIS: u64 = 86_400_000;

/// The number of connections for which the table has room.
const MOST_CONNECTIONS: usize = 16 * 1024;

/// `secs` as a point in time.
pub fn at_secs(secs: u64) -> Millis {
    Millis(secs * 1_000)
}

/// An act of a peer at a given time.
#[derive(Debug, Clone)]
pub enum Act {
    Send(Vec<u8>),
    Flood(u64),
    Close,
    /// Sends the last bytes and the FIN, in one edge.
    SendAndClose(Vec<u8>),
    /// Acknowledges that many bytes.
    Acknowledge(u64),
    /// From now on acknowledges nothing by itself.
    HoldAcknowledgements,
    /// Makes room in the socket, which was full.
    Drain,
}

/// The server and all its peers.
pub struct World {
    pub stage: Arc<Stage>,
    machinery: Machinery<SimulatedSystem>,
    hub: Arc<Hub>,
    queue: Arc<Mutex<VecDeque<Wire>>>,
    lines: Vec<Arc<Line>>,
    /// The scheduled acts of peers, by time, and by order of scheduling within a moment.
    acts: BTreeMap<(Millis, u64), (usize, Act)>,
    scheduled: u64,
    /// How many turns the worker has given.
    worker_turns: u32,
    /// Whether other connections wait whenever the worker asks.
    is_hurried: bool,
}

impl TestSite {
    pub fn world(self) -> World {
        World::new(self.stage())
    }
}

impl World {
    pub fn new(stage: Arc<Stage>) -> World {
        let queue = Queue::default();
        let waiting = Arc::clone(&queue.0);
        let log = Some(Arc::clone(&stage.access_log));
        let machinery = Machinery::new(
            &stage.context,
            log,
            MOST_CONNECTIONS,
            queue,
            SimulatedSystem,
        );
        let (clock, counters) = (Arc::clone(&machinery.clock), machinery.counters.clone());
        World {
            machinery,
            hub: Arc::new(Hub::new(clock, counters)),
            queue: waiting,
            lines: Vec::new(),
            acts: BTreeMap::new(),
            scheduled: 0,
            worker_turns: 0,
            is_hurried: false,
            stage,
        }
    }

    pub fn now(&self) -> Millis {
        self.hub.clock.reading()
    }

    /// Connects a peer, which is accepted now.
    pub fn connect(&mut self, peer: ScriptedPeer) -> usize {
        self.connect_from(Address::Unix, peer)
    }

    /// Connects a peer from `address`, which is accepted now or waits in the queue.
    pub fn connect_from(&mut self, address: Address, peer: ScriptedPeer) -> usize {
        let number = self.lines.len();
        let line = Arc::new(Line {
            peer: Mutex::new(peer),
            token: OnceLock::new(),
            closed: OnceLock::new(),
        });
        self.lines.push(Arc::clone(&line));
        self.queue.lock().unwrap().push_back(Wire {
            line,
            number,
            address,
            hub: Arc::clone(&self.hub),
        });
        self.machinery.dispatcher.note_ready(0);
        self.come_to_rest();
        number
    }

    /// Tells the server to drain or to stop.
    pub fn enter(&mut self, mode: Mode) {
        self.machinery.enter(mode);
        self.come_to_rest();
    }

    /// Changes the configuration of the running server.
    pub fn reload(&mut self, change: impl FnOnce(&mut Config)) {
        let active = self.machinery.shared.config.get();
        let mut config = active.context.config.clone();
        change(&mut config);
        let sites = active.context.sites.reopen(&config).expect("the same site");
        let context = active.context.after_reload(config, sites, self.now());
        self.machinery.reload(Arc::new(context));
        self.come_to_rest();
    }

    /// Lets the peer of connection `index` do `act` at `at`.
    pub fn schedule(&mut self, at: Millis, index: usize, act: Act) {
        assert!(at >= self.now(), "the past cannot be changed");
        self.scheduled += 1;
        self.acts.insert((at, self.scheduled), (index, act));
    }

    pub fn send(&mut self, at: Millis, index: usize, bytes: impl AsRef<[u8]>) {
        self.schedule(at, index, Act::Send(bytes.as_ref().to_vec()));
    }

    /// From now on others wait whenever a turn of the worker asks, and every turn takes long.
    pub fn hurry(&mut self) {
        self.is_hurried = true;
        self.hub.clock.run(5);
    }

    /// Whether from now on the kernel has no memory to watch another socket.
    pub fn set_out_of_memory(&self, is_out: bool) {
        self.hub.is_out_of_memory.store(is_out, Ordering::Relaxed);
    }

    /// Connections that got a slot since the start.
    pub fn accepted(&self) -> u64 {
        let accept_state = &self.machinery.shared.accept_state;
        accept_state.accepted.load(Ordering::Relaxed)
    }

    pub fn peer(&self, index: usize) -> MutexGuard<'_, ScriptedPeer> {
        self.lines[index].peer.lock().unwrap()
    }

    pub fn closed(&self, index: usize) -> Option<(CloseReason, Millis)> {
        self.lines[index].closed.get().copied()
    }

    /// The deadline that the last turn of connection `index` has set.
    pub fn deadline(&self, index: usize) -> Millis {
        self.machinery
            .shared
            .slots
            .at(self.slot(index))
            .deadline()
            .at()
    }

    /// Whether the server has ended.
    pub fn has_ended(&self) -> bool {
        self.machinery.has_ended
    }

    /// The next time at which the wheel looks at a connection.
    pub fn next_check(&self) -> Option<Millis> {
        self.machinery.dispatcher.next_check()
    }

    /// How many turns the worker has given.
    pub fn worker_turns(&self) -> u32 {
        self.worker_turns
    }

    /// The number of open connections, without those that wait in the queue.
    pub fn open(&self) -> usize {
        self.machinery.shared.open()
    }

    /// The number of connections that the limits count.
    pub fn open_under_limit(&self) -> usize {
        self.machinery.shared.gauge.open()
    }

    pub fn totals(&self) -> Totals {
        self.hub.totals()
    }

    /// Lets time pass up to and including `end`.
    pub fn run_until(&mut self, end: Millis) {
        while let Some(next) = self.next_event().filter(|next| *next <= end) {
            self.step(next);
        }
        self.hub.clock.set(end);
    }

    /// Lets time pass until every connection has ended.
    pub fn run_to_end(&mut self) {
        let limit = Millis(self.now().0 + DAY_MILLIS);
        while self.open() > 0 && !self.machinery.has_ended {
            match self.next_event() {
                Some(next) if next > limit => panic!("a connection that lives for ever"),
                Some(next) => self.step(next),
                None => panic!("an open connection without a deadline"),
            }
        }
        // Whatever the connections did, the metrics count each request and each connection once.
        let totals = self.totals();
        assert_eq!(totals.durations.requests(), totals.requests);
        assert_eq!(totals.closed() + self.open() as u64, self.accepted());
    }

    /// Lets time pass without a turn, as if every thread were held up.
    pub fn stall_until(&mut self, end: Millis) {
        self.hub.clock.set(end);
    }

    fn next_event(&self) -> Option<Millis> {
        let act = self.acts.keys().next().map(|(at, _)| *at);
        let round = self
            .machinery
            .next_round
            .filter(|_| !self.machinery.has_ended);
        [act, round].into_iter().flatten().min()
    }

    fn step(&mut self, next: Millis) {
        self.hub.clock.set(next);
        // Each event is a poll of its own, whose round also handles the deadlines that are due.
        while let Some(entry) = self
            .acts
            .first_entry()
            .filter(|entry| entry.key().0 <= self.hub.clock.reading())
        {
            let (index, act) = entry.remove();
            self.perform(index, act);
        }
        self.come_to_rest();
    }

    /// Has the peer of connection `index` do `act` now.
    pub fn perform(&mut self, index: usize, act: Act) {
        let mut readiness = Readiness {
            is_readable: true,
            is_read_closed: false,
        };
        if self.closed(index).is_some() {
            return;
        }
        {
            let peer = &mut *self.peer(index);
            match act {
                Act::Send(bytes) => peer.arrive(&bytes),
                Act::SendAndClose(bytes) => {
                    peer.arrive(&bytes);
                    peer.close();
                }
                Act::Flood(count) => peer.flood += count,
                Act::Close => peer.close(),
                Act::HoldAcknowledgements => {
                    peer.acknowledges = false;
                    return;
                }
                Act::Acknowledge(count) => {
                    peer.acknowledge(count);
                    readiness.is_readable = false;
                    if !peer.is_full {
                        return;
                    }
                }
                Act::Drain => readiness.is_readable = false,
            }
            readiness.is_read_closed = peer.has_closed;
        }
        // The kernel reports only accepted sockets; the first turn finds what has arrived before.
        if let Some(token) = self.lines[index].token.get() {
            self.machinery.dispatcher.notify(*token, readiness);
            self.come_to_rest();
        }
    }

    /// Runs the server until it only waits.
    fn come_to_rest(&mut self) {
        for _ in 0..MAX_ROUNDS {
            let had_ended = self.machinery.has_ended;
            self.machinery.round();
            if had_ended {
                return;
            }
            let has_worked = self.work();
            self.look_at_peers();
            let is_due = self.machinery.next_round.is_some_and(|at| at <= self.now());
            if !has_worked && !is_due && self.machinery.messages.is_empty() {
                return;
            }
        }
        panic!("a server that never comes to rest");
    }

    /// Has the worker do all waiting work.
    fn work(&mut self) -> bool {
        let (turns, is_hurried) = (&mut self.worker_turns, self.is_hurried);
        self.machinery.work(|work, handoff| {
            if let Work::Turn(_) | Work::Resume(..) = work {
                *turns += 1;
                if is_hurried {
                    handoff.put_back(Work::GiveBackMemory);
                }
            }
        })
    }

    fn slot(&self, index: usize) -> u32 {
        let token = self.lines[index].token.get().expect("it was accepted");
        // The lower half (`tokens::of_connection`).
        token.0 as u32
    }

    /// Checks the state of peers after turns, and schedules their reactions.
    fn look_at_peers(&mut self) {
        let touched = std::mem::take(&mut *self.hub.touched.lock().unwrap());
        let now = self.now();
        for index in touched {
            let mut peer = self.peer(index);
            peer.is_touched = false;
            let closes_back = peer.fin_at.is_some() && peer.closes_back && !peer.has_closed;
            let drains_by_itself = peer.is_full && !peer.shares.is_empty();
            // Readiness is edge-triggered, so a waiting session must have found the socket empty or full.
            let may_wait = peer.is_drained() || peer.is_full;
            drop(peer);
            let is_open = self.closed(index).is_none() && self.lines[index].token.get().is_some();
            if !is_open {
                continue;
            }
            let slot = self.machinery.shared.slots.at(self.slot(index));
            if slot.state() == OwnershipState::Idle {
                assert!(may_wait, "a lost wake-up of connection {index}");
                assert!(
                    self.is_hurried || slot.deadline().at() > now,
                    "a deadline of connection {index} that spins"
                );
            }
            if closes_back {
                self.schedule(now, index, Act::Close);
            } else if drains_by_itself {
                self.schedule(now, index, Act::Drain);
            }
        }
    }
}
