//! The program over TLS: its own certificate, renewals while it serves, and bounds on handshakes.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustls::ClientConfig;
use support::authority::Authority;
use support::counters::counter;
use support::tls::{SecureStream, connect, handshake, read_answer, session};
use support::tls_line::{TLS12, TLS13, client};
use support::{Launch, Server, Site, until};

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A server with a certificate made in memory, a listener with TLS and one without.
fn self_signed(site: &Site, config: &str) -> Server {
    Launch::of(site.root())
        .config(config)
        .args(&["--self-signed"])
        .listen("https://127.0.0.1:0")
        .listen("127.0.0.1:0")
        .start()
}

fn open(server: &Server, config: &Arc<ClientConfig>) -> SecureStream {
    connect(server.tls_address(), config).expect("a handshake")
}

fn ask(stream: &mut SecureStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).expect("a request");
    let answer = read_answer(stream).expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn plain_requests_are_redirected_to_the_port_with_tls_and_hsts_is_sent_there_alone() {
    let site = Site::new();
    let server = self_signed(&site, "https_redirect = true\nhsts = 300\n");
    let port = server.tls_address().port();
    let plain = server.connect().get("/a%20b?c=d");
    assert_eq!(plain.status, 308);
    let location = format!("https://test:{port}/a%20b?c=d");
    assert_eq!(plain.field("location"), Some(&*location));
    assert_eq!(plain.field("strict-transport-security"), None);
    let challenge = "/.well-known/acme-challenge/none";
    assert_eq!(server.connect().get(challenge).status, 404);
    for version in [&TLS12, &TLS13] {
        let mut stream = open(&server, &client(version));
        for left in ["max=999", "max=998"] {
            let answer = ask(&mut stream, GET);
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            assert!(answer.contains("\r\nStrict-Transport-Security: max-age=300\r\n"));
            assert!(answer.contains(left), "{answer}");
        }
    }
}

/// Nagle's algorithm holds the request of such a client until the end of the handshake is acknowledged, and we send
/// nothing then. Linux then acknowledges after 40 ms at the earliest.
#[test]
fn a_client_with_nagles_algorithm_gets_its_first_answer_at_once() {
    let site = Site::new();
    let server = self_signed(&site, "");
    for version in [&TLS12, &TLS13] {
        // Later connections resume the session: then the client's last message ends the handshake of TLS 1.2 too.
        let config = client(version);
        let quickest = std::iter::repeat_with(|| {
            let socket = TcpStream::connect(server.tls_address()).expect("connect");
            socket.set_nodelay(false).expect("Nagle's algorithm");
            let mut stream = handshake(socket, &config).expect("a handshake");
            let start = Instant::now();
            assert!(ask(&mut stream, GET).contains("max=999"));
            start.elapsed()
        });
        let quickest = quickest.skip(1).take(10).min();
        // A busy machine may delay some answers, but not each.
        let limit = Duration::from_millis(30);
        assert!(quickest < Some(limit), "{version:?}: {quickest:?}");
    }
}

/// Handshakes go on while the certificate changes, and the connections of before stay.
#[test]
fn a_renewed_certificate_is_used_within_two_seconds_and_no_handshake_fails() {
    let site = Site::new();
    let authority = Authority::new();
    let files = authority.issue_local();
    let server = Launch::of(site.root())
        .config(&files.settings())
        .listen("https://127.0.0.1:0")
        .start();
    let config = client(&TLS13);
    let shown = |stream: &SecureStream| {
        let chain = stream.conn.peer_certificates().expect("a certificate");
        chain[0].clone()
    };
    let mut before = open(&server, &config);
    let old = shown(&before);
    authority.issue_local();
    let start = Instant::now();
    while shown(&open(&server, &config)) == old {
        assert!(
            start.elapsed() < Duration::from_secs(2),
            "{}",
            server.stderr()
        );
        thread::sleep(Duration::from_millis(20));
    }
    assert!(ask(&mut before, GET).starts_with("HTTP/1.1 200 "));
    // A key that does not match keeps the pair in use.
    let new = shown(&open(&server, &config));
    std::fs::write(&files.key, "no key").expect("a file");
    server.wait_for("no private key");
    assert_eq!(shown(&open(&server, &config)), new);
}

#[test]
fn a_renewed_certificate_that_covers_fewer_names_is_reported() {
    let site = Site::new();
    let authority = Authority::new();
    let files = authority.issue(&["a.example", "b.example"]);
    let host = format!("[[host]]\nname = \"b.example\"\nroot = {:?}\n", site.root());
    let config = files.settings() + &host;
    let server = Launch::of(site.root())
        .config(&config)
        .listen("https://127.0.0.1:0")
        .start();
    assert!(!server.stderr().contains("does not cover"));
    authority.issue(&["a.example"]);
    server.wait_for("does not cover b.example, so clients refuse it there");
}

#[test]
fn a_handshake_that_is_late_ends_and_others_go_on() {
    let site = Site::new();
    let server = self_signed(&site, "timeouts.handshake = 1\n");
    let mut silent = TcpStream::connect(server.tls_address()).expect("a connection");
    let mut half = TcpStream::connect(server.tls_address()).expect("a connection");
    half.write_all(&[22, 3, 1, 2, 0, 1])
        .expect("half a ClientHello");
    for stream in [&mut silent, &mut half] {
        let patience = Some(Duration::from_secs(10));
        stream.set_read_timeout(patience).expect("a timeout");
        let ended = std::io::Read::read(stream, &mut [0; 64]);
        assert!(matches!(ended, Ok(0)), "{ended:?}");
    }
    let mut stream = open(&server, &client(&TLS13));
    assert!(ask(&mut stream, GET).starts_with("HTTP/1.1 200 "));
    until("both are counted", || {
        counter(&server, "closes_total{reason=\"tls\"}") == 2
    });
}

/// A client that has had the server's part of the handshake, and has not answered it.
fn begun(server: &Server, config: &Arc<ClientConfig>) -> SecureStream {
    let mut socket = TcpStream::connect(server.tls_address()).expect("connect");
    let mut session = session(config);
    session.write_tls(&mut socket).expect("a ClientHello");
    while session.is_handshaking() {
        session.read_tls(&mut socket).expect("the server's part");
        session.process_new_packets().expect("the server's part");
    }
    SecureStream::new(session, socket)
}

#[test]
fn a_handshake_above_the_limit_ends_the_first_one() {
    let site = Site::new();
    let server = self_signed(&site, "limits.handshakes = 2\ntimeouts.handshake = 300\n");
    let config = client(&TLS13);
    let mut all = [0; 3].map(|_| begun(&server, &config));
    let answers = all.each_mut().map(|stream| {
        let asked = stream.write_all(GET.as_bytes());
        asked.and_then(|()| read_answer(stream)).is_ok()
    });
    assert_eq!(answers, [false, true, true]);
}

#[test]
fn a_drain_keeps_the_promise_over_tls() {
    let site = Site::new();
    let config = "keep_alive = { timeout = 2, grace = 1 }\n";
    let server = self_signed(&site, config);
    let mut stream = open(&server, &client(&TLS13));
    ask(&mut stream, GET);
    server.signal(Signal::TERM);
    server.wait_for("draining");
    thread::sleep(Duration::from_millis(1_500));
    let answer = ask(&mut stream, GET);
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    drop(stream);
    assert_eq!(server.ended().code, Some(0));
}
