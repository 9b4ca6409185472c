//! A whole session over TLS, with a client of rustls.
//!
//! - The cuts of the records on their way to the server, and the way in which the socket takes the server's records,
//!   change no byte of the answers.
//! - TLS 1.2 and 1.3 carry the same answers.
//! - The session ends in a bounded number of turns after the client's close_notify and FIN.

use std::cell::RefCell;
use std::io::Write;

use abide::clock::Millis;
use abide::connection::session::Outcome;
use support::tls_line::{TLS12, TLS13, TlsLine, TlsServer, Version, client};

use super::script::{first_line, size};

/// Turns after which a session is stuck.
const MAX_TURNS: usize = 20_000;

/// The most bytes of HTTP in an input; a client of rustls takes so many at once.
const MAX_BYTES: usize = 32 * 1024;

thread_local! {
    static SERVER: RefCell<TlsServer> = RefCell::new(TlsServer::new(
        &[
            ("index.html", b"<!doctype html><title>Home</title>".to_vec()),
            ("large.bin", (0..70_000_u32).map(|at| (at % 251) as u8).collect()),
        ],
        |_| {},
    ));
}

/// `input` is a script of arrivals, a script of the room in the socket, and the bytes that the client sends over TLS.
pub fn check(input: &[u8]) {
    let (arrivals, rest) = first_line(input);
    let (room, bytes) = first_line(rest);
    let bytes = &bytes[..bytes.len().min(MAX_BYTES)];
    let sizes = |script: &[u8]| script.iter().map(|&step| size(step)).collect::<Vec<_>>();
    let whole = converse(&TLS13, &[], &[], bytes);
    for version in [&TLS12, &TLS13] {
        let cut = converse(version, &sizes(arrivals), &sizes(room), bytes);
        assert!(
            whole == cut,
            "the answers depend on the cuts:\n{}\n---\n{}",
            whole.escape_ascii(),
            cut.escape_ascii()
        );
    }
}

/// Sends `bytes` over TLS in pieces of these sizes, of which the last one repeats. Returns the answers.
fn converse(
    version: &'static Version,
    arrivals: &[usize],
    room: &[usize],
    bytes: &[u8],
) -> Vec<u8> {
    SERVER.with_borrow_mut(|server| {
        let mut line = server.connect(&client(version), Millis(0));
        let mut sizes = arrivals.iter().copied();
        let mut size = move || {
            sizes
                .next()
                .or(arrivals.last().copied())
                .filter(|size| *size > 0)
        };
        let mut room = room.iter().copied();
        let mut on_the_way: Vec<u8> = Vec::new();
        // A client that ends without an alert, so that its FIN comes with the last bytes.
        let is_abrupt = arrivals.len() % 2 == 1;
        let mut has_written = false;
        for _ in 0..MAX_TURNS {
            line.receive();
            if !line.client.is_handshaking() && !std::mem::replace(&mut has_written, true) {
                line.client.writer().write_all(bytes).expect("room");
                if !is_abrupt {
                    line.client.send_close_notify();
                }
            }
            while line.client.wants_write() {
                line.client.write_tls(&mut on_the_way).expect("to memory");
            }
            deliver(&mut line, &mut on_the_way, size(), has_written);
            if is_abrupt && has_written && on_the_way.is_empty() && !line.peer().has_closed {
                line.peer().close();
            }
            line.peer().room_in_turn = room.next();
            if let Outcome::Close(_) = server.turn(&mut line, Millis(0)) {
                line.receive();
                return line.received;
            }
        }
        panic!("the session does not end");
    })
}

/// Lets a piece arrive, or the FIN behind the last one.
fn deliver(line: &mut TlsLine, on_the_way: &mut Vec<u8>, size: Option<usize>, is_last: bool) {
    if line.peer().has_closed {
        return;
    }
    let count = size.unwrap_or(usize::MAX).min(on_the_way.len());
    if count > 0 {
        let piece: Vec<u8> = on_the_way.drain(..count).collect();
        line.peer().arrive(&piece);
    } else if is_last {
        line.peer().close();
    }
}
