//! A session over TLS: the promise of persistent connections, and the records that carry it.

use abide::clock::Millis;
use abide::connection::counters::{CloseReason, HandshakeOutcome, Totals};
use abide::connection::session::Outcome;
use abide::site::MayBlock;
use support::tls_line::{TLS12, TLS13, TlsLine, TlsServer, Version, client};

use super::responses::{HeadRequests, finals};
use super::world::at_secs;

const GET: &[u8] = b"GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n";
const LARGE_BYTES: usize = 300_000;

fn large() -> Vec<u8> {
    (0..LARGE_BYTES).map(|at| (at * at / 251) as u8).collect()
}

fn server() -> TlsServer {
    let files = [("small", b"small".to_vec()), ("large", large())];
    TlsServer::new(&files, |_| {})
}

/// A client whose handshake is complete.
fn connected(server: &mut TlsServer, version: &'static Version) -> TlsLine {
    let mut line = server.connect(&client(version), Millis(0));
    server.settle(&mut line, Millis(0));
    assert!(!line.client.is_handshaking());
    line
}

fn answers(line: &TlsLine) -> usize {
    finals(&line.received, HeadRequests::Known(&[])).len()
}

fn totals(server: &TlsServer) -> Totals {
    Totals::sum([&*server.counters].into_iter())
}

#[test]
fn requests_over_one_connection_count_down() {
    for version in [&TLS12, &TLS13] {
        let mut server = server();
        let mut line = connected(&mut server, version);
        for number in 1..=3 {
            line.write(GET);
            server.settle(&mut line, Millis(0));
            assert_eq!(answers(&line), number);
        }
        let text = String::from_utf8_lossy(&line.received);
        for left in ["max=999", "max=998", "max=997"] {
            assert!(text.contains(&format!("timeout=120, {left}\r\n")), "{text}");
        }
        assert_eq!(totals(&server).handshakes(HandshakeOutcome::Full), 1);
    }
}

/// Gives the connection its turns from `now` on, until the server closes it. Returns when. Up to that turn the client
/// gets no byte.
fn idle_until_fin(server: &mut TlsServer, line: &mut TlsLine, mut now: Millis) -> Millis {
    while line.peer().fin_at.is_none() {
        assert!(!line.receive(), "a byte at {now:?}");
        now = server.deadline(line, now);
        line.peer().now = now;
        server.turn(line, now);
    }
    now
}

/// Clients that look at an idle socket take an unread byte for its end.
#[test]
fn no_byte_leaves_between_the_end_of_the_handshake_and_the_answer() {
    let mut server = server();
    let config = client(&TLS13);
    let mut line = server.connect(&config, Millis(0));
    line.carry(usize::MAX);
    server.turn(&mut line, Millis(0));
    line.receive();
    let flight = line.wire_bytes;
    assert!(flight > 0 && !line.client.is_handshaking());
    server.settle(&mut line, Millis(0));
    assert_eq!(line.wire_bytes, flight, "the tickets wait");
    line.write(GET);
    server.settle(&mut line, Millis(0));
    assert_eq!(answers(&line), 1);
    // They have come with the answer.
    let mut next = server.connect(&config, Millis(0));
    server.settle(&mut next, Millis(0));
    assert_eq!(totals(&server).handshakes(HandshakeOutcome::Resumed), 1);
}

#[test]
fn no_byte_leaves_between_the_answer_and_the_close() {
    for version in [&TLS12, &TLS13] {
        let mut server = server();
        let mut line = connected(&mut server, version);
        line.write(GET);
        server.settle(&mut line, Millis(0));
        assert_eq!(answers(&line), 1);
        let after_answer = line.wire_bytes;
        let closed_at = idle_until_fin(&mut server, &mut line, Millis(0));
        assert_eq!(closed_at, at_secs(130));
        line.receive();
        assert!(line.has_close_notify(), "the alert comes before the FIN");
        assert!(line.wire_bytes - after_answer < 40, "and nothing else");
    }
}

/// Gives the server half of what the client has written, and returns the rest.
fn half(line: &mut TlsLine) -> Vec<u8> {
    let mut sent = Vec::new();
    while line.client.wants_write() {
        line.client.write_tls(&mut sent).expect("to memory");
    }
    let rest = sent.split_off(sent.len() / 2);
    line.peer().arrive(&sent);
    rest
}

/// Without TLS, a request has begun with its first byte, and the idle timeout does not end it.
#[test]
fn a_request_begins_with_the_first_byte_of_its_record() {
    for version in [&TLS12, &TLS13] {
        let mut server = server();
        let mut line = connected(&mut server, version);
        line.write(GET);
        server.settle(&mut line, Millis(0));
        line.write(GET);
        let rest = half(&mut line);
        server.turn(&mut line, at_secs(129));
        assert_eq!(server.deadline(&mut line, at_secs(129)), at_secs(149));
        server.turn(&mut line, at_secs(148));
        line.peer().arrive(&rest);
        server.turn(&mut line, at_secs(148));
        line.receive();
        assert_eq!(answers(&line), 2);
        // The next one stays incomplete.
        line.write(GET);
        half(&mut line);
        for now in [at_secs(200), at_secs(220)] {
            server.turn(&mut line, now);
        }
        line.receive();
        assert!(String::from_utf8_lossy(&line.received).contains("HTTP/1.1 408 "));
    }
}

#[test]
fn a_record_without_content_is_no_request_though_it_comes_in_parts() {
    let mut server = server();
    let mut line = connected(&mut server, &TLS13);
    line.write(GET);
    server.settle(&mut line, Millis(0));
    line.client.refresh_traffic_keys().expect("TLS 1.3");
    let rest = half(&mut line);
    server.turn(&mut line, at_secs(100));
    line.peer().arrive(&rest);
    server.turn(&mut line, at_secs(101));
    let closed_at = idle_until_fin(&mut server, &mut line, at_secs(101));
    assert!(closed_at >= at_secs(130), "T is kept");
    assert!(closed_at <= at_secs(101 + 130), "the connection was idle");
    line.receive();
    assert_eq!(answers(&line), 1, "it gets no 408");
}

/// The kernel reports both with one event.
#[test]
fn a_fin_that_comes_with_a_part_of_a_record_ends_the_connection_at_once() {
    for version in [&TLS12, &TLS13] {
        let mut server = server();
        let mut line = connected(&mut server, version);
        line.write(GET);
        half(&mut line);
        line.peer().close();
        let outcome = server.turn(&mut line, Millis(0));
        assert_eq!(outcome, Outcome::Close(CloseReason::ClientClosed));
        // Also during the handshake.
        let mut line = server.connect(&client(version), Millis(0));
        half(&mut line);
        line.peer().close();
        let outcome = server.turn(&mut line, Millis(0));
        assert_eq!(outcome, Outcome::Close(CloseReason::ClientClosed));
    }
}

#[test]
fn the_answer_to_a_key_update_waits_for_the_next_response() {
    let mut server = server();
    let mut line = connected(&mut server, &TLS13);
    line.write(GET);
    server.settle(&mut line, Millis(0));
    let idle = line.wire_bytes;
    line.client.refresh_traffic_keys().expect("TLS 1.3");
    server.settle(&mut line, Millis(0));
    assert_eq!(line.wire_bytes, idle);
    line.write(GET);
    server.settle(&mut line, Millis(0));
    assert_eq!(answers(&line), 2);
}

/// The bytes of the client come in pieces of each size up to a few records, and the answers are the same.
#[test]
fn the_pieces_in_which_bytes_arrive_change_no_answer() {
    for version in [&TLS12, &TLS13] {
        let mut server = server();
        for size in (1..40).chain([100, 516, 517, 518, 5_000]) {
            let mut line = server.connect(&client(version), Millis(0));
            for round in 0..4 {
                if round == 2 {
                    line.write(&[GET, GET].concat());
                }
                deliver(&mut server, &mut line, size);
            }
            assert_eq!(answers(&line), 2, "in pieces of {size}");
        }
    }
}

/// Delivers what the client has written in pieces of `size`, with a turn after each.
fn deliver(server: &mut TlsServer, line: &mut TlsLine, size: usize) {
    let mut sent = Vec::new();
    line.receive();
    while line.client.wants_write() {
        line.client.write_tls(&mut sent).expect("to memory");
    }
    for piece in sent.chunks(size) {
        line.peer().arrive(piece);
        while server.turn(line, Millis(0)) == Outcome::Again {}
    }
    line.receive();
}

/// The socket takes a few bytes at a time, and the answer arrives whole.
#[test]
fn a_slow_reader_gets_the_whole_answer() {
    for version in [&TLS12, &TLS13] {
        for room in [1_000, 16_384, 16_406, 50_000] {
            let mut server = server();
            let mut line = connected(&mut server, version);
            line.write(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n");
            line.carry(usize::MAX);
            for _ in 0..2 * LARGE_BYTES / room + 10 {
                line.peer().room_in_turn = Some(room);
                server.turn(&mut line, Millis(0));
                line.receive();
            }
            let received = finals(&line.received, HeadRequests::Known(&[]));
            assert_eq!(received.len(), 1, "{room}");
            assert!(line.received.ends_with(&large()), "{room}");
        }
    }
}

#[test]
fn a_client_that_half_closes_is_answered_and_the_connection_ends() {
    for version in [&TLS12, &TLS13] {
        let mut server = server();
        let mut line = connected(&mut server, version);
        line.write(GET);
        line.client.send_close_notify();
        server.settle(&mut line, Millis(0));
        assert_eq!(answers(&line), 1);
        assert_eq!(line.outcome, Outcome::Close(CloseReason::ClientClosed));
        assert!(line.has_close_notify());
        assert_eq!(totals(&server).keep_alive_races, 0);
    }
}

#[test]
fn bytes_behind_a_close_notify_mean_nothing() {
    let mut server = server();
    let mut line = connected(&mut server, &TLS13);
    line.write(GET);
    line.client.send_close_notify();
    line.carry(usize::MAX);
    line.peer().arrive(&[0; 100]);
    server.turn(&mut line, Millis(0));
    line.receive();
    assert_eq!(answers(&line), 1);
    assert_eq!(line.outcome, Outcome::Close(CloseReason::ClientClosed));
}

#[test]
fn a_request_that_crosses_with_the_close_is_a_race_and_a_close_notify_is_none() {
    for crosses in [true, false] {
        let mut server = server();
        let mut line = connected(&mut server, &TLS13);
        line.write(GET);
        server.settle(&mut line, Millis(0));
        for now in [at_secs(5), at_secs(130)] {
            server.turn(&mut line, now);
        }
        assert!(line.peer().fin_at.is_some());
        if crosses {
            line.write(GET);
        }
        line.client.send_close_notify();
        line.carry(usize::MAX);
        server.turn(&mut line, at_secs(130));
        assert_eq!(line.outcome, Outcome::Close(CloseReason::Idle));
        assert_eq!(totals(&server).keep_alive_races, u64::from(crosses));
    }
}

#[test]
fn a_handshake_is_a_workers_work_and_a_request_from_memory_is_not() {
    let mut server = server();
    let mut line = server.connect(&client(&TLS13), Millis(0));
    line.carry(usize::MAX);
    let outcome = server.turn_of(&mut line, Millis(0), MayBlock::Never);
    assert_eq!(outcome, Outcome::Again);
    assert!(std::mem::take(&mut server.buffers.needs_computing));
    line.receive();
    assert_eq!(line.wire_bytes, 0);
    // The worker also loads the file.
    line.write(GET);
    server.settle(&mut line, Millis(0));
    assert_eq!(answers(&line), 1);
    line.write(GET);
    line.carry(usize::MAX);
    server.turn_of(&mut line, Millis(0), MayBlock::Never);
    line.receive();
    assert_eq!(answers(&line), 2);
}

/// A worker may take it from its queue late. It is not computed then, because it would be closed next.
#[test]
fn a_handshake_that_waits_for_too_long_is_not_computed() {
    let mut server = server();
    let mut line = server.connect(&client(&TLS13), Millis(0));
    line.carry(usize::MAX);
    server.turn_of(&mut line, Millis(0), MayBlock::Never);
    let outcome = server.turn(&mut line, at_secs(10));
    assert_eq!(outcome, Outcome::Close(CloseReason::Tls));
    line.receive();
    assert_eq!(line.wire_bytes, 0);
    // The client has done its part of this one in time.
    let mut line = server.connect(&client(&TLS13), Millis(0));
    line.carry(usize::MAX);
    server.turn(&mut line, Millis(0));
    line.carry(usize::MAX);
    let outcome = server.turn_of(&mut line, at_secs(10), MayBlock::Never);
    assert_eq!(outcome, Outcome::Again, "a worker completes it");
    server.turn(&mut line, at_secs(10));
    assert_eq!(line.outcome, Outcome::Wait);
    assert_eq!(totals(&server).handshakes(HandshakeOutcome::Full), 1);
}

/// Such a client is silent, and must not keep workers busy.
#[test]
fn a_part_of_the_last_message_wakes_no_worker() {
    for version in [&TLS12, &TLS13] {
        let mut server = server();
        let mut line = server.connect(&client(version), Millis(0));
        line.carry(usize::MAX);
        server.turn(&mut line, Millis(0));
        line.receive();
        let mut last = Vec::new();
        while line.client.wants_write() {
            line.client.write_tls(&mut last).expect("to memory");
        }
        line.peer().arrive(&last[..4]);
        let outcome = server.turn_of(&mut line, Millis(0), MayBlock::Never);
        assert_eq!(outcome, Outcome::Wait);
        line.peer().arrive(&last[4..]);
        let outcome = server.turn_of(&mut line, Millis(0), MayBlock::Never);
        assert_eq!(outcome, Outcome::Again);
    }
}

#[test]
fn invalid_records_end_the_connection_with_an_alert() {
    let mut server = server();
    // A record that does not decrypt, one that is too long, and one of no known kind.
    let oversized = [&[23, 3, 3, 0x48, 0x01][..], &[0; 18_433]].concat();
    for garbage in [&[23, 3, 3, 0, 32][..], &oversized, &[99; 64]] {
        let mut line = connected(&mut server, &TLS13);
        let sent = line.wire_bytes;
        let padded = [garbage, &[0; 64]].concat();
        line.peer().arrive(&padded);
        server.turn(&mut line, Millis(0));
        assert!(line.peer().fin_at.is_some(), "{:?}", line.outcome);
        let alert = line.peer().sent.len();
        assert!(alert > 0 && line.wire_bytes == sent);
        line.peer().close();
        server.turn(&mut line, Millis(0));
        assert_eq!(line.outcome, Outcome::Close(CloseReason::Tls));
    }
}

#[test]
fn a_late_handshake_ends() {
    let mut server = server();
    let mut line = server.connect(&client(&TLS13), Millis(0));
    line.carry(usize::MAX);
    server.turn(&mut line, Millis(0));
    assert_eq!(server.deadline(&mut line, Millis(0)), at_secs(10));
    server.turn(&mut line, Millis(9_999));
    assert_eq!(line.outcome, Outcome::Wait);
    server.turn(&mut line, at_secs(10));
    assert_eq!(line.outcome, Outcome::Close(CloseReason::Tls));
    assert_eq!(totals(&server).handshakes(HandshakeOutcome::Failed), 1);
}

#[test]
fn http_without_tls_gets_an_answer_that_can_be_read() {
    let mut server = server();
    let mut line = server.connect(&client(&TLS13), Millis(0));
    line.peer().arrive(GET);
    server.turn(&mut line, Millis(0));
    let sent = String::from_utf8_lossy(&line.peer().sent).into_owned();
    assert!(sent.starts_with("HTTP/1.1 400 "), "{sent}");
    assert!(sent.contains("HTTPS"), "{sent}");
}

#[test]
fn a_reload_without_https_addresses_leaves_the_handshakes_under_way() {
    let mut server = server();
    let mut waiting = server.connect(&client(&TLS13), Millis(0));
    let mut begun = server.connect(&client(&TLS13), Millis(0));
    begun.carry(usize::MAX);
    server.turn(&mut begun, Millis(0));
    for _ in 0..2 {
        server.reload(Millis(0), |config| {
            config.listen = vec!["127.0.0.1:0".parse().expect("an address")];
        });
    }
    for line in [&mut waiting, &mut begun] {
        line.write(GET);
        server.settle(line, Millis(0));
        assert_eq!(answers(line), 1);
    }
}
