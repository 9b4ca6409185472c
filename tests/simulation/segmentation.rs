//! The answers do not depend on how the network cuts the bytes, in either direction.

use abide::clock::Millis;
use abide::connection::counters::CloseReason;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::Config as Cases;

use super::responses::{HeadRequests, Received, finals};
use super::world::{Act, LARGE, MEDIUM, SMALL, TestSite, World, content};
use support::scripted::ScriptedPeer;

/// Requests that one connection may make here.
const MAX_REQUESTS: u32 = 6;

/// A request and its expected answer.
#[derive(Debug, Clone)]
struct Exchange {
    bytes: Vec<u8>,
    is_head: bool,
    status: u16,
    body_len: Option<usize>,
    closes: bool,
}

fn cases(count: u32) -> Cases {
    Cases {
        failure_persistence: None,
        ..Cases::with_cases(count)
    }
}

/// A site whose settings let few requests end a connection.
fn site() -> TestSite {
    let mut site = TestSite::new();
    site.config.keep_alive.max_requests = MAX_REQUESTS.try_into().unwrap();
    site
}

fn read(method: &str, path: &str, fields: &str, status: u16, len: usize) -> Exchange {
    let is_head = method == "HEAD";
    Exchange {
        bytes: format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes(),
        is_head,
        status,
        body_len: Some(if is_head { 0 } else { len }),
        closes: false,
    }
}

/// A request with a body, which is refused after it was read.
fn post(fields: &str, body: &[u8]) -> Exchange {
    let head = format!("POST /small HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    Exchange {
        bytes: [head.as_bytes(), body].concat(),
        is_head: false,
        status: 405,
        body_len: None,
        closes: false,
    }
}

fn chunked(chunks: &[usize]) -> Vec<u8> {
    let mut body = Vec::new();
    for &len in chunks.iter().filter(|len| **len > 0) {
        body.extend(format!("{len:x};x=\"y\"\r\n").bytes());
        body.extend(content(len));
        body.extend(b"\r\n");
    }
    body.extend(b"0\r\nTrailer: t\r\n\r\n");
    body
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let method = prop_oneof![Just("GET"), Just("HEAD")];
    let file = prop_oneof![
        4 => Just(("/small", SMALL)),
        1 => Just(("/medium", MEDIUM)),
        1 => Just(("/large", LARGE)),
    ];
    let ordinary = (method, file)
        .prop_map(|(method, (path, len))| read(method, path, "User-Agent: t\r\n", 200, len));
    let close = || "Connection: close\r\n";
    prop_oneof![
        8 => ordinary,
        1 => Just(Exchange { body_len: None, ..read("GET", "/missing", "", 404, 0) }),
        1 => Just(read("GET", "/small", "If-None-Match: *\r\n", 304, 0)),
        1 => Just(Exchange { body_len: None, ..read("GET", "/small", "If-Match: \"x\"\r\n", 412, 0) }),
        1 => Just(read("OPTIONS", "*", "", 200, 0)),
        1 => Just(Exchange { closes: true, ..read("GET", "/small", close(), 200, SMALL) }),
        1 => Just(Exchange {
            bytes: b"GET /small HTTP/1.0\r\n\r\n".to_vec(),
            closes: true,
            ..read("GET", "/small", "", 200, SMALL)
        }),
        1 => Just(Exchange {
            bytes: b"\r\nGET /small HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_vec(),
            ..read("GET", "/small", "", 200, SMALL)
        }),
        1 => (0..2_000usize).prop_map(|len| {
            post(&format!("Content-Length: {len}\r\n"), &content(len))
        }),
        1 => vec(0..500usize, 0..4).prop_map(|chunks| {
            post("Transfer-Encoding: chunked\r\n", &chunked(&chunks))
        }),
        1 => Just(read_with_body()),
        1 => Just(Exchange {
            closes: true,
            ..post("Expect: 100-continue\r\nContent-Length: 5\r\n", b"12345")
        }),
    ]
}

/// GET with a body that waits for 100 (RFC 9110 section 10.1.1).
fn read_with_body() -> Exchange {
    let fields = "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n";
    let mut exchange = read("GET", "/small", fields, 200, SMALL);
    exchange.bytes.extend(chunked(&[9, 300]));
    exchange
}

/// Where the network cuts, and in which portions the socket takes the answers.
#[derive(Debug, Clone)]
struct Line {
    cuts: Vec<Index>,
    shares: Vec<usize>,
}

fn line() -> impl Strategy<Value = Line> {
    let share = prop_oneof![
        3 => Just(0usize),
        2 => 1..20usize,
        2 => 20..2_000usize,
        1 => 2_000..60_000usize,
    ];
    (vec(any::<Index>(), 0..8), vec(share, 0..8)).prop_map(|(cuts, mut shares)| {
        // Another test has a socket that never takes anything.
        if !shares.is_empty() {
            shares.push(4_096);
        }
        Line { cuts, shares }
    })
}

fn cut<'a>(input: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len())).collect();
    places.extend([0, input.len()]);
    places.sort_unstable();
    places
        .windows(2)
        .map(|pair| &input[pair[0]..pair[1]])
        .collect()
}

/// The bytes sent to a peer, and how its connection ended.
type ConnectionResult = (Vec<u8>, Option<(CloseReason, Millis)>);

/// Sends `input` over all `lines` at the same time. Their segments alternate on one set of buffers.
fn converse(
    world: &mut World,
    input: &[u8],
    is_closed: bool,
    lines: &[Line],
) -> Vec<ConnectionResult> {
    let segments: Vec<Vec<&[u8]>> = lines.iter().map(|line| cut(input, &line.cuts)).collect();
    let first = lines.iter().map(|line| {
        world.connect(ScriptedPeer {
            shares: line.shares.clone(),
            ..ScriptedPeer::new()
        })
    });
    let indices: Vec<usize> = first.collect();
    for round in 0..segments.iter().map(Vec::len).max().unwrap_or(0) {
        for (it, segments) in indices.iter().zip(&segments) {
            if let Some(segment) = segments.get(round) {
                world.send(Millis(0), *it, segment);
            }
        }
    }
    for it in indices.iter().filter(|_| is_closed) {
        world.schedule(Millis(0), *it, Act::Close);
    }
    world.run_to_end();
    let result = |it: &usize| (world.peer(*it).sent.clone(), world.closed(*it));
    indices.iter().map(result).collect()
}

/// All bytes at once, to a socket that takes everything.
fn straight() -> Line {
    Line {
        cuts: Vec::new(),
        shares: Vec::new(),
    }
}

fn assert_equal(results: &[ConnectionResult]) {
    for result in &results[1..] {
        let (expected, found) = (
            String::from_utf8_lossy(&results[0].0),
            String::from_utf8_lossy(&result.0),
        );
        assert_eq!(found, expected);
        assert_eq!(result.1, results[0].1);
    }
}

/// Checks that `max` goes down by one each time, and that the answer with `close` is the last.
fn assert_counts_down(answers: &[Received]) {
    for (before, answer) in (0..).zip(answers) {
        let is_last = before as usize + 1 == answers.len();
        match answer.max() {
            Some(max) => assert_eq!(max, MAX_REQUESTS - 1 - before, "{answer:?}"),
            None => assert!(is_last, "an answer follows {answer:?}"),
        }
    }
}

#[test]
fn every_request_is_answered_in_order_until_one_closes() {
    let stage = site().stage();
    proptest!(cases(96), |(exchanges in vec(exchange(), 1..9), line in line())| {
        let input: Vec<u8> = exchanges.iter().flat_map(|exchange| exchange.bytes.clone()).collect();
        let mut world = World::new(stage.clone());
        let (sent, _) = converse(&mut world, &input, true, &[line]).remove(0);

        let closing = exchanges.iter().position(|exchange| exchange.closes);
        let until = closing.map_or(exchanges.len(), |at| at + 1).min(MAX_REQUESTS as usize);
        let heads: Vec<bool> = exchanges.iter().map(|exchange| exchange.is_head).collect();
        let answers = finals(&sent, HeadRequests::Known(&heads));
        prop_assert_eq!(answers.len(), until);
        for (exchange, answer) in exchanges.iter().zip(&answers) {
            prop_assert_eq!(exchange.status, answer.status);
            if let Some(len) = exchange.body_len {
                prop_assert!(answer.body == content(len), "{} bytes", answer.body.len());
            }
        }
        let has_ended = closing.is_some_and(|at| at < until) || until == MAX_REQUESTS as usize;
        prop_assert_eq!(answers.last().and_then(Received::max).is_none(), has_ended);
        assert_counts_down(&answers);
    });
}

#[test]
fn every_segmentation_and_every_pattern_of_short_writes_gives_the_same_answers() {
    let stage = site().stage();
    let inputs = (vec(exchange(), 1..7), any::<bool>(), line(), line());
    proptest!(cases(48), |((exchanges, is_closed, one, other) in inputs)| {
        let input: Vec<u8> = exchanges.iter().flat_map(|exchange| exchange.bytes.clone()).collect();
        let mut world = World::new(stage.clone());
        assert_equal(&converse(&mut world, &input, is_closed, &[straight(), one, other]));
    });
}

#[test]
fn mutated_bytes_give_the_same_well_framed_answers_however_they_are_cut() {
    let stage = site().stage();
    let mutations = vec((any::<Index>(), any::<u8>()), 0..4);
    let inputs = (vec(exchange(), 1..6), mutations, any::<bool>(), line());
    proptest!(cases(96), |((exchanges, mutations, is_closed, line) in inputs)| {
        let mut input: Vec<u8> = exchanges.iter().flat_map(|exchange| exchange.bytes.clone()).collect();
        for (place, byte) in &mutations {
            let place = place.index(input.len());
            input[place] = *byte;
        }
        let mut world = World::new(stage.clone());
        let results = converse(&mut world, &input, is_closed, &[straight(), line]);
        assert_equal(&results);
        let answers = finals(&results[0].0, HeadRequests::Unknown);
        // One more than there were requests, because a mutation can cut one in two, and a 400 or 408 can
        // answer the rest at the end.
        prop_assert!(answers.len() <= exchanges.len() + 1 + mutations.len());
        assert_counts_down(&answers);
    });
}

#[test]
fn a_flood_of_pipelined_requests_is_answered_in_order_over_many_turns() {
    // RFC 9112 section 9.3.2
    let mut site = TestSite::new();
    site.config.keep_alive.max_requests = 1_000.try_into().unwrap();
    let mut world = site.world();
    let requests: Vec<Exchange> = (0..1_000)
        .map(|n| match n % 100 {
            50 => read("GET", "/large", "", 200, LARGE),
            n if n % 2 == 0 => read("HEAD", "/medium", "", 200, MEDIUM),
            _ => read("GET", "/small", "", 200, SMALL),
        })
        .collect();
    let input: Vec<u8> = requests
        .iter()
        .flat_map(|request| request.bytes.clone())
        .collect();
    let narrow = Line {
        shares: vec![9_000, 0, 0, 70_000],
        ..straight()
    };
    let results = converse(&mut world, &input, true, &[straight(), narrow]);
    assert_equal(&results);
    let heads: Vec<bool> = requests.iter().map(|request| request.is_head).collect();
    let answers = finals(&results[0].0, HeadRequests::Known(&heads));
    assert_eq!(answers.len(), 1_000);
    for (request, answer) in requests.iter().zip(&answers) {
        assert_eq!(request.body_len, Some(answer.body.len()));
    }
    let left: Vec<Option<u32>> = answers.iter().map(Received::max).collect();
    let promised: Vec<Option<u32>> = (1..1_000).rev().map(Some).chain([None]).collect();
    assert_eq!(left, promised);
    assert_eq!(results[0].1, Some((CloseReason::MaxRequests, Millis(0))));
}

#[test]
fn a_file_larger_than_a_turns_share_arrives_whole() {
    let stage = TestSite::new().stage();
    let size = 10 << 20;
    std::fs::write(stage.directory.path().join("film"), content(size)).unwrap();
    let mut world = World::new(stage);
    let exchange = read("GET", "/film", "", 200, size);
    let results = converse(&mut world, &exchange.bytes, true, &[straight()]);
    let answers = finals(&results[0].0, HeadRequests::Known(&[]));
    assert!(answers[0].body == content(size));
}

#[test]
fn byte_by_byte_is_a_segmentation_like_any_other() {
    let stage = site().stage();
    let mutation = proptest::option::of((any::<Index>(), any::<u8>()));
    let inputs = (vec(exchange(), 1..5), mutation, any::<bool>());
    proptest!(cases(24), |((exchanges, mutation, is_closed) in inputs)| {
        let mut input: Vec<u8> = exchanges.iter().flat_map(|exchange| exchange.bytes.clone()).collect();
        if let Some((place, byte)) = mutation {
            let place = place.index(input.len());
            input[place] = byte;
        }
        let mut world = World::new(stage.clone());
        assert_equal(&byte_by_byte(&mut world, &input, is_closed));
    });
}

/// The result of a connection that received `input` whole, and of one that received it in single bytes.
fn byte_by_byte(world: &mut World, input: &[u8], is_closed: bool) -> Vec<ConnectionResult> {
    let whole = world.connect(ScriptedPeer::new());
    let single = world.connect(ScriptedPeer::new());
    world.send(Millis(0), whole, input);
    for byte in input {
        world.send(Millis(0), single, [*byte]);
    }
    for it in [whole, single].into_iter().filter(|_| is_closed) {
        world.schedule(Millis(0), it, Act::Close);
    }
    world.run_to_end();
    [whole, single]
        .map(|it| (world.peer(it).sent.clone(), world.closed(it)))
        .to_vec()
}
