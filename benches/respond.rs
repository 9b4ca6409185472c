//! The cost of the site for a request: from a parsed head to a response. All is in memory, except the scan
//! of new names. There is no socket, and the clock does not move, so nothing is revalidated.

use std::fs;
use std::hint::black_box;
use std::io::Write;

use abide::clock::{Millis, Now};
use abide::config::{Config, SiteConfig};
use abide::http::request::{HeadLimits, Parsed, parse_head};
use abide::http::response::Response;
use abide::http::scheme::Scheme;
use abide::site::{MayBlock, Sites, WouldBlock};
use criterion::{
    BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime,
};
use support::turns::START_UNIX_SECS;

const LIMITS: HeadLimits = HeadLimits {
    target_bytes: 8192,
    head_bytes: 32768,
    headers: 100,
};

/// Time stands still.
const NOW: Now = Now {
    monotonic: Millis(0),
    unix_secs: START_UNIX_SECS,
};

/// The header fields of a browser, roughly.
const FIELDS: &str = "Host: www.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
    Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en\r\n\
    Accept-Encoding: gzip, br\r\nReferer: https://www.example.com/\r\nCookie: a=1; b=2\r\n";

fn in_memory(answer: Result<Response, WouldBlock>) -> Response {
    answer.expect("the content was loaded before")
}

/// Measures one request line, with `fields` in addition to the usual ones.
fn measure(group: &mut BenchmarkGroup<'_, WallTime>, site: &Sites, line: &str, fields: &str) {
    let request = format!("{line} HTTP/1.1\r\n{FIELDS}{fields}\r\n");
    let mut spans = Vec::new();
    let mut path = Vec::new();
    let Ok(Parsed::Complete { head, .. }) = parse_head(request.as_bytes(), &LIMITS, &mut spans)
    else {
        panic!("{request}")
    };
    let loaded = site.respond(&head, Scheme::Http, &mut path, MayBlock::Anywhere, NOW);
    let status = in_memory(loaded).status.code();
    group.bench_function(format!("{line} {status}"), |bencher| {
        bencher.iter(|| {
            site.respond(
                black_box(&head),
                Scheme::Http,
                &mut path,
                MayBlock::Never,
                NOW,
            )
            .expect("loaded")
        });
    });
}

/// Measures names that have not been requested before, so each needs an access to the disk.
fn measure_scan(group: &mut BenchmarkGroup<'_, WallTime>, site: &Sites) {
    let mut request = Vec::new();
    let mut number = 0;
    let mut spans = Vec::new();
    let mut path = Vec::new();
    group.bench_function("write, parse and GET a new name 404", |bencher| {
        bencher.iter(|| {
            number += 1;
            request.clear();
            write!(request, "GET /scan/{number}.php HTTP/1.1\r\n{FIELDS}\r\n").expect("room");
            match parse_head(&request, &LIMITS, &mut spans) {
                Ok(Parsed::Complete { head, .. }) => {
                    in_memory(site.respond(&head, Scheme::Http, &mut path, MayBlock::Anywhere, NOW))
                }
                other => panic!("{other:?}"),
            }
        });
    });
}

fn etag(site: &Sites) -> String {
    let mut spans = Vec::new();
    let request = "HEAD /guide/file.html HTTP/1.1\r\nHost: a\r\n\r\n";
    let Ok(Parsed::Complete { head, .. }) = parse_head(request.as_bytes(), &LIMITS, &mut spans)
    else {
        panic!("{request}")
    };
    let response = in_memory(site.respond(
        &head,
        Scheme::Http,
        &mut Vec::new(),
        MayBlock::Anywhere,
        NOW,
    ));
    let fields = String::from_utf8(response.fields.to_vec()).expect("fields are ASCII");
    let line = fields.lines().find(|line| line.starts_with("ETag: "));
    line.expect("an entity-tag")["ETag: ".len()..].to_owned()
}

fn respond(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(directory.path().join("guide")).expect("a directory");
    fs::write(directory.path().join("guide/file.html"), [b'x'; 1024]).expect("a file");
    let config = Config {
        site: SiteConfig::at(directory.path()),
        ..Config::default()
    };
    let site = Sites::open(&config).expect("the site");
    let mut group = criterion.benchmark_group("respond");
    measure(&mut group, &site, "GET /guide/file.html", "");
    measure(&mut group, &site, "HEAD /guide/file.html", "");
    let condition = format!("If-None-Match: {}\r\n", etag(&site));
    measure(&mut group, &site, "GET /guide/file.html", &condition);
    measure(&mut group, &site, "GET /guide/none.html", "");
    measure(&mut group, &site, "GET /guide", "");
    measure_scan(&mut group, &site);
    group.finish();
}

criterion_group!(benches, respond);
criterion_main!(benches);
