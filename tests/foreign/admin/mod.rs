//! The pages of the admin listener in programs of others: the strict parser of the Prometheus client for
//! Python, and a browser.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;
use support::admin::{ADMIN, Admin};
use support::client::request;
use support::{Launch, Server, Site, until};

use crate::real_sites::devtools::visit;

fn start(site: &Site) -> (Server, Admin) {
    let server = Launch::of(site.root()).config(ADMIN).start();
    let admin = Admin::of(&server);
    (server, admin)
}

/// The families that the parser for `format` finds in `text`.
fn parsed(format: &str, text: &str) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let library = root.join("target/clients/python");
    let is_there = library.join("prometheus_client").exists();
    assert!(
        is_there,
        "prometheus-client is not installed: see .ci/install"
    );
    let mut parser = Command::new("python3")
        .arg(root.join("tests/foreign/admin/parse.py"))
        .arg(format)
        .env("PYTHONPATH", library)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 is installed: see .ci/install");
    let mut stdin = parser.stdin.take().expect("a pipe");
    stdin.write_all(text.as_bytes()).expect("it reads");
    drop(stdin);
    let output = parser.wait_with_output().expect("it ends");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{format}: {complaint}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Both formats are parsed without a complaint, and say the same.
#[test]
#[ignore = "needs python3 and prometheus-client"]
fn a_strict_parser_accepts_the_metrics() {
    let site = Site::new();
    let (server, admin) = start(&site);
    let mut client = server.connect();
    for target in ["/", "/missing", "/"] {
        client.get(target);
    }
    until("three requests are counted", || {
        admin.metrics().requests() == 3.0
    });
    let fields = "Accept: application/openmetrics-text; version=1.0.0\r\n";
    let preferred = request("GET", "/metrics", fields).replace("test", "localhost");
    let strict = parsed("openmetrics", admin.ask(&preferred).text());
    let lenient = parsed("text", admin.get("/metrics").text());
    for (family, kind, unit) in [
        ("abide_build", "info", ""),
        (
            "abide_http_request_duration_seconds",
            "histogram",
            "seconds",
        ),
        ("abide_sent_bytes", "counter", "bytes"),
        ("abide_connections", "gauge", ""),
        ("abide_connections_closed", "counter", ""),
        ("abide_connection_requests", "histogram", ""),
        ("abide_keep_alive_races", "counter", ""),
        ("abide_promises", "counter", ""),
        ("abide_config_last_reload_successful", "gauge", ""),
        ("process_cpu_seconds", "counter", "seconds"),
        ("process_resident_memory_bytes", "gauge", "bytes"),
        ("process_open_fds", "gauge", ""),
    ] {
        assert_eq!(strict[family]["type"], kind, "{family}");
        assert_eq!(strict[family]["unit"], unit, "{family}");
    }
    let durations = "abide_http_request_duration_seconds";
    assert_eq!(strict[durations]["sum"], 3.0);
    assert_eq!(lenient[durations]["sum"], 3.0);
    let count = |families: &Value| families.as_object().map(serde_json::Map::len);
    assert_eq!(count(&strict), count(&lenient));
}

/// Resolves when the page, without being loaded again, shows more requests than at first.
const WAIT_FOR_MORE: &str = "(async () => {
    const total = () => Number(
        document.querySelector('.number small').textContent.replace(/[^0-9]/g, ''));
    const first = total();
    while (total() <= first) await new Promise((resolve) => setTimeout(resolve, 50));
    return { first, more: total(), plots: document.querySelectorAll('.plot path').length };
})()";

/// The page shows the browser's own requests to the site, goes on counting by its script, and breaks no
/// rule of its own policy.
#[test]
#[ignore = "needs chromium"]
fn the_status_page_lives_in_a_browser() {
    let site = Site::new();
    let (server, admin) = start(&site);
    visit(&format!("http://{}/", server.address()), "document.title");
    let own = admin.metrics().requests();
    assert!(own >= 1.0, "the browser's own request is counted");
    let is_over = AtomicBool::new(false);
    let visit = thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = server.connect();
            while !is_over.load(Ordering::Relaxed) {
                if !client.get("/").persists() {
                    client = server.connect();
                }
                thread::sleep(std::time::Duration::from_millis(20));
            }
        });
        let visit = visit(&format!("http://{}/", admin.address()), WAIT_FOR_MORE);
        is_over.store(true, Ordering::Relaxed);
        visit
    });
    assert!(visit.complaints.is_empty(), "{:#?}", visit.complaints);
    assert!(
        visit.value["first"].as_f64() >= Some(own),
        "{}",
        visit.value
    );
    assert_eq!(visit.value["plots"], 6, "{}", visit.value);
    for (url, status) in &visit.answers {
        assert_eq!(*status, 200, "{url}");
    }
}
