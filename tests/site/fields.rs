//! Response fields that the site's owner adds: header rules, the security preset, CORS.

use super::{all, serve};
use support::{Response, Server, Site};

const RULES: &str = r#"
listing = true

[[header]]
path = "/**"
set = { X-All = "1", Cache-Control = "no-cache" }

[[header]]
path = "/assets/**"
set = { Cache-Control = "max-age=9" }
unset = ["X-All"]

[[header]]
path = "/data/**"
set = { Content-Type = "text/csv" }

[[redirect]]
from = "/old"
to = "/new"

[[rewrite]]
from = "/alias/*"
to = "/assets/$1"
"#;

fn rules() -> (Site, Server) {
    let site = Site::new();
    site.write("assets/a.css", "style");
    site.write("data/a", "a,b,c,d");
    site.write("404.html", "none");
    let server = serve(&site, RULES);
    (site, server)
}

fn check(answer: &Response, is_asset: bool) {
    let cache_control = if is_asset { "max-age=9" } else { "no-cache" };
    // By default a rule's Cache-Control is not sent with an error.
    let cache_control = Some(cache_control).filter(|_| answer.status < 400);
    assert_eq!(
        answer.field("cache-control"),
        cache_control,
        "{}",
        answer.head
    );
    assert_eq!(answer.field("x-all").is_none(), is_asset, "{}", answer.head);
}

#[test]
fn all_rules_that_match_apply_to_every_answer() {
    let (_site, server) = rules();
    for _ in 0..2 {
        let mut client = server.connect();
        let page = client.get("/page.html");
        check(&page, false);
        assert_eq!(page.field("x-content-type-options"), Some("nosniff"));
        let again = format!("If-None-Match: {}\r\n", page.field("etag").unwrap());
        let mut ask = |method, target, fields, status| {
            let answer = client.ask_with(method, target, fields);
            assert_eq!(answer.status, status, "{target}");
            answer
        };
        check(&ask("HEAD", "/page.html", "", 200), false);
        check(&ask("GET", "/page.html", &again, 304), false);
        check(
            &ask("GET", "/page.html", "Range: bytes=0-1\r\n", 206),
            false,
        );
        check(
            &ask("GET", "/page.html", "Range: bytes=999-\r\n", 416),
            false,
        );
        check(&ask("GET", "/page.html", "If-Match: \"x\"\r\n", 412), false);
        check(&ask("GET", "/none", "", 404), false);
        check(&ask("GET", "/old", "", 302), false);
        check(&ask("GET", "/data", "", 301), false);
        check(&ask("GET", "/data/", "", 200), false);
        check(&ask("OPTIONS", "/page.html", "", 200), false);
        check(&ask("DELETE", "/page.html", "", 405), false);
        check(&ask("GET", "/assets/a.css", "", 200), true);
        check(&ask("GET", "/assets/none", "", 404), true);
        // Rules match the requested path, before redirects and rewrites.
        check(&ask("GET", "/alias/a.css", "", 200), false);
    }
}

#[test]
fn a_type_that_is_set_is_that_of_files() {
    let (_site, server) = rules();
    let mut client = server.connect();
    for _ in 0..2 {
        let mut content_type = |target, fields| {
            let answer = client.ask_with("GET", target, fields);
            answer.field("content-type").unwrap().to_owned()
        };
        assert_eq!(content_type("/data/a", ""), "text/csv");
        assert_eq!(content_type("/data/a", "Range: bytes=0-1\r\n"), "text/csv");
        let several = content_type("/data/a", "Range: bytes=0-0,4-4\r\n");
        assert!(several.starts_with("multipart/byteranges; boundary="));
        assert_eq!(content_type("/data/none", ""), "text/html; charset=utf-8");
    }
}

#[test]
fn a_changed_file_has_the_fields_too() {
    let site = Site::new();
    let config = "[cache]\nrevalidate = 0\n[[header]]\npath = \"/**\"\nset = { X-All = \"1\" }\n";
    let server = serve(&site, config);
    let mut client = server.connect();
    let first = client.get("/page.html");
    site.replace("page.html", "another");
    let second = client.get("/page.html");
    assert_eq!(second.text(), "another");
    assert_ne!(first.field("etag"), second.field("etag"));
    assert_eq!(second.field("x-all"), Some("1"));
}

#[test]
fn without_a_cache_rules_hold_the_same() {
    let site = Site::new();
    let config = "spa = \"/index.html\"\n[cache]\nbytes = 0\n[[header]]\npath = \"/**\"\nset = { X-All = \"1\" }\n";
    let server = serve(&site, config);
    for target in ["/page.html", "/none"] {
        assert_eq!(server.connect().get(target).field("x-all"), Some("1"));
    }
}

#[test]
fn the_security_preset_can_be_changed_by_a_rule() {
    let site = Site::new();
    let config =
        "security = true\n[[header]]\npath = \"/page.html\"\nunset = [\"X-Frame-Options\"]\n";
    let server = serve(&site, config);
    let mut client = server.connect();
    for (target, is_framed) in [("/", true), ("/none", true), ("/page.html", false)] {
        let answer = client.get(target);
        assert_eq!(answer.field("x-frame-options").is_some(), is_framed);
        for name in [
            "content-security-policy",
            "cross-origin-opener-policy",
            "permissions-policy",
            "referrer-policy",
        ] {
            assert!(answer.field(name).is_some(), "{name} of {target}");
        }
    }
}

const OURS: &str = "Origin: https://a.example\r\n";
const ALLOWED: &str = "access-control-allow-origin";

#[test]
fn an_allowed_origin_may_read_every_answer() {
    let site = Site::new();
    let server = serve(
        &site,
        "cors = [\"https://a.example\", \"https://b.example\"]\n",
    );
    for (method, target, vary) in [
        ("GET", "/page.html", &["Accept-Encoding", "Origin"][..]),
        ("GET", "/none", &["Origin"]),
        ("DELETE", "/", &["Origin"]),
    ] {
        for _ in 0..2 {
            let answer = server.connect().ask_with(method, target, OURS);
            assert_eq!(answer.field(ALLOWED), Some("https://a.example"));
            assert_eq!(all(&answer, "vary"), vary);
            let other = "Origin: https://c.example\r\n";
            for origin in ["", other] {
                let answer = server.connect().ask_with(method, target, origin);
                assert_eq!(answer.field(ALLOWED), None);
                assert_eq!(all(&answer, "vary"), vary);
            }
        }
    }
}

#[test]
fn a_preflight_is_answered_before_anything_else() {
    let site = Site::new();
    let config = "cors = [\"https://a.example\"]\n[[redirect]]\nfrom = \"/**\"\nto = \"https://x.example/$1\"\n";
    let server = serve(&site, config);
    let mut client = server.connect();
    let preflight = format!("{OURS}Access-Control-Request-Method: GET\r\n");
    for target in ["/page.html", "/none"] {
        let answer = client.ask_with("OPTIONS", target, &preflight);
        assert_eq!((answer.status, answer.persists()), (204, true));
        assert_eq!(answer.field(ALLOWED), Some("https://a.example"));
        assert!(answer.field("access-control-allow-methods").is_some());
    }
    assert_eq!(client.ask_with("OPTIONS", "/page.html", OURS).status, 302);
    let everybody = serve(&site, "cors = \"*\"\n");
    let answer = everybody.connect().ask_with("OPTIONS", "/", &preflight);
    assert_eq!((answer.status, answer.field(ALLOWED)), (204, Some("*")));
    let answer = everybody.connect().ask_with("GET", "/", OURS);
    assert_eq!(
        (answer.field(ALLOWED), answer.field("vary")),
        (Some("*"), Some("Accept-Encoding"))
    );
}
