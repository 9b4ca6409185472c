//! curl as an independent client.
//!
//! `cargo test --test foreign curl -- --ignored`. Without curl these tests fail.

use std::process::Command;

use rustix::process::Signal;
use support::{Launch, Server, Site, pattern};

/// Runs curl and returns its output.
fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "20",
            "--noproxy",
            "*",
        ])
        .args(arguments)
        .output()
        .expect("curl is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "curl {arguments:?}: {said}");
    String::from_utf8(output.stdout).expect("curl prints text")
}

fn url(server: &Server, path: &str) -> String {
    format!("http://{}{path}", server.address())
}

#[test]
#[ignore = "needs curl"]
fn several_urls_share_one_connection() {
    let site = Site::new();
    let server = Server::of(site.root());
    let format = "%{http_code} %{num_connects}\n";
    let (home, page) = (url(&server, "/"), url(&server, "/page.html"));
    let missing = url(&server, "/missing");
    let none = "/dev/null";
    let printed = curl(&[
        "-w", format, "-o", none, &home, "-o", none, &page, "-o", none, &missing, "-o", none, &home,
    ]);
    assert_eq!(printed, "200 1\n200 0\n404 0\n200 0\n");
}

#[test]
#[ignore = "needs curl"]
fn head_prints_the_fields_of_a_persistent_answer() {
    let site = Site::new();
    let server = Server::of(site.root());
    let printed = curl(&["-I", &url(&server, "/")]);
    assert!(printed.starts_with("HTTP/1.1 200 OK\r\n"), "{printed}");
    assert!(printed.contains("\r\nKeep-Alive: timeout=120, max=999\r\n"));
}

#[test]
#[ignore = "needs curl"]
fn http_1_0_is_closed_unless_it_asks() {
    let site = Site::new();
    let server = Server::of(site.root());
    let (format, home) = ("%{num_connects}\n", url(&server, "/"));
    let twice = ["-o", "/dev/null", &home, "-o", "/dev/null", &home];
    let plain = curl(&[&["--http1.0", "-w", format], &twice[..]].concat());
    assert_eq!(plain, "1\n1\n");
    let asking = ["--http1.0", "-H", "Connection: keep-alive", "-w", format];
    assert_eq!(curl(&[&asking[..], &twice[..]].concat()), "1\n0\n");
}

#[test]
#[ignore = "needs curl"]
fn an_upload_is_405_and_readable() {
    let site = Site::new();
    let server = Server::of(site.root());
    for (name, len) in [("small", 100), ("large", 8 * 1024 * 1024)] {
        let file = site.beside(name);
        std::fs::write(&file, pattern(len)).expect("a file to upload");
        let file = file.to_str().expect("a path in UTF-8");
        let upload = ["-T", file, "-o", "/dev/null", "-w", "%{http_code}"];
        let printed = curl(&[&upload[..], &[&url(&server, "/")]].concat());
        // For large files curl sends Expect: 100-continue, and is answered before it sends the body.
        assert_eq!(printed, "405", "{len} bytes");
    }
}

#[test]
#[ignore = "needs curl"]
fn a_unix_socket_serves_too() {
    let site = Site::new();
    let socket = site.beside("abide.sock");
    let socket = socket.to_str().expect("a path in UTF-8");
    let server = Launch::of(site.root())
        .listen(&format!("unix:{socket}"))
        .start();
    let printed = curl(&["--unix-socket", socket, "http://localhost/page.html"]);
    assert!(printed.contains("page"), "{printed}");
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code, Some(0));
}

#[test]
#[ignore = "needs curl"]
fn a_large_download_is_the_same_file() {
    let site = Site::empty();
    let content = pattern(30 * 1024 * 1024);
    site.write("large.bin", &content);
    let server = Server::of(site.root());
    let copy = site.beside("copy");
    let target = copy.to_str().expect("a path in UTF-8");
    curl(&["-o", target, &url(&server, "/large.bin")]);
    assert!(std::fs::read(copy).expect("the copy") == content);
}

#[test]
#[ignore = "needs curl"]
fn a_conditional_request_is_304() {
    let site = Site::new();
    let server = Server::of(site.root());
    let page = site.path("page.html");
    let page = page.to_str().expect("a path in UTF-8");
    let (code, target) = ("%{http_code}", url(&server, "/page.html"));
    let since = ["-z", page, "-o", "/dev/null", "-w", code, &target];
    assert_eq!(curl(&since), "304");
    let before = ["-z", "Sun, 06 Nov 1994 08:49:37 GMT", "-o", "/dev/null"];
    assert_eq!(curl(&[&before[..], &["-w", code, &target]].concat()), "200");
}

/// A redirect keeps the query, and curl reuses the connection.
#[test]
#[ignore = "needs curl"]
fn a_redirect_is_followed_on_the_same_connection() {
    let site = Site::new();
    site.write("a b/index.html", "inside");
    let server = Server::of(site.root());
    let format = "|%{num_connects} %{url_effective}";
    let printed = curl(&["-L", "-w", format, &url(&server, "/a%20b?q=1")]);
    let expected = format!("inside|1 {}", url(&server, "/a%20b/?q=1"));
    assert_eq!(printed, expected);
}
