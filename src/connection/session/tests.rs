//! Plays each row of the state table in the module documentation.

use std::sync::Arc;

use tempfile::TempDir;

use super::state::{Phase, Session};
use super::{Outcome, Turn};
use crate::clock::{Millis, Now};
use crate::config::{Config, SiteConfig};
use crate::connection::counters::Counters;
use crate::connection::peer::Peer;
use crate::connection::scripted::ScriptedPeer;
use crate::connection::server_context::ServerContext;
use crate::connection::thread_buffers::ThreadBuffers;
use crate::site::{MayBlock, Sites};

// All values differ, so that each deadline shows which of them it comes from.
const TIMEOUT_SECS: u32 = 100;
const GRACE_SECS: u32 = 10;
const HANDSHAKE_SECS: u32 = 15;
const HEAD_SECS: u32 = 20;
const BODY_SECS: u32 = 30;
const LINGER_SECS: u32 = 40;

/// The first cells of the table.
const PHASES: [&str; 8] = [
    "`ProxyHeader`",
    "`Handshake`",
    "`Idle`",
    "the first",
    "`Head`",
    "`Body`",
    "`Linger`",
    "`Refused`",
];

fn name_of(session: &Session) -> &'static str {
    PHASES[match session.phase {
        Phase::ProxyHeader => 0,
        Phase::Handshake => 1,
        Phase::Idle { .. } | Phase::Unacknowledged(_) if session.answered > 0 => 2,
        Phase::Idle { .. } | Phase::Unacknowledged(_) => 3,
        Phase::Head { .. } => 4,
        Phase::Body(_) => 5,
        Phase::Linger(_) => 6,
        Phase::Refused => 7,
    }]
}

/// A row of the table.
struct TableRow {
    phase: &'static str,
    waits_for: &'static str,
    deadline: &'static str,
    when_it_passes: &'static str,
}

fn table() -> Vec<TableRow> {
    let rows = include_str!("mod.rs").lines();
    let rows = rows.filter_map(|line| line.strip_prefix("//! |"));
    // The names of the columns, and the line below them.
    rows.skip(2)
        .map(|row| {
            let mut cells = row.split('|').map(str::trim);
            let mut cell = || cells.next().expect("four cells");
            TableRow {
                phase: cell(),
                waits_for: cell(),
                deadline: cell(),
                when_it_passes: cell(),
            }
        })
        .collect()
}

/// A session in a phase, and the time when the phase began.
struct Fixture {
    context: ServerContext,
    buffers: ThreadBuffers,
    session: Session,
    peer: ScriptedPeer,
    now: Millis,
    /// When the phase began.
    began: Millis,
    _site: TempDir,
}

impl Fixture {
    fn of(session: Session) -> Fixture {
        let site = TempDir::new().expect("a temporary directory");
        let mut config = Config {
            site: SiteConfig::at(site.path()),
            ..Config::default()
        };
        config.keep_alive.timeout_secs = TIMEOUT_SECS;
        config.keep_alive.grace_secs = GRACE_SECS;
        config.timeouts.handshake_secs = HANDSHAKE_SECS;
        config.timeouts.head_secs = HEAD_SECS;
        config.timeouts.body_secs = BODY_SECS;
        config.timeouts.linger_secs = LINGER_SECS;
        let sites = Sites::open(&config).expect("the site");
        Fixture {
            buffers: ThreadBuffers::new(&config, Arc::new(Counters::default())),
            context: ServerContext::new(config, sites),
            session,
            peer: ScriptedPeer::new(),
            now: Millis(0),
            began: Millis(0),
            _site: site,
        }
    }

    /// A session that has been in `phase` for some time.
    fn in_phase(phase: &str) -> Fixture {
        let new = Session::accepted(Peer::Unix, Millis(0));
        let mut fixture = Fixture::of(new);
        match phase {
            "`ProxyHeader`" => {
                fixture.session = Session::proxied(Peer::Unix, Millis(0));
                fixture.receive(3, "PROXY ");
            }
            "the first" => fixture.receive(3, ""),
            "`Handshake`" => {
                fixture.session = Session::over_tls(Peer::Unix, Millis(0));
                fixture.peer.handshake = Some(8);
                fixture.receive(3, "half");
            }
            "`Idle`" => {
                fixture.receive(3, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
                // The check whether the response has arrived.
                let (began, ack_check) = (fixture.began, fixture.next_deadline());
                fixture.turn_at(ack_check);
                fixture.began = began;
            }
            "`Head`" => fixture.receive(7, "GET / HTTP/1.1\r\nHost: a\r\n"),
            "`Body`" => {
                let head = "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
                fixture.receive(2, &format!("{head}a"));
                fixture.receive(6, "b");
            }
            "`Linger`" => {
                fixture.receive(4, "GET / HTTP/1.0\r\n\r\n");
            }
            "`Refused`" => fixture.session = Session::refused(Peer::Unix, Millis(0)),
            unknown => panic!("no fixture for {unknown}"),
        }
        assert_eq!(name_of(&fixture.session), phase);
        fixture.peer.sent.clear();
        fixture
    }

    fn receive(&mut self, secs: u64, bytes: &str) {
        self.peer.arrive(bytes.as_bytes());
        let outcome = self.turn_at(Millis(secs * 1000));
        assert_eq!(outcome, Outcome::Wait);
        self.began = self.now;
    }

    fn turn_at(&mut self, now: Millis) -> Outcome {
        self.now = now;
        let outcome = self.session.turn(&mut Turn {
            io: &mut self.peer,
            buffers: &mut self.buffers,
            context: &self.context,
            now: Now {
                monotonic: now,
                unix_secs: 784_111_777,
            },
            may_block: MayBlock::Anywhere,
            read_closed: false,
            gives_up: false,
            is_over: &|| false,
        });
        if outcome == Outcome::Wait {
            self.next_deadline();
        }
        outcome
    }

    fn next_deadline(&mut self) -> Millis {
        self.session.next_deadline(&self.context, self.now).at()
    }

    /// The time that a cell of the table means.
    fn documented(&self, deadline: &str) -> Millis {
        match deadline {
            "5 seconds from the accept" => Millis(5_000),
            "T + grace, see `idle`" => self.began.plus_secs(TIMEOUT_SECS + GRACE_SECS),
            "`timeouts.handshake` from the accept" => Millis(0).plus_secs(HANDSHAKE_SECS),
            "`timeouts.head` from the accept" => Millis(0).plus_secs(HEAD_SECS),
            "`timeouts.head` from its start" => self.began.plus_secs(HEAD_SECS),
            "`timeouts.body` of no progress" => self.began.plus_secs(BODY_SECS),
            "`timeouts.linger`" => self.began.plus_secs(LINGER_SECS),
            "none" => self.now,
            unknown => panic!("no deadline is called {unknown}"),
        }
    }

    /// Makes the event in a cell of the table happen. Returns the next phase, if there is one.
    fn bring(&mut self, waits_for: &str) -> Option<&'static str> {
        let (bytes, next) = match waits_for {
            "the first byte of a request" | "the first byte of the connection" => ("G", "`Head`"),
            "the proxy's header" => ("UNKNOWN\r\n", "the first"),
            "the peer's part of the handshake" => ("rest", "the first"),
            "the rest of a head" => ("\r\n", "`Idle`"),
            "the rest of a body, to discard" => ("c", "`Idle`"),
            "its first turn" => ("", "`Linger`"),
            "the peer's FIN" => {
                self.peer.close();
                return None;
            }
            unknown => panic!("nothing is called {unknown}"),
        };
        self.peer.arrive(bytes.as_bytes());
        Some(next)
    }

    /// Gives a turn, and describes it in the words of the table.
    fn described_turn(&mut self, now: Millis) -> String {
        let had_fin = self.peer.fin_at.is_some();
        let outcome = self.turn_at(now);
        let response = String::from_utf8_lossy(&self.peer.sent).into_owned();
        let status = response.strip_prefix("HTTP/1.1 ").map(|rest| &rest[..3]);
        let has_fin = self.peer.fin_at.is_some() && !had_fin;
        match (outcome, status) {
            (Outcome::Close(_), None) => "close".to_owned(),
            (Outcome::Wait, None) if !has_fin => "nothing".to_owned(),
            (Outcome::Wait, status) if has_fin => {
                format!(
                    "{}, then {}",
                    status.unwrap_or("FIN"),
                    name_of(&self.session)
                )
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn every_phase_has_its_row() {
    let phases: Vec<_> = table().iter().map(|row| row.phase).collect();
    assert_eq!(phases, PHASES);
}

#[test]
fn each_phase_ends_at_its_deadline_as_the_table_says() {
    for row in table() {
        let mut fixture = Fixture::in_phase(row.phase);
        let deadline = fixture.next_deadline();
        assert_eq!(deadline, fixture.documented(row.deadline), "{}", row.phase);
        if row.deadline != "none" {
            assert_eq!(
                fixture.described_turn(Millis(deadline.0 - 1)),
                "nothing",
                "{}",
                row.phase
            );
        }
        assert_eq!(
            fixture.described_turn(deadline),
            row.when_it_passes,
            "{}",
            row.phase
        );
    }
}

#[test]
fn each_phase_waits_for_what_the_table_says() {
    for row in table() {
        let mut fixture = Fixture::in_phase(row.phase);
        let next = fixture.bring(row.waits_for);
        let outcome = fixture.turn_at(Millis(fixture.now.0 + 1));
        match next {
            Some(next) => assert_eq!(name_of(&fixture.session), next, "{}", row.phase),
            None => {
                let is_quiet = fixture.peer.sent.is_empty();
                let is_end = matches!(outcome, Outcome::Close(_)) && is_quiet;
                assert!(is_end, "{}: {outcome:?}", row.phase);
            }
        }
    }
}
