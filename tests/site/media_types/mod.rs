//! Comparison of the table of media types with those of Debian and nginx.
//!
//! Every extension in their files is looked up in the built-in table. Each difference must be listed
//! in `differences.toml` with a reason, and an entry that is no difference any more fails the test. Types
//! are compared without case (RFC 9110 section 8.3.1) and without parameters. Where Debian gives several
//! types for one extension, each of them matches.
//!
//! ```toml
//! [[group]]
//! reason = "why the types differ"
//! differences = [
//!     "bmp image/bmp nginx image/x-ms-bmp",    # extension, ours, whose, theirs
//! ]
//! ```
//!
//! `unknown` as the built-in type stands for the site's `default_type`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use abide::site::content::MediaTypes;
use toml::{Table, Value};

const LIST: &str = "tests/site/media_types/differences.toml";
const DEBIAN: &str = "/etc/mime.types";
const NGINX: &str = "/etc/nginx/mime.types";

/// A reason, and the differences that it explains.
struct Group {
    reason: String,
    differences: Vec<String>,
}

/// Types by extension.
type Types = BTreeMap<String, Vec<String>>;

#[test]
#[ignore = "needs Debian's media-types and nginx"]
fn every_difference_from_debian_and_nginx_has_a_reason() {
    let (debian, nginx) = (debian(&read(DEBIAN)), nginx(&read(NGINX)));
    assert!(debian.len() > 1_000, "{DEBIAN}: {}", debian.len());
    assert!(nginx.len() > 80, "{NGINX}: {}", nginx.len());
    let mut seen = differences("debian", &debian);
    seen.extend(differences("nginx", &nginx));
    let groups = listed();
    let listed = groups.iter().flat_map(|group| group.differences.clone());
    let listed: BTreeSet<String> = listed.collect();
    let unlisted: Vec<_> = seen.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&seen).collect();
    assert!(
        unlisted.is_empty() && gone.is_empty(),
        "without a reason: {unlisted:#?}\nno difference any more: {gone:#?}"
    );
}

#[test]
fn every_listed_difference_is_one_and_is_listed_once() {
    let mut places = BTreeSet::new();
    for Group {
        reason,
        differences,
    } in listed()
    {
        assert!(reason.ends_with('.'), "{reason}");
        assert!(!differences.is_empty(), "{reason}");
        for difference in differences {
            let words: Vec<_> = difference.split(' ').collect();
            let [extension, abide, whose, theirs] = words[..] else {
                panic!("{difference}: four words")
            };
            assert_ne!(abide, theirs, "{difference}");
            assert_eq!(abide, ours(extension), "{difference}");
            let is_new = places.insert((extension.to_owned(), whose.to_owned()));
            assert!(is_new, "{difference}: listed twice");
        }
    }
}

#[test]
fn the_files_are_read_as_their_owners_do() {
    let types = debian("# text/x x\ntext/a\taa A2 # no\n\naudio/b\ntext/c aa\n");
    assert_eq!(types["aa"], ["text/a", "text/c"]);
    assert_eq!(types["a2"], ["text/a"]);
    assert_eq!(types.len(), 2);
    let types = nginx("types {\n    text/a  aa;# no\n    text/b\n        bb b2;\n}\n");
    assert_eq!(types["aa"], ["text/a"]);
    assert_eq!(types["b2"], ["text/b"]);
    assert_eq!(types.len(), 3);
}

/// The extensions whose type in another table is not the built-in one.
fn differences(whose: &str, theirs: &Types) -> BTreeSet<String> {
    let differing = theirs.iter().filter_map(|(extension, types)| {
        let abide = ours(extension);
        let is_same = types.iter().any(|other| other.eq_ignore_ascii_case(&abide));
        (!is_same).then(|| format!("{extension} {abide} {whose} {}", types.join("|")))
    });
    differing.collect()
}

/// The built-in type of `extension`, without parameters.
fn ours(extension: &str) -> String {
    let types = MediaTypes::new(&BTreeMap::new(), "unknown");
    let media_type = types.of(&format!("name.{extension}"));
    let (essence, _) = media_type.split_once(';').unwrap_or((&media_type, ""));
    essence.to_owned()
}

/// A type on each line, with its extensions, if any.
fn debian(text: &str) -> Types {
    let mut types = Types::new();
    for line in text.lines() {
        add(&mut types, without_comment(line).split_whitespace());
    }
    types
}

/// `types { TYPE EXTENSION ...; ... }`
fn nginx(text: &str) -> Types {
    let lines = text.lines().map(without_comment);
    let text = lines.collect::<Vec<_>>().join(" ");
    let inside = text
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'));
    let (inside, _) = inside.expect("a block in braces");
    let mut types = Types::new();
    for directive in inside.split(';') {
        add(&mut types, directive.split_whitespace());
    }
    types
}

fn add<'t>(types: &mut Types, mut words: impl Iterator<Item = &'t str>) {
    let Some(media_type) = words.next() else {
        return;
    };
    for extension in words {
        let known = types.entry(extension.to_ascii_lowercase()).or_default();
        known.push(media_type.to_owned());
    }
}

fn without_comment(line: &str) -> &str {
    line.split('#').next().unwrap_or("")
}

fn listed() -> Vec<Group> {
    let text = read(format!("{}/{LIST}", env!("CARGO_MANIFEST_DIR")));
    let mut table: Table = text.parse().unwrap_or_else(|why| panic!("{LIST}: {why}"));
    let Some(Value::Array(groups)) = table.remove("group") else {
        panic!("{LIST}: no [[group]]");
    };
    let groups = groups.iter().map(|group| Group {
        reason: group["reason"].as_str().expect("a reason").to_owned(),
        differences: texts(&group["differences"]),
    });
    groups.collect()
}

fn texts(value: &Value) -> Vec<String> {
    let texts = value.as_array().expect("a list").iter();
    texts
        .map(|text| text.as_str().expect("a text").to_owned())
        .collect()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    std::fs::read_to_string(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}
