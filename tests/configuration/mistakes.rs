//! Several mistakes in one file: each is reported with its line and column.

use abide::config::{Config, Flags};
use proptest::prelude::*;

use super::{ConfigFile, error, try_load};

/// Checks that the error about `text` has exactly the expected lines, by their beginnings and columns.
fn assert_told(text: &str, expected: &[(&str, usize)]) {
    let error = error(text);
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{text}\n{error}");
    for (line, (start, column)) in lines.iter().zip(expected) {
        assert!(
            line.starts_with(&format!("abide.toml:{start}: ")),
            "{error}"
        );
        assert!(line.ends_with(&format!(" (column {column})")), "{error}");
    }
}

#[test]
fn all_mistakes_of_a_file_are_told_in_its_order() {
    assert_told(
        "[timeouts]\nhead = 0\nboddy = 5\n[cache]\nbytes = -1\nroot = 1\n\n[tls]\n[[host]]\nlisting = 2\n",
        &[
            ("2: timeouts.head", 8),
            ("3: timeouts.boddy", 1),
            ("5: cache.bytes", 9),
            ("6: cache.root", 1),
            ("8: tls", 2),
            ("9: host.name", 1),
            ("9: host.root", 1),
            ("10: host.listing", 11),
        ],
    );
}

#[test]
fn the_column_is_that_of_the_value_or_of_a_key_that_there_is_not() {
    for (text, expected) in [
        ("workers = 0", ("1: workers", 11)),
        ("workrs = 1", ("1: workrs", 1)),
        ("  workers=0", ("1: workers", 11)),
        ("\u{feff}workers = 0", ("1: workers", 11)),
        (
            "keep_alive = { timeout = 0 }",
            ("1: keep_alive.timeout", 26),
        ),
        ("keep_alive.timeout = 0", ("1: keep_alive.timeout", 22)),
        ("[ workers ]\nn = 1", ("1: workers", 3)),
        ("[[workers]]\nn = 1", ("1: workers", 3)),
        ("listen = [ '127.0.0.1:0',\n  1 ]", ("2: listen", 3)),
        // Columns count characters.
        ("types = { \"\u{e9}\" = 'a/b' }", ("1: types.\u{e9}", 17)),
        ("workers = 1\nworkers = 1", ("2: workers", 1)),
        // A value of several lines is quoted in one line.
        ("etag = '''a\r\nb'''", ("1: etag", 8)),
        ("root = www", ("1: this is not TOML", 8)),
        (
            "[[header]]\npath = '/a'\nset = { ETag = 'x' }",
            ("3: header.set", 9),
        ),
        (
            "limits = { head_bytes = 1024, target_bytes = 2048 }",
            ("1: limits.target_bytes", 46),
        ),
    ] {
        assert_told(text, &[expected]);
    }
}

#[test]
fn each_wrong_item_of_a_list_and_each_wrong_rule_is_told() {
    assert_told(
        "listen = [\n'a',\n'127.0.0.1:0',\n'b']\nindex = ['a/b', 1, false]\n[types]\na = 1\nb = ''\n\
         [[redirect]]\nfrom = 'a'\nto = '$1'\nstatus = 5\n[[redirect]]\nfrom = '/a'\nto = '$1'\n\
         [[header]]\npath = 1\nset = { Date = 'x', B = 2 }\nunset = ['Vary', 'Server']\n\
         status = [1, '404', '404']\n",
        &[
            ("2: listen", 1),
            ("4: listen", 1),
            ("5: index", 10),
            ("5: index", 17),
            ("5: index", 20),
            ("7: types.a", 5),
            ("8: types.b", 5),
            ("10: redirect.from", 8),
            ("12: redirect.status", 10),
            ("15: redirect.to", 6),
            ("17: header.path", 8),
            ("18: header.set", 9),
            ("18: header.set", 21),
            ("19: header.unset", 10),
            ("19: header.unset", 18),
            ("20: header.status", 11),
            ("20: header.status", 21),
        ],
    );
}

/// A mistake hides no other mistake and causes none.
#[test]
fn a_mistake_has_no_consequences() {
    for (text, expected) in [
        // The defaults that replace wrong values would conflict with the other values.
        (
            "[limits]\nhead_bytes = 1024\ntarget_bytes = 'x'",
            &[("3: limits.target_bytes", 16)][..],
        ),
        (
            "[cache]\nbytes = 1\nfile_bytes = true\n[timeouts]\nbody = 0",
            &[("3: cache.file_bytes", 14), ("5: timeouts.body", 8)],
        ),
        (
            "[keep_alive]\nbehind = 'gcp'\ntimeout = 0",
            &[("3: keep_alive.timeout", 11)],
        ),
        // The unknown key may have been meant as the missing one.
        (
            "[[host]]\nname = 'a'\nrot = 'a'\n[[spa]]\npath = '/a'\npages = '/a'",
            &[("3: host.rot", 1), ("6: spa.pages", 1)],
        ),
        // Without the stars of its pattern the target cannot be checked, but its presence can.
        (
            "[[redirect]]\nfrom = 'a'\n[[rewrite]]\nfrom = 'a'\nto = '/$1'",
            &[
                ("1: redirect.to", 1),
                ("2: redirect.from", 8),
                ("4: rewrite.from", 8),
            ],
        ),
        ("strict_hosts = true\nhost = [1]", &[("2: host", 9)]),
        (
            "[[host]]\nname = 1\nroot = ''",
            &[("2: host.name", 8), ("3: host.root", 8)],
        ),
        // The first redirect breaks the loop of the other two.
        (
            "[[redirect]]\nfrom = '/b'\nstatus = 1\n[[redirect]]\nfrom = '/a'\nto = '/b'\n\
             [[redirect]]\nfrom = '/b'\nto = '/a'\n[[host]]\nname = 'a'\nroot = 'a'",
            &[("3: redirect.status", 10)],
        ),
        // Two conflicts between keys that are each valid.
        (
            "[limits]\nhead_bytes = 1024\n[cache]\nbytes = 1",
            &[("2: limits.head_bytes", 14), ("4: cache.bytes", 9)],
        ),
    ] {
        assert_told(text, expected);
    }
}

/// A host inherits every general rule.
#[test]
fn a_wrong_general_rule_is_told_once() {
    assert_told(
        "cors = '*'\n[[redirect]]\nfrom = '/a'\nto = '/a'\n[[header]]\npath = '/a'\n\
         unset = ['Access-Control-Allow-Origin']\n[[host]]\nname = 'a'\nroot = 'a'\n[[host]]\n\
         name = 'b'\nroot = 'b'",
        &[("2: redirect", 1), ("5: header", 1)],
    );
}

#[test]
fn of_many_mistakes_the_first_twenty_are_told_and_the_others_counted() {
    let text = |count: usize| -> String { (0..count).map(|n| format!("[x{n}]\n")).collect() };
    assert_eq!(error(&text(20)).lines().count(), 20);
    let error = error(&text(33));
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 21);
    assert!(lines[19].starts_with("abide.toml:20: x19: "), "{error}");
    assert_eq!(lines[20], "and 13 more");
}

#[test]
fn mistakes_of_the_command_line_are_told_after_those_of_the_file() {
    let file = ConfigFile::new("workers = 0");
    let flags = Flags {
        root: Some("no/such".into()),
        listen: vec!["a".to_owned(), "127.0.0.1:0".to_owned(), "b".to_owned()],
        max_requests: Some("many".to_owned()),
        keep_alive_timeout: Some("0".to_owned()),
        access_log: Some("".into()),
        ..Flags::default()
    };
    let error = Config::resolve(Some(&file.path()), &flags).unwrap_err();
    let error = error.to_string();
    let starts: Vec<&str> = error
        .lines()
        .map(|line| line.split_once(": ").map_or(line, |(start, _)| start))
        .collect();
    let place = format!("{}:1", file.path().display());
    let expected = [
        place.as_str(),
        "--access-log",
        "--keep-alive-timeout",
        "--listen",
        "--listen",
        "--max-requests",
        "ROOT",
    ];
    assert_eq!(starts, expected, "{error}");
}

proptest! {
    /// A file is read, or each line of its error has a position.
    #[test]
    fn every_line_of_an_error_has_its_place(
        lines in prop::collection::vec(
            (
                "(\\[\\[?(host|host.spa|header|limits|types|error_pages)\\]\\]?\n)?",
                "(name|root|path|set|404|'\u{e9}\n'|to|status|spa|types)",
                "('/a'|\\[1, '\u{e9}'\\]|\\{ A = '', B = \\[\\] \\}|'''\n'''|\\{\\}|1e9)",
            ),
            0..6,
        ),
    ) {
        let lines = lines.iter().map(|(heading, key, value)| format!("{heading}{key} = {value}\n"));
        if let Err(error) = try_load(&lines.collect::<String>()) {
            for line in error.lines() {
                prop_assert!(line.starts_with("abide.toml:") && line.ends_with(')'), "{}", error);
            }
        }
    }
}
