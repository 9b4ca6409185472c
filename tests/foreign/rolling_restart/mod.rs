//! Servers are replaced under load without a failed request.
//!
//! The clients do not retry. A refused connection, a reset, an end without an answer, or a status other
//! than 200 is a failed request. T is 2 s and grace 2 s, so that a drain takes seconds.
//!
//! A single server is replaced by its successor on the same port. Another process holds the listening
//! socket and passes it to both (LISTEN_FDS, as systemd does), so the accept queue outlives each of them.
//!
//! Of several servers behind a balancer each is restarted in turn. The balancer learns in one of three ways
//! that a server drains. An administrator tells it (`set server ... state drain`). Or its health checks
//! of a file or of `shutdown.health` show it; this takes the time `shutdown.accept_for`, in which the server
//! accepts, and answers with `Connection: close`. Or the balancer finds the port closed and connects to
//! the next server. That is no retry of a request, since nothing has been sent.

mod cluster;
mod load;
mod passed_listener;

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use cluster::{Cluster, HEALTH_FILE, SERVERS, SHUTDOWN_HEALTH};
use load::{Load, TARGET};
use passed_listener::PassedListener;
use rustix::process::Signal;
use socket2::{Domain, Socket, Type};
use support::client::request;
use support::{Client, Launch, Site, pattern};

const ROUNDS: usize = 3;

/// The time under load before the first replacement and after each one.
const STEADY: Duration = Duration::from_millis(800);

const TWO_SECONDS: &str = "[keep_alive]\ntimeout = 2\ngrace = 2\n";

/// The last line of a drain that broke no promise.
const NONE_BROKEN: &str = "broken by the deadline: 0";

// A successor on the same port.

#[test]
fn a_server_is_replaced_by_its_successor_and_no_request_fails() {
    let site = Site::empty();
    let body = pattern(3000);
    site.write(TARGET.trim_start_matches('/'), &body);
    let listener = PassedListener::bind();
    let mut current = listener.start(&site.root(), TWO_SECONDS);
    let load = Load::start(listener.address(), &body);
    for _ in 0..ROUNDS {
        thread::sleep(STEADY);
        let successor = listener.start(&site.root(), TWO_SECONDS);
        current.signal(Signal::TERM);
        let (code, said) = current.ended();
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains(NONE_BROKEN), "{said}");
        assert!(!said.contains("honoured: 0,"), "no load: {said}");
        current = successor;
    }
    thread::sleep(STEADY);
    let outcome = load.end();
    println!("a successor, {ROUNDS} times: {outcome}");
    assert_eq!(outcome.failed(), 0, "{outcome}");
    assert!(outcome.requests > 200, "{outcome}");
}

/// Clients that connect while no server runs, or after one has crashed, wait for the next one.
#[test]
fn who_waits_in_the_accept_queue_is_answered_by_the_successor() {
    let site = Site::new();
    let listener = PassedListener::bind();
    let connect = || -> Vec<Client> {
        let mut clients: Vec<_> = (0..50)
            .map(|_| Client::connect(listener.address()))
            .collect();
        for client in &mut clients {
            client.send(request("GET", "/page.html", ""));
        }
        clients
    };
    let answered = |clients: Vec<Client>| {
        for mut client in clients {
            assert_eq!(client.answer().status, 200);
        }
    };
    let early = connect();
    let first = listener.start(&site.root(), TWO_SECONDS);
    answered(early);
    // A stopped server accepts nothing, and a killed one closes no connection in order.
    first.signal(Signal::STOP);
    let waiting = connect();
    first.signal(Signal::KILL);
    first.ended();
    let _second = listener.start(&site.root(), TWO_SECONDS);
    answered(waiting);
}

/// Passed sockets replace `listen`, whatever its value.
#[test]
fn what_is_passed_replaces_what_is_configured() {
    let site = Site::new();
    let listener = PassedListener::bind();
    let holder = PassedListener::bind();
    // Binding this address would fail, because the holder has it.
    let config = format!("listen = [\"{}\"]\n", holder.address());
    let server = listener.start(&site.root(), &config);
    Client::connect(listener.address()).expect_usable();
    let said = server.said();
    assert_eq!(said.matches("listening on ").count(), 1, "{said}");
}

/// A child of the process that the sockets were meant for may see the same variables.
#[test]
fn what_was_passed_to_another_process_is_not_taken() {
    let site = Site::new();
    let server = Launch::of(site.root())
        .env("LISTEN_PID", &std::process::id().to_string())
        .env("LISTEN_FDS", "1")
        .start();
    server.connect().expect_usable();
}

/// A port is not shared with a process that has not passed it: SO_REUSEPORT on one side is not enough, and
/// abide does not set it.
#[test]
fn a_port_that_somebody_else_holds_stays_an_error() {
    let site = Site::new();
    for (shares_address, shares_port) in
        [(false, false), (true, false), (false, true), (true, true)]
    {
        let other = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        other.set_reuse_address(shares_address).expect("an option");
        other.set_reuse_port(shares_port).expect("an option");
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        other.bind(&any_port.into()).expect("a free port");
        other.listen(16).expect("listen");
        let address = other.local_addr().expect("an address").as_socket();
        let address = address.expect("a TCP address").to_string();
        let ended = Launch::of(site.root()).listen(&address).run();
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains(&address), "{}", ended.stderr);
        assert!(!ended.stderr.contains("listening on"), "{}", ended.stderr);
    }
}

// Three servers behind HAProxy.

/// Restarts the servers one after the other, `restarts` times in all. `leave` and `come_back` tell HAProxy
/// before a server gets its SIGTERM and when the server runs again.
fn restart_in_turn(
    name: &str,
    restarts: usize,
    mut cluster: Cluster,
    leave: impl Fn(&Cluster, usize),
    come_back: impl Fn(&Cluster, usize),
) {
    (0..SERVERS).for_each(|index| cluster.wait_until_up(index));
    let load = Load::start(cluster.proxy.address, &cluster.body);
    for index in (0..restarts).map(|number| number % SERVERS) {
        thread::sleep(STEADY);
        // Some of them are health checks, ten a second.
        assert!(cluster.requests(index) > 20, "no load");
        leave(&cluster, index);
        let said = cluster.drain(index);
        assert!(said.contains(NONE_BROKEN), "{said}");
        cluster.start_again(index);
        come_back(&cluster, index);
        cluster.wait_until_up(index);
    }
    thread::sleep(STEADY);
    let outcome = load.end();
    println!("{name}: {outcome}");
    assert_eq!(outcome.failed(), 0, "{outcome}");
    assert!(outcome.requests > 1000, "{outcome}");
}

const NO_RETRIES: &str = "retries 0";

/// A connection that is refused is retried at once with another server. Nothing else is retried.
const RETRY_REFUSED_CONNECTIONS: &str =
    "retries 3\n    option redispatch 1\n    retry-on conn-failure";

/// A request that HAProxy sent before it was told may still be on its way. `accept_for`, one second, covers
/// that.
#[test]
#[ignore = "needs haproxy"]
fn a_rolling_restart_that_haproxy_is_told_of_fails_no_request() {
    restart_in_turn(
        "told by the administrator, no retries",
        ROUNDS * SERVERS,
        Cluster::start(NO_RETRIES, HEALTH_FILE, 1),
        |cluster, index| cluster.set_state(index, "drain"),
        |cluster, index| cluster.set_state(index, "ready"),
    );
}

#[test]
#[ignore = "needs haproxy"]
fn a_rolling_restart_that_health_checks_find_out_about_fails_no_request() {
    restart_in_turn(
        "found by health checks within accept_for, no retries",
        ROUNDS * SERVERS,
        Cluster::start(NO_RETRIES, HEALTH_FILE, 3),
        |cluster, index| cluster.set_healthy(index, false),
        |cluster, index| cluster.set_healthy(index, true),
    );
}

/// The checks need 200 ms to see that a server drains. `accept_for` is ten times as long.
#[test]
#[ignore = "needs haproxy"]
fn sixteen_restarts_that_shutdown_health_tells_of_fail_no_request() {
    restart_in_turn(
        "told by shutdown.health within accept_for, no retries",
        16,
        Cluster::start(NO_RETRIES, SHUTDOWN_HEALTH, 2),
        |_, _| {},
        |_, _| {},
    );
}

#[test]
#[ignore = "needs haproxy"]
fn a_rolling_restart_that_nobody_is_told_of_needs_only_another_door() {
    restart_in_turn(
        "not told, refused connections go to another server",
        ROUNDS * SERVERS,
        Cluster::start(RETRY_REFUSED_CONNECTIONS, HEALTH_FILE, 0),
        |_, _| {},
        |_, _| {},
    );
}
