//! `shutdown.health`: the path that tells a load balancer that the server is leaving, from the first moment
//! and before any request is lost.

use rustix::process::Signal;
use support::{Launch, Response, Server, Site};

const HEALTH: &str = "[shutdown]\nhealth = \"/health\"\naccept_for = 1\n\
                      [keep_alive]\ntimeout = 2\ngrace = 1\n";

fn start(site: &Site, more: &str) -> Server {
    Launch::of(site.root())
        .config(&format!("{HEALTH}{more}"))
        .start()
}

fn expect_uncached(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{}", response.head);
    assert_eq!(response.field("cache-control"), Some("no-store"));
}

#[test]
fn it_is_200_while_serving_and_503_from_the_first_moment_of_a_drain() {
    let site = Site::new();
    let server = start(&site, "");
    let mut kept = server.connect();
    let mut other = server.connect();
    other.expect_usable();
    for method in ["GET", "HEAD", "OPTIONS", "GET"] {
        let response = kept.ask(method, "/health");
        expect_uncached(&response, 200);
        assert!(response.persists());
    }
    server.signal(Signal::TERM);
    server.wait_for("draining, waiting for 2 connections");
    let response = kept.get("/health");
    expect_uncached(&response, 503);
    assert!(!response.persists());
    kept.expect_end();
    for method in ["GET", "HEAD", "OPTIONS"] {
        let mut late = server.connect();
        expect_uncached(&late.ask(method, "/health"), 503);
        late.expect_end();
    }
    // Other paths are still served.
    assert_eq!(server.connect().get("/").status, 200);
    assert_eq!(other.get("/").status, 200);
    drop((kept, other));
    assert_eq!(server.ended().code, Some(0));
}

/// The health path takes precedence over a site's file of that name, in every spelling.
#[test]
fn nothing_of_a_site_comes_before_it() {
    let site = Site::new();
    site.write("health", "a file");
    let server = start(
        &site,
        "[[redirect]]\nfrom = \"/health\"\nto = \"/elsewhere\"\n\
         [[header]]\npath = \"/**\"\nset = { Cache-Control = \"max-age=60\" }\n\
         [[host]]\nname = \"known.test\"\nroot = \"www\"\ncors = \"*\"\nspa = \"/index.html\"\n",
    );
    let mut client = server.connect();
    for target in [
        "/health",
        "/health?now",
        "/%68ealth",
        "/a/..//./health",
        "http://x/health",
    ] {
        expect_uncached(&client.get(target), 200);
    }
    let lines = "Origin: http://a.test\r\nAccess-Control-Request-Method: GET\r\n";
    for host in ["known.test", "unknown.test"] {
        client.send(format!(
            "GET /health HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n"
        ));
        expect_uncached(&client.answer(), 200);
    }
    for target in ["/health/", "/Health", "/healthy"] {
        assert_ne!(
            client.get(target).field("cache-control"),
            Some("no-store"),
            "{target}"
        );
    }
    let response = client.ask("DELETE", "/health");
    assert_ne!(response.status, 200, "{}", response.head);
}

#[test]
fn health_is_told_whatever_host_is_asked_for() {
    let site = Site::new();
    let server = Launch::of(site.root())
        .config(&format!(
            "strict_hosts = true\n{HEALTH}[[host]]\nname = \"known.test\"\nroot = \"www\"\n"
        ))
        .start();
    for host in ["known.test", "unknown.test", "10.0.0.1"] {
        let mut client = server.connect();
        client.send(format!("GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(client.answer().status, 200, "{host}");
    }
    // HAProxy's health check sends this by default.
    let mut client = server.connect();
    client.send("OPTIONS /health HTTP/1.0\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    for (line, status) in [("GET /health/x", 421), ("POST /health", 421)] {
        let mut client = server.connect();
        client.send(format!("{line} HTTP/1.1\r\nHost: unknown.test\r\n\r\n"));
        assert_eq!(client.answer().status, status, "{line}");
    }
}

#[test]
fn without_the_key_there_is_no_such_path() {
    let site = Site::new();
    let server = Server::of(site.root());
    assert_eq!(server.connect().get("/health").status, 404);
}

#[test]
fn what_can_be_no_path_is_refused() {
    let site = Site::new();
    for (path, flaw) in [
        ("health", "it must begin with a slash"),
        ("/a/../health", "no path holds the segments . or .."),
        ("/a//health", "no path holds an empty segment"),
        ("/health?a", "without a query"),
        ("/%68ealth", "compared decoded"),
    ] {
        let config = format!("[shutdown]\n\nhealth = \"{path}\"\n");
        let ended = Launch::of(site.root()).config(&config).run();
        assert_eq!(ended.code, Some(2), "{path}");
        let named = "abide.toml:3: shutdown.health: ";
        assert!(ended.stderr.contains(named), "{}", ended.stderr);
        assert!(ended.stderr.contains(flaw), "{}", ended.stderr);
    }
}
