//! More connections than there is room for.

use std::thread;
use std::time::Duration;

use support::client::request;
use support::{Client, Launch, Server, Site, until};

fn limited(site: &Site, limits: &str) -> Server {
    Launch::of(site.root())
        .config(&format!("[limits]\n{limits}\n"))
        .start()
}

/// The beginning of a request: a client that has sent it keeps its place.
const BEGUN: &str = "GET / HTTP/1.1\r\nHo";

/// Expects the short refusal, RFC 9110 section 15.6.4.
fn expect_refusal(server: &Server) {
    let mut client = server.connect();
    let response = client.answer();
    assert_eq!(response.status, 503);
    assert!(response.field("retry-after").is_some());
    assert!(!response.persists());
    client.expect_end();
}

fn is_served(server: &Server) -> bool {
    let mut client = server.connect();
    let request = support::client::request("GET", "/", "");
    // A refusal may come first.
    let _ = client.try_send(request);
    client.try_answer(true).is_ok_and(|got| got.status == 200)
}

#[test]
fn a_connection_over_the_limit_is_told_so_and_the_others_go_on() {
    let site = Site::new();
    let server = limited(&site, "connections = 4");
    let mut clients: Vec<Client> = (0..3).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(Client::expect_usable);
    let mut last = server.connect();
    last.send(BEGUN);
    for _ in 0..3 {
        expect_refusal(&server);
    }
    // At the limit every connection still gets an answer, which is its last.
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    drop(last);
    until("the place that is free is taken", || is_served(&server));
}

#[test]
fn one_address_has_only_its_share() {
    let site = Site::new();
    let server = limited(&site, "connections_per_ip = 2");
    let mut first = server.connect();
    first.expect_usable();
    let mut second = server.connect();
    second.send(BEGUN);
    expect_refusal(&server);
    drop(second);
    until("the place that is free is taken", || is_served(&server));
    first.expect_usable();
}

/// More clients at once than the server can even refuse: they wait in the kernel's queue, and none is lost.
#[test]
fn a_crowd_beyond_the_limit_is_served_in_time() {
    let site = Site::new();
    let server = limited(&site, "connections = 8");
    let arrive = |_| {
        let mut client = server.connect();
        let request = support::client::request("GET", "/", "");
        // A reset after the refusal may make the send fail.
        let _ = client.try_send(request);
        client
    };
    let mut crowd: Vec<Client> = (0..300).map(arrive).collect();
    for mut client in crowd.drain(..) {
        let response = client
            .try_answer(true)
            .unwrap_or_else(|why| panic!("{why}"));
        assert!(matches!(response.status, 200 | 503), "{}", response.head);
    }
    until("the server has room again", || is_served(&server));
}

/// EMFILE: connections that wait for a descriptor must not keep the event loop busy, and are accepted as
/// soon as there is one.
#[test]
fn without_descriptors_the_server_waits_and_does_not_spin() {
    let site = Site::new();
    let server = Server::of(site.root());
    server.connect().expect_usable();
    let spare = 20;
    server.limit_descriptors(server.descriptors() as u64 + spare);
    let mut clients: Vec<Client> = (0..2 * spare).map(|_| server.connect()).collect();
    clients[0].expect_usable();
    server.wait_for("no connection can be accepted");
    let before = server.cpu_ticks();
    thread::sleep(Duration::from_millis(500));
    let used = server.cpu_ticks() - before;
    assert!(used < 10, "{used} hundredths of a second in half a second");
    let mut waiting = clients.split_off(usize::try_from(spare).expect("20") + 5);
    drop(clients);
    waiting.iter_mut().for_each(Client::expect_usable);
}

/// A proxy's connection carries the requests of many clients, so it does not end if one of them has too
/// many.
#[test]
fn a_client_behind_a_proxy_that_asks_too_much_does_not_end_the_connection_of_the_others() {
    let site = Site::new();
    site.sparse("large", 64 << 20);
    let server = Launch::of(site.root())
        .config("trusted_proxies = ['127.0.0.1']\nlimits.connections_per_ip = 1\n")
        .start();
    let mut busy = Client::connect_narrow(server.address());
    let (greedy, other) = (
        "X-Forwarded-For: 203.0.113.7\r\n",
        "X-Forwarded-For: 203.0.113.8\r\n",
    );
    busy.send(request("GET", "/large", greedy));
    busy.head();
    let mut pooled = server.connect();
    for (client, status) in [(greedy, 503), (other, 200), (greedy, 503), (other, 200)] {
        let response = pooled.ask_with("GET", "/", client);
        assert_eq!(response.status, status);
        assert!(response.persists(), "{}", response.head);
    }
    // A refused request with a body is read to its end, too.
    let body = format!("{greedy}Content-Length: 4\r\n");
    pooled.send([&request("POST", "/", &body)[..], "body"].concat());
    let response = pooled.answer();
    assert_eq!((response.status, response.persists()), (503, true));
    assert_eq!(pooled.ask_with("GET", "/", other).status, 200);
}
