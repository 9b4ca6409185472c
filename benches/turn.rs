//! The cost of a turn in user space: all work between receiving a request and sending its answer, with both
//! system calls left out. The session, the buffers and the site are the real ones. The clock does not move.

use std::fs;
use std::num::NonZeroU32;

use abide::clock::Millis;
use abide::config::{Config, SiteConfig};
use abide::connection::peer::Peer as Address;
use abide::connection::server_context::ServerContext;
use abide::connection::session::Outcome;
use abide::site::{MayBlock, Sites};
use criterion::{Criterion, criterion_group, criterion_main};
use support::scripted::ScriptedPeer;
use support::turns::SingleSession;

/// Time stands still.
const NOW: Millis = Millis(0);

/// The header fields of a load generator.
const SPARSE: &str = "Host: 127.0.0.1:8080\r\n";

/// The header fields of a browser, roughly.
const FULL: &str = "Host: www.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
    Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en\r\n\
    Accept-Encoding: identity\r\nReferer: https://www.example.com/\r\nCookie: a=1; b=2\r\n";

/// Measures turns that are asked `request`, after checking that it is answered with `status`.
fn measure(
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    context: &ServerContext,
    name: &str,
    request: &str,
    status: &str,
) -> String {
    let mut single = SingleSession::accepted(context, Address::Unix);
    let mut peer = ScriptedPeer::new();
    let mut turn = |peer: &mut ScriptedPeer, may_block| {
        peer.arrive(request.as_bytes());
        let outcome = single.turn(context, peer, NOW, may_block, false);
        assert_eq!(outcome, Outcome::Wait, "{name} is answered in one turn");
        single.session.next_deadline(context, NOW)
    };
    let _ = turn(&mut peer, MayBlock::Anywhere);
    // Keeping the other answers would cost more than making them.
    peer.keeps = false;
    group.bench_function(name, |bencher| {
        bencher.iter(|| turn(&mut peer, MayBlock::Never))
    });
    let answer = String::from_utf8_lossy(&peer.sent).into_owned();
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status} ")),
        "{answer}"
    );
    answer
}

fn turns(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(directory.path().join("guide")).expect("a directory");
    fs::write(directory.path().join("1k.html"), [b'x'; 1024]).expect("a file");
    let mut config = Config {
        site: SiteConfig::at(directory.path()),
        ..Config::default()
    };
    config.keep_alive.max_requests = NonZeroU32::MAX;
    let sites = Sites::open(&config).expect("the site");
    let context = ServerContext::new(config, sites);
    let mut group = criterion.benchmark_group("turn");
    let get = format!("GET /1k.html HTTP/1.1\r\n{SPARSE}\r\n");
    let answer = measure(&mut group, &context, "200, wrk", &get, "200");
    let full = format!("GET /1k.html HTTP/1.1\r\n{FULL}\r\n");
    measure(&mut group, &context, "200, browser", &full, "200");
    let head = format!("HEAD /1k.html HTTP/1.1\r\n{SPARSE}\r\n");
    measure(&mut group, &context, "HEAD", &head, "200");
    let value = |name: &str| {
        let mut fields = answer.lines().filter_map(|line| line.split_once(": "));
        fields
            .find(|field| field.0 == name)
            .expect(name)
            .1
            .to_owned()
    };
    let conditional = format!(
        "GET /1k.html HTTP/1.1\r\n{SPARSE}If-None-Match: {}\r\nIf-Modified-Since: {}\r\n\r\n",
        value("ETag"),
        value("Last-Modified")
    );
    measure(&mut group, &context, "304", &conditional, "304");
    let missing = format!("GET /missing.html HTTP/1.1\r\n{SPARSE}\r\n");
    measure(&mut group, &context, "404", &missing, "404");
    let slashless = format!("GET /guide HTTP/1.1\r\n{SPARSE}\r\n");
    measure(&mut group, &context, "redirect", &slashless, "301");
    measure(&mut group, &context, "16 pipelined", &get.repeat(16), "200");
    group.finish();
}

criterion_group!(benches, turns);
criterion_main!(benches);
