//! Conditional requests, condition by condition.

use super::super::request::{HeadLimits, Parsed, parse_head};
use super::*;

const OCT_21: &str = "Wed, 21 Oct 2015 07:28:00 GMT";
const OCT_21_SECS: u64 = 1_445_412_480;
const OCT_22: &str = "Thu, 22 Oct 2015 07:28:00 GMT";
const OCT_20: &str = "Tue, 20 Oct 2015 07:28:00 GMT";
const NOW_SECS: u64 = 1_500_000_000;

const FILE: Validators<'_> = Validators {
    etag: Some(b"\"v1\""),
    last_modified_unix_secs: Some(OCT_21_SECS),
};
const NO_ETAG: Validators<'_> = Validators { etag: None, ..FILE };
const NOTHING_KNOWN: Validators<'_> = Validators {
    etag: None,
    last_modified_unix_secs: None,
};

fn with_fields<T>(lines: &[(&str, &str)], ask: impl FnOnce(&Fields<'_, '_>) -> T) -> T {
    let mut text = "GET / HTTP/1.0\r\n".to_owned();
    for (name, value) in lines {
        text += &format!("{name}: {value}\r\n");
    }
    text += "\r\n";
    let limits = HeadLimits {
        target_bytes: 100,
        head_bytes: 10_000,
        headers: 100,
    };
    match parse_head(text.as_bytes(), &limits, &mut Vec::new()) {
        Ok(Parsed::Complete { head, .. }) => ask(&head.fields),
        other => panic!("{other:?}"),
    }
}

fn result_of(
    method: Method,
    validators: &Validators<'_>,
    lines: &[(&str, &str)],
) -> PreconditionResult {
    with_fields(lines, |fields| {
        evaluate(method, fields, validators, NOW_SECS)
    })
}

fn get(lines: &[(&str, &str)]) -> PreconditionResult {
    result_of(Method::Get, &FILE, lines)
}

fn ranges(validators: &Validators<'_>, lines: &[(&str, &str)]) -> bool {
    with_fields(lines, |fields| if_range_holds(fields, validators, NOW_SECS))
}

#[test]
fn without_preconditions_the_request_proceeds() {
    assert_eq!(get(&[("Accept", "*/*")]), PreconditionResult::Proceed);
}

#[test]
fn if_match_compares_strongly_rfc9110_13_1_1() {
    assert_eq!(get(&[("If-Match", "\"v1\"")]), PreconditionResult::Proceed);
    assert_eq!(
        get(&[("If-Match", "\"v0\" , ,\"v1\"")]),
        PreconditionResult::Proceed
    );
    assert_eq!(get(&[("If-Match", "*")]), PreconditionResult::Proceed);
    assert_eq!(get(&[("If-Match", "\"v2\"")]), PreconditionResult::Failed);
    assert_eq!(get(&[("If-Match", "W/\"v1\"")]), PreconditionResult::Failed);
    assert_eq!(get(&[("If-Match", "")]), PreconditionResult::Failed);
    let any = [("If-Match", "*")];
    assert_eq!(
        result_of(Method::Get, &NO_ETAG, &any),
        PreconditionResult::Proceed
    );
    let listed = [("If-Match", "\"v1\"")];
    assert_eq!(
        result_of(Method::Get, &NO_ETAG, &listed),
        PreconditionResult::Failed
    );
}

#[test]
fn if_none_match_compares_weakly_rfc9110_13_1_2() {
    for value in ["\"v1\"", "W/\"v1\"", "*", "\"v0\", W/\"v1\"", ",\"v1\","] {
        assert_eq!(
            get(&[("If-None-Match", value)]),
            PreconditionResult::NotModified,
            "{value}"
        );
    }
    assert_eq!(
        get(&[("If-None-Match", "\"v2\"")]),
        PreconditionResult::Proceed
    );
    let lines = [("If-None-Match", "*")];
    assert_eq!(
        result_of(Method::Get, &NO_ETAG, &lines),
        PreconditionResult::NotModified
    );
}

#[test]
fn a_weak_tag_of_ours_matches_weakly_only_rfc9110_8_8_3_2() {
    let weak = Validators {
        etag: Some(b"W/\"v1\""),
        ..FILE
    };
    for value in ["\"v1\"", "W/\"v1\""] {
        let result_of = |name| result_of(Method::Get, &weak, &[(name, value)]);
        assert_eq!(result_of("If-None-Match"), PreconditionResult::NotModified);
        assert_eq!(result_of("If-Match"), PreconditionResult::Failed);
        assert!(!ranges(&weak, &[("If-Range", value)]));
    }
    let other = [("If-None-Match", "W/\"v2\"")];
    assert_eq!(
        result_of(Method::Get, &weak, &other),
        PreconditionResult::Proceed
    );
}

#[test]
fn several_lines_are_one_list_rfc9110_5_3() {
    let lines = [("If-None-Match", "\"v0\""), ("if-none-match", "\"v1\"")];
    assert_eq!(get(&lines), PreconditionResult::NotModified);
    assert_eq!(
        get(&[("If-Match", "\"v0\""), ("If-Match", "\"v1\"")]),
        PreconditionResult::Proceed
    );
}

#[test]
fn a_malformed_list_of_tags_matches_nothing_rfc9110_8_8_3() {
    for value in [
        "v1",
        "\"v1",
        "v1\"",
        "w/\"v1\"",
        "W/ \"v1\"",
        "W/v1",
        "\"v1\" \"v2\"",
        "\"v1\"x",
        "*, \"v1\"",
        "\"v1\", *",
        "\"v1\", v2",
        "**",
        "\"v 1\", \"v1\"",
    ] {
        assert_eq!(
            get(&[("If-None-Match", value)]),
            PreconditionResult::Proceed,
            "{value}"
        );
        assert_eq!(
            get(&[("If-Match", value)]),
            PreconditionResult::Failed,
            "{value}"
        );
    }
    let twice = [("If-None-Match", "*"), ("If-None-Match", "*")];
    assert_eq!(get(&twice), PreconditionResult::Proceed);
}

#[test]
fn a_tag_may_hold_commas_and_backslashes_rfc9110_8_8_3() {
    let validators = Validators {
        etag: Some(b"\"a,b\\\""),
        ..FILE
    };
    let lines = [("If-None-Match", "\"x\", \"a,b\\\"")];
    assert_eq!(
        result_of(Method::Get, &validators, &lines),
        PreconditionResult::NotModified
    );
}

#[test]
fn if_unmodified_since_fails_when_the_file_is_newer_rfc9110_13_1_4() {
    assert_eq!(
        get(&[("If-Unmodified-Since", OCT_21)]),
        PreconditionResult::Proceed
    );
    assert_eq!(
        get(&[("If-Unmodified-Since", OCT_22)]),
        PreconditionResult::Proceed
    );
    assert_eq!(
        get(&[("If-Unmodified-Since", OCT_20)]),
        PreconditionResult::Failed
    );
    let lines = [("If-Unmodified-Since", OCT_20)];
    assert_eq!(
        result_of(Method::Get, &NOTHING_KNOWN, &lines),
        PreconditionResult::Proceed
    );
}

#[test]
fn if_modified_since_saves_a_transfer_rfc9110_13_1_3() {
    assert_eq!(
        get(&[("If-Modified-Since", OCT_21)]),
        PreconditionResult::NotModified
    );
    assert_eq!(
        get(&[("If-Modified-Since", OCT_22)]),
        PreconditionResult::NotModified
    );
    assert_eq!(
        get(&[("If-Modified-Since", OCT_20)]),
        PreconditionResult::Proceed
    );
    let lines = [("If-Modified-Since", OCT_21)];
    assert_eq!(
        result_of(Method::Head, &FILE, &lines),
        PreconditionResult::NotModified
    );
    assert_eq!(
        result_of(Method::Post, &FILE, &lines),
        PreconditionResult::Proceed
    );
    assert_eq!(
        result_of(Method::Get, &NOTHING_KNOWN, &lines),
        PreconditionResult::Proceed
    );
}

#[test]
fn dates_may_be_in_the_obsolete_formats_rfc9110_5_6_7() {
    for date in [
        "Wednesday, 21-Oct-15 07:28:00 GMT",
        "Wed Oct 21 07:28:00 2015",
    ] {
        assert_eq!(
            get(&[("If-Modified-Since", date)]),
            PreconditionResult::NotModified,
            "{date}"
        );
    }
}

#[test]
fn dates_that_are_not_valid_or_repeated_are_ignored_rfc9110_13_1_3() {
    for date in [
        "",
        "yesterday",
        "1445412480",
        "Wed, 21 Oct 2015 07:28:00",
        "Wed, 99 Oct 2015 07:28:00 GMT",
    ] {
        assert_eq!(
            get(&[("If-Modified-Since", date)]),
            PreconditionResult::Proceed,
            "{date}"
        );
        assert_eq!(
            get(&[("If-Unmodified-Since", date)]),
            PreconditionResult::Proceed,
            "{date}"
        );
    }
    let twice = [("If-Modified-Since", OCT_21), ("If-Modified-Since", OCT_21)];
    assert_eq!(get(&twice), PreconditionResult::Proceed);
}

#[test]
fn a_file_from_the_future_counts_as_changed_now_rfc9110_8_8_2_1() {
    let future = Validators {
        last_modified_unix_secs: Some(NOW_SECS + 1000),
        ..FILE
    };
    let ask = |date: u64| {
        let date = crate::http::date::http_date(date);
        result_of(Method::Get, &future, &[("If-Modified-Since", &date)])
    };
    assert_eq!(ask(NOW_SECS), PreconditionResult::NotModified);
    assert_eq!(ask(NOW_SECS - 1), PreconditionResult::Proceed);
}

#[test]
fn tags_take_precedence_over_dates_rfc9110_13_2_2() {
    assert_eq!(
        get(&[("If-Match", "\"v1\""), ("If-Unmodified-Since", OCT_20)]),
        PreconditionResult::Proceed
    );
    assert_eq!(
        get(&[("If-None-Match", "\"v2\""), ("If-Modified-Since", OCT_22)]),
        PreconditionResult::Proceed
    );
    // Even a list that matches nothing because it is malformed.
    assert_eq!(
        get(&[("If-None-Match", "v2"), ("If-Modified-Since", OCT_22)]),
        PreconditionResult::Proceed
    );
}

#[test]
fn the_state_is_checked_before_the_cache_rfc9110_13_2_2() {
    assert_eq!(
        get(&[("If-None-Match", "\"v1\""), ("If-Match", "\"v2\"")]),
        PreconditionResult::Failed
    );
    assert_eq!(
        get(&[
            ("If-Modified-Since", OCT_22),
            ("If-Unmodified-Since", OCT_20)
        ]),
        PreconditionResult::Failed
    );
    assert_eq!(
        get(&[("If-Match", "\"v1\""), ("If-None-Match", "\"v1\"")]),
        PreconditionResult::NotModified
    );
}

#[test]
fn an_unsafe_method_fails_where_get_is_not_modified_rfc9110_13_1_2() {
    let lines = [("If-None-Match", "*")];
    assert_eq!(
        result_of(Method::Put, &FILE, &lines),
        PreconditionResult::Failed
    );
    assert_eq!(
        result_of(Method::Head, &FILE, &lines),
        PreconditionResult::NotModified
    );
}

#[test]
fn methods_without_a_representation_ignore_conditions_rfc9110_13_2_1() {
    let lines = [("If-Match", "\"v2\""), ("If-None-Match", "*")];
    for method in [Method::Options, Method::Connect, Method::Trace] {
        assert_eq!(
            result_of(method, &FILE, &lines),
            PreconditionResult::Proceed
        );
    }
}

#[test]
fn if_range_wants_the_same_file_rfc9110_13_1_5() {
    assert!(ranges(&FILE, &[]));
    assert!(ranges(&FILE, &[("If-Range", "\"v1\"")]));
    assert!(ranges(&FILE, &[("If-Range", OCT_21)]));
    for value in [
        "\"v2\"",
        "W/\"v1\"",
        OCT_20,
        OCT_22,
        "",
        "*",
        "v1",
        "\"v1\", \"v2\"",
        "\"v1\" x",
    ] {
        assert!(!ranges(&FILE, &[("If-Range", value)]), "{value}");
    }
    assert!(!ranges(&NO_ETAG, &[("If-Range", "\"v1\"")]));
    let of_this_second = Validators {
        last_modified_unix_secs: Some(NOW_SECS),
        ..FILE
    };
    let date = crate::http::date::http_date(NOW_SECS);
    assert!(!ranges(&of_this_second, &[("If-Range", &date)]));
    assert!(!ranges(&NOTHING_KNOWN, &[("If-Range", OCT_21)]));
    assert!(!ranges(
        &FILE,
        &[("If-Range", "\"v1\""), ("If-Range", "\"v1\"")]
    ));
}
