//! Conditions of header rules: their statuses and media types, and the fields for caching.

use super::{PAGE, all, serve};
use support::{Client, Response, Server, Site};

const LONG: &str = "public, max-age=31536000, immutable";

/// The value of `name` in the answer to a request, which is sent twice: from the disk, then from memory.
fn field_of(
    server: &Server,
    (method, target, fields): (&str, &str, &str),
    status: u16,
    name: &str,
) -> Option<String> {
    let mut client = server.connect();
    let mut ask = || {
        let answer = client.ask_with(method, target, fields);
        assert_eq!(answer.status, status, "{method} {target} {fields}");
        answer.field(name).map(str::to_owned)
    };
    let first = ask();
    assert_eq!(ask(), first, "{method} {target} {fields}");
    first
}

/// A condition that matches the current answer, for a 304.
fn unchanged(client: &mut Client, target: &str, fields: &str) -> String {
    let answer = client.ask_with("GET", target, fields);
    format!(
        "{fields}If-None-Match: {}\r\n",
        answer.field("etag").unwrap()
    )
}

/// The example in the README.
#[test]
fn a_missing_asset_is_not_immutable() {
    let site = Site::new();
    site.write("assets/a.js", "script");
    site.write("assets/dir/index.html", "index");
    site.write("404.html", "none");
    let config = "spa = \"/index.html\"\n[[header]]\npath = \"/assets/**\"\n\
        set = { Cache-Control = \"public, max-age=31536000, immutable\", Expires = \"x\", X-A = \"1\" }\n";
    let server = serve(&site, config);
    let again = unchanged(&mut server.connect(), "/assets/a.js", "");
    let again_page = unchanged(&mut server.connect(), "/assets/orders", PAGE);
    for (request, status, is_kept) in [
        (("GET", "/assets/a.js", ""), 200, true),
        (("HEAD", "/assets/a.js", ""), 200, true),
        (("GET", "/assets/a.js", &again[..]), 304, true),
        (("GET", "/assets/a.js", "Range: bytes=0-1\r\n"), 206, true),
        (
            ("GET", "/assets/a.js", "Range: bytes=0-0,3-3\r\n"),
            206,
            true,
        ),
        (("GET", "/assets/dir", ""), 301, true),
        (("GET", "/assets/b.js", ""), 404, false),
        (("HEAD", "/assets/b.js", ""), 404, false),
        (("GET", "/assets/a.js", "Range: bytes=99-\r\n"), 416, false),
        (("GET", "/assets/a.js", "If-Match: \"x\"\r\n"), 412, false),
        (("DELETE", "/assets/a.js", ""), 405, false),
        // The page of the application, sent for a missing path.
        (("GET", "/assets/orders", PAGE), 200, false),
        (("GET", "/assets/orders", &again_page[..]), 304, false),
        (
            (
                "GET",
                "/assets/orders",
                &format!("{PAGE}Range: bytes=0-1\r\n"),
            ),
            206,
            false,
        ),
    ] {
        let said = |name| field_of(&server, request, status, name);
        let expected = is_kept.then_some(LONG);
        assert_eq!(said("cache-control").as_deref(), expected, "{request:?}");
        assert_eq!(said("expires").is_some(), is_kept, "{request:?}");
        assert_eq!(said("x-a").as_deref(), Some("1"), "{request:?}");
    }
}

/// Requested by its own name, the page of an application is a file like any other.
#[test]
fn the_page_of_an_application_is_named_by_its_own_path() {
    let site = Site::new();
    let config =
        "spa = \"/index.html\"\n[[header]]\npath = \"/**\"\nset = { Cache-Control = \"a\" }\n";
    let server = serve(&site, config);
    for (target, is_kept) in [("/", true), ("/index.html", true), ("/orders", false)] {
        let said = field_of(&server, ("GET", target, PAGE), 200, "cache-control");
        assert_eq!(said.is_some(), is_kept, "{target}");
    }
}

#[test]
fn a_rule_may_say_which_statuses_it_is_for() {
    let site = Site::new();
    site.write("404.html", "none");
    site.write("dir/index.html", "a");
    let config = r#"
spa = "/index.html"

[error_pages]
405 = "/404.html"
412 = "/404.html"

[[header]]
path = "/**"
status = "any"
set = { X-Any = "1", Expires = "0" }

[[header]]
path = "/**"
status = ["404", "412", "5xx"]
set = { Cache-Control = "max-age=5", X-Error = "1" }

[[header]]
path = "/**"
status = 200
set = { Cache-Control = "max-age=60", Vary = "Cookie", X-Whole = "1" }

[[header]]
path = "/**"
status = "3xx"
set = { Cache-Control = "max-age=7", X-Elsewhere = "1" }
"#;
    let server = serve(&site, config);
    let again = unchanged(&mut server.connect(), "/page.html", "");
    for (request, status, caching, own) in [
        (
            ("GET", "/page.html", ""),
            200,
            Some("max-age=60"),
            "x-whole",
        ),
        (("GET", "/orders", PAGE), 200, Some("max-age=60"), "x-whole"),
        // RFC 9110 section 15.4.5: the caching fields of the 200, and no others.
        (
            ("GET", "/page.html", &again[..]),
            304,
            Some("max-age=60"),
            "x-elsewhere",
        ),
        (("GET", "/page.html", "Range: bytes=0-1\r\n"), 206, None, ""),
        (("GET", "/dir", ""), 301, Some("max-age=7"), "x-elsewhere"),
        (("GET", "/none", ""), 404, Some("max-age=5"), "x-error"),
        (
            ("GET", "/page.html", "If-Match: \"x\"\r\n"),
            412,
            Some("max-age=5"),
            "x-error",
        ),
        (("DELETE", "/page.html", ""), 405, None, ""),
    ] {
        let said = |name| field_of(&server, request, status, name);
        assert_eq!(said("cache-control").as_deref(), caching, "{request:?}");
        assert_eq!(said("expires").as_deref(), Some("0"), "{request:?}");
        for name in ["x-whole", "x-elsewhere", "x-error"] {
            assert_eq!(said(name).is_some(), name == own, "{request:?} {name}");
        }
        assert!(said("x-any").is_some(), "{request:?}");
    }
    let current = server.connect().ask_with("GET", "/page.html", &again);
    assert_eq!(all(&current, "vary"), ["Accept-Encoding", "Cookie"]);
}

/// The fields of a page are cached for each status that it is sent with.
#[test]
fn errors_that_share_a_page_have_their_own_fields() {
    let site = Site::new();
    site.write("404.html", "none");
    let config = "[error_pages]\n412 = \"/404.html\"\n501 = \"/404.html\"\n[[header]]\npath = \"/**\"\n\
        status = \"5xx\"\nset = { Cache-Control = \"max-age=5\" }\n";
    let server = serve(&site, config);
    for _ in 0..2 {
        for (method, status, caching) in [("GET", 412, None), ("BREW", 501, Some("max-age=5"))] {
            let mut client = server.connect();
            let answer = client.ask_with(method, "/page.html", "If-Match: \"x\"\r\n");
            assert_eq!((answer.status, answer.text()), (status, "none"));
            assert_eq!(answer.field("cache-control"), caching, "{method}");
        }
    }
}

const BY_TYPE: &str = r#"
listing = true

[error_pages]
404 = "/404.txt"

[[header]]
path = "/**"
type = "text/html"
set = { X-Page = "1", Cache-Control = "no-cache" }

[[header]]
path = "/**"
type = ["image/*", "text/plain"]
set = { X-Other = "1" }

[[header]]
path = "/**"
type = "text/plain"
status = "404"
set = { X-None = "1" }

[[header]]
path = "/data/a"
set = { Content-Type = "text/csv" }

[[header]]
path = "/**"
type = "text/csv"
set = { X-Table = "1" }
"#;

#[test]
fn a_rule_may_say_which_media_types_it_is_for() {
    let site = Site::new();
    site.write("404.txt", "none");
    site.write("a.svg", "<svg/>");
    site.write("a.txt", "plain");
    site.write("style.css", "a{}");
    site.write("data/a", "a,b,c");
    let server = serve(&site, BY_TYPE);
    let mut client = server.connect();
    let [page, image, table, listing, json] = [
        ("/page.html", ""),
        ("/a.svg", ""),
        ("/data/a", ""),
        ("/data/", ""),
        ("/data/", "Accept: application/json\r\n"),
    ]
    .map(|(target, fields)| unchanged(&mut client, target, fields));
    for (request, status, own) in [
        (("GET", "/page.html", ""), 200, &["x-page"][..]),
        (("HEAD", "/", ""), 200, &["x-page"]),
        (
            ("GET", "/page.html", "Accept-Encoding: gzip\r\n"),
            200,
            &["x-page"],
        ),
        (
            ("GET", "/page.html", "Range: bytes=0-1\r\n"),
            206,
            &["x-page"],
        ),
        // Neither of these has the type of the file.
        (
            ("GET", "/page.html", "Range: bytes=0-0,4-4\r\n"),
            206,
            &["x-page"],
        ),
        (("GET", "/page.html", &page[..]), 304, &["x-page"]),
        (("GET", "/a.svg", &image[..]), 304, &["x-other"]),
        (("GET", "/a.svg", ""), 200, &["x-other"]),
        (("GET", "/style.css", ""), 200, &[]),
        (("GET", "/data/a", ""), 200, &["x-table"]),
        (
            ("GET", "/data/a", "Range: bytes=0-0,4-4\r\n"),
            206,
            &["x-table"],
        ),
        (("GET", "/data/a", &table[..]), 304, &["x-table"]),
        (("GET", "/data/", ""), 200, &["x-page"]),
        (("GET", "/data/", &listing[..]), 304, &["x-page"]),
        (("GET", "/data/", "Accept: application/json\r\n"), 200, &[]),
        (("GET", "/data/", &json[..]), 304, &[]),
        (("OPTIONS", "/page.html", ""), 200, &[]),
        // For an error the type of the page decides, the site's own or the built-in one.
        (("GET", "/none.html", ""), 404, &["x-other", "x-none"]),
        (("DELETE", "/a.svg", ""), 405, &["x-page"]),
        (("GET", "/data", ""), 301, &["x-page"]),
    ] {
        for name in ["x-page", "x-other", "x-none", "x-table"] {
            let said = field_of(&server, request, status, name);
            assert_eq!(said.is_some(), own.contains(&name), "{request:?} {name}");
        }
    }
    let refused = field_of(&server, ("DELETE", "/", ""), 405, "cache-control");
    assert_eq!(refused, None, "a rule for a type says no status");
}

#[test]
fn without_a_cache_a_304_is_of_its_type_too() {
    let site = Site::new();
    let server = serve(&site, &format!("{BY_TYPE}[cache]\nbytes = 0\n"));
    let again = unchanged(&mut server.connect(), "/page.html", "");
    let said = field_of(&server, ("GET", "/page.html", &again), 304, "x-page");
    assert!(said.is_some());
}

/// The rules of a host come after the general ones, each of which keeps its own statuses.
#[test]
fn a_host_inherits_rules_with_their_statuses() {
    let site = Site::new();
    let host = site.beside("host");
    std::fs::create_dir(&host).expect("a root");
    std::fs::write(host.join("index.html"), "host").expect("its page");
    let config = format!(
        "[[header]]\npath = \"/**\"\nstatus = \"404\"\nset = {{ Cache-Control = \"max-age=5\", X-A = \"1\" }}\n\
         [[host]]\nname = \"a.example\"\nroot = \"{}\"\n\
         [[host.header]]\npath = \"/**\"\nstatus = \"4xx\"\ntype = \"text/html\"\n\
         set = {{ Cache-Control = \"max-age=9\" }}\n",
        host.display()
    );
    let server = serve(&site, &config);
    let ask = |host: &str, target: &str| -> Response {
        let mut client = server.connect();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client.answer()
    };
    for (host, caching) in [("a.example", "max-age=9"), ("b.example", "max-age=5")] {
        let missing = ask(host, "/none");
        assert_eq!(missing.status, 404);
        assert_eq!(missing.field("cache-control"), Some(caching), "{host}");
        assert_eq!(missing.field("x-a"), Some("1"), "{host}");
        let found = ask(host, "/");
        assert_eq!((found.status, found.field("cache-control")), (200, None));
        assert_eq!(found.field("x-a"), None);
    }
}
