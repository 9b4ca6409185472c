//! The PROXY protocol: a proxy that forwards bytes names the client in a header before the first request.
//! `src/http/proxy_protocol` tests the header itself, `tests/foreign/proxies` has HAProxy and nginx in front.
//!
//! Addresses of 127.0.0.0/8 stand for the proxy and for strangers, so no network is needed.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use abide::config::{Config, ListenAddress};
use abide::connection::counters::CloseReason;
use abide::connection::server_context::Mode;
use rustix::process::Signal;
use support::client::request;
use support::counters::{closes, counter};
use support::{Client, InProcess, Launch, Server, Site, until};

use super::pressure::{closed, expect_open, is_closed};

/// The proxy.
const PROXY: &str = "127.0.0.1";

/// Somebody else on the network of the proxy.
const STRANGER: &str = "127.0.0.2";

const CLIENT: &str = "203.0.113.7";

fn header(client: &str) -> String {
    format!("PROXY TCP4 {client} 127.0.0.1 4711 80\r\n")
}

/// The bytes of version 2 for CLIENT.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\x7f\0\0\x01\x12\x67\0\x50";

/// A health check of version 2.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// A server that expects the header, and writes an access log.
struct Logging {
    server: Server,
    log: PathBuf,
    _site: Site,
}

impl Logging {
    fn start(listen: impl Fn(&Site) -> String) -> Logging {
        let site = Site::new();
        let log = site.beside("log");
        let config = format!(
            "trusted_proxies = ['{PROXY}', '10.0.0.0/8']\n[access_log]\npath = '{}'\n",
            log.display()
        );
        let server = Launch::of(site.root())
            .config(&config)
            .listen(&listen(&site))
            .start();
        Logging {
            server,
            log,
            _site: site,
        }
    }

    /// Ends the server; returns the clients of the log, each with its target.
    fn logged(self) -> Vec<(String, String)> {
        self.server.signal(Signal::TERM);
        let ended = self.server.ended();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let log = fs::read_to_string(self.log).expect("the log");
        let part = |line: &str, number: usize| {
            let part = line.split(' ').nth(number);
            part.expect("a line of the common format").to_owned()
        };
        log.lines()
            .map(|line| (part(line, 0), part(line, 6)))
            .collect()
    }
}

fn of_tcp(_: &Site) -> String {
    "proxy+http://127.0.0.1:0".to_owned()
}

/// A proxy that forwards bytes unread leaves X-Forwarded-For to the client.
#[test]
fn behind_a_header_without_a_client_forwarded_for_does_not_count() {
    let logging = Logging::start(of_tcp);
    for header in [&b"PROXY UNKNOWN\r\n"[..], LOCAL] {
        let mut proxy = logging.server.connect();
        proxy.send(header);
        proxy.ask_with("GET", "/", "X-Forwarded-For: 203.0.113.66\r\n");
    }
    until("the lines are in the log", || {
        let log = fs::read_to_string(&logging.log).unwrap_or_default();
        assert!(!log.contains("203.0.113.66"), "{log}");
        log.lines().filter(|line| line.starts_with(PROXY)).count() == 2
    });
}

#[test]
fn the_client_of_the_header_is_the_one_that_is_logged() {
    let logging = Logging::start(of_tcp);
    assert!(logging.server.listening()[0].starts_with("proxy+http://127.0.0.1:"));
    let text = header("2001:db8::7")
        .replace("TCP4", "TCP6")
        .replace(PROXY, "::1");
    let mut expected = Vec::new();
    for (number, (header, client)) in [
        (header(CLIENT).as_bytes(), CLIENT),
        (text.as_bytes(), "2001:db8::7"),
        (V2, CLIENT),
        (b"PROXY UNKNOWN\r\n", PROXY),
        (LOCAL, PROXY),
    ]
    .into_iter()
    .enumerate()
    {
        let target = format!("/?{number}");
        let request = request("GET", &target, "");
        let whole = [header, request.as_bytes()].concat();
        // Whole; the header alone; byte by byte.
        for pieces in [
            vec![&whole[..]],
            vec![header, request.as_bytes()],
            whole.chunks(1).collect(),
        ] {
            let mut proxy = logging.server.connect();
            for piece in pieces {
                proxy.send(piece);
            }
            let answer = proxy.answer();
            assert!(answer.status == 200 && answer.persists(), "{}", answer.head);
            // The header comes once for all requests of a connection.
            assert_eq!(proxy.get(&target).status, 200);
            expected.extend([
                (client.to_owned(), target.clone()),
                (client.to_owned(), target.clone()),
            ]);
        }
    }
    let mut logged = logging.logged();
    logged.sort();
    expected.sort();
    assert_eq!(logged, expected);
}

#[test]
fn a_client_cannot_claim_another_address_by_a_field() {
    let logging = Logging::start(of_tcp);
    for (client, target) in [(CLIENT, "/?direct"), ("10.0.0.1", "/?by-another-proxy")] {
        let mut proxy = logging.server.connect();
        proxy.send(header(client));
        proxy.ask_with("GET", target, "X-Forwarded-For: 198.51.100.9\r\n");
    }
    let owned = |client: &str, target: &str| (client.to_owned(), target.to_owned());
    let expected = [
        owned(CLIENT, "/?direct"),
        owned("198.51.100.9", "/?by-another-proxy"),
    ];
    assert_eq!(logging.logged(), expected);
}

#[test]
fn over_a_unix_socket_the_header_is_believed() {
    let logging = Logging::start(|site| format!("proxy+unix:{}", site.beside("socket").display()));
    let url = logging.server.listening().remove(0);
    let path = url.strip_prefix("proxy+unix:").expect("the path");
    let mut proxy = Client::connect_unix(path.as_ref());
    proxy.send(V2);
    assert_eq!(proxy.get("/").status, 200);
    drop(proxy);
    assert_eq!(logging.logged(), [(CLIENT.to_owned(), "/".to_owned())]);
}

/// Expects that the server ends the connection without a word.
fn expect_silent_end(client: &mut Client) {
    // Bytes that the server has not read make its close a reset.
    let (Ok(said) | Err((said, _))) = client.try_rest();
    assert!(said.is_empty(), "{}", said.escape_ascii());
}

#[test]
fn all_other_connections_are_closed_and_counted() {
    let site = Site::new();
    let server = Launch::of(site.root())
        .config(&format!("trusted_proxies = ['{PROXY}']\n"))
        .listen("proxy+http://127.0.0.1:0")
        .start();
    let get = request("GET", "/", "");
    let mut invalid = 0;
    for bytes in [
        get.as_bytes(),
        b"PROXY TCP4 a b 1 2\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x11",
    ] {
        let mut proxy = server.connect();
        proxy.send(bytes);
        expect_silent_end(&mut proxy);
        invalid += 1;
    }
    let mut cut_off = server.connect();
    cut_off.send("PROXY TCP4");
    cut_off.half_close();
    expect_silent_end(&mut cut_off);
    // A stranger is not asked for a header.
    let mut stranger = Client::connect_from(STRANGER, server.address());
    let _ = stranger.try_send(header(CLIENT) + &get);
    expect_silent_end(&mut stranger);
    invalid += 2;
    assert_eq!(closes(&server, "proxy_header"), invalid);
    assert_eq!(counter(&server, "connections_accepted_total"), invalid);
    assert_eq!(counter(&server, "requests_total"), 0);
    assert_eq!(counter(&server, "connections_open"), 0);
}

#[test]
fn a_health_check_is_no_error() {
    let logging = Logging::start(of_tcp);
    let checks = [&b""[..], LOCAL, b"PROXY UNKNOWN\r\n", V2];
    let mut count = 0;
    for bytes in checks {
        for is_reset in [false, true] {
            let mut proxy = logging.server.connect();
            proxy.send(bytes);
            count += 1;
            until("the server has accepted it", || {
                counter(&logging.server, "connections_accepted_total") == count
            });
            if is_reset {
                proxy.reset_on_drop();
            }
        }
    }
    let closed = || closes(&logging.server, "client_closed") + closes(&logging.server, "reset");
    until("the server has seen their ends", || closed() == count);
    assert_eq!(closes(&logging.server, "proxy_header"), 0);
    let said = logging.server.stderr();
    assert!(!said.contains("WARN") && !said.contains("ERROR"), "{said}");
    assert_eq!(logging.logged(), []);
}

/// A server under the test's clock that expects the header of a proxy.
fn proxied(site: &Site) -> Config {
    Config {
        listen: vec![ListenAddress {
            proxy_protocol: true,
            ..InProcess::config(site).listen.remove(0)
        }],
        trusted_proxies: vec![PROXY.parse().expect("an address")],
        ..InProcess::config(site)
    }
}

/// The connection of the proxy for `client`.
fn of(client: &str, server: &InProcess) -> Client {
    let mut proxy = server.connect();
    proxy.send(header(client));
    proxy
}

#[test]
fn the_header_has_five_seconds() {
    let site = Site::new();
    let mut config = proxied(&site);
    // Longer than five seconds, as all other timeouts.
    config.timeouts.linger_secs = 60;
    config.keep_alive.grace_secs = 60;
    let server = InProcess::start(config);
    let mut silent = server.connect();
    let mut slow = server.connect();
    slow.send("PROXY TCP4 ");
    let mut named = of(CLIENT, &server);
    expect_open(&server, 3);
    server.pass(4_500);
    assert!(!is_closed(&mut silent) && !is_closed(&mut slow));
    let passed = server.pass_until("both are closed", 2_000, || {
        is_closed(&mut silent) && is_closed(&mut slow)
    });
    assert!(passed < 1_500, "{passed} ms");
    expect_silent_end(&mut silent);
    let totals = server.handle.totals();
    assert_eq!(totals.closes(CloseReason::ProxyHeader), 2);
    // The first request has `timeouts.head` from the accept, as on other listeners.
    server.pass(9_000);
    assert_eq!(named.get("/").status, 200);
}

#[test]
fn a_client_is_counted_and_the_proxy_is_not() {
    let site = Site::new();
    let mut config = proxied(&site);
    config.limits.connections_per_ip = 2;
    let server = InProcess::start(config);
    let mut proxy: Vec<_> = (0..2).map(|_| of(CLIENT, &server)).collect();
    proxy
        .iter_mut()
        .for_each(|client| assert_eq!(client.get("/").status, 200));
    let mut third = of(CLIENT, &server);
    let refused = third.get("/");
    assert_eq!((refused.status, refused.persists()), (503, false));
    // Another client, and the proxy itself, any number of times.
    let mut others = vec![of("203.0.113.8", &server)];
    for _ in 0..3 {
        let mut check = server.connect();
        check.send(LOCAL);
        others.push(check);
    }
    others.iter_mut().for_each(Client::expect_usable);
    proxy.pop();
    until("the place is free again", || {
        of(CLIENT, &server).get("/").status == 200
    });
}

/// `pressure.rs` tests this rule for clients that connect without a proxy.
#[test]
fn near_its_limit_a_client_loses_connections_beyond_t() {
    let site = Site::new();
    let mut config = proxied(&site);
    config.keep_alive.timeout_secs = 20;
    config.keep_alive.grace_secs = 10;
    config.limits.connections_per_ip = 10;
    let server = InProcess::start(config);
    let mut idle: Vec<_> = (0..8).map(|_| of(CLIENT, &server)).collect();
    let mut other = of("203.0.113.8", &server);
    idle.iter_mut().for_each(Client::expect_usable);
    other.expect_usable();
    server.pass(27_000);
    assert!(!closed(&mut idle).contains(&true));
    let mut ninth = of(CLIENT, &server);
    ninth.send("GET / HTTP/1.1\r\nHo");
    server.pass_until("one makes room", 3_000, || {
        closed(&mut idle).contains(&true)
    });
    let count = closed(&mut idle).into_iter().filter(|it| *it).count();
    assert_eq!(count, 1, "there are eight left");
    assert!(!is_closed(&mut other), "its client has one");
    ninth.send("st: a\r\n\r\n");
    assert_eq!(ninth.answer().status, 200);
}

#[test]
fn at_the_limit_of_the_server_a_connection_without_a_header_gives_way() {
    let site = Site::new();
    let mut config = proxied(&site);
    config.limits.connections = 4;
    let server = InProcess::start(config);
    let mut silent: Vec<_> = (0..4).map(|_| server.connect()).collect();
    expect_open(&server, 4);
    server.pass(300);
    until("a request is served", || {
        let mut proxy = server.connect();
        let _ = proxy.try_send(header(CLIENT) + &request("GET", "/", ""));
        proxy
            .try_answer(true)
            .is_ok_and(|answer| answer.status == 200)
    });
    assert!(closed(&mut silent)[0], "the longest silent");
}

#[test]
fn a_header_that_comes_during_a_drain_is_followed_by_the_last_answer() {
    let site = Site::new();
    let server = InProcess::start(proxied(&site));
    let mut proxy = server.connect();
    let mut stopped = server.connect();
    expect_open(&server, 2);
    server.handle.enter(Mode::Draining);
    thread::sleep(Duration::from_millis(20));
    proxy.send(header(CLIENT));
    let answer = proxy.get("/");
    assert_eq!((answer.status, answer.persists()), (200, false));
    proxy.expect_end();
    server.handle.enter(Mode::Stopping);
    expect_silent_end(&mut stopped);
}

#[test]
fn a_listener_beside_it_expects_no_header() {
    let site = Site::new();
    let server = Launch::of(site.root())
        .config(&format!("trusted_proxies = ['{PROXY}']\n"))
        .listen("http://127.0.0.1:0")
        .listen("proxy+http://127.0.0.1:0")
        .start();
    let urls = server.listening();
    assert!(urls[0].starts_with("http://") && urls[1].starts_with("proxy+http://"));
    server.connect().expect_usable();
    let mut proxy = server.connect();
    proxy.send(header(CLIENT));
    assert_eq!(proxy.answer().status, 400);
}
