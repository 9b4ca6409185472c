//! abide behind independent proxies: nginx, HAProxy and Varnish.
//!
//! A proxy that keeps its connections to an origin must close them first. Then it never sends a request
//! on a connection that the origin is just closing. Here T is 3 s and the proxies' limit about 2 s, as
//! `keep_alive.behind` requires. Bursts of requests are separated by gaps around both, and around
//! T + grace = 5 s. Neither the client nor the proxies retry a request, so every loss is counted. Varnish
//! cannot be configured so, but it counts its retries.
//!
//! `proxy_protocol` and `unix_socket` are about how a proxy reaches abide, not about time.
//!
//! `cargo test --test foreign proxies -- --ignored --nocapture` also prints the measurements. Without the
//! proxies these tests fail.

mod bursts;
mod chains;
mod proxy_protocol;
mod unix_socket;

use std::process::Command;

use super::lane::{Outcome, Wanted};
use support::counters::counter;
use support::process::{Process, Recipe};
use support::{Launch, Server, Share, Site, pattern, retried_after_a_stall};

/// Gaps around the proxies' limit of 2 s, T = 3 s, and T + grace = 5 s.
const GAPS_MILLIS: [u64; 14] = [
    1900, 2000, 300, 2100, 1800, 2900, 1950, 3000, 500, 3100, 1990, 4900, 100, 5100,
];

const TARGET: &str = "/page.bin";

/// A site, its server, and a proxy in front.
struct Chain {
    proxy: Process,
    abide: Server,
    body: Vec<u8>,
    _site: Site,
    _share: Share,
}

impl Chain {
    fn of(recipe: impl Fn(&str, u16) -> Recipe) -> Chain {
        let share = Share::of(3);
        let site = Site::empty();
        let body = pattern(3000);
        site.write("page.bin", &body);
        let abide = Launch::of(site.root())
            .config("[keep_alive]\ntimeout = 3\ngrace = 2\nbehind = 2\nmax_requests = 100000\n")
            .start();
        let address = abide.address();
        let proxy = recipe(&address.ip().to_string(), address.port()).start();
        Chain {
            proxy,
            abide,
            body,
            _site: site,
            _share: share,
        }
    }

    fn load(&self, gaps_millis: &[u64]) -> Outcome {
        let wanted = Wanted {
            target: TARGET,
            body: &self.body,
        };
        bursts::run(self.proxy.address, wanted, gaps_millis)
    }

    /// Prints one line with the measurements.
    fn report(&self, name: &str, outcome: &Outcome) -> Measured {
        let of_abide = |name| counter(&self.abide, name);
        let measured = Measured {
            requests: of_abide("requests_total"),
            connections: of_abide("connections_accepted_total"),
            races: of_abide("keep_alive_race_total"),
        };
        println!(
            "{name}: {outcome}; {} connections to abide, {} of them closed by it when idle, {} races",
            measured.connections,
            of_abide("closes_total{reason=\"idle\"}"),
            measured.races
        );
        measured
    }
}

/// Counters of abide.
struct Measured {
    requests: u64,
    connections: u64,
    races: u64,
}

impl Measured {
    fn assert_kept(&self, outcome: &Outcome) {
        assert!(outcome.requests >= 1000);
        assert_eq!(outcome.failed(), 0, "{outcome}");
        assert_eq!(self.requests, outcome.requests, "each sent once");
        assert_eq!(self.races, 0);
    }

    fn assert_reused(&self) {
        assert!(
            self.connections * 10 < self.requests * 9,
            "{} connections for {} requests",
            self.connections,
            self.requests
        );
    }
}

#[test]
#[ignore = "needs nginx"]
fn nginx_with_persistent_connections_loses_nothing() {
    retried_after_a_stall(|| {
        let chain = Chain::of(|ip, port| chains::nginx(ip, port, 2));
        let outcome = chain.load(&GAPS_MILLIS);
        let measured = chain.report("nginx, persistent", &outcome);
        measured.assert_kept(&outcome);
        measured.assert_reused();
    });
}

/// By default nginx before 1.29.7 sends HTTP/1.0 with `Connection: close` to an upstream.
#[test]
#[ignore = "needs nginx"]
fn nginx_with_http_1_0_gets_a_close_after_each_answer() {
    retried_after_a_stall(|| {
        let chain = Chain::of(chains::nginx_http10);
        let outcome = chain.load(&[100; 14]);
        let measured = chain.report("nginx, HTTP/1.0", &outcome);
        measured.assert_kept(&outcome);
        assert_eq!(measured.connections, outcome.requests);
    });
}

#[test]
#[ignore = "needs haproxy"]
fn haproxy_loses_nothing() {
    retried_after_a_stall(|| {
        let chain = Chain::of(chains::haproxy);
        let outcome = chain.load(&GAPS_MILLIS);
        let measured = chain.report("HAProxy", &outcome);
        measured.assert_kept(&outcome);
        measured.assert_reused();
    });
}

#[test]
#[ignore = "needs varnish"]
fn varnish_loses_nothing() {
    retried_after_a_stall(|| {
        let chain = Chain::of(support::recipes::varnish);
        let outcome = chain.load(&GAPS_MILLIS);
        let measured = chain.report("Varnish", &outcome);
        measured.assert_kept(&outcome);
        measured.assert_reused();
        // Varnish repeats a request on another connection when a reused one ends without an answer.
        assert_eq!(varnish_counter(&chain.proxy, "MAIN.backend_retry"), 0);
        assert_eq!(varnish_counter(&chain.proxy, "MAIN.cache_hit"), 0);
    });
}

/// Shows the fault that `keep_alive.behind` prevents, and tests nothing in abide. The proxy keeps a
/// connection for longer than abide does, so sometimes both act at the same moment.
#[test]
#[ignore = "needs nginx"]
fn a_proxy_with_a_longer_limit_than_ours_may_lose_requests() {
    let chain = Chain::of(|ip, port| chains::nginx(ip, port, 60));
    // abide checks deadlines ten times a second, so it closes idle connections of 5 s at these times.
    let gaps_millis: Vec<u64> = (0..10).map(|step| 5_030 + 20 * (step % 8)).collect();
    let outcome = chain.load(&gaps_millis);
    chain.report("nginx, limit of 60 s, misconfigured", &outcome);
    assert!(outcome.requests >= 1000);
}

/// The counter `name` from `varnishstat`.
fn varnish_counter(varnish: &Process, name: &str) -> u64 {
    let output = Command::new("varnishstat")
        .arg("-n")
        .arg(varnish.path("varnish"))
        .args(["-1", "-f", name])
        .output()
        .expect("varnishstat is there when varnishd is");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let value = printed.split_whitespace().nth(1);
    value
        .and_then(|value| value.parse().ok())
        .unwrap_or_else(|| panic!("varnishstat: {printed:?} {output:?}"))
}
