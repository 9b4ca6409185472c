//! A request that memory can answer, with a small file or a 404, allocates nothing: from the received bytes
//! to the sent ones it uses the worker's buffers and the contents of the caches.
//!
//! The session, the buffers and the site are the real ones; the socket is scripted, and the test sets the
//! time. Linking `allocation_counter` puts its allocator, which counts per thread, in front of the system's
//! for this program.

use std::fs;
use std::num::NonZeroU32;

use abide::clock::Millis;
use abide::config::{AccessLogFormat, AccessLogTarget, Config, SinglePageApp, SiteConfig};
use abide::connection::peer::Peer as Address;
use abide::connection::server_context::ServerContext;
use abide::connection::session::Outcome;
use abide::connection::tls::TlsStream;
use abide::site::{MayBlock, Sites};
use support::scripted::ScriptedPeer;
use support::tls_line::{TLS12, TLS13, TlsServer, client};
use support::turns::SingleSession;
use tempfile::TempDir;

const REQUESTS: u64 = 10_000;

/// The number of requests after which every buffer has its size and the file is in the cache.
const WARM_UP: u64 = 100;

/// Milliseconds from one turn to the next. Ten thousand of them cross ten seconds. In each second the date
/// changes and the file is compared with the disk.
const STEP_MILLIS: u64 = 1;

/// Roughly the fields that browsers and load generators send.
const FIELDS: &str = "Host: www.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
    Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en\r\n\
    Accept-Encoding: gzip, br\r\nCookie: a=1; b=2\r\n";

/// A server of one worker, for one connection.
struct World {
    context: ServerContext,
    single: SingleSession,
    now: Millis,
    directory: TempDir,
}

impl World {
    fn new(file_bytes: usize, has_log: bool) -> World {
        World::logging(file_bytes, has_log.then_some(AccessLogFormat::Common))
    }

    fn logging(file_bytes: usize, log: Option<AccessLogFormat>) -> World {
        World::configured(file_bytes, |config| {
            if let Some(format) = log {
                config.access_log.target = Some(AccessLogTarget::Stdout);
                config.access_log.format = format;
                config.access_log.host = true;
            }
        })
    }

    fn configured(file_bytes: usize, configure: impl FnOnce(&mut Config)) -> World {
        let directory = TempDir::new().expect("a temporary directory");
        let content: Vec<u8> = (0..file_bytes).map(|i| b'a' + (i % 23) as u8).collect();
        fs::write(directory.path().join("file.html"), content).expect("a file");
        let mut config = Config {
            site: SiteConfig::at(directory.path()),
            ..Config::default()
        };
        config.keep_alive.max_requests = NonZeroU32::new(1_000_000_000).expect("not zero");
        configure(&mut config);
        let site = Sites::open(&config).expect("the site");
        let context = ServerContext::new(config, site);
        // An address is part of each line of the log.
        let address = Address::Ip("192.0.2.77".parse().expect("an address"));
        World {
            single: SingleSession::accepted(&context, address),
            context,
            now: Millis(0),
            directory,
        }
    }

    /// Gives the session a turn, in which `peer` sends `request` and takes the answer.
    fn turn(&mut self, peer: &mut ScriptedPeer, request: &[u8]) {
        peer.sent.clear();
        peer.arrive(request);
        self.now.0 += STEP_MILLIS;
        let (context, now) = (&self.context, self.now);
        let outcome = self
            .single
            .turn(context, peer, now, MayBlock::Anywhere, false);
        assert_eq!(outcome, Outcome::Wait);
        let deadline = self.single.session.next_deadline(context, now);
        assert!(deadline.is_between_requests());
        // Clears the lines, as the worker does after writing them.
        if let Some(log) = &mut self.single.buffers.log {
            let ends_in_a_line = log.lines().ends_with(b"\n");
            assert!(ends_in_a_line);
            log.lines().clear();
        }
    }

    /// Allocations in `REQUESTS` turns, after the warm-up. Each answer begins with `expected`.
    fn allocations(&mut self, request: &[u8], expected: &str) -> u64 {
        let mut peer = ScriptedPeer::new();
        for _ in 0..WARM_UP {
            self.turn(&mut peer, request);
        }
        let size = peer.sent.len();
        let counted = allocation_counter::measure(|| {
            for _ in 0..REQUESTS {
                self.turn(&mut peer, request);
                assert!(peer.sent.starts_with(expected.as_bytes()));
            }
        });
        // `max` in the Keep-Alive field counts down, and may lose a digit.
        assert!(peer.sent.len().abs_diff(size) <= 64, "an answer differs");
        counted.count_total
    }

    /// The beginning of the answer to `request`, with its whole head.
    fn head(&mut self, request: &str) -> String {
        let mut peer = ScriptedPeer::new();
        self.turn(&mut peer, request.as_bytes());
        String::from_utf8_lossy(&peer.sent).into_owned()
    }

    /// The entity-tag of the file.
    fn etag(&mut self) -> String {
        let answer = self.head(&request("HEAD", ""));
        let line = answer.lines().find_map(|line| line.strip_prefix("ETag: "));
        line.expect("an entity-tag").to_owned()
    }
}

fn request(method: &str, fields: &str) -> String {
    format!("{method} /file.html HTTP/1.1\r\n{FIELDS}{fields}\r\n")
}

#[test]
fn the_counter_counts() {
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(1))));
    assert_eq!(counted.count_total, 1);
}

#[test]
fn get_of_a_cached_file_allocates_nothing() {
    let get = request("GET", "");
    let allocations = World::new(1_024, false).allocations(get.as_bytes(), "HTTP/1.1 200 ");
    assert_eq!(allocations, 0, "in {REQUESTS} requests");
}

#[test]
fn head_allocates_nothing() {
    let head = request("HEAD", "");
    let allocations = World::new(1_024, false).allocations(head.as_bytes(), "HTTP/1.1 200 ");
    assert_eq!(allocations, 0, "in {REQUESTS} requests");
}

#[test]
fn a_304_allocates_nothing() {
    let mut world = World::new(1_024, false);
    let etag = world.etag();
    let conditional = request("GET", &format!("If-None-Match: {etag}\r\n"));
    let allocations = world.allocations(conditional.as_bytes(), "HTTP/1.1 304 ");
    assert_eq!(allocations, 0, "in {REQUESTS} requests");
}

/// A request for a path without a file.
fn request_for(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\n{FIELDS}\r\n")
}

#[test]
fn a_404_allocates_nothing_with_our_page_or_the_sites() {
    for has_page in [false, true] {
        for (method, path) in [
            ("GET", "/none.html"),
            ("HEAD", "/none.html"),
            ("GET", "/.git"),
        ] {
            let mut world = World::new(1_024, false);
            if has_page {
                fs::write(world.directory.path().join("404.html"), "None.").expect("a page");
            }
            let request = request_for(method, path);
            let allocations = world.allocations(request.as_bytes(), "HTTP/1.1 404 ");
            assert_eq!(allocations, 0, "in {REQUESTS} requests: {method} {path}");
        }
    }
}

#[test]
fn a_redirect_to_the_slash_allocates_nothing() {
    let mut world = World::new(1_024, false);
    fs::create_dir(world.directory.path().join("guide")).expect("a directory");
    let get = request_for("GET", "/guide");
    let allocations = world.allocations(get.as_bytes(), "HTTP/1.1 301 ");
    assert_eq!(allocations, 0, "in {REQUESTS} requests");
}

#[test]
fn with_rules_and_an_application_nothing_more_is_allocated() {
    let rules = |config: &mut Config| {
        let cors = "https://a.example".parse().expect("an origin");
        config.site.security = true;
        config.site.cors = vec![cors];
        config.site.spa = vec![SinglePageApp::everywhere("/file.html")];
    };
    for (path, line) in [
        ("/file.html", "HTTP/1.1 200 "),
        ("/none.html", "HTTP/1.1 "),
        ("/.git", "HTTP/1.1 404 "),
    ] {
        let mut world = World::configured(1_024, rules);
        let request = request_for("GET", path);
        let allocations = world.allocations(request.as_bytes(), line);
        assert_eq!(allocations, 0, "in {REQUESTS} requests: {path}");
    }
}

#[test]
fn refusals_and_options_allocate_nothing() {
    for (method, line) in [("DELETE", "HTTP/1.1 405 "), ("OPTIONS", "HTTP/1.1 200 ")] {
        let request = request_for(method, "/file.html");
        let allocations = World::new(1_024, false).allocations(request.as_bytes(), line);
        assert_eq!(allocations, 0, "in {REQUESTS} requests: {method}");
    }
}

#[test]
fn pipelined_requests_allocate_nothing() {
    let sixteen = request("GET", "").repeat(16);
    let allocations = World::new(1_024, false).allocations(sixteen.as_bytes(), "HTTP/1.1 200 ");
    assert_eq!(allocations, 0, "in {REQUESTS} times 16 requests");
}

#[test]
fn a_line_of_the_access_log_allocates_nothing() {
    use AccessLogFormat::{Combined, Common, Extended, Json};
    let get = request("GET", "Referer: http://www.example.com/\"\u{e4}\r\n");
    for format in [Common, Combined, Extended, Json] {
        for file_bytes in [1_024, 12_000] {
            let mut world = World::logging(file_bytes, Some(format));
            let allocations = world.allocations(get.as_bytes(), "HTTP/1.1 200 ");
            assert_eq!(allocations, 0, "in {REQUESTS} requests, {format:?}");
        }
    }
}

#[test]
fn a_cached_file_that_is_sent_beside_its_head_allocates_nothing() {
    let get = request("GET", "");
    let allocations = World::new(12_000, false).allocations(get.as_bytes(), "HTTP/1.1 200 ");
    assert_eq!(allocations, 0, "in {REQUESTS} requests");
}

/// The usual request with another Accept-Encoding.
fn request_accepting(codings: &str) -> String {
    let usual = "Accept-Encoding: gzip, br\r\n";
    assert!(FIELDS.contains(usual));
    request("GET", "").replace(usual, &format!("Accept-Encoding: {codings}\r\n"))
}

#[test]
fn every_variant_of_a_cached_file_allocates_nothing() {
    for (codings, line) in [
        ("br", "\r\nContent-Encoding: br\r\n"),
        ("zstd;q=0.5, gzip", "\r\nContent-Encoding: gzip\r\n"),
        ("gzip;q=0.1, *", "\r\nContent-Encoding: br\r\n"),
        ("identity", "\r\nContent-Length: 12000\r\n"),
    ] {
        let mut world = World::new(12_000, false);
        let get = request_accepting(codings);
        let allocations = world.allocations(get.as_bytes(), "HTTP/1.1 200 ");
        assert_eq!(allocations, 0, "in {REQUESTS} requests: {codings}");
        let head = world.head(&get);
        assert!(head.contains(line), "{head}");
    }
}

/// rustls allocates the content of each record that it reads, and each record that it writes. Nothing else is
/// allocated.
#[test]
fn a_request_over_tls_allocates_what_rustls_does() {
    for version in [&TLS12, &TLS13] {
        let files = [("file.html", vec![b'a'; 1_024])];
        let mut server = TlsServer::new(&files, |config| {
            config.keep_alive.max_requests = NonZeroU32::new(1_000_000).expect("not zero");
        });
        let mut line = server.connect(&client(version), Millis(0));
        server.settle(&mut line, Millis(0));
        let get = request("GET", "");
        let mut requests = Vec::new();
        for _ in 0..WARM_UP + REQUESTS {
            line.write(get.as_bytes());
            let mut record = Vec::new();
            line.client.write_tls(&mut record).expect("to memory");
            requests.push(record);
        }
        let mut ask = |record: &[u8]| {
            line.peer().sent.clear();
            line.peer().arrive(record);
            assert_eq!(server.turn(&mut line, Millis(0)), Outcome::Wait);
            assert!(line.peer().sent.len() > 200);
        };
        let (warm_up, measured) = requests.split_at(WARM_UP as usize);
        warm_up.iter().for_each(|record| ask(record));
        let counted =
            allocation_counter::measure(|| measured.iter().for_each(|record| ask(record)));
        // The buffers of the scripted peer grow a few times.
        let allocations = counted.count_total;
        assert!(
            allocations.abs_diff(2 * REQUESTS) < 20,
            "{allocations} in {REQUESTS} requests"
        );
    }
}

/// The heap of an idle connection, without the client's, and without the two keys of 0.6 KB each that the C library
/// below rustls allocates: together less than 4 KiB. (`cargo bench --bench idle` measures all.)
#[test]
fn an_idle_connection_over_tls_holds_no_record_buffers() {
    for version in [&TLS12, &TLS13] {
        let files = [("file.html", vec![b'a'; 1_024])];
        let mut server = TlsServer::new(&files, |_| {});
        let get = request("GET", "");
        let mut held = Vec::new();
        for _ in 0..10 {
            let mut line = server.connect(&client(version), Millis(0));
            let mut bytes = size_of_val(&line.session) as i64 + size_of_val(&line.socket) as i64;
            for round in 0..6 {
                if round == 4 {
                    line.write(get.as_bytes());
                }
                line.carry(usize::MAX);
                // The scripted peer keeps what is sent.
                line.peer().sent.reserve(64 * 1024);
                let counted = allocation_counter::measure(|| {
                    server.turn(&mut line, Millis(0));
                });
                bytes += counted.bytes_current;
            }
            assert!(!line.client.is_handshaking());
            held.push(bytes + size_of::<TlsStream>() as i64);
        }
        // The first connection fills the cache and the buffers of the thread.
        assert!(held.last().is_some_and(|bytes| *bytes < 2_800), "{held:?}");
    }
}
