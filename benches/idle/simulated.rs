//! A million sessions in the real slots and the real wheel, without sockets and without threads: what
//! the event loop, a worker and the reaper do with them, in the same order, under a clock that jumps
//! from one tick to the next. System calls are what this leaves out.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use abide::clock::{Millis, Now};
use abide::config::{Config, SiteConfig};
use abide::connection::access_line::Peer;
use abide::connection::counters::Counters;
use abide::connection::desk::Desk;
use abide::connection::ownership::NotIdle;
use abide::connection::service::Service;
use abide::connection::session::{Outcome, Session, Turn};
use abide::connection::transport::Transport;
use abide::server::deadlines::{LOOK_AGAIN_MILLIS, max_sleep_millis};
use abide::server::slots::{Connection, QueuedSlot, Slots, Waiting};
use abide::server::timer_wheel::TimerWheel;
use abide::site::Reach;

use crate::support::Site;
use crate::{MOST_BYTES_EACH, MOST_CPU_PERCENT, process, report};

const SESSIONS: u32 = 1_000_000;

/// Milliseconds in which they all arrive, and so are due again: a second is the hardest that a promise
/// to the second can be put to.
const ARRIVAL_MILLIS: u32 = 1_000;

const START_UNIX_SECS: u64 = 4_102_444_800;

const REQUEST: &[u8] = b"GET /page.html HTTP/1.1\r\nHost: test\r\n\r\n";

/// A peer that asks once, takes everything at once, and closes when we do. It has the size of a
/// descriptor.
#[derive(Default)]
struct Quiet {
    has_asked: bool,
    has_our_fin: bool,
    fin_was_read: bool,
    _padding: bool,
}

impl Transport for Quiet {
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.has_asked {
            self.has_asked = true;
            buffer[..REQUEST.len()].copy_from_slice(REQUEST);
            return Ok(REQUEST.len());
        }
        if self.has_our_fin {
            self.fin_was_read = true;
            return Ok(0);
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn send(&mut self, first: &[u8], second: &[u8], _: bool) -> io::Result<usize> {
        Ok(first.len() + second.len())
    }

    fn send_file(&mut self, _: &File, _: u64, count: usize) -> io::Result<usize> {
        Ok(count)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.has_our_fin = true;
        Ok(())
    }

    fn unacknowledged(&mut self) -> io::Result<u64> {
        Ok(0)
    }

    fn abort(&mut self) {}
}

const _: () = assert!(size_of::<Connection<Quiet>>() == size_of::<Connection>());

struct World {
    service: Service,
    desk: Desk,
    slots: Slots<Quiet>,
    wheel: TimerWheel,
    is_filed: Vec<bool>,
    fired: Vec<u32>,
    now: Millis,
    open: u32,
    /// Turns given and looks taken since the start.
    turns: u64,
    looks: u64,
}

/// What was measured.
struct Costs {
    private_bytes: f64,
    opening: Duration,
    idling: Duration,
    /// How long they were idle, in seconds of the simulated clock.
    idled_secs: f64,
    /// The longest that one tick took meanwhile.
    longest: Duration,
    reaping: Duration,
    /// Seconds from the last one's T + grace to its close, on the simulated clock.
    last_secs: f64,
    kept_bytes: f64,
}

/// Runs the part and prints its table.
pub fn run() {
    let site = Site::new();
    let mut world = World::new(&site);
    let own = std::process::id();
    let keep_alive = &world.service.config.keep_alive;
    let idle_secs = keep_alive.timeout_secs + keep_alive.grace_secs;
    let first_due = Millis(0).plus_secs(idle_secs);
    let last_due = Millis(first_due.0 + u64::from(ARRIVAL_MILLIS));
    let private_before = process::private_bytes(own) as f64;

    let (opening, ()) = timed(|| world.open_all());
    let opened_at = world.now;
    let (idling, longest) = timed(|| world.pass_until(Millis(first_due.0 - 1)));
    assert_eq!(world.open, SESSIONS, "nobody is reaped early");
    let idled_secs = world.now.since(opened_at) as f64 / 1e3;
    let private_bytes = process::private_bytes(own) as f64 - private_before;
    let (looks, turns) = (world.looks, world.turns);
    let (reaping, ()) = timed(|| world.reap_all(Millis(last_due.0 + 60_000)));
    print(&Costs {
        private_bytes,
        opening,
        idling,
        idled_secs,
        longest,
        reaping,
        last_secs: world.now.since(last_due) as f64 / 1e3,
        kept_bytes: process::private_bytes(own) as f64 - private_before,
    });
    let each = |count: u64| count as f64 / f64::from(SESSIONS);
    report::note(
        "looks of the loop, turns of a worker, before the reaping, each",
        format!("{:.1}, {:.1}", each(looks), each(turns)),
    );
}

fn print(costs: &Costs) {
    let each = |amount: f64| amount / f64::from(SESSIONS);
    report::head("1,000,000 sessions over simulated transports, defaults (T + grace = 130 s)");
    let bytes_each = each(costs.private_bytes);
    report::line(
        "memory per idle session",
        "<= 160 bytes",
        format!("{bytes_each:.0} bytes"),
        bytes_each <= MOST_BYTES_EACH,
    );
    report::note("of these, slot and connection", sizes());
    let percent = 100.0 * costs.idling.as_secs_f64() / costs.idled_secs;
    report::line(
        "CPU while all are idle",
        "< 1 % of a core",
        format!("{percent:.2} %"),
        percent < MOST_CPU_PERCENT,
    );
    let longest_millis = costs.longest.as_secs_f64() * 1e3;
    report::note(
        "longest that a tick of the loop takes meanwhile",
        format!("{longest_millis:.0} ms"),
    );
    let reaping_secs = costs.reaping.as_secs_f64();
    report::line(
        "CPU to reap all, due within one second",
        "<= 1 s",
        format!("{reaping_secs:.2} s"),
        reaping_secs <= 1.0,
    );
    let last_secs = costs.last_secs;
    report::line(
        "last FIN after its T + grace",
        "<= 1 s",
        format!("{last_secs:.2} s"),
        last_secs <= 1.0,
    );
    let kept_each = each(costs.kept_bytes);
    report::note(
        "memory that the allocator keeps afterwards, per session",
        format!("{kept_each:.0} bytes"),
    );
    let opening_micros = each(costs.opening.as_secs_f64()) * 1e6;
    report::note(
        "CPU to open one, with its request",
        format!("{opening_micros:.2} us"),
    );
}

fn sizes() -> String {
    use abide::server::slots::Slot;
    let (slot, connection) = (size_of::<Slot>(), size_of::<Connection>());
    format!("{slot} + {connection} bytes")
}

/// CPU time that `work` takes, and what it returns.
fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let before = process::cpu_time(std::process::id());
    let result = work();
    (
        process::cpu_time(std::process::id()).saturating_sub(before),
        result,
    )
}

impl World {
    fn new(site: &Site) -> World {
        let config = Config {
            site: SiteConfig::at(site.root()),
            ..Config::default()
        };
        let site = abide::site::Sites::open(&config).expect("the site");
        let desk = Desk::new(&config, Arc::new(Counters::default()));
        World {
            service: Service::new(config, site),
            desk,
            slots: Slots::new(SESSIONS as usize),
            wheel: TimerWheel::new(Millis(0)),
            is_filed: Vec::new(),
            fired: Vec::new(),
            now: Millis(0),
            open: 0,
            turns: 0,
            looks: 0,
        }
    }

    fn open_all(&mut self) {
        for index in 0..SESSIONS {
            let millis = u64::from(index) * u64::from(ARRIVAL_MILLIS) / u64::from(SESSIONS);
            self.pass_until(Millis(millis));
            self.admit(index);
        }
    }

    /// As `EventLoop::admit`; the request is there at once.
    fn admit(&mut self, index: u32) {
        let mut session = Session::accepted(Peer::Unix, self.now);
        let deadline = session.rest(&self.service, self.now);
        let connection = Connection {
            socket: Quiet::default(),
            session,
            is_counted: true,
        };
        let queued = self.slots.at(index).open(Box::new(connection), deadline);
        self.is_filed.push(true);
        self.wheel.file(index, self.latest_look());
        self.open += 1;
        self.serve(queued);
    }

    /// Lets time pass from tick to tick; returns the longest that the work of one took.
    fn pass_until(&mut self, end: Millis) -> Duration {
        let mut longest = Duration::ZERO;
        while let Some(next) = self.wheel.next_tick().filter(|next| *next <= end) {
            let start = Instant::now();
            self.turn_wheel(next);
            longest = longest.max(start.elapsed());
        }
        self.now = self.now.max(end);
        longest
    }

    fn reap_all(&mut self, end: Millis) {
        while self.open > 0 {
            let next = self.wheel.next_tick().expect("an open session is filed");
            assert!(next <= end, "a session that lives on");
            self.turn_wheel(next);
        }
    }

    /// As `EventLoop::turn_wheel`.
    fn turn_wheel(&mut self, now: Millis) {
        self.now = now;
        let mut fired = std::mem::take(&mut self.fired);
        self.wheel.turn(now, &mut fired);
        for index in fired.drain(..) {
            self.look(index);
        }
        fired.shrink_to(1024);
        self.fired = fired;
    }

    fn latest_look(&self) -> Millis {
        Millis(self.now.0 + max_sleep_millis(&self.service.config))
    }

    /// As `EventLoop::look`.
    fn look(&mut self, index: u32) {
        self.looks += 1;
        let latest = self.latest_look();
        let slot = self.slots.at(index);
        let deadline = slot.deadline().at();
        if self.now < deadline {
            self.wheel.file(index, deadline.min(latest));
            return;
        }
        match slot.claim_idle() {
            Ok(queued) => {
                let soon = latest.min(Millis(self.now.0 + LOOK_AGAIN_MILLIS));
                self.wheel.file(index, soon);
                self.serve(queued);
            }
            Err(NotIdle::Busy) => unreachable!("there is one thread"),
            Err(NotIdle::Free) => self.is_filed[index as usize] = false,
        }
    }

    /// As the event loop and then a worker. The peer answers our FIN with its own at once.
    fn serve(&mut self, queued: QueuedSlot) {
        let mut owned = self.slots.begin(queued);
        let mut reach = Reach::Memory;
        loop {
            self.turns += 1;
            let Connection {
                socket, session, ..
            } = owned.connection().expect("an open session");
            let read_closed = socket.has_our_fin;
            let outcome = session.turn(&mut Turn {
                io: socket,
                desk: &mut self.desk,
                service: &self.service,
                now: Now {
                    monotonic: self.now,
                    unix_secs: START_UNIX_SECS + self.now.0 / 1_000,
                },
                reach,
                read_closed,
                gives_up: false,
                is_over: &|| false,
            });
            match outcome {
                Outcome::Wait if socket.has_our_fin && !socket.fin_was_read => {}
                Outcome::Wait => {
                    let deadline = session.rest(&self.service, self.now);
                    assert!(matches!(owned.wait_until(deadline), Waiting::Idle));
                    return;
                }
                Outcome::Again => reach = Reach::Disk,
                Outcome::Close(_) => {
                    owned.close(drop);
                    self.open -= 1;
                    return;
                }
            }
        }
    }
}
