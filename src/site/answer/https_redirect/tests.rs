//! Tests of what depends on the scheme: the redirect to https, and Strict-Transport-Security.

use std::fs;

use tempfile::TempDir;

use crate::clock::{Millis, Now};
use crate::config::{
    Config, FieldName, FieldValue, HeaderRule, HostConfig, ListenAddress, SiteConfig, Statuses,
};
use crate::http::request::{HeadLimits, Parsed, parse_head};
use crate::http::response::Response;
use crate::http::scheme::Scheme;
use crate::site::{MayBlock, Sites};

const LIMITS: HeadLimits = HeadLimits {
    target_bytes: 2_000,
    head_bytes: 10_000,
    headers: 100,
};

const NOW: Now = Now {
    monotonic: Millis(0),
    unix_secs: 4_102_444_800,
};

/// The sites of a configuration, in a temporary directory.
struct Served {
    _place: TempDir,
    sites: Sites,
}

/// Serves a site on a plain port and on two ports with TLS, of which the first is 8443.
fn serve(configure: impl FnOnce(&mut Config)) -> Served {
    let place = tempfile::tempdir().expect("a temporary directory");
    let root = place.path().join("root");
    fs::create_dir_all(root.join("guide")).expect("mkdir");
    fs::create_dir_all(root.join(".well-known/acme-challenge")).expect("mkdir");
    fs::write(root.join("file.txt"), "content").expect("write");
    fs::write(root.join(".well-known/acme-challenge/token"), "proof").expect("write");
    let mut config = Config {
        site: SiteConfig::at(root),
        listen: addresses(&["0.0.0.0:80", "https://0.0.0.0:8443", "https://0.0.0.0:443"]),
        ..Config::default()
    };
    config.shutdown.health = Some("/health".to_owned());
    configure(&mut config);
    let sites = Sites::open(&config).expect("the sites");
    Served {
        _place: place,
        sites,
    }
}

fn addresses(texts: &[&str]) -> Vec<ListenAddress> {
    let parse = |text: &&str| text.parse().expect("an address");
    texts.iter().map(parse).collect()
}

impl Served {
    /// The response to the lines of `request`, which came by `scheme`.
    fn ask(&self, scheme: Scheme, request: &str) -> Response {
        let request = format!("{}\r\n\r\n", request.replace('\n', "\r\n"));
        let mut spans = Vec::new();
        let Ok(Parsed::Complete { head, .. }) = parse_head(request.as_bytes(), &LIMITS, &mut spans)
        else {
            panic!("{request}")
        };
        let path = &mut Vec::new();
        let responded = self
            .sites
            .respond(&head, scheme, path, MayBlock::Anywhere, NOW);
        responded.expect("it may block")
    }

    /// The status of the response over a plain connection, and its Location or nothing.
    fn plain(&self, request: &str) -> (u16, String) {
        let response = self.ask(Scheme::Http, request);
        let location = values(&response, "Location").concat();
        (response.status.code(), location)
    }
}

/// All values of a field.
fn values(response: &Response, name: &str) -> Vec<String> {
    let fields = String::from_utf8(response.fields.to_vec()).expect("ASCII");
    let lines = fields.lines().filter_map(|line| line.split_once(": "));
    let named = lines.filter(|(field, _)| field.eq_ignore_ascii_case(name));
    named.map(|(_, value)| value.to_owned()).collect()
}

fn to(location: &str) -> (u16, String) {
    (308, location.to_owned())
}

#[test]
fn a_plain_request_is_redirected_to_the_same_host_and_path() {
    let served = serve(|config| {
        config.site.https_redirect = true;
        config.site.cors = vec!["*".parse().expect("an origin")];
    });
    for (request, location) in [
        ("GET /file.txt HTTP/1.1\nHost: a", "https://a:8443/file.txt"),
        (
            "GET / HTTP/1.1\nHost: A.example:8080",
            "https://A.example:8443/",
        ),
        ("GET / HTTP/1.1\nHost: [::1]:80", "https://[::1]:8443/"),
        ("GET / HTTP/1.1\nHost: [::1]", "https://[::1]:8443/"),
        ("GET / HTTP/1.0\nHost: a:", "https://a:8443/"),
        // The file at the path plays no part.
        ("GET /none HTTP/1.1\nHost: a", "https://a:8443/none"),
        ("GET /guide HTTP/1.1\nHost: a", "https://a:8443/guide"),
        // The path is normalised, and nothing breaks out of the field.
        (
            "GET //b.example//x/../y HTTP/1.1\nHost: a",
            "https://a:8443/b.example/y",
        ),
        (
            "GET /%0d%0aX:%20y HTTP/1.1\nHost: a",
            "https://a:8443/%0D%0AX:%20y",
        ),
        (
            "GET /caf%c3%a9?q=<1>&r HTTP/1.1\nHost: a",
            "https://a:8443/caf%C3%A9?q=%3C1%3E&r",
        ),
        ("GET /? HTTP/1.1\nHost: a", "https://a:8443/?"),
        (
            "GET http://b.example/x HTTP/1.1\nHost: a",
            "https://b.example:8443/x",
        ),
        // 308 keeps the method, whatever it is.
        ("HEAD / HTTP/1.1\nHost: a", "https://a:8443/"),
        ("POST / HTTP/1.1\nHost: a", "https://a:8443/"),
        ("NEW / HTTP/1.1\nHost: a", "https://a:8443/"),
        // A preflight too: its request would come over the plain connection.
        (
            "OPTIONS / HTTP/1.1\nHost: a\nOrigin: http://b\nAccess-Control-Request-Method: GET",
            "https://a:8443/",
        ),
    ] {
        assert_eq!(served.plain(request), to(location), "{request}");
    }
}

#[test]
fn some_plain_requests_are_not_redirected() {
    let served = serve(|config| config.site.https_redirect = true);
    let none = String::new();
    for (request, status) in [
        (
            "GET /.well-known/acme-challenge/token HTTP/1.1\nHost: a",
            200,
        ),
        (
            "GET /.well-known/acme-challenge/none HTTP/1.1\nHost: a",
            404,
        ),
        ("GET /.well-known/acme-challenge/token HTTP/1.0", 200),
        ("GET /health HTTP/1.1\nHost: a", 200),
        ("GET /health HTTP/1.0", 200),
        ("GET /%zz HTTP/1.1\nHost: a", 400),
        ("OPTIONS * HTTP/1.1\nHost: a", 200),
        ("CONNECT a:1 HTTP/1.1\nHost: a", 405),
        // There is no host for a redirect.
        ("GET /file.txt HTTP/1.0", 421),
    ] {
        assert_eq!(served.plain(request), (status, none.clone()), "{request}");
    }
    for (target, location) in [
        ("/.well-known/acme-challenge", "/.well-known/acme-challenge"),
        ("/.well-known/acme-challenge/../x", "/.well-known/x"),
        (
            "/.well-known/acme-challenges/x",
            "/.well-known/acme-challenges/x",
        ),
        ("/health/", "/health/"),
    ] {
        let request = format!("GET {target} HTTP/1.1\nHost: a");
        let location = format!("https://a:8443{location}");
        assert_eq!(served.plain(&request), to(&location), "{target}");
    }
    let secure = served.ask(Scheme::Https, "GET /file.txt HTTP/1.1\nHost: a");
    assert_eq!(secure.status.code(), 200);
}

#[test]
fn each_host_decides_whether_it_redirects() {
    let served = serve(|config| {
        let site = SiteConfig {
            https_redirect: true,
            ..config.site.clone()
        };
        let names = vec!["secure.example".parse().expect("a name")];
        config.hosts = vec![HostConfig { names, site }];
    });
    let plain = |host: &str| served.plain(&format!("GET /file.txt HTTP/1.1\nHost: {host}"));
    assert_eq!(
        plain("secure.example"),
        to("https://secure.example:8443/file.txt")
    );
    assert_eq!(plain("other.example"), (200, String::new()));
}

#[test]
fn the_port_is_that_of_the_first_listener_with_tls() {
    let served = serve(|config| {
        config.site.https_redirect = true;
        config.listen = addresses(&["127.0.0.1:0", "https://127.0.0.1:0"]);
    });
    let location = || served.plain("GET / HTTP/1.1\nHost: a:1").1;
    // The kernel has not picked it yet.
    assert_eq!(location(), "https://a/");
    for (listen, expected) in [
        (
            &["127.0.0.1:1", "https://127.0.0.1:2", "https://127.0.0.1:3"][..],
            "https://a:2/",
        ),
        (&["https://[::]:443", "https://127.0.0.1:3"], "https://a/"),
        (&["unix:a", "https://[::]:65535"], "https://a:65535/"),
    ] {
        served.sites.note_addresses(&addresses(listen));
        assert_eq!(location(), expected);
    }
}

/// A request for each kind of response, with its status over TLS.
const KINDS: [(&str, u16); 13] = [
    ("GET /file.txt HTTP/1.1\nHost: a", 200),
    ("HEAD /file.txt HTTP/1.1\nHost: a", 200),
    ("GET /file.txt HTTP/1.0", 200),
    ("GET /file.txt HTTP/1.1\nHost: a\nIf-None-Match: *", 304),
    ("GET /file.txt HTTP/1.1\nHost: a\nRange: bytes=0-1", 206),
    ("GET /file.txt HTTP/1.1\nHost: a\nRange: bytes=0-1,4-5", 206),
    ("GET /guide HTTP/1.1\nHost: a", 301),
    ("GET /none HTTP/1.1\nHost: a", 404),
    ("POST /file.txt HTTP/1.1\nHost: a", 405),
    ("GET /%zz HTTP/1.1\nHost: a", 400),
    ("OPTIONS * HTTP/1.1\nHost: a", 200),
    ("GET /health HTTP/1.1\nHost: a", 200),
    (
        "OPTIONS / HTTP/1.1\nHost: a\nOrigin: http://b\nAccess-Control-Request-Method: GET",
        204,
    ),
];

/// Asks for each kind several times, so that memory answers, alternately over plain connections and TLS.
fn expect_hsts(served: &Served, plain: &[&str], secure: &[&str]) {
    for (request, status) in KINDS {
        for _ in 0..3 {
            for (scheme, expected) in [(Scheme::Http, plain), (Scheme::Https, secure)] {
                let response = served.ask(scheme, request);
                assert_eq!(response.status.code(), status, "{request}");
                let values = values(&response, "Strict-Transport-Security");
                assert_eq!(values, expected, "{scheme:?} {request}");
            }
        }
    }
}

fn any_origin(config: &mut Config) {
    config.site.cors = vec!["*".parse().expect("an origin")];
}

#[test]
fn hsts_is_sent_with_every_response_over_tls_and_never_over_a_plain_connection() {
    for cache_bytes in [0, 1 << 20] {
        let served = serve(|config| {
            any_origin(config);
            config.site.hsts_secs = 31_536_000;
            config.site.security = true;
            config.cache.bytes = cache_bytes;
            config.cache.file_bytes = cache_bytes;
        });
        expect_hsts(&served, &[], &["max-age=31536000"]);
    }
    expect_hsts(&serve(any_origin), &[], &[]);
}

#[test]
fn a_redirect_to_https_has_no_hsts() {
    let served = serve(|config| {
        config.site.hsts_secs = 60;
        config.site.https_redirect = true;
    });
    let response = served.ask(Scheme::Http, "GET / HTTP/1.1\nHost: a");
    assert_eq!(response.status.code(), 308);
    assert!(values(&response, "Strict-Transport-Security").is_empty());
}

#[test]
fn a_header_rule_for_the_field_wins_over_hsts() {
    let with_rule = |set: Option<&str>| {
        serve(|config| {
            config.site.hsts_secs = 60;
            let name = |name| FieldName::to_set(name).expect("a name");
            let set = set.map(|value| {
                let value = FieldValue::parse(value).expect("a value");
                (name("strict-transport-security"), value)
            });
            let unset = set.is_none().then(|| name("Strict-Transport-Security"));
            config.site.headers = vec![HeaderRule {
                path: "/**".parse().expect("a pattern"),
                status: Statuses::Any,
                types: Vec::new(),
                set: set.into_iter().collect(),
                unset: unset.into_iter().collect(),
            }];
        })
    };
    for (set, secure) in [
        (None, &[][..]),
        (Some("max-age=5; preload"), &["max-age=5; preload"]),
    ] {
        let served = with_rule(set);
        for _ in 0..2 {
            for target in ["/file.txt", "/none"] {
                let request = format!("GET {target} HTTP/1.1\nHost: a");
                let response = served.ask(Scheme::Https, &request);
                assert_eq!(
                    values(&response, "Strict-Transport-Security"),
                    secure,
                    "{target}"
                );
            }
        }
    }
}
