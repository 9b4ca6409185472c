//! How long a response head takes to encode, as it is done for every request.

use std::hint::black_box;

use abide::http::keep_alive::Fate;
use abide::http::response::SharedLines;
use abide::http::response::{Body, Response, encode_head};
use abide::http::status::Status;
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn encode(criterion: &mut Criterion) {
    let fields = "ETag: \"400-6b034819.2b7\"\r\nLast-Modified: Sun, 22 Nov 2026 19:14:44 GMT\r\n\
                  Content-Type: text/html; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n";
    let response = Response {
        status: Status::OK,
        fields: Bytes::from_static(fields.as_bytes()),
        length: Some(1024),
        body: Body::Empty,
    };
    let fate = Fate::Persist { remaining: 999 };
    let mut shared = SharedLines::new(120);
    let mut out = Vec::with_capacity(1024);
    encode_head(&response, shared.at(1_795_374_884), fate, &mut out);
    let mut group = criterion.benchmark_group("response_head");
    group.throughput(Throughput::Bytes(out.len() as u64));
    group.bench_function("200 for a cached file", |bencher| {
        bencher.iter(|| {
            out.clear();
            let shared = shared.at(black_box(1_795_374_884));
            encode_head(black_box(&response), shared, black_box(fate), &mut out);
            black_box(&out);
        });
    });
    group.finish();
}

criterion_group!(benches, encode);
criterion_main!(benches);
