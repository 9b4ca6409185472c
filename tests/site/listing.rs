//! Directories without an index.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use super::{PAGE, expect, expect_status, serve};
use support::{Client, InProcess, Launch, Response, Share, Site, accepting, decoded, encoding};

const JSON: &str = "Accept: application/json\r\n";

fn names(json: &str) -> Vec<String> {
    let list: serde_json::Value = serde_json::from_str(json).expect("JSON");
    let entries = list.as_array().expect("an array").iter();
    entries
        .map(|entry| entry["name"].as_str().expect("a name").to_owned())
        .collect()
}

#[test]
fn a_directory_is_listed_as_a_page_or_as_json() {
    let site = Site::new();
    site.write("pub/b.txt", "12345");
    site.write("pub/a <&>.txt", "1");
    site.write("pub/.hidden", "");
    site.directory("pub/sub");
    fs::write(site.path("pub").join(OsStr::from_bytes(b"c\xff")), "123").expect("write");
    let server = serve(&site, "listing = true\n");
    let mut client = server.connect();
    let page = client.get("/pub/");
    assert_eq!(page.status, 200);
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
    assert!(
        page.text().contains("a &lt;&amp;&gt;.txt"),
        "{}",
        page.text()
    );
    assert!(!page.text().contains(".hidden"));
    let json = client.ask_with("GET", "/pub/", JSON);
    assert_eq!(json.field("content-type"), Some("application/json"));
    assert_eq!(json.field("vary"), Some("Accept, Accept-Encoding"));
    let expected = ["sub", "a <&>.txt", "b.txt", "c\u{FFFD}"];
    assert_eq!(names(json.text()), expected);
    let by_size = client.ask_with("GET", "/pub/?sort=-size", JSON);
    let expected = ["sub", "b.txt", "c\u{FFFD}", "a <&>.txt"];
    assert_eq!(names(by_size.text()), expected);
    let head = client.ask_with("HEAD", "/pub/", JSON);
    assert_eq!((head.status, head.length()), (200, json.length()));
    let again = format!("{JSON}If-None-Match: {}\r\n", json.field("etag").unwrap());
    assert_eq!(client.ask_with("GET", "/pub/", &again).status, 304);
    assert_eq!(client.ask("OPTIONS", "/pub/").status, 200);
    // An index takes precedence over a listing, and the redirect to the slash form over both.
    expect(&server, &[("/pub", 301, "/pub/")]);
    assert!(client.get("/").text().contains("home"));
    expect_status(&server, &[("/none/", 404), ("/page.html/", 404)]);
}

#[test]
fn nothing_is_listed_by_accident() {
    let site = Site::new();
    site.write("pub/a", "");
    site.write(".git/config", "");
    expect_status(&serve(&site, ""), &[("/pub/", 404)]);
    let listing = serve(&site, "listing = true\n");
    expect_status(&listing, &[("/.git/", 404), ("/.git/config", 404)]);
    let shown = serve(&site, "listing = true\nhidden = true\n");
    expect_status(&shown, &[("/.git/", 200)]);
}

#[test]
fn a_directory_comes_before_the_application() {
    let site = Site::new();
    site.write("pub/a", "");
    let server = serve(&site, "listing = true\nspa = \"/index.html\"\n");
    let mut client = server.connect();
    assert!(client.ask_with("GET", "/pub/", PAGE).text().contains("pub"));
    assert!(
        client
            .ask_with("GET", "/none/", PAGE)
            .text()
            .contains("home")
    );
}

#[test]
fn a_directory_that_may_not_be_read_is_403() {
    let site = Site::new();
    site.directory("closed");
    fs::set_permissions(site.path("closed"), Permissions::from_mode(0o000)).expect("chmod");
    let mut launch = Launch::of(site.root());
    if rustix::process::geteuid().is_root() {
        // Without these two capabilities, the superuser too is denied access to a directory.
        let without = "--bounding-set=-dac_override,-dac_read_search";
        let tool = Command::new("setpriv").arg("--version").output();
        tool.expect(
            "as root this test needs setpriv, a part of util-linux, which is not installed",
        );
        launch = launch.through(&["setpriv", without], Stdio::null());
    }
    let server = launch.config("listing = true\n").start();
    expect_status(&server, &[("/closed/", 403)]);
    fs::set_permissions(site.path("closed"), Permissions::from_mode(0o755)).expect("chmod");
}

#[test]
fn a_hundred_thousand_entries_are_listed() {
    let _share = Share::of(3);
    let site = Site::new();
    site.directory("many");
    for number in 0..100_000 {
        fs::write(site.path("many").join(number.to_string()), "").expect("a file");
    }
    let server = serve(&site, "listing = true\n");
    let json = server.connect().ask_with("GET", "/many/?sort=-name", JSON);
    let names = names(json.text());
    assert_eq!(names.len(), 100_000);
    assert_eq!(names[0], "99999");
}

const CODINGS: [&str; 3] = ["br", "zstd", "gzip"];

/// A directory of `count` files.
fn many(count: usize) -> Site {
    let site = Site::new();
    site.directory("many");
    for number in 0..count {
        fs::write(site.path("many").join(format!("{number:06}.txt")), "").expect("a file");
    }
    site
}

/// A server whose clock stands still: a listing in its cache is never made again.
fn kept_listings(site: &Site) -> InProcess {
    let mut config = InProcess::config(site);
    config.site.listing = true;
    InProcess::start(config)
}

fn list(client: &mut Client, method: &str, codings: &str, fields: &str) -> Response {
    let fields = format!("{}{fields}", accepting(codings));
    client.ask_with(method, "/many/", &fields)
}

/// RFC 9110 sections 8.8.3.3 and 12.5.3. The first answer in each coding is compressed already.
#[test]
fn a_listing_of_fifty_thousand_names_is_compressed() {
    let _share = Share::of(3);
    let site = many(50_000);
    let server = kept_listings(&site);
    let mut client = server.connect();
    let mut tags = Vec::new();
    for (fields, media_type, codings) in [
        ("", "text/html; charset=utf-8", &CODINGS[..]),
        (JSON, "application/json", &["zstd"]),
    ] {
        let plain = client.ask_with("GET", "/many/", fields);
        assert_eq!((plain.status, encoding(&plain)), (200, None));
        tags.push(plain.field("etag").expect("ETag").to_owned());
        for &coding in codings {
            let page = list(&mut client, "GET", coding, fields);
            assert_eq!((page.status, encoding(&page)), (200, Some(coding)));
            assert_eq!(page.field("vary"), Some("Accept, Accept-Encoding"));
            assert_eq!(page.field("content-type"), Some(media_type));
            assert!(
                page.body.len() * 10 < plain.body.len(),
                "{}",
                page.body.len()
            );
            assert!(decoded(&page) == plain.body);
            let tag = page.field("etag").expect("ETag");
            let head = list(&mut client, "HEAD", coding, fields);
            assert_eq!((head.status, head.length()), (200, page.length()));
            for name in ["etag", "vary", "content-type", "content-encoding"] {
                assert_eq!(head.field(name), page.field(name), "{name}");
            }
            let again = format!("{fields}If-None-Match: {tag}\r\n");
            let current = list(&mut client, "GET", coding, &again);
            assert_eq!((current.status, current.field("etag")), (304, Some(tag)));
            assert_eq!(current.field("vary"), page.field("vary"));
            assert_eq!(encoding(&current), None);
            tags.push(tag.to_owned());
        }
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 6);
}

/// RFC 9110 section 13.1.2: a validator in one coding does not match another.
#[test]
fn every_coding_of_a_listing_has_conditions_of_its_own() {
    let site = many(200);
    let server = kept_listings(&site);
    let mut client = server.connect();
    let codings = ["br", "zstd", "gzip", "identity"];
    let tags = codings.map(|coding| {
        let page = list(&mut client, "GET", coding, "");
        assert_eq!(encoding(&page).unwrap_or("identity"), coding);
        page.field("etag").expect("ETag").to_owned()
    });
    for (place, coding) in codings.into_iter().enumerate() {
        for (other, tag) in tags.iter().enumerate() {
            let mut status = |field: &str| {
                let fields = format!("{field}: {tag}\r\n");
                list(&mut client, "GET", coding, &fields).status
            };
            let is_it = other == place;
            assert_eq!(status("If-None-Match"), if is_it { 304 } else { 200 });
            assert_eq!(status("If-Match"), if is_it { 200 } else { 412 });
        }
    }
}

#[test]
fn a_listing_is_compressed_whatever_is_kept_of_it_unless_that_is_turned_off() {
    let site = many(2_000);
    for config in ["[cache]\nbytes = 0\n", "[cache]\nrevalidate = 0\n"] {
        let server = serve(&site, &format!("listing = true\n{config}"));
        let mut client = server.connect();
        for _ in 0..2 {
            assert_eq!(
                encoding(&list(&mut client, "GET", "gzip", "")),
                Some("gzip")
            );
            assert_eq!(encoding(&client.get("/many/")), None);
        }
    }
    let server = serve(&site, "listing = true\ncompress = false\n");
    let page = list(&mut server.connect(), "GET", "gzip", "");
    assert_eq!(
        (encoding(&page), page.field("vary")),
        (None, Some("Accept"))
    );
}
