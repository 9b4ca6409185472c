//! The memory of idle TLS connections, beside that of nginx, h2o and lighttpd with OpenSSL.
//!
//! Each connection makes a full handshake, sends one request and idles. The memory is what all processes of a
//! server have more than before, divided by the connections. nginx and lighttpd allocate a part of it, some
//! hundred bytes for each connection that may come, at start, where this bench does not see it.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::ClientConfig;
use support::client::request;
use support::process::{NotStarted, Process, Recipe};
use support::tls::{self, Certificate, KeyExchange};
use support::{Site, pattern, process_tree, recipes};

use crate::report;

const IDLE: usize = 2_000;

/// Connections before the measurement. They make the server allocate what it keeps in any case.
const WARM_UP: usize = 100;

/// The time in which a server may free what its connections no longer need.
const SETTLING: Duration = Duration::from_millis(2_500);

/// The target for the bytes of an idle connection in user space.
const MAX_BYTES_EACH: f64 = 4096.0;

const ABIDE: &str = "[keep_alive]\ntimeout = 120\n";

const NGINX_HTTP: &str = "
    access_log off;
    keepalive_timeout 120s;
    server { listen {address} ssl backlog=4096; root {root}; {tls} }
";

const H2O: &str = "user: nobody\nmax-connections: 4096\nhttp1-request-timeout: 120\n";

const LIGHTTPD: &str = "
server.max-fds = 8192
server.max-connections = 4096
server.max-keep-alive-idle = 120
";

/// A server, with the function that makes its configuration.
struct Kind {
    title: &'static str,
    recipe: fn() -> Recipe,
    has_target: bool,
}

const KINDS: [Kind; 4] = [
    Kind {
        title: "abide",
        recipe: || recipes::abide_tls(ABIDE),
        has_target: true,
    },
    Kind {
        title: "nginx",
        recipe: || {
            let main = "user www-data; worker_processes 2; worker_rlimit_nofile 8192;";
            let http = NGINX_HTTP.replace("{tls}", recipes::NGINX_TLS);
            recipes::nginx(main, "worker_connections 4096;", &http)
        },
        has_target: false,
    },
    Kind {
        title: "h2o",
        recipe: || recipes::h2o_tls(H2O),
        has_target: false,
    },
    Kind {
        title: "lighttpd",
        recipe: || recipes::lighttpd(&[LIGHTTPD, recipes::LIGHTTPD_TLS].concat()),
        has_target: false,
    },
];

/// Runs the part and prints its table.
pub fn run() {
    let site = Site::empty();
    site.write("1k.html", pattern(1 << 10));
    site.write("100k.html", pattern(100 << 10));
    let certificate = Certificate::new();
    let config = Arc::new(certificate.client(KeyExchange::X25519));
    report::head(&format!("Memory of each of {IDLE} idle TLS connections"));
    for kind in &KINDS {
        for (path, size) in [("/1k.html", "1 KB"), ("/100k.html", "100 KB")] {
            let what = format!("{}, after an answer of {size}", kind.title);
            let recipe = (kind.recipe)().presenting(&certificate);
            let started = recipe.serving(&site.root()).try_start(Ipv4Addr::LOCALHOST);
            match started.map(|server| bytes_each(&server, path, &config)) {
                Ok(Ok(bytes)) if kind.has_target => report::line(
                    &what,
                    &format!("<= {MAX_BYTES_EACH} bytes"),
                    format!("{bytes:.0} bytes"),
                    bytes <= MAX_BYTES_EACH,
                ),
                Ok(Ok(bytes)) => report::note(&what, format!("{bytes:.0} bytes")),
                Ok(Err(error)) => report::note(&what, error),
                Err(NotStarted::NotInstalled) => report::note(&what, "not installed"),
                Err(NotStarted::Failed(why)) => {
                    report::note(&what, format!("does not start: {}", why.trim()));
                }
            }
        }
    }
}

/// The bytes of memory of each idle connection.
fn bytes_each(server: &Process, path: &str, config: &Arc<ClientConfig>) -> io::Result<f64> {
    drop(open(server.address, WARM_UP, path, config)?);
    thread::sleep(SETTLING);
    let before = process_tree::memory_bytes(&server.tree());
    let connections = open(server.address, IDLE, path, config)?;
    thread::sleep(SETTLING);
    let after = process_tree::memory_bytes(&server.tree());
    drop(connections);
    Ok((after as f64 - before as f64) / IDLE as f64)
}

/// Opens `count` connections, and sends a request on each. Only their sockets stay: this side needs no memory
/// for its part of the sessions, as it sends nothing more.
fn open(
    server: SocketAddr,
    count: usize,
    path: &str,
    config: &Arc<ClientConfig>,
) -> io::Result<Vec<TcpStream>> {
    let request = request("GET", path, "");
    let open = |_| {
        let mut stream = tls::connect(server, config)?;
        stream.write_all(request.as_bytes())?;
        tls::read_answer(&mut stream)?;
        Ok(stream.sock)
    };
    (0..count).map(open).collect()
}
