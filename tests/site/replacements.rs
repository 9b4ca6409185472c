//! Pages that are sent instead of a file that is missing or refused.

use super::{PAGE, all, expect_status, serve};
use support::{Site, accepting, decoded, encoding, gzip, text, until};

#[test]
fn an_application_answers_for_pages_that_do_not_exist() {
    let site = Site::new();
    site.write("404.html", "none");
    site.write("assets/a.js", "script");
    let server = serve(&site, "spa = \"/index.html\"\n");
    let mut client = server.connect();
    for target in ["/orders/7", "/orders/v1.2?x", "/assets/", "/orders/"] {
        for _ in 0..2 {
            let page = client.ask_with("GET", target, PAGE);
            assert_eq!(page.status, 200, "{target}");
            assert!(page.text().contains("home"));
            assert_eq!(all(&page, "vary"), ["Accept-Encoding", "Accept"]);
            let again = format!("{PAGE}If-None-Match: {}\r\n", page.field("etag").unwrap());
            let current = client.ask_with("GET", target, &again);
            assert_eq!(current.status, 304);
            assert_eq!(all(&current, "vary"), ["Accept-Encoding", "Accept"]);
            let head = client.ask_with("HEAD", target, PAGE);
            assert_eq!((head.status, head.length()), (200, page.length()));
        }
    }
    // A missing script does not get the application's page, and the answer varies on Accept.
    for accept in ["", "Accept: */*\r\n", "Accept: application/json\r\n"] {
        let missing = client.ask_with("GET", "/assets/b.js", accept);
        assert_eq!((missing.status, missing.text()), (404, "none"));
        assert_eq!(all(&missing, "vary"), ["Accept-Encoding", "Accept"]);
    }
    assert_eq!(client.ask_with("GET", "/.git/config", PAGE).status, 404);
    assert_eq!(client.ask_with("POST", "/orders", PAGE).status, 405);
    let file = client.ask_with("GET", "/assets/a.js", PAGE);
    assert_eq!(file.text(), "script");
    assert_eq!(file.field("vary"), Some("Accept-Encoding"));
}

#[test]
fn an_application_that_is_missing_is_404() {
    let site = Site::empty();
    let server = serve(&site, "spa = \"/app.html\"\n");
    let ask = || server.connect().ask_with("GET", "/x", PAGE);
    assert_eq!(ask().status, 404);
    site.write("app.html", "app");
    until("the application", || ask().status == 200);
}

#[test]
fn errors_have_the_sites_own_pages() {
    let site = Site::new();
    for name in ["404.html", "errors/no.html", "errors/bad.html"] {
        site.write(name, name);
    }
    site.link("/etc/hostname", "outside");
    let config = "[error_pages]\n403 = \"/errors/no.html\"\n405 = \"/errors/no.html\"\n\
        400 = \"/errors/bad.html\"\n416 = \"/errors/bad.html\"\n500 = \"/errors/missing.html\"\n";
    let server = serve(&site, config);
    for (method, target, fields, status, text) in [
        ("GET", "/none", "", 404, "404.html"),
        ("GET", "/none/", "", 404, "404.html"),
        ("GET", "/.git", "", 404, "404.html"),
        ("OPTIONS", "/none", "", 404, "404.html"),
        ("GET", "/outside", "", 403, "errors/no.html"),
        ("DELETE", "/page.html", "", 405, "errors/no.html"),
        ("GET", "/%zz", "", 400, "errors/bad.html"),
        ("GET", "/", "Range: bytes=999-\r\n", 416, "errors/bad.html"),
    ] {
        for _ in 0..2 {
            let answer = server.connect().ask_with(method, target, fields);
            assert_eq!((answer.status, answer.text()), (status, text), "{target}");
            let content_type = answer.field("content-type");
            assert_eq!(content_type, Some("text/html; charset=utf-8"));
            assert_eq!(answer.field("x-content-type-options"), Some("nosniff"));
            // The validators of the page as a file do not apply to the error.
            assert_eq!(answer.field("etag"), None);
            assert_eq!(answer.field("allow").is_some(), status == 405);
            assert_eq!(answer.field("content-range").is_some(), status == 416);
        }
    }
    let head = server.connect().ask("HEAD", "/none");
    assert_eq!((head.status, head.length()), (404, Some(8)));
    assert_eq!(server.connect().get("/404.html").status, 200);
}

#[test]
fn an_error_page_that_is_missing_is_replaced_by_ours() {
    let site = Site::new();
    let config = "[error_pages]\n404 = \"/gone.html\"\n405 = \"\"\n";
    let server = serve(&site, config);
    let missing = server.connect().get("/none");
    assert_eq!(missing.status, 404);
    assert!(missing.text().contains("Nothing is here."));
    assert!(server.stderr().contains("gone.html"), "a warning");
    // A directory is not used as an error page either.
    site.directory("gone.html");
    expect_status(&server, &[("/none", 404)]);
    let asked = server.connect().ask("POST", "/");
    assert_eq!((asked.status, all(&asked, "allow").len()), (405, 1));
}

#[test]
fn an_error_page_that_is_too_large_for_the_cache_is_sent_whole() {
    let site = Site::empty();
    site.write("404.html", "x".repeat(5_000));
    let server = serve(&site, "[cache]\nfile_bytes = 1000\n");
    for _ in 0..2 {
        let missing = server.connect().get("/none");
        assert_eq!((missing.status, missing.body.len()), (404, 5_000));
    }
}

/// RFC 9110 section 12.5.3 applies to errors too.
#[test]
fn an_error_page_has_its_variants() {
    let site = Site::new();
    site.write("404.html", text(4_000));
    site.write("large.html", text(200_000));
    site.write("packed.html", text(5_000));
    site.write("packed.html.gz", gzip(b"packed"));
    let config = "[error_pages]\n403 = \"/large.html\"\n405 = \"/packed.html\"\n\
        [[header]]\npath = \"/**\"\nset = { X-Rule = \"1\" }\n";
    let server = serve(&site, config);
    site.link("/etc/hostname", "outside");
    let mut client = server.connect();
    for coding in ["br", "zstd", "gzip", "identity"].repeat(2) {
        let range = format!(
            "{}Range: bytes=0-9\r\nIf-None-Match: *\r\n",
            accepting(coding)
        );
        let missing = client.ask_with("GET", "/none", &range);
        assert_eq!(missing.status, 404);
        assert_eq!(encoding(&missing).unwrap_or("identity"), coding);
        assert!(decoded(&missing) == text(4_000));
        assert_eq!(missing.field("vary"), Some("Accept-Encoding"));
        assert_eq!(missing.field("x-rule"), Some("1"));
        for name in ["etag", "last-modified", "accept-ranges", "content-range"] {
            assert_eq!(missing.field(name), None, "{name}");
        }
        let head = client.ask_with("HEAD", "/none", &accepting(coding));
        assert_eq!((head.status, head.length()), (404, missing.length()));
        for name in ["content-encoding", "content-type", "vary"] {
            assert_eq!(head.field(name), missing.field(name), "{name}");
        }
    }
    for _ in 0..2 {
        let refused = client.ask_with("POST", "/", &accepting("gzip"));
        assert_eq!((refused.status, encoding(&refused)), (405, Some("gzip")));
        assert_eq!(decoded(&refused), b"packed", "the sidecar");
        assert!(refused.field("allow").is_some());
    }
    until("the large page is compressed", || {
        let refused = client.ask_with("GET", "/outside", &accepting("gzip"));
        assert_eq!(refused.status, 403);
        assert!(decoded(&refused) == text(200_000));
        encoding(&refused).is_some()
    });
}
