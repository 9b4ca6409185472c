//! Half-open peers, several thousand at a time: they connect and send nothing, stop sending, or do not
//! close their side when the server has closed its own. A peer that never gets beyond its SYN does not
//! reach the server: the kernel keeps it apart.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use abide::connection::counters::CloseReason;
use support::client::request;
use support::counters::closes;
use support::crowd::{
    CrowdPeer, crowd_size, expect_all_given_back, expect_served_at_once, pass_politely,
};
use support::{Client, InProcess, Launch, Share, Site, retried_after_a_stall, until};

const SECOND: u64 = 1_000;
const T: u64 = 120 * SECOND;
const GRACE: u64 = 10 * SECOND;
const HEAD: u64 = 20_000;
const LINGER: u64 = 5 * SECOND;

/// How much later than its deadline a connection may end.
const LATE: u64 = SECOND;

/// A server under the test's clock, a client that behaves, and the size of each crowd.
fn start() -> (Site, InProcess, Client, usize) {
    let site = Site::new();
    let server = InProcess::start(InProcess::config(&site));
    let polite = server.connect();
    (site, server, polite, crowd_size(1_000))
}

/// `count` peers that have sent `bytes`, from several addresses, so that there are enough ports.
fn crowd(address: SocketAddr, count: usize, bytes: &str) -> Vec<CrowdPeer> {
    let connect = |number: usize| {
        let host = u8::try_from(2 + number % 8).expect("below 10");
        let peer = CrowdPeer::connect_from(Ipv4Addr::new(127, 0, 0, host), address);
        peer.send(bytes);
        peer
    };
    (0..count).map(connect).collect()
}

/// Connections without a request end with `timeouts.head`. Those with an answer get a FIN at T + grace
/// (RFC 9112 section 9.5), and end when the peer closes too, or `timeouts.linger` later.
#[test]
fn thousands_that_say_nothing_end_in_their_time() {
    let _share = Share::of(3);
    retried_after_a_stall(|| {
        let (_site, server, mut polite, count) = start();
        let silent = crowd(server.address(), count, "");
        // Empty lines are not a request.
        let empty = crowd(server.address(), count, "\r\n\r\n");
        let mut answered = crowd(server.address(), count, &request("GET", "/", ""));
        let ended = || {
            let ended = server.handle.totals().closes(CloseReason::Idle);
            usize::try_from(ended).expect("a count")
        };
        let told =
            |peers: &[CrowdPeer]| peers.iter().filter(|peer| peer.is_told_something()).count();
        expect_served_at_once(&mut polite);
        // The clock stands still, so that all answers count as given at the same time.
        until("all are answered", || told(&answered) == count);
        // The answers are read, so that the FIN can be seen.
        answered.iter().for_each(|peer| peer.sip(64 * 1024));

        pass_politely(&server, &mut polite, HEAD - 200);
        assert_eq!(told(&silent) + told(&empty), 0, "before timeouts.head");
        pass_politely(&server, &mut polite, 200 + LATE);
        until("those who never asked are gone", || ended() == 2 * count);
        assert_eq!(told(&silent) + told(&empty), 2 * count);
        drop((silent, empty));

        pass_politely(&server, &mut polite, T + GRACE - HEAD - LATE - 200);
        assert_eq!(told(&answered), 0, "closed before T + grace");
        pass_politely(&server, &mut polite, 200 + LATE);
        until("T + grace is over for all", || told(&answered) == count);
        assert_eq!(ended(), 2 * count, "all of them linger");
        drop(answered.split_off(count / 2));
        until("those who close are gone", || {
            ended() == 2 * count + count / 2
        });
        server.pass(LINGER - 200 - LATE);
        assert_eq!(ended(), 2 * count + count / 2, "the others linger");
        server.pass(200 + 2 * LATE);
        until("all are ended", || ended() == 3 * count);
        expect_served_at_once(&mut polite);
    });
}

/// `timeouts.linger` ends the connections of peers that were told `close` and do not close.
#[test]
fn thousands_that_do_not_close_end_after_the_linger_time() {
    let _share = Share::of(3);
    retried_after_a_stall(|| {
        let (_site, server, mut polite, count) = start();
        // A client that says close is not waited for.
        let asked = crowd(server.address(), count, "GET / HTTP/1.0\r\n\r\n");
        let refused = crowd(server.address(), count, "no request\r\n\r\n");
        expect_served_at_once(&mut polite);
        // The clock stands still, so that all begin to linger at the same time.
        until("all are answered", || {
            server.handle.totals().requests == 2 * count as u64 + 1
        });
        server.pass(LINGER - 200);
        let ended = || {
            let totals = server.handle.totals();
            [CloseReason::ClientAsked, CloseReason::BadRequest].map(|reason| totals.closes(reason))
        };
        assert_eq!(ended(), [0, 0], "before timeouts.linger");
        server.pass(200 + LATE);
        until("all are ended", || ended() == [count as u64; 2]);
        // The answers are not destroyed.
        for (peers, status) in [(asked, "200"), (refused, "400")] {
            for peer in peers {
                let got = peer.rest().expect("an answer and a FIN");
                assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{got}");
            }
        }
        expect_served_at_once(&mut polite);
    });
}

/// RFC 9112 section 9.6: a half-close ends the requests, not the answers.
#[test]
fn thousands_that_half_close_are_answered_and_end_at_once() {
    let _share = Share::of(3);
    retried_after_a_stall(|| {
        let (_site, server, mut polite, count) = start();
        let peers = crowd(server.address(), count, &request("GET", "/", ""));
        peers.iter().for_each(CrowdPeer::half_close);
        let silent = crowd(server.address(), count, "");
        silent.iter().for_each(CrowdPeer::half_close);
        expect_served_at_once(&mut polite);
        // The clock stands still.
        until("all of them are counted", || {
            server.handle.totals().closes(CloseReason::ClientClosed) == 2 * count as u64
        });
        for peer in peers {
            let got = peer.rest().expect("an answer and a FIN");
            assert!(got.starts_with("HTTP/1.1 200 "), "{got}");
        }
        for peer in silent {
            assert_eq!(peer.rest().as_deref(), Some(""));
        }
    });
}

#[test]
fn nothing_is_left_of_them() {
    let _share = Share::of(3);
    retried_after_a_stall(|| {
        let site = Site::new();
        let server = Launch::of(site.root())
            .config("[keep_alive]\ntimeout = 1\ngrace = 1\n[timeouts]\nhead = 1\nlinger = 1\n")
            .start();
        let count = crowd_size(1_000);
        let get = |fields| request("GET", "/", fields);
        let starts = [String::new(), get(""), get("Connection: close\r\n")];
        expect_all_given_back(&server, 3, |round| {
            let mut held: Vec<CrowdPeer> = Vec::new();
            for start in &starts {
                held.append(&mut crowd(server.address(), count, start));
            }
            let leaving = crowd(server.address(), count, &get(""));
            leaving.iter().for_each(CrowdPeer::half_close);
            let mut polite = server.connect();
            let ended =
                |reason, each| closes(&server, reason) == u64::from(round) * each * count as u64;
            until("all of them are ended, though they do not close", || {
                expect_served_at_once(&mut polite);
                thread::sleep(Duration::from_millis(200));
                ended("idle", 2) && ended("client_asked", 1)
            });
            let half_closed = u64::from(round) * count as u64;
            assert!(closes(&server, "client_closed") >= half_closed);
            assert!(held.iter().all(CrowdPeer::is_told_something));
        });
    });
}
