//! Compares the table of `ends_connection` in `src/http/keep_alive.rs` with the server.

use std::collections::BTreeMap;
use std::path::Path;

use super::exchange::{Way, Wire};
use super::served::{Served, site};
use support::{Client, Launch};

/// For each status that a request can cause, such a request.
const CAUSES: [(u16, &str); 26] = [
    (200, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (
        204,
        "OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: https://a.example\r\n\
         Access-Control-Request-Method: GET\r\n\r\n",
    ),
    (206, "GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\n\r\n"),
    (301, "GET /dir HTTP/1.1\r\nHost: a\r\n\r\n"),
    (302, "GET /302 HTTP/1.1\r\nHost: a\r\n\r\n"),
    (303, "GET /303 HTTP/1.1\r\nHost: a\r\n\r\n"),
    (304, "GET / HTTP/1.1\r\nHost: a\r\nIf-None-Match: *\r\n\r\n"),
    (307, "GET /307 HTTP/1.1\r\nHost: a\r\n\r\n"),
    (308, "GET /308 HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\n\r\n"),
    (403, "GET /outside.txt HTTP/1.1\r\nHost: a\r\n\r\n"),
    (404, "GET /missing HTTP/1.1\r\nHost: a\r\n\r\n"),
    (405, "DELETE / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (410, "GET /gone HTTP/1.1\r\nHost: a\r\n\r\n"),
    (412, "GET / HTTP/1.1\r\nHost: a\r\nIf-Match: \"x\"\r\n\r\n"),
    (
        413,
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n",
    ),
    (414, "GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
    (416, "GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=99-\r\n\r\n"),
    (417, "GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n"),
    (421, "GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    (
        431,
        "GET / HTTP/1.1\r\nHost: a\r\nX: {long}{long}{long}{long}\r\n\r\n",
    ),
    (451, "GET /withheld HTTP/1.1\r\nHost: a\r\n\r\n"),
    (501, "BREW / HTTP/1.1\r\nHost: a\r\n\r\n"),
    (
        503,
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n",
    ),
    (505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    (408, "GET / HTTP/1.1\r\nHost: a\r\n"),
];

/// Caused for example by a broken disk, never by a request alone.
const NOT_CAUSED: [u16; 1] = [500];

/// The table in the source: for each status, whether the connection persists.
fn documented() -> BTreeMap<u16, bool> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/keep_alive.rs");
    let source = std::fs::read_to_string(path).expect("the source of the table");
    let mut table = BTreeMap::new();
    for row in source.lines().filter_map(|line| line.strip_prefix("/// |")) {
        let mut cells = row.split('|').map(str::trim);
        let (codes, fate) = (cells.next().unwrap_or(""), cells.next().unwrap_or(""));
        for code in codes.split(", ").filter_map(|code| code.parse().ok()) {
            assert!(["persists", "ends"].contains(&fate), "{row}");
            assert!(
                table.insert(code, fate == "persists").is_none(),
                "{code} twice"
            );
        }
    }
    table
}

#[test]
fn the_table_of_what_ends_a_connection_is_what_the_server_does() {
    let table = documented();
    let served = Served::start();
    let site = site();
    site.sparse("large", 64 << 20);
    // One second for a head, one answer at a time for each client behind a proxy, and CORS for another
    // origin: 204, 408 and 503 need a server with other settings.
    let narrow = "cors = ['https://a.example']\ntrusted_proxies = ['127.0.0.1']\n[keep_alive]\ntimeout = 60\n\
        [timeouts]\nhead = 1\n[limits]\nconnections_per_ip = 1\n";
    let narrow = Launch::of(site.root()).config(narrow).start();
    let mut greedy = Client::connect_narrow(narrow.address());
    greedy.send("GET /large HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n");
    greedy.head();
    for (status, cause) in CAUSES {
        let persists = *table
            .get(&status)
            .unwrap_or_else(|| panic!("{status} is not in the table"));
        let cause = cause.replace("{long}", &"x".repeat(1025));
        let mut second;
        let wire = match status {
            204 | 408 | 503 => {
                second = Wire::connect(narrow.address()).expect("a connection");
                &mut second
            }
            _ => {
                second = Wire::connect(served.address).expect("a connection");
                &mut second
            }
        };
        wire.send(cause.as_bytes(), Way::Whole).expect("sent");
        let answer = wire
            .answer(false)
            .unwrap_or_else(|why| panic!("{status}: {why}"));
        assert_eq!(answer.status, status, "{}", answer.shown());
        assert_eq!(answer.says_keep_alive(), persists, "{}", answer.shown());
        if !persists {
            wire.end().unwrap_or_else(|why| panic!("{status}: {why}"));
        }
    }
    let caused: Vec<_> = CAUSES.iter().map(|(status, _)| *status).collect();
    let missed: Vec<_> = table
        .keys()
        .filter(|status| !caused.contains(status) && !NOT_CAUSED.contains(status))
        .collect();
    assert!(
        missed.is_empty(),
        "in the table but not caused by any request: {missed:?}"
    );
}
