//! Reloads under load: no request is lost, and no connection closes that was not due.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use support::counters::counter;
use support::{Client, Launch, Server, Share, Site, until};

/// Half of the connections are idle, the other half send a request every few milliseconds, while the server reloads
/// `reloads` times within `time`. The settings change with each reload.
fn reload_under_load(reloads: u32, time: Duration) {
    let _share = Share::of(2);
    let site = Site::new();
    let log = site.beside("access.log");
    let toml = |number: u32| {
        format!(
            "keep_alive = {{ timeout = {}, grace = {}, max_requests = {} }}\n\
             cache.revalidate = 0\nlimits.connections = {}\nlimits.connections_per_ip = {}\n\
             [[header]]\npath = '/**'\nset = {{ X-Number = '{number}' }}\n\
             [access_log]\npath = '{}'\nformat = '{}'\n",
            300 - number % 90,
            1 + number % 10,
            100_000 + number % 1_000,
            500 + number % 500,
            500 - number % 300,
            log.display(),
            ["common", "combined", "json"][number as usize % 3],
        )
    };
    let server = Launch::of(site.root()).config(&toml(0)).start();
    let address = server.address();
    let listening = listening_sockets(&server);
    assert_eq!(listening.len(), 1);
    let mut idle: Vec<_> = (0..50).map(|_| server.connect()).collect();
    idle.iter_mut().for_each(Client::expect_usable);
    let start = Instant::now();
    let asked: u64 = thread::scope(|scope| {
        let busy: Vec<_> = (0..50)
            .map(|_| scope.spawn(|| ask_until(start + time, Client::connect(address))))
            .collect();
        for number in 1..=reloads {
            let said = server.reload(&toml(number));
            assert!(said.contains("abide: reloaded"), "{said}");
            let due = time * number / reloads;
            thread::sleep(due.saturating_sub(start.elapsed()));
        }
        assert!(
            start.elapsed() < time * 2,
            "{:?} for {reloads} reloads",
            start.elapsed()
        );
        busy.into_iter()
            .map(|thread| thread.join().expect("no request is lost"))
            .sum()
    });
    idle.iter_mut().for_each(Client::expect_usable);
    assert_eq!(listening_sockets(&server), listening, "the same sockets");
    check_counters(&server, asked);
}

/// The inodes of the TCP sockets on which the server listens (proc_net(5): state 0A).
fn listening_sockets(server: &Server) -> Vec<String> {
    let table = fs::read_to_string(format!("/proc/{}/net/tcp", server.pid())).expect("/proc");
    let listening = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields[3] == "0A").then(|| format!("socket:[{}]", fields[9]))
    });
    let listening: Vec<String> = listening.collect();
    let directory = format!("/proc/{}/fd", server.pid());
    let descriptors = fs::read_dir(directory).expect("/proc");
    let links = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let names = links.map(|link| link.to_string_lossy().into_owned());
    names.filter(|name| listening.contains(name)).collect()
}

/// Sends a request every few milliseconds on one connection, and expects each to be answered. Returns their number.
fn ask_until(end: Instant, mut client: Client) -> u64 {
    let mut asked = 0;
    while Instant::now() < end {
        let answer = client.get("/");
        assert!(answer.status == 200 && answer.persists(), "{answer:?}");
        asked += 1;
        thread::sleep(Duration::from_millis(5));
    }
    asked
}

fn check_counters(server: &Server, asked: u64) {
    until("the counters are complete", || {
        counter(server, "requests_total") == asked + 100
    });
    assert_eq!(counter(server, "connections_accepted_total"), 100);
    assert_eq!(counter(server, "connections_open"), 50, "the idle ones");
    assert_eq!(counter(server, "keep_alive_race_total"), 0);
    assert_eq!(counter(server, "access_log_lines_dropped_total"), 0);
}

#[test]
fn reloads_under_load_lose_nothing() {
    reload_under_load(50, Duration::from_secs(3));
}

#[test]
#[ignore = "needs a minute"]
fn a_thousand_reloads_in_a_minute_lose_nothing() {
    reload_under_load(1_000, Duration::from_secs(60));
}
