//! The responses for files, directories and links, and the paths that are refused.

use std::os::unix::net::UnixListener;

use support::{Launch, Server, Site, pattern};

/// `cache.file_bytes`: larger files are sent with sendfile(2).
const MEMORY_BYTES: usize = 262_144;

// Content and its length.

/// RFC 9110 sections 8.6 and 9.3.2: HEAD has the same head as GET, without the body.
#[test]
fn get_and_head_tell_the_exact_length_at_every_edge() {
    let site = Site::empty();
    let kib8 = 8 * 1024;
    let around = |n: usize| [n - 1, n, n + 1];
    let lengths = [[0, 1, 2], around(kib8), around(MEMORY_BYTES)].concat();
    for &len in &lengths {
        site.write(&format!("{len}.bin"), pattern(len));
    }
    let server = Server::of(site.root());
    let mut client = server.connect();
    // Twice: loaded from the disk, then from the cache.
    for &len in lengths.iter().chain(&lengths) {
        let target = format!("/{len}.bin");
        let got = client.get(&target);
        assert_eq!((got.status, got.length()), (200, Some(len as u64)));
        assert!(
            got.body == pattern(len),
            "the {len} bytes are not the file's"
        );
        let head = client.ask("HEAD", &target);
        assert_eq!((head.status, head.length()), (200, Some(len as u64)));
        assert_eq!(head.field("etag"), got.field("etag"));
    }
}

#[test]
fn a_large_file_arrives_byte_for_byte() {
    let site = Site::empty();
    let content = pattern(20 * 1024 * 1024 + 1);
    site.write("large.bin", &content);
    let server = Server::of(site.root());
    let mut client = server.connect();
    for _ in 0..2 {
        assert!(client.get("/large.bin").body == content, "changed content");
    }
}

#[test]
fn without_a_cache_all_is_served_the_same() {
    let site = Site::new();
    site.write("large.bin", pattern(MEMORY_BYTES + 1));
    let server = Launch::of(site.root())
        .config("[cache]\nbytes = 0\n")
        .start();
    let mut client = server.connect();
    for _ in 0..2 {
        assert!(client.get("/").text().contains("home"));
        assert!(client.get("/large.bin").body == pattern(MEMORY_BYTES + 1));
        assert_eq!(client.get("/missing").status, 404);
    }
}

/// RFC 9110 section 8.3.
#[test]
fn the_media_type_follows_the_name_and_text_is_utf_8() {
    let site = Site::empty();
    let expected = [
        ("a.html", "text/html; charset=utf-8"),
        ("a.css", "text/css; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.svg", "image/svg+xml"),
        ("a.png", "image/png"),
        ("a.json", "application/json"),
        ("a.woff2", "font/woff2"),
        ("a.wasm", "application/wasm"),
        ("LICENSE", "application/octet-stream"),
    ];
    expected.iter().for_each(|(name, _)| site.write(name, "x"));
    let server = Server::of(site.root());
    let mut client = server.connect();
    for (name, content_type) in expected {
        let response = client.get(&format!("/{name}"));
        assert_eq!(response.field("content-type"), Some(content_type));
        assert_eq!(response.field("x-content-type-options"), Some("nosniff"));
    }
}

/// RFC 9110 section 4.2.3: an escape of an unreserved character changes nothing.
#[test]
fn names_are_decoded_once() {
    let site = Site::empty();
    site.write("a b.txt", "space");
    site.write("100%.txt", "percent");
    site.write("%41.txt", "not decoded twice");
    site.write("caf\u{e9}.txt", "utf-8");
    let server = Server::of(site.root());
    let mut client = server.connect();
    let expected = [
        ("/a%20b.txt", "space"),
        ("/%61%20b.t%78t", "space"),
        ("/100%25.txt", "percent"),
        ("/%2541.txt", "not decoded twice"),
        ("/caf%C3%A9.txt", "utf-8"),
        ("/x/../a%20b.txt", "space"),
        ("/./a%20b.txt?query=%zz", "space"),
        ("//a%20b.txt", "space"),
    ];
    for (target, content) in expected {
        let response = client.get(target);
        assert_eq!(response.status, 200, "{target}");
        assert_eq!(response.text(), content, "{target}");
    }
}

/// RFC 9112 section 3.2.2.
#[test]
fn an_absolute_form_target_is_served_like_its_path() {
    let site = Site::new();
    let server = Server::of(site.root());
    let mut client = server.connect();
    for target in [
        "http://example.org/page.html",
        "HTTP://other:8080/page.html?q",
    ] {
        assert!(client.get(target).text().contains("page"), "{target}");
    }
    assert!(client.get("http://example.org").text().contains("home"));
}

// Directories.

#[test]
fn a_directory_serves_its_index() {
    let site = Site::new();
    site.write("docs/index.html", "docs");
    site.directory("empty");
    site.directory("odd/index.html");
    let server = Server::of(site.root());
    let mut client = server.connect();
    assert!(client.get("/").text().contains("home"));
    assert_eq!(client.get("/docs/").text(), "docs");
    assert_eq!(client.get("/docs/.").text(), "docs");
    assert_eq!(client.get("/empty/").status, 404, "there are no listings");
    assert_eq!(client.get("/odd/").status, 404);
    assert_eq!(client.get("/page.html/").status, 404, "no directory");
}

/// RFC 9110 section 15.4.2, section 10.2.2.
#[test]
fn a_directory_without_its_slash_redirects_and_keeps_the_query() {
    let site = Site::empty();
    site.directory("docs/a b");
    site.directory("docs/100%\u{e9}");
    let server = Server::of(site.root());
    let mut client = server.connect();
    let expected = [
        ("/docs", "/docs/"),
        ("/docs?a=1&b=%20?", "/docs/?a=1&b=%20?"),
        ("/docs?", "/docs/?"),
        ("/docs/a%20b", "/docs/a%20b/"),
        ("/docs/100%25%C3%A9", "/docs/100%25%C3%A9/"),
        ("/x/../docs", "/docs/"),
        ("http://elsewhere.example/docs", "/docs/"),
    ];
    for (target, location) in expected {
        let response = client.get(target);
        assert_eq!(response.status, 301, "{target}");
        assert_eq!(response.field("location"), Some(location), "{target}");
        assert!(response.persists());
        assert!(response.text().contains("href="));
    }
    assert_eq!(client.get("/docs/").status, 404);
}

#[test]
fn a_redirect_never_leads_to_another_host() {
    let site = Site::empty();
    site.directory("evil.example");
    site.directory("dir");
    let server = Server::of(site.root());
    let mut client = server.connect();
    for target in [
        "//evil.example",
        "///evil.example",
        "/.//evil.example",
        "/x/..//evil.example",
        "/%2e//evil.example",
        "//evil.example/..//dir",
    ] {
        let response = client.get(target);
        assert_eq!(response.status, 301, "{target}");
        let location = response.field("location").expect("Location");
        assert!(location.starts_with('/'), "{target}: {location}");
        assert!(!location.starts_with("//"), "{target}: {location}");
    }
}

// Refused paths.

/// RFC 8615 for `.well-known`.
#[test]
fn dot_files_are_hidden_and_well_known_is_not() {
    let site = Site::new();
    site.write(".env", "SECRET");
    site.write(".git/config", "SECRET");
    site.write("docs/.draft.html", "SECRET");
    site.write(".well-known/.secret", "SECRET");
    site.write("docs/.well-known/x", "SECRET");
    site.write(".well-known/security.txt", "contact");
    let server = Server::of(site.root());
    let mut client = server.connect();
    for target in [
        "/.env",
        "/%2eenv",
        "/.git/config",
        "/.git/",
        "/.git",
        "/docs/.draft.html",
        "/.well-known/.secret",
        "/docs/.well-known/x",
        "/.well-known/../.env",
    ] {
        let response = client.get(target);
        assert_eq!(response.status, 404, "{target}");
        assert!(!response.text().contains("SECRET"), "{target}");
    }
    let response = client.get("/.well-known/security.txt");
    assert_eq!(response.text(), "contact");
}

/// Opening a FIFO for reading would block the only worker until a writer comes.
#[test]
fn a_fifo_and_a_socket_are_refused_without_blocking() {
    let site = Site::new();
    site.fifo("pipe");
    site.fifo("index.fifo");
    let _listener = UnixListener::bind(site.path("socket")).expect("a socket file");
    let server = Launch::of(site.root()).args(&["-w", "1"]).start();
    let mut client = server.connect();
    for target in ["/pipe", "/socket", "/pipe", "/index.fifo"] {
        let response = client.get(target);
        assert_eq!(response.status, 403, "{target}");
        assert!(response.persists());
    }
    client.expect_usable();
}

#[test]
fn a_link_inside_works_and_one_that_leads_out_is_refused() {
    let site = Site::new();
    std::fs::write(site.beside("secret.txt"), "SECRET").expect("a file outside");
    std::fs::create_dir(site.beside("outside")).expect("a directory outside");
    site.directory("sub");
    site.link("page.html", "inside.html");
    site.link("../page.html", "sub/up.html");
    site.link("../secret.txt", "relative.txt");
    site.link(site.beside("secret.txt"), "absolute.txt");
    site.link(site.path("page.html"), "absolute-inside.html");
    site.link("..", "parent");
    site.link("/proc/self", "proc");
    site.link("loop", "loop");
    site.link("nowhere", "dangling");
    let server = Server::of(site.root());
    let mut client = server.connect();
    assert!(client.get("/inside.html").text().contains("page"));
    assert!(client.get("/sub/up.html").text().contains("page"));
    assert!(client.get("/absolute-inside.html").text().contains("page"));
    for target in [
        "/relative.txt",
        "/absolute.txt",
        "/parent/secret.txt",
        "/parent/outside",
        "/proc/environ",
    ] {
        let response = client.get(target);
        assert_eq!(response.status, 403, "{target}");
        assert!(!response.text().contains("SECRET"), "{target}");
        assert_eq!(response.field("location"), None, "{target}");
    }
    assert_eq!(client.get("/loop").status, 404);
    assert_eq!(client.get("/dangling").status, 404);
    // No request waits until the log is written.
    server.wait_for("logged once");
    let said = server.stderr();
    assert_eq!(said.matches("logged once").count(), 1, "{said}");
}

#[test]
fn what_is_missing_is_404_with_the_sites_own_page_if_it_has_one() {
    let site = Site::new();
    let server = Launch::of(site.root())
        .config("[cache]\nrevalidate = 0\n")
        .start();
    let mut client = server.connect();
    let ours = client.get("/missing");
    assert_eq!(ours.status, 404);
    assert!(ours.text().contains("404"), "{}", ours.text());
    site.write("404.html", "lost in this site");
    let theirs = client.get("/missing");
    assert_eq!((theirs.status, theirs.text()), (404, "lost in this site"));
    // The validators of the page are not sent, since they are not those of the requested path.
    assert_eq!(
        (theirs.field("etag"), theirs.field("last-modified")),
        (None, None)
    );
    let conditional = client.ask_with("GET", "/missing", "If-None-Match: *\r\n");
    assert_eq!(conditional.status, 404);
    let head = client.ask("HEAD", "/missing");
    assert_eq!((head.status, head.length()), (404, Some(17)));
    assert_eq!(client.get("/404.html").status, 200);
    client.expect_usable();
}

#[test]
fn a_name_too_long_for_the_file_system_is_404() {
    let site = Site::new();
    let server = Server::of(site.root());
    let mut client = server.connect();
    let long = "n".repeat(256);
    let deep = "d/".repeat(3000);
    for target in [format!("/{long}"), format!("/{deep}x"), format!("/{deep}")] {
        assert_eq!(client.get(&target).status, 404);
    }
    client.expect_usable();
}

// Methods.

/// RFC 9110 section 15.5.6, section 9.1.
#[test]
fn registered_methods_are_405_with_allow_and_invented_ones_501() {
    let site = Site::new();
    let server = Server::of(site.root());
    let mut client = server.connect();
    for method in [
        "POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "QUERY",
    ] {
        for target in ["/", "/missing"] {
            let response = client.ask(method, target);
            assert_eq!(response.status, 405, "{method}");
            assert_eq!(response.field("allow"), Some("GET, HEAD, OPTIONS"));
            assert!(response.persists(), "{method}");
        }
    }
    for method in ["BREW", "get", "GETS", "M-SEARCH!"] {
        let response = server.connect().ask(method, "/");
        assert_eq!(response.status, 501, "{method}");
        assert!(!response.persists(), "{method}");
    }
}

/// RFC 9110 section 9.3.7.
#[test]
fn options_says_what_is_allowed() {
    let site = Site::new();
    let server = Server::of(site.root());
    let mut client = server.connect();
    for target in ["*", "/", "/page.html", "http://test"] {
        let response = client.ask("OPTIONS", target);
        assert_eq!((response.status, response.length()), (200, Some(0)));
        assert_eq!(response.field("allow"), Some("GET, HEAD, OPTIONS"));
        assert!(response.persists());
    }
    assert_eq!(client.ask("OPTIONS", "/missing").status, 404);
}

/// RFC 9110 section 9.3.2: GET and HEAD get the same head, and only GET gets the body.
#[test]
fn every_error_page_has_its_exact_length_and_none_to_head() {
    let site = Site::new();
    site.directory("docs");
    site.fifo("pipe");
    let server = Server::of(site.root());
    for (target, fields, status) in [
        ("/docs", "", 301),
        ("/pipe", "", 403),
        ("/missing", "", 404),
        ("/", "If-Match: \"other\"\r\n", 412),
        ("/", "Expect: more\r\n", 417),
        ("/%zz", "", 400),
        ("/", "Bad : field\r\n", 400),
        ("/", "Transfer-Encoding: gzip\r\n", 400),
        ("/", "Transfer-Encoding: gzip, chunked\r\n", 501),
    ] {
        let (mut getting, mut heading) = (server.connect(), server.connect());
        let got = getting.ask_with("GET", target, fields);
        let head = heading.ask_with("HEAD", target, fields);
        assert_eq!((got.status, head.status), (status, status), "{target}");
        assert_eq!(got.length(), head.length(), "{target} {fields}");
        assert!(got.text().contains(&status.to_string()));
        let media_type = got.field("content-type");
        assert_eq!(media_type, Some("text/html; charset=utf-8"));
        // If the body was longer, or HEAD had one, further bytes would follow.
        for client in [&mut getting, &mut heading] {
            if got.persists() {
                client.expect_usable();
            } else {
                client.expect_end();
            }
        }
    }
}

/// RFC 9110 section 9.3.2 also for a body that is found invalid only after its head was parsed.
#[test]
fn a_refused_body_of_head_gets_no_page_either() {
    let site = Site::new();
    let server = Server::of(site.root());
    let mut client = server.connect();
    let response = client.ask_with("HEAD", "/", "Transfer-Encoding: chunked\r\n\r\nzz");
    assert_eq!(response.status, 400);
    client.expect_end();
}
