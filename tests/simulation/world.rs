//! The server's part, in one thread: what the event loop, a worker and the reaper do with a session,
//! in the same order, under a clock that jumps from one event to the next.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use abide::clock::{Millis, Now};
use abide::config::{AccessLogTarget, Config, SiteConfig};
use abide::connection::access_line::Peer as Address;
use abide::connection::counters::{CloseReason, Counters, Totals};
use abide::connection::desk::Desk;
use abide::connection::service::Service;
use abide::connection::session::{Outcome, Session, Turn};
use abide::server::deadlines::{LOOK_AGAIN_MILLIS, max_sleep_millis};
use abide::server::timer_wheel::TimerWheel;
use abide::site::Reach;
use abide::site::Sites;
use tempfile::TempDir;

use super::peer::Peer;

/// The clock's reading at [`Millis`] 0: later than any file, so that nothing counts as just changed.
const EPOCH_UNIX_SECS: u64 = 4_000_000_000;

/// Turns in a row after which a session that always wants another one is stuck.
const MAX_TURNS: u32 = 1_000_000;

/// No connection here has a reason to live for longer than a day.
const DAY_MILLIS: u64 = 86_400_000;

/// `secs` as a point in time.
pub fn at_secs(secs: u64) -> Millis {
    Millis(secs * 1_000)
}

/// What a peer does at a given time.
#[derive(Debug, Clone)]
pub enum Act {
    Send(Vec<u8>),
    Flood(u64),
    Close,
    /// The last bytes and the FIN, in one edge.
    SendAndClose(Vec<u8>),
    /// Acknowledges that many bytes.
    Acknowledge(u64),
    /// From now on nothing is acknowledged by itself.
    HoldAcknowledgements,
    /// The socket, which was full, has room again.
    Drain,
}

/// One connection, seen from the server.
pub struct Line {
    pub session: Session,
    pub peer: Peer,
    /// What [`Session::rest`] said last.
    pub deadline: Millis,
    read_closed: bool,
    /// Whether others wait whenever it asks.
    is_hurried: bool,
    /// How many turns it has had.
    pub turns: u32,
    /// A turn that wants another gets it from a worker, as in the server.
    reach: Reach,
    /// Why and when the connection ended.
    pub closed: Option<(CloseReason, Millis)>,
}

/// Four files in a temporary directory, and settings small enough that every way of
/// sending is taken.
pub struct TestSite {
    pub directory: TempDir,
    pub config: Config,
}

pub const SMALL: usize = 100;
pub const MEDIUM: usize = 12_000;
pub const LARGE: usize = 40_000;
pub const HUGE: usize = 300_000;

/// The content of a file of `len` bytes. No part of it looks like a response.
pub fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| b'a' + (i % 23) as u8).collect()
}

impl TestSite {
    pub fn new() -> TestSite {
        let directory = TempDir::new().unwrap();
        let files = [
            ("small", SMALL),
            ("medium", MEDIUM),
            ("large", LARGE),
            ("huge", HUGE),
        ];
        for (name, len) in files {
            fs::write(directory.path().join(name), content(len)).unwrap();
        }
        let mut config = Config {
            site: SiteConfig::at(directory.path()),
            ..Config::default()
        };
        // `small` is copied behind its head, `medium` is sent from memory, the others with sendfile.
        config.cache.bytes = 1 << 20;
        config.cache.file_bytes = 16 * 1024;
        config.limits.body_bytes = 4_096;
        config.access_log.target = Some(AccessLogTarget::Stdout);
        TestSite { directory, config }
    }

    /// Opens the site.
    pub fn stage(self) -> Arc<Stage> {
        let site = Sites::open(&self.config).unwrap();
        Arc::new(Stage {
            service: Service::new(self.config, site),
            directory: self.directory,
        })
    }

    pub fn world(self) -> World {
        World::new(self.stage())
    }
}

/// What all connections share, and the directory it is served from.
pub struct Stage {
    pub service: Service,
    pub directory: TempDir,
}

/// The server and all its peers.
pub struct World {
    pub stage: Arc<Stage>,
    pub now: Millis,
    pub wheel: TimerWheel,
    lines: Vec<Line>,
    desk: Desk,
    counters: Arc<Counters>,
    /// What peers will do, in order of time, and of scheduling within a moment.
    acts: BTreeMap<(Millis, u64), (usize, Act)>,
    scheduled: u64,
    fired: Vec<u32>,
    open: usize,
}

impl World {
    pub fn new(stage: Arc<Stage>) -> World {
        let counters = Arc::new(Counters::default());
        World {
            now: Millis(0),
            wheel: TimerWheel::new(Millis(0)),
            lines: Vec::new(),
            // One desk for all, so that what one session leaves on it would meet the next.
            desk: Desk::new(&stage.service.config, Arc::clone(&counters)),
            counters,
            acts: BTreeMap::new(),
            scheduled: 0,
            fired: Vec::new(),
            open: 0,
            stage,
        }
    }

    /// A connection is accepted now (`EventLoop::admit`).
    pub fn connect(&mut self, peer: Peer) -> usize {
        let session = Session::accepted(Address::Unix, self.now);
        self.admit(session, peer)
    }

    /// A connection over the limit is accepted now, and gets its turn at once.
    pub fn connect_refused(&mut self, peer: Peer) -> usize {
        let session = Session::refused(Address::Unix, self.now);
        let index = self.admit(session, peer);
        self.give_turn(index);
        index
    }

    fn admit(&mut self, mut session: Session, peer: Peer) -> usize {
        let index = self.lines.len();
        let deadline = session.rest(&self.stage.service, self.now).at();
        self.wheel.file(index as u32, self.latest_look());
        self.lines.push(Line {
            session,
            peer,
            deadline,
            read_closed: false,
            is_hurried: false,
            turns: 0,
            reach: Reach::Memory,
            closed: None,
        });
        self.open += 1;
        index
    }

    /// The peer of connection `index` will do `act` at `at`.
    pub fn schedule(&mut self, at: Millis, index: usize, act: Act) {
        assert!(at >= self.now, "the past cannot be changed");
        self.scheduled += 1;
        self.acts.insert((at, self.scheduled), (index, act));
    }

    pub fn send(&mut self, at: Millis, index: usize, bytes: impl AsRef<[u8]>) {
        self.schedule(at, index, Act::Send(bytes.as_ref().to_vec()));
    }

    pub fn line(&self, index: usize) -> &Line {
        &self.lines[index]
    }

    /// Others wait whenever this connection's turn asks.
    pub fn hurry(&mut self, index: usize) {
        self.lines[index].is_hurried = true;
    }

    pub fn peer(&self, index: usize) -> &Peer {
        &self.lines[index].peer
    }

    pub fn closed(&self, index: usize) -> Option<(CloseReason, Millis)> {
        self.lines[index].closed
    }

    pub fn totals(&self) -> Totals {
        Totals::sum(std::iter::once(&*self.counters))
    }

    /// Lets time pass up to and including `end`.
    pub fn run_until(&mut self, end: Millis) {
        while let Some(next) = self.next_event().filter(|next| *next <= end) {
            self.step(next);
        }
        self.now = self.now.max(end);
    }

    /// Lets time pass until every connection has ended.
    pub fn run_to_end(&mut self) {
        let limit = Millis(self.now.0 + DAY_MILLIS);
        while self.open > 0 {
            match self.next_event() {
                Some(next) if next > limit => panic!("a connection that lives for ever"),
                Some(next) => self.step(next),
                None => panic!("an open connection without a deadline"),
            }
        }
    }

    /// Lets time pass without anybody getting a turn: every worker is held up.
    pub fn stall_until(&mut self, end: Millis) {
        self.now = end;
    }

    /// When something happens next: this is what the event loop gives poll(2) as a timeout.
    fn next_event(&self) -> Option<Millis> {
        let act = self.acts.keys().next().map(|(at, _)| *at);
        [act, self.wheel.next_tick()].into_iter().flatten().min()
    }

    fn step(&mut self, next: Millis) {
        self.now = self.now.max(next);
        // Sockets before timers, as in the event loop: a byte that has arrived beats a deadline.
        while let Some(entry) = self
            .acts
            .first_entry()
            .filter(|entry| entry.key().0 <= self.now)
        {
            let (index, act) = entry.remove();
            self.perform(index, act);
        }
        let mut fired = std::mem::take(&mut self.fired);
        self.wheel.turn(self.now, &mut fired);
        for index in fired.drain(..) {
            self.look(index);
        }
        self.fired = fired;
    }

    /// The peer of connection `index` does `act` now.
    pub fn perform(&mut self, index: usize, act: Act) {
        let line = &mut self.lines[index];
        if line.closed.is_some() {
            return;
        }
        match act {
            Act::Send(bytes) => line.peer.arrive(&bytes),
            Act::SendAndClose(bytes) => {
                line.peer.arrive(&bytes);
                line.peer.close();
                line.read_closed = true;
            }
            Act::Flood(count) => line.peer.flood += count,
            Act::Close => {
                line.peer.close();
                line.read_closed = true;
            }
            Act::HoldAcknowledgements => {
                line.peer.acknowledges = false;
                return;
            }
            Act::Acknowledge(count) => {
                line.peer.acknowledge(count);
                if !line.peer.is_full {
                    return;
                }
            }
            Act::Drain => {}
        }
        self.give_turn(index);
    }

    /// No entry sleeps longer than this, so no deadline is found too late.
    fn latest_look(&self) -> Millis {
        Millis(self.now.0 + max_sleep_millis(&self.stage.service.config))
    }

    /// As the reaper does (`EventLoop::look`).
    fn look(&mut self, slot: u32) {
        let latest = self.latest_look();
        let line = &self.lines[slot as usize];
        if line.closed.is_some() {
            return;
        }
        if self.now < line.deadline {
            self.wheel.file(slot, line.deadline.min(latest));
            return;
        }
        self.wheel
            .file(slot, Millis(self.now.0 + LOOK_AGAIN_MILLIS));
        self.give_turn(slot as usize);
    }

    /// As a worker does (`Worker::serve`), but for the threads.
    fn give_turn(&mut self, index: usize) {
        for _ in 0..MAX_TURNS {
            match self.turn(index) {
                Outcome::Again => {}
                Outcome::Wait => return self.rest(index),
                Outcome::Close(reason) => {
                    self.lines[index].closed = Some((reason, self.now));
                    self.open -= 1;
                    return;
                }
            }
        }
        panic!("a session that never lets go");
    }

    fn turn(&mut self, index: usize) -> Outcome {
        let line = &mut self.lines[index];
        line.peer.now = self.now;
        line.peer.is_full = false;
        line.turns += 1;
        let is_hurried = line.is_hurried;
        let outcome = line.session.turn(&mut Turn {
            io: &mut line.peer,
            desk: &mut self.desk,
            service: &self.stage.service,
            now: Now {
                monotonic: self.now,
                unix_secs: EPOCH_UNIX_SECS + self.now.0 / 1_000,
            },
            reach: line.reach,
            read_closed: line.read_closed,
            gives_up: false,
            is_over: &|| is_hurried,
        });
        if let Some(log) = &mut self.desk.log {
            log.end_turn(self.now.0 * 1_000);
        }
        line.reach = match outcome {
            Outcome::Again => Reach::Disk,
            Outcome::Wait | Outcome::Close(_) => Reach::Memory,
        };
        outcome
    }

    fn rest(&mut self, index: usize) {
        let line = &mut self.lines[index];
        let peer = &line.peer;
        // Readiness is told once, so whoever waits must have found the socket empty or full.
        assert!(
            peer.is_drained() || peer.is_full,
            "a lost wake-up: {:?}",
            line.session
        );
        line.deadline = line.session.rest(&self.stage.service, self.now).at();
        assert!(
            line.deadline > self.now,
            "a deadline that spins: {:?}",
            line.session
        );
        let closes_back = peer.fin_at.is_some() && peer.closes_back && !peer.has_closed();
        let drains_by_itself = peer.is_full && !peer.shares.is_empty();
        if closes_back {
            self.schedule(self.now, index, Act::Close);
        } else if drains_by_itself {
            self.schedule(self.now, index, Act::Drain);
        }
    }
}
