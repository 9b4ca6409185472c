//! Pages and applications that Vite and VitePress built, in headless Chromium.

use serde_json::json;

use super::devtools::visit;
use super::real_site::{VITE, VITEPRESS};
use support::{Server, Site};

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
    // The page, style, script, a chunk loaded later, WebAssembly, JSON, a font, pictures.
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
        assert!(asked_for, "{part} was not requested: {:?}", visit.answers);
    }
}

/// Follows links like a reader: the script of the site fetches a part of the next page, and changes the
/// address. Returns the addresses and the headings.
const FOLLOW: &str = "(async () => {
    const until = async (isSo) => {
        while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 20));
    };
    await until(() => document.querySelector('#app').__vue_app__);
    const way = [];
    for (const [address, heading] of [
        ['/guide/piers-v2.0', 'Piers'], ['/about', 'About'], ['/guide/', 'Guide'],
    ]) {
        document.querySelector(`.VPSidebar a[href='${address}']`).click();
        await until(() => location.pathname === address
            && document.querySelector('.vp-doc h1')?.textContent.startsWith(heading));
        way.push(address);
    }
    return way;
})()";

#[test]
#[ignore = "needs npm and chromium"]
fn a_documentation_without_suffixes_is_read_without_a_complaint() {
    let site = Site::empty();
    VITEPRESS.build(&site.root());
    let server = VITEPRESS.serve(&site.root());
    let url = format!("http://{}/guide/tides", server.address());
    let visit = visit(&url, FOLLOW);
    assert!(visit.complaints.is_empty(), "{:#?}", visit.complaints);
    assert_eq!(
        visit.value,
        json!(["/guide/piers-v2.0", "/about", "/guide/"])
    );
    for (url, status) in &visit.answers {
        assert_eq!(*status, 200, "{url}");
    }
    let fetched = |part: &str| visit.answers.iter().any(|(url, _)| url.contains(part));
    assert!(
        fetched("piers-v2.0.md") && fetched("about.md"),
        "{:?}",
        visit.answers
    );
    let missing = server.connect().get("/guide/none");
    assert_eq!(missing.status, 404);
    assert!(missing.text().contains("Harbours"), "the site's own page");
}

/// Shows that the other tests would see a complaint.
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
    // nosniff: the browser runs no script without the media type of one.
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
