//! The application that Vite built, in headless Chromium.

use serde_json::json;

use super::devtools::visit;
use super::real_site::VITE;
use super::support::{Server, Site};

#[test]
#[ignore = "needs npm and chromium"]
fn an_application_runs_without_a_complaint() {
    let site = Site::empty();
    VITE.build(&site.root());
    let server = Server::of(site.root());
    let visit = visit(&format!("http://{}/", server.address()), "window.loaded");
    assert!(visit.complaints.is_empty(), "{:#?}", visit.complaints);
    let done = json!({
        "markers": 3, "pair": ["Göteborg", "Porto"], "wasm": true, "font": true,
    });
    assert_eq!(visit.value, done);
    for (url, status) in &visit.answers {
        assert_eq!(*status, 200, "{url}");
    }
    // The page, style, script, a late chunk, WebAssembly, JSON, a font, pictures.
    for part in [
        "/",
        ".css",
        ".js",
        "chart",
        ".wasm",
        ".json",
        ".woff2",
        "marker-icon",
        "marker-shadow",
    ] {
        let asked_for = visit.answers.iter().any(|(url, _)| url.contains(part));
        assert!(asked_for, "{part} was not asked for: {:?}", visit.answers);
    }
}

/// So that no complaint means something.
#[test]
#[ignore = "needs chromium"]
fn complaints_are_heard() {
    let site = Site::empty();
    site.write("page.txt", "not a script");
    site.write(
        "index.html",
        "<!doctype html><link rel=icon href=data:,><script src=missing.js></script>\
         <script src=page.txt></script><script>console.error('said aloud')</script>\
         <script>thrown()</script>",
    );
    let server = Server::of(site.root());
    let url = format!("http://{}/", server.address());
    let visit = visit(&url, "Promise.resolve(7)");
    assert_eq!(visit.value, 7);
    // nosniff: what is not declared as a script does not run as one.
    for text in [
        "missing.js",
        "page.txt",
        "said aloud",
        "thrown is not defined",
    ] {
        let heard = visit.complaints.iter().any(|said| said.contains(text));
        assert!(heard, "{text}: {:#?}", visit.complaints);
    }
}
