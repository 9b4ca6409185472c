//! The conformance checklist: requests on the wire and the expected answers, as data.
//!
//! Each file in `conformance/cases` is a list of cases, named after the RFC and the section that
//! they test. Every case is sent to the real binary over a real socket in three ways: whole, byte by
//! byte, and cut at every line end, because the split into segments must not matter.
//! `conformance/case.rs` describes the format of a case. `conformance/answer.rs` makes the checks that
//! every answer must pass.

mod answer;
mod case;
mod differential;
mod exchange;
mod notation;
mod parts;
mod requirement;
mod requirement_table;
mod served;
mod table;

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use case::Case;
use exchange::Way;
use served::Served;

/// Concurrent connections. A case mostly waits, so there are many more than CPUs.
const CONNECTIONS: usize = 16;

/// The number that issue 3 demands.
const FEWEST_CASES: usize = 400;

#[test]
fn every_case_is_answered_as_the_checklist_says() {
    let served = Served::start();
    let cases = case::load_all();
    let runs: Vec<(&Case, Way)> = cases
        .iter()
        .flat_map(|case| Way::ALL.map(|way| (case, way)))
        .filter(|(case, way)| !case.whole || *way == Way::Whole)
        .collect();
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                while let Some(&(case, way)) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(failure) = exchange::run(case, way, &served) {
                        let at = format!("{} [{}], {way}", case.place(), case.rfc);
                        let mut failures = failures.lock().expect("no thread panics");
                        failures.push(format!("{at}\n{failure}"));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("no thread panics");
    failures.sort();
    assert!(
        failures.is_empty(),
        "{} of {} runs fail:\n\n{}\n",
        failures.len(),
        runs.len(),
        failures.join("\n\n")
    );
}

#[test]
fn the_checklist_is_long_enough_and_no_name_comes_twice() {
    let cases = case::load_all();
    let mut names = HashSet::new();
    for case in &cases {
        assert!(names.insert(&case.name), "{}: used before", case.place());
    }
    let count = cases.len();
    assert!(count >= FEWEST_CASES, "only {count} cases");
}

/// `9112-03-request-line.toml` tests RFC 9112 section 3 and its subsections.
#[test]
fn every_case_stands_in_the_file_of_its_section() {
    for case in case::load_all() {
        let mut named = case.file.splitn(3, '-');
        let (rfc, section) = (named.next().unwrap_or(""), named.next().unwrap_or(""));
        let expected = format!("{rfc} {}", section.trim_start_matches('0'));
        let top = case.rfc.split('.').next().unwrap_or("");
        assert_eq!(top, expected, "{}", case.place());
    }
}
