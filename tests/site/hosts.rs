//! Virtual hosts: which site a host name selects.

use support::{Client, Launch, Response, Server, Site};

/// Three hosts beside the default site, each with its name in its index.
fn hosts(general: &str) -> (Site, Server) {
    let site = Site::empty();
    site.write("index.html", "default");
    site.write("only", "default");
    for name in ["example", "below", "deep"] {
        let root = site.beside(name);
        std::fs::create_dir(&root).expect("a root");
        std::fs::write(root.join("index.html"), name).expect("its page");
        std::fs::write(root.join("404.html"), format!("none at {name}")).expect("its page");
    }
    let host = |names: &str, name: &str, more: &str| {
        let root = site.beside(name);
        format!(
            "[[host]]\nname = {names}\nroot = \"{}\"\n{more}\n",
            root.display()
        )
    };
    let config = [
        general.to_owned(),
        host(
            "[\"example.org\", \"[::1]\"]",
            "example",
            "listing = true\nhidden = true",
        ),
        host(
            "\"*.example.org\"",
            "below",
            "[[host.redirect]]\nfrom = \"/a\"\nto = \"/b\"",
        ),
        host("\"*.deep.example.org\"", "deep", "security = true"),
    ];
    let server = Launch::of(site.root()).config(&config.concat()).start();
    (site, server)
}

fn get(server: &Server, host: &str, target: &str) -> Response {
    let mut client = server.connect();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    client.answer()
}

#[test]
fn a_name_of_its_own_then_the_longest_wildcard_then_the_default() {
    let (_site, server) = hosts("");
    for (host, expected) in [
        ("example.org", "example"),
        ("EXAMPLE.org:8080", "example"),
        ("example.org.", "example"),
        ("[::1]", "example"),
        ("[0:0::1]:80", "example"),
        ("www.example.org", "below"),
        ("deep.example.org", "below"),
        ("a.b.deep.example.org", "deep"),
        ("example.net", "default"),
        ("notexample.org", "default"),
        ("127.0.0.1", "default"),
    ] {
        for _ in 0..2 {
            assert_eq!(get(&server, host, "/").text(), expected, "{host}");
        }
    }
    let absolute = get(&server, "example.net", "http://www.example.org/");
    assert_eq!(absolute.text(), "below", "the target wins over Host");
    let mut client = server.connect();
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(client.answer().text(), "default");
}

#[test]
fn one_connection_may_ask_for_several_hosts() {
    let (_site, server) = hosts("");
    let mut client: Client = server.connect();
    for (host, expected) in [("example.org", "example"), ("x", "default")].repeat(3) {
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(client.answer().text(), expected);
    }
}

#[test]
fn what_is_set_for_a_host_is_not_set_for_another() {
    let (_site, server) = hosts("");
    assert_eq!(get(&server, "www.example.org", "/a").status, 302);
    assert_eq!(get(&server, "example.org", "/a").text(), "none at example");
    assert!(get(&server, "x", "/a").text().contains("Nothing is here."));
    assert_eq!(get(&server, "x", "/only").text(), "default");
    assert_eq!(get(&server, "example.org", "/only").status, 404);
    let framed = |host| get(&server, host, "/").field("x-frame-options").is_some();
    assert!(framed("a.deep.example.org") && !framed("a.example.org") && !framed("x"));
}

#[test]
fn an_unknown_name_can_be_refused_rfc9110_15_5_20() {
    let (_site, server) = hosts("strict_hosts = true\n");
    let refused = get(&server, "example.net", "/");
    assert_eq!((refused.status, refused.persists()), (421, false));
    assert_eq!(get(&server, "www.example.org", "/").text(), "below");
    // A request of HTTP/1.0 without Host names no site.
    for (request, status) in [
        ("GET / HTTP/1.0\r\n\r\n", 421),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 421),
        ("GET / HTTP/1.0\r\nHost: [v1.x]\r\n\r\n", 421),
        ("GET / HTTP/1.0\r\nHost: www.example.org\r\n\r\n", 200),
        ("GET http://www.example.org/ HTTP/1.0\r\n\r\n", 200),
        (
            "GET http://example.net/ HTTP/1.1\r\nHost: www.example.org\r\n\r\n",
            421,
        ),
    ] {
        let mut client = server.connect();
        client.send(request);
        let answer = client.answer();
        assert_eq!(
            (answer.status, answer.persists()),
            (status, false),
            "{request}"
        );
    }
}

#[test]
fn a_broken_head_is_400_whatever_host_it_names_rfc9112_3_2() {
    let (_site, server) = hosts("strict_hosts = true\n");
    for fields in [
        "Host: example.net\r\nHost: example.net\r\n",
        "Host: example.net\r\nX : y\r\n",
        "Host: example.net\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Host: example.net\r\nTransfer-Encoding: gzip\r\n",
        "",
    ] {
        let mut client = server.connect();
        client.send(format!("GET / HTTP/1.1\r\n{fields}\r\n"));
        assert_eq!(client.answer().status, 400, "{fields}");
    }
}

#[test]
fn a_root_that_cannot_be_served_is_named_at_start() {
    let site = Site::new();
    let config = "[[host]]\nname = \"a\"\nroot = \"no-such-root\"\n";
    let ended = Launch::of(site.root()).config(config).run();
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("no-such-root"), "{}", ended.stderr);
}
