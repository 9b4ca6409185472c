//! The requirement table: every MUST of RFC 9110 and RFC 9112, and the test that shows it.
//!
//! `conformance/requirements/*.toml` has one row for each sentence with MUST, MUST NOT, SHALL,
//! SHALL NOT or REQUIRED, in the order of the text:
//!
//! ```toml
//! [[requirement]]
//! rfc = "9112 5.1"                              # RFC and section
//! says = "Whitespace before the colon: 400."    # in our own words
//! case = "a space before the colon is refused"  # or a list: cases of conformance/cases
//! ```
//!
//! Instead of `case` a row has one of
//!
//! - `test = "tests/<program>/file.rs::name"`, or a list: a Rust test, if no case can show the requirement;
//! - `not_bound = "client only"`: why the requirement does not bind an origin server for files.
//!
//! A `note` explains how abide interprets a requirement, where that is not obvious.
//!
//! `counts.toml` has the number of such sentences in each section, so that none is forgotten. The page
//! `conformance/requirements.md`, a part of the crate's documentation, is generated from the rows. After
//! a change of a row, generate it again:
//!
//! ```text
//! ABIDE_BLESS=1 cargo test --test conformance
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;

use super::requirement::{self, Evidence, Requirement, Section, entries, in_repository, parse};

/// The maximum length of a text in a row, in characters.
const MAX_TEXT_CHARS: usize = 240;

const PAGE: &str = "tests/conformance/requirements.md";

#[test]
fn every_section_has_as_many_rows_as_sentences() {
    let counts = parse(&in_repository("tests/conformance/requirements/counts.toml"));
    let expected: BTreeMap<Section, usize> = counts
        .iter()
        .map(|(section, count)| {
            let count = count
                .as_integer()
                .and_then(|count| usize::try_from(count).ok());
            (
                Section::parse(section).expect("a section"),
                count.expect("a count"),
            )
        })
        .collect();
    let mut rows = BTreeMap::new();
    for row in requirement::load_all() {
        *rows.entry(row.section).or_insert(0) += 1;
    }
    let sections: BTreeSet<_> = expected.keys().chain(rows.keys()).collect();
    let wrong: Vec<String> = sections
        .into_iter()
        .filter(|section| expected.get(section) != rows.get(section))
        .map(|section| {
            let (due, got) = (expected.get(section), rows.get(section));
            format!("{section}: {due:?} sentences, {got:?} rows")
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_case_that_is_named_exists() {
    let mut names = BTreeSet::new();
    for path in entries("tests/conformance/cases") {
        for case in parse(&path)["case"].as_array().expect("a list of cases") {
            names.insert(case["name"].as_str().expect("a name").to_owned());
        }
    }
    for row in requirement::load_all() {
        if let Evidence::Cases(cases) = &row.evidence {
            for case in cases {
                assert!(
                    names.contains(case),
                    "{}: there is no case \"{case}\"",
                    row.section
                );
            }
        }
    }
}

#[test]
fn every_test_that_is_named_exists() {
    for row in requirement::load_all() {
        if let Evidence::Tests(tests) = &row.evidence {
            for test in tests {
                assert!(is_test(test), "{}: there is no test {test}", row.section);
            }
        }
    }
}

/// Whether `test`, written as `file::name`, is a function with `#[test]`.
fn is_test(test: &str) -> bool {
    let Some((file, name)) = test.rsplit_once("::") else {
        return false;
    };
    let Ok(text) = fs::read_to_string(in_repository(file)) else {
        return false;
    };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let function = format!("fn {name}(");
    lines.iter().enumerate().any(|(index, line)| {
        let mut before = lines[..index].iter().rev();
        line.starts_with(&function)
            && before
                .by_ref()
                .take_while(|line| line.starts_with("#[") || line.starts_with("//"))
                .any(|line| *line == "#[test]")
    })
}

#[test]
fn every_text_is_short() {
    for row in requirement::load_all() {
        let (section, says) = (row.section, &row.says);
        let length = says.chars().count();
        assert!(
            length <= MAX_TEXT_CHARS,
            "{section}: {length} characters: {says}"
        );
        assert!(says.ends_with('.'), "{section}: not a sentence: {says}");
    }
}

#[test]
fn the_page_is_made_from_the_rows() {
    let page = page(&requirement::load_all());
    if std::env::var_os("ABIDE_BLESS").is_some_and(|value| value == "1") {
        fs::write(in_repository(PAGE), &page).expect("the page is written");
    }
    let committed = fs::read_to_string(in_repository(PAGE)).unwrap_or_default();
    assert!(
        committed == page,
        "{PAGE} is not what the rows say; write it anew with ABIDE_BLESS=1"
    );
}

fn page(rows: &[Requirement]) -> String {
    let mut page = String::from(
        "Every requirement of RFC 9110 (HTTP Semantics) and RFC 9112 (HTTP/1.1), and what shows that\n\
         abide meets it: one row for each sentence with MUST or MUST NOT, in our own words. A case is\n\
         an entry of `tests/conformance/cases`, a request on the wire with the answer that is due.\n\
         \n\
         | RFC | requirements | shown by cases | shown by other tests | not binding on an origin server for files |\n\
         |---|---|---|---|---|\n",
    );
    let rfcs: BTreeSet<u16> = rows.iter().map(|row| row.section.rfc).collect();
    for &rfc in &rfcs {
        let count = |is: fn(&Evidence) -> bool| {
            let of_rfc = rows.iter().filter(|row| row.section.rfc == rfc);
            of_rfc.filter(|row| is(&row.evidence)).count()
        };
        let line = [
            count(|_| true),
            count(|evidence| matches!(evidence, Evidence::Cases(_))),
            count(|evidence| matches!(evidence, Evidence::Tests(_))),
            count(|evidence| matches!(evidence, Evidence::NotBound(_))),
        ];
        let cells = line.map(|count| count.to_string()).join(" | ");
        let _ = writeln!(page, "| {rfc} | {cells} |");
    }
    for &rfc in &rfcs {
        let _ = write!(
            page,
            "\n# RFC {rfc}\n\n| section | requirement | shown by |\n|---|---|---|\n"
        );
        let rows: Vec<_> = rows.iter().filter(|row| row.section.rfc == rfc).collect();
        for section in rows.chunk_by(|one, next| one.section == next.section) {
            for (index, row) in section.iter().enumerate() {
                let place = place(row.section, index + 1, section.len());
                let says = escape(&row.says);
                let note = row
                    .note
                    .as_deref()
                    .map(|note| format!(". Note: {}", escape(note)));
                let shown = shown_by(&row.evidence) + &note.unwrap_or_default();
                let _ = writeln!(page, "| {place} | {says} | {shown} |");
            }
        }
    }
    page
}

/// `5.2, 1 of 4`: the section, and the number of the row within it.
fn place(section: Section, nth: usize, count: usize) -> String {
    let number = section.number();
    if count == 1 {
        return number;
    }
    format!("{number}, {nth} of {count}")
}

fn shown_by(evidence: &Evidence) -> String {
    match evidence {
        Evidence::Cases(cases) => {
            let cases: Vec<_> = cases.iter().map(|case| escape(case)).collect();
            format!("case: {}", cases.join("; "))
        }
        Evidence::Tests(tests) => {
            let tests: Vec<_> = tests.iter().map(|test| format!("`{test}`")).collect();
            format!("test: {}", tests.join("; "))
        }
        Evidence::NotBound(why) => format!("not bound: {}", escape(why)),
    }
}

/// Escapes the characters of `text` that have a meaning in Markdown or rustdoc.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '|' | '[' | ']' | '*' | '_' | '`' | '\\' => escaped.extend(['\\', character]),
            other => escaped.push(other),
        }
    }
    escaped
}

#[test]
fn what_means_something_in_markdown_is_escaped() {
    assert_eq!(
        escape("a|b [c] <d> *e_f* `\\"),
        r"a\|b \[c\] &lt;d&gt; \*e\_f\* \`\\"
    );
}

/// RFC 9110 section 8.6: an interim answer has no Content-Length, and in abide no other field. Cases
/// compare only the fields of the last answer.
#[test]
fn continue_has_no_fields() {
    let site = support::Site::new();
    let server = support::Server::of(site.root());
    let mut client = server.connect();
    let expecting = "Expect: 100-continue\r\nContent-Length: 5\r\n";
    client.send(support::client::request("GET", "/", expecting));
    let interim = client.answer();
    assert_eq!(interim.status, 100);
    assert_eq!(interim.head.trim_end(), "HTTP/1.1 100 Continue");
}
