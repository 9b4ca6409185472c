//! The timeouts. The server runs under a clock that the tests move, so that two minutes of idling take a
//! moment.
//!
//! With the defaults: T = 120 s, grace = 10 s, head 20 s, body 20 s, write 30 s, linger 5 s.

use std::num::NonZeroU32;
use std::time::Duration;

use abide::connection::counters::CloseReason;
use support::client::request;
use support::{Client, InProcess, Site, until};

const SECOND: u64 = 1_000;
const T: u64 = 120 * SECOND;
const GRACE: u64 = 10 * SECOND;

/// Deadlines are met late rather than early: by a tick of the wheel, and by another look after a second if
/// a connection was busy at its deadline.
const LATE: u64 = 2 * SECOND;

/// In real time: long enough for the server to have sent its output.
const MOMENT: Duration = Duration::from_millis(50);

fn defaults(site: &Site) -> InProcess {
    InProcess::start(InProcess::config(site))
}

fn is_silent(client: &mut Client) -> bool {
    !client.is_told_something(MOMENT)
}

/// Lets time pass until the client receives something, at most `LATE`.
fn pass_until_told(server: &InProcess, client: &mut Client, what: &str) {
    server.pass_until(what, LATE, || {
        client.is_told_something(Duration::from_millis(1))
    });
}

// Between two requests.

/// RFC 9112 section 9.5: never before T + grace, and then with a FIN.
#[test]
fn an_idle_connection_is_closed_at_t_and_grace_and_not_before() {
    let site = Site::new();
    let server = defaults(&site);
    let mut client = server.connect();
    assert_eq!(client.get("/").hint().0, 120);
    server.pass(T + GRACE - 200);
    assert!(is_silent(&mut client), "closed before T + grace");
    pass_until_told(&server, &mut client, "the idle connection is closed");
    client.expect_end();
    drop(client);
    until("the close is counted as idle", || {
        server.handle.totals().closes(CloseReason::Idle) == 1
    });
}

#[test]
fn a_request_at_the_last_moment_is_answered_and_starts_the_time_again() {
    let site = Site::new();
    let server = defaults(&site);
    let mut client = server.connect();
    client.expect_usable();
    for _ in 0..2 {
        server.pass(T + GRACE / 2);
        client.expect_usable();
    }
    server.pass(T + GRACE - 200);
    client.expect_usable();
}

/// Each connection has its own deadline.
#[test]
fn a_busy_connection_does_not_keep_an_idle_one() {
    let site = Site::new();
    let server = defaults(&site);
    let (mut busy, mut idle) = (server.connect(), server.connect());
    busy.expect_usable();
    idle.expect_usable();
    for _ in 0..14 {
        server.pass(10 * SECOND);
        busy.expect_usable();
    }
    idle.expect_end();
    busy.expect_usable();
}

#[test]
fn two_hundred_idle_connections_are_all_reaped() {
    let site = Site::new();
    let server = defaults(&site);
    let mut clients: Vec<Client> = (0..200).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(Client::expect_usable);
    server.pass(T + GRACE + LATE);
    clients.iter_mut().for_each(Client::expect_end);
    drop(clients);
    until("all the closes are counted as idle", || {
        server.handle.totals().closes(CloseReason::Idle) == 200
    });
}

/// RFC 9112 section 9.5: the request and the close have crossed on the wire. The request is not answered,
/// but a counter shows it.
#[test]
fn a_request_that_comes_after_the_idle_close_is_counted() {
    let site = Site::new();
    let server = defaults(&site);
    let mut client = server.connect();
    client.expect_usable();
    server.pass(T + GRACE + LATE);
    client.send(request("GET", "/", ""));
    client.expect_end();
    until("the race is counted", || {
        server.handle.totals().keep_alive_races == 1
    });
    assert_eq!(server.handle.totals().requests, 1);
}

/// T is promised from the moment at which the client has the whole answer, not from the sending.
#[test]
fn the_idle_time_starts_when_the_client_has_taken_the_answer() {
    let site = Site::new();
    // More than the client's kernel buffers, less than the server's kernel buffers.
    site.sparse("page.bin", 100_000);
    let server = defaults(&site);
    let mut client = Client::connect_narrow(server.address());
    client.send(request("GET", "/page.bin", ""));
    server.pass(15 * SECOND);
    assert_eq!(client.answer().body.len(), 100_000);
    server.pass(T - 200);
    assert!(is_silent(&mut client), "closed within T of the answer");
    // The server noticed the acknowledgement within grace, and T + grace counts from then.
    server.pass(GRACE + GRACE + LATE);
    client.expect_end();
}

/// RFC 9110 section 15.5.9: without a request there is nothing to answer with 408.
#[test]
fn a_connection_that_never_sends_a_byte_is_closed_silently() {
    let site = Site::new();
    let server = defaults(&site);
    let mut client = server.connect();
    server.pass(20 * SECOND - 200);
    assert!(is_silent(&mut client), "before timeouts.head");
    pass_until_told(&server, &mut client, "the silent connection is closed");
    client.expect_end();
    assert_eq!(server.handle.open_connections(), 0, "it does not linger");
}

/// RFC 9112 section 2.2: empty lines are ignored, so they do not start a request.
#[test]
fn empty_lines_are_no_request() {
    let site = Site::new();
    let server = defaults(&site);
    let mut client = server.connect();
    client.expect_usable();
    client.send("\r\n\r\n");
    server.pass(25 * SECOND);
    assert!(is_silent(&mut client), "the time for a head does not run");
    let mut first = server.connect();
    first.send("\r\n\r\n");
    server.pass(20 * SECOND + LATE);
    first.expect_end();
    server.pass(T + GRACE + LATE);
    client.expect_end();
}

// Within a request.

/// RFC 9110 section 15.5.9.
#[test]
fn a_head_that_is_not_complete_in_time_is_408() {
    let site = Site::new();
    let server = defaults(&site);
    let mut client = server.connect();
    client.expect_usable();
    client.send("GET / HTTP/1.1\r\nHo");
    server.pass(10 * SECOND);
    // A byte now and then does not renew it: the timeout is for the whole head.
    client.send("st: te");
    server.pass(10 * SECOND - 200);
    assert!(is_silent(&mut client), "before timeouts.head");
    pass_until_told(&server, &mut client, "the head is timed out");
    let response = client.answer();
    assert_eq!((response.status, response.persists()), (408, false));
    client.expect_end();
}

#[test]
fn one_byte_of_a_request_is_enough_for_408() {
    let site = Site::new();
    let server = defaults(&site);
    let mut client = server.connect();
    client.send("\r\nG");
    server.pass(20 * SECOND + LATE);
    assert_eq!(client.answer().status, 408);
    client.expect_end();
}

#[test]
fn a_body_that_stands_still_is_408() {
    let site = Site::new();
    let server = defaults(&site);
    let mut client = server.connect();
    client.send(request("POST", "/", "Content-Length: 10\r\n"));
    server.pass(20 * SECOND - 200);
    assert!(is_silent(&mut client), "before timeouts.body");
    pass_until_told(&server, &mut client, "the body is timed out");
    assert_eq!(client.answer().status, 408);
    client.expect_end();
}

#[test]
fn a_body_that_moves_has_its_time_renewed() {
    let site = Site::new();
    let server = defaults(&site);
    let mut client = server.connect();
    let len = 10 * 20_000;
    client.send(request("POST", "/", &format!("Content-Length: {len}\r\n")));
    for _ in 0..9 {
        client.send("x".repeat(20_000));
        server.pass(15 * SECOND);
        assert!(is_silent(&mut client), "it moves at more than 1 KiB/s");
    }
    client.send("x".repeat(20_000));
    assert_eq!(client.answer().status, 405);
    client.expect_usable();
}

/// `limits.min_rate`: a byte now and then does not hold a connection for ever.
#[test]
fn a_body_that_trickles_is_408_after_a_minute() {
    let site = Site::new();
    let server = defaults(&site);
    let mut client = server.connect();
    client.send(request("POST", "/", "Content-Length: 1000\r\n"));
    for _ in 0..5 {
        server.pass(10 * SECOND);
        assert!(is_silent(&mut client), "the rate is averaged over a minute");
        client.send("x");
    }
    server.pass(10 * SECOND + LATE);
    assert_eq!(client.answer().status, 408);
    client.expect_end();
}

/// At the end of a minute the rate is high enough. That does not hide the timeout just after it, however
/// long the wheel would sleep.
#[test]
fn a_body_that_stops_ends_on_time_though_a_minute_ends_just_before() {
    let site = Site::new();
    let mut config = InProcess::config(&site);
    config.keep_alive.grace_secs = 60;
    let all = &mut config.timeouts;
    (all.head_secs, all.body_secs) = (60, 60);
    (all.write_secs, all.linger_secs) = (60, 60);
    let server = InProcess::start(config);
    let mut client = server.connect();
    client.send(request("POST", "/", "Content-Length: 100000\r\n"));
    client.send("x".repeat(90_000));
    server.pass(SECOND);
    client.send("x");
    server.pass(60 * SECOND - 200);
    assert!(is_silent(&mut client), "before timeouts.body");
    pass_until_told(&server, &mut client, "the body is timed out");
    assert_eq!(client.answer().status, 408);
}

/// Every request has the whole time, however long the previous ones took.
#[test]
fn the_time_for_a_head_starts_with_its_first_byte() {
    let site = Site::new();
    let server = defaults(&site);
    let mut client = server.connect();
    for pause in [15, 30, 30] {
        server.pass(pause * SECOND);
        client.send("GET / HTTP/1.1\r\n");
        server.pass(15 * SECOND);
        client.send("Host: test\r\n\r\n");
        assert_eq!(client.answer().status, 200);
    }
}

// Within an answer.

/// `timeouts.write`: the kernel shows that the peer has taken nothing, so a FIN would not arrive.
#[test]
fn a_peer_that_takes_nothing_is_reset() {
    let site = Site::new();
    site.sparse("large.bin", 50 * 1024 * 1024);
    let server = defaults(&site);
    let mut client = Client::connect_narrow(server.address());
    client.send(request("GET", "/large.bin", ""));
    server.pass(30 * SECOND - 200);
    let cut = || server.handle.totals().closes(CloseReason::WriteTimeout);
    assert_eq!(cut(), 0, "before timeouts.write");
    // The bytes that its kernel took at first are progress, which may be seen as late as the first look.
    server.pass(30 * SECOND + LATE);
    assert_eq!(cut(), 1);
    let (got, why) = client.try_rest().expect_err("a reset");
    assert!(got.len() < 50 * 1024 * 1024);
    assert!(why.contains("breaks"), "{why}");
}

#[test]
fn a_slow_reader_is_not_cut_off() {
    let site = Site::new();
    site.sparse("large.bin", 16 * 1024 * 1024);
    let server = defaults(&site);
    let mut client = Client::connect_narrow(server.address());
    client.send(request("GET", "/large.bin", ""));
    let head = client.head();
    for _ in 0..16 {
        server.pass(25 * SECOND);
        assert_eq!(client.read_body(1024 * 1024).len(), 1024 * 1024);
    }
    assert_eq!(head.length(), Some(16 * 1024 * 1024));
    client.expect_usable();
}

/// The answer fits the server's kernel, and the client acknowledges no more of it.
#[test]
fn a_peer_that_does_not_acknowledge_a_short_answer_is_reset_too() {
    let site = Site::new();
    site.sparse("page.bin", 100_000);
    let server = defaults(&site);
    let mut client = Client::connect_narrow(server.address());
    client.send(request("GET", "/page.bin", ""));
    server.pass(60 * SECOND + LATE);
    assert_eq!(server.handle.totals().closes(CloseReason::WriteTimeout), 1);
    assert!(client.try_rest().is_err(), "a reset");
}

// After the last answer.

/// RFC 9112 section 9.6: the server reads on for a while, so that its answer is not destroyed.
#[test]
fn a_closed_connection_lingers_for_a_client_that_does_not_close() {
    let site = Site::new();
    let server = defaults(&site);
    let mut client = server.connect();
    // A client that says close is not waited for.
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    let closed = || server.handle.totals().closes(CloseReason::ClientAsked);
    server.pass(5 * SECOND - 200);
    assert_eq!(closed(), 0, "before timeouts.linger");
    client.send("more bytes that are discarded");
    server.pass(LATE);
    assert_eq!(closed(), 1);
    client.expect_end();
}

// Settings.

#[test]
fn max_requests_and_timeouts_come_from_the_configuration() {
    let site = Site::new();
    let mut config = InProcess::config(&site);
    config.keep_alive.timeout_secs = 5;
    config.keep_alive.grace_secs = 1;
    config.keep_alive.max_requests = NonZeroU32::new(3).expect("3");
    config.timeouts.head_secs = 2;
    let server = InProcess::start(config);
    let (mut idle, mut slow) = (server.connect(), server.connect());
    assert_eq!(idle.get("/").hint(), (5, 2));
    slow.send("GET");
    server.pass(2 * SECOND + LATE);
    assert_eq!(slow.answer().status, 408);
    assert!(is_silent(&mut idle));
    server.pass(4 * SECOND);
    idle.expect_end();
}

/// The largest T that can be advertised: nothing overflows, and no connection is closed early.
#[test]
fn the_largest_timeout_is_kept() {
    let site = Site::new();
    let mut config = InProcess::config(&site);
    config.keep_alive.timeout_secs = 2_147_483_637;
    let server = InProcess::start(config);
    let mut client = server.connect();
    assert_eq!(client.get("/").hint().0, 2_147_483_637);
    server.pass(300 * SECOND);
    client.expect_usable();
}
