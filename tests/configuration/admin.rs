//! The admin listener (`[admin]`): its pages. Clients that mean it ill are in `admin_clients`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, geteuid};
use support::admin::{ADMIN, Admin};
use support::client::request;
use support::{Client, Launch, Server, Site, until};

use super::few_rights::{ACCOUNT, launch};
use super::{load, refusal};

pub fn start(site: &Site, config: &str) -> (Server, Admin) {
    let server = Launch::of(site.root())
        .config(&format!("{ADMIN}{config}"))
        .start();
    let admin = Admin::of(&server);
    (server, admin)
}

/// Every address that other machines can reach needs `public`.
#[test]
fn a_public_address_is_refused_unless_it_is_wanted() {
    for address in ["0.0.0.0:9080", "[::]:9080", "192.0.2.7:9080"] {
        let sentence = refusal(&format!("[admin]\nlisten = \"{address}\""));
        let start =
            format!("abide.toml:2: admin.listen: {address} can be reached from other machines");
        assert!(sentence.starts_with(&start), "{sentence}");
        load(&format!("[admin]\nlisten = \"{address}\"\npublic = true"));
    }
    for address in [
        "",
        "127.0.0.1:9080",
        "127.8.0.1:0",
        "[::1]:9080",
        "unix:/run/abide/admin.sock",
    ] {
        let config = load(&format!("[admin]\nlisten = \"{address}\""));
        let listen = config.admin.listen.map(|address| address.to_string());
        assert_eq!(listen.unwrap_or_default(), address);
    }
}

#[test]
fn a_wrong_admin_key_is_refused() {
    for (text, expected) in [
        (
            "[admin]\nlisten = 9080",
            "2: admin.listen: the number 9080 was given, it must be an address, as in \
             \"127.0.0.1:9080\", or \"\" for none",
        ),
        (
            "[admin]\nlisten = \"localhost:9080\"",
            "2: admin.listen: \"localhost:9080\" cannot be listened on, host names are not looked up: \
             write an address such as 127.0.0.1:8080, [::1]:8080 or unix:/run/abide.sock",
        ),
        (
            "[admin]\npublic = 1",
            "2: admin.public: the number 1 was given, it must be true or false",
        ),
        (
            "[admin]\nclients = \"no\"",
            "2: admin.clients: the string \"no\" was given, it must be true or false",
        ),
        (
            "listen = [\"127.0.0.1:80\"]\n[admin]\nlisten = \"127.0.0.1:80\"",
            "3: admin.listen: 127.0.0.1:80 is also in listen, so no client would be served there",
        ),
    ] {
        assert_eq!(refusal(text), format!("abide.toml:{expected}"));
    }
}

#[test]
fn ready_is_503_from_the_first_moment_of_a_drain_and_live_is_not() {
    let site = Site::new();
    let (server, admin) = start(&site, "[shutdown]\naccept_for = 1\n");
    let mut client = server.connect();
    client.expect_usable();
    for (page, text) in [("/live", "live\n"), ("/ready", "ready\n")] {
        let response = admin.get(page);
        assert_eq!((response.status, response.text()), (200, text));
        assert_eq!(response.field("cache-control"), Some("no-store"));
    }
    server.signal(Signal::TERM);
    server.wait_for("draining, waiting for 1 connection");
    let response = admin.get("/ready");
    assert_eq!((response.status, response.text()), (503, "leaving\n"));
    assert_eq!(admin.get("/live").status, 200);
    // New clients are still accepted (accept_for), and a promise is kept.
    server.connect().expect_usable();
    assert_eq!(admin.metrics().value("abide_ready"), 0.0);
    drop(client);
    assert_eq!(server.ended().code, Some(0));
}

/// Whenever the numbers are read, what was accepted is open or closed.
#[test]
fn connections_are_conserved_at_every_scrape() {
    let site = Site::new();
    let (server, admin) = start(&site, "");
    let (is_over, address) = (AtomicBool::new(false), server.address());
    let asked = thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut asked = 0;
                    while !is_over.load(Ordering::Relaxed) {
                        let mut client = Client::connect(address);
                        for target in ["/", "/missing", "/"] {
                            client.get(target);
                            asked += 1;
                        }
                    }
                    asked
                })
            })
            .collect();
        for _ in 0..50 {
            let metrics = admin.metrics();
            let open = metrics.sum("abide_connections");
            let closed = metrics.sum("abide_connections_closed_total");
            assert_eq!(
                metrics.value("abide_connections_accepted_total"),
                open + closed
            );
            let ended = metrics.value("abide_connection_requests_count");
            assert_eq!(
                ended,
                metrics.value("abide_connection_requests_bucket{le=\"+Inf\"}")
            );
        }
        is_over.store(true, Ordering::Relaxed);
        clients
            .into_iter()
            .map(|client| client.join().expect("no panic"))
            .sum::<u32>()
    });
    until("all connections are closed and counted", || {
        let metrics = admin.metrics();
        metrics.sum("abide_connections") == 0.0 && metrics.requests() == f64::from(asked)
    });
    let metrics = admin.metrics();
    assert_eq!(
        metrics.value("abide_connection_requests_sum"),
        f64::from(asked)
    );
    let missing = "{method=\"GET\",code=\"4xx\"}";
    let count = metrics.value(&format!(
        "abide_http_request_duration_seconds_count{missing}"
    ));
    assert_eq!(count, f64::from(asked / 3));
    assert!(metrics.value(&format!("abide_http_request_duration_seconds_sum{missing}")) > 0.0);
    let lookups = metrics.sum("abide_cache_lookups_total");
    assert!(
        lookups >= f64::from(asked),
        "{lookups} lookups for {asked} requests"
    );
}

/// Requests of [`add_no_series`] on one connection.
const BATCH: u32 = 50;

/// The method of a request by its number. An unknown method is one of its own, and ends the connection.
fn method(number: u32) -> String {
    match number % BATCH {
        last if last == BATCH - 1 => format!("BREW{number}"),
        other => ["GET", "HEAD", "POST", "PROPFIND"][other as usize % 4].to_owned(),
    }
}

/// Sends requests with methods, hosts and paths that no other request has, and compares the series.
#[test]
fn a_server_without_a_cache_has_the_same_series() {
    let site = Site::new();
    let [with, without] = ["", "[cache]\nbytes = 0\n"].map(|config| {
        let (_server, admin) = start(&site, config);
        admin.metrics().0
    });
    assert!(with.keys().eq(without.keys()), "{without:?}");
    assert_eq!(without["abide_loads"], 0.0);
}

fn add_no_series(requests: u32) {
    let site = Site::new();
    let (server, admin) = start(&site, "[keep_alive]\nmax_requests = 2147483647\n");
    let series = || admin.metrics().0.into_keys().collect::<Vec<_>>();
    let before = series();
    for first in (0..requests).step_by(BATCH as usize) {
        // The last request of a batch ends its connection.
        let mut client = server.connect();
        let numbers = first..first + BATCH;
        let one = |number: u32| {
            let method = method(number);
            format!("{method} /{number}?q={number} HTTP/1.1\r\nHost: h{number}.test\r\n\r\n")
        };
        client.send(numbers.clone().map(one).collect::<String>());
        for number in numbers {
            client
                .try_answer(method(number) != "HEAD")
                .unwrap_or_else(|why| panic!("{number}: {why}"));
        }
    }
    until("every request is counted", || {
        admin.metrics().requests() == f64::from(requests)
    });
    assert_eq!(series(), before);
}

#[test]
fn requests_add_no_series_whatever_they_say() {
    add_no_series(5_000);
}

#[test]
#[ignore = "needs half a minute"]
fn a_million_requests_add_no_series() {
    add_no_series(1_000_000);
}

/// The names of the Prometheus client libraries. The sandbox, which is on unless it is turned off, forbids to open
/// `/proc`; another user may not list the descriptors of a process that has changed its user.
#[test]
fn neither_sandbox_nor_user_hides_a_figure_of_the_process() {
    let site = Site::new();
    let account = if geteuid().is_root() { ACCOUNT } else { "" };
    for rights in ["", "sandbox = 'off'\n", account] {
        let server = launch(&site, &format!("{rights}{ADMIN}")).start();
        let metrics = Admin::of(&server).metrics();
        for name in [
            "process_cpu_seconds_total",
            "process_max_fds",
            "process_open_fds",
            "process_resident_memory_bytes",
            "process_start_time_seconds",
            "process_threads",
            "process_virtual_memory_bytes",
        ] {
            let value = metrics.value(name);
            assert!(value > 0.0 || name.contains("cpu"), "{rights}: {name}");
        }
        // One is the connection of the scrape.
        let descriptors = server.descriptors()..server.descriptors() + 2;
        let counted = metrics.value("process_open_fds") as usize;
        assert!(descriptors.contains(&counted), "{descriptors:?}: {counted}");
        assert!(metrics.value("process_threads") >= 3.0);
    }
}

#[test]
fn a_request_may_come_in_pieces_and_with_an_early_end() {
    let site = Site::new();
    let (_server, admin) = start(&site, "");
    let mut client = admin.connect();
    for piece in ["GET /li", "ve HTTP/1.1\r\nHo", "st: localhost\r\n\r", "\n"] {
        client.send(piece);
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(client.answer().status, 200);
    client.expect_end();
    let mut client = admin.connect();
    client.send("GET /metrics HTTP/1.0\r\n\r\n");
    client.half_close();
    assert_eq!(client.answer().status, 200);
    client.expect_end();
}

#[test]
fn what_is_no_request_for_a_page_is_refused() {
    let site = Site::new();
    let (server, admin) = start(&site, "");
    let long = format!(
        "GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "a".repeat(2_000)
    );
    let large = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nA: {}\r\n\r\n",
        "a".repeat(9_000)
    );
    for (bytes, status) in [
        ("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        ("GET /metrics/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (
            "POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx",
            405,
        ),
        ("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (
            "GET /connections.json?limit=9999 HTTP/1.1\r\nHost: localhost\r\n\r\n",
            400,
        ),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("\x16\x03\x01\x02\x00\x01\x00\x01", 400),
        (long.as_str(), 414),
        (large.as_str(), 431),
        // A page on another name that leads to this machine (DNS rebinding).
        (
            "GET /status.json HTTP/1.1\r\nHost: rebound.example:80\r\n\r\n",
            421,
        ),
    ] {
        assert_eq!(admin.ask(bytes).status, status, "{bytes}");
    }
    assert_eq!(
        admin.metrics().requests(),
        0.0,
        "only clients of the site count"
    );
    assert_eq!(server.connect().get("/metrics").status, 404);
}

#[test]
fn the_status_page_counts_requests_and_shows_no_client() {
    let site = Site::new();
    let (server, admin) = start(&site, "");
    server.connect().expect_usable();
    until("the request is counted", || {
        admin.json("/status.json")["requests"]["total"] == 1
    });
    let page = admin.get("/");
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
    assert!(
        page.text().contains("<small>1 in all</small>"),
        "{}",
        page.text()
    );
    let policy = page.field("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    let status = admin.get("/status.json");
    for page in [&page, &status] {
        let address = server.address().to_string();
        let without_own = page.text().replace(&address, "");
        assert!(!without_own.contains("127.0.0.1"), "{without_own}");
    }
}

/// The slowest requests are noted with the target, and with the client only if that is wanted.
#[test]
fn a_slow_request_is_noted() {
    for clients in [false, true] {
        let site = Site::new();
        site.write("large.bin", vec![b'x'; 8 << 20]);
        let (server, admin) = start(&site, &format!("clients = {clients}\n"));
        let mut client = server.connect();
        client.send(request("GET", "/large.bin?a=<b>", ""));
        assert_eq!(client.head().status, 200);
        thread::sleep(Duration::from_millis(100));
        client.read_body(8 << 20);
        let mut slowest = serde_json::Value::Null;
        until("the request is noted", || {
            slowest = admin.json("/status.json")["requests"]["slowest"][0].clone();
            !slowest.is_null()
        });
        assert_eq!(slowest["request"], "GET /large.bin?a=<b>", "{slowest}");
        assert_eq!(slowest["status"], 200);
        assert!(
            slowest["duration_us"].as_u64() >= Some(100_000),
            "{slowest}"
        );
        let page = admin.get("/");
        assert!(
            page.text().contains("GET /large.bin?a=&lt;b&gt;"),
            "{}",
            page.text()
        );
        assert_eq!(
            page.text()
                .contains("<td class=\"path client\">127.0.0.1</td>"),
            clients
        );
        assert_eq!(slowest["client"] == "127.0.0.1", clients, "{slowest}");
    }
}

#[test]
fn connections_are_listed_by_state() {
    let site = Site::new();
    let (server, admin) = start(&site, "");
    let mut idle = server.connect();
    for _ in 0..3 {
        idle.expect_usable();
    }
    let mut active = server.connect();
    active.send("GET / HT");
    let listed =
        |query: &str| admin.json(&format!("/connections.json?{query}"))["connections"].clone();
    until("both are seen", || {
        let count = |state: &str| listed(&format!("state={state}")).as_array().map(Vec::len);
        (count("idle"), count("active"), count("lingering")) == (Some(1), Some(1), Some(0))
    });
    let connection = &listed("state=idle")[0];
    assert_eq!(connection["requests"], 3, "{connection}");
    assert_eq!(connection["timeout_s"], 120);
    assert!(
        connection["age_ms"].as_u64() >= connection["idle_ms"].as_u64(),
        "{connection}"
    );
    assert!(connection.get("peer").is_none(), "{connection}");
    assert_eq!(listed("limit=1").as_array().map(Vec::len), Some(1));
    assert_eq!(admin.json("/connections.json?limit=1")["has_more"], true);
    assert_eq!(admin.json("/connections.json")["has_more"], false);
}

/// The list says when an idle connection closes, also while the acknowledgement of its response is not yet seen.
#[test]
fn an_idle_connection_is_listed_with_its_end_and_with_its_peer_if_wanted() {
    let site = Site::new();
    let (server, admin) = start(
        &site,
        "clients = true\n[keep_alive]\ntimeout = 20\ngrace = 1\n",
    );
    let mut client = server.connect();
    client.expect_usable();
    let listed = || admin.json("/connections.json")["connections"][0].clone();
    until("the turn has ended", || listed()["state"] == "idle");
    let connection = listed();
    let closes_in = connection["closes_in_ms"].as_u64().expect("a number");
    assert!((15_000..=21_000).contains(&closes_in), "{connection}");
    // The check for the acknowledgement comes after half of the grace.
    thread::sleep(Duration::from_millis(1_200));
    let later = listed()["closes_in_ms"].as_u64().expect("a number");
    assert!((14_000..closes_in).contains(&later), "{later} {connection}");
    assert_eq!(connection["peer"], "127.0.0.1");
}

#[test]
fn a_unix_socket_needs_no_name_and_is_removed_at_the_end() {
    let site = Site::new();
    let path = site.beside("admin.sock");
    let config = format!("[admin]\nlisten = \"unix:{}\"\n", path.display());
    let server = Launch::of(site.root()).config(&config).start();
    let admin = Admin::of(&server);
    let response = admin.ask("GET /ready HTTP/1.1\r\nHost: any.example\r\n\r\n");
    assert_eq!(response.status, 200);
    server.signal(Signal::TERM);
    assert_eq!(server.ended().code, Some(0));
    assert!(!path.exists());
}

#[test]
fn an_admin_port_in_use_stops_the_start() {
    let site = Site::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let ended = Launch::of(site.root())
        .config(&format!("[admin]\nlisten = \"{address}\"\n"))
        .run();
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    let expected = format!("abide: admin.listen: cannot listen on http://{address}: ");
    assert!(ended.stderr.starts_with(&expected), "{}", ended.stderr);
    assert!(!ended.stderr.contains("listening on"), "{}", ended.stderr);
}

/// OpenMetrics only for those that prefer it.
#[test]
fn the_accept_field_selects_the_format_of_the_metrics() {
    let site = Site::new();
    let (_server, admin) = start(&site, "");
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.4,*/*;q=0.1";
    for (accept, is_open) in [
        (prometheus, true),
        ("text/html,*/*;q=0.8", false),
        ("text/plain", false),
        ("*/*", false),
    ] {
        let fields = format!("Accept: {accept}\r\n");
        let request = request("GET", "/metrics", &fields).replace("test", "localhost");
        let response = admin.ask(&request);
        let media_type = response.field("content-type").expect("a type");
        let is_typed = media_type.starts_with("application/openmetrics-text; version=1.0.0;");
        assert_eq!(is_typed, is_open, "{accept}: {media_type}");
        assert_eq!(response.text().ends_with("# EOF\n"), is_open, "{accept}");
    }
}
