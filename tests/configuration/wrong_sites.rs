//! Errors about sites: their keys, tables, rules and hosts.

use super::refusal;

/// Checks that each text is refused at the expected place with the expected message.
pub fn assert_refusals(cases: &[(&str, &str, &str)]) {
    for (text, start, reason) in cases {
        let error = refusal(text);
        assert!(
            error.starts_with(&format!("abide.toml:{start}: ")),
            "{error}"
        );
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn wrong_values_of_site_keys_are_refused() {
    assert_refusals(&[
        (
            "clean_urls = 'yes'",
            "1: clean_urls",
            "it must be true or false",
        ),
        ("index = ['a/b']", "1: index", "a name within the directory"),
        ("index = [\n'a',\n'..']", "3: index", "it must name a file"),
        ("index = ['a', 'a']", "1: index", "listed twice"),
        ("spa = 'index.html'", "1: spa", "begin with a slash"),
        ("spa = '/app/'", "1: spa", "not a directory"),
        ("spa = false", "1: spa", "the boolean false was given"),
        (
            "symlinks = 'all'",
            "1: symlinks",
            "\"inside\", \"never\" or \"anywhere\"",
        ),
        (
            "\nprecompressed = 'true'",
            "2: precompressed",
            "'true' was given, it must be true, false or \"always\"",
        ),
        (
            "precompressed = 1",
            "1: precompressed",
            "1 was given, it must be true, false or \"always\"",
        ),
        (
            "symlinks = true",
            "1: symlinks",
            "the boolean true was given, it must be \"inside\"",
        ),
        ("etag = 1", "1: etag", "\"mtime\" or \"content\""),
        ("cors = ['app.example']", "1: cors", "its scheme"),
        (
            "cors = [\n'*',\n'https://a.example']",
            "1: cors",
            "must be alone",
        ),
        (
            "trusted_proxies = ['10.0.0.1/8']",
            "1: trusted_proxies",
            "write 10.0.0.0/8",
        ),
        (
            "trusted_proxies = '10.0.0.0/8'",
            "1: trusted_proxies",
            "a list of addresses",
        ),
        (
            "strict_hosts = true",
            "1: strict_hosts",
            "without a [[host]]",
        ),
        ("access_log = '-'", "1: access_log", "write [access_log]"),
        (
            "[access_log]\nformat = 'xml'",
            "2: access_log.format",
            "\"extended\"",
        ),
        (
            "[access_log]\nfile = 'a'",
            "2: access_log.file",
            "the keys of [access_log]",
        ),
    ]);
}

#[test]
fn wrong_default_types_are_refused() {
    assert_refusals(&[
        ("default_type = 1", "1: default_type", "a media type"),
        ("default_type = ''", "1: default_type", "no media type"),
        (
            "default_type = \"text/plain\\r\\n\"",
            "1: default_type",
            "no media type",
        ),
        (
            "[[host]]\nname = 'a'\nroot = 'b'\ndefault_type = 'text'",
            "4: host.default_type",
            "no media type",
        ),
    ]);
}

#[test]
fn wrong_tables_are_refused() {
    assert_refusals(&[
        ("error_pages = 1", "1: error_pages", "write [error_pages]"),
        (
            "[error_pages]\n200 = '/a'",
            "2: error_pages.200",
            "400 to 599",
        ),
        (
            "[error_pages]\nmissing = '/a'",
            "2: error_pages.missing",
            "400 to 599",
        ),
        (
            "[error_pages]\n404 = 'a'",
            "2: error_pages.404",
            "begin with a slash",
        ),
        (
            "[error_pages]\n404 = 5",
            "2: error_pages.404",
            "the path of a page",
        ),
        (
            "[types]\n'.js' = 'text/javascript'",
            "2: types..js",
            "without the dot",
        ),
        ("[types]\njs = 'javascript'", "2: types.js", "no media type"),
        (
            "[types]\njs = \"a/b\\r\\nX: y\"",
            "2: types.js",
            "no media type",
        ),
        (
            "[types]\njs = 'a/b'\nJS = 'a/c'",
            "3: types.JS",
            "given twice",
        ),
        ("[host.types]\njs = 1", "1: host", "[[host]]"),
        ("[headers]\nx = 1", "1: headers", "did you mean [[header]]?"),
        (
            "[[redirects]]\nfrom = 1",
            "1: redirects",
            "did you mean [[redirect]]?",
        ),
    ]);
}

#[test]
fn wrong_encodings_are_refused() {
    assert_refusals(&[
        (
            "[encodings]\nbr = 'br'\nwasm.gz = 'gzip'",
            "3: encodings.wasm",
            "in quotes, as in \"wasm.gz\"",
        ),
        (
            "[encodings]\n'.gz' = 'gzip'",
            "2: encodings..gz",
            "without that dot",
        ),
        (
            "[encodings]\ngz = 'deflate'",
            "2: encodings.gz",
            "the string 'deflate' was given, it must be \"gzip\", \"br\" or \"zstd\"",
        ),
        (
            "[encodings]\ngz = true",
            "2: encodings.gz",
            "it must be \"gzip\", \"br\" or \"zstd\"",
        ),
        (
            "[encodings]\ngz = 'gzip'\nGZ = ''",
            "3: encodings.GZ",
            "given twice",
        ),
        (
            "[encodings]\n'tar.gz' = 'gzip'",
            "2: encodings.tar.gz",
            "it is an archive",
        ),
        ("encodings = 1", "1: encodings", "write [encodings]"),
        (
            "[[host]]\nname = 'a'\nroot = 'b'\n[host.encodings]\ngz = 1",
            "5: host.encodings.gz",
            "the number 1 was given",
        ),
    ]);
}

pub fn header_rule(rest: &str) -> String {
    format!("[[header]]\npath = '/a'\n{rest}")
}

#[test]
fn fields_that_no_rule_may_change_are_refused() {
    let cases = [
        (
            "set = { Content-Length = '1' }",
            "3: header.set",
            "where an answer ends",
        ),
        (
            "set = { Transfer-Encoding = '' }",
            "3: header.set",
            "where an answer ends",
        ),
        (
            "set = { connection = 'close' }",
            "3: header.set",
            "where an answer ends",
        ),
        (
            "unset = ['Date']",
            "3: header.unset",
            "where an answer ends",
        ),
        (
            "unset = ['Keep-Alive']",
            "3: header.unset",
            "where an answer ends",
        ),
        (
            "set = { ETag = 'x' }",
            "3: header.set",
            "follows from the file",
        ),
        ("unset = ['Vary']", "3: header.unset", "to the wrong client"),
        ("set = { 'A b' = 'x' }", "3: header.set", "no field name"),
        (
            "set = { A = \"x\\r\\nB: y\" }",
            "3: header.set",
            "no field value",
        ),
        (
            "set = { A = 1 }",
            "3: header.set",
            "the number 1 was given for A",
        ),
        ("set = { A = 'x', a = 'y' }", "3: header.set", "given twice"),
        ("set = 'A: x'", "3: header.set", "it must be a table"),
        ("unset = 'A'", "3: header.unset", "a list of field names"),
        (
            "unset = [\n'A',\n2]",
            "5: header.unset",
            "the number 2 was given",
        ),
    ];
    for (rest, start, reason) in cases {
        assert_refusals(&[(&header_rule(rest), start, reason)]);
    }
}

#[test]
fn header_rules_that_make_no_sense_are_refused() {
    let cases = [
        ("", "1: header", "it changes nothing"),
        (
            "set = { A = 'x' }\nunset = ['a']",
            "1: header",
            "both set and left out",
        ),
        (
            "add = { A = 'x' }",
            "3: header.add",
            "the keys of [[header]] are path, set, unset, status, type",
        ),
        (
            "sets = { A = 'x' }",
            "3: header.sets",
            "did you mean header.set?",
        ),
    ];
    for (rest, start, reason) in cases {
        assert_refusals(&[(&header_rule(rest), start, reason)]);
    }
    assert_refusals(&[
        ("[header]\npath = '/a'", "1: header", "write [[header]]"),
        ("header = [1]", "1: header", "the number 1 was given"),
        (
            "\n[[header]]\nset = { A = 'x' }",
            "2: header.path",
            "it is missing",
        ),
        (
            "[[header]]\npath = 'a'",
            "2: header.path",
            "begin with a slash",
        ),
        (
            "[[header]]\npath = '/***'",
            "2: header.path",
            "three stars in a row",
        ),
        (
            "cors = '*'\n[[header]]\npath = '/a'\nset = { access-control-allow-origin = 'x' }",
            "2: header",
            "which the key cors decides",
        ),
    ]);
}

fn host(rest: &str) -> String {
    format!("[[host]]\nname = 'a.example'\nroot = 'a'\n{rest}")
}

#[test]
fn wrong_hosts_are_refused() {
    let cases = [
        (
            "clean_url = true",
            "4: host.clean_url",
            "did you mean host.clean_urls?",
        ),
        (
            "colour = 1",
            "4: host.colour",
            "the keys of [[host]] are name, root, certificate, key, https_redirect, hsts, index",
        ),
        (
            "workers = 1",
            "4: host.workers",
            "stands outside of [[host]]",
        ),
        ("listing = 1", "4: host.listing", "the number 1 was given"),
        (
            "listing = true\nlisting = true",
            "5: host.listing",
            "given twice",
        ),
        (
            "[host.types]\njs = 1",
            "5: host.types.js",
            "the number 1 was given",
        ),
        (
            "[[host.redirect]]\nfrom = '/a'",
            "4: host.redirect.to",
            "it is missing",
        ),
        (
            "[[host.redirect]]\nfrom = '/a'\nto = '/a'",
            "4: host.redirect",
            "leads back to itself",
        ),
    ];
    for (rest, start, reason) in cases {
        assert_refusals(&[(&host(rest), start, reason)]);
    }
}

#[test]
fn hosts_without_a_root_or_a_name_of_their_own_are_refused() {
    let cases = [
        ("[[host]]\nroot = 'b'", "4: host.name", "it is missing"),
        ("[[host]]\nname = 'b'", "4: host.root", "it is missing"),
        (
            "[[host]]\nname = []\nroot = 'b'",
            "4: host.name",
            "it is missing",
        ),
        (
            "[[host]]\nname = 'A.example.'\nroot = 'b'",
            "5: host.name",
            "a.example is the name of an earlier",
        ),
        (
            "[[host]]\nname = ['b', 'B']\nroot = 'b'",
            "5: host.name",
            "b is listed twice",
        ),
        (
            "[[host]]\nname = [\n'b',\n'b:80']\nroot = 'b'",
            "7: host.name",
            "a port plays no part",
        ),
        (
            "[[host]]\nname = 5\nroot = 'b'",
            "5: host.name",
            "a list of host names",
        ),
    ];
    for (rest, start, reason) in cases {
        assert_refusals(&[(&host(rest), start, reason)]);
    }
}

#[test]
fn hosts_that_are_no_list_of_tables_are_refused() {
    assert_refusals(&[
        ("[host]\nname = 'a'", "1: host", "write [[host]]"),
        ("host = ['a']", "1: host", "the string 'a' was given"),
    ]);
}

/// A general rule and a rule of a host can make a loop together.
#[test]
fn a_loop_across_general_and_host_rules_is_found() {
    assert_refusals(&[(
        "[[redirect]]\nfrom = '/a'\nto = '/b'\n[[host]]\nname = 'a'\nroot = 'a'\n\
         [[host.redirect]]\nfrom = '/b'\nto = '/a'",
        "7: host.redirect",
        "leads back to itself",
    )]);
}
