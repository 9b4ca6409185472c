//! The cost of a turn in user space: all work between receiving a request and sending its answer, with both
//! system calls left out. The session, the buffers and the site are the real ones. The clock does not move.

use std::fs::{self, File};
use std::hint::black_box;
use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;

use abide::clock::{Millis, Now};
use abide::config::{Config, SiteConfig};
use abide::connection::counters::Counters;
use abide::connection::peer::Peer;
use abide::connection::server_context::ServerContext;
use abide::connection::session::{Outcome, Session, Turn};
use abide::connection::thread_buffers::ThreadBuffers;
use abide::connection::transport::Transport;
use abide::site::{MayBlock, Sites};
use criterion::{Criterion, criterion_group, criterion_main};

/// The first second of 2100: the files are older, whenever this runs.
const NOW: Now = Now {
    monotonic: Millis(0),
    unix_secs: 4_102_444_800,
};

/// The header fields of a load generator.
const SPARSE: &str = "Host: 127.0.0.1:8080\r\n";

/// The header fields of a browser, roughly.
const FULL: &str = "Host: www.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
    Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en\r\n\
    Accept-Encoding: identity\r\nReferer: https://www.example.com/\r\nCookie: a=1; b=2\r\n";

/// A socket that receives the same bytes in each turn, and accepts every answer at once.
struct Scripted<'a> {
    request: &'a [u8],
    is_due: bool,
    answer: Vec<u8>,
}

impl Transport for Scripted<'_> {
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !std::mem::take(&mut self.is_due) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        buffer[..self.request.len()].copy_from_slice(self.request);
        Ok(self.request.len())
    }

    fn send(&mut self, first: &[u8], second: &[u8], _: bool) -> io::Result<usize> {
        black_box((first, second));
        if self.answer.is_empty() {
            self.answer = [first, second].concat();
        }
        Ok(first.len() + second.len())
    }

    fn send_file(&mut self, _: &File, _: u64, count: usize) -> io::Result<usize> {
        Ok(count)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn unacknowledged(&mut self) -> io::Result<u64> {
        Ok(0)
    }

    fn abort(&mut self) {}
}

/// Measures turns that answer `request`, after checking that the status is `status`.
fn measure(
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    context: &ServerContext,
    name: &str,
    request: &str,
    status: &str,
) -> String {
    let mut buffers = ThreadBuffers::new(&context.config, Arc::new(Counters::default()));
    let mut session = Session::accepted(Peer::Unix, NOW.monotonic);
    let mut socket = Scripted {
        request: request.as_bytes(),
        is_due: false,
        answer: Vec::new(),
    };
    let mut turn = |may_block| {
        socket.is_due = true;
        let mut turn = Turn {
            io: &mut socket,
            buffers: &mut buffers,
            context,
            now: NOW,
            may_block,
            read_closed: false,
            gives_up: false,
            is_over: &|| false,
        };
        let outcome = session.turn(&mut turn);
        assert_eq!(outcome, Outcome::Wait, "{name} is answered in one turn");
        session.next_deadline(context, NOW.monotonic)
    };
    let _ = turn(MayBlock::Anywhere);
    group.bench_function(name, |bencher| bencher.iter(|| turn(MayBlock::Never)));
    let answer = String::from_utf8_lossy(&socket.answer).into_owned();
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
