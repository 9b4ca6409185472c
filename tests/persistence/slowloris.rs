//! Peers that hold a connection by being slow, a thousand of each kind at a time: they send a head or a
//! body slowly, or read the answer slowly. Each connection ends at its own timeout and is counted, the
//! polite client notices nothing, and all resources are released.
//!
//! The times are checked under a clock that the tests move, with the defaults: head 20 s, body 20 s, write
//! 30 s, 1 KiB/s over a minute. The release of resources is checked on the real binary.

use std::time::{Duration, Instant};

use abide::connection::counters::CloseReason;
use support::client::request;
use support::counters::closes;
use support::crowd::{
    CrowdPeer, crowd_size, expect_all_given_back, expect_served_at_once, pass_politely,
};
use support::{Client, InProcess, Launch, Server, Share, Site, retried_after_a_stall, until};

const SECOND: u64 = 1_000;

/// How much later than its deadline a connection may end: a tick of the wheel, a step of the clock, and
/// another look after a second if it was busy.
const LATE: u64 = 2 * SECOND;

const LARGE: u64 = 8 * 1024 * 1024;

/// A server and its polite client.
struct Scene {
    server: InProcess,
    polite: Client,
}

impl Scene {
    fn new(site: &Site) -> Scene {
        site.sparse("large.bin", LARGE);
        let server = InProcess::start(InProcess::config(site));
        let mut polite = server.connect();
        polite.expect_usable();
        Scene { server, polite }
    }

    /// Peers that have sent `bytes`.
    fn crowd(&self, bytes: &str) -> Vec<CrowdPeer> {
        let connect = |_| {
            let peer = CrowdPeer::connect_narrow(self.server.address());
            peer.send(bytes);
            peer
        };
        (0..crowd_size(1_000)).map(connect).collect()
    }

    fn pass(&mut self, millis: u64) {
        pass_politely(&self.server, &mut self.polite, millis);
    }

    fn closes(&self, reason: CloseReason) -> usize {
        let count = self.server.handle.totals().closes(reason);
        usize::try_from(count).expect("a count")
    }

    /// Connections that are due end in a moment. On a busy machine some began late, and have a few seconds
    /// more.
    fn expect_counted(&mut self, count: usize, reason: CloseReason) {
        for _ in 0..8 {
            if self.closes(reason) == count {
                return;
            }
            self.pass(SECOND);
        }
        until("all are ended and counted", || self.closes(reason) == count);
    }

    /// Expects that the peers were told 408, and that their closes are counted under `reason`.
    fn expect_timed_out(&self, peers: Vec<CrowdPeer>, reason: CloseReason) {
        let (before, count) = (self.closes(reason), peers.len());
        for peer in peers {
            let got = peer.rest().expect("an answer and a FIN");
            assert!(got.starts_with("HTTP/1.1 408 "), "{got}");
        }
        until("all are counted", || self.closes(reason) == before + count);
    }
}

fn expect_silence(peers: &[CrowdPeer], when: &str) {
    let told = peers.iter().filter(|peer| peer.is_told_something());
    assert_eq!(told.count(), 0, "told something {when}");
}

/// RFC 9110 section 15.5.9.
#[test]
fn a_head_byte_by_byte_has_the_time_of_one_head() {
    let _share = Share::of(3);
    retried_after_a_stall(|| {
        let site = Site::new();
        let mut scene = Scene::new(&site);
        let peers = scene.crowd("G");
        for byte in "ET / HTTP/1.1\r\nHos".chars() {
            scene.pass(SECOND);
            peers.iter().for_each(|peer| peer.send(byte.to_string()));
        }
        // 18 s have passed.
        scene.pass(2 * SECOND - 200);
        expect_silence(&peers, "before timeouts.head");
        scene.pass(200 + LATE);
        scene.expect_timed_out(peers, CloseReason::HeadTimeout);
    });
}

#[test]
fn a_body_that_stops_has_the_time_of_one_pause() {
    let _share = Share::of(3);
    retried_after_a_stall(|| {
        let site = Site::new();
        let mut scene = Scene::new(&site);
        let lengths = scene.crowd(&request("POST", "/", "Content-Length: 10\r\n"));
        let chunks = scene.crowd(&request("POST", "/", "Transfer-Encoding: chunked\r\n"));
        for byte in "5\r\nhe".chars() {
            scene.pass(7 * SECOND);
            let both = lengths.iter().chain(&chunks);
            both.for_each(|peer| peer.send(byte.to_string()));
        }
        scene.pass(20 * SECOND - 200);
        expect_silence(&lengths, "before timeouts.body");
        expect_silence(&chunks, "before timeouts.body");
        scene.pass(200 + LATE);
        scene.expect_timed_out(lengths, CloseReason::BodyTimeout);
        scene.expect_timed_out(chunks, CloseReason::BodyTimeout);
    });
}

/// `limits.min_rate`: each byte renews `timeouts.body`, but only for a minute.
#[test]
fn a_body_byte_by_byte_has_a_minute() {
    let _share = Share::of(3);
    retried_after_a_stall(|| {
        let site = Site::new();
        let mut scene = Scene::new(&site);
        let lengths = scene.crowd(&request("POST", "/", "Content-Length: 1000\r\n"));
        let chunks = scene.crowd(&request("POST", "/", "Transfer-Encoding: chunked\r\n"));
        for byte in "f0\r\nabcdefg".chars() {
            scene.pass(5 * SECOND);
            let both = lengths.iter().chain(&chunks);
            both.for_each(|peer| peer.send(byte.to_string()));
        }
        // 55 s have passed.
        scene.pass(5 * SECOND - 200);
        expect_silence(&lengths, "before the minute is over");
        expect_silence(&chunks, "before the minute is over");
        scene.pass(200 + LATE);
        scene.expect_timed_out(lengths, CloseReason::BodyTimeout);
        scene.expect_timed_out(chunks, CloseReason::BodyTimeout);
    });
}

/// `timeouts.write` counts from the last progress. The first look, within a sixth of the timeout, finds the
/// bytes that the peer's kernel took at the start.
#[test]
fn a_reader_of_nothing_has_the_time_of_one_pause_after_what_its_kernel_took() {
    let _share = Share::of(3);
    retried_after_a_stall(|| {
        let site = Site::new();
        let mut scene = Scene::new(&site);
        let peers = scene.crowd(&request("GET", "/large.bin", ""));
        scene.pass(30 * SECOND - 200);
        assert_eq!(scene.closes(CloseReason::WriteTimeout), 0, "too early");
        scene.pass(10 * SECOND + 200 + LATE);
        scene.expect_counted(peers.len(), CloseReason::WriteTimeout);
        let is_reset = peers.iter().all(CrowdPeer::is_reset);
        assert!(is_reset, "what they did not take is thrown away");
    });
}

/// Reading a byte a second is no progress while the peer's kernel has no room for a segment. Reading all
/// that the kernel holds every ten seconds is progress, but only for a minute. (Reading less may leave the
/// kernel waiting for its own timers, which do not follow the test's clock.)
#[test]
fn a_reader_byte_by_byte_has_a_minute() {
    let _share = Share::of(3);
    retried_after_a_stall(|| {
        let site = Site::new();
        let mut scene = Scene::new(&site);
        let sippers = scene.crowd(&request("GET", "/large.bin", ""));
        let gulpers = scene.crowd(&request("GET", "/large.bin", ""));
        for second in 1..60 {
            scene.pass(SECOND);
            sippers.iter().for_each(|peer| peer.sip(1));
            if second % 10 == 0 {
                gulpers.iter().for_each(|peer| peer.sip(64 * 1024));
            }
            if second < 30 {
                assert_eq!(scene.closes(CloseReason::WriteTimeout), 0, "at {second} s");
            }
        }
        let reset = gulpers.iter().filter(|peer| peer.is_reset()).count();
        assert_eq!(reset, 0, "cut off before the minute is over");
        scene.pass(SECOND + LATE);
        let all = sippers.len() + gulpers.len();
        scene.expect_counted(all, CloseReason::WriteTimeout);
    });
}

/// Each timeout of the real server.
const TIMEOUT: Duration = Duration::from_secs(1);

const STEP: Duration = Duration::from_millis(250);

/// A kind of peer, and its action at each step of a quarter of a second.
struct Kind {
    start: String,
    /// The bytes that are sent one at a time.
    rest: &'static [u8],
    sips: bool,
}

fn kinds() -> [Kind; 5] {
    let kind = |start: String, rest, sips| Kind { start, rest, sips };
    let post = |fields| request("POST", "/", fields);
    [
        kind("G".to_owned(), b"ET / HTTP/1.1\r\nHost: a", false),
        kind(post("Content-Length: 99\r\n"), b"body", false),
        kind(post("Transfer-Encoding: chunked\r\n"), b"5\r\nh", false),
        kind(request("GET", "/large.bin", ""), b"", false),
        kind(request("GET", "/large.bin", ""), b"", true),
    ]
}

#[test]
fn nothing_is_left_of_them() {
    let _share = Share::of(3);
    retried_after_a_stall(|| {
        let site = Site::new();
        site.sparse("large.bin", LARGE);
        let server = Launch::of(site.root())
            .config("[timeouts]\nhead = 1\nbody = 1\nwrite = 1\nlinger = 1\n")
            .start();
        let count = crowd_size(500);
        // The large file stays open in the cache.
        assert_eq!(server.connect().ask("HEAD", "/large.bin").status, 200);
        let per_round = count as u64;
        expect_all_given_back(&server, 3, |round| {
            misbehave(&server, count);
            let ended = |reason, each| closes(&server, reason) == u64::from(round) * each;
            until("every head is counted", || ended("head_timeout", per_round));
            until("every body is counted", || {
                ended("body_timeout", 2 * per_round)
            });
            until("every reader is counted", || {
                ended("write_timeout", 2 * per_round)
            });
        });
    });
}

/// One round: peers of all kinds at once, until every connection has ended.
fn misbehave(server: &Server, count: usize) {
    let kinds = kinds();
    let mut crowds: Vec<(&Kind, Instant, Vec<CrowdPeer>)> = Vec::new();
    for kind in &kinds {
        let start = Instant::now();
        let peers = (0..count).map(|_| {
            let peer = CrowdPeer::connect_narrow(server.address());
            peer.send(&kind.start);
            peer
        });
        crowds.push((kind, start, peers.collect()));
    }
    let mut polite = server.connect();
    let mut step = 0;
    while crowds.iter().any(|(_, _, peers)| !peers.is_empty()) {
        assert!(step < 40, "not ended after {step} steps");
        for (kind, start, peers) in &mut crowds {
            for peer in peers.iter() {
                peer.send(kind.rest.get(step..=step).unwrap_or_default());
                if kind.sips {
                    peer.sip(1);
                }
            }
            let before = peers.len();
            peers.retain(|peer| !has_ended(kind, peer));
            let is_early = peers.len() < before && start.elapsed() < TIMEOUT;
            assert!(!is_early, "ended before its timeout");
        }
        expect_served_at_once(&mut polite);
        std::thread::sleep(STEP);
        step += 1;
    }
}

fn has_ended(kind: &Kind, peer: &CrowdPeer) -> bool {
    if kind.start.starts_with("GET") {
        peer.is_reset()
    } else {
        peer.rest().is_some()
    }
}
