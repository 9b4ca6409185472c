//! Directories without an index.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

use super::{PAGE, expect, expect_status, serve};
use crate::support::Site;

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
    assert_eq!(json.field("vary"), Some("Accept"));
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
    // An index comes first, and the slash before all.
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
    // To the superuser no directory is closed.
    let expected = if fs::read_dir(site.path("closed")).is_ok() {
        200
    } else {
        403
    };
    let server = serve(&site, "listing = true\n");
    expect_status(&server, &[("/closed/", expected)]);
    fs::set_permissions(site.path("closed"), Permissions::from_mode(0o755)).expect("chmod");
}

#[test]
fn a_hundred_thousand_entries_are_listed() {
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
