//! Single-page applications (`spa`).

use super::{PAGE, all, serve};
use support::{Launch, Server, Site, until};

/// Two applications, one with exceptions, and a directory in the path of a route.
fn applications() -> Site {
    let site = Site::empty();
    for name in [
        "index.html",
        "app/index.html",
        "app/main.js",
        "app/api/known",
        "admin.html",
        "manual/index.html",
    ] {
        site.write(name, name);
    }
    site.write("app/users/photo.png", "photo");
    site.write("admin/users/photo.png", "photo");
    site.directory("users");
    site
}

const TABLES: &str = "[[spa]]\npath = '/app/**'\npage = '/app/index.html'\n\
                      except = ['/app/api/**', '/app/*.js']\n\
                      [[spa]]\npath = '/admin/**'\npage = '/admin.html'\n";

/// Compares the answers to requests that ask for pages, from the disk and from memory.
fn expect_pages(server: &Server, outcomes: &[(&str, u16, &str)]) {
    let mut client = server.connect();
    for (target, status, text) in outcomes.iter().chain(outcomes) {
        let answer = client.ask_with("GET", target, PAGE);
        let found = answer.field("location").unwrap_or_else(|| answer.text());
        assert_eq!(answer.status, *status, "{target}");
        assert!(*status == 404 || found == *text, "{target}: {found}");
    }
}

#[test]
fn the_first_application_that_is_for_a_path_has_it() {
    let site = applications();
    let server = serve(&site, TABLES);
    expect_pages(
        &server,
        &[
            ("/app/", 200, "app/index.html"),
            ("/app", 301, "/app/"),
            ("/app/orders/7?x", 200, "app/index.html"),
            ("/app/main.js", 200, "app/main.js"),
            ("/app/none.js", 404, ""),
            ("/app/deep/none.js", 200, "app/index.html"),
            ("/app/api/known", 200, "app/api/known"),
            ("/app/api/none", 404, ""),
            ("/app/api/", 404, ""),
            ("/admin/rights", 200, "admin.html"),
            ("/none", 404, ""),
            ("/manual/", 200, "manual/index.html"),
        ],
    );
    let mut client = server.connect();
    for (target, fields, status, vary) in [
        ("/app/none", PAGE, 200, &["Accept"][..]),
        ("/app/none", "", 404, &["Accept"]),
        ("/app/api/none", PAGE, 404, &[]),
        ("/none", PAGE, 404, &[]),
    ] {
        let answer = client.ask_with("GET", target, fields);
        assert_eq!(answer.status, status, "{target}");
        let vary_of_answer = all(&answer, "vary");
        let by_accept: Vec<&str> = vary_of_answer
            .into_iter()
            .filter(|value| *value == "Accept")
            .collect();
        assert_eq!(by_accept, vary, "{target}");
    }
    assert_eq!(client.ask_with("OPTIONS", "/app/none", PAGE).status, 404);
    assert_eq!(client.ask_with("HEAD", "/app/none", PAGE).status, 200);
}

#[test]
fn a_later_application_may_have_what_an_earlier_one_excepts() {
    let site = applications();
    let rest = "[[spa]]\npath = '/**'\npage = '/index.html'\nexcept = ['/app/api/v1/**']\n";
    let server = serve(&site, &format!("{TABLES}{rest}"));
    expect_pages(
        &server,
        &[
            ("/app/none", 200, "app/index.html"),
            ("/app/api/none", 200, "index.html"),
            ("/app/api/v1/none", 404, ""),
            ("/none", 200, "index.html"),
        ],
    );
}

#[test]
fn a_directory_without_an_index_does_not_stand_in_the_way_of_a_route() {
    let site = applications();
    for (config, page) in [
        ("spa = '/index.html'\n", "index.html"),
        ("spa = '/index.html'\nclean_urls = true\n", "index.html"),
    ] {
        let server = serve(&site, config);
        expect_pages(
            &server,
            &[
                ("/users", 200, page),
                ("/users/", 200, page),
                ("/users?id=1", 200, page),
                ("/app/users", 200, page),
                // A directory with an index is served itself.
                ("/manual", 301, "/manual/"),
            ],
        );
        let mut client = server.connect();
        for target in ["/users", "/users/", "/app/users"] {
            assert_eq!(client.get(target).status, 404, "{target}");
        }
    }
    let server = serve(&site, TABLES);
    expect_pages(
        &server,
        &[
            ("/app/users", 200, "app/index.html"),
            ("/admin/users", 200, "admin.html"),
            ("/admin/users/", 200, "admin.html"),
            ("/users", 404, ""),
            ("/app/api", 200, "app/index.html"),
        ],
    );
    // The directory gets an index.
    site.write("app/users/index.html", "users");
    until("the index", || {
        let answer = server.connect().ask_with("GET", "/app/users", PAGE);
        answer.field("location") == Some("/app/users/")
    });
    // With listings on, a directory without an index is served itself too.
    let listed = serve(&site, "spa = '/index.html'\nlisting = true\n");
    expect_pages(&listed, &[("/users", 301, "/users/")]);
    let answer = listed.connect().ask_with("GET", "/users/", PAGE);
    assert!(answer.status == 200 && answer.text() != "index.html");
}

#[test]
fn a_host_has_its_applications_first() {
    let site = applications();
    let host = |name: &str, more: &str| {
        let root = site.root();
        format!("[[host]]\nname = '{name}.example'\nroot = {root:?}\n{more}\n")
    };
    let config = [
        TABLES,
        &host(
            "own",
            "[[host.spa]]\npath = '/app/new/**'\npage = '/manual/index.html'\n",
        ),
        &host("none", "spa = ''"),
        &host("one", "spa = '/index.html'"),
    ];
    let server = Launch::of(site.root()).config(&config.concat()).start();
    for (host, target, status, text) in [
        ("own", "/app/new/x", 200, "manual/index.html"),
        ("own", "/app/x", 200, "app/index.html"),
        ("own", "/admin/x", 200, "admin.html"),
        ("none", "/app/x", 404, ""),
        ("one", "/app/api/x", 200, "index.html"),
        ("other", "/app/new/x", 200, "app/index.html"),
    ] {
        let mut client = server.connect();
        client.send(format!(
            "GET {target} HTTP/1.1\r\nHost: {host}.example\r\n{PAGE}\r\n"
        ));
        let answer = client.answer();
        assert_eq!(answer.status, status, "{host} {target}");
        assert!(status == 404 || answer.text() == text, "{host} {target}");
    }
}

#[test]
fn the_path_that_was_asked_for_decides_which_application_it_is() {
    let site = applications();
    let rewrite = "[[rewrite]]\nfrom = '/next/**'\nto = '/app/$1'\n\
                   [[spa]]\npath = '/next/**'\npage = '/admin.html'\n";
    let server = serve(&site, &format!("{TABLES}{rewrite}"));
    expect_pages(
        &server,
        &[
            ("/next/main.js", 200, "app/main.js"),
            ("/next/orders", 200, "admin.html"),
            ("/app/orders", 200, "app/index.html"),
        ],
    );
}
