//! How a path selects a file.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::{expect, expect_status, outcome, serve};
use support::{Site, until};

#[test]
fn the_first_index_that_exists_stands_for_the_directory() {
    let site = Site::empty();
    site.write("a/index.htm", "htm");
    site.write("b/index.htm", "htm");
    site.write("b/index.html", "html");
    site.directory("c/index.html");
    site.write("c/index.htm", "htm");
    site.directory("d");
    let config = "index = [\"index.html\", \"index.htm\"]\n[cache]\nrevalidate = 0\n";
    let server = serve(&site, config);
    expect(
        &server,
        &[
            ("/a", 301, "/a/"),
            ("/a/", 200, "htm"),
            ("/b/", 200, "html"),
            ("/c/", 200, "htm"),
        ],
    );
    expect_status(&server, &[("/d/", 404), ("/a/index.htm/", 404)]);
    // A better index that is created later is found.
    site.write("a/index.html", "html");
    expect(&server, &[("/a/", 200, "html")]);
    let none = serve(&site, "index = []\n");
    expect_status(&none, &[("/a/", 404), ("/a", 301), ("/a/index.html", 200)]);
}

#[test]
fn a_better_index_is_seen_within_the_interval_too() {
    let site = Site::empty();
    site.write("index.htm", "htm");
    let server = serve(&site, "index = [\"index.html\", \"index.htm\"]\n");
    expect(&server, &[("/", 200, "htm")]);
    site.write("index.html", "html");
    until("the better index", || outcome(&server, "/").1 == "html");
}

#[test]
fn clean_urls_do_without_the_suffix() {
    let site = Site::empty();
    for name in ["index", "about", "guide/index", "both", ".hidden", "x.html"] {
        site.write(&format!("{name}.html"), name);
    }
    site.write("both/index.html", "directory");
    site.write("plain", "plain");
    site.write("plain.html", "page");
    let server = serve(&site, "clean_urls = true\n");
    expect(
        &server,
        &[
            ("/about", 200, "about"),
            ("/about.html", 301, "/about"),
            ("/about.html?a=1&b", 301, "/about?a=1&b"),
            ("/index.html", 301, "/"),
            ("/guide", 301, "/guide/"),
            ("/guide/index.html?q", 301, "/guide/?q"),
            ("/guide/", 200, "guide/index"),
            ("/both", 200, "both"),
            ("/both/", 200, "directory"),
            ("/x.html", 200, "x.html"),
            // A file with exactly that name comes first, and the one with the suffix keeps its address.
            ("/plain", 200, "plain"),
            ("/plain.html", 200, "page"),
        ],
    );
    expect_status(
        &server,
        &[("/none.html", 404), ("/none", 404), ("/.hidden.html", 404)],
    );
    site.write(".well-known.html", "hidden");
    expect_status(
        &server,
        &[("/.well-known", 404), ("/.well-known.html", 404)],
    );
    let all = serve(&site, "clean_urls = true\nhidden = true\n");
    expect(
        &all,
        &[
            ("/.well-known", 200, "hidden"),
            ("/.well-known.html", 301, "/.well-known"),
            ("/.hidden", 200, ".hidden"),
        ],
    );
    site.write(".well-known/x", "x");
    until("the directory", || {
        outcome(&server, "/.well-known").0 == 301 && outcome(&server, "/.well-known/x").0 == 200
    });
    expect_status(&server, &[("/.well-known/", 404)]);
    let off = serve(&site, "");
    expect(&off, &[("/about.html", 200, "about")]);
    expect_status(&off, &[("/about", 404)]);
}

const MOVED: &str = r#"
[[redirect]]
from = "/old/**"
to = "/new/$1"
status = 301

[[redirect]]
from = "/old/special"
to = "/never"

[[redirect]]
from = "/there"
to = "https://other.example/here?own#part"
status = 308

[[redirect]]
from = "/new/gone"
to = "/"

[[rewrite]]
from = "/latest/**"
to = "/v2/$1"

[[rewrite]]
from = "/secret"
to = "/.git/config"

[[rewrite]]
from = "/v2/page"
to = "/none"

[[rewrite]]
from = "/old/**"
to = "/v2/page"
"#;

#[test]
fn redirects_come_before_rewrites_and_both_before_files() {
    let site = Site::empty();
    site.write("v2/page", "second");
    site.write("v2/guide/index.html", "guide");
    site.write("new/gone", "never seen");
    site.write(".git/config", "secret");
    let server = serve(&site, MOVED);
    expect(
        &server,
        &[
            ("/old/a%20b/c", 301, "/new/a%20b/c"),
            ("/old/a?x=1&y", 301, "/new/a?x=1&y"),
            ("/old/special", 301, "/new/special"),
            ("/there?theirs", 308, "https://other.example/here?own#part"),
            ("/new/gone", 302, "/"),
            ("/latest/page?x", 200, "second"),
            ("/latest/guide", 301, "/latest/guide/"),
            ("/latest/guide?q", 301, "/latest/guide/?q"),
            ("/latest/guide/", 200, "guide"),
        ],
    );
    // A rewrite does not show hidden files, and its result is not rewritten again.
    expect_status(&server, &[("/secret", 404), ("/v2/page", 404)]);
    let mut client = server.connect();
    let head = client.ask("HEAD", "/old/a");
    assert_eq!(head.field("location"), Some("/new/a"));
    // The target of the redirect may allow a method that is not allowed here. The connection persists.
    let post = client.ask("POST", "/there");
    assert_eq!(post.status, 308);
    assert!(post.persists());
    assert_eq!(client.ask("POST", "/v2/page").status, 405);
}

#[test]
fn dot_files_are_shown_only_if_they_are_meant_to() {
    let site = Site::empty();
    for name in [".env", ".git/config", ".well-known/x", ".well-known/.y"] {
        site.write(name, name);
    }
    let hidden = serve(&site, "");
    expect_status(
        &hidden,
        &[
            ("/.env", 404),
            ("/.git/config", 404),
            ("/.well-known/x", 200),
            ("/.well-known/.y", 404),
        ],
    );
    let shown = serve(&site, "hidden = true\n");
    expect_status(
        &shown,
        &[
            ("/.env", 200),
            ("/.git/config", 200),
            ("/.well-known/.y", 200),
        ],
    );
}

#[test]
fn the_site_says_which_links_are_followed() {
    let site = Site::empty();
    site.write("file", "inside");
    std::fs::write(site.beside("outside"), "outside").expect("write");
    site.link("file", "relative");
    site.link(site.beside("outside"), "absolute");
    site.link("../outside", "escape");
    let root = site.root().canonicalize().expect("real path");
    site.link(root.join("file"), "within");
    for (policy, statuses) in [
        ("inside", [200, 403, 403, 200]),
        ("never", [403, 403, 403, 403]),
        ("anywhere", [200, 200, 200, 200]),
    ] {
        let server = serve(&site, &format!("symlinks = \"{policy}\"\n"));
        expect_status(
            &server,
            &[
                ("/relative", statuses[0]),
                ("/absolute", statuses[1]),
                ("/escape", statuses[2]),
                ("/within", statuses[3]),
                ("/file", 200),
            ],
        );
    }
}

#[test]
fn types_of_the_site_win_over_the_built_in_ones() {
    let site = Site::empty();
    for name in ["a.log", "a.HTML", "a.css"] {
        site.write(name, "x");
    }
    let config = "[types]\nlog = \"text/plain\"\nhtml = \"application/xhtml+xml\"\n";
    let server = serve(&site, config);
    let mut client = server.connect();
    for (target, expected) in [
        ("/a.log", "text/plain; charset=utf-8"),
        ("/a.HTML", "application/xhtml+xml"),
        ("/a.css", "text/css; charset=utf-8"),
    ] {
        assert_eq!(client.get(target).field("content-type"), Some(expected));
    }
}

#[test]
fn names_that_are_not_utf_8_are_names() {
    let site = Site::empty();
    std::fs::write(site.root().join(OsStr::from_bytes(b"a\xff")), "odd").expect("write");
    let config = "[[redirect]]\nfrom = \"/to/**\"\nto = \"/$1\"\n";
    let server = serve(&site, config);
    expect(
        &server,
        &[("/a%FF", 200, "odd"), ("/to/a%ff", 302, "/a%FF")],
    );
    expect_status(&server, &[("/a%FE", 404)]);
}
