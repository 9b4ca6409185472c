//! abide behind relays: one that forwards fields blindly, and one that follows the RFCs.
//!
//! `Connection` is for the next hop only. A proxy that does not know the field forwards it, so client
//! and origin agree on persistence although they do not share a connection (RFC 2068 section 19.7.1,
//! RFC 9112 section 9.3):
//!
//! ```text
//!   client                     blind relay                  origin
//!     | Connection: keep-alive     |                           |
//!     |--------------------------->| Connection: keep-alive    |
//!     |                            |-------------------------->|  "the peer wants to go on"
//!     |                            |<--------------------------|  answers, and keeps it open
//!     |<---------------------------|  "there is more until     |
//!     | next request               |   the server closes"      |  "the peer thinks"
//!     |------------ ? ------------>|                           |
//! ```
//!
//! All three wait. An origin ends the hang if it answers such a request with `Connection: close`, and
//! closes. It recognises the request by the version, HTTP/1.0, and by the traces of proxies: `Via` is
//! written by a proxy, and `Proxy-Connection` is sent to one, so with either of them the peer is not the
//! client that asked for keep-alive. A proxy that supports HTTP/1.1 adds `Via` too, but sends HTTP/1.1
//! itself, and every hop persists on its own.

mod blind;
mod careful;
mod hop;
mod model_origin;

use std::time::{Duration, Instant};

use blind::BlindRelay;
use careful::CarefulRelay;
use model_origin::ModelOrigin;
use support::counters::counter;
use support::{Client, Launch, Server, Site, retried_after_a_stall, until};

/// The request of an old client that connects to a server.
const ASKING: &str = "GET /page.html HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";

/// The request of an old client that knows of its proxy.
const ASKING_A_PROXY: &str = "GET http://test/page.html HTTP/1.0\r\nHost: test\r\n\
                              Proxy-Connection: keep-alive\r\nConnection: keep-alive\r\n\r\n";

/// The traces of a blind relay: a field of the client, or one that the relay adds.
const TRACES: [(&str, &str); 4] = [
    (ASKING, "Via: 1.0 blind"),
    (ASKING, "Proxy-Connection: keep-alive"),
    (ASKING_A_PROXY, ""),
    (ASKING_A_PROXY, "Via: 1.0 blind"),
];

/// If the relay is silent for so long after a complete answer, it hangs.
const HANG: Duration = Duration::from_secs(1);

fn hangs(client: &mut Client, relay: &BlindRelay) {
    assert!(!client.is_told_something(HANG), "the client saw an end");
    assert_eq!(relay.relayed(), 0, "the relay has seen an end");
    // The client takes the connection for persistent, and sends another request.
    client.send(ASKING);
    assert!(!client.is_told_something(HANG), "the relay answered");
    assert_eq!(relay.relayed(), 0, "the relay has seen an end");
}

// The blind relay.

#[test]
fn an_origin_that_honours_a_forwarded_keep_alive_hangs_the_relay() {
    let origin = ModelOrigin::start();
    let relay = BlindRelay::to(origin.address(), "Via: 1.0 blind");
    let mut client = Client::connect(relay.address());
    client.send(ASKING);
    let answer = client.answer();
    assert_eq!(
        (answer.text(), answer.persists()),
        (model_origin::BODY, true)
    );
    hangs(&mut client, &relay);
}

/// Without the field the model closes after its answer, and the relay works.
#[test]
fn without_the_field_the_blind_relay_works() {
    let origin = ModelOrigin::start();
    let relay = BlindRelay::to(origin.address(), "Via: 1.0 blind");
    let mut client = Client::connect(relay.address());
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.answer().text(), model_origin::BODY);
    client.expect_end();
    until("the relay is done", || relay.relayed() == 1);
}

#[test]
fn the_answer_of_abide_ends_the_hang() {
    retried_after_a_stall(|| {
        let site = Site::new();
        let server = Server::of(site.root());
        for (request, mark) in TRACES {
            let relay = BlindRelay::to(server.address(), mark);
            for round in 1..=3 {
                let mut client = Client::connect(relay.address());
                let start = Instant::now();
                client.send(request);
                let answer = client.answer();
                assert_eq!(answer.status, 200);
                assert_eq!(answer.field("connection"), Some("close"), "{mark:?}");
                assert!(answer.text().contains("page"));
                client.expect_end();
                until("the relay is done", || relay.relayed() == round);
                // Without the close the wait would last for T, two minutes.
                assert!(start.elapsed() < Duration::from_secs(5), "{mark:?}");
            }
        }
    });
}

/// Each relay forwards the traces of those before it.
#[test]
fn two_blind_relays_in_a_row_end_as_well() {
    let site = Site::new();
    let server = Server::of(site.root());
    let second = BlindRelay::to(server.address(), "");
    let first = BlindRelay::to(second.address(), "Via: 1.0 first");
    let mut client = Client::connect(first.address());
    client.send(ASKING);
    assert!(!client.answer().persists());
    client.expect_end();
    until("both are done", || {
        (first.relayed(), second.relayed()) == (1, 1)
    });
}

/// A relay that leaves no trace looks like a client. The hang lasts no longer than the idle time of a
/// connection. Behind such a relay, an operator sets `keep_alive.http10 = false`.
#[test]
fn a_relay_without_a_trace_needs_http10_to_be_off() {
    retried_after_a_stall(|| {
        let site = Site::new();
        let willing = Launch::of(site.root())
            .config("[keep_alive]\ntimeout = 4\ngrace = 1\n")
            .start();
        let unwilling = Launch::of(site.root())
            .config("[keep_alive]\nhttp10 = false\n")
            .start();
        let relay = BlindRelay::to(willing.address(), "");
        let mut client = Client::connect(relay.address());
        client.send(ASKING);
        assert!(client.answer().persists());
        hangs(&mut client, &relay);
        until("the idle connection is closed", || relay.relayed() == 1);

        let relay = BlindRelay::to(unwilling.address(), "");
        let mut client = Client::connect(relay.address());
        let start = Instant::now();
        client.send(ASKING);
        assert!(!client.answer().persists());
        client.expect_end();
        until("the relay is done", || relay.relayed() == 1);
        assert!(start.elapsed() < Duration::from_secs(5));
    });
}

// The careful relay.

const REQUESTS: usize = 60;

#[test]
fn a_careful_relay_persists_on_both_sides() {
    let site = Site::new();
    let server = Server::of(site.root());
    let relay = CarefulRelay::to(server.address());
    let mut client = Client::connect(relay.address());
    for _ in 0..REQUESTS {
        let answer = client.get("/page.html");
        assert_eq!((answer.status, answer.hint()), (200, careful::HINT));
        assert_eq!(answer.field("via"), Some("1.1 careful"));
    }
    assert_eq!(counter(&server, "requests_total"), REQUESTS as u64);
    assert_eq!(counter(&server, "connections_accepted_total"), 1);
}

/// RFC 9110 section 7.6.1: each side counts its own requests and sends its own `close`.
#[test]
fn a_careful_relay_keeps_its_client_when_the_origin_closes_and_the_other_way_round() {
    let site = Site::new();
    let server = Launch::of(site.root())
        .config("[keep_alive]\nmax_requests = 20\n")
        .start();
    let relay = CarefulRelay::to(server.address());
    let mut client = Client::connect(relay.address());
    for _ in 0..REQUESTS {
        assert_eq!(client.get("/page.html").hint(), careful::HINT);
    }
    assert_eq!(counter(&server, "connections_accepted_total"), 3);

    for _ in 0..20 {
        let mut client = Client::connect(relay.address());
        let answer = client.ask_with("GET", "/page.html", "Connection: close\r\n");
        assert!(!answer.persists());
        client.expect_end();
    }
    assert_eq!(counter(&server, "connections_accepted_total"), 4);
}

/// The request that makes the blind relay hang, and fields that `Connection` lists.
#[test]
fn a_careful_relay_passes_nothing_on_that_was_meant_for_it() {
    let site = Site::new();
    let server = Server::of(site.root());
    let relay = CarefulRelay::to(server.address());
    let mut client = Client::connect(relay.address());
    for _ in 0..5 {
        client.send(ASKING_A_PROXY);
        let answer = client.answer();
        assert_eq!((answer.status, answer.hint()), (200, careful::HINT));
        // `Range` is for the next hop only: it must not reach the origin.
        let fields = "Connection: keep-alive, Range\r\nKeep-Alive: 300\r\nRange: bytes=0-3\r\n";
        assert_eq!(client.ask_with("GET", "/page.html", fields).status, 200);
        assert_eq!(client.ask("HEAD", "/page.html").hint(), careful::HINT);
    }
    assert_eq!(counter(&server, "connections_accepted_total"), 1);
}
