//! Three servers behind HAProxy, each with its own address and its own root.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::process::Signal;

use super::load::TARGET;
use support::counters::counter;
use support::process::Process;
use support::recipes;
use support::{Launch, PATIENCE, Server, Share, Site, until};

pub const SERVERS: usize = 3;

/// The path of HAProxy's health checks, if the check is for a file. A server without the file gets no new
/// work (`http-check disable-on-404`).
pub const HEALTH_FILE: &str = "/alive";

/// The path of HAProxy's health checks, if the servers themselves report that they drain.
pub const SHUTDOWN_HEALTH: &str = "/health";

/// T is 2 s. Every 250 ms HAProxy closes half of the idle connections that it does not need.
const BACKEND: &str = "
    balance roundrobin
    option httpchk
    http-check send meth GET uri {health} ver HTTP/1.1 hdr Host test
    http-check expect status 200
    http-check disable-on-404
    default-server check inter 100ms fall 2 rise 1 pool-purge-delay 250ms
{servers}
";

pub struct Cluster {
    pub proxy: Process,
    servers: Vec<Member>,
    pub body: Vec<u8>,
    config: String,
    _share: Share,
}

/// A server and its configuration. The server is absent only between its drain and its restart.
struct Member {
    site: Site,
    address: SocketAddr,
    server: Option<Server>,
}

impl Cluster {
    /// `retries` are HAProxy's lines about retries, `health` is the path of its checks, `accept_for_secs` is
    /// abide's setting.
    pub fn start(retries: &str, health: &str, accept_for_secs: u32) -> Cluster {
        let share = Share::of(3);
        let config = format!(
            "keep_alive = {{ timeout = 2, grace = 2 }}\ncache.revalidate = 0\n\
             shutdown = {{ accept_for = {accept_for_secs}, health = \"{SHUTDOWN_HEALTH}\" }}\n"
        );
        let body = support::pattern(3000);
        let servers: Vec<_> = (0..SERVERS)
            .map(|_| Member::start(&body, &config))
            .collect();
        let lines = servers
            .iter()
            .enumerate()
            .map(|(index, member)| format!("    server {} {}\n", name(index), member.address));
        let backend = BACKEND
            .replace("{health}", health)
            .replace("{servers}", &lines.collect::<String>());
        let socket = "stats socket {place}/admin mode 600 level admin";
        let defaults = format!(
            "timeout check 5s
    {retries}"
        );
        let proxy = recipes::haproxy(socket, &defaults, &backend).start();
        // HAProxy accepts clients before it takes commands.
        until("HAProxy takes commands", || {
            UnixStream::connect(proxy.path("admin")).is_ok()
        });
        Cluster {
            proxy,
            servers,
            body,
            config,
            _share: share,
        }
    }

    /// Sends one command to HAProxy's administration socket, and returns the answer.
    pub fn command(&self, command: &str) -> String {
        let mut socket = UnixStream::connect(self.proxy.path("admin")).expect("HAProxy's socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let line = format!("{command}\n");
        socket.write_all(line.as_bytes()).expect("a command");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("an answer");
        answer.trim().to_owned()
    }

    /// Sets the state of a server in HAProxy: `drain` or `ready`.
    pub fn set_state(&self, index: usize, state: &str) {
        let answer = self.command(&format!("set server abide/{} state {state}", name(index)));
        assert_eq!(answer, "", "HAProxy refuses");
    }

    /// Makes the health checks of a server fail, or succeed again.
    pub fn set_healthy(&self, index: usize, is_healthy: bool) {
        let site = &self.servers[index].site;
        if is_healthy {
            site.write(HEALTH_FILE.trim_start_matches('/'), "yes\n");
        } else {
            std::fs::remove_file(site.path(HEALTH_FILE.trim_start_matches('/')))
                .expect("the server was healthy");
        }
    }

    /// Waits until HAProxy sends work to the server: the server is neither down nor drained.
    pub fn wait_until_up(&self, index: usize) {
        let wanted = format!("abide,{},", name(index));
        until(&format!("{} is up", name(index)), || {
            let stat = self.command("show stat");
            let line = stat.lines().find(|line| line.starts_with(&wanted));
            // The eighteenth column is the status.
            line.is_some_and(|line| line.split(',').nth(17) == Some("UP"))
        });
    }

    /// The number of requests that a server has answered since its start.
    pub fn requests(&self, index: usize) -> u64 {
        let server = self.servers[index].server.as_ref();
        counter(
            server.expect("the server runs between two drains"),
            "requests_total",
        )
    }

    /// Sends SIGTERM, waits for the end, and returns the server's messages.
    pub fn drain(&mut self, index: usize) -> String {
        let server = self.servers[index].server.take();
        let server = server.expect("the server runs between two drains");
        server.signal(Signal::TERM);
        let ended = server.ended();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stderr
    }

    /// Starts a drained server again at its address.
    pub fn start_again(&mut self, index: usize) {
        let member = &mut self.servers[index];
        let server = launch(&member.site, member.address, &self.config);
        member.server = Some(server);
    }
}

impl Member {
    fn start(body: &[u8], config: &str) -> Member {
        let site = Site::empty();
        site.write(TARGET.trim_start_matches('/'), body);
        site.write(HEALTH_FILE.trim_start_matches('/'), "yes\n");
        let address = address_of_its_own();
        let server = Some(launch(&site, address, config));
        Member {
            site,
            address,
            server,
        }
    }
}

fn launch(site: &Site, address: SocketAddr, config: &str) -> Server {
    Launch::of(site.root())
        .listen(&address.to_string())
        .config(config)
        .start()
}

fn name(index: usize) -> String {
    format!("a{}", index + 1)
}

/// An address whose port stays free while its server is down: no other socket of this machine gets a free
/// port of this loopback address.
fn address_of_its_own() -> SocketAddr {
    static GIVEN: AtomicU8 = AtomicU8::new(0);
    let second = 100 + GIVEN.fetch_add(1, Ordering::Relaxed);
    let [.., high, low] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, second, high, low);
    let listener = TcpListener::bind((address, 0)).expect("a free port");
    listener.local_addr().expect("an address")
}
