//! The list of known differences, each with a reason.
//!
//! ```toml
//! [[difference]]
//! rfc = "9112 2.2"                  # RFC and section
//! level = "must"                    # of the sentence that the peer violates
//! reason = "why the answers differ"
//!
//! [[difference.seen]]               # as often as needed
//! peer = "nginx"                    # or "apache", or a list of both
//! abide = "400 closed"              # statuses, and what becomes of the connection
//! theirs = "200 open"
//! cases = ["a bare LF ends no line"]
//! ```
//!
//! `level` is `must` or `should` where the peer violates a sentence of that strength, `may` where the
//! RFC allows both answers, and `ours` where abide departs from the RFC. Statuses are compared by class,
//! since the next version of a peer may choose another one of the same class.

use std::path::Path;

use toml::{Table, Value};

use super::Seen;
use super::outcome::Outcome;

/// One kind of difference, and the peers and cases that show it.
pub struct Difference {
    peers: Vec<String>,
    abide: Outcome,
    theirs: Outcome,
    cases: Vec<String>,
}

impl Difference {
    /// Whether `seen` is this difference.
    pub fn covers(&self, seen: &Seen) -> bool {
        self.peers.iter().any(|peer| peer == seen.peer)
            && self.cases.contains(&seen.case)
            && self.abide.is_like(&seen.abide)
            && self.theirs.is_like(&seen.theirs)
    }

    /// Every pair of a peer and a case.
    pub fn places(&self) -> impl Iterator<Item = (&str, &str)> {
        self.peers
            .iter()
            .flat_map(|peer| self.cases.iter().map(move |case| (&**peer, &**case)))
    }
}

/// Reads the list. A fault in it fails the test with a message.
pub fn load() -> Vec<Difference> {
    let path = "tests/conformance/differential/differences.toml";
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
    let text = text.unwrap_or_else(|why| panic!("{path}: {why}"));
    let mut table: Table = text.parse().unwrap_or_else(|why| panic!("{path}: {why}"));
    let Some(Value::Array(entries)) = table.remove("difference") else {
        panic!("{path}: no [[difference]]");
    };
    assert!(table.is_empty(), "{path}: something beside [[difference]]");
    entries
        .into_iter()
        .flat_map(|entry| {
            let shown = entry.to_string();
            read(entry).unwrap_or_else(|why| panic!("{path}: {why}, in: {shown}"))
        })
        .collect()
}

/// Reads one reason and all differences that it explains.
fn read(entry: Value) -> Result<Vec<Difference>, String> {
    let mut table = table(entry)?;
    let rfc = one(&mut table, "rfc")?;
    let is_section = rfc
        .split_once(' ')
        .is_some_and(|(number, section)| number.len() == 4 && !section.is_empty());
    if !is_section || one(&mut table, "reason")?.is_empty() {
        return Err("an RFC with a section, and a reason, are needed".to_owned());
    }
    let level = one(&mut table, "level")?;
    if !["must", "should", "may", "ours"].contains(&&*level) {
        return Err(format!("level = {level:?}"));
    }
    let Some(Value::Array(seen)) = table.remove("seen") else {
        return Err("no [[difference.seen]]".to_owned());
    };
    nothing_else(&table)?;
    seen.into_iter().map(read_seen).collect()
}

fn read_seen(seen: Value) -> Result<Difference, String> {
    let mut table = table(seen)?;
    let difference = Difference {
        peers: texts(&mut table, "peer")?,
        abide: one(&mut table, "abide")?.parse()?,
        theirs: one(&mut table, "theirs")?.parse()?,
        cases: texts(&mut table, "cases")?,
    };
    nothing_else(&table)?;
    Ok(difference)
}

fn table(value: Value) -> Result<Table, String> {
    match value {
        Value::Table(table) => Ok(table),
        other => Err(format!("{other} is not a table")),
    }
}

fn one(table: &mut Table, key: &str) -> Result<String, String> {
    match table.remove(key) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(format!("no {key}")),
    }
}

/// A string or a list of them.
fn texts(table: &mut Table, key: &str) -> Result<Vec<String>, String> {
    match table.remove(key) {
        Some(Value::String(text)) => Ok(vec![text]),
        Some(Value::Array(values)) => values
            .into_iter()
            .map(|value| match value {
                Value::String(text) => Ok(text),
                other => Err(format!("{other} is not a string")),
            })
            .collect(),
        _ => Err(format!("no {key}")),
    }
}

fn nothing_else(table: &Table) -> Result<(), String> {
    match table.keys().next() {
        Some(key) => Err(format!("unknown key {key}")),
        None => Ok(()),
    }
}
