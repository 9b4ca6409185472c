//! Tests of the field lines that responses get.

use super::*;
use crate::config::{FieldName, FieldValue};

const OWN: &[u8] = b"ETag: \"1\"\r\nContent-Type: text/html\r\n\
    X-Content-Type-Options: nosniff\r\nVary: Accept-Encoding\r\n";

fn rule(path: &str, set: &[(&str, &str)], unset: &[&str]) -> HeaderRule {
    let unset = unset.iter().map(|name| FieldName::to_unset(name).unwrap());
    let set = set.iter().map(|(name, value)| {
        let value = FieldValue::parse(value).unwrap();
        (FieldName::to_set(name).unwrap(), value)
    });
    HeaderRule {
        path: path.parse().unwrap(),
        status: Statuses::Unspecified,
        types: Vec::new(),
        set: set.collect(),
        unset: unset.collect(),
    }
}

/// `rule` for these statuses or classes, or for any status if there are none.
fn only(rule: HeaderRule, status: &[&str]) -> HeaderRule {
    let ranges = status.iter().map(|text| text.parse().unwrap());
    let status = match status {
        [] => Statuses::Any,
        _ => Statuses::Listed(ranges.collect()),
    };
    HeaderRule { status, ..rule }
}

/// `rule` for these media types.
fn of_types(rule: HeaderRule, types: &[&str]) -> HeaderRule {
    let types = types.iter().map(|text| text.parse().unwrap());
    HeaderRule {
        types: types.collect(),
        ..rule
    }
}

const HTML: ResponseProperties<'static> = ResponseProperties {
    status: Status::OK,
    scheme: Scheme::Http,
    is_fallback: false,
    content_type: Some(b"text/html"),
};

fn with_status(status: Status) -> ResponseProperties<'static> {
    ResponseProperties { status, ..HTML }
}

fn edited(rules: &HeaderRules, path: &str) -> Vec<String> {
    edited_of(rules, path, &HTML)
}

fn edited_of(rules: &HeaderRules, path: &str, answer: &ResponseProperties<'_>) -> Vec<String> {
    let edited = rules.edit(path.as_bytes(), &Bytes::from_static(OWN), answer);
    let text = String::from_utf8(edited.to_vec()).unwrap();
    assert!(text.is_empty() || text.ends_with("\r\n"));
    let lines = text.split_terminator("\r\n").map(str::to_owned);
    lines.collect()
}

#[test]
fn without_a_matching_rule_the_bytes_are_the_same() {
    let rules = HeaderRules::new(false, &[rule("/a", &[("X", "1")], &[])], None);
    let own = Bytes::from_static(OWN);
    assert_eq!(rules.edit(b"/b", &own, &HTML).as_ptr(), own.as_ptr());
    assert!(!rules.is_empty());
    assert!(HeaderRules::new(false, &[], None).is_empty());
}

#[test]
fn all_rules_that_match_apply_and_a_later_one_wins_per_name() {
    let rules = [
        rule("/**", &[("Cache-Control", "no-cache"), ("X-A", "1")], &[]),
        rule(
            "/assets/**",
            &[("cache-control", "max-age=9")],
            &["x-content-type-options"],
        ),
        rule("/other", &[("X-A", "2")], &[]),
    ];
    let rules = HeaderRules::new(false, &rules, None);
    assert_eq!(
        edited(&rules, "/assets/a.css"),
        [
            "ETag: \"1\"",
            "Content-Type: text/html",
            "Vary: Accept-Encoding",
            "X-A: 1",
            "cache-control: max-age=9"
        ]
    );
    assert_eq!(
        edited(&rules, "/other")[4..],
        ["Cache-Control: no-cache", "X-A: 2"]
    );
}

#[test]
fn a_name_is_not_taken_for_a_longer_or_shorter_one() {
    let rules = HeaderRules::new(false, &[rule("/", &[], &["X-Content-Type", "E"])], None);
    assert_eq!(edited(&rules, "/").len(), 4);
}

#[test]
fn values_of_vary_add_up() {
    let vary = [
        rule("/", &[("vary", "Cookie")], &[]),
        rule("/", &[("vary", "Cookie")], &[]),
    ];
    let cors = Cors::new(&["https://a.example".parse().unwrap()]);
    let lines = edited(&HeaderRules::new(false, &vary, cors.as_ref()), "/");
    assert_eq!(
        lines[3..],
        ["Vary: Accept-Encoding", "vary: Cookie", "Vary: Origin"]
    );
}

#[test]
fn the_preset_comes_before_the_rules() {
    let rules = [rule(
        "/embed/**",
        &[],
        &["X-Frame-Options", "Content-Security-Policy"],
    )];
    let rules = HeaderRules::new(true, &rules, None);
    assert_eq!(edited(&rules, "/").len(), 4 + SECURITY_FIELDS.len());
    assert_eq!(
        edited(&rules, "/embed/x").len(),
        4 + SECURITY_FIELDS.len() - 2
    );
}

#[test]
fn the_preset_could_be_written_as_a_rule() {
    for (name, value) in SECURITY_FIELDS {
        assert!(FieldName::to_set(name).is_ok() && FieldValue::parse(value).is_ok());
    }
}

/// The lines that `rules` add after the original lines.
fn added(rules: &[HeaderRule], answer: &ResponseProperties<'_>) -> Vec<String> {
    let lines = edited_of(&HeaderRules::new(false, rules, None), "/a", answer);
    lines[4..].to_vec()
}

const NEVER_CHANGES: [(&str, &str); 3] = [
    ("Cache-Control", "immutable"),
    ("expires", "never"),
    ("X", "1"),
];

/// An error, or a page sent in place of a file, must not be cached as long as the file.
#[test]
fn caching_fields_do_not_go_on_errors_or_the_page_of_an_application() {
    let rules = [rule("/**", &NEVER_CHANGES, &[])];
    for status in [
        Status::OK,
        Status::PARTIAL_CONTENT,
        Status::NOT_MODIFIED,
        Status::MOVED_PERMANENTLY,
        Status::PERMANENT_REDIRECT,
    ] {
        assert_eq!(added(&rules, &with_status(status)).len(), 3, "{status:?}");
        let fallback = ResponseProperties {
            is_fallback: true,
            ..with_status(status)
        };
        assert_eq!(added(&rules, &fallback), ["X: 1"], "{status:?}");
    }
    for status in [
        Status::FORBIDDEN,
        Status::NOT_FOUND,
        Status::GONE,
        Status::PRECONDITION_FAILED,
        Status::INTERNAL_SERVER_ERROR,
        Status::SERVICE_UNAVAILABLE,
    ] {
        assert_eq!(added(&rules, &with_status(status)), ["X: 1"], "{status:?}");
    }
}

#[test]
fn a_rule_for_any_status_is_for_all_fields_of_all_answers() {
    let rules = [only(rule("/**", &NEVER_CHANGES, &[]), &[])];
    let fallback = ResponseProperties {
        is_fallback: true,
        ..HTML
    };
    for answer in [HTML, fallback, with_status(Status::NOT_FOUND)] {
        assert_eq!(added(&rules, &answer).len(), 3, "{answer:?}");
    }
}

#[test]
fn a_rule_that_names_statuses_is_for_these_alone() {
    let rules = [only(rule("/**", &NEVER_CHANGES, &[]), &["404", "5xx"])];
    for (status, count) in [
        (Status::NOT_FOUND, 3),
        (Status::SERVICE_UNAVAILABLE, 3),
        (Status::OK, 0),
        (Status::NOT_MODIFIED, 0),
        (Status::GONE, 0),
    ] {
        assert_eq!(added(&rules, &with_status(status)).len(), count);
    }
    let rules = [only(rule("/**", &NEVER_CHANGES, &[]), &["200"])];
    let fallback = ResponseProperties {
        is_fallback: true,
        ..HTML
    };
    assert_eq!(added(&rules, &HTML).len(), 3);
    assert_eq!(added(&rules, &fallback).len(), 3, "its status is 200");
    assert!(added(&rules, &with_status(Status::PARTIAL_CONTENT)).is_empty());
}

/// One rule removes a field from files, another sets it in errors, and errors keep it.
#[test]
fn removals_depend_on_the_status_too() {
    let rules = [
        only(rule("/**", &[("Cache-Control", "no-store")], &[]), &[]),
        rule("/**", &[], &["Cache-Control"]),
    ];
    assert!(added(&rules, &HTML).is_empty());
    let error = added(&rules, &with_status(Status::NOT_FOUND));
    assert_eq!(error, ["Cache-Control: no-store"]);
}

/// RFC 9110 section 15.4.5.
#[test]
fn a_304_has_the_caching_fields_of_the_200_in_its_place() {
    let fields = [
        ("Cache-Control", "no-cache"),
        ("Expires", "0"),
        ("Content-Location", "/b"),
        ("Vary", "Cookie"),
        ("X", "1"),
    ];
    let not_modified = with_status(Status::NOT_MODIFIED);
    for (status, count) in [
        (&["200"][..], 4),
        (&["2xx"], 4),
        (&["304"], 5),
        (&["200", "304"], 5),
        // For example a rule for redirects.
        (&["3xx"], 1),
        (&["206", "404"], 0),
    ] {
        let rules = [only(rule("/**", &fields, &[]), status)];
        assert_eq!(added(&rules, &not_modified).len(), count, "{status:?}");
    }
}

#[test]
fn a_rule_for_a_type_is_for_answers_of_that_type() {
    let rules = [of_types(
        rule("/**", &[("X", "1")], &[]),
        &["text/html", "image/*"],
    )];
    assert!(HeaderRules::new(false, &rules, None).depends_on_type());
    for (content_type, is_in) in [
        (Some("text/html"), true),
        (Some("Text/HTML; charset=utf-8"), true),
        (Some("image/png"), true),
        (Some("text/css"), false),
        (None, false),
    ] {
        let answer = ResponseProperties {
            content_type: content_type.map(str::as_bytes),
            ..HTML
        };
        assert_eq!(!added(&rules, &answer).is_empty(), is_in, "{answer:?}");
    }
}

/// Rules depend on the type that is sent.
#[test]
fn a_rule_sees_the_type_that_the_rules_before_it_have_made() {
    let make = |status: Option<&[&str]>| {
        let csv = rule("/**", &[("Content-Type", "text/csv")], &[]);
        [
            of_types(rule("/**", &[("A", "1")], &[]), &["text/html"]),
            status.map_or(csv.clone(), |status| only(csv, status)),
            of_types(rule("/**", &[("B", "1")], &[]), &["text/html"]),
            of_types(rule("/**", &[("C", "1")], &[]), &["text/csv"]),
        ]
    };
    let names = |rules: &[HeaderRule], status| -> Vec<String> {
        let lines = edited_of(
            &HeaderRules::new(false, rules, None),
            "/a",
            &with_status(status),
        );
        let is_ours = |line: &String| line.ends_with(": 1");
        lines.into_iter().filter(is_ours).collect()
    };
    for status in [Status::OK, Status::NOT_MODIFIED, Status::PARTIAL_CONTENT] {
        assert_eq!(names(&make(None), status), ["A: 1", "C: 1"], "{status:?}");
    }
    // An error page has its own type.
    assert_eq!(names(&make(None), Status::NOT_FOUND), ["A: 1", "B: 1"]);
    let whole = make(Some(&["200"]));
    assert_eq!(names(&whole, Status::NOT_MODIFIED), ["A: 1", "C: 1"]);
    assert_eq!(names(&whole, Status::PARTIAL_CONTENT), ["A: 1", "B: 1"]);
}

#[test]
fn hsts_comes_before_the_rules_and_over_tls_only() {
    let secure = ResponseProperties {
        scheme: Scheme::Https,
        ..HTML
    };
    let hsts = |rules: &[HeaderRule]| HeaderRules::new(false, rules, None).with_hsts(60);
    assert!(HeaderRules::new(false, &[], None).with_hsts(0).is_empty());
    let alone = hsts(&[]);
    assert!(!alone.is_empty() && alone.depends_on_scheme());
    let own = Bytes::from_static(OWN);
    assert_eq!(alone.edit(b"/", &own, &HTML).as_ptr(), own.as_ptr());
    let line = "Strict-Transport-Security: max-age=60";
    assert_eq!(edited_of(&alone, "/", &secure).last().unwrap(), line);
    let removed = hsts(&[rule("/a", &[], &["strict-transport-security"])]);
    assert!(!edited_of(&removed, "/a", &secure).contains(&line.to_owned()));
    assert!(edited_of(&removed, "/b", &secure).contains(&line.to_owned()));
}
