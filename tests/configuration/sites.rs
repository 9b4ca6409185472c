//! Sites: virtual hosts, rules and tables.

use std::fs;
use std::path::Path;

use abide::config::{
    AccessLogFormat, AccessLogTarget, Config, EtagSource, FileCoding, Flags, Precompressed,
    SinglePageApp, SiteConfig, StatusRange, Statuses, SymlinkPolicy,
};
use proptest::prelude::*;
use tempfile::TempDir;

use super::{example, load, try_load};

/// A file with every key of a site.
const EVERYTHING: &str = r#"
root = "general"
index = "start.html"
clean_urls = true
spa = "/app.html"
listing = true
symlinks = "never"
default_type = "text/plain; charset=utf-8"
precompressed = false
etag = "content"
cors = ["https://app.example", "http://localhost:3000"]
strict_hosts = true
trusted_proxies = ["10.0.0.0/8", "::1"]

[access_log]
path = "/var/log/abide \"a\".log"
format = "extended"
host = true

[error_pages]
403 = "/denied.html"

[types]
WebManifest = "application/manifest+json"
log = "text/plain; charset=utf-8"

[encodings]
Br = "br"
"wasm.gz" = "gzip"

[[header]]
path = "/assets/**"
set = { Cache-Control = "public, max-age=31536000", "X-Quote" = 'a "b" \c' }
unset = ["X-Content-Type-Options"]

[[header]]
path = "/errors/**"
status = [404, "5XX"]
type = "Text/HTML"
set = { Cache-Control = "max-age=5" }

[[header]]
path = "/any/**"
status = "any"
type = ["image/*", "font/woff2"]
unset = ["Expires"]

[[redirect]]
from = "/old/**"
to = "/new/$1?from=old#top"
status = 301

[[redirect]]
from = "/gone/**"
status = 410

[[rewrite]]
from = "/latest/*"
to = "/v2/$1"

[[host]]
name = ["example.org", "*.Example.org."]
root = "special"
precompressed = "always"
spa = ""
hidden = true
security = true
cors = "*"
symlinks = "anywhere"
default_type = "text/x-own"

[host.error_pages]
404 = ""
500 = "/500.html"

[host.types]
log = "text/x-log"

[host.encodings]
svgz = ""
zst = "zstd"

[[host.header]]
path = "/**"
set = { X-Host = "1" }

[[host.header]]
path = "/**"
status = "410"
set = { Cache-Control = "max-age=60" }

[[host.redirect]]
from = "/withheld"
status = 451

[[host.redirect]]
from = "/here"
to = "https://other.example/$$"

[[host.rewrite]]
from = "/a/**/b"
to = "/c/$1"

[[host]]
name = "[::1]"
root = "loopback"
"#;

#[test]
fn every_setting_of_a_site_is_read() {
    let config = load(EVERYTHING);
    let site = &config.site;
    assert_eq!(site.index, ["start.html"]);
    assert!(site.clean_urls && site.listing && site.compress);
    assert!(!site.hidden && site.precompressed == Precompressed::Never && !site.security);
    assert_eq!(site.spa, [SinglePageApp::everywhere("/app.html")]);
    assert_eq!(
        (site.symlinks, site.etag),
        (SymlinkPolicy::Never, EtagSource::Content)
    );
    assert_eq!(site.error_pages[&403], "/denied.html");
    assert_eq!(site.error_pages[&404], "/404.html");
    assert_eq!(site.types["webmanifest"], "application/manifest+json");
    assert_eq!(site.default_type, "text/plain; charset=utf-8");
    let encodings = &site.encodings;
    assert_eq!(encodings["br"], Some(FileCoding::Brotli));
    assert_eq!(encodings["wasm.gz"], Some(FileCoding::Gzip));
    assert_eq!(encodings["svgz"], Some(FileCoding::Gzip), "the default");
    assert_eq!(site.redirects[0].status, 301);
    let gone = &site.redirects[1];
    assert_eq!((gone.to.as_ref(), gone.status), (None, 410));
    let [plain, errors, any] = &site.headers[..] else {
        panic!("{:?}", site.headers)
    };
    assert_eq!(
        (&plain.status, &plain.types[..]),
        (&Statuses::Unspecified, &[][..])
    );
    let ranges = vec![StatusRange::Code(404), StatusRange::Class(5)];
    assert_eq!(errors.status, Statuses::Listed(ranges));
    assert_eq!(errors.types, ["text/html".parse().unwrap()]);
    assert_eq!((&any.status, any.types.len()), (&Statuses::Any, 2));
    assert!(config.strict_hosts);
    assert_eq!(config.trusted_proxies.len(), 2);
    assert_eq!(config.access_log.format, AccessLogFormat::Extended);
    assert!(config.access_log.host);
    let file = AccessLogTarget::File("/var/log/abide \"a\".log".into());
    assert_eq!(config.access_log.target, Some(file));
}

#[test]
fn a_host_inherits_all_but_the_root_and_has_the_last_word() {
    let config = load(EVERYTHING);
    let host = &config.hosts[0];
    let names: Vec<String> = host.names.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["example.org", "*.example.org"]);
    let site = &host.site;
    assert_eq!(site.root, Path::new("special"));
    assert!(site.clean_urls && site.hidden && site.security);
    assert_eq!(site.precompressed, Precompressed::Always);
    let second = &config.hosts[1].site;
    assert_eq!(second.precompressed, Precompressed::Never, "inherited");
    assert!(site.spa.is_empty());
    assert_eq!(site.symlinks, SymlinkPolicy::Anywhere);
    assert_eq!(site.default_type, "text/x-own");
    let pages: Vec<u16> = site.error_pages.keys().copied().collect();
    assert_eq!(pages, [403, 500]);
    assert_eq!(site.types["log"], "text/x-log");
    assert_eq!(site.types["webmanifest"], "application/manifest+json");
    assert_eq!(site.encodings["br"], Some(FileCoding::Brotli));
    assert_eq!(site.encodings["zst"], Some(FileCoding::Zstd));
    assert_eq!(site.encodings["svgz"], None);
    let paths = |site: &SiteConfig| -> Vec<String> {
        let headers = site.headers.iter().map(|rule| rule.path.to_string());
        let redirects = site.redirects.iter().map(|rule| rule.from.to_string());
        let rewrites = site.rewrites.iter().map(|rule| rule.from.to_string());
        headers.chain(redirects).chain(rewrites).collect()
    };
    // The later header rule wins, and the earlier redirect or rewrite.
    let own_win = [
        "/assets/**",
        "/errors/**",
        "/any/**",
        "/**",
        "/**",
        "/withheld",
        "/here",
        "/old/**",
        "/gone/**",
        "/a/**/b",
        "/latest/*",
    ];
    assert_eq!(paths(site), own_win);
    let statuses: Vec<u16> = site.redirects.iter().map(|rule| rule.status).collect();
    assert_eq!(statuses, [451, 302, 301, 410]);
    let plain = &config.hosts[1].site;
    assert_eq!(paths(plain), paths(&config.site));
    let inherited = SiteConfig {
        root: "loopback".into(),
        ..config.site.clone()
    };
    assert_eq!(*plain, inherited);
}

#[test]
fn a_host_inherits_what_is_said_below_it() {
    let config = load(
        "[[host]]\nname = 'a'\nroot = 'b'\n[types]\nx = 'text/x'\n[[header]]\npath = '/'\n\
         set = { X = 'y' }",
    );
    assert_eq!(config.hosts[0].site.types["x"], "text/x");
    assert_eq!(config.hosts[0].site.headers.len(), 1);
}

/// Two applications, a host with one more, and hosts with others or none.
const APPLICATIONS: &str = r#"
[[spa]]
path = "/app/**"
page = "/app/index.html"
except = ["/app/api/**", "/app/*.txt"]

[[spa]]
path = "/admin/**"
page = "/admin.html"

[[host]]
name = "more"
root = "a"

[[host.spa]]
path = "/app/new/**"
page = "/new.html"

[[host]]
name = "same"
root = "b"

[[host]]
name = "none"
root = "c"
spa = ""

[[host]]
name = "other"
root = "d"
spa = "/other.html"
"#;

#[test]
fn a_host_has_its_own_applications_before_the_general_ones() {
    let config = load(APPLICATIONS);
    let general = &config.site.spa;
    assert_eq!(general[0].page, "/app/index.html");
    assert_eq!(general[0].except.len(), 2);
    let pages = |host: usize| -> Vec<&str> {
        let all = config.hosts[host].site.spa.iter();
        all.map(|application| application.page.as_str()).collect()
    };
    assert_eq!(pages(0), ["/new.html", "/app/index.html", "/admin.html"]);
    assert_eq!(pages(1), ["/app/index.html", "/admin.html"]);
    assert!(pages(2).is_empty());
    // A page for every path leaves no path to the others.
    assert_eq!(pages(3), ["/other.html"]);
    let below = "spa = '/all.html'\n[[host]]\nname = 'a'\nroot = 'b'\n\
                 [[host.spa]]\npath = '/x/**'\npage = '/x.html'";
    let host = &load(below).hosts[0].site.spa;
    assert_eq!(host[0].page, "/x.html");
    assert_eq!(host[1], SinglePageApp::everywhere("/all.html"));
}

#[test]
fn applications_are_printed_so_that_they_load_back_equal() {
    let text = "[[host]]\nname = 'a'\nroot = 'b'\n[[host.spa]]\npath = '/x/**'\npage = '/x.html'";
    for text in [
        APPLICATIONS.to_owned(),
        APPLICATIONS.replace("[[spa]]", "[[header]]\npath = '/'\nunset = ['X']\n[[spa]]"),
        text.to_owned(),
        format!("spa = '/all.html'\n{text}"),
        "[[spa]]\npath = '/**'\npage = '/all.html'".to_owned(),
        "[[spa]]\npath = '/**'\npage = '/all.html'\nexcept = ['/x']".to_owned(),
    ] {
        let config = load(&text);
        let printed = config.to_toml();
        assert_eq!(load(&printed), config, "{printed}");
    }
}

#[test]
fn what_is_printed_loads_back_equal() {
    let config = load(EVERYTHING);
    let printed = config.to_toml();
    assert_eq!(load(&printed), config, "{printed}");
    let without_pages = load("[error_pages]\n404 = ''");
    assert!(without_pages.site.error_pages.is_empty());
    assert_eq!(load(&without_pages.to_toml()), without_pages);
}

/// Users copy the indented parts of config.example.
#[test]
fn the_examples_in_the_example_load() {
    let text = fs::read_to_string(example()).unwrap();
    let is_toml = |line: &&str| line.starts_with('[') || line.contains(" = ");
    let examples: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("#     "))
        .filter(is_toml)
        .collect();
    let config = load(&examples.join("\n"));
    assert_eq!(config.hosts.len(), 2);
    let general = &config.site;
    assert_eq!((general.headers.len(), general.redirects.len()), (4, 3));
    assert_eq!((general.rewrites.len(), general.types.len()), (1, 2));
    assert_eq!(general.spa[0].except.len(), 1);
    assert_eq!(config.hosts[0].site.error_pages[&404], "/missing.html");
}

/// The lines that explain the preset are exactly the fields that it sets.
#[test]
fn the_security_preset_is_documented_line_by_line() {
    let text = fs::read_to_string(example()).unwrap();
    for (name, value) in abide::site::rules::SECURITY_FIELDS {
        assert!(text.contains(&format!("#     {name}: {value}\n")), "{name}");
    }
}

#[test]
fn the_root_of_a_host_is_checked_where_it_was_named() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("abide.toml");
    fs::write(&file, "[[host]]\nname = 'a'\nroot = 'no/such/directory'").unwrap();
    let flags = Flags {
        root: Some(directory.path().into()),
        ..Flags::default()
    };
    let error = Config::resolve(Some(&file), &flags)
        .unwrap_err()
        .to_string();
    let expected = "abide.toml:3: host.root: no/such/directory cannot be served: ";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_page_that_does_not_exist_is_accepted_with_a_warning() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join("500.html"), "").unwrap();
    let text = format!(
        "root = {:?}\nspa = '/app.html'\nshutdown.drain = 130\n[error_pages]\n500 = '/500.html'\n\
         403 = '/403.html'",
        directory.path()
    );
    let warnings = load(&text).warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with("spa: ") && warnings[1].starts_with("error_pages.403: "));
}

proptest! {
    /// All accepted rules are printed so that they load back equal.
    #[test]
    fn rules_survive_printing(
        from in "/[a-z$%'\" é]{0,6}(\\*{0,2}/?[a-z.]{1,3}){0,3}",
        to in "(/|https://a.example/)[a-z$1'\" é?#]{0,8}",
        value in "[ -~]{0,12}",
        name in "[A-Za-z!'`.-]{1,8}",
    ) {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let text = format!(
            "[[redirect]]\nfrom = {from}\nto = {to}\n[[header]]\npath = {from}\n\
             set = {{ {name} = {value} }}\n[[host]]\nname = 'a'\nroot = 'b'\n\
             [[host.rewrite]]\nfrom = {from}\nto = {from}",
            from = quoted(&from),
            to = quoted(&to),
            name = quoted(&name),
            value = quoted(&value),
        );
        if let Ok(config) = try_load(&text) {
            prop_assert_eq!(load(&config.to_toml()), config);
        }
    }
}
