//! Errors about header rules and redirects: their statuses, types and targets.

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
            "it is missing, it must be the path or URI where the documents are now",
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

#[test]
fn wrong_redirects_and_rewrites_are_refused() {
    assert_refusals(&[
        (
            "[[redirect]]\nfrom = '/a'",
            "1: redirect.to",
            "it is missing",
        ),
        (
            "[[redirect]]\nfrom = 1\nto = '/'",
            "2: redirect.from",
            "the number 1 was given",
        ),
        (
            "[[redirect]]\nfrom = 'a'\nto = '/'",
            "2: redirect.from",
            "begin with a slash",
        ),
        (
            "[[redirect]]\nfrom = '/a'\nto = '/$1'",
            "3: redirect.to",
            "the pattern has no star",
        ),
        (
            "[[redirect]]\nfrom = '/*/**'\nto = '/$3'",
            "3: redirect.to",
            "has 2 stars: $3",
        ),
        (
            "[[redirect]]\nfrom = '/a'\nto = '//b.example'",
            "3: redirect.to",
            "two slashes",
        ),
        (
            "[[redirect]]\nfrom = '/a'\nto = '/b'\nstatus = 300",
            "4: redirect.status",
            "the number 300 was given, it must be 301, 302, 303, 307 or 308",
        ),
        (
            "[[redirect]]\nfrom = '/a'\nto = '/b'\nstatus = '301'",
            "4: redirect.status",
            "the string '301' was given",
        ),
        ("[[rewrite]]\nfrom = '/a'", "1: rewrite.to", "it is missing"),
        (
            "[[rewrite]]\nfrom = '/a'\nto = 'b'",
            "3: rewrite.to",
            "begin with a slash",
        ),
        (
            "[[rewrite]]\nfrom = '/a'\nto = '/b?c'",
            "3: rewrite.to",
            "without a query",
        ),
        (
            "[[rewrite]]\nfrom = '/a'\nto = '/b'\nstatus = 301",
            "4: rewrite.status",
            "the keys of [[rewrite]] are from, to",
        ),
    ]);
}

#[test]
fn redirects_that_lead_back_are_refused() {
    assert_refusals(&[
        (
            "[[redirect]]\nfrom = '/ok'\nto = '/a'\n\n[[redirect]]\nfrom = '/a/**'\nto = '/a/b/$1'",
            "5: redirect",
            "the redirect from /a/** to /a/b/$1 leads back to itself",
        ),
        (
            "clean_urls = true\n[[redirect]]\nfrom = '/a'\nto = '/a.html'",
            "2: redirect",
            "leads back to itself",
        ),
        (
            "clean_urls = true\n[[redirect]]\nfrom = '/'\nto = '/index.html'",
            "2: redirect",
            "leads back to itself",
        ),
        (
            "clean_urls = true\nindex = 'home.html'\n[[redirect]]\nfrom = '/a/'\nto = '/a/home'",
            "3: redirect",
            "leads back to itself",
        ),
    ]);
}

#[test]
fn wrong_applications_are_refused() {
    assert_refusals(&[
        ("[[spa]]\npage = '/a'", "1: spa.path", "it is missing"),
        ("[[spa]]\npath = '/a/**'", "1: spa.page", "it is missing"),
        (
            "[[spa]]\npath = 'a'\npage = '/a'",
            "2: spa.path",
            "begin with a slash",
        ),
        (
            "[[spa]]\npath = '/a'\npage = '/a/'",
            "3: spa.page",
            "not a directory",
        ),
        (
            "[[spa]]\npath = '/a'\npage = ''",
            "3: spa.page",
            "the path is empty",
        ),
        (
            "[[spa]]\npath = '/a'\npage = false",
            "3: spa.page",
            "the boolean false was given",
        ),
        (
            "[[spa]]\npath = '/a'\npage = '/a'\nexcept = '/b'",
            "4: spa.except",
            "the string '/b' was given, it must be a list of patterns",
        ),
        (
            "[[spa]]\npath = '/a'\npage = '/a'\nexcept = [\n'/b',\n'c']",
            "6: spa.except",
            "begin with a slash",
        ),
        (
            "[[spa]]\npath = '/a'\npage = '/a'\nexcept = [1]",
            "4: spa.except",
            "the number 1 was given",
        ),
        (
            "[[spa]]\npath = '/a'\npages = '/a'",
            "3: spa.pages",
            "did you mean spa.page?",
        ),
        (
            "[[host]]\nname = 'a'\nroot = 'a'\n[[host.spa]]\npath = '/b'",
            "4: host.spa.page",
            "it is missing",
        ),
        (
            "[[spas]]\npath = '/b'\npage = '/a'",
            "1: spas",
            "did you mean [[spa]]?",
        ),
    ]);
}

#[test]
fn applications_are_written_in_one_of_two_forms() {
    let twice = "it is given twice: write either one page, as in spa = \"/index.html\", or a table";
    let either = "\"\" for none, or a table for each application, with [[spa]] before its keys";
    assert_refusals(&[
        ("spa = '/a'\n[[spa]]\npath = '/b'", "2: spa", twice),
        (
            "[[host]]\nname = 'a'\nroot = 'a'\nspa = '/a'\n[[host.spa]]\npath = '/b'",
            "5: host.spa",
            twice,
        ),
        ("[spa]\npath = '/b'\npage = '/a'", "1: spa", either),
        ("spa = []", "1: spa", either),
        (
            "spa = [1, { path = '/b', page = '/a' }]",
            "1: spa",
            "the number 1 was given, it must be a table for each",
        ),
    ]);
}
