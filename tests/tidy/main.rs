//! The rules of this code base that a compiler does not check, checked on the source text. The checks are
//! crude on purpose: one that needs an explanation is not worth having.

use std::fs;
use std::path::{Path, PathBuf};

mod circles;

use circles::Files;

/// The layers, lowest first. A module may use its own layer and those before it.
const LAYERS: [&[&str]; 7] = [
    &["clock", "config"],
    &["http"],
    &["site"],
    &["connection"],
    &["server"],
    &["admin"],
    &["selftest"],
];

/// The parts of `site`, lowest first. A part may use those before it.
const SITE_PARTS: [&str; 9] = [
    "pages", "waiting", "disk", "content", "memory", "rules", "listing", "lookup", "answer",
];

/// Calls that may panic, and must not be in `src` outside its tests. Two are in pieces, so that a search for missing
/// work does not find this list.
const FORBIDDEN_CALLS: [&str; 4] = [
    ".unwrap()",
    ".expect(\"",
    concat!("to", "do!("),
    concat!("unimple", "mented!("),
];

const MAX_FILE_LINES: usize = 500;
const MAX_FUNCTION_LINES: usize = 70;

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// Lines of code with their numbers, without comments and without tests at the end of the file.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let names = ["tests", "tests.rs", "properties.rs"];
        let below = self.path.strip_prefix(env!("CARGO_MANIFEST_DIR"));
        let mut parts = below.unwrap_or(&self.path).iter().skip(1);
        let is_test_file = parts.any(|part| names.iter().any(|name| part == *name));
        let lines = self
            .text
            .lines()
            .take_while(move |line| !is_test_file && *line != "mod tests {");
        lines
            .enumerate()
            .map(|(index, line)| (index + 1, line.split("//").next().unwrap_or("")))
    }

    fn at(&self, line: usize) -> String {
        format!("{}:{line}", self.path.display())
    }
}

fn sources(directory: &str) -> Vec<Source> {
    let mut found = Vec::new();
    collect(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join(directory),
        &mut found,
    );
    assert!(!found.is_empty(), "no sources below {directory}");
    found
}

fn collect(directory: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(directory).expect("a directory of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file");
            found.push(Source { path, text });
        }
    }
}

fn all_sources() -> Vec<Source> {
    ["src", "tests", "benches"]
        .into_iter()
        .flat_map(sources)
        .collect()
}

/// The index of the layer that a file below `src` belongs to; `None` for the program.
fn layer_of(path: &Path) -> Option<usize> {
    let below = path
        .strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
        .ok()?;
    let module = below
        .components()
        .next()?
        .as_os_str()
        .to_str()?
        .trim_end_matches(".rs");
    LAYERS.iter().position(|layer| layer.contains(&module))
}

fn assert_none(offences: &[String], rule: &str) {
    assert!(offences.is_empty(), "{rule}:\n{}", offences.join("\n"));
}

#[test]
fn imports_go_downward_only() {
    let mut offences = Vec::new();
    for source in sources("src") {
        let Some(own) = layer_of(&source.path) else {
            continue;
        };
        for (number, line) in source.code() {
            let upward = LAYERS[own + 1..].iter().copied().flatten();
            for module in upward.filter(|module| line.contains(&format!("crate::{module}"))) {
                offences.push(format!("{} uses {module}", source.at(number)));
            }
        }
    }
    assert_none(&offences, "a lower layer uses a higher one");
}

#[test]
fn no_file_imports_one_that_imports_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = Files::of(&sources("src"), &root);
    assert_none(&files.circles(|_| true), "files import each other");
}

#[test]
fn circles_are_found_through_names_that_are_handed_on() {
    let file = |path: &str, text: &str| Source {
        path: PathBuf::from(path),
        text: text.to_owned(),
    };
    let upper = file("upper.rs", "use crate::face::{Inner, Other};\n");
    let face = "mod inner;\nmod other;\npub use inner::Inner;\npub use other::Other;\n";
    let face = file("face/mod.rs", face);
    let inner = file("face/inner.rs", "pub struct Inner(crate::upper::Upper);\n");
    let other = file("face/other.rs", "use super::Inner;\n");
    let files = Files::of(&[upper, face, inner, other], Path::new(""));
    let circle = "3 files:\n  src/face/inner.rs imports src/upper.rs\n  \
        src/face/other.rs imports src/face/inner.rs\n  \
        src/upper.rs imports src/face/inner.rs\n  src/upper.rs imports src/face/other.rs";
    assert_eq!(files.circles(|_| true), [circle]);
    assert!(files.circles(|file| file.ends_with("mod.rs")).is_empty());
}

#[test]
fn parts_of_a_site_use_lower_ones_only() {
    let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/site");
    let mut offences = Vec::new();
    for source in sources("src/site") {
        if source.path == site.join("mod.rs") {
            continue;
        }
        let is_in = |part: &&str| source.path.starts_with(site.join(part));
        let Some(own) = SITE_PARTS.iter().position(is_in) else {
            offences.push(format!("{} is in no part", source.at(1)));
            continue;
        };
        for (number, line) in source.code() {
            let upward = SITE_PARTS[own + 1..].iter();
            for other in upward.filter(|other| line.contains(&format!("site::{other}"))) {
                offences.push(format!("{} uses {other}", source.at(number)));
            }
        }
    }
    assert_none(&offences, "a lower part of a site uses a higher one");
}

#[test]
fn every_module_belongs_to_a_layer() {
    let program = ["lib.rs", "main.rs", "cli.rs"];
    let offences: Vec<_> = sources("src")
        .iter()
        .filter(|source| layer_of(&source.path).is_none())
        .filter(|source| !program.iter().any(|name| source.path.ends_with(name)))
        .map(|source| source.at(1))
        .collect();
    assert_none(&offences, "a module is in no layer");
}

/// The settings and their reading are in one folder, and the settings are the lower of the two.
#[test]
fn no_setting_imports_its_reading() {
    let mut offences = Vec::new();
    for source in sources("src/config") {
        let is_setting = !source.path.ends_with("config/mod.rs")
            && !source.path.iter().any(|part| part == "reading");
        let code = source.code().filter(|_| is_setting);
        for (number, line) in code.filter(|(_, line)| line.contains("reading::")) {
            offences.push(format!("{}:{line}", source.at(number)));
        }
    }
    assert_none(&offences, "a setting imports its reading");
}

#[test]
fn files_hold_one_idea() {
    let offences: Vec<_> = all_sources()
        .iter()
        .filter(|source| source.text.lines().count() > MAX_FILE_LINES)
        .map(|source| source.at(source.text.lines().count()))
        .collect();
    assert_none(&offences, "a file is longer than 500 lines");
}

#[test]
fn functions_fit_on_a_screen() {
    let mut offences = Vec::new();
    for source in all_sources() {
        let mut open: Option<(usize, usize)> = None;
        for (index, line) in source.text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let code = line.trim_start();
            match open {
                None if is_function(code) && !line.ends_with('}') => open = Some((index, indent)),
                Some((start, at)) if indent == at && (code == "}" || code.ends_with(';')) => {
                    if index - start >= MAX_FUNCTION_LINES {
                        offences.push(format!(
                            "{}: {} lines",
                            source.at(start + 1),
                            index - start + 1
                        ));
                    }
                    open = None;
                }
                _ => {}
            }
        }
    }
    assert_none(&offences, "a function is 70 lines or longer");
}

fn is_function(code: &str) -> bool {
    let signature = ["pub(crate) ", "pub(super) ", "pub ", "const ", "unsafe "]
        .into_iter()
        .fold(code, |rest, word| rest.strip_prefix(word).unwrap_or(rest));
    signature.starts_with("fn ")
}

#[test]
fn only_the_clock_reads_a_clock() {
    let readings = [
        "Instant::now",
        "SystemTime::now",
        ".elapsed()",
        "thread::sleep",
    ];
    let mut offences = Vec::new();
    for source in sources("src")
        .iter()
        .filter(|source| !source.path.ends_with("src/clock.rs"))
    {
        for (number, line) in source.code() {
            if readings.iter().any(|reading| line.contains(reading)) {
                offences.push(source.at(number));
            }
        }
    }
    assert_none(&offences, "time must be an argument, not read from a clock");
}

#[test]
fn nothing_outside_can_cause_a_panic_by_unwrapping() {
    let mut offences = Vec::new();
    for source in sources("src") {
        // A value computed at compile time fails at compile time.
        let code = source.code().filter(|(_, line)| !line.contains("const {"));
        for (number, line) in code {
            if FORBIDDEN_CALLS.iter().any(|call| line.contains(call)) {
                offences.push(source.at(number));
            }
        }
    }
    assert_none(&offences, "unwrap outside tests");
}

#[test]
fn unsafe_code_stays_in_its_module() {
    let mut offences = Vec::new();
    for source in sources("src")
        .iter()
        .filter(|source| !source.path.ends_with("c_calls.rs"))
    {
        for (number, line) in source.code() {
            if line.contains("unsafe {") || line.contains("allow(unsafe_code)") {
                offences.push(source.at(number));
            }
        }
    }
    assert_none(&offences, "unsafe outside connection/c_calls.rs");
}

#[test]
fn no_module_is_a_grab_bag() {
    let offences: Vec<_> = all_sources()
        .iter()
        .filter(|source| {
            let stem = source
                .path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .unwrap_or("");
            ["util", "utils", "helpers", "misc", "common"].contains(&stem)
        })
        .map(|source| source.at(1))
        .collect();
    assert_none(&offences, "a name that says nothing");
}
