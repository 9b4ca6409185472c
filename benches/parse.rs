//! The cost of parsing a request head, beside `httparse`, which only splits it into tokens. Only abide
//! checks Host, target, framing and Connection.

use std::hint::black_box;
use std::mem::MaybeUninit;

use abide::http::request::{HeadLimits, Parsed, parse_head};
use abide::http::target::decode_path;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const LIMITS: HeadLimits = HeadLimits {
    target_bytes: 8192,
    head_bytes: 32768,
    headers: 100,
};

/// The request of a load generator.
const SHORT: &[u8] = b"GET /index.html HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";

/// A small browser request, about 200 bytes.
const BROWSER: &[u8] = b"GET /guide/getting-started.html HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0)\r\n\
    Accept: text/html,*/*;q=0.8\r\n\
    Accept-Encoding: gzip, deflate, br\r\n\
    Connection: keep-alive\r\n\r\n";

/// A current browser's request for a page, about 700 bytes.
const LONG: &[u8] = b"GET /guide/getting-started.html?ref=home HTTP/1.1\r\n\
    Host: www.example.com\r\n\
    Connection: keep-alive\r\n\
    sec-ch-ua: \"Chromium\";v=\"130\", \"Not?A_Brand\";v=\"99\"\r\n\
    sec-ch-ua-mobile: ?0\r\n\
    sec-ch-ua-platform: \"Linux\"\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/130.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-User: ?1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Referer: https://www.example.com/\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9\r\n\
    If-None-Match: \"5f3c-61e8a\"\r\n\r\n";

fn parse(c: &mut Criterion) {
    for (name, request) in [("short", SHORT), ("browser", BROWSER), ("long", LONG)] {
        let mut group = c.benchmark_group(format!("parse/{name}"));
        group.throughput(Throughput::Bytes(request.len() as u64));
        let mut spans = Vec::new();
        group.bench_function("abide", |b| {
            b.iter(
                || match parse_head(black_box(request), &LIMITS, &mut spans) {
                    Ok(Parsed::Complete { head, consumed }) => (head.framing, consumed),
                    other => panic!("{other:?}"),
                },
            );
        });
        group.bench_function("httparse", |b| {
            b.iter(|| {
                // Uninitialised, because clearing the headers costs more than parsing.
                let mut headers = [const { MaybeUninit::uninit() }; 100];
                let mut parsed = httparse::Request::new(&mut []);
                let consumed = parsed
                    .parse_with_uninit_headers(black_box(request), &mut headers)
                    .map(|status| status.unwrap());
                (parsed.headers.len(), consumed)
            });
        });
        group.finish();
    }
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode_path");
    let mut out = Vec::new();
    for (name, raw) in [
        ("plain", "/guide/getting-started.html"),
        ("escaped", "/guide/%C3%A9t%C3%A9/../getting%20started.html"),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| decode_path(black_box(raw.as_bytes()), &mut out));
        });
    }
    group.finish();
}

criterion_group!(benches, parse, decode);
criterion_main!(benches);
