//! Sends the same requests to abide, nginx and Apache, and compares the results.
//!
//! The requests and the site are those of the conformance checklist. Two things are compared: the class
//! of each status, and whether the connection is open or closed at the end. Every difference must be
//! listed in `differential/differences.toml` with a section of an RFC and a reason, and an entry that
//! is no longer observed fails the test.
//!
//! With `ABIDE_DIFFERENTIAL_REPORT=1` unlisted differences are printed in the format of that file. A
//! reason must be added to each.

mod difference;
mod outcome;

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::case::{self, Case};
use super::notation;
use super::served::{self, Served};
use difference::Difference;
use outcome::Outcome;
use support::other_server::OtherServer;

/// Concurrent connections. A case mostly waits for the end of the answers.
const CONNECTIONS: usize = 32;

/// How long a server must be silent until its answers count as complete, in milliseconds. A difference
/// that is not listed is tried again with a longer time before it is reported.
const SILENCE_MILLIS: [u64; 3] = [300, 800, 2000];

/// A server under test: its name, its address, and its entity tag of `/index.html`.
struct Origin<'s> {
    name: &'static str,
    address: SocketAddr,
    etag: &'s str,
}

impl Origin<'_> {
    fn outcome(&self, case: &Case, silence: Duration) -> Outcome {
        let request = notation::bytes(&case.send, self.etag)
            .unwrap_or_else(|why| panic!("{}: {why}", case.place()));
        outcome::observe(self.address, &request, case.eof, silence)
            .unwrap_or_else(|why| panic!("{}: {} {why}", case.place(), self.name))
    }
}

/// An observed difference.
struct Seen {
    peer: &'static str,
    case: String,
    rfc: String,
    abide: Outcome,
    theirs: Outcome,
}

#[test]
#[ignore = "needs nginx and apache2"]
fn every_difference_from_nginx_and_apache_has_a_reason() {
    let site = served::site();
    let (served, nginx, apache) = (
        Served::start(),
        OtherServer::nginx(&site),
        OtherServer::apache(&site),
    );
    let abide = Origin {
        name: "abide",
        address: served.address,
        etag: &served.etag,
    };
    let peers = [&nginx, &apache].map(|peer| Origin {
        name: peer.name,
        address: peer.address,
        etag: &peer.etag,
    });
    let (cases, listed) = (case::load_all(), difference::load());
    let seen = compare(&cases, &abide, &peers, &listed);

    let is_listed = |seen: &&Seen| listed.iter().any(|listed| listed.covers(seen));
    let (known, unlisted): (Vec<_>, Vec<_>) = seen.iter().partition(is_listed);
    let stale = stale(&listed, &known);
    for peer in &peers {
        let count = seen.iter().filter(|seen| seen.peer == peer.name).count();
        println!("{}: {count} of {} cases differ", peer.name, cases.len());
    }
    if std::env::var_os("ABIDE_DIFFERENTIAL_REPORT").is_some() {
        print!("{}", report(&unlisted));
    }
    let lines = unlisted.iter().map(|seen| {
        format!(
            "not listed: {} [{}]: abide {}, {} {}",
            seen.case, seen.rfc, seen.abide, seen.peer, seen.theirs
        )
    });
    let lines: Vec<_> = lines.chain(stale).collect();
    assert!(
        lines.is_empty(),
        "{} in all:\n{}",
        lines.len(),
        lines.join("\n")
    );
}

/// Sends all cases to all servers. Returns the differences in the order of the cases.
fn compare(cases: &[Case], abide: &Origin, peers: &[Origin], listed: &[Difference]) -> Vec<Seen> {
    let next = AtomicUsize::new(0);
    let all = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(index) else {
                        return;
                    };
                    let seen: Vec<_> = peers
                        .iter()
                        .filter_map(|peer| differs(case, abide, peer, listed))
                        .collect();
                    all.lock().expect("no thread panics").insert(index, seen);
                }
            });
        }
    });
    let all = all.into_inner().expect("no thread panics");
    all.into_values().flatten().collect()
}

/// Sends a case to both servers, repeatedly until the result is as listed. `None` if they agree.
fn differs(case: &Case, abide: &Origin, peer: &Origin, listed: &[Difference]) -> Option<Seen> {
    let place = (peer.name, case.name.as_str());
    let is_listed = listed
        .iter()
        .any(|listed| listed.places().any(|it| it == place));
    let mut last = None;
    for silence in SILENCE_MILLIS.map(Duration::from_millis) {
        let seen = Seen {
            peer: peer.name,
            case: case.name.clone(),
            rfc: case.rfc.clone(),
            abide: abide.outcome(case, silence),
            theirs: peer.outcome(case, silence),
        };
        let agree = seen.abide.is_like(&seen.theirs);
        let as_listed = listed.iter().any(|listed| listed.covers(&seen));
        last = (!agree).then_some(seen);
        if as_listed || agree && !is_listed {
            break;
        }
    }
    last
}

/// The listed differences that were not observed, one message for each.
fn stale(listed: &[Difference], known: &[&Seen]) -> Vec<String> {
    let known: HashSet<_> = known
        .iter()
        .map(|seen| (seen.peer, seen.case.as_str()))
        .collect();
    listed
        .iter()
        .flat_map(Difference::places)
        .filter(|place| !known.contains(place))
        .map(|(peer, case)| format!("listed but not observed: {case}: {peer}"))
        .collect()
}

/// The differences in the format of `differences.toml`, grouped by their outcomes.
fn report(unlisted: &[&Seen]) -> String {
    let mut alike: BTreeMap<_, Vec<&Seen>> = BTreeMap::new();
    for seen in unlisted {
        let key = (seen.peer, seen.abide.to_string(), seen.theirs.to_string());
        alike.entry(key).or_default().push(seen);
    }
    let mut out = String::new();
    for ((peer, abide, theirs), all) in alike {
        let names: String = all
            .iter()
            .map(|seen| format!("    {:?}, # {}\n", seen.case, seen.rfc))
            .collect();
        out += &format!(
            "\n[[difference]]\nrfc = \"\"\nlevel = \"\"\nreason = \"\"\n\n\
             [[difference.seen]]\npeer = \"{peer}\"\nabide = \"{abide}\"\n\
             theirs = \"{theirs}\"\ncases = [\n{names}]\n"
        );
    }
    out
}

#[test]
fn every_listed_difference_is_of_a_case_and_listed_once() {
    let cases = case::load_all();
    let names: HashSet<_> = cases.iter().map(|case| case.name.as_str()).collect();
    let mut places = HashSet::new();
    let listed = difference::load();
    for (peer, case) in listed.iter().flat_map(Difference::places) {
        assert!(names.contains(case), "no case is called {case:?}");
        assert!(
            places.insert((peer, case)),
            "{case:?}: {peer} is listed twice"
        );
    }
}
