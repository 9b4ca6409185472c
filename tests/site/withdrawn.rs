//! Paths that a rule declares gone or unavailable (RFC 9110 section 15.5.11, RFC 7725).

use super::{PAGE, serve};
use support::{Launch, Site};

const RULES: &str = r#"
spa = "/index.html"

[[redirect]]
from = "/old/**"
status = 410

[[redirect]]
from = "/secret/*"
status = 403

[[redirect]]
from = "/page.html"
status = 404

[[redirect]]
from = "/withheld"
status = 451

[[redirect]]
from = "/**/moved"
to = "/"

[[header]]
path = "/**"
set = { Cache-Control = "max-age=9", X-All = "1" }

[[header]]
path = "/withheld"
status = "451"
set = { Link = '<https://law.example/>; rel="blocked-by"' }
"#;

const WITHDRAWN: [(&str, u16, &str); 5] = [
    ("/old/a", 410, "Gone"),
    ("/old/moved", 410, "Gone"),
    ("/secret/a?x=1", 403, "Forbidden"),
    ("/page.html", 404, "Not Found"),
    ("/withheld", 451, "Unavailable For Legal Reasons"),
];

#[test]
fn what_is_gone_has_a_page_of_ours_and_the_connection_goes_on() {
    let site = Site::new();
    site.write("old/a", "here all the same");
    let server = serve(&site, RULES);
    let mut client = server.connect();
    for _ in 0..2 {
        for (target, status, reason) in WITHDRAWN {
            for fields in ["", PAGE, "If-None-Match: *\r\n", "Range: bytes=0-1\r\n"] {
                let answer = client.ask_with("GET", target, fields);
                assert_eq!(
                    (answer.status, answer.persists()),
                    (status, true),
                    "{target}"
                );
                assert_eq!(answer.reason, reason);
                let title = format!("<h1>{status} {reason}</h1>");
                assert!(answer.text().contains(&title), "{}", answer.text());
                assert_eq!(answer.field("location"), None);
                assert_eq!(answer.field("cache-control"), None, "{}", answer.head);
                assert_eq!(answer.field("x-all"), Some("1"));
                assert_eq!(answer.field("link").is_some(), status == 451);
                let head = client.ask_with("HEAD", target, fields);
                assert_eq!((head.status, head.persists()), (status, true));
                assert_eq!(head.length(), answer.length());
                assert!(head.body.is_empty());
            }
        }
    }
    // As with other redirects the method does not matter, unless it is unknown.
    assert_eq!(client.ask("OPTIONS", "/old/a").status, 410);
    client.send("POST /old/a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab");
    let posted = client.answer();
    assert_eq!((posted.status, posted.persists()), (410, true));
    assert_eq!(client.get("/a/moved").status, 302);
    assert_eq!(client.ask_with("GET", "/orders", PAGE).status, 200);
    assert_eq!(client.ask("BREW", "/old/a").status, 501);
}

#[test]
fn what_is_gone_has_the_page_of_the_site() {
    let site = Site::new();
    site.write("gone.html", "own page");
    let pages = "[error_pages]\n410 = \"/gone.html\"\n451 = \"/gone.html\"\n404 = \"/gone.html\"\n";
    let server = serve(&site, &format!("{RULES}{pages}"));
    let mut client = server.connect();
    for _ in 0..2 {
        for (target, status, _) in WITHDRAWN {
            let answer = client.get(target);
            assert_eq!((answer.status, answer.persists()), (status, true));
            assert_eq!(answer.text() == "own page", status != 403, "{target}");
            // Several statuses have this page, and one of them has more fields.
            assert_eq!(answer.field("link").is_some(), status == 451, "{target}");
            assert_eq!(answer.field("etag"), None);
            let head = client.ask("HEAD", target);
            assert_eq!((head.status, head.length()), (status, answer.length()));
        }
    }
}

/// A host's own rules come first, so a host can restore a path that the general ones withdraw.
#[test]
fn a_host_inherits_what_is_gone() {
    let site = Site::new();
    let host = site.beside("host");
    std::fs::create_dir(&host).expect("a root");
    let config = format!(
        "[[redirect]]\nfrom = \"/*\"\nstatus = 410\n[[host]]\nname = \"a.example\"\nroot = \"{}\"\n\
         [[host.redirect]]\nfrom = \"/back\"\nto = \"/x/\"\n[[host.redirect]]\nfrom = \"/b\"\nstatus = 451\n",
        host.display()
    );
    let server = serve(&site, &config);
    for (host, target, status) in [
        ("a.example", "/back", 302),
        ("a.example", "/b", 451),
        ("a.example", "/c", 410),
        ("b.example", "/back", 410),
        ("b.example", "/b", 410),
    ] {
        let mut client = server.connect();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(client.answer().status, status, "{host}{target}");
    }
}

#[test]
fn what_is_printed_has_no_target() {
    let site = Site::new();
    let printed = Launch::of(site.root())
        .config(RULES)
        .args(&["--check"])
        .run();
    assert_eq!(printed.code, Some(0));
    let rule = "[[redirect]]\nfrom = \"/old/**\"\nstatus = 410\n";
    assert!(printed.stdout.contains(rule), "{}", printed.stdout);
    let rule = "path = \"/withheld\"\nstatus = [\"451\"]\n";
    assert!(printed.stdout.contains(rule), "{}", printed.stdout);
}
