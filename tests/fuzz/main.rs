//! Fuzzing: properties that hold for any bytes at all.
//!
//! Each target is one function, `<target>::check`, which panics if one of the invariants in
//! its module's documentation is broken.
//!
//! | target         | code under test                                                    |
//! |----------------|--------------------------------------------------------------------|
//! | `request`      | `http::request::parse_head`                                        |
//! | `chunked`      | `http::body::BodyDecoder`                                          |
//! | `fields`       | `http::range::select`, `http::preconditions`                       |
//! | `path`         | `http::target::decode_path`, `encode_path`                         |
//! | `proxy_header` | `http::proxy_protocol::parse`                                      |
//! | `session`      | `connection::session::Session` with a scripted peer, cut and uncut |
//! | `tls`          | the same over `connection::tls`, with a client of rustls           |
//!
//! `cargo test --test fuzz` runs every file in `tests/fuzz/<target>/corpus` and `.../crashes`, then
//! a bounded number of mutations of them; `PROPTEST_CASES` changes the number. An input that fails
//! is minimized and stored in `.../crashes`, where it stays as a regression test.
//!
//! A longer run is guided by coverage, with libFuzzer on the stable toolchain (a C++ compiler is
//! needed). Its crashes are stored in the same place:
//!
//! ```text
//! tests/fuzz/longer.sh session 600        # target, seconds; about 3,000 inputs a second
//! ```

mod chunked;
mod fields;
mod path;
mod peer;
mod proxy_header;
mod request;
mod responses;
mod script;
mod session;
mod tls;

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{TestError, TestRunner};

/// Mutated inputs per target in an ordinary test run.
const CASES: u32 = 4_000;

/// Fewer for TLS, because each input takes three handshakes.
const TLS_CASES: u32 = 1_000;

#[test]
fn request_heads() {
    run("request", request::check);
}

#[test]
fn chunked_bodies() {
    run("chunked", chunked::check);
}

#[test]
fn range_and_precondition_fields() {
    run("fields", fields::check);
}

#[test]
fn request_paths() {
    run("path", path::check);
}

#[test]
fn headers_of_the_proxy_protocol() {
    run("proxy_header", proxy_header::check);
}

#[test]
fn whole_sessions() {
    run("session", session::check);
}

#[test]
fn sessions_over_tls() {
    run_some("tls", tls::check, TLS_CASES);
}

/// Runs the stored inputs of `target`, then mutations of them.
fn run(target: &str, check: fn(&[u8])) {
    run_some(target, check, CASES);
}

/// As [`run`], with this many mutations.
fn run_some(target: &str, check: fn(&[u8]), cases: u32) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz")
        .join(target);
    let mut seeds = Vec::new();
    for path in ["corpus", "crashes"]
        .iter()
        .flat_map(|name| files(&directory.join(name)))
    {
        // Shown only if the test fails: then the last line names the file.
        println!("{}", path.display());
        let input = fs::read(&path).expect("a stored input");
        check(&input);
        seeds.push(input);
    }
    assert!(
        !seeds.is_empty(),
        "there is no corpus in {}",
        directory.display()
    );
    let mut config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    config.failure_persistence = None;
    let result = TestRunner::new(config).run(&mutations(seeds), |input| {
        check(&input);
        Ok(())
    });
    if let Err(TestError::Fail(reason, input)) = result {
        let stored = store(&directory.join("crashes"), &input);
        panic!("{}: {reason}\n{}", stored.display(), input.escape_ascii());
    }
}

/// The files in a directory that may be missing.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files
}

fn store(directory: &Path, input: &[u8]) -> PathBuf {
    let hash = input.iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
    });
    let path = directory.join(format!("found-{hash:016x}"));
    fs::create_dir_all(directory).expect("a directory for crashes");
    fs::write(&path, input).expect("a place for the input");
    path
}

/// One change to an input.
#[derive(Debug, Clone)]
enum Edit {
    Replace(Index, u8),
    Insert(Index, u8),
    Remove(Index, u8),
    /// Repeats a part of the input: more requests, more fields, more chunks.
    Repeat(Index, Index),
    /// Continues from some place as another input does.
    Splice(Index, Index, Index),
}

fn mutations(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    // Bytes that have a meaning in a grammar occur often.
    let byte = || {
        prop_oneof![
            3 => prop::sample::select(b"\r\n \t:;,\"\\/.%*-=019aAfFW\0\x7f\x80".to_vec()),
            1 => any::<u8>(),
        ]
    };
    let edit = prop_oneof![
        3 => (any::<Index>(), byte()).prop_map(|(at, byte)| Edit::Replace(at, byte)),
        3 => (any::<Index>(), byte()).prop_map(|(at, byte)| Edit::Insert(at, byte)),
        3 => (any::<Index>(), 1..20_u8).prop_map(|(at, count)| Edit::Remove(at, count)),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Edit::Repeat(from, to)),
        2 => any::<(Index, Index, Index)>().prop_map(|(at, other, from)| Edit::Splice(at, other, from)),
    ];
    (any::<Index>(), prop::collection::vec(edit, 0..8)).prop_map(move |(seed, edits)| {
        let mut input = seed.get(&seeds).clone();
        for edit in edits {
            apply(&edit, &seeds, &mut input);
        }
        input
    })
}

fn apply(edit: &Edit, seeds: &[Vec<u8>], input: &mut Vec<u8>) {
    let place = |index: &Index, input: &[u8]| index.index(input.len() + 1);
    match edit {
        Edit::Insert(at, byte) => input.insert(place(at, input), *byte),
        Edit::Splice(at, other, from) => {
            let other = other.get(seeds);
            input.truncate(place(at, input));
            input.extend_from_slice(&other[place(from, other)..]);
        }
        _ if input.is_empty() => {}
        Edit::Replace(at, byte) => *at.get_mut(input) = *byte,
        Edit::Remove(at, count) => {
            let start = at.index(input.len());
            let end = input.len().min(start + usize::from(*count));
            input.drain(start..end);
        }
        Edit::Repeat(from, to) => {
            let (from, to) = (place(from, input), place(to, input));
            let again = input[from.min(to)..from.max(to)].to_vec();
            let end = from.max(to);
            input.splice(end..end, again);
        }
    }
}
