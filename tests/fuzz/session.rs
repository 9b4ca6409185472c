//! A whole `connection::session::Session` with a scripted peer, a small site and simulated time.
//!
//! - The output is a sequence of well-framed responses (see [`super::responses`]).
//! - There are never more answers than requests, and never fewer without a reason to close.
//! - The cuts of the input, and the way in which the socket takes the output, change no byte of the output.
//! - A waiting session has read everything that will not be announced again, or is blocked on sending. Its
//!   deadline is not in the past.
//! - The session ends in a bounded number of turns: at the peer's FIN, or when time passes.
//! - The access log has one line per answer.

use std::num::NonZeroU32;
use std::sync::LazyLock;

use abide::clock::Millis;
use abide::config::{AccessLogFormat, AccessLogTarget, Config, SiteConfig};
use abide::connection::peer::Peer as Address;
use abide::connection::server_context::ServerContext;
use abide::connection::session::Outcome;
use abide::http::body::BodyDecoder;
use abide::http::request::{Expectation, HeadLimits, Parsed, parse_head};
use abide::site::MayBlock;
use abide::site::Sites;
use support::turns::SingleSession;

use super::peer::Course;
use super::responses::{self, Expected};
use super::script::{first_line, pieces, size};

/// The number of deadlines until a silent peer's session must have ended. From a request to the close there
/// are a look at the acknowledgement, the idle deadline or a timeout, and the end of lingering.
const MAX_DEADLINES: u32 = 8;

/// `input` is a script of arrivals, a script of the room in the socket, and the bytes that the peer sends.
/// A `!` before the first script makes a peer that never closes.
pub fn check(input: &[u8]) {
    let (arrivals, rest) = first_line(input);
    let (room, bytes) = first_line(rest);
    let (is_silent, arrivals) = match arrivals {
        [b'!', rest @ ..] => (true, rest),
        script => (false, script),
    };
    let whole = converse(Course::new(vec![bytes], Vec::new(), is_silent));
    let room = room.iter().map(|&step| size(step)).collect();
    let cut = converse(Course::new(pieces(arrivals, bytes), room, is_silent));
    let (whole, cut) = (comparable(whole), comparable(cut));
    assert!(
        whole == cut,
        "the output depends on the cuts:\n{}\n---\n{}",
        whole.escape_ascii(),
        cut.escape_ascii()
    );
    let expected = expected_answers(bytes);
    responses::check(&whole, &expected, &CONTEXT.config.keep_alive);
    // A bound that needs no parser of ours: every request ends in an empty line, and what follows the last
    // of these lines gets one answer at most.
    let empty_lines = bytes.windows(4).filter(|four| four == b"\r\n\r\n").count();
    assert!(expected.answers.len() <= empty_lines + 1);
}

/// One site and one configuration, with limits that a fuzzer reaches.
static CONTEXT: LazyLock<ServerContext> = LazyLock::new(|| {
    let mut config = Config {
        // Both `cargo test` and `longer.sh` start in the top directory.
        site: SiteConfig::at("tests/fuzz/session/site"),
        ..Config::default()
    };
    config.keep_alive.max_requests = NonZeroU32::new(6).expect("not zero");
    config.limits.target_bytes = 128;
    config.limits.head_bytes = 1_024;
    config.limits.headers = 12;
    config.limits.body_bytes = 300;
    // long.txt is larger and is sent with sendfile.
    config.cache.file_bytes = 16_384;
    config.access_log.target = Some(AccessLogTarget::Stdout);
    config.access_log.format = AccessLogFormat::Json;
    let site = Sites::open(&config).expect("the site of the fuzz target");
    ServerContext::new(config, site)
});

/// Gives the session its turns until it closes. Returns its output.
fn converse(mut course: Course<'_>) -> Vec<u8> {
    let context = &*CONTEXT;
    let mut single = SingleSession::accepted(context, Address::Unix);
    let mut now = Millis(0);
    let mut deadlines = 0;
    let mut may_block = MayBlock::Never;
    // Every turn takes or sends a byte, or is caused by an arrival, by room or by a deadline.
    for turns in 0.. {
        assert!(turns < course.max_turns(), "the session does not end");
        course.begin_turn();
        let read_closed = course.peer.has_closed;
        match single.turn(context, &mut course.peer, now, may_block, read_closed) {
            Outcome::Close(_) => break,
            Outcome::Again => {
                // A worker gives the next turn.
                may_block = MayBlock::Anywhere;
                continue;
            }
            Outcome::Wait => may_block = MayBlock::Never,
        }
        let deadline = single.session.next_deadline(context, now).at();
        assert!(deadline > now, "a deadline in the past wakes for ever");
        assert!(
            course.owes_an_event(),
            "bytes are left that nothing will announce"
        );
        if !course.next_event() {
            assert!(deadlines < MAX_DEADLINES, "time does not end the session");
            deadlines += 1;
            now = deadline;
        }
    }
    let peer = course.peer;
    assert!(!peer.is_aborted, "this peer takes everything in time");
    let (answered, sent, _) = single.session.summary(now);
    assert_eq!(sent, peer.sent.len() as u64);
    let log = single.buffers.log.as_mut().expect("an access log");
    let lines = log.lines().split(|&byte| byte == b'\n');
    let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), answered as usize, "one line for each answer");
    for (line, number) in lines.into_iter().zip(1..) {
        let line: serde_json::Value = serde_json::from_slice(line).expect("JSON");
        assert_eq!(line["number"], number);
    }
    peer.sent
}

/// The expected answers to `bytes`, as far as the requests alone determine them.
fn expected_answers(bytes: &[u8]) -> Expected {
    let limits = &CONTEXT.config.limits;
    let head_limits = HeadLimits {
        target_bytes: limits.target_bytes,
        head_bytes: limits.head_bytes,
        headers: limits.headers,
    };
    let mut expected = Expected::default();
    let mut spans = Vec::new();
    let mut rest = bytes;
    loop {
        let (head, consumed) = match parse_head(rest, &head_limits, &mut spans) {
            Ok(Parsed::Complete { head, consumed }) => (head, consumed),
            Ok(Parsed::Partial { started: false, .. }) => return expected,
            Ok(Parsed::Partial { method, .. }) => return expected.and_last(method),
            Err(reject) => return expected.and_last(reject.method),
        };
        let method = head.method;
        rest = &rest[consumed..];
        expected.continues += usize::from(head.expect == Expectation::Continue);
        let body = BodyDecoder::new(head.framing, limits.body_bytes)
            .and_then(|mut decoder| decoder.decode(rest));
        match body {
            Ok(body) if body.done => rest = &rest[body.consumed..],
            // Cut short by the end of the input, or malformed: the request gets the last answer.
            Ok(_) | Err(_) => return expected.and_last(Some(method)),
        }
        expected.answers.push(Some(method));
        if expected.answers.len() > 64 {
            return expected;
        }
    }
}

/// The boundaries of multipart answers are random; everything else is the same in every run.
fn comparable(mut output: Vec<u8>) -> Vec<u8> {
    const DIGITS: usize = 32;
    let mark = b"abide-";
    let mut at = 0;
    while let Some(found) = output[at..]
        .windows(mark.len())
        .position(|bytes| bytes == mark)
    {
        let start = at + found + mark.len();
        at = start;
        if let Some(digits) = output.get_mut(start..start + DIGITS)
            && digits.iter().all(u8::is_ascii_hexdigit)
        {
            digits.fill(b'0');
        }
    }
    output
}
