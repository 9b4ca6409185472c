//! Sites made by real tools, served by the real binary to an independent crawler and browser.
//!
//! The sites come from four different generators ([`real_site`]): Vite with hashed assets, MkDocs with a
//! directory for each page, Sphinx as Debian packages it, with symbolic links between packages, and
//! VitePress with addresses that have no suffix.
//! wget follows every link, and the saved bodies are compared with the files. All other files are
//! requested by name. The media types are compared with nginx's.
//!
//! `cargo test --test foreign real_sites -- --ignored --nocapture` prints a line for each crawl.
//! `.ci/install` fetches the sources of the sites. A test whose tools are missing fails.

mod crawl;
pub mod devtools;
mod disk;
mod engine;
mod media_types;
mod page;
mod real_site;

use std::fs;

use crawl::Crawl;
use real_site::RealSite;
use support::{Server, Site};

/// Crawls the site and requests all its files. Each answer has the content on the disk, and only paths
/// without a file are refused.
fn is_served_as_it_is_on_disk(real: &RealSite) {
    let site = Site::empty();
    real.build(&site.root());
    let server = real.serve(&site.root());
    is_crawled_without_a_loss(real, &site, &server);
    files_are_answered_byte_by_byte(real, &site, &server);
}

fn is_crawled_without_a_loss(real: &RealSite, site: &Site, server: &Server) {
    let (root, mirror) = (site.root(), site.beside("mirror"));
    let crawl = Crawl::of(server.address(), real.start, &mirror);
    println!("{}: {crawl}", real.name);
    for refused in &crawl.refused {
        let on_disk = disk::file_at(&root, &refused.path, real.has_clean_urls);
        assert_eq!((refused.status, on_disk), (404, None), "{}", refused.path);
    }
    let mut pages = disk::pages(&root.join(real.start.trim_start_matches('/')));
    for saved in &crawl.saved {
        let path = &saved.path;
        let file = disk::file_at(&root, path, real.has_clean_urls);
        let file = file.unwrap_or_else(|| panic!("{path} is not on disk"));
        let is_same = fs::read(&saved.copy).expect("the copy") == disk::content(path, &file);
        assert!(is_same, "{path}: the body differs from {}", file.display());
        pages.remove(&file);
    }
    // The crawl must reach all pages, since one that ends early finds no fault.
    let unlinked = real.unlinked.iter().map(|name| root.join(name)).collect();
    assert_eq!(pages, unlinked, "pages that the crawl did not reach");
}

/// Requests the files that are not linked too: scripts name some, and source maps and sitemaps are for
/// other programs. The file name of a page may redirect to its address.
fn files_are_answered_byte_by_byte(real: &RealSite, site: &Site, server: &Server) {
    let mut client = server.connect();
    for name in disk::files(&site.root()) {
        let mut answer = client.get(&disk::target(&name));
        if real.has_clean_urls && name.extension().is_some_and(|it| it == "html") {
            assert_eq!(answer.status, 301, "{}", name.display());
            let address = answer.field("location").expect("Location").to_owned();
            assert!(!address.ends_with(".html"), "{address}");
            answer = client.get(&address);
        }
        if disk::is_hidden(&name) {
            assert_eq!(answer.status, 404, "{}", name.display());
        } else {
            let content = fs::read(site.root().join(&name)).expect("a file");
            assert_eq!(answer.status, 200, "{}", name.display());
            assert!(answer.body == content, "{}: another body", name.display());
        }
        if !answer.persists() {
            client = server.connect();
        }
    }
}

#[test]
#[ignore = "needs npm and wget"]
fn what_vite_builds_is_served_as_it_is_on_disk() {
    is_served_as_it_is_on_disk(&real_site::VITE);
}

#[test]
#[ignore = "needs pip and wget"]
fn what_mkdocs_builds_is_served_as_it_is_on_disk() {
    is_served_as_it_is_on_disk(&real_site::MKDOCS);
}

#[test]
#[ignore = "needs npm and wget"]
fn what_vitepress_builds_is_served_as_it_is_on_disk() {
    is_served_as_it_is_on_disk(&real_site::VITEPRESS);
}

#[test]
#[ignore = "needs apt and wget"]
fn what_debian_packages_is_served_as_it_is_on_disk() {
    is_served_as_it_is_on_disk(&real_site::DEBIAN);
}
