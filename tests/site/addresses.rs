//! Redirects to the one address of a file or directory that has several names, and where they end.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{PAGE, expect, expect_status, outcome, serve};
use support::{Client, Response, Site, until};

/// The most redirects for one address: from `/a/index/` to `/a/index`, and from there to `/a/`.
const HOPS_MAX: usize = 2;

/// A tree in which files and directories have similar names.
fn odd_tree() -> Site {
    let site = Site::empty();
    for name in [
        "index.html",
        "index.v2.html",
        ".index.html",
        "about.html",
        "about/note.txt",
        "both.html",
        "both/index.html",
        "plain",
        "plain.html",
        "x.html.html",
        "index/index.html",
        "page.html/note.txt",
        "shop.html/index.html",
        "deep/index/about.html",
        "deep/index.html.html",
        "deep/about.html/index.html",
        "nested/index.html/index.html",
        "double/index.html/index.html/note.txt",
        ".html",
        "sub/.html",
        ".hidden.html",
        ".hidden/index.html",
        ".well-known.html",
        ".well-known/note.txt",
        "a b/\u{e9}.html",
        "a b/100%.html",
    ] {
        site.write(name, name);
    }
    for name in [
        "empty",
        "bare/index.html",
        "index.html.d/index",
        "about/index",
    ] {
        site.directory(name);
    }
    site.directory("special");
    site.fifo("special/index.html");
    site.fifo("pipe.html");
    site.link("both", "linked");
    site.link("about.html", "alias.html");
    site.link("../beside", "outside");
    site.link("nowhere", "dangling.html");
    fs::create_dir(site.beside("beside")).expect("a directory outside");
    site
}

/// Every encoded address that a client could derive from a name in the tree.
fn addresses(root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::from(["/".to_owned()]);
    let mut directories = vec![(root.to_owned(), "/".to_owned())];
    while let Some((directory, path)) = directories.pop() {
        let names = fs::read_dir(&directory).expect("a directory").map(|entry| {
            let name = entry.expect("an entry").file_name();
            name.into_string().expect("UTF-8")
        });
        let invented = [
            "index",
            "index.html",
            "index.v2",
            ".index",
            "none",
            "none.html",
        ];
        for name in names.chain(invented.map(str::to_owned)) {
            let below = directory.join(&name);
            let encoded = name.replace('%', "%25").replace(' ', "%20");
            let address = format!("{path}{}", encoded.replace('\u{e9}', "%C3%A9"));
            let stem = address.strip_suffix(".html").unwrap_or(&address);
            for form in [&address, stem, &format!("{stem}.html")] {
                found.extend([form.to_owned(), format!("{form}/")]);
            }
            if below.is_dir() && !below.is_symlink() {
                directories.push((below, format!("{address}/")));
            }
        }
    }
    found
}

/// Requests `target` and follows its redirects. Returns the last answer, the number of redirects and the
/// last target.
fn follow(client: &mut Client, target: &str, fields: &str) -> (Response, usize, String) {
    let mut target = format!("{target}?q=1");
    for hops in 0..=HOPS_MAX {
        let answer = client.ask_with("GET", &target, fields);
        if !(300..400).contains(&answer.status) {
            return (answer, hops, target);
        }
        target = answer.field("location").expect("Location").to_owned();
        assert!(target.ends_with("?q=1"), "the query is kept: {target}");
    }
    panic!("not at an end after {HOPS_MAX} redirects: {target}");
}

/// Whether `target`, with a query, is the slash form of a directory.
fn is_directory(root: &Path, target: &str) -> bool {
    let path = target.trim_end_matches("?q=1");
    let path = path.replace("%20", " ").replace("%C3%A9", "\u{e9}");
    let path = path.replace("%25", "%");
    path.ends_with('/') && root.join(path.trim_start_matches('/')).is_dir()
}

/// The exception is the redirect of a directory to its slash form where no application has the route.
#[test]
fn every_redirect_leads_to_something() {
    let site = odd_tree();
    let addresses = addresses(&site.root());
    assert!(addresses.len() > 250, "{}", addresses.len());
    let mut redirected = 0;
    for index in [
        "['index.html']",
        "['index.v2.html', 'index.html']",
        "['.index.html', 'index']",
        "[]",
    ] {
        for bits in 0..16 {
            let is_on = |bit: u32| bits >> bit & 1 == 1;
            let config = format!(
                "index = {index}\nclean_urls = {}\nlisting = {}\nhidden = {}\nspa = '{}'\n\
                 keep_alive.max_requests = 1000000\n",
                is_on(0),
                is_on(1),
                is_on(2),
                if is_on(3) { "/about.html" } else { "" },
            );
            let server = serve(&site, &config);
            let mut client = server.connect();
            for target in &addresses {
                // From the disk, then from memory.
                for fields in ["", PAGE] {
                    let (answer, hops, end) = follow(&mut client, target, fields);
                    redirected += hops;
                    let is_plain = !is_on(3) && is_directory(&site.root(), &end);
                    assert!(
                        hops == 0 || answer.status != 404 || is_plain,
                        "{target} leads to a 404 with\n{config}"
                    );
                }
            }
        }
    }
    assert!(redirected > 1_000, "{redirected}");
}

#[test]
fn a_directory_that_is_called_like_a_page_is_none() {
    let site = odd_tree();
    let server = serve(&site, "clean_urls = true\n");
    let gone = [
        "/page",
        "/page/",
        "/page.html/",
        "/shop",
        "/shop/",
        "/bare/",
        "/bare/index",
    ];
    expect_status(&server, &gone.map(|target| (target, 404)));
    expect(
        &server,
        &[
            ("/shop.html", 301, "/shop.html/"),
            ("/shop.html/", 200, "shop.html/index.html"),
        ],
    );
    // The page is created later, and removed again.
    site.write("page/index.html", "page");
    until("the directory", || outcome(&server, "/page").1 == "/page/");
    fs::remove_dir_all(site.path("page")).expect("rm");
    until("the directory has gone", || {
        outcome(&server, "/page").0 == 404
    });
}

#[test]
fn a_page_is_found_with_a_slash_too() {
    let site = odd_tree();
    let server = serve(&site, "clean_urls = true\n");
    expect(
        &server,
        &[
            ("/about/", 301, "/about"),
            ("/about/?a=1&b", 301, "/about?a=1&b"),
            ("/about", 200, "about.html"),
            ("/a%20b/%C3%A9/", 301, "/a%20b/%C3%A9"),
            ("/both/", 200, "both/index.html"),
            ("/linked/", 200, "both/index.html"),
            ("/x.html/", 301, "/x.html"),
        ],
    );
    // A plain file, or a name with the suffix, is not found with a slash.
    let gone = [
        "/plain/",
        "/about.html/",
        "/none/",
        "/.hidden.html/",
        "/.well-known/",
    ];
    expect_status(&server, &gone.map(|target| (target, 404)));
    let head = server.connect().ask("HEAD", "/about/");
    assert_eq!((head.status, head.field("location")), (301, Some("/about")));
    let listed = serve(&site, "clean_urls = true\nlisting = true\n");
    let (status, text) = outcome(&listed, "/about/");
    assert!(status == 200 && text.contains("note.txt"), "{text}");
    expect(&listed, &[("/x.html/", 301, "/x.html")]);
    let off = serve(&site, "");
    expect_status(&off, &[("/about/", 404)]);
}

#[test]
fn an_index_has_the_address_of_its_directory() {
    let site = odd_tree();
    let server = serve(&site, "clean_urls = true\n");
    expect(
        &server,
        &[
            ("/index", 301, "/"),
            ("/index?a=1&b", 301, "/?a=1&b"),
            ("/both/index", 301, "/both/"),
            ("/both/index?q", 301, "/both/?q"),
            ("/index/index", 301, "/index/"),
            ("/index/", 200, "index/index.html"),
        ],
    );
    // A file or directory whose name is "index" keeps its address.
    site.write("both/index", "plain");
    site.write("about/index/index.html", "directory");
    until("the plain file", || {
        outcome(&server, "/both/index").1 == "plain"
    });
    expect(&server, &[("/about/index", 301, "/about/index/")]);
    let first = serve(
        &site,
        "clean_urls = true\nindex = ['index.v2.html', 'index.html']\n",
    );
    expect(
        &first,
        &[
            ("/index.v2", 301, "/"),
            ("/", 200, "index.v2.html"),
            ("/index", 200, "index.html"),
        ],
    );
    let off = serve(&site, "");
    expect(&off, &[("/index", 301, "/index/")]);
}

#[test]
fn a_rewrite_to_a_directory_serves_its_index() {
    let site = Site::empty();
    site.write("v2/guide/index.html", "guide");
    site.write("v2/guide/a.css", "style");
    site.write("v2/page.html", "page");
    site.directory("v2/empty");
    let rules = "[[rewrite]]\nfrom = '/guide'\nto = '/v2/guide'\n\
                 [[rewrite]]\nfrom = '/manual/'\nto = '/v2/guide'\n\
                 [[rewrite]]\nfrom = '/old/*/'\nto = '/v2/$1'\n\
                 [[rewrite]]\nfrom = '/one/*'\nto = '/v2/$1'\n\
                 [[rewrite]]\nfrom = '/slash'\nto = '/v2/page/'\n\
                 [[rewrite]]\nfrom = '/v2/empty/'\nto = '/v2/guide'\n\
                 [[rewrite]]\nfrom = '/latest/**'\nto = '/v2/$1'\n";
    let outcomes = [
        ("/guide", 200, "guide"),
        ("/guide?q", 200, "guide"),
        ("/manual/", 200, "guide"),
        ("/old/guide/", 200, "guide"),
        ("/one/guide", 200, "guide"),
        ("/v2/empty/", 200, "guide"),
        // The slash form is rewritten too, and with it relative links resolve correctly.
        ("/latest/guide", 301, "/latest/guide/"),
        ("/latest/guide/", 200, "guide"),
        ("/v2/guide", 301, "/v2/guide/"),
    ];
    let server = serve(&site, rules);
    expect(&server, &outcomes);
    expect_status(&server, &[("/one/empty", 404), ("/slash", 404)]);
    let head = server.connect().ask("HEAD", "/guide");
    assert_eq!((head.status, head.length()), (200, Some(5)));
    let clean = serve(&site, &format!("clean_urls = true\n{rules}"));
    expect(&clean, &outcomes);
    expect(
        &clean,
        &[("/slash", 200, "page"), ("/latest/page/", 200, "page")],
    );
    let listed = serve(&site, &format!("listing = true\n{rules}"));
    expect(&listed, &outcomes);
    let (status, text) = outcome(&listed, "/one/empty");
    assert!(status == 200 && text.contains("empty"), "{text}");
}

/// The files decide whether such a rule loops, so the configuration is accepted at start.
#[test]
fn where_a_rule_would_lead_back_the_answer_is_given_at_once() {
    let site = Site::empty();
    site.write("about.html", "about");
    site.write("docs/index.html", "docs");
    site.write("news/index.html", "news");
    let rules = "clean_urls = true\n\
                 [[redirect]]\nfrom = '/about'\nto = '/about/'\n\
                 [[redirect]]\nfrom = '/docs/'\nto = '/docs'\n\
                 [[redirect]]\nfrom = '/news/'\nto = '/more'\n\
                 [[redirect]]\nfrom = '/more'\nto = '/news'\n";
    let server = serve(&site, rules);
    expect(
        &server,
        &[
            ("/about", 302, "/about/"),
            ("/about/", 200, "about"),
            ("/docs/", 302, "/docs"),
            ("/docs", 200, "docs"),
            ("/news/", 302, "/more"),
            ("/more", 302, "/news"),
            ("/news", 200, "news"),
        ],
    );
}
