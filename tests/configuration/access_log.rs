//! The access log: every format over real connections, the client's address behind a proxy, and that no
//! line is lost, split or forged.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::thread;

use rustix::process::Signal;
use serde_json::Value;
use support::client::request;
use support::{Client, Launch, Server, Site, pattern, until};

/// A server with a log in `file`. `access_log` are the settings of the log, `settings` all others.
fn logging_with(site: &Site, file: &Path, access_log: &str, settings: &str) -> Server {
    let file = file.display();
    Launch::of(site.root())
        .config(&format!(
            "{settings}\n[access_log]\npath = '{file}'\n{access_log}\n"
        ))
        .args(&["-w", "1"])
        .start()
}

fn logging(site: &Site, file: &Path, format: &str) -> Server {
    logging_with(site, file, &format!("format = '{format}'"), "")
}

fn lines(log: &Path) -> Vec<String> {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Waits for `count` lines and parses them as JSON.
fn objects(log: &Path, count: usize) -> Vec<Value> {
    until("the lines are in the file", || lines(log).len() == count);
    let read = |line: String| serde_json::from_str(&line).expect("a line is JSON");
    lines(log).into_iter().map(read).collect()
}

const FIELDS: &str = "Referer: http://test/from\r\nUser-Agent: test \"1\"\r\n";

#[test]
fn the_combined_format_has_referer_and_user_agent() {
    let site = Site::new();
    site.write("ten", "0123456789");
    let log = site.beside("log");
    let server = logging_with(&site, &log, "format = 'combined'\nhost = true", "");
    let mut client = server.connect();
    client.ask_with("GET", "/ten", FIELDS);
    // Another thread may answer the second request, and write its line earlier.
    until("the line is in the file", || lines(&log).len() == 1);
    client.get("/ten");
    until("the lines are in the file", || lines(&log).len() == 2);
    let lines = lines(&log);
    assert!(lines[0].starts_with("test 127.0.0.1 - - ["), "{}", lines[0]);
    let end = r#"] "GET /ten HTTP/1.1" 200 10 "http://test/from" "test \"1\"""#;
    assert!(lines[0].ends_with(end), "{}", lines[0]);
    assert!(lines[1].ends_with(r#" 200 10 "-" "-""#), "{}", lines[1]);
}

#[test]
fn the_extended_format_tells_of_the_connection() {
    let site = Site::new();
    let log = site.beside("log");
    let server = logging(&site, &log, "extended");
    let mut client = server.connect();
    client.ask_with("GET", "/none", FIELDS);
    client.ask_with("GET", "/", "Connection: close\r\n");
    client.expect_end();
    until("the lines are in the file", || lines(&log).len() == 2);
    let lines = lines(&log);
    for (line, (number, close)) in lines.iter().zip([(1, "-"), (2, "client_asked")]) {
        let (_, pairs) = line.rsplit_once("\" ").expect("quoted fields");
        let pairs: Vec<_> = pairs
            .split(' ')
            .map(|pair| pair.split_once('=').expect("a pair"))
            .collect();
        let keys: Vec<_> = pairs.iter().map(|(key, _)| *key).collect();
        assert_eq!(
            keys,
            ["connection", "number", "idle_ms", "duration_us", "close"]
        );
        assert_eq!(pairs[0].1, "0.0.0");
        assert_eq!(pairs[1].1, number.to_string());
        for (_, count) in &pairs[2..4] {
            count.parse::<u64>().expect("a number");
        }
        assert_eq!(pairs[4].1, close);
    }
}

#[test]
fn json_tells_the_same() {
    let site = Site::new();
    site.write("ten", "0123456789");
    let log = site.beside("log");
    let server = logging_with(&site, &log, "format = 'json'\nhost = true", "");
    let mut client = server.connect();
    client.ask_with("GET", "/ten?q", FIELDS);
    client.ask("HEAD", "/ten");
    let mut other = server.connect();
    other.send("GET /\x01\"\r\n\r\n");
    other.answer();
    let objects = objects(&log, 3);
    let first = objects
        .iter()
        .find(|line| line["bytes"] == 10)
        .expect("GET");
    let keys = [
        "time",
        "client",
        "host",
        "request",
        "referer",
        "user_agent",
        "connection",
        "number",
        "idle_ms",
        "status",
        "bytes",
        "duration_us",
        "close",
    ];
    let members: HashSet<_> = first
        .as_object()
        .expect("an object")
        .keys()
        .cloned()
        .collect();
    assert_eq!(members, keys.map(str::to_owned).into());
    assert_eq!(first["client"], "127.0.0.1");
    assert_eq!(first["host"], "test");
    assert_eq!(first["request"], "GET /ten?q HTTP/1.1");
    assert_eq!(first["user_agent"], "test \"1\"");
    assert_eq!(
        (&first["number"], &first["status"]),
        (&1.into(), &200.into())
    );
    assert_eq!(first["close"], Value::Null);
    let second = objects
        .iter()
        .find(|line| line["number"] == 2)
        .expect("HEAD");
    assert_eq!(second["connection"], first["connection"]);
    assert_eq!(
        (&second["bytes"], &second["referer"]),
        (&0.into(), &Value::Null)
    );
    let bad = objects
        .iter()
        .find(|line| line["status"] == 400)
        .expect("400");
    assert_eq!(bad["request"], "GET /\u{1}\"");
    assert_eq!(
        (&bad["close"], &bad["host"]),
        (&"bad_request".into(), &Value::Null)
    );
    assert_ne!(bad["connection"], first["connection"]);
}

/// An answer that takes several turns is logged when it ends or is cut off.
#[test]
fn a_body_is_logged_with_the_bytes_that_went() {
    const LEN: usize = 16 << 20;
    let site = Site::new();
    site.write("large", pattern(LEN));
    let log = site.beside("log");
    let server = logging(&site, &log, "json");
    let mut whole = server.connect();
    whole.get("/large");
    let first = &objects(&log, 1)[0];
    assert_eq!(first["bytes"], LEN);
    assert!(first["duration_us"].as_u64() > Some(0), "{first}");
    let mut cut = Client::connect_narrow(server.address());
    cut.send(request("GET", "/large", ""));
    cut.read_body(1000);
    cut.reset_on_drop();
    drop(cut);
    let second = &objects(&log, 2)[1];
    let went = second["bytes"].as_u64().expect("a number");
    assert!((1..LEN as u64).contains(&went), "{second}");
    assert_eq!(second["close"], "reset");
    // An answer that the end of the server cuts off is logged too.
    let mut stuck = Client::connect_narrow(server.address());
    stuck.send(request("GET", "/large", ""));
    stuck.read_body(1000);
    server.signal(Signal::INT);
    assert_eq!(server.ended().code, Some(0));
    let third = &objects(&log, 3)[2];
    assert!(third["bytes"].as_u64() < Some(LEN as u64), "{third}");
    assert_eq!(third["close"], "stop");
}

#[test]
fn idling_and_the_time_that_a_request_takes_are_counted_apart() {
    let site = Site::new();
    let log = site.beside("log");
    let server = logging(&site, &log, "json");
    let mut client = server.connect();
    client.get("/");
    assert!(!client.is_told_something(std::time::Duration::from_millis(120)));
    client.send("GET / HTTP/1.1\r\n");
    assert!(!client.is_told_something(std::time::Duration::from_millis(80)));
    client.send("Host: test\r\n\r\n");
    client.answer();
    let second = &objects(&log, 2)[1];
    let idle_millis = second["idle_ms"].as_u64().expect("a number");
    let micros = second["duration_us"].as_u64().expect("a number");
    assert!((110..5_000).contains(&idle_millis), "{second}");
    assert!((70_000..5_000_000).contains(&micros), "{second}");
}

// Behind a proxy.

fn forwarded(client: &str) -> String {
    format!("X-Forwarded-For: {client}\r\n")
}

#[test]
fn the_client_behind_a_trusted_proxy_is_the_one_that_is_logged() {
    let site = Site::new();
    let log = site.beside("log");
    let trusted = "trusted_proxies = ['127.0.0.1', '10.0.0.0/8']";
    let server = logging_with(&site, &log, "format = 'json'", trusted);
    let mut proxy = server.connect();
    let mut stranger = Client::connect_from("127.0.0.2", server.address());
    for (is_trusted, claimed, logged) in [
        (true, "198.51.100.9, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        (true, "2001:db8::1", "2001:db8::1"),
        (true, "unknown", "127.0.0.1"),
        (false, "203.0.113.7", "127.0.0.2"),
    ] {
        let client = if is_trusted {
            &mut proxy
        } else {
            &mut stranger
        };
        client.ask_with("GET", &format!("/?{logged}"), &forwarded(claimed));
    }
    for line in objects(&log, 4) {
        let request = format!("GET /?{} HTTP/1.1", line["client"].as_str().expect("text"));
        assert_eq!(line["request"], request.as_str());
    }
}

#[test]
fn a_unix_socket_is_a_proxys_if_proxies_are_trusted() {
    let site = Site::new();
    for (settings, logged) in [("trusted_proxies = ['::1']", "203.0.113.7"), ("", "unix:")] {
        let (log, socket) = (site.beside("log"), site.beside("socket"));
        let file = log.display();
        let server = Launch::of(site.root())
            .config(&format!("{settings}\n[access_log]\npath = '{file}'"))
            .listen(&format!("unix:{}", socket.display()))
            .start();
        let mut client = Client::connect_unix(&socket);
        client.ask_with("GET", "/", &forwarded("203.0.113.7"));
        drop(client);
        server.signal(Signal::TERM);
        server.ended();
        assert!(lines(&log)[0].starts_with(&format!("{logged} - - [")));
        fs::remove_file(log).expect("the log");
    }
}

/// The limit per address holds for each client behind the proxy, but not for the proxy's connections.
#[test]
fn behind_a_proxy_the_limit_per_address_is_each_clients_own() {
    let site = Site::new();
    site.write("large", pattern(16 << 20));
    let log = site.beside("log");
    let settings = "trusted_proxies = ['127.0.0.1']\nlimits.connections_per_ip = 2";
    let server = logging_with(&site, &log, "", settings);
    let proxied = |target: &str, client: &str| {
        let mut proxy = Client::connect_narrow(server.address());
        proxy.send(request("GET", target, &forwarded(client)));
        proxy
    };
    let mut busy: Vec<_> = (0..2).map(|_| proxied("/large", "203.0.113.7")).collect();
    for proxy in &mut busy {
        proxy.read_body(1000);
    }
    let mut pooled = proxied("/", "203.0.113.7");
    let refused = pooled.answer();
    assert_eq!(refused.status, 503, "{}", refused.head);
    // The request was read to its end, and the proxy sends requests of other clients on this connection.
    assert!(refused.persists(), "{}", refused.head);
    pooled.send(request("GET", "/", &forwarded("203.0.113.8")));
    assert_eq!(pooled.answer().status, 200);
    assert_eq!(proxied("/", "203.0.113.8").answer().status, 200);
    assert_eq!(
        proxied("/", "unknown").answer().status,
        200,
        "the proxy's own"
    );
    busy.pop();
    until("the share is free again", || {
        proxied("/", "203.0.113.7").answer().status == 200
    });
}

// No line is lost.

/// Every answer that a client has received is logged in a whole line.
#[test]
fn no_line_is_lost_at_the_end_under_load() {
    let site = Site::new();
    for (signal, name) in [(Signal::TERM, "term"), (Signal::INT, "int")] {
        let log = site.beside(name);
        let file = log.display();
        let server = Launch::of(site.root())
            .config(&format!(
                "keep_alive.max_requests = 1000000\n[access_log]\npath = '{file}'\nformat = 'json'"
            ))
            .args(&["-w", "3"])
            .start();
        let address = server.address();
        let clients: Vec<_> = (0..8)
            .map(|client| thread::spawn(move || ask_until_the_end(address, client)))
            .collect();
        until("the server is under load", || lines(&log).len() > 500);
        server.signal(signal);
        let answered = clients
            .into_iter()
            .flat_map(|client| client.join().expect("a client"));
        let answered: Vec<String> = answered.collect();
        assert_eq!(server.ended().code, Some(0));
        let logged: Vec<Value> = lines(&log)
            .iter()
            .map(|line| serde_json::from_str(line).expect("a whole line"))
            .collect();
        let requests: HashSet<_> = logged
            .iter()
            .filter_map(|line| line["request"].as_str())
            .collect();
        for target in &answered {
            let request = format!("GET {target} HTTP/1.1");
            assert!(requests.contains(request.as_str()), "{request} is missing");
        }
        assert!(answered.len() > 500 && logged.len() - answered.len() <= 8);
    }
}

/// Sends requests until the server ends the connection. Returns the targets that were answered.
fn ask_until_the_end(address: std::net::SocketAddr, client: usize) -> Vec<String> {
    let mut connection = Client::connect(address);
    let mut answered = Vec::new();
    for number in 0.. {
        let target = format!("/?{client}.{number}");
        if connection.try_send(request("GET", &target, "")).is_err() {
            break;
        }
        let Ok(response) = connection.try_answer(true) else {
            break;
        };
        answered.push(target);
        if !response.persists() {
            break;
        }
    }
    answered
}

/// logrotate under load: every line is in exactly one of the moved file and the new one.
#[test]
fn reopening_loses_no_line() {
    const REQUESTS: usize = 600;
    let site = Site::new();
    let (log, moved) = (site.beside("log"), site.beside("log.1"));
    let server = logging(&site, &log, "extended");
    let mut client = server.connect();
    for number in 0..REQUESTS {
        client.get(&format!("/?{number}"));
        if number == REQUESTS / 2 {
            until("there are lines", || !lines(&log).is_empty());
            fs::rename(&log, &moved).expect("rename");
            server.signal(Signal::USR1);
            until("the new file", || log.exists());
        }
    }
    server.signal(Signal::TERM);
    drop(client);
    assert_eq!(server.ended().code, Some(0));
    let (before, after) = (lines(&moved), lines(&log));
    assert!(!before.is_empty() && !after.is_empty());
    let all: HashSet<_> = before
        .iter()
        .chain(&after)
        .filter_map(|line| line.split('"').nth(1))
        .collect();
    assert_eq!(before.len() + after.len(), REQUESTS);
    assert_eq!(all.len(), REQUESTS);
}

#[test]
fn a_full_disk_is_reported_once_and_serving_goes_on() {
    let site = Site::new();
    let server = logging(&site, Path::new("/dev/full"), "json");
    for _ in 0..3 {
        server.connect().expect_usable();
        server.wait_for("the access log cannot be written");
    }
    server.signal(Signal::TERM);
    let ended = server.ended();
    assert_eq!(ended.code, Some(0));
    let reports = ended.stderr.matches("the access log cannot be written");
    assert_eq!(reports.count(), 1, "{}", ended.stderr);
}
