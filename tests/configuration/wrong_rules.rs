//! Header rules and redirects that are refused for their statuses, types or targets.

use super::wrong_sites::{assert_refusals, header_rule};

#[test]
fn wrong_statuses_and_types_of_header_rules_are_refused() {
    let cases = [
        (
            "status = '4x4'",
            "4: header.status",
            "\"4x4\" is no final status",
        ),
        (
            "status = 100",
            "4: header.status",
            "\"100\" is no final status",
        ),
        ("status = -404", "4: header.status", "is no final status"),
        (
            "status = [\n'404',\n'Any']",
            "6: header.status",
            "status = \"any\" for all",
        ),
        ("status = ['any']", "4: header.status", "is no final status"),
        (
            "status = ['404', '5xx', 404]",
            "4: header.status",
            "404 is listed twice",
        ),
        ("status = []", "4: header.status", "the list is empty"),
        (
            "status = true",
            "4: header.status",
            "the boolean true was given, it must be a status, a list of them",
        ),
        (
            "status = ['404', 1.5]",
            "4: header.status",
            "the decimal number 1.5 was given",
        ),
        (
            "type = 'html'",
            "4: header.type",
            "\"html\" is no media type",
        ),
        ("type = '*/*'", "4: header.type", "is no media type"),
        (
            "type = 'text/html; charset=utf-8'",
            "4: header.type",
            "has a parameter",
        ),
        (
            "type = ['text/html', 'Text/HTML']",
            "4: header.type",
            "text/html is listed twice",
        ),
        ("type = []", "4: header.type", "the list is empty"),
        (
            "type = { a = 1 }",
            "4: header.type",
            "a table was given, it must be a media type or a list of them",
        ),
        (
            "types = 'text/html'",
            "4: header.types",
            "did you mean header.type?",
        ),
    ];
    for (rest, start, reason) in cases {
        let rule = header_rule(&format!("set = {{ A = 'x' }}\n{rest}"));
        assert_refusals(&[(&rule, start, reason)]);
    }
}

#[test]
fn a_redirect_has_a_target_or_a_status_that_needs_none() {
    let withdrawn = |rest: &str| format!("[[redirect]]\nfrom = '/a'\n{rest}");
    let cases = [
        (
            "",
            "1: redirect.to",
            "for a path that is gone write status = 410 and no target",
        ),
        (
            "status = 301",
            "1: redirect.to",
            "it is missing, it must be where they are now",
        ),
        (
            "to = '/b'\nstatus = 410",
            "3: redirect.to",
            "an answer with status 410 leads nowhere: leave the target out",
        ),
        (
            "status = 451\nto = '/b'",
            "4: redirect.to",
            "an answer with status 451 leads nowhere",
        ),
        ("status = 500", "3: redirect.status", "403, 404, 410 or 451"),
        (
            "status = 418",
            "3: redirect.status",
            "the number 418 was given",
        ),
        ("status = '410'", "3: redirect.status", "the string '410'"),
    ];
    for (rest, start, reason) in cases {
        assert_refusals(&[(&withdrawn(rest), start, reason)]);
    }
    assert_refusals(&[(
        "[[host]]\nname = 'a'\nroot = 'a'\n[[host.redirect]]\nfrom = '/a'\nto = '/b'\nstatus = 404",
        "6: host.redirect.to",
        "an answer with status 404 leads nowhere",
    )]);
}
