//! The rows of the requirement table, which `tests/conformance/requirement_table.rs` describes.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

/// A section of an RFC, in the order of the table of contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Section {
    pub rfc: u16,
    /// Its number: `[5, 6, 1, 2]` is 5.6.1.2. Missing numbers are 0.
    numbers: [u8; 4],
}

impl Section {
    /// Reads `9110 5.6.1.2`.
    pub fn parse(text: &str) -> Option<Section> {
        let (rfc, number) = text.split_once(' ')?;
        let mut numbers = [0; 4];
        for (index, part) in number.split('.').enumerate() {
            *numbers.get_mut(index)? = part.parse().ok().filter(|&part| part > 0)?;
        }
        let rfc = rfc.parse().ok()?;
        Some(Section { rfc, numbers })
    }

    /// `5.6.1.2`.
    pub fn number(self) -> String {
        let parts = self.numbers.iter().take_while(|&&part| part > 0);
        parts.map(u8::to_string).collect::<Vec<_>>().join(".")
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RFC {} section {}", self.rfc, self.number())
    }
}

/// The tests of a requirement, or the reason why there are none.
#[derive(Debug)]
pub enum Evidence {
    /// Names of cases.
    Cases(Vec<String>),
    /// Rust tests, each as `file::name`.
    Tests(Vec<String>),
    /// Why the requirement does not bind an origin server for files.
    NotBound(String),
}

/// One row.
#[derive(Debug)]
pub struct Requirement {
    pub section: Section,
    pub says: String,
    pub evidence: Evidence,
    /// Explains how abide interprets the requirement, where that is not obvious.
    pub note: Option<String>,
}

/// Every row, in the order of the RFCs.
pub fn load_all() -> Vec<Requirement> {
    let mut rows = Vec::new();
    for path in entries("tests/conformance/requirements") {
        if path.ends_with("counts.toml") {
            continue;
        }
        let file = path.display();
        let table = parse(&path);
        let requirements = table.get("requirement").and_then(Value::as_array);
        for row in requirements.unwrap_or_else(|| panic!("{file}: no [[requirement]]")) {
            rows.push(read(row).unwrap_or_else(|why| panic!("{file}: {row}: {why}")));
        }
    }
    rows.sort_by_key(|row| row.section);
    rows
}

fn read(row: &Value) -> Result<Requirement, String> {
    let row = row.as_table().ok_or("not a table")?;
    let mut evidence = Vec::new();
    for (key, value) in row {
        evidence.push(match key.as_str() {
            "rfc" | "says" | "note" => continue,
            "case" => Evidence::Cases(texts(value)?),
            "test" => Evidence::Tests(texts(value)?),
            "not_bound" => Evidence::NotBound(text(value)?),
            other => return Err(format!("unknown key {other}")),
        });
    }
    let (Some(evidence), None) = (evidence.pop(), evidence.pop()) else {
        return Err("not exactly one of case, test and not_bound".to_owned());
    };
    let rfc = text(row.get("rfc").ok_or("no rfc")?)?;
    Ok(Requirement {
        section: Section::parse(&rfc).ok_or("not a section")?,
        says: text(row.get("says").ok_or("no says")?)?,
        evidence,
        note: row.get("note").map(text).transpose()?,
    })
}

fn text(value: &Value) -> Result<String, String> {
    let text = value.as_str().filter(|text| !text.is_empty());
    text.map(str::to_owned)
        .ok_or_else(|| format!("{value} is not a text"))
}

/// A text or a nonempty list of texts.
fn texts(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::Array(values) if !values.is_empty() => values.iter().map(text).collect(),
        one => Ok(vec![text(one)?]),
    }
}

/// The TOML files in a directory of the repository, sorted by name.
pub fn entries(directory: &str) -> Vec<PathBuf> {
    let listing = fs::read_dir(in_repository(directory));
    let mut paths: Vec<PathBuf> = listing
        .unwrap_or_else(|why| panic!("{directory}: {why}"))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    paths.sort();
    paths
}

/// The table in a TOML file.
pub fn parse(path: &Path) -> Table {
    let shown = path.display();
    let text = fs::read_to_string(path).unwrap_or_else(|why| panic!("{shown}: {why}"));
    text.parse().unwrap_or_else(|why| panic!("{shown}: {why}"))
}

/// `path` relative to the root of the repository.
pub fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
