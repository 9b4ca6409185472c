//! TLS in programs of others: two scanners ([`scanners`]), scripts with the library tlslite-ng, which can send
//! what no honest client does ([`scripts`]), and an ACME client with its authority ([`acme`]).

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use support::{Authority, Launch, Server, Site, pattern};

use crate::real_clients::trial::{Program, installed};

mod acme;
mod scanners;
mod scripts;

/// The size of the file that is downloaded: the kernel's buffers cannot hold it.
const LARGE_LEN: usize = 12 * 1024 * 1024;

/// A server with a TLS listener and a plain one, whose certificate is from a private authority.
struct TlsServer {
    site: Site,
    authority: Authority,
    server: Server,
}

impl TlsServer {
    /// A server for a site with a small page and a large file. `site_keys` and `tables` are parts of the
    /// configuration.
    fn start(site_keys: &str, tables: impl Fn(&Authority, &Site) -> String) -> TlsServer {
        let site = Site::new();
        site.write("large.bin", pattern(LARGE_LEN));
        let authority = Authority::new();
        let own = authority.issue_local().settings();
        let config = format!("{own}{site_keys}\n{}", tables(&authority, &site));
        let server = Launch::of(site.root())
            .config(&config)
            .listen("https://127.0.0.1:0")
            .listen("127.0.0.1:0")
            .start();
        TlsServer {
            site,
            authority,
            server,
        }
    }

    fn address(&self) -> String {
        self.server.tls_address().to_string()
    }
}

/// A command with the Python libraries for TLS.
fn python() -> Command {
    let mut command = Command::new("python3");
    command
        .env("PYTHONPATH", installed("tls"))
        // The scripts are in a directory of the source, where no compiled files belong.
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Runs a script beside this file, and returns its output.
fn script(name: &str, arguments: &[&str], limit: Duration) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/tls");
    let mut command = python();
    command.arg(path.join(name)).args(arguments);
    Program::start(&mut command).output(limit)
}
