//! HAProxy and nginx forward bytes to abide, and name the client in a header of the PROXY protocol.

use std::fs;

use rustix::process::Signal;

use support::client::request;
use support::counters::{closes, counter};
use support::process::Recipe;
use support::{Client, Launch, Site, recipes, until};

/// Other addresses of this machine than the proxy's, which is 127.0.0.1.
const CLIENTS: [&str; 3] = ["127.0.0.3", "127.0.0.4", "127.0.0.3"];

const REQUESTS: usize = 3;

/// HAProxy with `mode` and this option for the server, which it also checks.
fn haproxy(mode: &str, option: &str, ip: &str, port: u16) -> Recipe {
    let server = format!("server abide {ip}:{port} {option} check inter 100ms");
    recipes::haproxy("", &format!("mode {mode}\nretries 0"), &server)
}

const NGINX: &str = "
worker_processes 1;
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
stream {
    server {
        listen {address};
        proxy_pass {next};
        proxy_protocol on;
    }
}
";

fn nginx(ip: &str, port: u16) -> Recipe {
    let main = NGINX.replace("{next}", &format!("{ip}:{port}"));
    let recipe = recipes::nginx(&main, "worker_connections 1024;", "");
    Recipe {
        package: "libnginx-mod-stream",
        ..recipe
    }
}

/// Clients connect to the proxy, and abide knows them. The proxy's own connections, `checks` of which are
/// waited for, are no error.
fn expect_clients_known(checks: u64, recipe: impl Fn(&str, u16) -> Recipe) {
    let site = Site::new();
    let log = site.beside("log");
    let config = format!(
        "trusted_proxies = ['127.0.0.1']\n[access_log]\npath = '{}'\n",
        log.display()
    );
    let abide = Launch::of(site.root())
        .config(&config)
        .listen("proxy+http://127.0.0.1:0")
        .start();
    let address = abide.address();
    let proxy = recipe(&address.ip().to_string(), address.port()).start();
    let mut expected = Vec::new();
    for (number, own) in CLIENTS.iter().enumerate() {
        let mut client = Client::connect_from(own, proxy.address);
        let target = format!("/?{number}");
        // A proxy that reads HTTP changes the fields of the responses, so only their number counts.
        let one = request("GET", &target, "");
        let last = request("GET", &target, "Connection: close\r\n");
        client.send(one.repeat(REQUESTS - 1) + &last);
        let answers = String::from_utf8_lossy(&client.rest()).into_owned();
        assert_eq!(answers.matches("HTTP/1.1 200 ").count(), REQUESTS);
        expected.extend((0..REQUESTS).map(|_| format!("{own} {target}")));
    }
    until("the proxy has checked abide", || {
        counter(&abide, "connections_accepted_total") >= CLIENTS.len() as u64 + checks
    });
    assert_eq!(closes(&abide, "proxy_header"), 0);
    let said = abide.stderr();
    assert!(!said.contains("WARN") && !said.contains("ERROR"), "{said}");
    drop(proxy);
    abide.signal(Signal::INT);
    assert_eq!(abide.ended().code, Some(0));
    let log = fs::read_to_string(log).expect("the log");
    let logged = log.lines().map(|line| {
        let parts: Vec<_> = line.split(' ').collect();
        format!("{} {}", parts[0], parts[6])
    });
    let mut logged: Vec<_> = logged.collect();
    // Each thread writes its own lines together.
    logged.sort();
    expected.sort();
    assert_eq!(logged, expected);
}

#[test]
#[ignore = "needs haproxy"]
fn haproxy_names_the_client_in_a_line() {
    expect_clients_known(3, |ip, port| haproxy("tcp", "send-proxy", ip, port));
}

#[test]
#[ignore = "needs haproxy"]
fn haproxy_names_the_client_in_a_block() {
    expect_clients_known(3, |ip, port| haproxy("tcp", "send-proxy-v2", ip, port));
}

/// The block has TLVs.
#[test]
#[ignore = "needs haproxy"]
fn haproxy_adds_what_it_knows_of_the_connection() {
    let option = "send-proxy-v2 proxy-v2-options ssl,cert-cn,crc32c,unique-id,authority";
    expect_clients_known(3, |ip, port| haproxy("tcp", option, ip, port));
}

/// HAProxy keeps its connections, and reuses one for its client alone.
#[test]
#[ignore = "needs haproxy"]
fn haproxy_that_reads_http_names_the_client_too() {
    expect_clients_known(3, |ip, port| haproxy("http", "send-proxy-v2", ip, port));
}

#[test]
#[ignore = "needs libnginx-mod-stream"]
fn nginx_names_the_client_in_a_line() {
    expect_clients_known(0, nginx);
}
